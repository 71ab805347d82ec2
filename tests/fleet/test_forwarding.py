"""Requests of the gateway on their way to endpoints: address, key, classified failures, no key in any text."""

import pytest
from aiohttp import web

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.states import FailureClass
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import HttpRequest, Transport
from ostler.fleet.upstream import GeneralAnswer, UpstreamSet
from tests.fleet.fakes import KEY, KEY_ENV, WallClock

LIMITS = DriverSettings(connect_timeout_ms=20_000)


class Server:
    """Answers each POST as it was told, and keeps what it was sent."""

    def __init__(self, status: int = 200, body: str = "{}", content_type: str = "application/json") -> None:
        self.status, self.body, self.content_type = status, body, content_type
        self.headers: dict[str, str] = {"Retry-After": "7"} if status == 429 else {}
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.path_qs, {k.lower(): v for k, v in request.headers.items()}, body))
        return web.Response(status=self.status, text=self.body, content_type=self.content_type, headers=self.headers)

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.handle)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        host, port = self.runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()


def spec(kind: EndpointKind, url: str, *, local: bool = True, key: bool = True) -> EndpointSpec:
    return EndpointSpec(
        name="e", kind=kind, url=url, provider="p", host="h", local=local, api_key_env=KEY_ENV if key else None
    )


def upstreams(env: dict[str, str] | None = None, **settings: object) -> UpstreamSet:
    limits = DriverSettings(connect_timeout_ms=20_000, **settings)  # type: ignore[arg-type]
    drivers = DriverSet({KEY_ENV: KEY} if env is None else env, WallClock(), limits)
    return UpstreamSet(drivers, limits)


async def ask(upstream: UpstreamSet, to: EndpointSpec, path: str = "/chat/completions") -> bytes:
    request = UpstreamRequest(path=path, body=b'{"a":1}', headers={"anthropic-beta": "b"})
    try:
        answer = await upstream.send(to, request)
        parts = []
        while chunk := await answer.read():
            parts.append(chunk)
        answer.close()
        return b"".join(parts)
    finally:
        await upstream.close()


@pytest.mark.parametrize(
    ("kind", "path", "arrives", "header"),
    [
        (EndpointKind.OPENAI, "/chat/completions", "/v1/chat/completions", "authorization"),
        (EndpointKind.ANTHROPIC, "/v1/messages?beta=true", "/v1/messages?beta=true", "x-api-key"),
        (EndpointKind.OLLAMA, "/api/chat", "/api/chat", "authorization"),
    ],
)
async def test_each_kind_gets_its_path_and_its_key(kind: EndpointKind, path: str, arrives: str, header: str) -> None:
    """The body goes as it is, with the caller's headers that were handed on."""
    server = Server()
    async with server as url:
        assert await ask(upstreams(), spec(kind, url), path) == b"{}"
    where, headers, body = server.requests[0]
    assert (where, body) == (arrives, b'{"a":1}')
    assert KEY in headers[header]
    assert headers["anthropic-beta"] == "b"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, '{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', FailureClass.RATE_LIMIT),
        (500, "oops", FailureClass.SERVER),
        (503, '{"error":"busy"}', FailureClass.SERVER),
        (400, '{"error":{"message":"prompt is too long","type":"x"}}', FailureClass.CONTEXT_TOO_LONG),
        (404, '{"error":{"message":"model not found"}}', FailureClass.MODEL_MISSING),
        (401, '{"error":"bad key"}', FailureClass.AUTH),
    ],
)
async def test_an_answer_that_is_none_is_classified(status: int, body: str, kind: FailureClass, general: bool) -> None:
    """By both clients alike; the status and what was said come with it, but nothing that was said about a key."""
    server = Server(status, body)
    async with server as url:
        to = spec(EndpointKind.OPENAI, "http://models.example" if general else url, local=not general)
        with pytest.raises(CallError) as caught:
            await ask(upstreams(proxy_url=url if general else None), to)
    assert caught.value.kind is kind
    assert caught.value.status == status
    assert caught.value.body == (b"" if kind is FailureClass.AUTH else body.encode())
    assert caught.value.retry_after_ms == (7_000 if status == 429 else None)


async def test_an_endpoint_that_repeats_our_key_is_not_quoted() -> None:
    """Neither in the message nor in the body that a client may be handed."""
    async with Server(500, f'{{"error":"key {KEY} is strange"}}') as url:
        with pytest.raises(CallError) as caught:
            await ask(upstreams(), spec(EndpointKind.OPENAI, url))
    assert KEY not in caught.value.message
    assert KEY.encode() not in caught.value.body


async def test_a_page_is_no_answer() -> None:
    """A login form with status 200 is told as what it is."""
    async with Server(200, "<html>log in</html>", "text/html") as url:
        with pytest.raises(CallError) as caught:
            await ask(upstreams(), spec(EndpointKind.OPENAI, url))
    assert caught.value.kind is FailureClass.MALFORMED


async def test_without_its_key_an_endpoint_is_not_asked() -> None:
    """The variable is named, and nothing is sent."""
    server = Server()
    async with server as url:
        with pytest.raises(CallError, match=KEY_ENV) as caught:
            await ask(upstreams({}), spec(EndpointKind.OPENAI, url))
    assert caught.value.kind is FailureClass.AUTH
    assert not server.requests


async def test_a_server_that_is_not_there_is_a_network_failure() -> None:
    """With its address in the message, and nothing else."""
    with pytest.raises(CallError, match=r"127\.0\.0\.1:1") as caught:
        await ask(upstreams(), spec(EndpointKind.OPENAI, "http://127.0.0.1:1"))
    assert caught.value.kind is FailureClass.NETWORK


async def test_remote_endpoints_go_by_the_proxy() -> None:
    """The general client is used for them: here the proxy is not there, which is what fails."""
    away = spec(EndpointKind.OPENAI, "http://models.example", local=False)
    with pytest.raises(CallError) as caught:
        await ask(upstreams(proxy_url="http://127.0.0.1:1"), away)
    assert caught.value.kind is FailureClass.NETWORK


async def test_by_the_general_client_an_answer_is_the_same() -> None:
    """What needs a proxy is read and closed like anything else."""
    server = Server()
    async with server as url:
        through = spec(EndpointKind.OPENAI, "http://models.example", local=False)
        assert await ask(upstreams(proxy_url=url), through) == b"{}"
    assert server.requests[0][0].endswith("/v1/chat/completions")


async def test_an_answer_is_closed_when_its_close_returns() -> None:
    """Not in a later turn of the loop: the slot of the call is free from then on, and there may be no later turn."""
    server = Server(body="x" * 1_000_000)
    async with server as url:
        transport = Transport(LIMITS)
        answer = await GeneralAnswer.open(transport, HttpRequest(method="POST", url=f"{url}/v1/chat", body=b"{}"))
        line = answer._stream._response.connection
        assert [line is not None and line.closed] == [False]
        answer.close()
        answer.close()
        assert line is not None
        assert line.closed
        await transport.close()
