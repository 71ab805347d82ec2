"""Answers: whole or in pieces, framed as the client understands; a slow reader holds a bounded part."""

import asyncio

import pytest

from ostler.server.request import Request
from tests.server.rig import TEXT, served, soon

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n"
OLD = b"GET /a HTTP/1.0\r\nhost: x\r\n\r\n"


async def in_pieces(request: Request) -> None:
    await request.start(200, TEXT)
    await request.write(b"one ")
    await request.write(b"")
    await request.write(b"two ")
    await request.finish(b"three")


async def of_length(request: Request) -> None:
    await request.start(200, TEXT, 9)
    await request.write(b"one ")
    await request.finish(b"three")


async def at_once(request: Request) -> None:
    await request.answer(200, TEXT, b"one two")


@pytest.mark.parametrize(
    ("handler", "framing", "body"),
    [
        (in_pieces, ("transfer-encoding", "chunked"), b"one two three"),
        (of_length, ("content-length", "9"), b"one three"),
        (at_once, ("content-length", "7"), b"one two"),
    ],
)
async def test_an_answer_is_framed(handler: object, framing: tuple[str, str], body: bytes) -> None:
    """By its length where that is known, else in chunks; the head of it alone says the same without a body."""
    async with served(handler) as made:  # type: ignore[arg-type]
        caller = await made.call()
        for _ in range(2):
            got = await caller.ask(GET)
            assert (got.status, got.headers[framing[0]], got.body) == (200, framing[1], body)
        bare = await caller.ask(HEAD, head=True)
        assert bare.status == 200
        assert bare.headers.get("content-length") == got.headers.get("content-length")

        assert (await caller.ask(GET)).body == body


async def test_an_old_client_gets_no_chunks() -> None:
    """The end of the connection is the end of its answer."""
    async with served(in_pieces) as made:
        got = await (await made.call()).ask(OLD)

    assert (got.body, got.headers["connection"]) == (b"one two three", "close")
    assert "transfer-encoding" not in got.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_some_answers_have_no_body(status: int) -> None:
    """Whatever their handler gives, in either way, the next answer is not spoiled."""

    async def bodiless(request: Request) -> None:
        if request.path == "/whole":
            await request.answer(status, TEXT, b"x")
        else:
            await request.start(status, TEXT)
            await request.finish(b"x")

    async with served(bodiless) as made:
        caller = await made.call()
        for path in (b"/whole", b"/pieces", b"/whole"):
            got = await caller.ask(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            assert got.status == status
            assert not {"content-length", "transfer-encoding"} & set(got.headers)


async def short(request: Request) -> None:
    await request.start(200, TEXT, 9)
    await request.finish(b"one")


async def cut(request: Request) -> None:
    await request.start(200, TEXT)
    await request.write(b"one")


async def broken(request: Request) -> None:
    await request.start(200, TEXT)
    await request.write(b"one")
    raise ZeroDivisionError


@pytest.mark.parametrize("handler", [short, cut, broken])
async def test_an_answer_that_was_not_finished_is_never_passed_off_as_one(handler: object) -> None:
    """The connection ends before its end."""
    async with served(handler) as made:  # type: ignore[arg-type]
        caller = await made.call()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await caller.ask(GET)


async def test_more_than_was_said_is_not_sent() -> None:
    """It would be taken for the next answer."""

    async def long(request: Request) -> None:
        await request.start(200, TEXT, 5)
        await request.write(b"onetwo")
        await request.finish(b"three")

    async with served(long) as made:
        caller = await made.call()
        assert [(await caller.ask(GET)).body for _ in range(2)] == [b"onetw", b"onetw"]


async def test_a_handler_that_breaks_before_it_answers_is_told_with_500() -> None:
    """Not with its traceback; the connection may go on."""

    async def breaks(request: Request) -> None:
        raise ZeroDivisionError("secret")

    async with served(breaks) as made:
        caller = await made.call()
        got = await caller.ask(GET)

        assert (got.status, got.body) == (500, b"Internal Server Error")
        assert (await caller.ask(GET)).status == 500


async def test_a_handler_that_does_not_answer_ends_the_connection() -> None:
    """A client is not left waiting."""

    async def forgets(request: Request) -> None:
        pass

    async with served(forgets) as made:
        caller = await made.call()
        caller.send(GET)
        assert await caller.is_closed()


async def test_an_answer_begins_once() -> None:
    """A second one is a mistake of its handler, and does not reach the client."""
    heard: list[Exception] = []

    async def twice(request: Request) -> None:
        await request.answer(200, TEXT, b"one")
        try:
            await request.answer(200, TEXT, b"two")
        except RuntimeError as error:
            heard.append(error)

    async with served(twice) as made:
        caller = await made.call()
        assert [(await caller.ask(GET)).body for _ in range(2)] == [b"one", b"one"]
    assert len(heard) == 2


async def test_a_slow_reader_holds_a_bounded_part() -> None:
    """Writes wait while it does not read, and go on when it does; all of it arrives."""
    piece, pieces = b"x" * 32_768, 300
    given = 0

    async def long(request: Request) -> None:
        nonlocal given
        await request.start(200, TEXT)
        for _ in range(pieces):
            await request.write(piece)
            given += 1
        await request.finish()

    async with served(long) as made:
        caller = await made.call(buffer_bytes=65_536)
        caller.send(GET)
        before = -1
        while given != before:
            before = given
            await asyncio.sleep(0.05)
        assert 0 < before < pieces - 20, "what the sockets themselves take in is some megabytes"
        got = await caller.answer()

    assert len(got.body) == len(piece) * pieces


async def test_a_slow_reader_that_leaves_lets_its_handler_go_on() -> None:
    """A write that waited for it returns; what is written then goes nowhere."""
    done = asyncio.Event()

    async def long(request: Request) -> None:
        await request.start(200, TEXT)
        while not request.gone:
            await request.write(b"x" * 65_536)
        await request.write(b"more")
        await request.finish()
        done.set()

    async with served(long) as made:
        caller = await made.call(buffer_bytes=65_536)
        caller.send(GET)
        await soon(lambda: any(one.is_full for one in made.server.connections), "it is full")
        caller.leave()

        await asyncio.wait_for(done.wait(), 1)
