"""Streams of the Messages API: read, watched and written. Linear in the bytes.

A stream opens with `message_start`, has each block of content between its own start and stop, says stop reason and
cumulative counts in `message_delta`, and is whole with `message_stop`.

The watcher looks into few events: openings, ends and errors. Pieces of content it knows by their bytes, for quotes in
JSON text are escaped, so text cannot look like the type of an event.
"""

from collections.abc import Iterator

import msgspec

from ostler.domain.calls import CallError
from ostler.wire import anthropic_shapes as shapes
from ostler.wire.anthropic_answer import encode_fault, explained, failed, opening
from ostler.wire.anthropic_encode import tool_id
from ostler.wire.codec import Fault
from ostler.wire.framing import LineSplitter, LineTooLongError, SseParser
from ostler.wire.sse import is_whole, malformed
from ostler.wire.talk import (
    Ask,
    Counted,
    Ended,
    Finish,
    Json,
    Piece,
    RefusalPiece,
    Started,
    TextPiece,
    ThinkingPiece,
    Tokens,
    ToolPiece,
    ToolStarted,
)

_EVENT = msgspec.json.Decoder(shapes.Event)
_DELTA = b'"content_block_delta"'
_END = b'"message_stop"'


def _parse(data: bytes, *, emitted: bool) -> shapes.Event:
    try:
        event = _EVENT.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed("an event is not what this API sends", data, emitted=emitted) from error
    if event.type == "error" or (not event.type and bytes(event.error)):
        raise failed(data, emitted=emitted)
    if not event.type:
        raise malformed("an event has no type", data, emitted=emitted)
    return event


class Reader:
    """See `StreamReader`."""

    def __init__(self) -> None:
        self.done = False
        self._events = SseParser()
        self._usage = shapes.Usage()
        self._tools: dict[int, int] = {}
        """Block to call: calls are counted apart from other blocks."""
        self._whole: dict[int, str] = {}
        """Arguments that came with the opening of a block, valid unless pieces follow."""
        self._content = False
        self._ended = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """See `StreamReader.feed`."""
        try:
            events = self._events.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error), b"", emitted=self._content) from error
        return [piece for event in events for piece in self._event(event.data)]

    def end(self) -> list[Piece]:
        """See `StreamReader.end`. A last event that was cut in the middle is dropped."""
        event = self._events.end()
        return [] if event is None or not is_whole(event.data) else list(self._event(event.data))

    def _event(self, data: bytes) -> Iterator[Piece]:
        if self.done:
            return
        event = _parse(data, emitted=self._content)
        if event.type == "content_block_delta" and event.delta is not None:
            yield from self._delta(event.index, event.delta)
        elif event.type == "content_block_start" and event.content_block is not None:
            yield from self._start(event.index, event.content_block)
        elif event.type == "content_block_stop":
            if whole := self._whole.pop(event.index, ""):
                yield ToolPiece(index=self._tools[event.index], arguments=whole)
        elif event.type == "message_start" and event.message is not None:
            yield Started(id=event.message.id, model=event.message.model)
            yield from self._count(event.message.usage)
        elif event.type == "message_delta":
            yield from self._end(event)
        elif event.type == "message_stop":
            self.done = True
            if not self._ended:
                yield Ended(finish=Finish.STOP)

    def _start(self, index: int, block: shapes.Block) -> Iterator[Piece]:
        if block.type == "tool_use":
            self._content = True
            call = self._tools[index] = len(self._tools)
            yield ToolStarted(index=call, id=block.id or "", name=block.name or "")
            arguments = bytes(block.input).decode("utf-8", "replace")
            if arguments not in {"", "{}", "null"}:
                self._whole[index] = arguments
        elif block.type == "redacted_thinking" and block.data:
            self._content = True
            yield ThinkingPiece(redacted=block.data)
        elif block.type == "text" and block.text:
            self._content = True
            yield TextPiece(text=block.text)
        elif block.type == "thinking":
            yield from self._thought(block.thinking, block.signature)

    def _delta(self, index: int, delta: shapes.EventDelta) -> Iterator[Piece]:
        if delta.text:
            self._content = True
            yield TextPiece(text=delta.text)
        elif delta.partial_json and index in self._tools:
            self._whole.pop(index, None)
            yield ToolPiece(index=self._tools[index], arguments=delta.partial_json)
        else:
            yield from self._thought(delta.thinking, delta.signature)

    def _thought(self, text: str | None, signature: str | None) -> Iterator[Piece]:
        if text:
            self._content = True
            yield ThinkingPiece(text=text)
        if signature:
            self._content = True
            yield ThinkingPiece(signature=signature)

    def _count(self, usage: shapes.Usage | None) -> Iterator[Piece]:
        if usage is not None:
            self._usage.update(usage)
            yield Counted(tokens=self._usage.tokens())

    def _end(self, event: shapes.Event) -> Iterator[Piece]:
        yield from self._count(event.usage)
        delta = event.delta
        if delta is None or not delta.stop_reason or self._ended:
            return
        finish = shapes.finish_of(delta.stop_reason)
        if finish is Finish.REFUSAL and not self._content and (why := explained(delta.stop_details)):
            yield RefusalPiece(text=why)
        self._ended = self._content = True
        yield Ended(finish=finish, stop_sequence=delta.stop_sequence)


class Tap:
    """See `StreamTap`."""

    def __init__(self) -> None:
        self.done = False
        self.content = False
        self.finish = ""
        self.tokens = Tokens()
        self.events = 0
        self._lines = LineSplitter()
        self._usage = shapes.Usage()
        self._open = b""
        """Data of an event whose JSON goes on in its next line."""

    def feed(self, chunk: bytes) -> None:
        """See `StreamTap.feed`."""
        try:
            lines = self._lines.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error), b"", emitted=self.content) from error
        for line in lines:
            if self.done:
                return
            if line.startswith(b"data:"):
                self._data(line)
            elif self._open and not line:
                raise malformed("an event is not what this API sends", self._open, emitted=self.content)
        # Some servers close the connection without a line end after the last event.
        if not self.done and chunk.endswith(b"}") and _is_end(line := self._lines.pending()):
            self._data(line)

    def _data(self, line: bytes) -> None:
        if self.content and not self._open and _DELTA in line and line.endswith(b"}"):
            self.events += 1
            return
        data = self._open + line[5:]
        self._open = b""
        if not data.rstrip().endswith(b"}"):
            self._open = data
            return
        try:
            event = _parse(data, emitted=self.content)
        except CallError as error:
            if isinstance(error.__cause__, msgspec.DecodeError):
                self._open = data
                return
            raise
        self.events += 1
        self._look(event)

    def _look(self, event: shapes.Event) -> None:
        delta, usage = event.delta, event.usage
        if event.message is not None:
            usage = event.message.usage
        if usage is not None:
            self._usage.update(usage)
            self.tokens = self._usage.tokens()
        if event.type == "message_stop":
            self.done = self.content = True
            self.finish = self.finish or Finish.STOP
        elif event.type == "content_block_start" and event.content_block is not None:
            block = event.content_block
            self.content = self.content or bool(block.type == "tool_use" or block.text or block.data or block.thinking)
        elif delta is not None and delta.stop_reason:
            self.finish, self.content = shapes.finish_of(delta.stop_reason), True
        elif delta is not None and (delta.text or delta.thinking or delta.partial_json or delta.signature):
            self.content = True


def _is_end(line: bytes) -> bool:
    """Whether a line that is still open already reads as the end marker."""
    if not line.startswith(b"data:") or _END not in line:
        return False
    try:
        return _EVENT.decode(line[5:]).type == "message_stop"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


class Writer:
    """See `StreamWriter`. The opening waits for the first piece that says something: then counts may be known."""

    def __init__(self, ask: Ask, answer_id: str) -> None:
        self._model = ask.model
        self._id = answer_id
        self._tokens = Tokens()
        self._opened = False
        self._next = 0
        self._block = ""
        """Kind of the block that is open, empty if none is."""
        self._calls: dict[int, int] = {}
        self._refused = False
        self._ended = Ended(finish=Finish.STOP)

    def piece(self, piece: Piece) -> bytes:
        """See `StreamWriter.piece`."""
        if isinstance(piece, TextPiece | RefusalPiece):
            self._refused = self._refused or isinstance(piece, RefusalPiece)
            return self._text(piece.text)
        if isinstance(piece, ToolPiece):
            return self._arguments(piece)
        if isinstance(piece, ThinkingPiece):
            return self._thinking(piece)
        if isinstance(piece, ToolStarted):
            self._calls[piece.index] = self._next + bool(self._block)
            return self._start(
                "tool_use", {"type": "tool_use", "id": tool_id(piece.id), "name": piece.name, "input": {}}
            )
        if isinstance(piece, Counted):
            self._tokens = piece.tokens.over(self._tokens)
        elif isinstance(piece, Started):
            self._model = piece.model or self._model
        else:
            self._ended = piece
        return b""

    def end(self) -> bytes:
        """See `StreamWriter.end`."""
        ended = self._ended
        reason = shapes.stop_reason(ended.finish, ended.stop_sequence, tools=bool(self._calls), refused=self._refused)
        return (
            self._open()
            + self._stop()
            + _event(
                "message_delta",
                {
                    "delta": {"stop_reason": reason, "stop_sequence": ended.stop_sequence},
                    "usage": shapes.usage_json(self._tokens),
                },
            )
            + _event("message_stop", {})
        )

    def fault(self, fault: Fault) -> bytes:
        """See `StreamWriter.fault`."""
        return b"event: error\ndata: " + encode_fault(fault) + b"\n\n"

    def _open(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        return _event("message_start", {"message": opening(self._id, self._model, self._tokens)})

    def _stop(self) -> bytes:
        if not self._block:
            return b""
        self._block = ""
        self._next += 1
        return _event("content_block_stop", {"index": self._next - 1})

    def _start(self, kind: str, block: Json) -> bytes:
        before = self._open() + self._stop()
        self._block = kind
        return before + _event("content_block_start", {"index": self._next, "content_block": block})

    def _delta(self, delta: Json, index: int | None = None) -> bytes:
        return _event("content_block_delta", {"index": self._next if index is None else index, "delta": delta})

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        before = b"" if self._block == "text" else self._start("text", {"type": "text", "text": ""})
        return before + self._delta({"type": "text_delta", "text": text})

    def _thinking(self, piece: ThinkingPiece) -> bytes:
        if piece.redacted:
            return (
                self._start("redacted_thinking", {"type": "redacted_thinking", "data": piece.redacted}) + self._stop()
            )
        if not piece.text and not piece.signature:
            return b""
        begun = b""
        if self._block != "thinking":
            begun = self._start("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if piece.text:
            begun += self._delta({"type": "thinking_delta", "thinking": piece.text})
        if piece.signature:
            # A signature ends the thinking that it proves; what follows is another block.
            begun += self._delta({"type": "signature_delta", "signature": piece.signature}) + self._stop()
        return begun

    def _arguments(self, piece: ToolPiece) -> bytes:
        """More arguments, by the index of their block: they reach it even if another block was opened since."""
        if not piece.arguments:
            return b""
        begun = b""
        if piece.index not in self._calls:
            begun = self.piece(ToolStarted(index=piece.index, id="", name=""))
        delta: Json = {"type": "input_json_delta", "partial_json": piece.arguments}
        return begun + self._delta(delta, self._calls[piece.index])


def _event(name: str, fields: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode({"type": name} | fields))
