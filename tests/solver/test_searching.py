"""The search in a process of its own."""

import subprocess
import sys

import msgspec
import pytest

from ostler.domain.errors import ConflictError
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan_checker import check_plan
from ostler.simulate.instances import random_instance
from ostler.solver import searching
from ostler.solver.searching import Found, Wanted, found_for, search_in_process
from ostler.solver.until import UntilThen
from tests.solver.conftest import Children


async def test_a_problem_goes_there_and_its_plan_comes_back(children: Children) -> None:
    """It is a plan of that problem, and nothing is left running."""
    instance = random_instance(3, 20, 2)
    plan = await search_in_process(instance, strategy="portfolio", seconds=0.3)

    assert check_plan(instance, plan) == ()
    assert not children()


async def test_what_cannot_be_planned_comes_back_as_a_reason() -> None:
    """A pinned model that leaves no memory for the work."""
    models = {"a": Serving(memory_bytes=8, pinned=True), "b": Serving(memory_bytes=8)}
    host = PlanHost(name="box", memory_bytes=10, models=models, resident=("a",))
    task = PlanTask(id="t", choices=(Choice(models=("b",), duration_ms=10),))

    with pytest.raises(ConflictError, match="no plan was made"):
        await search_in_process(Instance(hosts=(host,), tasks=(task,)), strategy="portfolio", seconds=0.1)


async def test_a_search_that_does_not_start_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sees a traceback."""
    monkeypatch.setattr(searching, "COMMAND", ("/nowhere/python",))

    with pytest.raises(ConflictError, match="did not start"):
        await search_in_process(random_instance(3, 5, 1), strategy="live", seconds=0.1)


def test_an_unknown_strategy_is_answered_with_the_nearest() -> None:
    """The answer is data, like every other."""
    line = msgspec.json.encode(Wanted(instance=random_instance(3, 5, 1), strategy="lives", seconds=0.1))

    assert "live" in found_for(line).reason


def test_time_is_over_when_it_is_over() -> None:
    """Effort by the clock."""
    assert UntilThen(0.0).spent()
    assert not UntilThen(60.0).spent()


def test_the_process_leaves_when_its_starter_does() -> None:
    """A closed standard input ends it at once, with a search still under way."""
    line = msgspec.json.encode(Wanted(instance=random_instance(3, 60, 2), strategy="portfolio", seconds=60)) + b"\n"
    with subprocess.Popen([sys.executable, "-m", "ostler.solver.searching"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.close()
        assert process.wait(timeout=30) in (0, 1)


def test_nothing_asked_is_nothing_answered() -> None:
    """An empty standard input ends it in good order."""
    done = subprocess.run(
        [sys.executable, "-m", "ostler.solver.searching"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, b"")
    assert Found().plan is None
