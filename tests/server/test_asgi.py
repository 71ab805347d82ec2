"""ASGI applications behind the server see what any server shows them, and are framed like everything else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ostler.server import asgi
from ostler.server.asgi import App, Message, Receive, Send, serve_asgi
from tests.server.rig import Served, served, soon


@asynccontextmanager
async def applied(app: object) -> AsyncIterator[Served]:
    async with served(lambda request: serve_asgi(app, request, ("127.0.0.1", 7433))) as made:  # type: ignore[arg-type]
        yield made


async def shown(request: StarletteRequest) -> Response:
    """What an application is told of a request."""
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            "header": request.headers.get("x-a"),
            "client": bool(request.client and request.client.port),
            "body": (await request.body()).decode(),
        }
    )


async def streamed(_request: StarletteRequest) -> Response:
    async def pieces() -> AsyncIterator[str]:
        for word in ("one ", "two ", "three"):
            yield word
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/plain")


APP = Starlette(
    routes=[Route("/shown", shown, methods=["GET", "HEAD", "POST"]), Route("/streamed", streamed, methods=["GET"])]
)


async def test_an_application_sees_the_request() -> None:
    """Method, path, query, headers, who asks, body."""
    async with applied(APP) as made:
        caller = await made.call()
        head = b"POST /shown?a=1 HTTP/1.1\r\nhost: x\r\nX-A: b\r\n"
        got = await caller.ask(head + b"content-length: 5\r\n\r\nhello")
        again = await caller.ask(head + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")

    expected = b'{"method":"POST","path":"/shown","query":{"a":"1"},"header":"b","client":true,"body":"hello"}'
    assert got.body == again.body == expected
    assert got.headers["content-length"] == str(len(expected))


async def test_its_streams_are_streams() -> None:
    """In chunks, and the connection goes on."""
    async with applied(APP) as made:
        caller = await made.call()
        got = await caller.ask(b"GET /streamed HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (got.body, got.headers["transfer-encoding"]) == (b"one two three", "chunked")
        bare = await caller.ask(b"HEAD /shown HTTP/1.1\r\nhost: x\r\n\r\n", head=True)

        assert int(bare.headers["content-length"]) > 10
        assert (await caller.ask(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n")).status == 404


async def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    """Programs that listen for events open on it."""
    gate = asyncio.Event()

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
        await gate.wait()
        await send({"type": "http.response.body", "body": b"late"})

    async with applied(app) as made:
        caller = await made.call()
        caller.send(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(10):
            head = await caller.reader.readuntil(b"\r\n\r\n")
        gate.set()

    assert b"x-a: b" in head


async def test_headers_that_stand_twice_are_both_sent() -> None:
    """Cookies are set so."""

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        twice = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"Connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": twice})
        await send({"type": "http.response.body", "body": b"x"})

    async with applied(app) as made:
        caller = await made.call()
        caller.send(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(10):
            raw = await caller.reader.read()

    assert raw.count(b"set-cookie: ") == 2
    assert raw.count(b"connection: close") == 1


@pytest.mark.parametrize("answers", [True, False])
async def test_an_application_hears_that_its_client_has_gone(*, answers: bool) -> None:
    """When it leaves, and, as servers do, when it has its whole answer."""
    heard: list[str] = []

    async def app(_scope: Message, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])
        if answers:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        heard.append((await receive())["type"])

    async with applied(app) as made:
        caller = await made.call()
        caller.send(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await soon(lambda: bool(heard), "it has begun")
        if not answers:
            caller.leave()
        await soon(lambda: len(heard) == 2, "it is told")

    assert heard == ["http.request", "http.disconnect"]


async def test_half_a_body_is_a_client_that_has_gone() -> None:
    """An application never takes it for a whole one."""
    heard: list[str] = []

    async def app(_scope: Message, receive: Receive, _send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
            heard.append("piece")
        heard.append(message["type"])

    async with applied(app) as made:
        caller = await made.call()
        caller.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        await soon(lambda: bool(heard), "a piece has come")
        caller.leave()
        await soon(lambda: len(heard) == 2, "it is told")

    assert heard == ["piece", "http.disconnect"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"content-length: 9\r\n\r\nabc", 408), (b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400)],
)
async def test_a_body_that_does_not_come_whole_is_refused_for_the_application(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, status: int
) -> None:
    """Too slow, or broken; in words, and the connection ends."""
    monkeypatch.setattr(asgi, "BODY_S", 0.05)
    async with applied(APP) as made:
        caller = await made.call()
        got = await caller.ask(b"POST /shown HTTP/1.1\r\nhost: x\r\n" + sent)

        assert (got.status, got.headers["connection"]) == (status, "close")
        assert await caller.is_closed()


def test_starlette_is_an_application() -> None:
    """Its type is the one that is asked for, as far as types can tell."""
    app: App = APP
    assert callable(app)
