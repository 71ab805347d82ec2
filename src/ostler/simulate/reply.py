"""What a simulated model answers: deterministic in (model, prompt, seed), recognisable, of a chosen length. Pure.

One token is four characters, everywhere: `estimate_tokens` counts that way and text is made in pieces of four, so that
the tokens reported are the tokens sent. Markers in the last user message script the answer:

* `[tool:NAME {"json": "arguments"}]` calls a tool, when the request offers tools; several make parallel calls. After
  the tool's result comes text, because the last message is then no longer the one with the marker.
* `[tokens:N]` sets the natural length of the answer in place of the model's default, up to `NATURAL_TOKENS_MAX`.
"""

import json
import re
from enum import StrEnum
from hashlib import shake_256
from typing import Any

import msgspec

CHARS_PER_TOKEN = 4
NATURAL_TOKENS_MAX = 100_000
TOOL_MARKER = re.compile(r"\[tool:([\w.-]+)\s*")
TOKENS_MARKER = re.compile(r"\[tokens:(\d{1,9})\]")
WORDS = (
    "the", "simulated", "answer", "goes", "on", "with", "plain", "words", "that", "mean", "nothing", "and", "only",
    "take", "time", "while", "a", "queue", "waits", "for", "one", "more", "slot", "memory", "holds", "weights",
)  # fmt: skip


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


class PieceKind(StrEnum):
    """What a piece of the stream carries."""

    THINKING = "thinking"
    CONTENT = "content"
    TOOL_CALL = "tool_call"


class Message(msgspec.Struct, frozen=True):
    """A turn of a conversation, reduced to its role and its text."""

    role: str
    text: str


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model makes. `serial` is stable; dialects make their ids of it."""

    serial: str
    index: int
    name: str
    arguments: dict[str, Any]

    @property
    def arguments_json(self) -> str:
        """The arguments as one JSON text."""
        return json.dumps(self.arguments, separators=(",", ":"))


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One frame of a stream and the tokens it stands for."""

    kind: PieceKind
    tokens: int
    text: str = ""
    call: ToolCall | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `pieces` in order, their tokens add up to `tokens`."""

    pieces: tuple[Piece, ...]
    finish: Finish
    stop_sequence: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens of the answer, thinking included."""
        return sum(piece.tokens for piece in self.pieces)

    @property
    def content(self) -> str:
        """The visible text."""
        return self._text(PieceKind.CONTENT)

    @property
    def thinking(self) -> str:
        """The hidden text."""
        return self._text(PieceKind.THINKING)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls, in order."""
        return tuple(piece.call for piece in self.pieces if piece.call is not None)

    def _text(self, kind: PieceKind) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind is kind)


class ReplyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that an answer depends on."""

    model: str
    messages: tuple[Message, ...]
    seed: int = 0
    natural_tokens: int
    max_tokens: int | None = None
    thinking_tokens: int = 0
    tools_offered: bool = False
    stop: tuple[str, ...] = ()
    wants_json: bool = False


def estimate_tokens(text: str) -> int:
    """Characters / 4, rounded up.

    >>> estimate_tokens(""), estimate_tokens("abcd"), estimate_tokens("abcde")
    (0, 1, 2)
    """
    return -(-len(text) // CHARS_PER_TOKEN)


def fit_messages(messages: tuple[Message, ...], num_ctx: int) -> tuple[tuple[Message, ...], int]:
    """The messages the model gets to see in a context of `num_ctx` tokens, and their tokens.

    As Ollama does it without a word: the oldest messages that are not system messages are dropped until the rest fits;
    the last one always stays, and what is still too long is cut to the context.
    """
    kept = list(messages)
    tokens = sum(estimate_tokens(message.text) for message in kept)
    while tokens > num_ctx:
        oldest = next((i for i, message in enumerate(kept[:-1]) if message.role != "system"), None)
        if oldest is None:
            return tuple(kept), num_ctx
        tokens -= estimate_tokens(kept.pop(oldest).text)
    return tuple(kept), tokens


def digest_of(*parts: object, size: int) -> str:
    """Stable hexadecimal digits of some values."""
    return shake_256("\x1f".join(str(part) for part in parts).encode()).hexdigest(size // 2 + 1)[:size]


def compose(request: ReplyRequest) -> Reply:
    """The answer to a request; the same request has always the same answer."""
    fingerprint = digest_of(request.model, request.seed, *(f"{m.role}:{m.text}" for m in request.messages), size=32)
    last = request.messages[-1] if request.messages else Message("user", "")
    calls = _tool_calls(last.text, fingerprint) if request.tools_offered and last.role == "user" else ()
    limit = request.max_tokens
    thought = request.thinking_tokens if limit is None else min(request.thinking_tokens, limit)
    pieces = _slices(PieceKind.THINKING, _text(f"[simulated thinking of {request.model}] ", fingerprint, thought))
    left = None if limit is None else limit - thought
    if calls and left != 0:
        pieces += tuple(
            Piece(kind=PieceKind.TOOL_CALL, tokens=max(1, estimate_tokens(call.name + call.arguments_json)), call=call)
            for call in calls
        )
        return Reply(pieces=pieces, finish=Finish.TOOL_CALLS)
    natural = _natural_tokens(last.text, request.natural_tokens)
    wanted = natural if left is None else min(natural, left)
    content = _text(f"[simulated {request.model}] ", fingerprint, wanted)
    if request.wants_json:
        content = json.dumps({"simulated": content.strip()})
    finish = Finish.LENGTH if wanted < natural else Finish.STOP
    content, stopped_by = _cut_at_stop(content, request.stop)
    return Reply(
        pieces=pieces + _slices(PieceKind.CONTENT, content),
        finish=Finish.STOP if stopped_by else finish,
        stop_sequence=stopped_by,
    )


def embedding(model: str, text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on nothing but the model and the text."""
    raw = shake_256(f"{model}\x1f{text}".encode()).digest(2 * dimensions)
    values = [int.from_bytes(raw[i : i + 2], "big") / 32_767.5 - 1.0 for i in range(0, 2 * dimensions, 2)]
    norm = sum(value * value for value in values) ** 0.5 or 1.0
    return [round(value / norm, 7) for value in values]


def _natural_tokens(text: str, default: int) -> int:
    marker = TOKENS_MARKER.search(text)
    return min(int(marker[1]), NATURAL_TOKENS_MAX) if marker else default


def _text(prefix: str, fingerprint: str, tokens: int) -> str:
    length = tokens * CHARS_PER_TOKEN
    parts, size = [prefix], len(prefix)
    noise = shake_256(fingerprint.encode()).digest(max(1, length))
    for byte in noise:
        if size >= length:
            break
        word = WORDS[byte % len(WORDS)] + " "
        parts.append(word)
        size += len(word)
    return "".join(parts)[:length]


def _slices(kind: PieceKind, text: str) -> tuple[Piece, ...]:
    steps = range(0, len(text), CHARS_PER_TOKEN)
    return tuple(Piece(kind=kind, tokens=1, text=text[i : i + CHARS_PER_TOKEN]) for i in steps)


def _cut_at_stop(content: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    hits = [(at, sequence) for sequence in stop if sequence and (at := content.find(sequence)) >= 0]
    if not hits:
        return content, None
    at, sequence = min(hits)
    return content[:at], sequence


def _tool_calls(text: str, fingerprint: str) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for marker in TOOL_MARKER.finditer(text):
        arguments = _arguments_at(text, marker.end())
        if arguments is not None:
            serial = digest_of(fingerprint, len(calls), size=24)
            calls.append(ToolCall(serial=serial, index=len(calls), name=marker[1], arguments=arguments))
    return tuple(calls)


def _arguments_at(text: str, at: int) -> dict[str, Any] | None:
    """The JSON object that stands between a marker's name and its `]`; none there means none given."""
    if text.startswith("]", at):
        return {}
    try:
        arguments, end = json.JSONDecoder().raw_decode(text, at)
    except ValueError:
        return None
    closed = text[end:].lstrip().startswith("]")
    return arguments if closed and isinstance(arguments, dict) else None
