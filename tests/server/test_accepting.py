"""Who stands at the door is let in, however long a turn of the event loop takes."""

import asyncio
import errno
import gc
import socket
import warnings
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from ostler.server import accepting
from ostler.server.accepting import Doorman

CROWD = 40


class Guest(asyncio.Protocol):
    """Says hello and hangs up."""

    def __init__(self, came: list[int], turns: list[int], news: asyncio.Event | None = None) -> None:
        self._came = came
        self._turns = turns
        self._news = news

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._came.append(self._turns[0])
        if self._news is not None:
            self._news.set()
        cast("asyncio.Transport", transport).close()


def door() -> socket.socket:
    """A socket on a free port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_crowd_is_let_in_within_a_few_turns(run: Callable[..., None]) -> None:
    """Forty that come at once do not wait for forty turns of the loop."""
    came, turns = list[int](), [0]

    async def many() -> None:
        loop, listener = asyncio.get_running_loop(), door()
        doorman = Doorman(listener, lambda: Guest(came, turns), 128)
        guests = [socket.create_connection(listener.getsockname()) for _ in range(CROWD)]

        def turn() -> None:
            turns[0] += 1
            loop.call_soon(turn) if len(came) < CROWD else done.set()

        done = asyncio.Event()
        turn()
        async with asyncio.timeout(20):
            await done.wait()
        assert all([await loop.run_in_executor(None, guest.recv, 1) == b"" for guest in guests])
        for guest in guests:
            guest.close()
        doorman.close()
        doorman.close()

    run(many())
    assert max(came) - min(came) < 5


class Full:
    """A listening socket of a process that has no file left, once."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.refused = 0
        self.asked = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)

    def accept(self) -> object:
        if not self.refused:
            self.refused += 1
            self.asked.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()


async def test_without_a_file_left_nobody_is_let_in_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait at the door, and the loop does not spin."""
    monkeypatch.setattr(accepting, "PAUSE_S", 0.01)
    came, news = list[int](), asyncio.Event()
    full = Full(door())
    doorman = Doorman(cast("socket.socket", full), lambda: Guest(came, [1], news), 128)
    guest = socket.create_connection(full._listener.getsockname())
    async with asyncio.timeout(20):
        await news.wait()
    guest.close()
    doorman.close()

    assert (full.refused, came) == (1, [1])


async def test_a_door_that_is_closed_while_it_is_shut_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause does not open it again."""
    monkeypatch.setattr(accepting, "PAUSE_S", 0.01)
    full = Full(door())
    doorman = Doorman(cast("socket.socket", full), lambda: Guest([], [1]), 128)
    guest = socket.create_connection(full._listener.getsockname())
    async with asyncio.timeout(20):
        await full.asked.wait()
    doorman.close()
    await asyncio.sleep(0.03)
    guest.close()

    assert full._listener.fileno() == -1


class Patient(asyncio.Protocol):
    """Holds on to a connection whose client says no more: then its event loop does not keep it any longer."""

    def __init__(self, came: list[int]) -> None:
        self._came = came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.held = transport  # which holds it: only the collector finds them
        self._came.append(1)

    def eof_received(self) -> bool:
        return True


def test_a_connection_that_was_thrown_away_is_closed_by_one_alone() -> None:
    """Closed twice, its number may be somebody else's in between: so a hub that had just begun to lead lost the
    connection to its database.
    """

    async def thrown_away() -> None:
        came: list[int] = []
        listener = door()
        doorman = Doorman(listener, lambda: Patient(came), 10)
        with socket.create_connection(listener.getsockname()) as client:
            client.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(5):
                while not came:  # noqa: ASYNC110 -- it comes from outside
                    await asyncio.sleep(0)
            await doorman.empty()
            await asyncio.sleep(0.02)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                gc.collect()
            owners = [str(one.message).split(maxsplit=2)[:2] for one in told if "unclosed" in str(one.message)]
            assert owners == [["unclosed", "resource"]]
        doorman.close()

    uvloop.run(thrown_away())
