"""Connections: requests in whatever pieces they come, answered in order; what is no request is refused, in bounds."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.server import connection as connections
from ostler.server.request import BUFFER_BYTES, BadBodyError, GoneError, Request, SlowBodyError, TooLargeError
from tests.server.rig import TEXT, echo, served, soon

GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\ntrailer: 1\r\n\r\n"
)


async def test_a_request_is_answered_with_a_date_and_a_length() -> None:
    """And the connection stays for the next one."""
    async with served() as made:
        caller = await made.call()
        got = await caller.ask(GET)

        assert (got.status, got.body) == (200, b"GET /a b=c ")
        assert got.headers["date"].endswith("GMT")
        assert got.headers["content-type"] == "text/plain"
        assert "connection" not in got.headers
        assert await caller.is_open()


@given(cuts=st.lists(st.integers(0, len(GET + POST + CHUNKED)), max_size=6))
@settings(max_examples=25, deadline=None)
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    """Three requests sent together are answered in their order, however many pieces they come in."""

    async def answers() -> list[bytes]:
        async with served() as made:
            caller = await made.call()
            data = GET + POST + CHUNKED
            edges = [0, *sorted(cuts), len(data)]
            for start, end in pairwise(edges):
                caller.send(data[start:end])
                await asyncio.sleep(0)
            return [(await caller.answer()).body for _ in range(3)]

    assert asyncio.run(answers()) == [b"GET /a b=c ", b"POST /a  hello", b"POST /b  hello"]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/v1/models/a%2Fb%20c", "/v1/models/a/b c"),
        (b"http://x.example/v1/models?q=1", "/v1/models"),
        (b"http://x.example", "/"),
        (b"*", "*"),
    ],
)
async def test_a_path_is_found_in_every_form_of_a_target(target: bytes, path: str) -> None:
    """Percent signs are resolved, a whole address is cut down to its path."""
    async with served() as made:
        got = await (await made.call()).ask(b"OPTIONS " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")

    assert got.body.decode().removeprefix("OPTIONS ").startswith(f"{path} ")


async def test_a_second_request_waits_for_the_answer_to_the_first() -> None:
    """One at a time on one connection; beside it, others go on."""
    open_now = most = 0

    async def slow(request: Request) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.01)
        open_now -= 1
        await request.answer(200, TEXT, request.path.encode())

    async with served(slow) as made:
        caller = await made.call()
        caller.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(40)))

        assert [(await caller.answer()).body for _ in range(40)] == [b"/%d" % number for number in range(40)]
        assert most == 1


async def test_no_more_than_a_few_requests_wait_in_line() -> None:
    """Who sends without reading answers is not read any further."""
    gate = asyncio.Event()

    async def held(request: Request) -> None:
        await gate.wait()
        await echo(request)

    async with served(held) as made:
        caller = await made.call()
        caller.send(GET)
        await soon(lambda: bool(made.server.connections), "it is connected")
        (connection,) = made.server.connections
        for _ in range(60):
            caller.send(GET)
            await asyncio.sleep(0.001)
        assert len(connection._queue) < 2 * connections.QUEUE_MAX
        gate.set()

        assert {(await caller.answer()).status for _ in range(61)} == {200}


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /a HTTP/1.0\r\nhost: x\r\n\r\n",
        b"GET /a HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n",
    ],
)
async def test_a_client_that_wants_one_answer_gets_one(head: bytes) -> None:
    """It is told that the connection ends, and it ends; what it sent behind is not answered."""
    async with served() as made:
        caller = await made.call()
        got = await caller.ask(head + GET)

        assert (got.status, got.headers["connection"]) == (200, "close")
        assert await caller.is_closed()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nno colon\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_ends(data: bytes) -> None:
    """In words, with status 400; nothing is handed to the handler."""
    async with served() as made:
        caller = await made.call()
        got = await caller.ask(data)

        assert (got.status, got.body) == (400, b"this is no HTTP request")
        assert await caller.is_closed()


async def test_a_request_before_one_that_is_none_is_answered_first() -> None:
    """Its answer comes whole; then the other one is told."""
    gate = asyncio.Event()

    async def held(request: Request) -> None:
        await gate.wait()
        await echo(request)

    async with served(held) as made:
        caller = await made.call()
        caller.send(GET + b"rubbish\r\n\r\n")
        asyncio.get_running_loop().call_later(0.02, gate.set)

        assert [(await caller.answer()).status for _ in range(2)] == [200, 400]
        assert await caller.is_closed()


@pytest.mark.parametrize("endless", [b"GET /" + b"a" * 70_000, b"GET /a HTTP/1.1\r\nx: " + b"y" * 70_000])
async def test_a_head_without_end_is_refused(endless: bytes) -> None:
    """As soon as it has passed the bound, whole or not."""
    async with served() as made:
        for tail in (b"", b" HTTP/1.1\r\n\r\n"):
            caller = await made.call()
            for start in range(0, len(endless), 16_384):
                caller.send(endless[start : start + 16_384])
                await asyncio.sleep(0.001)
            got = await caller.ask(tail)

            assert got.status == 431
            assert b"65536 bytes" in got.body
            assert await caller.is_closed()


async def test_a_large_head_within_the_bound_is_taken() -> None:
    """Also when a large body comes in one piece with it."""
    async with served() as made:
        caller = await made.call()
        big = b"POST /a HTTP/1.1\r\nhost: x\r\nx-long: " + b"y" * 50_000 + b"\r\ncontent-length: 90000\r\n\r\n"
        got = await caller.ask(big + b"z" * 90_000)

        assert got.body == b"POST /a  " + b"z" * 90_000


async def test_a_body_that_breaks_is_told_to_its_handler() -> None:
    """Which answers in its own words; then the connection ends."""
    heard: list[Exception] = []

    async def careful(request: Request) -> None:
        try:
            await request.body(1_000, 2.0)
        except BadBodyError as error:
            heard.append(error)
            await request.answer(400, TEXT, b"broken")

    async with served(careful) as made:
        caller = await made.call()
        got = await caller.ask(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")

        assert (got.status, got.body, got.headers["connection"]) == (400, b"broken", "close")
        assert await caller.is_closed()
    assert len(heard) == 1


async def test_another_protocol_is_not_taken_up() -> None:
    """An offer to upgrade is passed over, with or without a body, and the connection goes on."""
    async with served() as made:
        caller = await made.call()
        offer = b"host: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
        first = await caller.ask(b"GET /a HTTP/1.1\r\n" + offer + b"\r\n")
        second = await caller.ask(b"POST /b HTTP/1.1\r\n" + offer + b"content-length: 2\r\n\r\nhi" + GET)
        third = await caller.answer()

    assert [first.body, second.body, third.body] == [b"GET /a  ", b"POST /b  hi", b"GET /a b=c "]


async def test_a_client_is_told_to_go_on_with_its_body() -> None:
    """Once, when the body is asked for."""
    async with served() as made:
        caller = await made.call()
        told = await caller.ask(b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert told.status == 100
        got = await caller.ask(b"hello")

        assert (got.status, got.body) == (200, b"POST /a  hello")
        assert await caller.is_open()


async def test_a_client_that_waits_to_be_told_may_be_refused_instead() -> None:
    """Nobody knows then whether its body will come: the connection ends."""

    async def refuse(request: Request) -> None:
        await request.answer(413, TEXT, b"too much")

    async with served(refuse) as made:
        caller = await made.call()
        got = await caller.ask(b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")

        assert (got.status, got.headers["connection"]) == (413, "close")
        assert await caller.is_closed()


async def refuse_unread(request: Request) -> None:
    """Answer before a byte of the body is read."""
    await request.answer(200 if request.path == "/open" else 413, TEXT, b"too much")


async def test_a_body_that_nobody_reads_is_thrown_away() -> None:
    """The client gets its answer although it is still sending, and may go on with the connection."""
    async with served(refuse_unread) as made:
        caller = await made.call()
        caller.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 500_000)
        assert (await caller.answer()).status == 413
        caller.send(b"x" * 500_000)

        assert await caller.is_open()


async def test_of_a_body_that_nobody_reads_not_everything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound the connection ends."""
    monkeypatch.setattr(connections, "DISCARD_BYTES_MAX", 100_000)
    async with served(refuse_unread) as made:
        caller = await made.call()
        caller.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert (await caller.answer()).status == 413
        caller.send(b"x" * 500_000)

        assert await caller.is_closed()


@pytest.mark.parametrize(
    ("limit", "sent", "flaw"),
    [
        (10, b"content-length: 11\r\n\r\n" + b"x" * 11, TooLargeError),
        (10, b"transfer-encoding: chunked\r\n\r\n6\r\nxxxxxx\r\n6\r\nxxxxxx\r\n0\r\n\r\n", TooLargeError),
        (10, b"content-length: 5\r\n\r\nxx", SlowBodyError),
    ],
)
async def test_a_body_is_read_within_its_bounds(limit: int, sent: bytes, flaw: type[Exception]) -> None:
    """Bytes and seconds; whoever passes one is told which."""
    heard: list[type[Exception]] = []

    async def bounded(request: Request) -> None:
        try:
            await request.body(limit, 0.05)
        except (TooLargeError, SlowBodyError) as error:
            heard.append(type(error))
        await request.answer(400, TEXT)

    async with served(bounded) as made:
        got = await (await made.call()).ask(b"POST /a HTTP/1.1\r\nhost: x\r\n" + sent)

    assert (got.status, heard) == (400, [flaw])


async def test_a_body_that_is_not_read_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is read no further than the buffer, and read on when the handler reads."""
    gate = asyncio.Event()
    seen: list[Request] = []

    async def late(request: Request) -> None:
        seen.append(request)
        await gate.wait()
        await echo(request)

    async with served(late) as made:
        caller = await made.call()
        size = 8_000_000
        caller.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        await soon(lambda: bool(seen), "it has begun")
        await asyncio.sleep(0.1)
        assert seen[0]._buffered < 1_000_000
        gate.set()

        assert len((await caller.answer()).body) == size + len("POST /a  ")


@pytest.mark.parametrize("part", ["while it is answered", "in its body", "in line"])
async def test_a_client_that_leaves_is_noticed(part: str) -> None:
    """At once, by whoever works for it; who had not begun never does."""
    begun: list[str] = []
    told: list[str] = []
    ended = asyncio.Event()

    async def patient(request: Request) -> None:
        begun.append(request.path)
        request.on_gone = lambda: told.append(request.path)
        try:
            await request.body(10, 5.0)
            await request.until_over()
            told.append("over")
        except GoneError:
            told.append("half a body")
        finally:
            ended.set()

    body = b"content-length: 2\r\n\r\n" + (b"x" if part == "in its body" else b"xx")
    async with served(patient) as made:
        caller = await made.call()
        caller.send(b"POST /a HTTP/1.1\r\nhost: x\r\n" + body)
        if part == "in line":
            caller.send(GET)
        await soon(lambda: bool(begun), "it has begun")
        await asyncio.sleep(0.01)
        caller.leave()
        await asyncio.wait_for(ended.wait(), 1)

    assert begun == ["/a"]
    assert told == (["/a", "half a body"] if part == "in its body" else ["/a", "over"])


@pytest.mark.parametrize("size", [2, BUFFER_BYTES, BUFFER_BYTES + 1, 100_000])
@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_that_leaves_is_noticed_whatever_it_has_sent(size: int, reads: bool) -> None:
    """A large body that has come whole stops nobody from hearing of the end: whether it was read or not, there is no
    more of it to come. A call with a long prompt went on for a client that was dead.
    """
    begun, told = asyncio.Event(), asyncio.Event()

    async def patient(request: Request) -> None:
        await soon(lambda: request.whole, "its body is whole")
        if reads:
            assert len(await request.body(size, 5.0)) == size
        request.on_gone = told.set
        begun.set()
        await request.until_over()

    async with served(patient) as made:
        caller = await made.call()
        caller.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (size, b"x" * size))
        await asyncio.wait_for(begun.wait(), 5)
        caller.leave()
        await asyncio.wait_for(told.wait(), 1)


async def test_who_has_the_whole_answer_is_not_said_to_have_left() -> None:
    """A connection that ends after it ends nothing else."""
    told: list[str] = []

    async def quick(request: Request) -> None:
        request.on_gone = lambda: told.append("gone")
        await request.answer(200, TEXT, b"all")
        await asyncio.sleep(0.02)

    async with served(quick) as made:
        caller = await made.call()
        await caller.ask(GET)
        caller.leave()
        await soon(lambda: not made.server.connections, "it has ended")

    assert told == []


async def test_limits_of_time_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that rests, a head that does not go on, a body that nobody reads and that does not end."""
    monkeypatch.setattr(connections, "REST_S", 10.0)
    async with served(refuse_unread) as made:
        loop = asyncio.get_running_loop()
        resting, halting, owing = [await made.call() for _ in range(3)]
        assert await resting.is_open()
        halting.send(b"GET /a HTTP/1.1\r\nhost:")
        assert (await owing.ask(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")).status == 413
        await soon(lambda: any(one._in_head for one in made.server.connections), "a head has begun")
        for connection in list(made.server.connections):
            connection.look(loop.time() + 9)
        assert len(made.server.connections) == 3, "nobody is late yet"
        for connection in list(made.server.connections):
            connection.look(loop.time() + 11)

        assert await resting.is_closed()
        assert await owing.is_closed()
        assert (await halting.answer()).status == 408
        assert await halting.is_closed()


async def test_a_request_that_is_answered_is_never_late() -> None:
    """How long an answer may take is for its handler to say."""

    async def slow(request: Request) -> None:
        await asyncio.sleep(0.05)
        await echo(request)

    async with served(slow) as made:
        caller = await made.call()
        caller.send(GET)
        await soon(lambda: any(one._current for one in made.server.connections), "it has begun")
        for connection in list(made.server.connections):
            connection.look(asyncio.get_running_loop().time() + 3_600)

        assert (await caller.answer()).status == 200
