"""A streamed Responses answer of an endpoint: read in full, or watched while it is handed on. Pure.

The end is an event with the whole response: completed, incomplete or failed. Deltas are what is read; an item that came
without them (some servers send items whole) is taken from its `done` event. Events of tools that the provider itself
runs are passed over.
"""

from collections.abc import Iterator

import msgspec

from ostler.domain.calls import CallError
from ostler.wire.classify import classify_stream_error
from ostler.wire.fold import pieces
from ostler.wire.framing import SseEvent
from ostler.wire.openai_responses_answer import Item, Reply
from ostler.wire.sse import DONE, SseReader, SseTap, malformed
from ostler.wire.talk import (
    Answer,
    Counted,
    Ended,
    Piece,
    RefusalPiece,
    Started,
    TextPiece,
    ThinkingPiece,
    Tokens,
    ToolPiece,
    ToolStarted,
)


class _Event(msgspec.Struct):
    type: str = ""
    delta: object = None
    output_index: int = 0
    summary_index: int = 0
    item: Item | None = None
    response: Reply | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Event)

_DELTAS: dict[str, type[TextPiece | RefusalPiece | ThinkingPiece]] = {
    "response.output_text.delta": TextPiece,
    "response.refusal.delta": RefusalPiece,
    "response.reasoning_summary_text.delta": ThinkingPiece,
    "response.reasoning_text.delta": ThinkingPiece,
}
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class ResponsesReader(SseReader):
    """Reads one streamed response."""

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._calls: dict[int, int] = {}
        """Place in the output to place among the calls."""
        self._told: set[int] = set()
        """Places in the output of which something was given out."""

    def _event(self, event: SseEvent) -> list[Piece]:
        data = event.data.strip()
        if not data or data == DONE:
            return []
        told = _decoded(data, emitted=self._emitted)
        found: list[Piece] = []
        if told.response is not None and not self._started:
            self._started = True
            reply = told.response
            created_s = None if reply.created_at is None else int(reply.created_at)
            found.append(Started(id=reply.id or "", model=reply.model or "", created_s=created_s))
        if told.type in _ENDS:
            found += self._end(told.response or Reply())
        elif (kind := _DELTAS.get(told.type)) is not None:
            text = _text(told, data, emitted=self._emitted)
            if text:
                self._told.add(told.output_index)
                found.append(kind(text=text))
        elif told.type == "response.function_call_arguments.delta":
            text = _text(told, data, emitted=self._emitted)
            if text:
                found += self._open(told.output_index, Item())
                self._told.add(told.output_index)
                found.append(ToolPiece(index=self._calls[told.output_index], arguments=text))
        elif told.type == "response.reasoning_summary_part.added" and told.summary_index > 0:
            found.append(ThinkingPiece(text="\n\n"))
        elif told.item is not None:
            found += self._item(told.type, told.output_index, told.item)
        return found

    def _item(self, kind: str, place: int, item: Item) -> Iterator[Piece]:
        if item.type == "function_call":
            yield from self._open(place, item)
            if kind == "response.output_item.done" and place not in self._told and (text := item.call_arguments()):
                yield ToolPiece(index=self._calls[place], arguments=text)
        elif kind == "response.output_item.done":
            parts = Answer(parts=tuple(item.part(place)))
            for piece in pieces(parts):
                proof = isinstance(piece, ThinkingPiece) and not piece.text
                if not isinstance(piece, Started | Ended) and (proof or place not in self._told):
                    yield piece

    def _open(self, place: int, item: Item) -> Iterator[Piece]:
        """The call at a place begins, if it has not."""
        if place not in self._calls:
            self._calls[place] = len(self._calls)
            yield ToolStarted(index=self._calls[place], id=item.call(place), name=item.name or "")

    def _end(self, reply: Reply) -> Iterator[Piece]:
        if (failure := reply.failure(emitted=self._emitted)) is not None:
            raise failure
        self.done = True
        if (tokens := reply.tokens()) != Tokens():
            yield Counted(tokens=tokens)
        yield Ended(finish=reply.finish(called=bool(self._calls)))


class ResponsesTap(SseTap):
    """Watches one streamed response. Parsed are the events until content was seen, those with an item of the output or
    the response, and errors; inside a text such a name stands only with escaped quotes.
    """

    marked = False

    def __init__(self) -> None:
        super().__init__()
        self._called = False

    def _wanted(self, data: bytes) -> bool:
        return (
            not self.content
            or b'"response":' in data
            or b'"error"' in data
            or b'"response" :' in data
            or (not self._called and b'"function_call"' in data)
        )

    def _parse(self, data: bytes) -> None:
        told = _decoded(data, emitted=self.content)
        self._called = self._called or (told.item is not None and told.item.type == "function_call")
        self.content = self.content or self._called or told.type.endswith(".delta")
        if told.type in _ENDS:
            reply = told.response or Reply()
            if (failure := reply.failure(emitted=self.content)) is not None:
                raise failure
            called = self._called or any(item.type == "function_call" for item in reply.output or ())
            self.finish = reply.finish(called=called)
            self.tokens = reply.tokens().over(self.tokens)
            self.content = self.done = self._ended = True


def _decoded(data: bytes, *, emitted: bool) -> _Event:
    try:
        told = _DECODER.decode(data)
    except (ValueError, RecursionError) as error:
        raise malformed("an event is not what this API sends", data, emitted=emitted) from error
    if told.type == "error" or (not told.type and bytes(told.error) not in (b"", b"null")):
        fault = classify_stream_error(data, 0)
        raise CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms, emitted=emitted)
    return told


def _text(told: _Event, data: bytes, *, emitted: bool) -> str:
    if not isinstance(told.delta, str):
        raise malformed("a delta is no text", data, emitted=emitted)
    return told.delta
