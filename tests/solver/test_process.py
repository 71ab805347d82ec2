"""The solver's process: asked, answered, killed when it is over, and explained when it is not there."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from ostler.planning.cpsat.result import Status
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.simulate.instances import random_instance
from ostler.solver.__main__ import answer
from ostler.solver.messages import NOT_INSTALLED, Request
from ostler.solver.process import COMMAND, GRACE_S, ask, solve_in_process
from tests.solver.conftest import Children

INSTANCE = Instance(
    hosts=(PlanHost(name="box", memory_bytes=10, models={"a": Serving(memory_bytes=6, load_ms=20)}),),
    tasks=(PlanTask(id="t", choices=(Choice(models=("a",), duration_ms=100),)),),
)


async def test_a_problem_goes_there_and_its_plan_comes_back(children: Children) -> None:
    """The process answers what the solver answers."""
    solved = await solve_in_process(INSTANCE, seconds=30)

    assert solved.plan is not None
    assert (solved.status, solved.plan.makespan_ms, solved.reason) == (Status.PROVEN, 120, "")
    assert children() == []


async def test_a_process_over_its_time_is_killed(children: Children) -> None:
    """One that does not end by itself is gone before the answer is given, and the answer says so."""
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")

    solved = await ask(Request(instance=INSTANCE, seconds=0.1), command=sleeper, grace_s=0.1)

    assert (solved.status, solved.plan) == (Status.UNKNOWN, None)
    assert solved.reason == "the solver did not end within 0.2 s and was killed"
    assert children() == []


async def test_a_process_goes_with_whoever_waits_for_it(children: Children) -> None:
    """Cancelling the wait kills the process."""
    waiting = asyncio.ensure_future(solve_in_process(random_instance(1, 60, 2), seconds=600))
    async with asyncio.timeout(30):
        while not children():  # noqa: ASYNC110 (a process has no event to wait for)
            await asyncio.sleep(0.01)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert children() == []


async def test_a_crash_is_a_reason_and_no_error() -> None:
    """What the process said last is told."""
    crash = (sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit('out of memory')")

    solved = await ask(Request(instance=INSTANCE, seconds=5), command=crash)

    assert solved.reason == "the solver ended with code 1 and no answer: out of memory"


async def test_a_process_that_has_said_all_may_end_by_itself() -> None:
    """Its pipes are closed before it is gone: it is not killed in between, and its own exit code is told."""
    slow = (sys.executable, "-c", "import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(3)")

    solved = await ask(Request(instance=INSTANCE, seconds=5), command=slow)

    assert solved.reason == "the solver ended with code 3 and no answer"


async def test_a_killed_process_is_a_reason_and_no_error() -> None:
    """The system may kill it at any time, before it has read anything too."""
    suicide = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    solved = await ask(Request(instance=random_instance(1, 2_000, 4), seconds=5), command=suicide)

    assert solved.reason == "the solver ended with code -9 and no answer"


async def test_a_command_that_is_not_there_is_a_reason() -> None:
    """No process, no error, an explanation."""
    solved = await ask(Request(instance=INSTANCE, seconds=5), command=("/nowhere/solver",))

    assert solved.reason == "the solver did not start: No such file or directory"


async def test_without_the_extra_the_answer_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot import the solver tells how to get it."""
    (tmp_path / "ortools").mkdir()
    (tmp_path / "ortools" / "__init__.py").write_text("raise ImportError('blocked')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    solved = await solve_in_process(INSTANCE, seconds=5)

    assert (solved.status, solved.reason) == (Status.UNKNOWN, NOT_INSTALLED)
    assert "pip install 'ostler[plan]'" in solved.reason


def test_without_the_extra_the_process_itself_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, seen from inside."""
    monkeypatch.setitem(sys.modules, "ortools", None)

    assert answer(msgspec.json.encode(Request(instance=INSTANCE, seconds=1))).reason == NOT_INSTALLED


def test_the_process_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    """Its starter is killed in the middle of a long solve: the solver leaves."""
    request = Request(instance=random_instance(1, 60, 2), seconds=600)
    path = tmp_path / "request.json"
    path.write_bytes(msgspec.json.encode(request) + b"\n")
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({list(COMMAND)!r}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
        f"child.stdin.write(open({str(path)!r}, 'rb').read())\n"
        "child.stdin.flush()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    solver = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()

    _, alive = psutil.wait_procs([solver], timeout=30)

    assert alive == []


async def test_the_time_limit_is_kept() -> None:
    """A problem too large to prove comes back with a plan when its time is over, long before it would be killed."""
    began = time.monotonic()

    solved = await solve_in_process(random_instance(1, 40, 2), seconds=1)

    assert solved.plan is not None
    assert time.monotonic() - began < 1 + GRACE_S
