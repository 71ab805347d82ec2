"""Every store: alerts, and what becomes of old events."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.alerts import Alert, AlertState
from ostler.domain.commands import AppendEvents, Applied, PruneEvents, PutAlerts, SubmitTasks, UpdateTask
from ostler.domain.event import Event
from ostler.domain.event_totals import EventTotal, added, key_of, totals_of
from ostler.domain.ports import Store
from ostler.domain.states import TaskState
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import NOW_MS, make_new, make_task

DAY_MS = 86_400_000
FIRST_DAY = NOW_MS - NOW_MS % DAY_MS


def alert(rule: str, subject: str = "", **changes: object) -> Alert:
    made = Alert(rule=rule, subject=subject, state=AlertState.ACTIVE, since_ms=1, raised_ms=2, times=1, updated_ms=3)
    return msgspec.structs.replace(made, **changes)


def event(name: str = "task.queued", at_ms: int = NOW_MS, task_id: str | None = None, **metadata: str) -> Event:
    return Event(name=name, at_ms=at_ms, task_id=task_id, metadata=metadata)


async def test_alerts_come_back_whole_by_name(store: Store) -> None:
    """Whatever is in them: subjects with signs of all kinds."""
    rows = (alert("b", 'x/y:"ä'), alert("a"), alert("b", "c", message="down", value=1.5, acknowledged_by="ann"))

    assert await store.apply([PutAlerts(alerts=rows)]) == [Applied()]

    assert await store.alerts() == [rows[1], rows[2], rows[0]]


async def test_the_last_word_on_an_alert_wins(store: Store) -> None:
    """In one batch and over several."""
    first, second = alert("a"), alert("a", state=AlertState.CLEARED, cleared_ms=9)

    await store.apply([PutAlerts(alerts=(first,)), PutAlerts(alerts=(second,))])
    assert await store.alerts() == [second]
    await store.apply([PutAlerts(alerts=(first,))])

    assert await store.alerts() == [first]


async def test_alerts_outlive_the_process(sqlite_store: SqliteStore) -> None:
    """A hub that starts again finds what was raised and acknowledged."""
    known = alert("tier_down", "standard", state=AlertState.ACKNOWLEDGED, acknowledged_by="ann")
    await sqlite_store.apply([PutAlerts(alerts=(known,))])
    await sqlite_store.close()

    again = await SqliteStore.open(sqlite_store.path)
    try:
        assert await again.alerts() == [known]
        assert await again.check() == []
    finally:
        await again.close()


async def prune(store: Store, before_ms: int, after_seq: int = 0, to_seq: int = 1_000) -> list[int]:
    """What is left, by number."""
    assert await store.apply([PruneEvents(before_ms=before_ms, after_seq=after_seq, to_seq=to_seq)]) == [Applied()]
    return [one.seq for one in await store.events(limit=1_000)]


async def test_old_events_of_no_task_go_and_younger_ones_stay(store: Store) -> None:
    """Before means before."""
    await store.apply([AppendEvents(events=tuple(event(at_ms=at_ms) for at_ms in (1, 5, 4, 9)))])

    assert await prune(store, 5) == [2, 4]


async def test_only_events_in_the_span_of_numbers_are_looked_at(store: Store) -> None:
    """So that a step is as small as its caller wants."""
    await store.apply([AppendEvents(events=tuple(event(at_ms=1) for _ in range(6)))])

    assert await prune(store, 5, after_seq=1, to_seq=3) == [1, 4, 5, 6]


async def end(store: Store, task_id: str, seq: int, at_ms: int) -> None:
    """Cancel a task."""
    task = make_task(task_id, seq, TaskState.CANCELLED, finished_ms=at_ms, updated_ms=at_ms)
    ended = event("task.cancelled", at_ms, task_id)
    command = UpdateTask(task=task, expect_generation=0, expect_states=(TaskState.QUEUED,), events=(ended,))
    (answer,) = await store.apply([command])
    assert isinstance(answer, Applied)


async def test_events_of_a_task_stay_whole_until_all_of_it_is_old(store: Store) -> None:
    """An open task keeps everything, however old; one that ended goes with its last event."""
    await store.apply([SubmitTasks(tasks=(make_new("t1", 1), make_new("t2", 2), make_new("t3", 3)))])
    await end(store, "t1", 1, NOW_MS + 10)
    await end(store, "t2", 2, NOW_MS + 20)
    await store.apply([AppendEvents(events=(event(at_ms=NOW_MS, task_id="t2"), event(task_id="nobody")))])

    await prune(store, NOW_MS + 15)
    left = {one.task_id for one in await store.events(limit=100)}
    assert left == {"t2", "t3"}
    assert len(await store.events(task_id="t2")) == 3
    detail = await store.task("t1")
    assert detail is not None
    assert detail.events == ()

    await prune(store, NOW_MS + 10**9)
    assert [one.task_id for one in await store.events(limit=100)] == ["t3"]


async def test_a_number_is_never_given_twice(store: Store) -> None:
    """Not even when the newest event was pruned: who follows by number misses nothing."""
    await store.apply([AppendEvents(events=(event(at_ms=1), event(at_ms=1)))])
    assert await prune(store, 5) == []

    (answer,) = await store.apply([AppendEvents(events=(event(),))])

    assert isinstance(answer, Applied)
    assert answer.last_seq == 3
    assert [one.seq for one in await store.events(after_seq=2)] == [3]
    assert (await store.open_work()).last_event_seq == 3


async def test_what_was_pruned_is_kept_as_sums_by_day(store: Store) -> None:
    """How many, and of each measurement the sum and the highest; apart by what the catalogue keeps apart."""
    made = tuple(
        Event(
            name="task.succeeded",
            at_ms=FIRST_DAY + offset,
            measurements={"duration_ms": duration, "attempts": 1},
            metadata={"tier": tier, "outcome": "verified", "model": f"m{offset}"},
        )
        for offset, duration, tier in ((1, 10, "low"), (2, 30, "low"), (3, 5, "high"), (DAY_MS, 7, "low"))
    )
    await store.apply([AppendEvents(events=made)])
    await prune(store, FIRST_DAY + 2 * DAY_MS, to_seq=2)
    await prune(store, FIRST_DAY + 2 * DAY_MS)

    found = await store.event_totals()
    low = [one for one in found if one.part == "tier=low,outcome=verified"]
    assert [(one.day_ms, one.measure, one.events, one.total, one.highest) for one in low] == [
        (FIRST_DAY, "", 2, 0.0, 0.0),
        (FIRST_DAY, "attempts", 2, 2.0, 1.0),
        (FIRST_DAY, "duration_ms", 2, 40.0, 30.0),
        (FIRST_DAY + DAY_MS, "", 1, 0.0, 0.0),
        (FIRST_DAY + DAY_MS, "attempts", 1, 1.0, 1.0),
        (FIRST_DAY + DAY_MS, "duration_ms", 1, 7.0, 7.0),
    ]
    assert {one.day_ms for one in await store.event_totals(FIRST_DAY + 1)} == {FIRST_DAY + DAY_MS}


async def test_a_database_is_sound_after_pruning(sqlite_store: SqliteStore) -> None:
    """`ostler db check` finds nothing to complain of."""
    await sqlite_store.apply([SubmitTasks(tasks=(make_new("t1", 1),))])
    await end(sqlite_store, "t1", 1, NOW_MS)
    assert await prune(sqlite_store, NOW_MS + 1) == []

    assert await sqlite_store.check() == []


NAMES = ("task.succeeded", "endpoint.down", "hub.started", "a.name.of.tomorrow")
EVENTS = st.lists(
    st.builds(
        Event,
        name=st.sampled_from(NAMES),
        at_ms=st.integers(0, 3 * DAY_MS),
        measurements=st.dictionaries(st.sampled_from(["wait_ms", "attempts"]), st.integers(0, 100), max_size=2),
        metadata=st.dictionaries(st.sampled_from(["tier", "endpoint"]), st.sampled_from(["a", "b"]), max_size=2),
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 20))
def test_adding_up_in_parts_is_adding_up_at_once(events: list[Event], cut: int) -> None:
    """So a janitor may take small steps: nothing is lost and nothing counted twice."""
    sums: dict[tuple[object, ...], EventTotal] = {}
    for part in (events[:cut], events[cut:]):
        for one in totals_of(part):
            key = key_of(one)
            sums[key] = added(sums[key], one) if key in sums else one

    assert [sums[key] for key in sorted(sums)] == totals_of(events)
    assert sum(one.events for one in totals_of(events) if not one.measure) == len(events)


@pytest.mark.parametrize("count", [10, 1_000])
def test_totals_do_not_grow_with_the_tasks(count: int) -> None:
    """A thousand tasks of one tier are one total for each measure."""
    events = [
        Event(
            name="task.assigned",
            at_ms=5,
            task_id=f"t{number}",
            measurements={"wait_ms": number},
            metadata={"tier": "low", "worker": f"w{number}", "session": f"s{number}"},
        )
        for number in range(count)
    ]

    assert len(totals_of(events)) == 2
