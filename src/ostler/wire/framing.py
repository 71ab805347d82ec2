"""Bytes of a stream to lines and server-sent events. Pure, incremental, linear in the bytes fed.

Invariant: the result does not depend on where the stream was cut into chunks. Line ends are LF and CRLF; a lone CR,
which the event-stream format also allows, is not known from any endpoint and is kept as text.
"""

from typing import NamedTuple

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A bound against a peer without line ends, far above any real event (long tool calls reach megabytes)."""


class LineTooLongError(ValueError):
    """A line exceeds the limit; the stream is not what it claims to be."""


class LineSplitter:
    """Collects chunks and gives complete lines without their ends."""

    def __init__(self, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._limit = limit_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Lines completed by this chunk. Raises `LineTooLongError`."""
        lines = chunk.split(b"\n")
        self._size += len(lines[0])
        if self._size > self._limit:
            raise LineTooLongError(f"a line of more than {self._limit} bytes")
        rest = lines.pop()
        if not lines:
            self._parts.append(rest)
            return []
        first = lines[0]
        if self._parts:
            first = lines[0] = b"".join((*self._parts, first))
        self._parts, self._size = [rest] if rest else [], len(rest)
        if b"\r" in chunk or first.endswith(b"\r"):
            return [line.removesuffix(b"\r") for line in lines]
        return lines

    def pending(self, limit_bytes: int = 65_536) -> bytes:
        """What came after the last line end; it stays there. Nothing if it is longer than the limit: looking at an open
        line again with each chunk must stay cheap.
        """
        return b"".join(self._parts) if self._size <= limit_bytes else b""

    def rest(self) -> bytes:
        """Take what came after the last line end."""
        parts, self._parts, self._size = self._parts, [], 0
        return b"".join(parts).removesuffix(b"\r")


class SseEvent(NamedTuple):
    """One event: its name (empty if it has none) and its data lines joined."""

    name: str
    data: bytes


class SseParser:
    """Server-sent events from chunks. Comments, ids and retry hints are dropped."""

    def __init__(self, limit_bytes: int = MAX_LINE_BYTES) -> None:
        self._lines = LineSplitter(limit_bytes)
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Events completed by this chunk. Raises `LineTooLongError`."""
        events: list[SseEvent] = []
        for line in self._lines.feed(chunk):
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        return events

    def end(self) -> SseEvent | None:
        """The event the stream ended in the middle of: some servers omit the blank line after the last one."""
        rest = self._lines.rest()
        if rest:
            self._field(rest)
        return self._dispatch()

    def _dispatch(self) -> SseEvent | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        return SseEvent(name, b"\n".join(data)) if data else None

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field.removeprefix(b"\xef\xbb\xbf") == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
