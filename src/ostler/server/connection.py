"""One connection of a client: requests are parsed as they come, and answered in their order, one at a time.

    bytes -> parser -> Request -> its turn -> handler -> answered -> the next one, or rest

Bounds: a head of `HEAD_BYTES_MAX` in `HEAD_S`, and as much beside a body (sizes of chunks, trailers) without a piece of
it; `QUEUE_MAX` requests in line behind the one that is answered, then the socket is not read; `REST_S` without a
request, then it is closed, and cut when nothing of its last answer leaves for `STUCK_S`; of what a client goes on to
send when it has its answer, `DISCARD_BYTES_MAX` in `DISCARD_S` are thrown away, so that it gets to read that.
`look` holds the limits of time: the server calls it now and then, so that no request costs a timer.
"""

import asyncio
from collections import deque
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from ostler.server.head import DateLine, header_lines, status_line
from ostler.server.request import BadBodyError, Request

CONNECTIONS_MAX = 20_000
"""At once; how many files a process may have open may be fewer."""
HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 10.0
REST_S = 60.0
STUCK_S = 600.0
"""Long, because the system below takes megabytes at a time: a slow line is not a client that does not read."""
DISCARD_S = 10.0
DISCARD_BYTES_MAX = 8 * 1024 * 1024
QUEUE_MAX = 16
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NO_REQUEST = (400, "this is no HTTP request")
_LARGE_HEAD = (431, f"the head of the request is larger than {HEAD_BYTES_MAX} bytes")
_NO_BODY = (400, f"more than {HEAD_BYTES_MAX} bytes came without a piece of the body")
_TWO_HOSTS = (400, "the request names two hosts")


class RefusedHeadError(Exception):
    """A head that is not taken: status and message."""


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
        """What comes is no request: nothing is parsed any more."""
        self._parting = False
        """The last has been said, and the client may still be sending."""
        self._refusal = b""
        """What to say about it, once it is its turn."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        self._framing = b""
        """How long the body is of a request that offers another protocol."""
        self._again = False
        self._received = 0
        """Length of what is parsed now."""
        self._fresh = True
        """A head that begins now begins with the first byte of that."""
        self._fed = 0
        """Bytes since the head began, or since the last piece of a body."""
        self._free = 0
        """Of a head that began in the middle of what came: at most so many bytes of it are not counted."""
        self._discarded = 0
        self._since = self._loop.time()
        """Since when it rests, or the head or the rest of a body is waited for."""
        self._unsent = 0
        self._reads = True
        self.is_full = False
        self._drains: list[asyncio.Future[None]] = []

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came. One too many is closed at once, as is one that came with the stop: there is nothing to answer
        it with yet.
        """
        if len(self._house.connections) >= CONNECTIONS_MAX or self._house.stopping:
            cast("asyncio.Transport", transport).abort()
            return
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
        rest: bytes | memoryview = data
        while rest and not self._deaf and self._transport is not None:
            rest = self._feed(rest)
        if self._parting:
            self._throw_away(len(rest))

    def _feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """Have bytes parsed. What is left of them stands behind an offer to speak another protocol."""
        self._received = len(data)
        self._fresh = self._incoming is None and not self._in_head
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._pass_over()
                return memoryview(data)[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            refused = error.__context__
            self._refuse(*(refused.args if isinstance(refused, RefusedHeadError) else _NO_REQUEST))
            return b""
        if self._in_head or self._incoming is not None:
            self._fed += len(data)
            if self._fed > HEAD_BYTES_MAX:
                self._refuse(*(_LARGE_HEAD if self._in_head else _NO_BODY))
        return b""

    def _pass_over(self) -> None:
        """An offer to speak another protocol, which is not taken up: what follows is a body, or the next request.

        The parser believes the offer and stops; another one goes on, for a body with a head that says its length.
        """
        self._parser = _parser(self)
        framing, self._framing = self._framing, b""
        if framing:
            self._again = True
            try:
                self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
            finally:
                self._again = False

    def _throw_away(self, size_bytes: int) -> None:
        self._discarded += size_bytes
        if self._discarded > DISCARD_BYTES_MAX:
            self.close()

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
        self._free = 0 if self._fresh else self._received
        self._fed = -self._free
        self._fresh = False
        if self._current is None:
            self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """What is asked for, or a part of it."""
        if not self._again:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. What comes behind a body is nobody's."""
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._again:
            return
        self._in_head = False
        headers, url, parser = self._headers, self._url, self._parser
        self._headers = []
        if self._fed + self._received + self._free > HEAD_BYTES_MAX:
            size = len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > HEAD_BYTES_MAX:
                raise RefusedHeadError(*_LARGE_HEAD)
        self._fed = -self._received
        version = parser.get_http_version()
        request = Request(self, parser.get_method().decode("ascii"), url, headers, version)
        if len(request.fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
            raise RefusedHeadError(*_TWO_HOSTS)
        request.path, request.query = _path(url)
        request.client = self._client
        request.keep = version != "1.0" and parser.should_keep_alive() and not self._house.stopping
        if request.fields.get(b"expect", b"").lower() == b"100-continue" and version != "1.0":
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
        self._fed = -self._received
        request = self._incoming
        if request is not None and not request.finished:
            request.take(data)
        else:
            self._throw_away(len(data))

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
            self._part(whole=request.whole)
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
        if self._transport is None:
            return
        quiet_s = now_s - self._since
        if self._transport.is_closing():
            unsent = self._transport.get_write_buffer_size()
            if unsent != self._unsent:
                self._unsent, self._since = unsent, now_s
            elif quiet_s > STUCK_S:
                self.abort()
        elif self._parting:
            if quiet_s > DISCARD_S:
                self.close()
        elif self._current is None and self._in_head:
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
            self._since = self._loop.time()
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
                self._part(whole=False)
            return
        body = message.encode()
        lines = header_lines([("content-type", "text/plain; charset=utf-8"), ("connection", "close")])
        head = b"%b%b%bcontent-length: %d\r\n\r\n" % (status_line(status), self.date(), lines, len(body))
        self._refusal = head + body
        if self._current is None:
            self._tell()

    def _tell(self) -> None:
        self.send(self._refusal)
        self._part(whole=False)

    def _part(self, *, whole: bool) -> None:
        """Nothing more is said. A client that may still be sending is heard out: to close at once would take back from
        it what it has not read yet.
        """
        if whole or self._house.stopping or self._transport is None:
            self.close()
            return
        self._deaf = self._parting = True
        self._in_head = False
        self._discarded = 0
        self._since = self._loop.time()
        self._queue.clear()
        self._transport.write_eof()
        self.resume()


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
