"""Every store: new tasks are stored all or none, and the same submit may come again."""

import msgspec
import pytest

from ostler.domain.commands import Applied, NewTask, RefusalReason, Refused, SubmitTasks, UpdateTask
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import TaskState
from tests.store.rows_made import make_event, make_new, make_spec, make_submit, make_task, make_update


def bent(new: NewTask, **changes: object) -> NewTask:
    """A new task with other fields in its row."""
    return msgspec.structs.replace(new, task=msgspec.structs.replace(new.task, **changes))


async def test_a_submitted_task_is_there_whole(store: Store) -> None:
    """Row, spec and event of a new task come back equal."""
    new = make_new("t1", 7, title="first", batch="b")

    (answer,) = await store.apply([SubmitTasks(tasks=(new,))])

    detail = await store.task("t1")
    assert answer == Applied(last_seq=1)
    assert detail is not None
    assert (detail.task, detail.spec) == (new.task, new.spec)
    assert detail.events == (msgspec.structs.replace(new.event, seq=1),)
    assert (detail.attempts, detail.decisions, detail.output, detail.late_reports) == ((), (), None, ())


async def test_the_same_submit_again_writes_nothing(store: Store) -> None:
    """A task that is there with the same spec is a duplicate: no row and no event changes."""
    await store.apply([make_submit("t1")])
    again = SubmitTasks(tasks=(make_new("t1", 9, title="another row"),))

    (answer,) = await store.apply([again])

    assert answer == Applied(duplicates=("t1",))
    assert await store.tasks(TaskQuery()) == [make_task("t1", 1)]
    assert len(await store.events()) == 1


async def test_duplicates_and_new_tasks_may_be_mixed(store: Store) -> None:
    """What is new is stored, what is there is named."""
    await store.apply([make_submit("t1")])

    (answer,) = await store.apply([SubmitTasks(tasks=(make_new("t2", 2), make_new("t1", 1), make_new("t3", 3)))])

    assert answer == Applied(duplicates=("t1",), last_seq=3)
    assert set(await store.states(["t1", "t2", "t3"])) == {"t1", "t2", "t3"}


async def test_another_spec_under_the_same_id_refuses_the_whole_command(store: Store) -> None:
    """One conflict, and none of the tasks of the command is stored; the answer shows the row that is there."""
    await store.apply([make_submit("t1")])
    mixed = SubmitTasks(tasks=(make_new("t2", 2), make_new("t1", 3, prompt="something else"), make_new("t3", 4)))

    (answer,) = await store.apply([mixed])

    assert isinstance(answer, Refused)
    assert (answer.reason, answer.task) == (RefusalReason.CONFLICT, make_task("t1", 1))
    assert "t1" in answer.message
    assert set(await store.states(["t1", "t2", "t3"])) == {"t1"}
    assert len(await store.events()) == 1


async def test_a_task_twice_in_one_command_is_a_duplicate_of_itself(store: Store) -> None:
    """The same content twice is stored once; two contents under one id are a conflict without a row."""
    twice = SubmitTasks(tasks=(make_new("t1", 1), make_new("t1", 2)))
    torn = SubmitTasks(tasks=(make_new("t2", 3), make_new("t2", 4, prompt="something else")))

    answers = await store.apply([twice, torn])

    assert answers[0] == Applied(duplicates=("t1",), last_seq=1)
    assert isinstance(answers[1], Refused)
    assert (answers[1].reason, answers[1].task) == (RefusalReason.CONFLICT, None)
    assert set(await store.states(["t1", "t2"])) == {"t1"}


async def test_a_duplicate_inside_one_batch_is_seen(store: Store) -> None:
    """A command sees what the commands before it in the batch did."""
    answers = await store.apply(
        [
            make_submit("t1"),
            make_submit("t1"),
            SubmitTasks(tasks=(make_new("t1", 5, prompt="something else"),)),
        ]
    )

    assert answers[:2] == [Applied(last_seq=1), Applied(duplicates=("t1",))]
    assert isinstance(answers[2], Refused)
    assert (answers[2].reason, answers[2].task) == (RefusalReason.CONFLICT, make_task("t1", 1))


async def test_a_duplicate_is_one_whatever_became_of_the_task(store: Store) -> None:
    """A submit that is repeated late finds its task in another state, and changes nothing."""
    task = make_task("t1")
    await store.apply([make_submit("t1"), make_update(task, TaskState.CANCELLED)])

    (answer,) = await store.apply([make_submit("t1")])

    assert answer == Applied(duplicates=("t1",))
    assert await store.states(["t1"]) == {"t1": TaskState.CANCELLED}


async def test_a_sequence_number_belongs_to_one_task(store: Store) -> None:
    """A number that is taken, before or inside the command, refuses the command."""
    await store.apply([make_submit("t1", first_seq=5)])

    answers = await store.apply(
        [
            SubmitTasks(tasks=(make_new("t2", 6), make_new("t3", 5))),
            SubmitTasks(tasks=(make_new("t4", 7), make_new("t5", 7))),
            SubmitTasks(tasks=(make_new("t6", 3),)),
            SubmitTasks(tasks=(make_new("t7", 3),)),
        ]
    )

    reasons = [answer.reason if isinstance(answer, Refused) else None for answer in answers]
    assert reasons == [RefusalReason.CONFLICT, RefusalReason.CONFLICT, None, RefusalReason.CONFLICT]
    assert [task.id for task in await store.tasks(TaskQuery())] == ["t1", "t6"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": TaskState.RUNNING}, "cannot begin as running"),
        ({"state": TaskState.SUCCEEDED}, "cannot begin as succeeded"),
        ({"state": TaskState.NEEDS_HUMAN}, "cannot begin as needs_human"),
        ({"prev_state": TaskState.SCHEDULED}, "no state before"),
        ({"generation": 1}, "generation 1"),
        ({"wait": None}, "queued needs a wait reason"),
        ({"finished_ms": 5}, "queued has not finished"),
        ({"session": "s1"}, "queued allows no session"),
    ],
)
async def test_a_task_begins_at_the_beginning(store: Store, changes: dict[str, object], words: str) -> None:
    """A new task is queued or scheduled, was in no state before, and its row is consistent."""
    (answer,) = await store.apply([SubmitTasks(tasks=(bent(make_new("t1", 1), **changes), make_new("t2", 2)))])

    assert isinstance(answer, Refused)
    assert (answer.reason, answer.task) == (RefusalReason.ILLEGAL, None)
    assert words in answer.message
    assert await store.states(["t1", "t2"]) == {}


async def test_a_task_may_begin_scheduled(store: Store) -> None:
    """Scheduled is the other first state; it has no wait reason."""
    (answer,) = await store.apply([SubmitTasks(tasks=(make_new("t1", 1, state=TaskState.SCHEDULED),))])

    assert isinstance(answer, Applied)
    assert await store.states(["t1"]) == {"t1": TaskState.SCHEDULED}


async def test_a_task_and_its_spec_have_one_id(store: Store) -> None:
    """A spec of another task is refused: the id is what makes a submit idempotent."""
    new = msgspec.structs.replace(make_new("t1"), spec=make_spec("t2"))

    (answer,) = await store.apply([SubmitTasks(tasks=(new,))])

    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.ILLEGAL
    assert await store.states(["t1", "t2"]) == {}


async def test_a_spec_with_sets_and_maps_is_recognised(store: Store) -> None:
    """Whether two specs are equal does not depend on the order in which a set is written."""
    names = [f"capability-{n}" for n in range(40)]
    spec = msgspec.structs.replace(make_spec(), requires=frozenset(names), env={"A": "1", "B": "2"}, timeout_s=30.0)
    same = msgspec.structs.replace(spec, requires=frozenset(reversed(names)), env={"B": "2", "A": "1"})

    answers = [
        (await store.apply([SubmitTasks(tasks=(msgspec.structs.replace(make_new(), spec=wanted),))]))[0]
        for wanted in (spec, same)
    ]

    assert answers == [Applied(last_seq=1), Applied(duplicates=("t1",))]


async def test_an_empty_submit_is_applied(store: Store) -> None:
    """Nothing to store is no error, and no batch is too small."""
    assert await store.apply([]) == []
    assert await store.apply([SubmitTasks(tasks=())]) == [Applied()]


async def test_a_submit_larger_than_any_flush_is_one_command(store: Store) -> None:
    """Two thousand tasks in one command are stored together, in order."""
    ids = [f"t{n:04}" for n in range(2_000)]

    (answer,) = await store.apply([make_submit(*ids)])
    (again,) = await store.apply([make_submit(*ids)])

    assert answer == Applied(last_seq=2_000)
    assert again == Applied(duplicates=tuple(ids))
    assert [task.id for task in (await store.open_work()).tasks] == ids


async def test_a_life_inside_one_batch(store: Store) -> None:
    """A task may be submitted and moved several times in one batch: its last row and all of its events are kept."""
    queued = make_task("t1")
    updates: list[UpdateTask] = []
    task = queued
    for state in (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.EVALUATING, TaskState.SUCCEEDED):
        updates.append(make_update(task, state))
        task = updates[-1].task

    answers = await store.apply([make_submit("t1"), *updates])

    detail = await store.task("t1")
    assert [answer.last_seq for answer in answers if isinstance(answer, Applied)] == [1, 2, 3, 4, 5]
    assert detail is not None
    assert detail.task == updates[-1].task
    assert detail.task.prev_state is TaskState.EVALUATING
    assert [event.name for event in detail.events] == [
        "task.submitted",
        "task.assigned",
        "task.running",
        "task.evaluating",
        "task.succeeded",
    ]


async def test_events_about_other_tasks_are_kept_with_them(store: Store) -> None:
    """An event belongs to the task that it names, not to the command it came with."""
    await store.apply([make_submit("t1")])
    stray = msgspec.structs.replace(make_new("t2", 2), event=make_event("t1", "task.paused"))

    await store.apply([SubmitTasks(tasks=(stray,))])

    assert [event.name for event in await store.events(task_id="t1")] == ["task.submitted", "task.paused"]
    assert await store.events(task_id="t2") == []
