"""The small HTTP client: framing, reuse, slow readers, and every way a server can fail in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ostler.fleet.http1 import BUFFER_BYTES, HEAD_BYTES_MAX, PIECE_BYTES, Pool
from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import TransportError
from ostler.wire.classify import Problem

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """A server that handles each connection by hand; its address."""
    open_ones: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            open_ones.discard(task)

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/base"
    finally:
        listener.close()
        await listener.wait_closed()
        for task in list(open_ones):
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


@asynccontextmanager
async def pooled(**settings: int) -> AsyncIterator[Pool]:
    pool = Pool(DriverSettings(connect_timeout_ms=20_000, **settings))  # type: ignore[arg-type]
    try:
        yield pool
    finally:
        pool.close()


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head, await reader.readexactly(length)


async def whole(pool: Pool, base: str, body: bytes = b"{}") -> bytes:
    answer = await pool.post(base, "/x", {"X-Key": "k"}, body)
    try:
        parts = []
        while chunk := await answer.read():
            parts.append(chunk)
        return b"".join(parts)
    finally:
        answer.close()


def answering(answer: bytes, times: int = 100) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            await request_of(reader)
            writer.write(answer)
            await writer.drain()

    return talk


async def test_a_request_is_sent_whole_with_its_headers() -> None:
    """The server reads the path behind the base's own, our headers, and the body as it was given."""
    seen: list[tuple[bytes, bytes]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(OK)
        await writer.drain()

    async with listening(talk) as base, pooled() as pool:
        assert await whole(pool, base, b'{"a":1}') == b"ok"
    head, body = seen[0]
    assert head.startswith(b"POST /base/x HTTP/1.1\r\n")
    assert b"X-Key: k\r\n" in head
    assert b"Content-Type: application/json\r\n" in head
    assert b"Accept-Encoding: identity\r\n" in head
    assert body == b'{"a":1}'


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
    ],
)
async def test_an_answer_is_whole_as_its_own_framing_says(answer: bytes, body: bytes) -> None:
    """By length, by chunks, with an interim answer before it, or by the end of the connection."""
    async with listening(answering(answer, times=1)) as base, pooled() as pool:
        assert await whole(pool, base) == body


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", Problem.CUT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", Problem.CUT),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Problem.CUT),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Problem.CUT),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Problem.NOT_HTTP),
        (b"", Problem.LOST),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (HEAD_BYTES_MAX + 10) + b"\r\n\r\n", Problem.NOT_HTTP),
    ],
)
async def test_what_is_no_whole_answer_is_told_by_its_kind(answer: bytes, problem: Problem) -> None:
    """Cut in the middle, no HTTP, a head without end, or nothing at all."""
    async with listening(answering(answer, times=1)) as base, pooled() as pool:
        with pytest.raises(TransportError) as caught:
            await whole(pool, base)
    assert caught.value.problem is problem


async def test_connections_are_used_again_after_whole_answers_only() -> None:
    """Two whole answers need one connection; one that was left early is closed, and the next call opens another."""
    opened = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await answering(OK)(reader, writer)

    async with listening(talk) as base, pooled() as pool:
        await whole(pool, base)
        await whole(pool, base)
        assert opened == 1
        answer = await pool.post(base, "/x", {}, b"{}")
        answer.close()  # nothing was read, but the small answer is whole already or not: both must go well
        await whole(pool, base)
        assert opened <= 2


async def test_leaving_an_answer_early_closes_the_connection_at_the_server() -> None:
    """The server sees the end within moments, which is what stops a model."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        gone.set()

    async with listening(talk) as base, pooled() as pool:
        answer = await pool.post(base, "/x", {}, b"{}")
        assert await answer.read() == b"abc"
        answer.close()
        await asyncio.wait_for(gone.wait(), 2)


async def test_cancelling_the_wait_for_a_head_closes_the_connection() -> None:
    """A caller that stops waiting leaves nothing running at the server."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with listening(talk) as base, pooled() as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.post(base, "/x", {}, b"{}")
        await asyncio.wait_for(gone.wait(), 2)


async def test_a_connection_that_died_in_the_pool_costs_nothing() -> None:
    """A server that closes idle connections is asked again on a new one, and the caller sees an answer."""
    requests = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await request_of(reader)
        requests += 1
        writer.write(OK)
        await writer.drain()
        await request_of(reader)  # a second request on this connection is read, and never answered

    async with listening(talk) as base, pooled() as pool:
        assert await whole(pool, base) == b"ok"
        assert await whole(pool, base) == b"ok"
    assert requests == 2


async def test_a_request_on_a_new_connection_is_never_repeated() -> None:
    """The server may have begun to work on it."""
    requests = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await request_of(reader)
        requests += 1

    async with listening(talk) as base, pooled() as pool:
        with pytest.raises(TransportError) as caught:
            await whole(pool, base)
    assert caught.value.problem is Problem.LOST
    assert requests == 1


async def test_an_old_idle_connection_is_not_used_again() -> None:
    """Servers close idle connections after a while; ours is given up before that."""
    opened = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await answering(OK)(reader, writer)

    async with listening(talk) as base, pooled(keepalive_ms=1) as pool:
        await whole(pool, base)
        await asyncio.sleep(0.01)
        await whole(pool, base)
    assert opened == 2


async def test_what_a_crowd_had_opened_is_closed_when_it_has_gone() -> None:
    """Idle connections do not stay until somebody asks again: nobody may. One that is in use meanwhile stays."""
    all_here, closed, all_closed = asyncio.Barrier(5), 0, asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal closed
        await request_of(reader)
        await all_here.wait()
        writer.write(OK)
        await writer.drain()
        assert await reader.read() == b""
        closed += 1
        if closed == 5:
            all_closed.set()

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await all_closed.wait()
        writer.write(OK)
        await writer.drain()

    async with listening(talk) as crowd, listening(later) as other, pooled(keepalive_ms=30) as pool, asyncio.timeout(5):
        waiting = asyncio.ensure_future(whole(pool, other))
        await asyncio.gather(*(whole(pool, crowd) for _ in range(5)))
        assert await waiting == b"ok"


async def test_a_reader_that_waits_makes_the_server_wait() -> None:
    """Of a long answer only a bounded part is held: the server's own writes stop."""
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(2_000):
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536

    async with listening(talk) as base, pooled() as pool:
        answer = await pool.post(base, "/x", {}, b"{}")
        held = 0
        for _ in range(20):
            await asyncio.sleep(0.02)
            held, before = sent, held
            if held == before:
                break
        assert held < 2_000 * 65_536, "the server was not slowed down"
        chunk = await answer.read()
        assert len(chunk) <= BUFFER_BYTES + 512 * 1024
        answer.close()


async def test_an_answer_that_nobody_read_does_not_stop_the_next_one() -> None:
    """It arrived whole, more than is held at once, and its reader left: its connection is paused, and of no use."""
    body = b"x" * (BUFFER_BYTES + 1)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async with listening(answering(large)) as base, pooled() as pool, asyncio.timeout(5):
        answer = await pool.post(base, "/x", {}, b"{}")
        connection = answer._connection
        assert connection is not None
        for _ in range(1_000):
            if connection.complete:
                break
            await asyncio.sleep(0.001)
        assert connection.complete
        answer.close()
        assert await whole(pool, base) == body


async def test_a_long_answer_is_handed_on_in_small_pieces() -> None:
    """Whoever waits with one in hand holds little; nothing is lost or doubled by the cutting."""
    body = bytes(range(256)) * 4_000
    answer_bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for at in range(0, len(body), 5_000):
        piece = body[at : at + 5_000]
        answer_bytes += b"%x\r\n%b\r\n" % (len(piece), piece)

    async with listening(answering(answer_bytes + b"0\r\n\r\n")) as base, pooled() as pool, asyncio.timeout(5):
        answer = await pool.post(base, "/x", {}, b"{}")
        pieces = []
        while piece := await answer.read():
            pieces.append(piece)
            await asyncio.sleep(0)
        answer.close()

    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= PIECE_BYTES


@pytest.mark.parametrize(
    ("base", "problem"),
    [("http://127.0.0.1:1", Problem.UNREACHABLE), ("http://no-such-host.invalid:80", Problem.UNKNOWN_HOST)],
)
async def test_a_server_that_is_not_there_is_told_by_its_kind(base: str, problem: Problem) -> None:
    """Refused, or a name that means nothing."""
    async with pooled() as pool:
        with pytest.raises(TransportError) as caught:
            await whole(pool, base)
    assert caught.value.problem is problem


async def test_a_closed_pool_opens_nothing() -> None:
    """After the hub stopped, a late call fails instead of opening a connection."""
    pool = Pool(DriverSettings())
    pool.close()
    pool.close()
    with pytest.raises(TransportError, match="closed"):
        await pool.post("http://127.0.0.1:9", "/x", {}, b"{}")


async def test_bytes_that_nobody_asked_for_end_a_connection() -> None:
    """They would be taken for the answer to the next request, which gets a connection of its own."""
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        mine = connections
        while True:
            await request_of(reader)
            writer.write(OK.replace(b"ok", b"%02d" % mine))
            if mine == 1:
                await asyncio.sleep(0.01)
                writer.write(OK.replace(b"ok", b"no"))

    async with listening(talk) as base, pooled() as pool:
        first = await whole(pool, base)
        await asyncio.sleep(0.05)
        rest = [await whole(pool, base) for _ in range(2)]

    assert (first, rest) == (b"01", [b"02", b"02"])
