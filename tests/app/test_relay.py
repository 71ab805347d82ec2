"""A hub that stands by passes connections on, byte for byte, and tells who comes while nobody leads."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Self

import pytest

from ostler.app import relay as module
from ostler.app.relay import Relay


def bound() -> socket.socket:
    """A socket on any free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


class Leader:
    """Answers every connection by a function, and remembers what came."""

    def __init__(self) -> None:
        self.address = ("", 0)
        self.got = bytearray()
        self.gone = asyncio.Event()
        self.came = asyncio.Event()
        self.answer: Callable[[asyncio.StreamWriter], None] = lambda writer: writer.write(b"hello")
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        listener = bound()
        self.address = listener.getsockname()
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answer(writer)
        while piece := await reader.read(65536):
            self.got += piece
            self.came.set()
        self.gone.set()
        writer.close()

    async def has(self, said: bytes) -> None:
        """Wait until it came."""
        async with asyncio.timeout(5):
            while said not in self.got:
                self.came.clear()
                await self.came.wait()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()


@pytest.fixture
async def leader() -> AsyncIterator[Leader]:
    made = Leader()
    await made.start()
    yield made
    await made.stop()


class Served:
    """A relay, where it listens, and to whom it passes on."""

    def __init__(self, listener: socket.socket, to: tuple[str, int] | None) -> None:
        self.to = to
        self.no_way = ""
        self.relay = Relay(lambda: self.to, lambda: self.no_way)
        self.address = listener.getsockname()
        self._listener = listener

    async def __aenter__(self) -> Self:
        await self.relay.start(self._listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.relay.stop()
        await self.relay.stop()


async def test_bytes_go_both_ways_as_they_come(leader: Leader) -> None:
    """A megabyte up, an answer down, and the end of one side reaches the other."""
    async with Served(bound(), leader.address) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        assert await reader.readexactly(5) == b"hello"
        sent = bytes(range(256)) * 4096

        writer.write(sent)
        writer.write_eof()

        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert leader.got == sent
        writer.close()


async def test_a_client_that_goes_is_gone_for_the_leader_too(leader: Leader) -> None:
    """So that a model call that nobody waits for is stopped, as without a relay."""
    async with Served(bound(), leader.address) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        await reader.readexactly(5)

        writer.close()

        await asyncio.wait_for(leader.gone.wait(), 5)


async def test_a_leader_that_goes_ends_its_connections(leader: Leader) -> None:
    """The client sees the end, and its next connection finds the next leader."""
    other = Leader()
    other.answer = lambda writer: writer.write(b"other")
    await other.start()
    async with Served(bound(), leader.address) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        await reader.readexactly(5)
        served.to = other.address

        await served.relay.cut()

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        reader, writer = await asyncio.open_connection(*served.address)
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"other"
        writer.close()
    await other.stop()


async def test_who_comes_between_two_leaders_waits_for_the_next(leader: Leader) -> None:
    """Nothing is refused as long as somebody comes to lead in time."""
    async with Served(bound(), None) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        await asyncio.sleep(0.2)

        served.to = leader.address

        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
        writer.close()


async def test_a_pool_without_a_leader_is_one_clear_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 in the shape of every error, with when to come again; also where the leader's address is dead."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    for to in (None, ("127.0.0.1", 9)):
        async with Served(bound(), to) as served:
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(b"GET /hub/status HTTP/1.1\r\nhost: x\r\n\r\n")

            answer = await asyncio.wait_for(reader.read(), 5)

            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 3" in head
            assert f"content-length: {len(body)}".encode() in head
            assert json.loads(body)["error"]["code"] == "no_leader"
            writer.close()


async def test_a_slow_reader_holds_up_the_leader_not_the_memory(leader: Leader) -> None:
    """What a client does not read is not gathered in between: the leader's writing waits."""
    written = 0

    def flood(writer: asyncio.StreamWriter) -> None:
        async def write() -> None:
            nonlocal written
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                written += 65536

        leader_task.append(asyncio.ensure_future(write()))

    leader_task: list[asyncio.Future[None]] = []
    leader.answer = flood
    async with Served(bound(), leader.address) as served:
        _, writer = await asyncio.open_connection(*served.address, limit=65536)
        await asyncio.sleep(0.5)
        before = written
        await asyncio.sleep(0.3)

        assert written == before
        assert written < 32 * 1024 * 1024
        for task in leader_task:
            task.cancel()
        writer.close()


ASKED = b"GET /hub/status HTTP/1.1\r\nhost: x\r\n\r\n"


async def refusal(reader: asyncio.StreamReader) -> str:
    """What a whole refusal says."""
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"content-length: {len(body)}".encode() in head
    error = json.loads(body)["error"]
    assert error["code"] == "no_leader"
    return str(error["message"])


@pytest.mark.parametrize("goes", ["cut", "ended", "reset"])
async def test_who_waits_for_an_answer_is_told_that_its_leader_went(leader: Leader, goes: str) -> None:
    """However the leader went: one clear answer, not a connection that closes without a word."""
    lines: list[asyncio.StreamWriter] = []
    leader.answer = lines.append
    async with Served(bound(), leader.address) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(ASKED)
        await leader.has(ASKED)

        if goes == "cut":
            await served.relay.cut()
        elif goes == "ended":
            lines[0].write_eof()
        else:
            lines[0].transport.abort()

        assert "went away before it answered" in await refusal(reader)
        writer.close()


async def test_half_an_answer_is_never_made_a_whole_one(leader: Leader) -> None:
    """Where something of the answer has come, nothing is added: the client sees that it breaks off."""
    lines: list[asyncio.StreamWriter] = []

    leader.answer = lines.append
    async with Served(bound(), leader.address) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(ASKED)
        await leader.has(ASKED)
        lines[0].write(b"HTTP/1.1 200 OK\r\n")
        assert await asyncio.wait_for(reader.readexactly(17), 5) == b"HTTP/1.1 200 OK\r\n"

        await served.relay.cut()

        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_where_nobody_can_come_nobody_waits() -> None:
    """A hub that is blind says so at once instead of after its patience."""
    async with Served(bound(), None) as served:
        served.no_way = "this hub sees nothing"
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(ASKED)

        assert await refusal(reader) == "this hub sees nothing"
        writer.close()


async def test_a_leader_that_is_not_reached_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody leads; the way there is what is missing."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    async with Served(bound(), ("127.0.0.1", 9)) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(ASKED)

        assert "is not reached from here" in await refusal(reader)
        writer.close()


async def test_who_waits_when_a_relay_stops_is_served_by_the_next_leader(leader: Leader) -> None:
    """Also by the hub that was relaying until now: a connection that nobody has answered yet loses nothing by it."""
    served = Served(bound(), None)
    await served.relay.start(served._listener)
    reader, writer = await asyncio.open_connection(*served.address)
    writer.write(ASKED)
    await asyncio.sleep(0.1)

    await served.relay.stop(for_good=False)
    served.to = leader.address

    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
    writer.close()
    await served.relay.stop()


async def test_a_relay_that_stops_for_good_leaves_nobody_waiting() -> None:
    """The hub goes, and so does every connection to it."""
    served = Served(bound(), None)
    await served.relay.start(served._listener)
    reader, writer = await asyncio.open_connection(*served.address)
    writer.write(ASKED)
    await asyncio.sleep(0.1)

    await served.relay.stop()

    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_client_that_does_not_read_holds_up_no_end(leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what it can be told, and its connection is cut."""
    monkeypatch.setattr(module, "TELL_S", 0.05)
    leader.answer = lambda writer: writer.write(b"x" * 50_000_000)
    async with Served(bound(), leader.address) as served:
        with socket.create_connection(served.address) as client:
            for _ in range(2):  # what comes down stands still between the two: then the last word is the client's
                client.sendall(b"GET")
                await leader.has(b"GET")
                await stands_still(served)
                leader.got.clear()
            async with asyncio.timeout(5):
                await served.relay.stop()
            assert not served.relay._open


async def stands_still(served: Served) -> None:
    """Wait until nothing more goes down to a client that does not read."""
    (passing,) = served.relay._passing
    blocked = 0
    while blocked < 20:
        await asyncio.sleep(0.005)
        writers = [frame for frame in passing.get_stack() if "passage" in frame.f_locals]
        writer = writers[0].f_locals["passage"]._client[1]
        blocked = blocked + 1 if writer.transport.get_write_buffer_size() > 64 * 1024 else 0


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_with_the_end_is_sent_away(leader: Leader, turns: int) -> None:
    """However few turns of the loop lie between the two: nothing is passed on by a relay that has ended."""
    async with Served(bound(), leader.address) as served:
        client = socket.create_connection(served.address)
        for _ in range(turns):
            await asyncio.sleep(0)
        await served.relay.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not served.relay._open
        client.settimeout(5)
        with client, contextlib.suppress(ConnectionError):
            assert client.recv(6) in (b"", b"hello")


@pytest.mark.parametrize("turns", range(3))
async def test_a_start_that_is_broken_off_is_ended_by_the_stop(leader: Leader, turns: int) -> None:
    """Whoever broke it off does not listen any more."""
    listener = bound()
    served = Served(listener, leader.address)
    starting = asyncio.ensure_future(served.relay.start(listener))
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait({starting})
    await served.relay.stop()
    if not turns:
        listener.close()
    assert listener.fileno() == -1
