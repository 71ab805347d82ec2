"""The log of events stays bounded; what it added up to is kept."""

from ostler.domain.commands import AppendEvents
from ostler.domain.event import Event
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub import janitor as rules
from ostler.hub.janitor import Janitor
from tests.hub.house import House, house

DAY_MS = 86_400_000


async def happened(built: House, at_ms: int, count: int) -> None:
    events = tuple(Event(name="endpoint.down", at_ms=at_ms, metadata={"endpoint": "a"}) for _ in range(count))
    await built.pump.apply([AppendEvents(events=events)])


async def test_what_is_old_goes_in_small_steps_and_its_sum_stays() -> None:
    """More than one step; the young stay; the sum is that of all that went."""
    async with house() as built:
        now_ms = built.clock.now_ms()
        await happened(built, now_ms, 2 * rules.STEP + 7)
        built.clock.pass_ms(31 * DAY_MS)
        await happened(built, built.clock.now_ms(), 3)

        looked = await Janitor(built.pump, built.store).sweep()

        assert looked >= 2 * rules.STEP + 7
        assert len(await built.store.events(limit=10_000)) == 3
        (total,) = await built.store.event_totals()
        assert (total.name, total.part, total.events) == ("endpoint.down", "endpoint=a", 2 * rules.STEP + 7)


async def test_events_of_an_open_task_stay_whole_and_those_behind_them_go() -> None:
    """However old: a task that waits for months can still be explained. The sweep passes them by."""
    async with house() as built:
        await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
        whole = await built.store.events(task_id="t")
        await happened(built, built.clock.now_ms(), rules.STEP)
        built.clock.pass_ms(40 * DAY_MS)

        await Janitor(built.pump, built.store).sweep()

        left = await built.store.events(limit=10_000)
        assert [event.seq for event in left if event.task_id == "t"][: len(whole)] == [event.seq for event in whole]
        assert not any(event.name == "endpoint.down" for event in left)


async def test_a_young_log_is_left_alone_after_one_look() -> None:
    """Nothing is old: one page is read and nothing written."""
    async with house() as built:
        await happened(built, built.clock.now_ms(), 50)
        before = await built.store.events(limit=1_000)

        assert await Janitor(built.pump, built.store).sweep() == 0

        assert await built.store.events(limit=1_000) == before
        assert await built.store.event_totals() == []


async def test_how_long_is_a_setting() -> None:
    """A shorter time is obeyed with the next sweep."""
    async with house() as built:
        await happened(built, built.clock.now_ms(), 5)
        built.clock.pass_ms(2 * DAY_MS)
        keeper = Janitor(built.pump, built.store)
        await keeper.sweep()
        assert len(await built.store.events(limit=100)) == 5

        keeper.keep_events_ms = DAY_MS
        await keeper.sweep()

        assert await built.store.events(limit=100) == []


async def test_it_starts_and_stops_as_often_as_asked() -> None:
    """Stopping what never started is fine."""
    async with house() as built:
        keeper = Janitor(built.pump, built.store)
        await keeper.stop()
        keeper.start()
        await keeper.stop()
        await keeper.stop()

        assert keeper._sweeping is not None
        assert keeper._sweeping.done()


def test_what_is_kept_for_a_short_time_is_looked_at_more_often() -> None:
    """Every hour what is kept for days; else ten times in its time, and never more than every ten seconds."""
    day_s, hour_s = 86_400, 3_600
    kept = {30 * day_s: 3_600, 10 * hour_s: 3_600, hour_s: 360, 60: 10, 1: 10}

    assert {keep_s: rules.sweep_every_s(keep_s * 1000) for keep_s in kept} == kept


async def test_tasks_that_ended_long_ago_go_unless_an_open_one_needs_them() -> None:
    """With what they said; the young and the open stay, and what is needed is still handed over."""
    async with house() as built:
        names = ("old", "needed", "waits", "last")
        for name in names:
            needs = ("needed",) if name == "waits" else ()
            await built.hub.submit(
                [TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), needs=needs, held=name == "waits")]
            )
        for name in ("old", "last"):
            await built.hub.cancel(name)
        built.clock.pass_ms(91 * DAY_MS)
        await built.hub.submit([TaskSpec(id="young", kind=TaskKind.COMMAND, argv=("true",))])
        await built.hub.cancel("young")

        looked = await Janitor(built.pump, built.store).sweep_tasks()

        left = await built.store.rows([*names, "young"])
        assert looked >= len(names)
        assert set(left) == {"needed", "waits", "young"}


async def test_what_is_looked_at_ends_with_the_first_young_task() -> None:
    """However many came after it: a sweep of a store in which nothing is old costs one look."""
    async with house() as built:
        await built.hub.submit([TaskSpec(id=f"t{n}", kind=TaskKind.COMMAND, argv=("true",)) for n in range(250)])

        assert await Janitor(built.pump, built.store).sweep_tasks() == 0
        built.clock.pass_ms(91 * DAY_MS)
        assert await Janitor(built.pump, built.store).sweep_tasks() == 250
        assert len(await built.store.rows(["t0", "t249"])) == 2
