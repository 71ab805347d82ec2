"""Virtual time, and processes in it that are killed or frozen."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.simulator.owners import Owner, marked
from tests.simulator.virtual_loop import StuckError, VirtualLoop, run


async def ticks(said: list[float]) -> None:
    """Says the time every second."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(1.0)
        said.append(round(loop.time()))


def lived(main: Coroutine[Any, Any, None]) -> None:
    async def begun() -> None:
        asyncio.get_running_loop().set_task_factory(marked)
        await main

    run(begun())


def thaw(owner: Owner) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.thaw(owner)


def test_an_hour_takes_no_time() -> None:
    """Time passes to the next timer when nothing can run."""
    said: list[float] = []

    async def main() -> None:
        task = asyncio.ensure_future(ticks(said))
        await asyncio.sleep(3_600.5)
        task.cancel()

    lived(main())
    assert said == list(range(1, 3_601))


def test_what_is_frozen_does_nothing_and_goes_on_afterwards() -> None:
    """Its tasks take no step and its timers ring late; others go on; what was due meanwhile happens at once."""
    mine: list[float] = []
    others: list[float] = []
    rung: list[float] = []

    async def main() -> None:
        owner = Owner("frozen")
        _ = owner.begin(ticks(mine))
        other = asyncio.ensure_future(ticks(others))
        loop = asyncio.get_running_loop()
        owner.context.run(loop.call_later, 4.0, lambda: rung.append(round(loop.time())))
        given_up = owner.context.run(loop.call_later, 4.0, lambda: rung.append(-1.0))
        await asyncio.sleep(2.5)
        owner.frozen = True
        await asyncio.sleep(5.0)
        assert (mine, rung) == ([1, 2], [])
        given_up.cancel()
        thaw(owner)
        await asyncio.sleep(2.0)
        other.cancel()

    lived(main())
    assert mine == [1, 2, 8, 9]
    assert others == list(range(1, 10))
    assert rung == [8]


def test_what_belongs_to_a_process_is_known() -> None:
    """Whatever its tasks begin is its own too, and nothing of anybody else: so a kill ends all of it and no more."""
    said: list[float] = []

    async def main() -> None:
        owner = Owner("killed")

        async def begins_more() -> None:
            await asyncio.gather(ticks(said), ticks(said))

        _ = owner.begin(begins_more())
        other = asyncio.ensure_future(ticks([]))
        await asyncio.sleep(1.5)
        assert len(owner.tasks) == 3
        assert other not in owner.tasks
        for task in list(owner.tasks):
            task.cancel()
        await asyncio.sleep(3.0)
        assert owner.tasks == {}
        other.cancel()

    lived(main())
    assert said == [1, 1]


def test_a_world_in_which_everybody_waits_is_stuck() -> None:
    """It says so, instead of waiting with them."""

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError):
        lived(main())
