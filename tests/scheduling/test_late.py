"""Late results: kept, never applied by themselves, adopted by a person."""

import pytest

from ostler.domain.commands import UpdateTask
from ostler.domain.errors import ConflictError
from ostler.domain.ledger import Span
from ostler.domain.limits import ScopeKind
from ostler.domain.states import FailureClass, Outcome, TaskState
from ostler.domain.tasks import Attempt, Task, Usage
from ostler.domain.work import Finished
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Apply
from ostler.scheduling.late import is_open_to
from tests.scheduling.rig import Rig, cloud

DEAD_MS = 15_000
ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=10**15)


def lost_once(rig: Rig) -> Attempt:
    """Task `t`, whose first attempt was given up; the record of that attempt."""
    rig.worker("gone")
    rig.command("t")
    rig.start("t")
    rig.pass_ms(DEAD_MS)
    return record(rig, 1)


def record(rig: Rig, generation: int) -> Attempt:
    """The record of an attempt of `t` as it is stored last."""
    commands = [effect.command for effect in rig.effects if isinstance(effect, Apply)]
    attempts = [command.attempt for command in commands if isinstance(command, UpdateTask)]
    return next(one for one in reversed(attempts) if one is not None and one.generation == generation)


def result(rig: Rig, *, ok: bool = True, usage: Usage | None = None) -> Finished:
    """The end of attempt 1 as its worker tells it, late."""
    return Finished(
        task_id="t",
        generation=1,
        at_ms=rig.now_ms,
        ok=ok,
        output="the work",
        exit_code=0,
        usage=usage,
        outcome=Outcome.VERIFIED,
    )


def adopt(rig: Rig, attempt: Attempt, report: Finished, task: Task | None = None) -> None:
    """A person adopts."""
    rig.tell(sig.AdoptLate(task=task or rig.rows["t"], attempt=attempt, report=report))


def test_a_late_result_changes_nothing_by_itself() -> None:
    """It is kept."""
    rig = Rig()
    lost_once(rig)
    rig.tell(sig.Reported(session_id="s1", report=result(rig)))

    assert rig.state("t") is TaskState.QUEUED
    assert [late.generation for late in rig.late] == [1]


def test_an_adopted_result_is_the_end_of_a_waiting_task() -> None:
    """As an attempt of its own, so that the record of the lost one stays; it does not run again."""
    rig = Rig()
    attempt = lost_once(rig)
    adopt(rig, attempt, result(rig))

    assert rig.state("t") is TaskState.SUCCEEDED
    assert rig.rows["t"].outcome is Outcome.VERIFIED
    (adopted,) = rig.named("task.late_adopted")
    assert adopted.metadata["adopted"] == 1
    taken = record(rig, 2)
    assert (taken.ok, taken.adopted, taken.worker, taken.exit_code) == (True, 1, "gone", 0)
    assert attempt.ok is False
    rig.worker("other")
    assert [sent.command.task.generation for sent in rig.sent] == [1], "nothing was given out again"


@pytest.mark.parametrize("ending", ["cancelled", "needs_human", "retry_wait", "dead_letter"])
def test_a_result_is_adopted_from_every_state_that_is_no_success(ending: str) -> None:
    """Also of a task that had ended badly since."""
    rig = Rig()
    attempt = lost_once(rig)
    rig.worker("other")
    if ending == "cancelled":
        rig.tell(sig.Cancel(task_id="t"))
        rig.finish("t", FailureClass.CANCELLED)
    elif ending == "needs_human":
        rig.finish("t", FailureClass.POLICY)
    elif ending == "retry_wait":
        rig.finish("t", FailureClass.COMMAND)
    else:
        for _ in range(3):
            rig.finish("t", FailureClass.COMMAND)
            rig.worker("again")
            rig.pass_ms(14_000)
    assert rig.state("t").value == ending
    adopt(rig, attempt, result(rig))
    rig.pass_ms(600_000)

    assert rig.state("t") is TaskState.SUCCEEDED


def test_a_task_that_has_a_result_is_settled() -> None:
    """The late one is refused, in words."""
    rig = Rig()
    attempt = lost_once(rig)
    rig.worker("other")
    rig.finish("t")
    with pytest.raises(ConflictError, match="settled: attempt 2"):
        adopt(rig, attempt, result(rig))

    assert rig.rows["t"].generation == 2


def test_a_result_is_not_adopted_beside_an_attempt_that_runs() -> None:
    """It is said which, and how to stop it."""
    rig = Rig()
    attempt = lost_once(rig)
    rig.worker("other")
    rig.start("t")
    with pytest.raises(ConflictError, match="under way on worker other"):
        adopt(rig, attempt, result(rig))

    assert rig.state("t") is TaskState.RUNNING


def test_a_late_failure_is_no_result() -> None:
    """Nothing to adopt."""
    rig = Rig()
    attempt = lost_once(rig)
    with pytest.raises(ConflictError, match="of a failure"):
        adopt(rig, attempt, result(rig, ok=False))

    assert rig.state("t") is TaskState.QUEUED
    assert not is_open_to(rig.rows["t"], result(rig, ok=False))
    assert is_open_to(rig.rows["t"], result(rig))


def test_what_needs_an_adopted_task_goes_on() -> None:
    """As after any success."""
    rig = Rig()
    attempt = lost_once(rig)
    rig.command("after", needs=["t"])
    rig.worker("other", command=0)
    adopt(rig, attempt, result(rig))
    rig.worker("third")

    assert rig.state("after") is TaskState.ASSIGNED


def test_an_adopted_result_costs_what_it_says() -> None:
    """When it was given up it was taken to have cost what it held; its own count puts that right."""
    rig = Rig()
    rig.worker("gone")
    rig.up(cloud(), models=("claude",))
    rig.chat("t", complexity=None, tier="complex")
    rig.start("t")
    rig.pass_ms(DEAD_MS)
    guessed = rig.ledger.spent(ALL).used.micro_usd
    assert guessed not in (0, 90_000)
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    adopt(rig, record(rig, 1), result(rig, usage=usage))

    assert rig.ledger.spent(ALL).used.micro_usd == 90_000


def test_the_same_end_told_twice_is_no_late_report() -> None:
    """The answer to the first delivery was lost; the worker tells it again, under whatever session."""
    rig = Rig()
    session = rig.worker()
    rig.command("t")
    rig.finish("t")
    end = Finished(task_id="t", generation=1, at_ms=rig.now_ms, ok=True)
    rig.tell(sig.Reported(session_id=session, report=end))

    assert rig.late == []
