"""A streamed Responses answer to a client. Pure.

Events come as the official client expects them: the response is created and in progress; each item is added, its parts
opened, grown by deltas and done; the last event has the whole response. Every event has the next `sequence_number`.

Calls stay open until the model is done, for their arguments may come in turns; everything else is done when something
else begins. There is no end marker but the last event.
"""

from collections.abc import Iterator

import msgspec

from ostler.wire.codec import Fault
from ostler.wire.fold import Fold
from ostler.wire.openai_faults import error_object
from ostler.wire.openai_responses_items import (
    call_item,
    content_part,
    final_status,
    item_id,
    message_item,
    reasoning_item,
    response_object,
)
from ostler.wire.talk import (
    Ask,
    Ended,
    Json,
    Piece,
    Refusal,
    RefusalPiece,
    Started,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    ToolPiece,
    ToolStarted,
    ToolUse,
)

_ERROR_CODES = {"rate_limit_error": "rate_limit_exceeded", "insufficient_quota": "rate_limit_exceeded",
                "invalid_request_error": "invalid_prompt"}  # fmt: skip
"""Type of an error to one of the few codes that a response may have failed with."""


class _Open:
    """An item of the output that may still grow."""

    def __init__(self, kind: str, place: int, id_: str, call: ToolStarted | None = None) -> None:
        self.kind = kind
        self.place = place
        self.id = id_
        self.call = call
        self.texts: list[str] = []
        """Of the part that grows."""
        self.part: type[Text | Refusal | Thinking] | None = None
        self.done: list[Json] = []
        """Parts of a message that are done."""
        self.proof = Thinking()

    def where(self) -> Json:
        return {"item_id": self.id, "output_index": self.place}

    def item(self, status: str) -> Json:
        """The item as it is now."""
        text = "".join(self.texts)
        if self.call is not None:
            use = ToolUse(id=self.call.id, name=self.call.name, arguments=text)
            return call_item(use, self.id, status)
        if self.kind == "message":
            return message_item(self.done, self.id, status)
        return reasoning_item(msgspec.structs.replace(self.proof, text=text), self.id)


class ResponsesWriter:
    """Writes one stream."""

    def __init__(self, ask: Ask, answer_id: str, created_s: int) -> None:
        self._ask = ask
        self._id = answer_id
        self._created_s = created_s
        self._model = ask.model
        self._fold = Fold()
        self._sequence = 0
        self._opened = False
        self._items: list[Json | None] = []
        """The output; `None` while an item is open."""
        self._current: _Open | None = None
        self._calls: dict[int, _Open] = {}

    def piece(self, piece: Piece) -> bytes:
        """Bytes for a piece."""
        self._fold.add(piece)
        if isinstance(piece, Started):
            self._model = piece.model or self._model
        return b"".join(self._events(piece))

    def end(self) -> bytes:
        """What is open is done, and the whole response."""
        status = final_status(self._fold.answer().finish)
        events = [*self._start(), *self._close_all(status)]
        events.append(self._event(f"response.{status}", {"response": self._response(status)}))
        return b"".join(events)

    def fault(self, fault: Fault) -> bytes:
        """The error, and a response that failed: clients listen for one or the other."""
        error = error_object(fault)
        said = self._event("error", {"code": error["code"], "message": fault.message, "param": None})
        code = _ERROR_CODES.get(str(error["type"]), "server_error")
        failed = {"code": code, "message": fault.message, "type": error["type"]}
        return said + self._event("response.failed", {"response": self._response("failed", failed)})

    def _events(self, piece: Piece) -> Iterator[bytes]:
        yield from self._start()
        if isinstance(piece, TextPiece | RefusalPiece):
            yield from self._say(piece)
        elif isinstance(piece, ThinkingPiece):
            yield from self._think(piece)
        elif isinstance(piece, ToolStarted):
            yield from self._close_current()
            call = self._open("function_call", piece)
            self._calls[piece.index] = call
            yield self._added(call)
        elif isinstance(piece, ToolPiece) and piece.arguments and (open_call := self._calls.get(piece.index)):
            open_call.texts.append(piece.arguments)
            yield self._event("response.function_call_arguments.delta", open_call.where() | {"delta": piece.arguments})
        elif isinstance(piece, Ended):
            yield from self._close_all(final_status(piece.finish))

    def _start(self) -> Iterator[bytes]:
        if not self._opened:
            self._opened = True
            response = self._response("in_progress")
            yield self._event("response.created", {"response": response})
            yield self._event("response.in_progress", {"response": response})

    def _say(self, piece: TextPiece | RefusalPiece) -> Iterator[bytes]:
        if not piece.text:
            return
        kind = Text if isinstance(piece, TextPiece) else Refusal
        item = self._current
        if item is None or item.kind != "message":
            yield from self._close_current()
            item = self._current = self._open("message")
            yield self._added(item)
        where = item.where() | {"content_index": len(item.done)}
        if item.part is not kind:
            yield from self._close_part(item)
            where = item.where() | {"content_index": len(item.done)}
            item.part = kind
            yield self._event("response.content_part.added", where | {"part": content_part(_part(kind, ""))})
        item.texts.append(piece.text)
        if kind is Text:
            yield self._event("response.output_text.delta", where | {"delta": piece.text, "logprobs": []})
        else:
            yield self._event("response.refusal.delta", where | {"delta": piece.text})

    def _think(self, piece: ThinkingPiece) -> Iterator[bytes]:
        item = self._current
        proven = item is not None and (item.proof.signature or item.proof.redacted)
        if item is None or item.kind != "reasoning" or proven or piece.redacted:
            yield from self._close_current()
            item = self._current = self._open("reasoning")
            yield self._added(item)
        if piece.signature or piece.redacted:
            item.proof = Thinking(signature=piece.signature, redacted=piece.redacted)
        if not piece.text:
            return
        where = item.where() | {"summary_index": 0}
        if item.part is None:
            item.part = Thinking
            part = {"type": "summary_text", "text": ""}
            yield self._event("response.reasoning_summary_part.added", where | {"part": part})
        item.texts.append(piece.text)
        yield self._event("response.reasoning_summary_text.delta", where | {"delta": piece.text})

    def _open(self, kind: str, call: ToolStarted | None = None) -> _Open:
        place = len(self._items)
        self._items.append(None)
        return _Open(kind, place, item_id(kind, self._id, place), call)

    def _added(self, item: _Open) -> bytes:
        return self._event("response.output_item.added", {"output_index": item.place, "item": item.item("in_progress")})

    def _close_all(self, status: str) -> Iterator[bytes]:
        yield from self._close_current(status)
        for call in self._calls.values():
            if self._items[call.place] is None:
                call.texts = ["".join(call.texts) or "{}"]
                done = call.where() | {"arguments": call.texts[0]}
                yield self._event("response.function_call_arguments.done", done)
                yield self._done(call, "completed")

    def _close_current(self, status: str = "completed") -> Iterator[bytes]:
        item, self._current = self._current, None
        if item is not None:
            yield from self._close_part(item)
            yield self._done(item, status)

    def _close_part(self, item: _Open) -> Iterator[bytes]:
        if item.part is None:
            return
        text = "".join(item.texts)
        if item.part is Thinking:
            where = item.where() | {"summary_index": 0}
            yield self._event("response.reasoning_summary_text.done", where | {"text": text})
            part: Json = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_part.done", where | {"part": part})
            return
        where = item.where() | {"content_index": len(item.done)}
        if item.part is Text:
            yield self._event("response.output_text.done", where | {"text": text, "logprobs": []})
        else:
            yield self._event("response.refusal.done", where | {"refusal": text})
        part = content_part(_part(item.part, text))
        yield self._event("response.content_part.done", where | {"part": part})
        item.done.append(part)
        item.texts, item.part = [], None

    def _done(self, item: _Open, status: str) -> bytes:
        whole = self._items[item.place] = item.item(status)
        return self._event("response.output_item.done", {"output_index": item.place, "item": whole})

    def _event(self, kind: str, fields: Json) -> bytes:
        data = msgspec.json.encode({"type": kind, "sequence_number": self._sequence} | fields)
        self._sequence += 1
        return b"".join((b"event: ", kind.encode(), b"\ndata: ", data, b"\n\n"))

    def _response(self, status: str, error: Json | None = None) -> Json:
        answer = msgspec.structs.replace(self._fold.answer(), id=self._id, created_s=self._created_s, model=self._model)
        return response_object(answer, self._ask, [item for item in self._items if item is not None], status, error)


def _part(kind: type[Text | Refusal | Thinking], text: str) -> Text | Refusal:
    return Refusal(text=text) if kind is Refusal else Text(text=text)
