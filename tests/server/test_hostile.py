"""Clients that mean harm: each ends in a clear answer or is passed over, and nothing of it grows or reaches a handler.

What two servers in a row could read differently (smuggling) is refused with 400, and the connection ends: what was sent
behind it is never taken for a request.
"""

import asyncio

import pytest

from ostler.server import asgi
from ostler.server import connection as connections
from ostler.server.asgi import Message, Receive, Send, serve_asgi
from ostler.server.request import Request
from tests.server.rig import TEXT, Served, served, soon

POST = b"POST /a HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
OFFER = b"connection: upgrade\r\nupgrade: websocket\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"

TWO_READINGS = {
    "length and chunks": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "length twice": POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "a list of lengths": POST + b"content-length: 3, 3\r\n\r\nabc",
    "a signed length": POST + b"content-length: +3\r\n\r\nabc",
    "a length below zero": POST + b"content-length: -3\r\n\r\nabc",
    "a length in sixteens": POST + b"content-length: 0x3\r\n\r\nabc",
    "no length": POST + b"content-length:\r\n\r\nabc",
    "a length beyond numbers": POST + b"content-length: 99999999999999999999\r\n\r\nabc",
    "a space before the colon": POST + b"content-length : 3\r\n\r\nabc",
    "chunks that are not last": POST + b"transfer-encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks twice": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "no known coding": POST + b"transfer-encoding: identity\r\n\r\nabc",
    "almost chunks": POST + b"transfer-encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a vertical tab": POST + b"transfer-encoding:\x0bchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "an offer with both": POST + OFFER + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "an offer without a known coding": POST + OFFER + b"transfer-encoding: gzip\r\n\r\n0\r\n\r\n",
    "a size with a prefix": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a signed size": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "a size below zero": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "a size with a line": CHUNKED + b"0_3\r\nabc\r\n0\r\n\r\n",
    "a size and a space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "a space and a size": CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
    "no size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "a size beyond numbers": CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "chunks with bare line feeds": CHUNKED + b"3\nabc\n0\n\n",
    "an extension with a line feed": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "an offer with a broken chunk": POST + OFFER + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a folded header": POST + b"x-a: b\r\n c\r\n\r\n",
    "a folded first header": b"GET /a HTTP/1.1\r\n host: x\r\n\r\n",
    "bare line feeds": b"GET /a HTTP/1.1\nhost: x\n\n",
    "one bare line feed": b"GET /a HTTP/1.1\r\nhost: x\nx-a: b\r\n\r\n",
    "a bare carriage return": b"GET /a HTTP/1.1\r\nhost: x\rx-a: b\r\n\r\n",
    "two hosts": b"GET /a HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    "a zero byte in the path": b"GET /a\0b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a zero byte in a value": b"GET /a HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\n\r\n",
    "a zero byte in a name": b"GET /a HTTP/1.1\r\nhost: x\r\nx\0a: b\r\n\r\n",
    "a path that is not ASCII": "GET /ä HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
    "a query that is not ASCII": "GET /a?ä HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
    "an address that is not ASCII": "GET http://h/ä HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
    "an address of nothing": b"GET http:// HTTP/1.1\r\nhost: x\r\n\r\n",
    "an address with a port beyond ports": b"GET http://h:99999/a HTTP/1.1\r\nhost: x\r\n\r\n",
    "an address of a file": b"GET file:///etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path without its slash": b"GET a HTTP/1.1\r\nhost: x\r\n\r\n",
    "a name with a space": b"GET /a HTTP/1.1\r\nhost: x\r\nx a: b\r\n\r\n",
    "a header without a name": b"GET /a HTTP/1.1\r\nhost: x\r\n: b\r\n\r\n",
    "tabs for spaces": b"GET\t/a\tHTTP/1.1\r\nhost: x\r\n\r\n",
}


async def told(request: Request) -> None:
    """The path and the body, read whole; whoever asks for `/smuggled` was never meant to get here."""
    assert request.path != "/smuggled"
    body = await request.body(1_000, 5.0)
    await request.answer(200, TEXT, repr(request.path).encode() + body)


@pytest.mark.parametrize("sent", TWO_READINGS.values(), ids=TWO_READINGS.keys())
async def test_what_can_be_read_in_two_ways_is_refused(sent: bytes) -> None:
    """One answer, 400; then the end, whatever stands behind."""
    async with served(told) as made:
        caller = await made.call()
        got = await caller.ask(sent + SMUGGLED)

        assert (got.status, got.headers["connection"]) == (400, "close")
        assert got.body in (b"this is no HTTP request", b"the request names two hosts")
        assert await caller.is_closed()


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (CHUNKED + b"0000000000000000000003;name=value\r\nabc\r\n0\r\nhost: y\r\n\r\n", b"'/a'abc"),
        (b"GET /a%00b%0d%0ac HTTP/1.1\r\nhost: x\r\n\r\n", b"'/a\\x00b\\r\\nc'"),
        (b"GET /a%zz%ff HTTP/1.1\r\nhost: x\r\n\r\n", "'/a%zz\ufffd'".encode()),
        (b"GET http://evil.example/a HTTP/1.1\r\nhost: x\r\n\r\n", b"'/a'"),
        (b"GET http://user:word@[::1]:9/a HTTP/1.1\r\nhost: x\r\n\r\n", b"'/a'"),
        (b"GET //evil.example/a HTTP/1.1\r\nhost: x\r\n\r\n", b"'//evil.example/a'"),
        (b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n\r\n", b"'h:443'"),
        (POST + OFFER + b"content-length: 3\r\n\r\nabc", b"'/a'abc"),
        (POST + b"expect: a miracle\r\ncontent-length: 3\r\n\r\nabc", b"'/a'abc"),
        (b"\r\n\r\nGET /a HTTP/1.1\r\nhost: x\r\n\r\n", b"'/a'"),
    ],
)
async def test_what_is_odd_and_has_one_reading_is_passed_over(sent: bytes, body: bytes) -> None:
    """It reaches its handler as what it says, and the connection is as good as before."""
    async with served(told) as made:
        caller = await made.call()

        assert (await caller.ask(sent)).body == body
        assert await caller.is_open()


async def test_an_old_client_is_not_told_to_go_on() -> None:
    """It knows no answer before the answer."""
    async with served(told) as made:
        caller = await made.call()
        got = await caller.ask(b"POST /a HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc")

        assert (got.status, got.body) == (200, b"'/a'abc")


async def test_any_number_of_offers_is_passed_over() -> None:
    """In one piece: each is answered, none costs more than the one before."""
    most = 3_000
    async with served(told) as made:
        caller = await made.call()
        caller.send(b"CONNECT h:1 HTTP/1.1\r\n\r\n" * most)

        assert {(await caller.answer()).status for _ in range(most)} == {200}


async def test_a_head_is_as_large_as_itself() -> None:
    """Not as what came with it: many requests in line, and the first half of one behind a large body."""
    count = 8_000
    async with served(told) as made:
        caller = await made.call()
        caller.send(b"GET /a HTTP/1.1\r\n\r\n" * count)
        assert {(await caller.answer()).status for _ in range(count)} == {200}

    async def unread(request: Request) -> None:
        await request.answer(200, TEXT)

    async with served(unread) as made:
        first = await made.call()
        await soon(lambda: bool(made.server.connections), "it is connected")
        (connection,) = made.server.connections
        connection.data_received(POST + b"content-length: 90000\r\n\r\n" + b"x" * 90_000 + b"GET /b HTTP/1.1\r\nhos")
        connection.data_received(b"t: x\r\n\r\n")

        assert [(await first.answer()).status for _ in range(2)] == [200, 200]


async def test_a_head_that_begins_behind_something_has_its_bound() -> None:
    """Whole or in pieces."""
    long = b"GET /a HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n"
    for pieces in ([POST + b"\r\n" + long], [POST + b"\r\n" + long[:40_000], long[40_000:]]):
        async with served(told) as made:
            caller = await made.call()
            await soon(lambda made=made: bool(made.server.connections), "it is connected")  # type: ignore[misc]
            (connection,) = made.server.connections
            for piece in pieces:
                connection.data_received(piece)

            assert [(await caller.answer()).status for _ in range(2)] == [200, 431]


@pytest.mark.parametrize("endless", [b"x-a: b\r\n", b"x" * 40], ids=["trailers", "one trailer"])
@pytest.mark.parametrize("begun", [b"3\r\nabc\r\n0\r\n", b"3;"], ids=["behind the body", "in an extension"])
async def test_what_stands_around_a_body_has_a_bound(begun: bytes, endless: bytes) -> None:
    """Trailers and extensions of chunks: none is kept, and without a piece of the body they end."""
    if begun == b"3;" and b"\r" in endless:
        endless = b"a=b;"
    async with served(told) as made:
        caller = await made.call()
        caller.send(CHUNKED + begun)
        await soon(lambda: any(one._incoming for one in made.server.connections), "its body comes")
        (connection,) = made.server.connections
        for _ in range(20):
            connection.data_received(endless * (8_192 // len(endless)))
            assert not connection._headers
        got = await caller.answer()

        assert (got.status, got.body) == (400, b"more than 65536 bytes came without a piece of the body")
        assert await caller.is_closed()


async def test_a_long_body_in_many_small_chunks_is_a_body() -> None:
    """What stands between them adds up to nothing."""

    async def counted(request: Request) -> None:
        body = await request.body(1_000_000, 5.0)
        await request.answer(200, TEXT, b"%d" % len(body))

    async with served(counted) as made:
        caller = await made.call()
        caller.send(CHUNKED)
        for _ in range(20):
            caller.send(b"1;ext=1\r\nx\r\n" * 1_000)
            await asyncio.sleep(0)

        assert (await caller.ask(b"0\r\n\r\n")).body == b"20000"


async def test_who_is_refused_while_it_sends_gets_to_read_why() -> None:
    """To close at once would reset the connection under its answer."""
    async with served(told) as made:
        caller = await made.call()
        caller.send(b"GET /a HTTP/1.1\r\nx: " + b"y" * 4_000_000)
        got = await caller.answer()
        caller.send(b"y" * 1_000_000)
        await caller.writer.drain()

        assert got.status == 431
        assert await caller.is_closed()


async def test_who_is_refused_and_goes_on_is_not_heard_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and seconds are bounded; nothing of it is parsed."""
    monkeypatch.setattr(connections, "DISCARD_BYTES_MAX", 200_000)
    async with served(told) as made:
        sending, waiting = await made.call(), await made.call()
        for caller in (sending, waiting):
            assert (await caller.ask(b"HELLO\r\n\r\n" + SMUGGLED)).status == 400
        assert len(made.server.connections) == 2
        for _ in range(4):
            sending.send(b"y" * 100_000)
        await soon(lambda: len(made.server.connections) == 1, "the one that sends is gone")
        (connection,) = made.server.connections
        now_s = asyncio.get_running_loop().time()
        connection.look(now_s + connections.DISCARD_S - 1)
        assert not connection._transport.is_closing()  # type: ignore[union-attr]
        connection.look(now_s + connections.DISCARD_S + 1)

        await soon(lambda: not made.server.connections, "the other too")


async def test_who_takes_nothing_of_its_last_answer_is_cut() -> None:
    """As long as it takes something it is waited for."""
    loop = asyncio.get_running_loop()

    async def large(request: Request) -> None:
        await request.answer(200, TEXT, b"x" * 30_000_000)

    async with served(large) as made:
        caller = await made.call(buffer_bytes=4_096)
        caller.send(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await soon(lambda: any(one._current and one._current.finished for one in made.server.connections), "answered")
        (connection,) = made.server.connections
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() > 0
        transport, later_s = connection._transport, loop.time()
        for _ in range(3):
            later_s += connections.STUCK_S - 1
            connection.look(later_s)
            unsent = transport.get_write_buffer_size()
            while transport.get_write_buffer_size() == unsent:
                assert await caller.reader.read(100_000)
        assert made.server.connections, "it reads"
        connection.look(later_s + 1)
        connection.look(later_s + 2 + connections.STUCK_S)

        await soon(lambda: not made.server.connections, "it is cut")


async def test_a_body_in_drops_has_one_limit_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for applications: each piece in time is not the whole in time."""
    monkeypatch.setattr(asgi, "BODY_S", 0.1)

    async def app(_scope: Message, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] == "http.request":
            pass

    def applied(request: Request) -> object:
        return serve_asgi(app, request, ("127.0.0.1", 1))

    async with served(applied) as made:  # type: ignore[arg-type]
        assert await _status_of_drops(made) == 408


async def _status_of_drops(made: Served) -> int:
    caller = await made.call()
    caller.send(POST + b"content-length: 1000\r\n\r\n")
    answered = asyncio.create_task(caller.answer())
    while not answered.done():
        caller.send(b"x")
        await asyncio.sleep(0.02)
    return (await answered).status
