"""Ollama's native protocol: requests, durations, time stamps, and one encoder for each generating endpoint. Pure.

Fields that Go's encoder omits when they are zero are omitted here too. Durations are nanoseconds.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from ostler.simulate.host_events import FOREVER_MS
from ostler.simulate.openai_wire import compact
from ostler.simulate.reply import Finish, Message, Piece, PieceKind, Reply, ToolCall, estimate_tokens
from ostler.simulate.timing import Timing

NDJSON = "application/x-ndjson"
NS_PER_MS = 1_000_000
UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}
GO_DURATION = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0)")
GO_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


class OptionError(ValueError):
    """An option has the wrong type; the text is Ollama's."""


class WireMessage(msgspec.Struct):
    """A message of a chat."""

    role: str = ""
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Any] | None = None

    def reduced(self) -> Message:
        """Role and text; tool calls count as text."""
        texts = (self.thinking or "", self.content or "", compact(self.tool_calls) if self.tool_calls else "")
        return Message(self.role.lower(), "\n".join(text for text in texts if text))


class ModelRequest(msgspec.Struct):
    """What every request for a model has."""

    model: str = ""
    stream: bool | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None
    think: bool | str | None = None
    format: Any = None

    def option(self, name: str) -> int | None:
        """An integer option. Raises `OptionError`."""
        value = (self.options or {}).get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise OptionError(f'option "{name}" must be of type integer')
        return int(value)

    @property
    def limit_tokens(self) -> int | None:
        """`num_predict`; below 0 = no limit."""
        limit = self.option("num_predict")
        return None if limit is None or limit < 0 else limit

    @property
    def stop_sequences(self) -> tuple[str, ...]:
        """`stop`. Raises `OptionError`."""
        stop = (self.options or {}).get("stop") or []
        if not isinstance(stop, list):
            raise OptionError('option "stop" must be of type array')
        if not all(isinstance(sequence, str) for sequence in stop):
            raise OptionError('option "stop" must be of an array of strings')
        return tuple(stop)


class ChatRequest(ModelRequest):
    """The body of `POST /api/chat`."""

    messages: list[WireMessage] = []
    tools: list[Any] | None = None

    def tools_tokens(self) -> int:
        """Tokens of the tool definitions, which are part of the prompt."""
        return estimate_tokens(compact(self.tools)) if self.tools else 0


class GenerateRequest(ModelRequest):
    """The body of `POST /api/generate`."""

    prompt: str | None = None
    system: str | None = None


class EmbedRequest(ModelRequest):
    """The body of `POST /api/embed`, and (with `prompt`) of the older `POST /api/embeddings`."""

    input: str | list[str] | None = None
    prompt: str | None = None
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed; an empty one is none."""
        return ([self.input] if self.input else []) if isinstance(self.input, str) else list(self.input or ())


class ShowRequest(msgspec.Struct):
    """The body of `POST /api/show`; `name` is the older spelling."""

    model: str = ""
    name: str = ""


def keep_alive_ms(value: str | float | None) -> int | None:
    """How long a model is to stay: seconds or a Go duration; below 0 = for ever; `None` = not said.

    Raises `ValueError` with the text of Go's parser.

    >>> keep_alive_ms("5m"), keep_alive_ms(1.5), keep_alive_ms(0), keep_alive_ms(-1) == FOREVER_MS
    (300000, 1500, 0, True)
    """
    if value is None:
        return None
    milliseconds = value * 1000 if isinstance(value, int | float) else _go_duration_ms(value)
    return FOREVER_MS if milliseconds < 0 else min(int(milliseconds), FOREVER_MS)


def _go_duration_ms(text: str) -> float:
    match = GO_DURATION.fullmatch(text)
    if match is None:
        number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(.*)", text)
        if number is None:
            raise ValueError(f'time: invalid duration "{text}"')
        if not number[2]:
            raise ValueError(f'time: missing unit in duration "{text}"')
        raise ValueError(f'time: unknown unit "{number[2]}" in duration "{text}"')
    total = sum(float(amount) * UNIT_MS[unit] for amount, unit in GO_PART.findall(match[2]))
    return -total if match[1] == "-" else total


def timestamp(wall_ms: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def metrics(prompt_tokens: int, reply: Reply, timing: Timing) -> dict[str, int]:
    """The figures of a finished answer, in modelled nanoseconds. A load is never reported as taking no time."""
    figures = {
        "total_duration": max(1, timing.total_ms) * NS_PER_MS,
        "load_duration": max(1, timing.load_ms) * NS_PER_MS,
        "prompt_eval_count": prompt_tokens,
        "prompt_eval_duration": timing.prefill_ms * NS_PER_MS,
        "eval_count": reply.tokens,
        "eval_duration": timing.decode_ms * NS_PER_MS,
    }
    return {name: value for name, value in figures.items() if value}


def tool_call(call: ToolCall) -> dict[str, Any]:
    """A tool call of a message; the arguments are an object here, not a text."""
    function = {"index": call.index, "name": call.name, "arguments": call.arguments}
    return {"id": f"call_{call.serial[:8]}", "function": function}


class OllamaEncoder(ABC):
    """Lines of JSON. `wall_ms` gives the time stamp of each line, in real epoch milliseconds."""

    media_type = NDJSON

    def __init__(self, model: str, prompt_tokens: int, wall_ms: Callable[[], int]) -> None:
        self._model = model
        self._prompt_tokens = prompt_tokens
        self._wall_ms = wall_ms

    def opening(self) -> bytes:
        """Nothing: headers come with the first token."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """One line, not the last."""
        return self._line({**self._part(piece), "done": False})

    def malformed(self) -> bytes:
        """A line that ends in the middle."""
        return b'{"model":"' + self._model.encode() + b'","created_at":\n'

    def failed(self) -> bytes:
        """An error line; the status was sent long ago."""
        return b'{"error":"an error was encountered while running the model: simulated failure"}\n'

    def closing(self, reply: Reply, timing: Timing) -> bytes:
        """The line with `done`."""
        return self._line({**self._empty(), **self._end(reply, timing)})

    def whole(self, reply: Reply, timing: Timing) -> object:
        """The answer to a request without `stream`."""
        return self._stamped({**self._all(reply), **self._end(reply, timing)})

    def notice(self, done_reason: str) -> dict[str, Any]:
        """The answer to a request that only loads or unloads."""
        return self._stamped({**self._empty(), "done": True, "done_reason": done_reason})

    def _end(self, reply: Reply, timing: Timing) -> dict[str, Any]:
        reason = "length" if reply.finish is Finish.LENGTH else "stop"
        return {"done": True, "done_reason": reason, **metrics(self._prompt_tokens, reply, timing)}

    def _stamped(self, content: dict[str, Any]) -> dict[str, Any]:
        return {"model": self._model, "created_at": timestamp(self._wall_ms()), **content}

    def _line(self, content: dict[str, Any]) -> bytes:
        return msgspec.json.encode(self._stamped(content)) + b"\n"

    @abstractmethod
    def _part(self, piece: Piece) -> dict[str, Any]:
        """The fields of one piece."""

    @abstractmethod
    def _empty(self) -> dict[str, Any]:
        """The fields of no text."""

    @abstractmethod
    def _all(self, reply: Reply) -> dict[str, Any]:
        """The fields of the whole answer."""


class ChatEncoder(OllamaEncoder):
    """`/api/chat`."""

    def _part(self, piece: Piece) -> dict[str, Any]:
        if piece.call is not None:
            return self._message({"content": "", "tool_calls": [tool_call(piece.call)]})
        if piece.kind is PieceKind.THINKING:
            return self._message({"content": "", "thinking": piece.text})
        return self._message({"content": piece.text})

    def _empty(self) -> dict[str, Any]:
        return self._message({"content": ""})

    def _all(self, reply: Reply) -> dict[str, Any]:
        message: dict[str, Any] = {"content": reply.content}
        if reply.thinking:
            message["thinking"] = reply.thinking
        if reply.tool_calls:
            message["tool_calls"] = [tool_call(call) for call in reply.tool_calls]
        return self._message(message)

    def _message(self, content: dict[str, Any]) -> dict[str, Any]:
        return {"message": {"role": "assistant", **content}}


class GenerateEncoder(OllamaEncoder):
    """`/api/generate`."""

    def _part(self, piece: Piece) -> dict[str, Any]:
        if piece.kind is PieceKind.THINKING:
            return {"response": "", "thinking": piece.text}
        return {"response": piece.text}

    def _empty(self) -> dict[str, Any]:
        return {"response": ""}

    def _all(self, reply: Reply) -> dict[str, Any]:
        return {"response": reply.content, **({"thinking": reply.thinking} if reply.thinking else {})}
