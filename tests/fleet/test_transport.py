"""The HTTP edge: stale connections, proxies, limits, laziness."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import HttpRequest, Transport, TransportError, is_loopback, origin
from ostler.wire.classify import Problem

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """A server that handles each connection by hand, so that it can fail at the worst moment; its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await talk(reader, writer)
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/x"
    finally:
        listener.close()
        await listener.wait_closed()


class Recorder:
    """Answers the first `answers` requests of each connection and drops it at the next one."""

    def __init__(self, answers: int = 1, answer: bytes = ANSWER) -> None:
        self.answers = answers
        self.answer = answer
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self.answers):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))


@asynccontextmanager
async def transport(**settings: object) -> AsyncIterator[Transport]:
    made = Transport(DriverSettings(connect_timeout_ms=20_000, **settings))  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


def post(url: str) -> HttpRequest:
    return HttpRequest(method="POST", url=url, body=b"{}")


async def test_a_connection_that_died_in_the_pool_costs_nothing() -> None:
    """The peer drops it when the second request arrives: that request is sent once more, on a new connection."""
    peer = Recorder()
    async with listening(peer) as url, transport() as http:
        await http.fetch(post(url))

        assert (await http.fetch(post(url))).body == b"ok"
        assert len(peer.requests) == 3


async def test_a_request_on_a_new_connection_is_never_repeated() -> None:
    """The peer may have begun to work on it."""
    peer = Recorder(answers=0)
    async with listening(peer) as url, transport() as http:
        with pytest.raises(TransportError) as caught:
            await http.fetch(post(url))

    assert caught.value.problem is Problem.LOST
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Problem.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", Problem.CUT),
    ],
)
async def test_answers_that_are_none(answer: bytes, problem: Problem) -> None:
    """Another protocol and a short body are told apart."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with listening(once) as url, transport() as http:
        with pytest.raises(TransportError) as caught:
            await http.fetch(post(url))

    assert caught.value.problem is problem


async def test_tls_to_a_plain_server_fails_as_tls() -> None:
    """A common mistake in an address."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(plain) as url, transport() as http:
        with pytest.raises(TransportError) as caught:
            await http.fetch(post(url.replace("http://", "https://")))

    assert caught.value.problem is Problem.TLS


async def test_an_unknown_name_is_told_apart_from_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server can be running there."""

    async def unknown(*_args: object, **_options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with transport() as http:
        with pytest.raises(TransportError) as caught:
            await http.fetch(post("http://no-such-name.invalid/"))

    assert caught.value.problem is Problem.UNKNOWN_HOST


async def test_a_body_above_the_limit_is_refused() -> None:
    """A listing is small; what is not, is none."""
    peer = Recorder(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789")
    async with listening(peer) as url, transport() as http:
        with pytest.raises(TransportError, match="8 bytes"):
            await http.fetch(post(url), limit_bytes=8)


async def test_the_environment_has_no_say_in_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable set for a browser must not see prompts."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with listening(Recorder()) as url, transport() as http:
        assert (await http.fetch(post(url))).status == 200


async def test_a_configured_proxy_is_for_endpoints_that_are_not_local() -> None:
    """It sees the whole address; loopback never goes there, whatever the endpoint is called."""
    proxy, here = Recorder(), Recorder()
    async with listening(proxy) as proxy_url, listening(here) as here_url, transport(proxy_url=proxy_url) as http:
        away = HttpRequest(method="GET", url="http://far.invalid/v1/models", proxied=True)

        assert (await http.fetch(away)).body == b"ok"
        assert proxy.requests[0].startswith(b"GET http://far.invalid/v1/models ")
        assert (await http.fetch(HttpRequest(method="GET", url=here_url, proxied=True))).body == b"ok"
        assert len(here.requests) == 1


def test_the_http_client_is_imported_by_the_first_request_only() -> None:
    """Commands that talk to no endpoint start a quarter of a second earlier."""
    imports = "import sys, ostler.fleet.drivers, ostler.fleet.prober, ostler.fleet.discover"
    code = f"{imports}; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:11434/api", "127.0.0.1:11434"),
        ("https://user:secret@api.example.com/v1?key=x", "api.example.com"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://host:99999", "an invalid address"),
        ("nonsense", "an address without a host"),
    ],
)
def test_messages_show_where_and_nothing_else(url: str, shown: str) -> None:
    """No path, no query, no credentials."""
    assert origin(url) == shown


def test_loopback_by_any_name() -> None:
    """Names and addresses of this machine, and none that only look like it."""
    assert all(map(is_loopback, ["http://localhost:1", "http://127.9.9.9/", "http://[::1]/", "http://a.localhost"]))
    assert not any(
        map(is_loopback, ["http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://10.0.0.1"])
    )
