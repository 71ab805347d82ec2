"""The stop: nothing new is taken, what has begun may end, and nobody holds it up for longer than the grace."""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import Callable

import pytest
import uvloop

from ostler.server.request import Request
from ostler.server.serving import Server
from tests.server.rig import SOON_S, TEXT, echo, served, soon

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_a_stop_lets_answers_end() -> None:
    """The answer that was under way comes whole and says that it is the last; resting connections are closed."""
    gate = asyncio.Event()

    async def held(request: Request) -> None:
        if request.path == "/a":
            await gate.wait()
        await echo(request)

    async with served(held) as made:
        busy, resting = await made.call(), await made.call()
        assert await resting.is_open()
        busy.send(GET + GET)
        await soon(lambda: any(one._current for one in made.server.connections), "one is answered")
        stopping = asyncio.create_task(made.server.stop(5))
        assert await resting.is_closed()
        with pytest.raises(ConnectionError):
            await made.call()
        gate.set()

        got = await busy.answer()
        assert (got.status, got.headers["connection"]) == (200, "close")
        assert await busy.is_closed()
        await stopping


async def test_a_stop_ends_what_does_not_end() -> None:
    """After the grace its handler is cancelled and the client's connection closed."""
    ended: list[str] = []

    async def endless(request: Request) -> None:
        try:
            await request.start(200, TEXT)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(request.path)
            raise

    async with served(endless) as made:
        caller = await made.call()
        caller.send(GET)
        await soon(lambda: any(one._current for one in made.server.connections), "it is answered")
        begun = time.monotonic()
        await made.server.stop(0.1)

        assert time.monotonic() - begun < 2
        assert ended == ["/a"]
        assert not made.server.connections


async def test_a_stop_does_not_wait_for_who_does_not_read() -> None:
    """What it was given and has not taken is lost with the grace."""

    async def large(request: Request) -> None:
        await request.answer(200, TEXT, b"x" * 20_000_000)

    async with served(large) as made:
        caller = await made.call(buffer_bytes=65_536)
        caller.send(GET)
        await soon(lambda: any(one.is_full for one in made.server.connections), "it is full")
        begun = time.monotonic()
        await made.server.stop(0.1)

        assert time.monotonic() - begun < 2


async def test_stopping_twice_and_before_anything_came_is_nothing() -> None:
    """The way out of a failed start."""
    async with served() as made:
        await made.server.stop(1)
        await made.server.stop(1)


async def test_many_connections_are_served_at_once() -> None:
    """None of them waits for another one."""
    async with served() as made:
        callers = [await made.call() for _ in range(200)]
        for caller in callers:
            caller.send(GET)

        assert [(await caller.answer()).status for caller in callers] == [200] * 200
        assert len(made.server.connections) == 200
    assert not made.server._tasks


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["the loop goes on", "the loop ends"])
@pytest.mark.parametrize("turns", range(5))
def test_who_comes_with_the_stop_is_sent_away(run: Callable[..., None], goes_on: bool, turns: int) -> None:
    """However few turns of the loop lie between the two: the connection is closed, and nobody is served any more."""
    guest = socket.socket()
    guest.settimeout(2.0)

    async def come_and_stop() -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = Server(echo)
        await server.start(listener)
        guest.connect(listener.getsockname())
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.stop(0)
        if goes_on:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.get_running_loop().run_in_executor(None, guest.recv, 1) == b""
            assert not server.connections

    with guest:
        run(come_and_stop())
        with contextlib.suppress(ConnectionError):
            assert guest.recv(1) == b""
    gc.collect()  # a connection that is still open warns here, and a warning fails the test


async def test_a_stop_that_is_broken_off_closes_all_the_same() -> None:
    """Handlers are ended and connections closed by whoever stops waiting for them."""
    ended: list[str] = []

    async def endless(request: Request) -> None:
        try:
            await request.start(200, TEXT)
            await asyncio.sleep(60)
        finally:
            ended.append(request.path)

    async with served(endless) as made:
        caller = await made.call()
        caller.send(GET)
        await soon(lambda: any(one._current for one in made.server.connections), "it is answered")
        stopping = asyncio.ensure_future(made.server.stop(60))
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait({stopping})

        async with asyncio.timeout(SOON_S):
            await caller.reader.read()
        await soon(lambda: not made.server.connections, "it has gone")
        assert ended == ["/a"]
