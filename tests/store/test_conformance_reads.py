"""Every store: reads see all that was acknowledged, in the order that was promised."""

import asyncio

import msgspec
import pytest

from ostler.domain.commands import (
    AppendEvents,
    Applied,
    LateReport,
    RefusalReason,
    Refused,
    SubmitTasks,
)
from ostler.domain.errors import OstlerError
from ostler.domain.event import Event
from ostler.domain.ledger import LedgerQuery
from ostler.domain.limits import ScopeKind
from ostler.domain.ports import CallQuery, OpenWork, Store, TaskQuery
from ostler.domain.states import TaskState
from tests.store.rows_made import NOW_MS, make_attempt, make_event, make_new, make_submit, make_task, make_update

S = TaskState


def make_late(task_id: str, body: bytes, generation: int = 1) -> LateReport:
    event = make_event(task_id, "task.late_report")
    return LateReport(task_id=task_id, generation=generation, at_ms=NOW_MS, body=body, event=event)


async def test_an_empty_store_says_so(store: Store) -> None:
    """Nothing is there, and the first number is 1."""
    assert await store.open_work() == OpenWork(tasks=(), sessions=(), endpoints=(), next_seq=1, last_event_seq=0)
    assert await store.task("t1") is None
    assert await store.tasks(TaskQuery()) == []
    assert await store.events() == []
    assert await store.states(["t1"]) == {}
    assert await store.states([]) == {}


async def test_open_work_is_every_task_that_is_not_final(store: Store) -> None:
    """A hub that starts again gets what it must go on with, in order of arrival, and the next free number."""
    await store.apply([make_submit("a", "b", "c", first_seq=1), make_submit("z", first_seq=10)])
    await store.apply(
        [
            make_update(make_task("b", 2), S.CANCELLED),
            make_update(make_task("z", 10), S.FAILED),
            make_update(make_task("c", 3), S.ASSIGNED),
        ]
    )

    work = await store.open_work()

    assert [(task.id, task.state) for task in work.tasks] == [("a", S.QUEUED), ("c", S.ASSIGNED)]
    assert (work.next_seq, work.last_event_seq) == (11, 7)


async def test_states_of_many_ids(store: Store) -> None:
    """More ids than any engine takes in one statement, known and unknown, are answered at once."""
    known = [f"t{n}" for n in range(1_200)]
    await store.apply([make_submit(*known)])

    found = await store.states([*(f"unknown-{n}" for n in range(900)), *known])

    assert found == dict.fromkeys(known, S.QUEUED)


@pytest.fixture
async def listed(store: Store) -> Store:
    """Twelve tasks by number: every second one in batch `b`, every third one failed, every fourth one running."""
    for seq in range(1, 13):
        task = make_task(f"t{seq}", seq, batch="b" if seq % 2 == 0 else None)
        new = msgspec.structs.replace(make_new(f"t{seq}", seq), task=task)
        await store.apply([SubmitTasks(tasks=(new,))])
        if seq % 3 == 0:
            await store.apply([make_update(task, S.FAILED)])
        elif seq % 4 == 0:
            assigned = make_update(task, S.ASSIGNED)
            await store.apply([assigned, make_update(assigned.task, S.RUNNING)])
    return store


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        (TaskQuery(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (TaskQuery(limit=3), [12, 11, 10]),
        (TaskQuery(limit=3, before_seq=10), [9, 8, 7]),
        (TaskQuery(before_seq=1), []),
        (TaskQuery(limit=0), []),
        (TaskQuery(limit=-1), []),
        (TaskQuery(states=(S.FAILED,)), [12, 9, 6, 3]),
        (TaskQuery(states=(S.FAILED,), limit=2), [12, 9]),
        (TaskQuery(states=(S.FAILED,), limit=2, before_seq=12), [9, 6]),
        (TaskQuery(states=(S.RUNNING,)), [8, 4]),
        (TaskQuery(states=(S.RUNNING, S.FAILED)), [12, 9, 8, 6, 4, 3]),
        (TaskQuery(states=(S.RUNNING, S.FAILED), limit=4), [12, 9, 8, 6]),
        (TaskQuery(states=(S.FAILED, S.FAILED)), [12, 9, 6, 3]),
        (TaskQuery(states=(S.SUCCEEDED,)), []),
        (TaskQuery(batch="b"), [12, 10, 8, 6, 4, 2]),
        (TaskQuery(batch="b", states=(S.RUNNING,)), [8, 4]),
        (TaskQuery(batch="b", states=(S.FAILED, S.QUEUED), limit=3, before_seq=12), [10, 6, 2]),
        (TaskQuery(batch="unknown"), []),
    ],
)
async def test_tasks_are_listed_newest_first(listed: Store, query: TaskQuery, seqs: list[int]) -> None:
    """Each filter alone and together; the limit counts what matches; `before_seq` goes on where a page ended."""
    assert [task.seq for task in await listed.tasks(query)] == seqs


async def test_paging_reaches_every_task_once(listed: Store) -> None:
    """Following `before_seq` from page to page meets each task exactly once."""
    seen: list[int] = []
    before = None
    while page := await listed.tasks(TaskQuery(limit=5, before_seq=before)):
        seen += [task.seq for task in page]
        before = page[-1].seq

    assert seen == list(range(12, 0, -1))


async def test_events_are_numbered_in_order_without_gaps(store: Store) -> None:
    """The store gives the numbers; whatever number a caller wrote is ignored."""
    events = tuple(
        Event(name=f"e{n}", at_ms=NOW_MS - n, seq=99, measurements={"n": n, "half": n / 2}, metadata={"ok": n > 1})
        for n in range(3)
    )

    (answer,) = await store.apply([AppendEvents(events=events)])

    assert answer == Applied(last_seq=3)
    assert await store.events() == [msgspec.structs.replace(event, seq=n) for n, event in enumerate(events, 1)]


async def test_events_are_followed_by_number(store: Store) -> None:
    """`after_seq` and `limit` page through the events, of all tasks or of one."""
    await store.apply([AppendEvents(events=tuple(make_event(f"t{n % 2}", f"e{n}") for n in range(1, 9)))])

    assert [event.seq for event in await store.events(after_seq=2, limit=3)] == [3, 4, 5]
    assert [event.seq for event in await store.events(task_id="t1")] == [1, 3, 5, 7]
    assert [event.seq for event in await store.events(task_id="t1", after_seq=3, limit=1)] == [5]
    assert await store.events(after_seq=8) == []
    assert await store.events(limit=0) == []
    assert await store.events(limit=-5) == []
    assert [event.seq for event in await store.events(after_seq=-3, limit=2)] == [1, 2]


async def test_events_of_a_task_from_before_it_was_known(store: Store) -> None:
    """What was recorded about an id before a task had it belongs to that task's story."""
    await store.apply([AppendEvents(events=(make_event("t1", "scheduler.route"), make_event("t2", "other")))])
    await store.apply([make_submit("t1"), AppendEvents(events=(make_event("t1", "task.paused"),))])

    detail = await store.task("t1")

    expected = ["scheduler.route", "task.submitted", "task.paused"]
    assert detail is not None
    assert [event.name for event in detail.events] == expected
    assert [event.name for event in await store.events(task_id="t1")] == expected
    assert [event.name for event in await store.events(task_id="t2")] == ["other"]


async def test_an_event_without_a_task(store: Store) -> None:
    """Events of the fleet name no task and are in the feed all the same."""
    await store.apply([AppendEvents(events=(make_event(None, "endpoint.up"),))])

    (event,) = await store.events()

    assert (event.name, event.task_id) == ("endpoint.up", None)


async def test_no_events_have_no_number(store: Store) -> None:
    """An empty list of events is applied and names none."""
    assert await store.apply([AppendEvents(events=())]) == [Applied()]


async def test_late_reports_are_kept_in_order(store: Store) -> None:
    """Whatever bytes came, however often; the row of the task does not change."""
    await store.apply([make_submit("t1")])
    bodies = (b"\x00\xff first", b"", b'{"json": true}', b"\x00\xff first")

    answers = await store.apply([make_late("t1", body, generation) for generation, body in enumerate(bodies)])

    detail = await store.task("t1")
    assert detail is not None
    assert detail.late_reports == bodies
    assert detail.task == make_task("t1")
    assert [answer.last_seq for answer in answers if isinstance(answer, Applied)] == [2, 3, 4, 5]


async def test_a_late_report_about_nothing_is_not_found(store: Store) -> None:
    """There is no task to keep it with, and its event is not stored either."""
    (answer,) = await store.apply([make_late("t1", b"x")])

    assert answer == Refused(reason=RefusalReason.NOT_FOUND, message="there is no task t1")
    assert await store.events() == []


async def test_a_read_sees_what_was_acknowledged(store: Store) -> None:
    """As soon as `apply` returned, every read shows it, also under many writers at once."""

    async def write_and_read(number: int) -> None:
        task = make_task(f"t{number}", number)
        (submitted,) = await store.apply([SubmitTasks(tasks=(make_new(task.id, number),))])
        assert isinstance(submitted, Applied)
        assert await store.states([task.id]) == {task.id: S.QUEUED}
        assert (await store.events(after_seq=submitted.last_seq - 1, limit=1))[0].task_id == task.id
        await store.apply([make_update(task, S.CANCELLED)])
        detail = await store.task(task.id)
        assert detail is not None
        assert (detail.task.state, len(detail.events)) == (S.CANCELLED, 2)

    await asyncio.gather(*(write_and_read(number) for number in range(1, 41)))

    assert (await store.open_work()).tasks == ()


async def test_unusual_text_comes_back(store: Store) -> None:
    """Ids and texts may hold quotes, emoji and SQL, and titles zero characters; each is found under exactly its own
    name. No face lets a zero character into an id, which PostgreSQL could not hold.
    """
    ids = ["", "'; DROP TABLE task; --", "a\x01b", "a", "a\x01c", "\N{SNOWMAN}\N{GRINNING FACE}", "A", " a", "%", "%s"]

    await store.apply([make_submit(*ids)])
    await store.apply([make_update(make_task("a\x01b", 3, title="x\x00y"), S.CANCELLED)])

    found = await store.states(ids)
    assert found == dict.fromkeys(ids, S.QUEUED) | {"a\x01b": S.CANCELLED}
    assert (await store.rows(["a\x01b"]))["a\x01b"].title == "x\x00y"
    for seq, task_id in enumerate(ids, 1):
        detail = await store.task(task_id)
        assert detail is not None
        assert (detail.task.id, detail.task.seq) == (task_id, seq)
        assert len(detail.events) == (2 if task_id == "a\x01b" else 1)


async def test_a_closed_store_refuses_everything(store: Store) -> None:
    """After `close`, which may come twice, every call says that the store is closed."""
    await store.apply([make_submit("t1")])
    await store.close()
    await store.close()

    for call in (
        store.apply([make_submit("t2")]),
        store.open_work(),
        store.states(["t1"]),
        store.task("t1"),
        store.tasks(TaskQuery()),
        store.events(),
        store.token_name("h", "admin"),
        store.tokens(),
        store.plans("r1"),
        store.keys(),
        store.calls(CallQuery()),
        store.call("c-1"),
        store.key_spend(0),
        store.oldest_call_ms(),
        store.spent([]),
        store.ledger(LedgerQuery()),
        store.open_reservations(),
        store.charged(ScopeKind.ALL),
    ):
        with pytest.raises(OstlerError, match="the store is closed"):
            await call


async def test_rows_specs_and_outputs_of_many_ids(store: Store) -> None:
    """More ids than any engine takes in one statement; unknown ones, and tasks without output, are left out."""
    known = [f"t{n}" for n in range(300)]
    await store.apply([make_submit(*known)])
    assigned = make_task("t7", 8)
    await store.apply([make_update(assigned, S.ASSIGNED)])
    asked = [*known, "unknown"]

    rows, specs = await store.rows(asked), await store.specs(asked)

    assert set(rows) == set(specs) == set(known)
    assert (rows["t7"].state, rows["t8"].state) == (S.ASSIGNED, S.QUEUED)
    detail = await store.task("t9")
    assert detail is not None
    assert (rows["t9"], specs["t9"]) == (detail.task, detail.spec)
    assert await store.outputs(asked) == {}
    assert (await store.rows([]), await store.specs([]), await store.outputs([])) == ({}, {}, {})


async def test_the_newest_output_of_each_task_is_given(store: Store) -> None:
    """Of several attempts the newest that has one, an empty one included."""
    await store.apply([make_submit("a", "b", first_seq=1)])
    for task_id, seq, outputs in (("a", 1, ("old", "new", None)), ("b", 2, ("old", ""))):
        row = make_task(task_id, seq)
        for output in outputs:
            assigned = make_update(row, S.ASSIGNED)
            ended = make_update(assigned.task, S.EVALUATING)
            ended = msgspec.structs.replace(
                ended, attempt=make_attempt(task_id, assigned.task.generation), output=output
            )
            again = make_update(ended.task, S.RETRY_WAIT)
            back = make_update(again.task, S.QUEUED)
            answers = await store.apply([assigned, ended, again, back])
            assert all(isinstance(answer, Applied) for answer in answers), answers
            row = back.task

    assert await store.outputs(["b", "a", "a"]) == {"a": "new", "b": ""}
