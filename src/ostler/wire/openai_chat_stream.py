"""A streamed chat completion of an endpoint: read in full, or watched while it is handed on. Pure.

One choice is read, the first. The end marker is `data: [DONE]`; a finish reason alone does not make a stream whole. A
stream that is whole but gave no reason has stopped. Counts may come in every event, in the last, or in one without
choices after it.
"""

import msgspec

from ostler.domain.calls import CallError
from ostler.wire.framing import SseEvent
from ostler.wire.openai_chat_answer import (
    Call,
    Message,
    content_pieces,
    counts,
    failed,
    finish,
    is_error,
    seconds,
)
from ostler.wire.openai_chat_calls import Calls
from ostler.wire.openai_usage import ChatUsage, Timings
from ostler.wire.sse import DONE, SseReader, SseTap, malformed
from ostler.wire.talk import (
    Counted,
    Ended,
    Finish,
    Piece,
    RefusalPiece,
    Started,
    TextPiece,
    ThinkingPiece,
    Tokens,
)


class _Choice(msgspec.Struct):
    delta: Message | None = None
    finish_reason: str | None = None
    index: int | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    timings: Timings | None = None
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


_DECODER = msgspec.json.Decoder(_Chunk)


class ChatReader(SseReader):
    """Reads one streamed chat completion."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = Calls()
        self._started = False
        self._ended = False
        self._id = ""

    def _event(self, event: SseEvent) -> list[Piece]:
        data = event.data.strip()
        if not data:
            return []
        if data == DONE:
            self.done = True
            return [] if self._ended or not self._started else [self._end(None)]
        chunk = _decoded(data, emitted=self._emitted)
        if event.name == "error" and not chunk.choices:
            raise failed(data, emitted=self._emitted)
        pieces: list[Piece] = []
        if not self._started and (chunk.id or chunk.choices):
            self._started, self._id = True, chunk.id or ""
            created_s = seconds(chunk.created)
            pieces.append(Started(id=self._id, model=chunk.model or "", created_s=created_s))
        for choice in chunk.choices or ():
            if not choice.index:
                pieces += self._choice(choice)
        tokens = counts(chunk.usage, chunk.timings)
        if tokens != Tokens():
            pieces.append(Counted(tokens=tokens))
        return pieces

    def _choice(self, choice: _Choice) -> list[Piece]:
        pieces: list[Piece] = []
        if (delta := choice.delta) is not None:
            if delta.thinking:
                pieces.append(ThinkingPiece(text=delta.thinking))
            for thought, text in content_pieces(delta.content):
                if text:
                    pieces.append(ThinkingPiece(text=text) if thought else TextPiece(text=text))
            if delta.refusal:
                pieces.append(RefusalPiece(text=delta.refusal))
            for call in delta.tool_calls or ():
                pieces += self._calls.pieces(call, self._id)
            if delta.function_call is not None:
                pieces += self._calls.pieces(Call(index=0, function=delta.function_call), self._id)
        if choice.finish_reason and not self._ended:
            pieces.append(self._end(choice.finish_reason))
        return pieces

    def _end(self, reason: str | None) -> Ended:
        self._ended = True
        return Ended(finish=_finish(reason, called=bool(self._calls), emitted=self._emitted))


class ChatTap(SseTap):
    """Watches one streamed chat completion. Parsed are the events until content was seen, and those that may hold a
    finish reason, counts or an error; inside a text such a name stands only with escaped quotes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._called = False

    def _wanted(self, data: bytes) -> bool:
        return (
            not self.content
            or (b'"usage"' in data and b'"usage":null' not in data)
            or (b'"finish_reason"' in data and b'"finish_reason":null' not in data)
            or b'"error"' in data
            or (not self._called and b"_call" in data)
        )  # fmt: skip

    def _parse(self, data: bytes) -> None:
        chunk = _decoded(data, emitted=self.content)
        for choice in chunk.choices or ():
            if (delta := choice.delta) is not None:
                self._called = self._called or bool(delta.tool_calls or delta.function_call)
                said = delta.content or delta.thinking or delta.refusal
                self.content = self.content or self._called or bool(said)
            if choice.finish_reason and not self.finish:
                self.finish = _finish(choice.finish_reason, called=self._called, emitted=self.content)
                self.content = True
        self.tokens = counts(chunk.usage, chunk.timings).over(self.tokens)


def _decoded(data: bytes, *, emitted: bool) -> _Chunk:
    try:
        chunk = _DECODER.decode(data)
    except (ValueError, RecursionError) as error:
        raise malformed("an event is not what this API sends", data, emitted=emitted) from error
    if is_error(chunk.error, chunk.object):
        raise failed(data, emitted=emitted)
    return chunk


def _finish(reason: str | None, *, called: bool, emitted: bool) -> Finish:
    try:
        return finish(reason, called=called)
    except CallError as error:
        error.emitted = emitted
        raise
