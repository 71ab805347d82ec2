"""One request and its answer.

The head is there from the start; the body comes while it is read. An answer is begun once, and is either whole
(`answer`), or begins with `start`, goes on with `write` and ends with `finish`: with the length that was said, in
chunks where none was, and up to the end of the connection for clients of HTTP/1.0, which know no chunks.

Every write waits while the client does not read: at most the transport's buffer and one piece are held for it. A client
that goes is told to `on_gone` in the same breath, whoever waits for what; what is written after that goes nowhere.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ostler.server.head import CONTINUE, DateLine, status_line

BUFFER_BYTES = 64 * 1024
"""So much of a body may wait for its reader before the socket is not read any more."""
_BODILESS = frozenset({204, 304})
_LAST_CHUNK = b"0\r\n\r\n"


class GoneError(Exception):
    """The client went away before its request was whole."""


class BadBodyError(Exception):
    """The framing of the body is broken."""


class TooLargeError(Exception):
    """The body is larger than its reader takes."""


class SlowBodyError(Exception):
    """The body did not come in time."""


class Wire(Protocol):
    """What a request needs of its connection."""

    date: DateLine

    def send(self, data: bytes) -> None:
        """Give bytes to the transport."""
        ...

    async def drained(self) -> None:
        """Wait until the client has read enough for more, or has gone."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether a write would have to wait."""
        ...

    def pause(self) -> None:
        """Read the socket no further."""
        ...

    def resume(self) -> None:
        """Read it again."""
        ...

    def answered(self, request: "Request") -> None:
        """The last of an answer was sent."""
        ...

    def cut(self) -> None:
        """End the connection at once: what was begun cannot be ended well."""
        ...


class Request:
    """A request as its handler sees it."""

    __slots__ = (
        "_buffered", "_expects", "_flaw", "_framed", "_left", "_over", "_parts", "_waiter", "_wire",
        "client", "fields", "finished", "gone", "headers", "keep", "method", "on_gone", "path", "query",
        "started", "status", "target", "version", "whole",
    )  # fmt: skip

    def __init__(
        self, wire: Wire, method: str, target: bytes, headers: list[tuple[bytes, bytes]], version: str
    ) -> None:
        self._wire = wire
        self.method = method
        self.target = target
        """As it was sent: path and query."""
        self.path = ""
        """Without the query, percent signs resolved."""
        self.query = b""
        self.headers = headers
        """Names in lower case, in order."""
        self.fields = dict(headers)
        """The same by name; of one that stands twice the last."""
        self.version = version
        self.client: tuple[str, int] | None = None
        self.keep = True
        """Another request may follow on the connection."""
        self.whole = False
        """All of the body has come."""
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        """Called once, when the client goes before its answer has been sent."""
        self.started = False
        self.finished = False
        self.status = 0
        self._parts: deque[bytes] = deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._flaw: Exception | None = None
        self._expects = False
        self._framed = False
        self._left: int | None = None
        """What is missing of an answer whose length was said."""
        self._over: asyncio.Future[None] | None = None

    # the connection's side

    def expect_continue(self) -> None:
        """The client sends its body only when it is told to."""
        self._expects = True

    def take(self, data: bytes) -> None:
        """A piece of the body came."""
        self._parts.append(data)
        self._buffered += len(data)
        if self._buffered > BUFFER_BYTES:
            self._wire.pause()
        self._wake()

    def end(self) -> None:
        """The body is whole. There is no more of it to hold back: what comes now is the end of the client, or of the
        queue of requests, which has a bound of its own.
        """
        self.whole = True
        self._wire.resume()
        self._wake()

    def spoil(self, flaw: Exception) -> None:
        """No more of the body will come, and what came is not all of it."""
        self._flaw = flaw
        self.keep = False
        self._wake()

    def lost(self) -> None:
        """The connection has ended."""
        if self.finished:
            return
        self.gone = True
        if not self.whole:
            self.spoil(GoneError())
        if self.on_gone is not None:
            self.on_gone()
        self._tell_over()

    def _tell_over(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # the handler's side: reading

    async def body(self, limit_bytes: int, limit_s: float) -> bytes:
        """The whole body. Raises `TooLargeError`, `SlowBodyError`, `BadBodyError`, `GoneError`."""
        if self.whole and self._flaw is None:
            if self._buffered > limit_bytes:
                raise TooLargeError
            parts = self._parts
            return b"".join(parts) if len(parts) != 1 else parts[0]
        found = bytearray()
        try:
            async with asyncio.timeout(limit_s):
                while piece := await self.read():
                    found += piece
                    if len(found) > limit_bytes:
                        raise TooLargeError
        except TimeoutError:
            self.keep = False
            raise SlowBodyError from None
        return bytes(found)

    async def read(self) -> bytes:
        """More of the body, as soon as there is any; `b""` at its end. Raises `BadBodyError`, `GoneError`."""
        while not self._parts:
            if self._flaw is not None:
                raise self._flaw
            if self.whole:
                return b""
            if self._expects:
                self._expects = False
                self._wire.send(CONTINUE)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._parts.popleft()
        self._buffered -= len(data)
        if self._buffered <= BUFFER_BYTES:
            self._wire.resume()
        return data

    @property
    def is_read(self) -> bool:
        """Whether all of the body has come and was read."""
        return self.whole and not self._parts

    async def until_over(self) -> None:
        """Wait until the client has gone or its answer was sent."""
        if not (self.gone or self.finished):
            self._over = asyncio.get_running_loop().create_future()
            await self._over

    # the handler's side: answering

    async def answer(self, status: int, lines: bytes, body: bytes = b"") -> None:
        """A whole answer. `lines` are its headers as bytes (`head.header_lines`), without length and framing."""
        self._begin(status)
        head = self._head(status, lines)
        if status not in _BODILESS:
            head += b"content-length: %d\r\n" % len(body)
        if self.method == "HEAD" or status in _BODILESS:
            body = b""
        await self._out(b"%b\r\n%b" % (head, body))
        self._end()

    async def start(self, status: int, lines: bytes, length: int | None = None) -> None:
        """The head of an answer whose body follows. `length` is that of the body, where it is known."""
        self._begin(status)
        self._left = length
        if length is not None:
            lines += b"content-length: %d\r\n" % length
        elif self.version == "1.0":
            self.keep = False
        elif self.method != "HEAD" and status not in _BODILESS:
            self._framed = True
            lines += b"transfer-encoding: chunked\r\n"
        await self._out(self._head(status, lines) + b"\r\n")

    async def write(self, data: bytes) -> None:
        """More of the body."""
        if self._framed and data and not (self._wire.is_full or self.gone):
            self._wire.send(b"%x\r\n%b\r\n" % (len(data), data))  # as almost always: nobody to wait for
        elif data:
            await self._body(data)

    async def finish(self, data: bytes = b"") -> None:
        """The last of the body."""
        if data or self._framed:
            await self._body(data, _LAST_CHUNK if self._framed else b"")
        if self._left and self.method != "HEAD" and self.status not in _BODILESS:
            self.keep = False  # less came than was said: only the end of the connection tells
        self._end()

    async def _body(self, data: bytes, end: bytes = b"") -> None:
        if self.method == "HEAD" or self.status in _BODILESS:
            return
        if self._framed:
            data = b"%x\r\n%b\r\n%b" % (len(data), data, end) if data else end
        elif self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        await self._out(data)

    def _head(self, status: int, lines: bytes) -> bytes:
        # A body that nobody read, and that was not even asked for, may come or not: only a new connection is sure.
        close = b"" if self.keep and not self._expects else b"connection: close\r\n"
        if self._expects:
            self.keep = False
        return status_line(status) + self._wire.date() + lines + close

    def _begin(self, status: int) -> None:
        if self.started:
            raise RuntimeError("an answer begins once")
        self.started = True
        self.status = status

    def _end(self) -> None:
        self.finished = True
        self._tell_over()
        self._wire.answered(self)

    async def _out(self, data: bytes) -> None:
        if self._wire.is_full:
            await self._wire.drained()
        if not self.gone:
            self._wire.send(data)

    def abandon(self) -> None:
        """The handler is done and has not finished its answer: it cannot be ended well."""
        if not self.finished and not self.gone:
            self.finished = True
            self._wire.cut()
