"""One connection of a client: requests are parsed as they come, and answered in their order, one at a time.

    bytes -> parser -> Request -> its turn -> handler -> answered -> the next one, or rest

Bounds: a head of `HEAD_BYTES_MAX` in `HEAD_S`; `QUEUE_MAX` requests in line behind the one that is answered, then the
socket is not read; `REST_S` without a request, then it is closed; of a body that was answered before it was read,
`DISCARD_BYTES_MAX` are thrown away, so that the client gets to read its answer. `look` holds the limits of time: the
server calls it now and then, so that no request costs a timer.
"""

import asyncio
from collections import deque
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from ostler.server.head import DateLine, header_lines, status_line
from ostler.server.request import BadBodyError, Request

HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 10.0
REST_S = 60.0
DISCARD_S = 10.0
DISCARD_BYTES_MAX = 8 * 1024 * 1024
QUEUE_MAX = 16
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NO_REQUEST = (400, "this is no HTTP request")
_LARGE_HEAD = (431, f"the head of the request is larger than {HEAD_BYTES_MAX} bytes")


class HeadTooLargeError(Exception):
    """A head without end."""


class House(Protocol):
    """What a connection needs of its server."""

    loop: asyncio.AbstractEventLoop
    date: DateLine
    connections: "set[Connection]"
    stopping: bool

    def serve(self, request: Request) -> None:
        """Have a request handled, whose turn it is."""
        ...

    def left(self, connection: "Connection") -> None:
        """A connection has ended."""
        ...


class Connection(asyncio.Protocol):
    """A connection of a client."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = house.loop
        self.date = house.date
        self._transport: asyncio.Transport | None = None
        self._client: tuple[str, int] | None = None
        self._parser = _parser(self)
        self._current: Request | None = None
        """The one that is answered."""
        self._incoming: Request | None = None
        """The one whose body comes."""
        self._queue: deque[Request] = deque()
        self._deaf = False
        """What came is no request: nothing is read any more."""
        self._refusal = b""
        """What to say about it, once it is its turn."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        self._framing = b""
        """How long the body is of a request that offers another protocol."""
        self._again = False
        self._received = 0
        self._fed = 0
        self._discarded = 0
        self._since = self._loop.time()
        """Since when it rests, or the head or the rest of a body is waited for."""
        self._reads = True
        self.is_full = False
        self._drains: list[asyncio.Future[None]] = []

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._house.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """It has gone."""
        self._transport = None
        self._house.left(self)
        self._queue.clear()
        self.resume_writing()
        for request in dict.fromkeys((self._current, self._incoming)):
            if request is not None:
                request.lost()
        self._current = self._incoming = None

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._deaf or self._transport is None:
            return
        self._received = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._pass_over(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            large = isinstance(error.__context__, HeadTooLargeError)
            self._refuse(*_LARGE_HEAD if large else _NO_REQUEST)
            return
        if self._in_head:
            self._fed += len(data)
            if self._fed > HEAD_BYTES_MAX:
                self._refuse(*_LARGE_HEAD)

    def _pass_over(self, rest: bytes) -> None:
        """An offer to speak another protocol, which is not taken up: what follows is a body, or the next request.

        The parser believes the offer and stops; another one goes on, for a body with a head that says its length.
        """
        self._parser = _parser(self)
        framing, self._framing = self._framing, b""
        if framing:
            self._again = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
            self._again = False
        if rest:
            self.data_received(rest)

    def pause_writing(self) -> None:
        """The client does not read."""
        self.is_full = True

    def resume_writing(self) -> None:
        """It has read."""
        self.is_full = False
        waiting, self._drains = self._drains, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # httptools' side

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._again:
            return
        self._url = b""
        self._headers = []
        self._in_head = True
        self._fed = 0
        if self._current is None:
            self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """What is asked for, or a part of it."""
        if not self._again:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._again:
            return
        self._in_head = False
        headers, url, parser = self._headers, self._url, self._parser
        self._headers = []  # what comes behind a body is nobody's
        if self._fed + self._received > HEAD_BYTES_MAX:
            size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > HEAD_BYTES_MAX:
                raise HeadTooLargeError
        version = parser.get_http_version()
        request = Request(self, parser.get_method().decode("ascii"), url, headers, version)
        request.path, request.query = _path(url)
        request.client = self._client
        request.keep = version != "1.0" and parser.should_keep_alive() and not self._house.stopping
        if request.fields.get(b"expect", b"").lower() == b"100-continue":
            request.expect_continue()
        if parser.should_upgrade():
            framing = [b"%b: %b\r\n" % header for header in headers if header[0] in _FRAMING]
            self._framing = b"".join(framing)
        self._incoming = request
        if self._current is None:
            self._begin(request)
        else:
            self._queue.append(request)
            if len(self._queue) >= QUEUE_MAX:
                self.pause()

    def on_body(self, data: bytes) -> None:
        """A piece of a body."""
        request = self._incoming
        if request is not None and not request.finished:
            request.take(data)
            return
        self._discarded += len(data)
        if self._discarded > DISCARD_BYTES_MAX:
            self.close()

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._framing:
            return
        request, self._incoming = self._incoming, None
        if request is None:
            return
        request.end()
        if request.finished and request is self._current:
            self._next()

    # the request's side

    def send(self, data: bytes) -> None:
        """See `Wire.send`."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """See `Wire.drained`."""
        while self.is_full and self._transport is not None:
            waiter = self._loop.create_future()
            self._drains.append(waiter)
            await waiter

    def pause(self) -> None:
        """See `Wire.pause`."""
        if self._reads and self._transport is not None:
            self._reads = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Wire.resume`."""
        if not self._reads and self._transport is not None and len(self._queue) < QUEUE_MAX:
            self._reads = True
            self._transport.resume_reading()

    def answered(self, request: Request) -> None:
        """See `Wire.answered`."""
        if request is not self._current:
            return
        if not request.keep or self._house.stopping:
            self.close()
        elif request.whole:
            self._next()
        else:
            self._since = self._loop.time()
            self._discarded = 0
            self.resume()

    def cut(self) -> None:
        """See `Wire.cut`."""
        self._current = None
        if self._transport is not None:
            self._transport.abort()

    # the server's side

    def look(self, now_s: float) -> None:
        """Close what has rested, or been waited for, too long."""
        quiet_s = now_s - self._since
        if self._current is None and self._in_head:
            if quiet_s > HEAD_S:
                self._refuse(408, "the head of the request did not come in time")
        elif self._current is None:
            if quiet_s > REST_S:
                self.close()
        elif self._current.finished and quiet_s > DISCARD_S:
            self.close()

    def retire(self) -> None:
        """The server stops: what is answered now is the last."""
        if self._current is None or self._current.finished:
            self.close()
        else:
            self._current.keep = False

    def close(self) -> None:
        """Send what is on its way, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _begin(self, request: Request) -> None:
        self._current = request
        self._house.serve(request)

    def _next(self) -> None:
        """The answer was sent and its request is whole: the next one's turn."""
        self._current = None
        self._since = self._loop.time()
        if self._queue:
            self._begin(self._queue.popleft())
        elif self._refusal:
            self._tell()
        self.resume()

    def _refuse(self, status: int, message: str) -> None:
        """What came is no request. Who was before it still gets an answer."""
        self._deaf = True
        request = self._incoming
        if request is not None:  # its body broke: its handler says so
            request.spoil(BadBodyError(message))
            if request.finished:
                self.close()
            return
        body = message.encode()
        lines = header_lines([("content-type", "text/plain; charset=utf-8"), ("connection", "close")])
        head = b"%b%b%bcontent-length: %d\r\n\r\n" % (status_line(status), self.date(), lines, len(body))
        self._refusal = head + body
        if self._current is None:
            self._tell()

    def _tell(self) -> None:
        self.send(self._refusal)
        self.close()


def _parser(connection: Connection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(connection)
    # Bytes behind a request that closes are passed over, instead of spoiling the answer to it.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _path(url: bytes) -> tuple[str, bytes]:
    """Path and query of what was asked for."""
    if url[:1] != b"/" and b"://" in url:
        parsed = httptools.parse_url(url)
        raw, query = parsed.path or b"/", parsed.query or b""
    else:
        raw, _, query = url.partition(b"?")
    path = raw.decode("ascii")
    return (unquote(path) if "%" in path else path), query
