"""What readers and taps of event streams share: lines to checked events, whatever the format. Pure.

A reader builds every event. A tap looks at lines alone: it checks that a line of data begins and ends as a JSON object
does, and hands only those lines to be parsed that the format asks for. So a tap finds a stream of something else, and
a line that was cut; it does not find a mistake inside an event that it has no reason to parse.
"""

import re

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.classify import one_line
from ostler.wire.framing import LineSplitter, LineTooLongError, SseEvent, SseParser
from ostler.wire.talk import Counted, Piece, Started, Tokens

DONE = b"[DONE]"

_MARKER = re.compile(rb"\ndata: ?\[DONE\]\s*\Z")
_MARKER_MAX = 24
_LF = ord("\n")


def malformed(what: str, data: bytes, *, emitted: bool = False) -> CallError:
    """What an endpoint sent is nonsense; its first words are shown."""
    sample = one_line(data[:120].decode("utf-8", "replace"))
    return CallError(FailureClass.MALFORMED, f"{what}: {sample}" if sample else what, emitted=emitted)


def is_whole(data: bytes) -> bool:
    """Whether the last bytes of a stream are whole.

    >>> is_whole(b'{"a": 1}'), is_whole(b'{"a": ')
    (True, False)
    """
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class SseReader:
    """Base of readers. A format says what an event means (`_event`); after the end marker nothing is read."""

    def __init__(self) -> None:
        self.done = False
        self._emitted = False
        """Whether something of an answer was given out."""
        self._events = SseParser()

    def feed(self, chunk: bytes) -> list[Piece]:
        """Pieces completed by a chunk. Raises `CallError`."""
        try:
            events = self._events.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error), b"", emitted=self._emitted) from error
        return [piece for event in events for piece in self._take(event)]

    def end(self) -> list[Piece]:
        """Pieces of a last event without its line end. One that was cut in the middle is dropped: the stream is cut,
        not malformed.
        """
        event = self._events.end()
        if event is None or not (is_whole(event.data) or event.data.strip() == DONE):
            return []
        return self._take(event)

    def _take(self, event: SseEvent) -> list[Piece]:
        if self.done:
            return []
        pieces = self._event(event)
        self._emitted = self._emitted or not all(isinstance(piece, Started | Counted) for piece in pieces)
        return pieces

    def _event(self, event: SseEvent) -> list[Piece]:
        raise NotImplementedError


class SseTap:
    """Base of taps. A format says which lines it must parse (`_wanted`) and what they tell (`_parse`).

    An end marker is seen also where the stream ends without a line end after it. Lines after it are not looked at.
    Chunks of whole lines, as most are, are taken as they are.
    """

    marked = True
    """Whether the format ends its streams with `[DONE]`; else `_parse` says when it is at its end."""

    def __init__(self) -> None:
        self.done = False
        self.content = False
        self.finish = ""
        self.tokens = Tokens()
        self.events = 0
        self._lines = LineSplitter()
        self._ended = False
        """Whether a whole line was the marker; `done` is also true while the stream's last, open line reads so."""
        self._open = False
        """Whether the last line is not complete."""
        self._tail = b"\n"

    def feed(self, chunk: bytes) -> None:
        """Look at a chunk. Raises `CallError`."""
        if self._ended or not chunk:
            return
        self.done = False
        whole = chunk[-1] == _LF and not self._open
        lines = chunk.split(b"\n") if whole else self._joined(chunk)
        for line in lines:
            if line.startswith(b"data:") and not self._ended:
                self._data(line[5:].strip())
        if self._open and self.marked and not self._ended:
            self.done = _MARKER.search(self._tail) is not None

    def _joined(self, chunk: bytes) -> list[bytes]:
        """Lines that are complete with this chunk."""
        try:
            lines = self._lines.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error), b"", emitted=self.content) from error
        self._open = chunk[-1] != _LF
        self._tail = (self._tail + chunk[-_MARKER_MAX:])[-_MARKER_MAX:] if self._open else b"\n"
        return lines

    def _data(self, data: bytes) -> None:
        if not data or data == DONE:
            self.done = self._ended = self.marked and data == DONE
            return
        if not data.startswith(b"{") or not data.endswith(b"}"):
            raise malformed("an event is not what this API sends", data, emitted=self.content)
        self.events += 1
        if self._wanted(data):
            self._parse(data)

    def _wanted(self, data: bytes) -> bool:
        raise NotImplementedError

    def _parse(self, data: bytes) -> None:
        raise NotImplementedError
