"""HTTP as the drivers need it: a request, an answer, a stream, problems. The only module that knows the HTTP client.

One session is shared by all endpoints and opened at the first request. What it does not do matters as much: it follows
no redirect (prompt and key would go to an address nobody configured), reads no proxy or netrc from the environment,
keeps no cookies, asks for no compression, and limits neither connections (the scheduler does) nor whole durations.

A pooled connection that the peer closed a moment ago fails on reuse before any byte of an answer; that one request is
sent again, once, on purpose only when the connection was a reused one: on a fresh one the peer may have begun to work.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec

from ostler.fleet.settings import DriverSettings
from ostler.version import __version__
from ostler.wire.classify import Problem

if TYPE_CHECKING:
    import aiohttp

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_ERROR_BODY_BYTES = 64 * 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `proxied` = it may go through the configured proxy, unless it is for this machine."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    proxied: bool = False


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HeldBackError(Exception):
    """The connection was there, and the request was not to be sent any more: nothing was."""


def always() -> bool:
    """For requests that may be sent whenever the connection is there."""
    return True


_may_send: ContextVar[Callable[[], bool]] = ContextVar("may_send", default=always)
"""Of the request that is being sent in this context."""


class TransportError(Exception):
    """Something failed below HTTP."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        super().__init__(f"{problem.value}: {detail}" if detail else problem.value)
        self.problem = problem
        self.detail = detail


class HttpStream:
    """An answer being read. `read` gives what has arrived, at least one byte, and `b""` at the end."""

    def __init__(self, response: "aiohttp.ClientResponse") -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def read(self) -> bytes:
        """The next bytes. Raises `TransportError` when the answer breaks off."""
        try:
            return await self._response.content.readany()
        except _client_errors() as error:
            raise TransportError(Problem.CUT, _detail(error)) from error

    async def read_all(self, limit_bytes: int) -> bytes:
        """The rest of the answer, cut at the limit."""
        parts: list[bytes] = []
        size = 0
        while size < limit_bytes and (chunk := await self.read()):
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)[:limit_bytes]

    def close(self) -> None:
        """Let go of the answer: its connection is closed unless it was whole. Done when this returns."""
        self._response.close()

    def hang_up(self) -> None:
        """Close the socket of the answer, also when it is in the pool again."""
        line: asyncio.Transport | None = getattr(self._response, "socket", None)
        if line is not None:
            line.close()


class Plain(Protocol):
    """Who asks plain servers in the session's place."""

    async def fetch(self, request: HttpRequest, limit_bytes: int) -> HttpReply:
        """See `Transport.fetch`."""
        ...


class Transport:
    """The shared session. Belongs to one event loop; `close` may be called twice and without any request before.

    `plain` fetches whole answers of servers without TLS that no proxy is between: a hub with nothing but those needs
    no session, which takes several megabytes.
    """

    def __init__(self, settings: DriverSettings, plain: Plain | None = None) -> None:
        self._settings = settings
        self._plain = plain
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    @asynccontextmanager
    async def stream(self, request: HttpRequest, may_send: Callable[[], bool] = always) -> AsyncIterator[HttpStream]:
        """Open an answer. Leaving the block before its end closes the connection at once, which stops the peer.

        Leaving it by an exception closes the connection also after its end: a server that failed while it answered
        may drop the connection a moment later, together with the next call on it.

        `may_send` is asked right before the first byte is sent, when the connection is there.

        Raises `TransportError`; `HeldBackError` when nothing was to be sent any more. The caller bounds the waiting.
        """
        stream = await self.open(request, may_send)
        try:
            yield stream
        except BaseException:  # boundary: every way out but the good one, handed on
            stream.hang_up()
            raise
        finally:
            stream.close()

    async def open(self, request: HttpRequest, may_send: Callable[[], bool] = always) -> HttpStream:
        """As `stream`, for who closes the answer himself."""
        asked = _may_send.set(may_send)
        try:
            return HttpStream(await self._send(request))
        finally:
            _may_send.reset(asked)

    async def fetch(self, request: HttpRequest, limit_bytes: int = MAX_BODY_BYTES) -> HttpReply:
        """A whole answer. Raises `TransportError`, also for one above the limit."""
        if self._plain is not None and request.url.startswith("http://") and self._proxy(request) is None:
            return await self._plain.fetch(request, limit_bytes)
        async with self.stream(request) as stream:
            body = await stream.read_all(limit_bytes + 1)
            if len(body) > limit_bytes:
                raise TransportError(Problem.NOT_HTTP, f"more than {limit_bytes} bytes")
            return HttpReply(status=stream.status, headers=stream.headers, body=body)

    async def close(self) -> None:
        """Close all connections; running requests fail."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, request: HttpRequest) -> "aiohttp.ClientResponse":
        try:
            return await self._attempt(request, fresh_only=False)
        except _StaleConnectionError:
            return await self._attempt(request, fresh_only=True)

    async def _attempt(self, request: HttpRequest, *, fresh_only: bool) -> "aiohttp.ClientResponse":
        """Send once. Raises `_StaleConnectionError` if it failed on a reused connection, unless that ends here."""
        from aiohttp import ClientConnectorError, ClientOSError, ServerDisconnectedError  # noqa: PLC0415 -- costly

        used: dict[str, bool] = {}
        try:
            return await self._open().request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                proxy=self._proxy(request),
                trace_request_ctx=used,
            )
        except _client_errors() as error:
            lost = isinstance(error, (ServerDisconnectedError, ClientOSError, ConnectionError))
            if lost and not isinstance(error, ClientConnectorError) and used.get("reused") and not fresh_only:
                raise _StaleConnectionError from error
            raise TransportError(_problem(error), _detail(error)) from error
        except ValueError as error:
            # Host names that no resolver can encode, and credentials in the address beside a key.
            raise TransportError(Problem.BAD_URL) from error

    def _proxy(self, request: HttpRequest) -> str | None:
        return None if not request.proxied or is_loopback(request.url) else self._settings.proxy_url

    def _open(self) -> "aiohttp.ClientSession":
        if self._closed:
            raise TransportError(Problem.LOST, "the drivers are closed")
        if self._session is None:
            self._session = _new_session(self._settings)
        return self._session


class _StaleConnectionError(Exception):
    """A pooled connection turned out to be dead."""


def origin(url: str) -> str:
    """Host and port of a URL, for messages: no path, no credentials.

    >>> origin("http://user:secret@127.0.0.1:11434/api"), origin("https://api.example.com/v1")
    ('127.0.0.1:11434', 'api.example.com')
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "an invalid address"
    host = parts.hostname or "an address without a host"
    host = f"[{host}]" if ":" in host else host
    return host if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{port}"


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine by a loopback address or name."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _new_session(settings: DriverSettings) -> "aiohttp.ClientSession":
    import aiohttp  # noqa: PLC0415 -- a quarter of a second that commands without endpoints need not pay

    async def note_reuse(_session: object, context: Any, _params: object) -> None:  # noqa: ANN401 -- untyped there
        context.trace_request_ctx["reused"] = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note_reuse)
    connect_s = settings.connect_timeout_ms / 1_000
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=settings.keepalive_ms / 1_000),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=connect_s, sock_connect=connect_s, sock_read=None),
        auto_decompress=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity", "User-Agent": f"ostler/{__version__}"},
        trace_configs=[trace],
        request_class=_request_class(),
        response_class=_response_class(),
    )


def _request_class() -> "type[aiohttp.ClientRequest]":
    """Requests that ask whether they may still be sent, when they have a connection."""
    import aiohttp  # noqa: PLC0415 -- see `_new_session`

    class Request(aiohttp.ClientRequest):
        async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            # Nothing is awaited between the look and the first byte.
            if not _may_send.get()():
                raise HeldBackError
            return await super().send(conn)

    return Request


def _response_class() -> "type[aiohttp.ClientResponse]":
    """Answers that remember their socket: the client gives it back to the pool as soon as an answer is complete."""
    import aiohttp  # noqa: PLC0415 -- see `_new_session`

    class Response(aiohttp.ClientResponse):
        socket: asyncio.Transport | None = None

        async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            self.socket = connection.transport
            return await super().start(connection)

    return Response


def _client_errors() -> tuple[type[Exception], ...]:
    from aiohttp import ClientError  # noqa: PLC0415 -- see `_new_session`

    return (ClientError, OSError)


def _problem(error: Exception) -> Problem:
    import aiohttp  # noqa: PLC0415 -- see `_new_session`

    kinds: tuple[tuple[type[Exception], Problem], ...] = (
        (aiohttp.ConnectionTimeoutError, Problem.CONNECT_TIMEOUT),
        (aiohttp.ClientConnectorDNSError, Problem.UNKNOWN_HOST),
        (aiohttp.ClientSSLError, Problem.TLS),
        (ssl.SSLError, Problem.TLS),
        (aiohttp.ClientConnectorError, Problem.UNREACHABLE),
        (aiohttp.ClientResponseError, Problem.NOT_HTTP),
        (aiohttp.InvalidURL, Problem.BAD_URL),
        (aiohttp.NonHttpUrlClientError, Problem.BAD_URL),
        (aiohttp.ClientPayloadError, Problem.CUT),
    )
    return next((problem for kind, problem in kinds if isinstance(error, kind)), Problem.LOST)


def _detail(error: Exception) -> str:
    """What the system said, without the address (which may hold credentials) and without the client's own words."""
    code = getattr(getattr(error, "os_error", None) or error, "errno", None)
    return os.strerror(code).lower() if isinstance(code, int) and code > 0 else ""
