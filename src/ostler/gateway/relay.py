"""A streamed answer on its way to the client: handed on as it came, or translated event by event.

Both ways say the same of what passes: whether there was content yet, whether the end marker came, counts, finish. Both
give out whole events only, so that an error can follow whatever was sent. `finish` tells a stream that merely stopped
from one that ended: without the format's own end marker it was cut, whatever was in it.
"""

from collections.abc import Callable
from typing import Protocol

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.codec import Fault, StreamReader, StreamTap, StreamWriter
from ostler.wire.talk import Counted, Ended, Finish, Piece, Started, TextPiece, ThinkingPiece, Tokens, ToolPiece

CHARS_PER_TOKEN = 4
Trim = Callable[[bytes], bytes]
"""Takes out of whole events what the client did not ask for."""


class Relay(Protocol):
    """One streamed answer on its way."""

    @property
    def content(self) -> bool:
        """Something of an answer has passed."""
        ...

    @property
    def done(self) -> bool:
        """Its end marker has passed."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """What may be handed on after this chunk. Raises `CallError`."""
        ...

    def finish(self) -> bytes:
        """The rest, once the endpoint says no more. Raises `CallError` unless the answer is whole."""
        ...

    def tokens(self) -> Tokens:
        """Counts so far, as the endpoint said them."""
        ...

    def output_estimate(self) -> int:
        """About how many tokens have passed, for when nobody counts them."""
        ...

    def finish_reason(self) -> str:
        """Why the model stopped (`Finish`); empty until it said."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """The error that ends what has begun."""
        ...


def cut() -> CallError:
    """A stream that ended without its end marker."""
    return CallError(FailureClass.CUT, "the stream ended without its end marker")


class RawRelay:
    """The caller's own format: the bytes as they came, in whole events."""

    def __init__(
        self, tap: StreamTap, writer: Callable[[], StreamWriter], *, lines: bool, trim: Trim | None = None
    ) -> None:
        self._tap = tap
        self._writer = writer
        self._ends = (b"\n",) if lines else (b"\n\n", b"\n\r\n")
        self._trim = trim
        self._tail = b""

    @property
    def content(self) -> bool:
        """See `Relay.content`."""
        return self._tap.content

    @property
    def done(self) -> bool:
        """See `Relay.done`."""
        return self._tap.done

    def feed(self, chunk: bytes) -> bytes:
        """See `Relay.feed`."""
        self._tap.feed(chunk)
        data = self._tail + chunk if self._tail else chunk
        if data.endswith(self._ends):
            whole, self._tail = data, b""
        else:
            end = max(data.rfind(mark) + len(mark) if mark in data else 0 for mark in self._ends)
            whole, self._tail = data[:end], data[end:]
        return self._trim(whole) if self._trim is not None else whole

    def finish(self) -> bytes:
        """See `Relay.finish`. Some servers leave the last line end out."""
        if not self._tap.done:
            raise cut()
        rest, self._tail = self._tail, b""
        return rest.rstrip(b"\r\n") + self._ends[0] if rest.strip() else b""

    def tokens(self) -> Tokens:
        """See `Relay.tokens`."""
        return self._tap.tokens

    def output_estimate(self) -> int:
        """See `Relay.output_estimate`: one for each event but the opening, as servers of models send them."""
        return max(int(self._tap.content), self._tap.events - 1)

    def finish_reason(self) -> str:
        """See `Relay.finish_reason`."""
        return self._tap.finish

    def fault(self, fault: Fault) -> bytes:
        """See `Relay.fault`. An event that was cut in the middle is not sent."""
        return self._writer().fault(fault)


class TranslatingRelay:
    """Another format: pieces read from one, written in the other."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, model: str) -> None:
        self._reader = reader
        self._writer = writer
        self._model = model
        self._began = False
        self._tokens = Tokens()
        self._finish = ""
        self._chars = 0
        self.content = False

    @property
    def done(self) -> bool:
        """See `Relay.done`."""
        return self._reader.done

    def feed(self, chunk: bytes) -> bytes:
        """See `Relay.feed`."""
        return self._written(self._reader.feed(chunk))

    def finish(self) -> bytes:
        """See `Relay.finish`."""
        rest = self._written(self._reader.end())
        if not self._reader.done:
            raise cut()
        if not self._finish:
            rest += self._writer.piece(Ended(finish=Finish.STOP))
        return rest + self._writer.end()

    def tokens(self) -> Tokens:
        """See `Relay.tokens`."""
        return self._tokens

    def output_estimate(self) -> int:
        """See `Relay.output_estimate`."""
        return -(-self._chars // CHARS_PER_TOKEN)

    def finish_reason(self) -> str:
        """See `Relay.finish_reason`."""
        return self._finish

    def fault(self, fault: Fault) -> bytes:
        """See `Relay.fault`."""
        return self._writer.fault(fault)

    def _written(self, pieces: list[Piece]) -> bytes:
        if not pieces:
            return b""
        out = []
        for piece in pieces:
            self._note(piece)
            if isinstance(piece, Started):
                # The name the client knows the model by is ours, not what an engine calls it.
                piece = Started(model=self._model)  # noqa: PLW2901 -- the same piece, named anew
                self._began = True
            elif not self._began:
                self._began = True
                out.append(self._writer.piece(Started(model=self._model)))
            out.append(self._writer.piece(piece))
        return b"".join(out)

    def _note(self, piece: Piece) -> None:
        if isinstance(piece, TextPiece | ThinkingPiece):
            self.content = True
            self._chars += len(piece.text)
        elif isinstance(piece, ToolPiece):
            self.content = True
            self._chars += len(piece.arguments)
        elif isinstance(piece, Counted):
            self._tokens = piece.tokens.over(self._tokens)
        elif isinstance(piece, Ended):
            self.content = True
            self._finish = piece.finish.value
        elif not isinstance(piece, Started):
            self.content = True


def without_counts(events: bytes) -> bytes:
    """Chat completion events without the one that holds nothing but counts, which only we had asked for."""
    if b'"usage"' not in events:
        return events
    kept = [event for event in events.split(b"\n\n") if not _only_counts(event)]
    return b"\n\n".join(kept)


def _only_counts(event: bytes) -> bool:
    flat = event.replace(b" ", b"")
    return b'"choices":[]' in flat and b'"usage":{' in flat
