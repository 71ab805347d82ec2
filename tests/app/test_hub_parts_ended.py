"""A hub that does not start, or does not stop as it should: nothing of it is left."""

import asyncio
from collections.abc import Sequence

import pytest

from ostler.domain.commands import Command, Result
from ostler.domain.ports import OpenWork
from ostler.hub import committer as committing
from ostler.store.errors import StoreError
from tests.app.test_hub_parts import Drivers, KeptStore, events, started


class LeavingStore(KeptStore):
    """Goes away after some commits, and stays away."""

    def __init__(self, commits: int) -> None:
        super().__init__()
        self.commits = commits

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        self.commits -= 1
        if self.commits < 0:
            raise StoreError("the database does not answer")
        return await super().apply(commands)


@pytest.mark.parametrize("commits", range(5))
async def test_a_hub_that_cannot_start_leaves_nothing_running(commits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever its store goes away: nothing probes or loads any more, as the process may lead again later, and the
    store is closed. The simulated world saw what was left of such a start change what is loaded, two leaders later.
    """
    monkeypatch.setattr(committing, "RETRY_DELAYS_S", (0.0,))
    store, drivers = LeavingStore(commits), Drivers()
    before = asyncio.all_tasks()
    try:
        parts = await started(store, drivers, endpoints=True)
    except StoreError:
        assert asyncio.all_tasks() == before
        assert (store.closings, drivers.closed) == (1, 1)
    else:
        await parts.stop()
        assert commits >= 2, "a start makes commits"


async def test_a_part_that_fails_to_stop_leaves_nothing_else_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is told after all others were stopped in their order, the store last."""
    store, drivers, order = KeptStore(), Drivers(), list[str]()
    before = asyncio.all_tasks()
    parts = await started(store, drivers)

    async def failing() -> None:
        order.append("prober")
        await prober_stop()
        raise RuntimeError("it does not end")

    async def closing() -> None:
        order.append("drivers")
        await drivers_close()

    prober_stop, drivers_close = parts.prober.stop, parts.drivers.close
    monkeypatch.setattr(parts.prober, "stop", failing)
    monkeypatch.setattr(parts.drivers, "close", closing)

    with pytest.raises(RuntimeError, match="does not end"):
        await parts.stop()

    assert order == ["prober", "drivers"]
    assert (drivers.closed, store.closings) == (1, 1)
    assert len(await events(store, "hub.stopped")) == 1
    assert asyncio.all_tasks() == before


async def test_a_start_that_is_broken_off_leaves_nothing_running() -> None:
    """However many turns of the loop after it began: who gave up the wait for a hub has none, and may start another."""
    before, turns, is_up = asyncio.all_tasks(), 0, False
    while not is_up:
        turns += 1
        store, drivers = KeptStore(), Drivers()
        starting = asyncio.ensure_future(started(store, drivers, endpoints=True))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        is_up = not starting.cancelled()
        if is_up:
            await starting.result().stop()
        assert asyncio.all_tasks() == before, turns
        assert (store.closings, drivers.closed) == (1, 1), turns
    assert turns > 5, "a start takes its time"


async def test_a_store_that_cannot_be_read_is_closed() -> None:
    """Nothing was begun over it yet, and nobody else has it."""

    class UnreadStore(KeptStore):
        async def open_work(self) -> OpenWork:
            raise StoreError("it cannot be read")

    store, drivers = UnreadStore(), Drivers()
    with pytest.raises(StoreError, match="cannot be read"):
        await started(store, drivers)
    assert (store.closings, drivers.closed) == (1, 1)
