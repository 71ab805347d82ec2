"""Reports that come in one signal end as they would one by one, and one round serves all that becomes free."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.work import Finished, Progress, Report, Started
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Assign
from tests.scheduling.rig import Rig

TASKS = tuple(f"t{number}" for number in range(6))


def running(slots: int) -> tuple[Rig, str]:
    """Six commands, as many of them assigned as there are slots."""
    rig = Rig()
    session = rig.worker("w", command=slots)
    for name in TASKS:
        rig.command(name)
    return rig, session


def report(kind: str, name: str, generation: int, at_ms: int) -> Report:
    if kind == "started":
        return Started(task_id=name, generation=generation, at_ms=at_ms)
    if kind == "progress":
        return Progress(task_id=name, generation=generation, at_ms=at_ms, output_tokens=1, tail="x")
    if kind == "good":
        return Finished(task_id=name, generation=generation, at_ms=at_ms, ok=True, output="done")
    failure = Failure(kind=FailureClass.COMMAND, message="exit 1", at_ms=at_ms)
    return Finished(task_id=name, generation=generation, at_ms=at_ms, ok=False, failure=failure)


def told(rig: Rig) -> list[tuple[str, str | None]]:
    """What the events of tasks say, each task by itself."""
    return sorted((event.name, event.task_id) for event in rig.events if event.name.startswith("task."))


@given(
    slots=st.integers(1, 6),
    said=st.lists(
        st.tuples(st.sampled_from(["started", "progress", "good", "bad"]), st.integers(0, 5), st.integers(0, 1)),
        min_size=1,
        max_size=12,
    ),
)
@settings(max_examples=60, deadline=None)
def test_reports_together_end_as_one_by_one(slots: int, said: list[tuple[str, int, int]]) -> None:
    """States, attempts and what is told of each task, whatever comes, late and doubled reports too. Which of the
    waiting tasks got a free slot first is the same: order of service.
    """
    single, one = running(slots)
    together, other = running(slots)
    # A worker can speak of what it was given; what it is given for this it does not know yet.
    reports = [report(kind, TASKS[task % slots], generation, single.now_ms) for kind, task, generation in said]

    for item in reports:
        single.tell(sig.Reported(session_id=one, report=item))
    together.tell(sig.ReportsCame(session_id=other, reports=tuple(reports)))

    held = {TaskState.ASSIGNED, TaskState.RUNNING}
    ended = [
        {name: row.state for name, row in rig.rows.items() if row.state not in {*held, TaskState.QUEUED}}
        for rig in (single, together)
    ]
    assert ended[0] == ended[1]
    for rig in (single, together):
        assert sum(row.state in held for row in rig.rows.values()) <= slots, "a slot was given twice"
    assert [single.rows[name].state in held for name in TASKS] == [
        together.rows[name].state in held for name in TASKS
    ], "who has a slot now is the same"


def test_one_round_serves_all_the_slots_that_become_free() -> None:
    """Each waiting task once, in order, after the ends that made room for them."""
    rig, session = running(3)
    ends = tuple(report("good", name, 1, rig.now_ms) for name in TASKS[:3])
    starts = tuple(report("started", name, 1, rig.now_ms) for name in TASKS[:3])

    effects = rig.tell(sig.ReportsCame(session_id=session, reports=starts + ends))

    assert [effect.command.task.id for effect in effects if isinstance(effect, Assign)] == list(TASKS[3:])
    assert [rig.state(name) for name in TASKS[:3]] == [TaskState.SUCCEEDED] * 3
    assert [rig.state(name) for name in TASKS[3:]] == [TaskState.ASSIGNED] * 3


def test_a_start_and_its_end_may_come_in_one() -> None:
    """As from a command that takes no time."""
    rig, session = running(6)
    both = (report("started", "t0", 1, rig.now_ms), report("good", "t0", 1, rig.now_ms))

    rig.tell(sig.ReportsCame(session_id=session, reports=both))

    assert rig.state("t0") is TaskState.SUCCEEDED
    names = [name for name, task_id in told(rig) if task_id == "t0"]
    assert {"task.started", "task.evaluating", "task.succeeded"} <= set(names)


def test_no_reports_are_no_news() -> None:
    """An empty batch changes nothing."""
    rig, session = running(1)

    assert rig.tell(sig.ReportsCame(session_id=session, reports=())) == []
