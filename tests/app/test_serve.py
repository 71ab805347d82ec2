"""A hub that ends: whatever fails on the way, or breaks it off, nothing of it stays open."""

import asyncio
import contextlib
import errno
import socket
from pathlib import Path

import msgspec
import pytest

from ostler.app import serve
from ostler.app.gateway_parts import GatewayParts
from ostler.app.http import Door, Listener
from ostler.app.options import UpOptions
from ostler.app.profiles import Chosen
from ostler.config.load import load_profile
from ostler.config.place import HUB_FILE
from ostler.hub.pump import Pump
from tests.app.test_hub_parts import KeptStore


class Ran:
    """A hub over a store that counts how often it is closed."""

    def __init__(self, folder: Path) -> None:
        self.store = KeptStore()
        self.door = Door("127.0.0.1", 0)
        self.folder = folder
        self.may_end = asyncio.Event()

    async def run(self) -> None:
        profile = load_profile("three-tiers", {"HOME": "/nowhere"}, cwd=Path("/"))
        hub = msgspec.structs.replace(profile.hub, data_dir=str(self.folder), port=0)
        catalog = msgspec.structs.replace(profile.policy.catalog, endpoints={})
        policy = msgspec.structs.replace(profile.policy, catalog=catalog)
        chosen = Chosen(profile=msgspec.structs.replace(profile, hub=hub, policy=policy))
        await serve.run_hub(chosen, UpOptions(worker=False), self.store, self.door, self._ended)

    async def _ended(self) -> None:
        await self.may_end.wait()

    def listens(self) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.door.port)) == 0


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    monkeypatch.setattr(serve, "_nothing_collected", contextlib.nullcontext)
    return Ran(tmp_path)


async def up(ran: Ran) -> "asyncio.Task[None]":
    running = asyncio.create_task(ran.run())
    async with asyncio.timeout(10):
        while not (ran.folder / HUB_FILE).exists():
            assert not running.done(), running
            await asyncio.sleep(0.005)
    return running


@pytest.mark.parametrize("part", [None, "the file", "the gateway", "the followers", "the listener"])
async def test_whatever_does_not_end_well_nothing_stays_open(
    ran: Ran, part: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is told, after all the others have ended, the store last."""
    before = asyncio.all_tasks()
    running = await up(ran)

    async def broken(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def removed(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    match part:
        case "the file":
            monkeypatch.setattr(Path, "unlink", removed)
        case "the gateway":
            monkeypatch.setattr(GatewayParts, "stop", broken)
        case "the followers":
            monkeypatch.setattr(Pump, "close_followers", broken)
        case "the listener":
            stop = Listener.stop

            async def stopped_badly(self: Listener) -> None:
                await stop(self)
                await broken()

            monkeypatch.setattr(Listener, "stop", stopped_badly)
    ran.may_end.set()
    await asyncio.wait({running})

    assert isinstance(running.exception(), OSError if part else type(None))
    assert ran.store.closings == 1
    assert not ran.listens()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_an_end_that_is_broken_off_closes_all_the_same(ran: Ran, turns: int) -> None:
    """However few turns of the loop after it began."""
    before = asyncio.all_tasks()
    running = await up(ran)
    ran.may_end.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})

    assert ran.store.closings == 1
    assert not ran.listens()
    assert asyncio.all_tasks() == before
