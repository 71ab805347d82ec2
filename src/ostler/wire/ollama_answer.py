"""Answers of Ollama's two endpoints, whole and as lines of JSON: read, watched and written. Linear in the bytes.

A stream has one object on each line and is whole with the line that says `"done": true`. Calls of tools come whole, one
or more on a line. A call without an id gets one from the line it came with: the instant in it, to the nanosecond, keeps
calls of different answers apart.
"""

from collections.abc import Iterator
from hashlib import blake2s

import msgspec

from ostler.domain.calls import CallError
from ostler.wire import ollama_shapes as shapes
from ostler.wire.arguments import in_object
from ostler.wire.classify import classify_stream_error
from ostler.wire.codec import Fault
from ostler.wire.framing import LineSplitter, LineTooLongError
from ostler.wire.sse import is_whole, malformed
from ostler.wire.talk import (
    Answer,
    Ask,
    Counted,
    Ended,
    Finish,
    Json,
    Part,
    Piece,
    Refusal,
    RefusalPiece,
    Started,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    Tokens,
    ToolPiece,
    ToolStarted,
    ToolUse,
)

_LINE = msgspec.json.Decoder(shapes.Line)
_GOES_ON = b'"done":false}'
"""How this server ends every line but the last: the brace is the line's own, so the field is too."""


def decode_answer(body: bytes) -> Answer:
    """A whole answer of either endpoint."""
    line = _parse(body, emitted=False)
    if not line.done:
        raise malformed("the answer is not done", body)
    said = line.said
    calls = tuple(_calls(line, 0))
    parts: list[Part] = [Thinking(text=said.thinking)] if said.thinking else []
    if said.content:
        parts.append(Text(text=said.content))
    return Answer(
        model=line.model,
        parts=(*parts, *calls),
        finish=line.finish(tools=bool(calls)),
        tokens=line.tokens(),
        created_s=shapes.instant_s(line.created_at),
    )


def encode_answer(answer: Answer, *, chat: bool) -> bytes:
    """A whole answer to a client."""
    message: Json = {
        "content": "".join(part.text for part in answer.parts if isinstance(part, Text | Refusal)),
        "thinking": "".join(part.text for part in answer.parts if isinstance(part, Thinking)),
        "tool_calls": [
            _call_json(part, index)
            for index, part in enumerate(part for part in answer.parts if isinstance(part, ToolUse))
        ],
    }
    return msgspec.json.encode(
        {"model": answer.model, "created_at": shapes.timestamp(answer.created_s or 0)}
        | _said({name: value for name, value in message.items() if value or name == "content"}, chat=chat)
        | shapes.metrics(answer.finish, answer.tokens)
    )


def encode_fault(fault: Fault) -> bytes:
    """An error, whole or as the last line of a stream."""
    return msgspec.json.encode({"error": fault.message})


class Reader:
    """See `StreamReader`."""

    def __init__(self) -> None:
        self.done = False
        self._lines = LineSplitter()
        self._started = False
        self._calls = 0
        self._content = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """See `StreamReader.feed`."""
        try:
            lines = self._lines.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error), b"", emitted=self._content) from error
        return [piece for line in lines for piece in self._line(line)]

    def end(self) -> list[Piece]:
        """See `StreamReader.end`. A last line that was cut in the middle is dropped."""
        rest = self._lines.rest()
        return list(self._line(rest)) if is_whole(rest) else []

    def _line(self, data: bytes) -> Iterator[Piece]:
        if self.done or not data.strip():
            return
        line = _parse(data, emitted=self._content)
        if not self._started:
            self._started = True
            yield Started(model=line.model, created_s=shapes.instant_s(line.created_at))
        said = line.said
        if said.thinking:
            self._content = True
            yield ThinkingPiece(text=said.thinking)
        if said.content:
            self._content = True
            yield TextPiece(text=said.content)
        for use in _calls(line, self._calls):
            self._content = True
            yield ToolStarted(index=self._calls, id=use.id, name=use.name)
            yield ToolPiece(index=self._calls, arguments=use.arguments)
            self._calls += 1
        if line.done:
            self.done = True
            tokens = line.tokens()
            if tokens != Tokens():
                yield Counted(tokens=tokens)
            yield Ended(finish=line.finish(tools=self._calls > 0))


class Tap:
    """See `StreamTap`. Once content was seen, lines that go on are known by their last bytes."""

    def __init__(self) -> None:
        self.done = False
        self.content = False
        self.finish = ""
        self.tokens = Tokens()
        self.events = 0
        self._lines = LineSplitter()
        self._tools = False

    def feed(self, chunk: bytes) -> None:
        """See `StreamTap.feed`."""
        try:
            lines = self._lines.feed(chunk)
        except LineTooLongError as error:
            raise malformed(str(error), b"", emitted=self.content) from error
        for data in lines:
            if self.done:
                return
            if self.content and data.endswith(_GOES_ON) and data.startswith(b"{") and b'"tool_calls"' not in data:
                self.events += 1
            elif data.strip():
                self.events += 1
                self._look(_parse(data, emitted=self.content))
        if not self.done and chunk.rstrip().endswith(b"}"):
            self._look_ahead(self._lines.pending())

    def _look_ahead(self, data: bytes) -> None:
        """Some servers close the connection without a line end after the last line: it may be whole already."""
        try:
            line = _LINE.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if line.done and not line.failed:
            self.events += 1
            self._look(line)

    def _look(self, line: shapes.Line) -> None:
        said = line.said
        self._tools = self._tools or bool(said.tool_calls)
        self.content = self.content or line.done or self._tools or bool(said.content or said.thinking)
        if line.done:
            self.done = True
            self.finish = line.finish(tools=self._tools)
            self.tokens = line.tokens()


class Writer:
    """See `StreamWriter`. A call of a tool is written when it is whole: when other content follows, or at the end."""

    def __init__(self, ask: Ask, created_s: int, *, chat: bool) -> None:
        self._model = ask.model
        self._created_at = shapes.timestamp(created_s)
        self._chat = chat
        self._tokens = Tokens()
        self._open: dict[int, tuple[str, str, list[str]]] = {}
        self._written = 0
        self._finish = Finish.STOP

    def piece(self, piece: Piece) -> bytes:
        """See `StreamWriter.piece`."""
        if isinstance(piece, TextPiece | RefusalPiece):
            return self._flushed() + self._line({"content": piece.text}) if piece.text else b""
        if isinstance(piece, ThinkingPiece):
            return self._flushed() + self._line({"content": "", "thinking": piece.text}) if piece.text else b""
        if isinstance(piece, ToolStarted):
            self._open[piece.index] = (piece.id, piece.name, [])
        elif isinstance(piece, ToolPiece):
            self._open.setdefault(piece.index, ("", "", []))[2].append(piece.arguments)
        elif isinstance(piece, Counted):
            self._tokens = piece.tokens.over(self._tokens)
        elif isinstance(piece, Started):
            self._model = piece.model or self._model
        else:
            self._finish = piece.finish
        return b""

    def end(self) -> bytes:
        """See `StreamWriter.end`."""
        return self._flushed() + self._line({"content": ""}, shapes.metrics(self._finish, self._tokens))

    def fault(self, fault: Fault) -> bytes:
        """See `StreamWriter.fault`."""
        return encode_fault(fault) + b"\n"

    def _flushed(self) -> bytes:
        lines = b""
        for _, (call_id, name, arguments) in sorted(self._open.items()):
            use = ToolUse(id=call_id, name=name, arguments="".join(arguments))
            lines += self._line({"content": "", "tool_calls": [_call_json(use, self._written)]})
            self._written += 1
        self._open = {}
        return lines

    def _line(self, message: Json, end: Json | None = None) -> bytes:
        fields = {"model": self._model, "created_at": self._created_at} | _said(message, chat=self._chat)
        return msgspec.json.encode(fields | ({"done": False} if end is None else end)) + b"\n"


def _said(message: Json, *, chat: bool) -> Json:
    """Content where each endpoint has it."""
    if chat:
        return {"message": {"role": "assistant"} | message}
    return {"response": message["content"]} | {name: value for name, value in message.items() if name != "content"}


def _call_json(use: ToolUse, index: int) -> Json:
    function: Json = {"index": index, "name": use.name, "arguments": in_object(use.arguments)}
    return {"id": use.id, "function": function} if use.id else {"function": function}


def _calls(line: shapes.Line, before: int) -> Iterator[ToolUse]:
    for index, call in enumerate(line.said.tool_calls or (), before):
        arguments = bytes(call.function.arguments)
        sign = b"\0".join((line.created_at.encode(), str(index).encode(), call.function.name.encode(), arguments))
        yield ToolUse(
            id=call.id or f"call_{blake2s(sign, digest_size=8).hexdigest()}",
            name=call.function.name,
            arguments=arguments.decode("utf-8", "replace") or "{}",
        )


def _parse(data: bytes, *, emitted: bool) -> shapes.Line:
    try:
        line = _LINE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed("this is not what this API sends", data, emitted=emitted) from error
    if line.failed:
        fault = classify_stream_error(data, 0)
        raise CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms, emitted=emitted)
    return line
