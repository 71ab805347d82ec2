"""Every store: a loop is stored over the version that it was made from, with the events of its step, or not at all."""

import asyncio

import msgspec
import pytest

from ostler.domain.commands import Applied, DropLoop, RefusalReason, Refused, SaveLoop
from ostler.domain.event import Event
from ostler.domain.loops import Loop, LoopDone, ScheduleConfig, Summarizing
from ostler.domain.ports import Store
from ostler.domain.tasks import TaskSpec
from ostler.domain.working_set import WorkingState
from tests.store.rows_made import NOW_MS, make_loop

EVENT = Event(name="loop.tick", at_ms=NOW_MS, metadata={"loop": "l"})


async def test_a_loop_comes_back_whole(store: Store) -> None:
    """Schedule, work, state and record."""
    loop = msgspec.structs.replace(
        make_loop(said="a\u2028b \U0001f40e"),
        schedule=ScheduleConfig(cron="0 9 * * *", time_zone="Europe/Berlin", interval_minutes=0.5),
        work=TaskSpec(id="work", argv=("make", "it"), local_only=True),
        recent=(LoopDone(number=1, due_ms=1, started_ms=2, ended_ms=3, ticks=4),),
        history=("one", "two"),
        summarizing=Summarizing(at_tick=10, texts=("x",)),
        working=WorkingState(objectives=("mend the roof",)),
    )
    assert await store.apply([SaveLoop(loop=loop)]) == [Applied()]
    assert await store.loops() == [loop]


async def test_of_two_that_take_the_same_step_one_does(store: Store) -> None:
    """The other is refused, and its events are not told."""
    await store.apply([SaveLoop(loop=make_loop())])
    mine, theirs = (SaveLoop(loop=make_loop(version=2, said=who), events=(EVENT,)) for who in ("me", "they"))

    (first,), (second,) = await asyncio.gather(store.apply([mine]), store.apply([theirs]))

    assert isinstance(first, Applied)
    assert isinstance(second, Refused)
    assert second.reason is RefusalReason.CONFLICT
    assert "at version 2, not at 1" in second.message
    assert [loop.run.said for loop in await store.loops() if loop.run is not None] == ["me"]
    assert len(await store.events()) == 1


async def test_a_batch_may_take_several_steps(store: Store) -> None:
    """Each over the one before it; the events in their order."""
    steps = [
        SaveLoop(loop=make_loop(version=number), events=(msgspec.structs.replace(EVENT, at_ms=number),))
        for number in (1, 2, 3)
    ]
    assert [isinstance(result, Applied) for result in await store.apply(steps)] == [True] * 3
    assert [loop.version for loop in await store.loops()] == [3]
    assert [event.at_ms for event in await store.events()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("stored", "offered", "message"),
    [
        (0, 2, "at version 0, not at 1"),
        (1, 1, "a loop named l exists"),
        (3, 1, "a loop named l exists"),
        (3, 3, "at version 3, not at 2"),
        (3, 5, "at version 3, not at 4"),
    ],
)
async def test_only_the_next_version_is_taken(store: Store, stored: int, offered: int, message: str) -> None:
    """Neither an older one, nor one that skips."""
    await store.apply([SaveLoop(loop=make_loop(version=number)) for number in range(1, stored + 1)])
    (result,) = await store.apply([SaveLoop(loop=make_loop(version=offered), events=(EVENT,))])
    assert isinstance(result, Refused)
    assert (result.reason, message in result.message) == (RefusalReason.CONFLICT, True)
    assert [loop.version for loop in await store.loops()] == [stored] * bool(stored)
    assert await store.events() == []


async def test_a_dropped_loop_is_gone_and_its_name_is_free(store: Store) -> None:
    """One that is not there is not found."""
    drop = DropLoop(name="l", event=EVENT)
    await store.apply([SaveLoop(loop=make_loop()), SaveLoop(loop=make_loop("other"))])
    first, second = await store.apply([drop, drop])
    assert isinstance(first, Applied)
    assert isinstance(second, Refused)
    assert second.reason is RefusalReason.NOT_FOUND
    assert [loop.name for loop in await store.loops()] == ["other"]
    assert isinstance((await store.apply([SaveLoop(loop=make_loop())]))[0], Applied)
    assert [event.name for event in await store.events()] == ["loop.tick"]


async def test_loops_are_listed_by_name(store: Store) -> None:
    """In the order of the alphabet, however they came."""
    await store.apply([SaveLoop(loop=make_loop(name)) for name in ("b", "a", "c")])
    found: list[Loop] = await store.loops()
    assert [loop.name for loop in found] == ["a", "b", "c"]
