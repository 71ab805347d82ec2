"""Tests of running a task's command and its checks, on real processes."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from ostler.domain.errors import NotAllowedError
from ostler.domain.states import FailureClass, Outcome
from ostler.domain.work import Assignment, Finished, Progress, Report
from ostler.workers.commands import CommandHost
from ostler.workers.guard import NoGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Run
from ostler.workers.runners.command import CommandRunner
from ostler.workers.timing import SystemTiming
from ostler.workers.verification import Verifier
from tests.workers.tagged import ESCAPE, PYTHON, Tagged, tagged, until
from tests.workers.work_made import command, run_of

__all__ = ["tagged"]

ALL = WorkerRules(commands=("*",))


def host(rules: WorkerRules = ALL, *, grace_s: float = 5.0, limit_bytes: int = 10_000) -> CommandHost:
    return CommandHost(rules, NoGuard(), environ=dict(os.environ), grace_s=grace_s, limit_bytes=limit_bytes)


def kind_of(finished: Finished) -> FailureClass | None:
    return finished.failure.kind if finished.failure else None


async def ran(tagged: Tagged, assignment: Assignment, rules: WorkerRules = ALL) -> Finished:
    run = run_of(assignment, clock=SystemTiming(), identity=tagged.identity)
    return await CommandRunner(host(rules)).run(run)


def folder_of(folder: Path) -> list[str]:
    """Paths of what is in a folder; nothing when there is none."""
    return [str(path) for path in folder.iterdir()] if folder.exists() else []


class Running:
    """A command under way in a task of its own."""

    def __init__(self, tagged: Tagged, assignment: Assignment) -> None:
        self.reports: list[Report] = []
        self.run: Run = run_of(assignment, clock=SystemTiming(), identity=tagged.identity, reports=self.reports)
        self.task = asyncio.create_task(CommandRunner(host(grace_s=0.2)).run(self.run))

    async def shows(self, word: str) -> None:
        """Wait until a progress report shows a word."""
        await until(lambda: any(isinstance(report, Progress) and word in report.tail for report in self.reports))


async def test_a_good_command_succeeds(tagged: Tagged) -> None:
    """Exit code 0 is success with the output of both streams, as reported and not as verified."""
    finished = await ran(tagged, command("sh", "-c", "echo out; echo err >&2", task_id="t9", generation=4))

    assert (finished.task_id, finished.generation, finished.ok) == ("t9", 4, True)
    assert (finished.output, finished.output_bytes, finished.exit_code) == ("out\nerr\n", 8, 0)
    assert finished.outcome is Outcome.REPORTED


async def test_a_failed_command_fails(tagged: Tagged) -> None:
    """Any other exit code is a failure whose message tells it from other failures by the command's last word."""
    finished = await ran(tagged, command("sh", "-c", "echo one; echo 'no such flag'; exit 3"))

    assert finished.failure is not None
    assert (finished.ok, finished.exit_code, finished.failure.kind) == (False, 3, FailureClass.COMMAND)
    assert finished.failure.message == "sh exited with 3: no such flag"
    assert finished.output == "one\nno such flag\n"


async def test_death_by_a_signal_is_a_failure(tagged: Tagged) -> None:
    """A killed command failed; the signal is named and the exit code is the one a shell would give."""
    finished = await ran(tagged, command("sh", "-c", "kill -SEGV $$"))

    assert finished.failure is not None
    assert (finished.exit_code, finished.failure.kind) == (139, FailureClass.COMMAND)
    assert "killed by SIGSEGV" in finished.failure.message


async def test_a_command_sees_its_tags_and_its_environment(tagged: Tagged) -> None:
    """The environment of a command holds the task's own variables and the marks of its attempt."""
    script = "import os; print(os.environ['MODE'], os.environ['OSTLER_ATTEMPT'], os.environ['PWD'], os.getcwd())"

    finished = await ran(tagged, command(PYTHON, "-c", script, env={"MODE": "fast"}, cwd="/usr", generation=2))

    assert finished.output == "fast t1.2 /usr /usr\n"


async def test_a_command_of_a_traced_task_sees_its_trace_and_no_other_does(tagged: Tagged) -> None:
    """In the variable that programs which trace themselves look at."""
    script = "import os; print(os.environ.get('TRACEPARENT'))"
    plain = command(PYTHON, "-c", script)

    traced = await ran(tagged, replace(plain, traceparent="00-a-b-01"))
    untraced = await ran(tagged, replace(plain, generation=2))

    assert (traced.output, untraced.output) == ("00-a-b-01\n", "None\n")


async def test_arguments_are_never_read_by_a_shell(tagged: Tagged) -> None:
    """What looks like shell syntax reaches the program as it is."""
    finished = await ran(tagged, command("printf", "%s\n", "$HOME; echo `id` > /dev/null && *"))

    assert finished.output == "$HOME; echo `id` > /dev/null && *\n"


async def test_what_is_not_allowed_is_not_run(tagged: Tagged, tmp_path: Path) -> None:
    """A refusal of the rules comes before anything has happened."""
    mark = tmp_path / "mark"

    with pytest.raises(NotAllowedError):
        await ran(tagged, command("touch", str(mark)), WorkerRules(commands=("git",)))

    assert not mark.exists()


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        (command("no-such-program-anywhere"), "not found"),
        (command("true", cwd="/no/such/place"), "does not exist"),
        (command("/dev/null"), "permission denied"),
    ],
)
async def test_what_cannot_start_is_the_environments_fault(tagged: Tagged, assignment: Assignment, words: str) -> None:
    """A command that never started did not fail as a command: another worker may well run it."""
    finished = await ran(tagged, assignment)

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.ENVIRONMENT
    assert words in finished.failure.message
    assert finished.exit_code is None


async def test_huge_binary_output_stays_bounded(tagged: Tagged) -> None:
    """Megabytes of anything arrive cut in the middle, counted in full, as valid text."""
    script = "import sys; w = sys.stdout.buffer.write; w(b'begin'); w(bytes(range(256)) * 20_000); w(b'the end')"

    finished = await ran(tagged, command(PYTHON, "-c", script))

    assert finished.output_bytes == 5 + 256 * 20_000 + 7
    assert len(finished.output) < 11_000
    assert finished.output.startswith("begin")
    assert finished.output.endswith("the end")
    assert "bytes cut" in finished.output
    assert "\x00" not in finished.output


async def test_a_stop_keeps_what_was_said(tagged: Tagged) -> None:
    """A stopped command ends with the class and the words of the stop, with its output so far, and leaves nothing."""
    running = Running(tagged, command("sh", "-c", f'{PYTHON} -I -S -c "{ESCAPE}" & trap "" TERM; wait; wait'))
    await running.shows("escaped")

    running.run.stop.stop(FailureClass.TIMEOUT, "too long")
    finished = await running.task

    assert finished.failure is not None
    assert (finished.failure.kind, finished.failure.message) == (FailureClass.TIMEOUT, "too long")
    assert "escaped" in finished.output
    assert tagged.count() == 0


async def test_a_run_that_was_stopped_before_it_began_starts_nothing(tagged: Tagged, tmp_path: Path) -> None:
    """A cancellation that comes first wins."""
    run = run_of(command("touch", str(tmp_path / "mark")), clock=SystemTiming(), identity=tagged.identity)
    run.stop.stop(FailureClass.CANCELLED, "never mind")

    finished = await CommandRunner(host()).run(run)

    assert kind_of(finished) is FailureClass.CANCELLED
    assert not (tmp_path / "mark").exists()


async def test_progress_is_thinned_out(tagged: Tagged) -> None:
    """A command that talks without end gives a few signs of life a second, each with its newest words."""
    script = "import time\nfor i in range(100): print('line', i, flush=True); time.sleep(0.005)"
    running = Running(tagged, command(PYTHON, "-c", script))

    await running.task

    assert 1 <= len(running.reports) <= 6
    assert all(isinstance(report, Progress) and len(report.tail) <= 200 for report in running.reports)


async def proven(tagged: Tagged, assignment: Assignment, work: str = "the answer") -> Finished:
    """Good work put to its checks."""
    run = run_of(assignment, clock=SystemTiming(), identity=tagged.identity)
    verifier = Verifier(host())
    return await verifier.verify(verifier.prepare(run), run, run.succeeded(output=work, output_bytes=len(work)))


async def test_work_that_passes_every_check_is_verified(tagged: Tagged) -> None:
    """All checks passed: the same work, verified."""
    finished = await proven(tagged, command("true", verify=(("true",), ("sh", "-c", "exit 0"))))

    assert (finished.ok, finished.outcome, finished.output) == (True, Outcome.VERIFIED, "the answer")


async def test_a_check_that_fails_fails_the_work(tagged: Tagged, tmp_path: Path) -> None:
    """The first failed check decides, its output is shown with the work's, and later checks are not run."""
    later = str(tmp_path / "later")
    checks = (("true",), ("sh", "-c", "echo 2 of 7 wrong; exit 4"), ("touch", later))

    finished = await proven(tagged, command("true", verify=checks))

    assert finished.failure is not None
    assert (finished.ok, finished.failure.kind, finished.exit_code) == (False, FailureClass.VERIFICATION, 4)
    assert finished.failure.message == "check 2 of 3 failed: sh exited with 4: 2 of 7 wrong"
    assert finished.output.startswith("the answer\n--- check 2 of 3: sh -c")
    assert finished.output.endswith("2 of 7 wrong\n")
    assert later not in folder_of(tmp_path)


async def test_a_check_that_cannot_run_has_not_passed(tagged: Tagged) -> None:
    """A check this machine cannot start fails the attempt, as the environment's fault and not as the work's."""
    finished = await proven(tagged, command("true", verify=(("no-such-check-anywhere",),)))

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.ENVIRONMENT
    assert "check 1 of 1 could not be run" in finished.failure.message
    assert finished.output == "the answer"


async def test_a_check_can_read_what_it_checks(tagged: Tagged) -> None:
    """A check finds the output of the work in a file that is gone afterwards."""
    script = 'grep -q "the answer" "$OSTLER_OUTPUT" && echo "$OSTLER_OUTPUT" && exit 1'

    finished = await proven(tagged, command("true", verify=(("sh", "-c", script),)))

    assert kind_of(finished) is FailureClass.VERIFICATION
    path = finished.output.strip().splitlines()[-1]
    assert path.endswith("/output")
    assert path not in folder_of(Path(path).parent)


async def test_checks_are_judged_before_the_work(tagged: Tagged) -> None:
    """A check that is not allowed is refused while nothing has run yet."""
    run = run_of(command("git", verify=(("git",), ("rm", "-r"))), clock=SystemTiming(), identity=tagged.identity)

    with pytest.raises(NotAllowedError, match="'rm'"):
        Verifier(host(WorkerRules(commands=("git",)))).prepare(run)


async def test_a_check_is_stopped_like_work(tagged: Tagged) -> None:
    """A stop in the middle of a check ends the attempt with the stop's class, and leaves nothing."""
    run = run_of(command("true", verify=(("sleep", "60"), ("true",))), clock=SystemTiming(), identity=tagged.identity)
    verifier = Verifier(host())
    checking = asyncio.create_task(verifier.verify(verifier.prepare(run), run, run.succeeded()))
    await tagged.until(lambda count: count == 2)

    run.stop.stop(FailureClass.CANCELLED, "enough")

    assert kind_of(await checking) is FailureClass.CANCELLED
    assert tagged.count() == 0
