"""Tasks put into batches: all or none, durable with each task, and a limit that can change while they run."""

import pytest

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.states import FailureClass, TaskState
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from tests.scheduling.rig import HandClock, Rig


def held(*names: str, slots: int = 8) -> Rig:
    """A rig with held tasks and room for all of them."""
    rig = Rig()
    rig.worker(command=slots)
    for name in names:
        rig.command(name, held=True)
    return rig


def gather(rig: Rig, *names: str, batch: str = "b", limit: int | None = None) -> None:
    """A person puts tasks into a batch."""
    rig.tell(sig.Gather(batch=batch, task_ids=names, limit=limit))


def running(rig: Rig) -> list[str]:
    """Tasks that have a worker."""
    return sorted(name for name, row in rig.rows.items() if row.state in (TaskState.ASSIGNED, TaskState.RUNNING))


def test_a_held_task_waits_for_its_batch() -> None:
    """However much room there is; it says what it waits for, and does not expire."""
    rig = held("a")
    rig.pass_ms(10)
    assert running(rig) == []
    assert rig.wait_code("a") == "paused"
    wait = rig.rows["a"].wait
    assert wait is not None
    assert "ostler batch" in wait.detail
    gather(rig, "a")

    assert running(rig) == ["a"]


def test_a_batch_runs_as_many_at_once_as_it_may() -> None:
    """The next one starts when one ends, in the order in which they came."""
    rig = held("a", "b", "c", "d")
    gather(rig, "a", "b", "c", "d", limit=2)
    assert running(rig) == ["a", "b"]
    rig.finish("a")

    assert running(rig) == ["b", "c"]


def test_the_limit_of_a_batch_can_be_raised_while_it_runs() -> None:
    """Without naming its tasks again; and lowered, which stops nothing that runs."""
    rig = held("a", "b", "c", "d")
    gather(rig, "a", "b", "c", "d", limit=1)
    gather(rig, limit=3)
    assert running(rig) == ["a", "b", "c"]
    gather(rig, limit=1)
    rig.finish("a")
    assert running(rig) == ["b", "c"]
    rig.finish("b")
    rig.finish("c")

    assert running(rig) == ["d"]


def test_a_task_of_another_batch_is_refused_and_nothing_is_done() -> None:
    """All or none."""
    rig = held("a", "b")
    gather(rig, "a", batch="first")
    with pytest.raises(ConflictError, match="task a is in batch first"):
        gather(rig, "b", "a", batch="second")

    assert rig.rows["b"].batch is None
    assert rig.wait_code("b") == "paused"


def test_a_task_that_runs_already_is_refused() -> None:
    """It was not counted by the batch's limit."""
    rig = Rig()
    rig.worker()
    rig.command("a")
    with pytest.raises(ConflictError, match="runs already"):
        gather(rig, "a")


def test_a_task_that_has_ended_or_never_was_is_not_found() -> None:
    """Only open tasks are put into a batch."""
    rig = held("a")
    with pytest.raises(NotFoundError):
        gather(rig, "a", "nobody")

    assert rig.rows["a"].batch is None


def test_gathering_again_changes_nothing() -> None:
    """A repeated wish whose answer was lost."""
    rig = held("a", "b")
    gather(rig, "a", "b", limit=1)
    before = dict(rig.rows)
    gather(rig, "a", "b", limit=1)

    assert {name: row.state for name, row in rig.rows.items()} == {name: row.state for name, row in before.items()}
    assert running(rig) == ["a"]


def test_batch_and_limit_outlive_the_process() -> None:
    """They are in the row of each task."""
    rig = held("a", "b", "c")
    gather(rig, "a", "b", "c", limit=1)
    rig.finish("a")
    tasks = tuple(row for row in rig.rows.values() if row.finished_ms is None)
    rig.scheduler = Scheduler(rig.policy, HandClock())
    rig.tell(sig.Restored(tasks=tasks, sessions=()))
    rig.worker("new")
    rig.pass_ms(60_000)
    rig.worker("newer")

    assert len(running(rig)) == 1
    assert {rig.rows[name].batch for name in "bc"} == {"b"}


def test_a_task_that_waits_for_another_try_is_gathered_with_its_next_row() -> None:
    """It has no transition of its own now; the batch counts it when it runs again."""
    rig = Rig()
    rig.worker(command=4)
    rig.command("a")
    rig.finish("a", FailureClass.COMMAND)
    assert rig.state("a") is TaskState.RETRY_WAIT
    rig.command("b", held=True)
    gather(rig, "a", "b", limit=1)
    assert running(rig) == ["b"]
    rig.pass_ms(5_000)
    assert running(rig) == ["b"]
    rig.finish("b")

    assert running(rig) == ["a"]
    assert rig.rows["a"].batch == "b"


def test_a_held_task_with_needs_waits_for_both() -> None:
    """When its needs are met first it is held still; gathered first, it waits for its needs."""
    rig = held("a", "b")
    rig.command("after", needs=["a"], held=True)
    gather(rig, "a")
    rig.finish("a")
    assert rig.wait_code("after") == "paused"
    gather(rig, "after", batch="later")
    assert running(rig) == ["after"]
    rig.command("behind", needs=["b"], held=True)
    gather(rig, "behind", batch="third")
    assert rig.wait_code("behind") == "deps"
    gather(rig, "b", batch="fourth")
    rig.finish("b")

    assert "behind" in running(rig)


def test_a_pause_of_a_task_behind_another_outlives_the_process() -> None:
    """It is stored at once, though the task waits for something else at that moment."""
    rig = Rig()
    rig.worker()
    rig.command("a")
    rig.command("after", needs=["a"])
    rig.tell(sig.Pause(task_id="after"))

    assert rig.rows["after"].paused
    rig.finish("a")
    assert rig.wait_code("after") == "paused"


def test_a_quiet_attempt_is_told_of_once_and_left_alone() -> None:
    """A sign of life begins the silence anew."""
    rig = Rig()
    session = rig.worker()
    rig.command("a")
    rig.start("a")
    stuck_ms = rig.policy.scheduler.stuck_ms

    def pass_ms(duration_ms: int) -> None:
        for _ in range(duration_ms // 5_000):
            rig.pass_ms(5_000)
            rig.tell(sig.WorkerRenewed(session_id=session))

    pass_ms(stuck_ms - 5_000)
    assert rig.named("task.quiet") == []
    pass_ms(3 * stuck_ms)

    assert [event.measurements["quiet_ms"] for event in rig.named("task.quiet")] == [stuck_ms]
    assert rig.state("a") is TaskState.RUNNING
