"""HTTP/1.1 to endpoints without TLS, made for many small exchanges: a pool of connections, one exchange on each.

The general client (`fleet.transport`) does more and costs several times as much for each exchange; servers of models on
the own network need none of the rest. Parsing is httptools'. Rules:

* an answer is whole only as its own framing says: by length, by chunks, or, where it names neither, by the end of the
  connection. Anything else that ends is cut;
* a connection goes back to the pool only after a whole answer that allows it, is used again within `keepalive_ms`, and
  is closed when that time is over: what many calls at once had opened does not stay open after them;
* a connection that was in the pool and is lost before a byte was answered costs one more try on a new one; on a new
  connection the server may have begun to work, and nothing is repeated;
* at most `BUFFER_BYTES` wait for the reader: beyond it the socket is not read, so a slow client slows the server down.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Mapping
from typing import cast
from urllib.parse import urlsplit

import httptools

from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import HttpReply, HttpRequest, TransportError
from ostler.version import __version__
from ostler.wire.classify import Problem

BUFFER_BYTES = 64 * 1024
PIECE_BYTES = 32 * 1024
"""What is handed on at once: a reader that waits holds it up to three times."""
HEAD_BYTES_MAX = 64 * 1024
_FINAL_STATUS = 200


class LostBeforeAnswerError(Exception):
    """The connection ended before a byte of the answer came."""


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.used = False
        """It has carried an exchange before."""
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.keep = False
        self._framed = False
        self._head_bytes = 0
        self._answered = False
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._problem: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast("asyncio.Transport", transport)
        found = transport.get_extra_info("socket")
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Else one read may bring a quarter of a megabyte, which a client that does not read makes us hold.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Bytes came in. What nobody asked for ends the connection: it would be taken for the next answer."""
        if self.complete:
            self.keep = False
            self.hang_up()
            return
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(TransportError(Problem.CUT if self.status else Problem.NOT_HTTP))
            self.hang_up()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self.transport = None
        if self.complete:
            self.keep = False
        elif self.status and not self._framed and exc is None:
            self.complete = True
        elif not self._answered:
            self._fail(LostBeforeAnswerError())
        else:
            self._fail(TransportError(Problem.CUT))
        self._wake()

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_BYTES_MAX:
            raise httptools.HttpParserError("a head without end")
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there; interim answers (1xx) are passed over."""
        status = self._parser.get_status_code()
        if status < _FINAL_STATUS:
            self.headers = {}
            return
        self.keep = self._parser.should_keep_alive()
        self._framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")
        self.status = status

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFER_BYTES and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self.status:
            self.complete = True

    # the exchange's side

    async def exchange(self, head: bytes, body: bytes) -> None:
        """Send a request and wait for the head of its answer. Raises `TransportError`, `LostBeforeAnswerError`."""
        if self.used:
            self._begin()
        self.used = True
        if self.transport is None:
            raise LostBeforeAnswerError
        self.transport.write(head + body)
        while not self.status:
            await self._wait()

    async def read(self) -> bytes:
        """What has arrived, in pieces of at most `PIECE_BYTES` where it came in such; `b""` at the end.

        Raises `TransportError`.
        """
        while not self._chunks:
            if self.complete:
                return b""
            await self._wait()
        chunks = self._chunks
        data = chunks.popleft()
        if chunks:
            parts, size = [data], len(data)
            while chunks and size + len(chunks[0]) <= PIECE_BYTES:
                size += len(chunks[0])
                parts.append(chunks.popleft())
            data = b"".join(parts)
        self._buffered -= len(data)
        if self._paused and self._buffered <= PIECE_BYTES and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        return data

    @property
    def lives(self) -> bool:
        """Whether it can carry another exchange, as far as is known here."""
        return self.transport is not None and self.keep

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: the answer was whole, allows it, and nothing of it is unread."""
        return self.complete and self.keep and not self._chunks and self.transport is not None

    def hang_up(self) -> None:
        """Close the socket at once."""
        if self.transport is not None:
            self.transport.abort()

    def _wait(self) -> asyncio.Future[None]:
        """What is done when something has come. Raises what the exchange has failed with."""
        if self._problem is not None:
            raise self._problem
        self._waiter = self._loop.create_future()
        return self._waiter

    def _fail(self, problem: Exception) -> None:
        if self._problem is None:
            self._problem = problem

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class PlainAnswer:
    """An answer on a pooled connection."""

    def __init__(self, pool: "Pool", place: "Place", connection: Connection) -> None:
        self._pool = pool
        self._place = place
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers

    def read(self) -> Awaitable[bytes]:
        """What has arrived; `b""` at the end. Raises `TransportError`."""
        return self._connection.read() if self._connection is not None else _nothing()

    def close(self) -> None:
        """Back into the pool after a whole answer that was read, else closed."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.reusable:
            self._pool.give_back(self._place, connection)
        else:
            connection.hang_up()


async def _nothing() -> bytes:
    return b""


class Place:
    """Where a base address leads, and the part of every request's head that never changes."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self.host = parts.hostname or ""
        self.port = parts.port or 80
        self.prefix = parts.path.rstrip("/")
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.fixed = f"Host: {name}:{self.port}\r\nUser-Agent: ostler/{__version__}\r\nAccept-Encoding: identity\r\n"
        self.fixed_json = f"{self.fixed}Content-Type: application/json\r\n"
        self.idle: deque[Connection] = deque()
        """The one that was used last is at the right, and is used first."""


class Pool:
    """Connections to plain servers by base address. Belongs to one event loop."""

    def __init__(self, settings: DriverSettings) -> None:
        self._settings = settings
        self._places: dict[str, Place] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, base: str, path: str, headers: Mapping[str, str], body: bytes) -> PlainAnswer:
        """POST a body; the answer's head is there when this returns. Raises `TransportError`.

        `base` is a plain `http://` address; headers hold no line breaks, which their makers have to see to.
        """
        place = self._places.get(base)
        if place is None:
            place = self._places[base] = Place(base)
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        text = f"POST {place.prefix}{path} HTTP/1.1\r\n{place.fixed_json}{more}Content-Length: {len(body)}\r\n\r\n"
        return await self._send(place, text.encode("latin-1"), body)

    async def fetch(self, request: HttpRequest, limit_bytes: int) -> HttpReply:
        """A whole answer to any request on a plain address. Raises `TransportError`, also for one above the limit."""
        parts = urlsplit(request.url)
        base = f"http://{parts.netloc}"
        try:
            place = self._places.get(base) or self._places.setdefault(base, Place(base))
            more = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            length = "" if request.body is None else f"Content-Length: {len(request.body)}\r\n"
            head = f"{request.method} {target} HTTP/1.1\r\n{place.fixed}{more}{length}\r\n".encode("latin-1")
        except ValueError as error:  # a port that is none, a name that no line can hold
            raise TransportError(Problem.BAD_URL) from error
        answer = await self._send(place, head, request.body or b"")
        found = bytearray()
        try:
            while chunk := await answer.read():
                found += chunk
                if len(found) > limit_bytes:
                    raise TransportError(Problem.NOT_HTTP, f"more than {limit_bytes} bytes")
        finally:
            answer.close()
        return HttpReply(status=answer.status, headers=answer.headers, body=bytes(found))

    async def _send(self, place: Place, head: bytes, body: bytes) -> PlainAnswer:
        """Send on a pooled connection; on a new one where there is none, or where it turns out to be dead."""
        connection = self._pooled(place)
        if connection is not None:
            try:
                return await self._exchange(place, connection, head, body)
            except LostBeforeAnswerError:
                pass
        try:
            return await self._exchange(place, await self._connect(place), head, body)
        except LostBeforeAnswerError:
            raise TransportError(Problem.LOST) from None

    async def _exchange(self, place: Place, connection: Connection, head: bytes, body: bytes) -> PlainAnswer:
        try:
            await connection.exchange(head, body)
        except BaseException:  # boundary: every way out but the good one hangs up, and is handed on
            connection.hang_up()
            raise
        return PlainAnswer(self, place, connection)

    def give_back(self, place: Place, connection: Connection) -> None:
        """Keep a connection for the next exchange."""
        if self._closed:
            connection.hang_up()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        place.idle.append(connection)
        if self._sweeping is None:
            self._sweeping = loop.call_later(self._settings.keepalive_ms / 1_000, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; again while anything is idle. O(closed) but for the places."""
        self._sweeping = None
        loop = asyncio.get_running_loop()
        keep_s = self._settings.keepalive_ms / 1_000
        oldest = loop.time() - keep_s
        left = []
        for place in self._places.values():
            while place.idle and place.idle[0].idle_since <= oldest:
                place.idle.popleft().hang_up()
            if place.idle:
                left.append(place.idle[0].idle_since)
        if left:
            self._sweeping = loop.call_at(min(left) + keep_s, self._sweep)

    def _pooled(self, place: Place) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._settings.keepalive_ms / 1_000
        while place.idle:
            connection = place.idle.pop()
            if connection.lives and connection.idle_since >= oldest:
                return connection
            connection.hang_up()
        return None

    async def _connect(self, place: Place) -> Connection:
        if self._closed:
            raise TransportError(Problem.LOST, "the drivers are closed")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1_000):
                _, connection = await loop.create_connection(Connection, place.host, place.port)
        except TimeoutError:
            raise TransportError(Problem.CONNECT_TIMEOUT) from None
        except socket.gaierror as error:
            raise TransportError(Problem.UNKNOWN_HOST) from error
        except UnicodeError as error:  # a host name that no resolver can encode
            raise TransportError(Problem.BAD_URL) from error
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else ""
            raise TransportError(Problem.UNREACHABLE, reason) from error
        return connection

    def close(self) -> None:
        """Close what is idle; what is under way closes with its answer. Safe to repeat."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for place in self._places.values():
            for connection in place.idle:
                connection.hang_up()
            place.idle.clear()
