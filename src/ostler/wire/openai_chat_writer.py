"""A streamed chat completion to a client. Pure; each piece costs one small dump.

What is the same in every event (id, instant, model) is written once. The first event opens with the role, as official
clients expect. Counts are sent where they were asked for and are known, in an event of their own without choices.
"""

import msgspec

from ostler.wire.codec import Fault
from ostler.wire.openai_chat_answer import finish_word
from ostler.wire.openai_faults import error_object
from ostler.wire.openai_usage import chat_usage
from ostler.wire.talk import (
    Ask,
    Counted,
    Ended,
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

_encode = msgspec.json.encode

_UNFINISHED = b',"logprobs":null,"finish_reason":null}]'


class ChatWriter:
    """Writes one stream. In the older form of tools, a client is told of the first call alone: it knows no second."""

    def __init__(self, ask: Ask, answer_id: str, created_s: int) -> None:
        self._model = ask.model
        self._id = answer_id
        self._created_s = created_s
        self._counts = ask.stream_counts
        self._legacy = ask.legacy_functions
        self._tokens = Tokens()
        self._head = b""
        self._tail = b""

    def piece(self, piece: Piece) -> bytes:
        """Bytes for a piece."""
        if isinstance(piece, Counted):
            self._tokens = piece.tokens.over(self._tokens)
            return b""
        if isinstance(piece, Started):
            self._model = piece.model or self._model
            return self._opened()
        if isinstance(piece, Ended):
            reason = _encode(finish_word(piece.finish, legacy=self._legacy))
            return b"".join(
                (self._opened(), self._head, b'{},"logprobs":null,"finish_reason":', reason, b"}]", self._tail)
            )
        delta = self._delta(piece)
        if delta is None:
            return b""
        return b"".join((self._opened(), self._head, _encode(delta), _UNFINISHED, self._tail))

    def end(self) -> bytes:
        """The counts, if they were asked for and are known, and the end marker."""
        usage = chat_usage(self._tokens) if self._counts else None
        if usage is None:
            return self._opened() + b"data: [DONE]\n\n"
        counted = _encode(self._common() | {"choices": [], "usage": usage})
        return b"".join((self._opened(), b"data: ", counted, b"\n\ndata: [DONE]\n\n"))

    def fault(self, fault: Fault) -> bytes:
        """An error object, as official clients raise it from inside a stream."""
        return b"data: " + _encode({"error": error_object(fault)}) + b"\n\n"

    def _opened(self) -> bytes:
        """The opening event, once; before it nothing is written."""
        if self._head:
            return b""
        common = _encode(self._common())
        self._head = b"data: " + common[:-1] + b',"choices":[{"index":0,"delta":'
        self._tail = b',"usage":null}\n\n' if self._counts else b"}\n\n"
        return b"".join((self._head, _encode({"role": "assistant", "content": ""}), _UNFINISHED, self._tail))

    def _common(self) -> Json:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created_s,
            "model": self._model,
        }

    def _delta(self, piece: Piece) -> Json | None:
        if isinstance(piece, TextPiece):
            return {"content": piece.text}
        if isinstance(piece, ToolPiece | ToolStarted):
            return self._call(piece)
        if isinstance(piece, ThinkingPiece):
            return {"reasoning_content": piece.text} if piece.text else None
        return {"refusal": piece.text} if isinstance(piece, RefusalPiece) else None

    def _call(self, piece: ToolPiece | ToolStarted) -> Json | None:
        function: Json = {"arguments": piece.arguments} if isinstance(piece, ToolPiece) else {}
        if isinstance(piece, ToolStarted):
            function = {"name": piece.name, "arguments": ""}
        if self._legacy:
            return {"function_call": function} if piece.index == 0 else None
        opening: Json = {"id": piece.id, "type": "function"} if isinstance(piece, ToolStarted) else {}
        return {"tool_calls": [{"index": piece.index} | opening | {"function": function}]}
