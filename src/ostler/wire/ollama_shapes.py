"""Ollama's native API in structs: requests, answers and lines of streams, as far as they are read here.

Its server is written in Go: fields that are zero are left out, and `null` says the same as absence. Durations are
nanoseconds; an instant is RFC 3339 with up to nine digits of a second.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from ostler.wire.talk import Finish, Json, Tokens

NS_PER_MS = 1_000_000


class Function(msgspec.Struct):
    """What is called."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw()


class Call(msgspec.Struct):
    """A call of a tool. Only newer servers give ids."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct):
    """One turn, or a piece of one."""

    role: str = ""
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ToolFunction(msgspec.Struct):
    """A tool's own words."""

    name: str
    description: str | None = None
    parameters: Json | None = None


class ToolDefinition(msgspec.Struct):
    """A tool that may be called."""

    function: ToolFunction


class Request(msgspec.Struct):
    """What `/api/chat` and `/api/generate` have in common, as far as it has a place in `Ask`."""

    model: str
    stream: bool | None = None
    format: msgspec.Raw = msgspec.Raw()
    options: Json | None = None
    keep_alive: str | float | int | None = None
    think: bool | str | None = None


class ChatRequest(Request, kw_only=True):
    """The body of `/api/chat`."""

    messages: list[Message] | None = None
    tools: list[ToolDefinition] | None = None


class GenerateRequest(Request, kw_only=True):
    """The body of `/api/generate`."""

    prompt: str | None = None
    system: str | None = None
    suffix: str | None = None
    images: list[str] | None = None
    raw: bool | None = None


class Line(msgspec.Struct):
    """A whole answer, or a line of a streamed one; of either endpoint."""

    model: str = ""
    created_at: str = ""
    message: Message | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    done: bool = False
    done_reason: str | None = None
    error: msgspec.Raw = msgspec.Raw()
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_cached_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None

    @property
    def said(self) -> Message:
        """What it says, whichever endpoint said it."""
        return self.message or Message(content=self.response, thinking=self.thinking, tool_calls=self.tool_calls)

    @property
    def failed(self) -> bool:
        """Whether it reports an error."""
        return bytes(self.error) not in (b"", b"null")

    def tokens(self) -> Tokens:
        """Counts and durations. The count of the prompt has cached tokens in it, and may be absent when all were."""
        return Tokens(
            input_tokens=self.prompt_eval_count,
            cache_read_tokens=self.prompt_eval_cached_count,
            output_tokens=self.eval_count,
            load_ms=_ms(self.load_duration),
            prefill_ms=_ms(self.prompt_eval_duration),
            decode_ms=_ms(self.eval_duration),
        )

    def finish(self, *, tools: bool) -> Finish:
        """Why it ended. This API ends a call of a tool with `stop`, as any other answer."""
        if self.done_reason == "length":
            return Finish.LENGTH
        return Finish.TOOLS if tools else Finish.STOP


_DONE_REASON: Mapping[Finish, str] = {Finish.LENGTH: "length", Finish.CONTEXT: "length"}


def metrics(finish: Finish, tokens: Tokens) -> Json:
    """The end of an answer: its reason, counts and durations; what is not known is left out."""
    durations = [value for value in (tokens.load_ms, tokens.prefill_ms, tokens.decode_ms) if value is not None]
    said = {
        "total_duration": sum(durations) if durations else None,
        "load_duration": tokens.load_ms,
        "prompt_eval_count": tokens.input_tokens,
        "prompt_eval_cached_count": tokens.cache_read_tokens,
        "prompt_eval_duration": tokens.prefill_ms,
        "eval_count": tokens.output_tokens,
        "eval_duration": tokens.decode_ms,
    }
    known = {
        name: value * (NS_PER_MS if name.endswith("duration") else 1)
        for name, value in said.items()
        if value is not None
    }
    return {"done": True, "done_reason": _DONE_REASON.get(finish, "stop"), **known}


def timestamp(created_s: int) -> str:
    """An instant in this API's form.

    >>> timestamp(1_700_000_000)
    '2023-11-14T22:13:20Z'
    """
    return datetime.fromtimestamp(created_s, UTC).isoformat().replace("+00:00", "Z")


def instant_s(created_at: str) -> int | None:
    """Seconds since 1970; `None` if it is no instant.

    >>> instant_s("2023-11-14T22:13:20.123456789Z"), instant_s("yesterday")
    (1700000000, None)
    """
    try:
        return int(datetime.fromisoformat(created_at).timestamp())
    except (ValueError, OverflowError):
        return None


def _ms(duration_ns: int | None) -> int | None:
    return None if duration_ns is None else duration_ns // NS_PER_MS
