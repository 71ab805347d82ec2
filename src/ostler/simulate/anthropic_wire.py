"""Anthropic's Messages protocol: the request, what a prompt consists of, and the encoder of an answer. Pure.

A stream is `message_start`, then for each block `content_block_start`, `content_block_delta`s and
`content_block_stop`, then `message_delta` with the stop reason and `message_stop`; one `ping` follows the first start.
The prompt is ordered tools, system, messages; a `cache_control` mark anywhere in it caches all that stands before.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ostler.simulate.openai_wire import compact
from ostler.simulate.reply import (
    Finish,
    Message,
    Piece,
    PieceKind,
    Reply,
    ToolCall,
    digest_of,
    estimate_tokens,
)
from ostler.simulate.timing import Timing


class InputMessage(msgspec.Struct):
    """A message of a request."""

    role: str
    content: str | list[Any]

    @property
    def blocks(self) -> list[Any]:
        """Its content blocks; a plain text is one."""
        return [{"type": "text", "text": self.content}] if isinstance(self.content, str) else self.content


class MessagesRequest(msgspec.Struct):
    """The body of `POST /v1/messages`, and without the limit of `count_tokens`."""

    model: str = ""
    messages: list[InputMessage] = []
    max_tokens: int | None = None
    system: str | list[Any] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None

    @property
    def offers_tools(self) -> bool:
        """Whether the model may call a tool."""
        choice = self.tool_choice
        return bool(self.tools) and not (isinstance(choice, dict) and choice.get("type") == "none")

    def reduced_messages(self) -> tuple[Message, ...]:
        """The conversation, system prompt first."""
        system = (Message("system", "\n".join(_text(block) for block in self._system)),) if self._system else ()
        turns = (Message(turn.role, "\n".join(_text(block) for block in turn.blocks)) for turn in self.messages)
        return (*system, *turns)

    def prompt_tokens(self) -> int:
        """Tokens of the whole prompt."""
        return sum(estimate_tokens(_text(block)) for block in self._prompt())

    def cache_prefixes(self) -> Iterator[tuple[str, int]]:
        """`(text, tokens)` of the prompt up to each `cache_control` mark, from short to long."""
        texts: list[str] = []
        tokens = 0
        for block in self._prompt():
            texts.append(_text(block))
            tokens += estimate_tokens(texts[-1])
            if isinstance(block, dict) and block.get("cache_control"):
                yield "\x1e".join(texts), tokens

    @property
    def _system(self) -> list[Any]:
        if isinstance(self.system, str):
            return [{"type": "text", "text": self.system}]
        return self.system or []

    def _prompt(self) -> list[Any]:
        return [*(self.tools or []), *self._system, *(block for turn in self.messages for block in turn.blocks)]


class CacheUse(msgspec.Struct, frozen=True, kw_only=True):
    """How the prompt of one call met the cache."""

    read_tokens: int = 0
    written_tokens: int = 0


class MessageEncoder:
    """`/v1/messages`."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: str, prompt_tokens: int, cache: CacheUse, serial: str) -> None:
        self._model = model
        self._input_tokens = prompt_tokens - cache.read_tokens - cache.written_tokens
        self._cache = cache
        self._id = f"msg_{digest_of(serial, size=24)}"
        self._block = -1
        self._kind: PieceKind | None = None

    def opening(self) -> bytes:
        """The empty message."""
        message = self._message([], None, None, output_tokens=1)
        return _event("message_start", {"message": message})

    def piece(self, piece: Piece) -> bytes:
        """A delta, after the start of its block where it is the first."""
        if piece.call is not None:
            fragments = ["", *re.findall(r"(?s).{1,8}", piece.call.arguments_json)]
            deltas = (self._delta({"type": "input_json_delta", "partial_json": part}) for part in fragments)
            return self._start(piece.kind, tool_use(piece.call, {})) + b"".join(deltas)
        start = b"" if self._kind is piece.kind else self._start(piece.kind, {"type": "text", "text": ""})
        return start + self._delta({"type": "text_delta", "text": piece.text})

    def malformed(self) -> bytes:
        """An event whose data ends in the middle."""
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":\n\n'

    def failed(self) -> bytes:
        """An error event."""
        return _event("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})

    def closing(self, reply: Reply, _timing: Timing) -> bytes:
        """Stop reason, usage and `message_stop`."""
        start = b"" if self._block >= 0 else self._start(PieceKind.CONTENT, {"type": "text", "text": ""})
        delta = {"stop_reason": stop_reason(reply), "stop_sequence": reply.stop_sequence}
        end = _event("message_delta", {"delta": delta, "usage": self._usage(reply.tokens)})
        return start + self._stop() + end + _event("message_stop", {})

    def whole(self, reply: Reply, _timing: Timing) -> object:
        """The answer to a request without `stream`."""
        text = [{"type": "text", "text": reply.content}] if reply.content or not reply.tool_calls else []
        content = [*text, *(tool_use(call, call.arguments) for call in reply.tool_calls)]
        return self._message(content, stop_reason(reply), reply.stop_sequence, output_tokens=reply.tokens)

    def _start(self, kind: PieceKind, block: dict[str, Any]) -> bytes:
        stop = self._stop() if self._block >= 0 else b""
        self._block += 1
        self._kind = kind
        start = _event("content_block_start", {"index": self._block, "content_block": block})
        return stop + start + (_event("ping", {}) if self._block == 0 else b"")

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._block, "delta": delta})

    def _stop(self) -> bytes:
        return _event("content_block_stop", {"index": self._block})

    def _message(
        self, content: list[Any], reason: str | None, sequence: str | None, *, output_tokens: int
    ) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": {
                **self._usage(output_tokens),
                "cache_creation": {
                    "ephemeral_5m_input_tokens": self._cache.written_tokens,
                    "ephemeral_1h_input_tokens": 0,
                },
                "service_tier": "standard",
            },
        }

    def _usage(self, output_tokens: int) -> dict[str, Any]:
        return {
            "input_tokens": self._input_tokens,
            "cache_creation_input_tokens": self._cache.written_tokens,
            "cache_read_input_tokens": self._cache.read_tokens,
            "output_tokens": output_tokens,
        }


def tool_use(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool use block; in a stream it starts without its arguments."""
    return {"type": "tool_use", "id": f"toolu_{call.serial}", "name": call.name, "input": arguments}


def stop_reason(reply: Reply) -> str:
    """Anthropic's word for the end of an answer."""
    if reply.stop_sequence is not None:
        return "stop_sequence"
    return {Finish.STOP: "end_turn", Finish.LENGTH: "max_tokens", Finish.TOOL_CALLS: "tool_use"}[reply.finish]


def _event(name: str, content: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode({"type": name, **content}) + b"\n\n"


def _text(block: object) -> str:
    """The text of a block; whatever is not text counts by its JSON, without its cache mark."""
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return compact(block)
    if block.get("type") == "text" and isinstance(block.get("text"), str):
        return str(block["text"])
    return compact({name: value for name, value in block.items() if name != "cache_control"})
