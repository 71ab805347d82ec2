"""A hub that stands by where nobody leads and the lease is not to be had: one that was cut off may lock its row."""

import asyncio
import gc
import socket
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from ostler.app.http import Door
from ostler.app.options import UpOptions
from ostler.app.profiles import Chosen
from ostler.app.turns import AGAIN_S, _Turns
from ostler.config.settings import LoadedProfile
from ostler.domain.hubs import HubRow
from ostler.store.seat import Holder
from tests.config.support import loaded


class LockedSeat:
    """A lease that is over, and that nobody gets."""

    def __init__(self) -> None:
        self.takes = 0

    async def knows_schema(self) -> bool:
        return True

    async def take(self, owner: str, url: str, lease_ms: int) -> None:
        self.takes += 1

    async def holder(self) -> Holder:
        return Holder(owner="gone", url="http://127.0.0.1:9", epoch=3, left_ms=-5)

    async def hubs(self) -> tuple[HubRow, ...]:
        return ()

    async def announce(self, row: HubRow) -> None:
        pass

    async def leave(self, name: str, url: str) -> None:
        pass

    async def freed(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)


class Standing:
    """Such a hub, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.seat, self.stop = LockedSeat(), asyncio.Event()
        self.door = Door("127.0.0.1", 0, kept=True)
        self.door.open().close()
        chosen = Chosen(profile=profile(folder))
        self.turns = _Turns(chosen, UpOptions(), cast("Any", self.seat), self.door, self.stop)
        self.running = asyncio.create_task(self.turns.run())

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.running, 5)
        self.door.close()


def profile(folder: Path) -> LoadedProfile:
    found = loaded("hub: {lease: 1s, name: here}")
    return msgspec.structs.replace(found, hub=msgspec.structs.replace(found.hub, data_dir=str(folder)))


async def test_it_asks_again_and_again_but_not_without_end(tmp_path: Path) -> None:
    """A look at a lease that is over is followed by one try, and the next look comes a little later: it took all of a
    processor, and of a database that was locked.
    """
    standing = Standing(tmp_path)
    seconds = 4 * AGAIN_S
    await asyncio.sleep(seconds)
    await standing.end()

    assert 2 <= standing.seat.takes <= seconds / AGAIN_S + 2


@pytest.mark.parametrize("says_more", [True, False])
async def test_who_waits_there_is_kept_through_all_turns_and_told_at_the_end(tmp_path: Path, says_more: bool) -> None:
    """Also one that has said all it will, which the event loop alone would not keep."""
    standing = Standing(tmp_path)
    await asyncio.sleep(AGAIN_S / 2)
    with closing(socket.create_connection(("127.0.0.1", standing.door.port))) as client:
        client.setblocking(False)
        client.sendall(b"GET /hub/status HTTP/1.1\r\n\r\n")
        if not says_more:
            client.shutdown(socket.SHUT_WR)
        takes = standing.seat.takes
        while standing.seat.takes < takes + 3:
            await asyncio.sleep(AGAIN_S / 4)
            gc.collect()
        with pytest.raises(BlockingIOError):
            client.recv(1)

        await standing.end()

        client.setblocking(True)
        assert client.recv(65536) == b""
