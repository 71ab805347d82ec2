"""OpenAI's chat protocol, as far as Ollama's compatible face and OpenAI itself agree on it. Pure.

Requests are decoded leniently (unknown fields pass), answers are built as plain values. The encoder is OpenAI's own;
Ollama's compatible one is in `host_openai`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ostler.simulate.reply import Message, Piece, Reply, ToolCall, digest_of, estimate_tokens
from ostler.simulate.timing import Timing

SSE = "text/event-stream"
DONE = b"data: [DONE]\n\n"


class ChatMessage(msgspec.Struct):
    """A message of a request."""

    role: str
    content: str | list[Any] | None = None
    tool_calls: list[Any] | None = None

    def reduced(self) -> Message:
        """Role and text; tool calls count as text."""
        parts = self.content if isinstance(self.content, list) else [{"text": self.content or ""}]
        texts = [part.get("text", "") for part in parts if isinstance(part, dict)]
        if self.tool_calls:
            texts.append(compact(self.tool_calls))
        return Message(self.role, "\n".join(text for text in texts if text and isinstance(text, str)))


class StreamOptions(msgspec.Struct):
    """Options of a stream."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """The body of `POST /v1/chat/completions`."""

    model: str = ""
    messages: list[ChatMessage] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: Any = None

    @property
    def limit_tokens(self) -> int | None:
        """The limit of the answer, in either spelling."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def stop_sequences(self) -> tuple[str, ...]:
        """Stop sequences, however many were given."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def offers_tools(self) -> bool:
        """Whether the model may call a tool."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def wants_json(self) -> bool:
        """Whether the answer must be JSON."""
        shape = self.response_format
        return isinstance(shape, dict) and shape.get("type") in {"json_object", "json_schema"}

    @property
    def includes_usage(self) -> bool:
        """Whether the stream ends with a chunk of usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def reduced_messages(self) -> tuple[Message, ...]:
        """The conversation."""
        return tuple(message.reduced() for message in self.messages)

    def tools_tokens(self) -> int:
        """Tokens of the tool definitions, which are part of the prompt."""
        return estimate_tokens(compact(self.tools)) if self.tools else 0


class EmbeddingsRequest(msgspec.Struct):
    """The body of `POST /v1/embeddings`."""

    model: str = ""
    input: str | list[str] | None = None
    encoding_format: str = "float"
    dimensions: int | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else list(self.input or ())


def compact(value: object) -> str:
    """JSON without spaces."""
    return msgspec.json.encode(value).decode()


def event(data: object) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def usage(prompt_tokens: int, output_tokens: int, details: Mapping[str, object] | None = None) -> dict[str, Any]:
    """The usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        **(details or {}),
    }


def tool_call(call: ToolCall, call_id: str) -> dict[str, Any]:
    """A whole tool call of a message."""
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments_json},
    }


class OpenAIEncoder:
    """`/v1/chat/completions` as OpenAI itself answers it.

    The role comes in a chunk of its own, tool arguments in fragments, and with `include_usage` every chunk before the
    last carries `"usage": null`.
    """

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, asked: ChatRequest, prompt_tokens: int, cached_tokens: int, created_s: int, serial: str) -> None:
        self._model = asked.model
        self._includes_usage = asked.includes_usage
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = cached_tokens
        self._created_s = created_s
        self._id = f"chatcmpl-{digest_of(serial, size=24)}"
        self._has_calls = False

    def opening(self) -> bytes:
        """The role."""
        return self._delta({"role": "assistant", "content": "", "refusal": None})

    def piece(self, piece: Piece) -> bytes:
        """One chunk, or several for a tool call."""
        if piece.call is None:
            return self._delta({"content": piece.text})
        return b"".join(self._delta({"tool_calls": [part]}) for part in _call_parts(piece.call))

    def malformed(self) -> bytes:
        """An event that ends in the middle."""
        return b'data: {"id":"' + self._id.encode() + b'","choices":[{"delta":\n\n'

    def failed(self) -> bytes:
        """An event with an error."""
        error = {"message": "simulated failure", "type": "server_error", "param": None, "code": None}
        return event({"error": error})

    def closing(self, reply: Reply, _timing: Timing) -> bytes:
        """Finish reason, usage and `[DONE]`."""
        finish = self._chunk([_choice({}, reply.finish.value)])
        figures = self._chunk([], usage=self._usage(reply)) if self._includes_usage else b""
        return finish + figures + DONE

    def whole(self, reply: Reply, _timing: Timing) -> object:
        """The answer to a request without `stream`."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.content or None, "refusal": None}
        if reply.tool_calls:
            message["tool_calls"] = [tool_call(call, f"call_{call.serial}") for call in reply.tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish.value}
        return self._envelope("chat.completion", [choice], usage=self._usage(reply))

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._chunk([_choice(delta, None)])

    def _chunk(self, choices: list[dict[str, Any]], **extra: object) -> bytes:
        blank = {"usage": None} if self._includes_usage else {}
        return event(self._envelope("chat.completion.chunk", choices, **{**blank, **extra}))

    def _envelope(self, kind: str, choices: list[dict[str, Any]], **extra: object) -> dict[str, Any]:
        head = {"id": self._id, "object": kind, "created": self._created_s, "model": self._model}
        tail = {"service_tier": "default", "system_fingerprint": "fp_simulated"}
        return {**head, "choices": choices, **tail, **extra}

    def _usage(self, reply: Reply) -> dict[str, Any]:
        details = {
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
        return usage(self._prompt_tokens, reply.tokens, details)


def _choice(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _call_parts(call: ToolCall) -> Iterator[dict[str, Any]]:
    head = tool_call(call, f"call_{call.serial}")
    yield {"index": call.index, **head, "function": {"name": call.name, "arguments": ""}}
    text = call.arguments_json
    for fragment in re.findall(r"(?s).{1,8}", text):
        yield {"index": call.index, "function": {"arguments": fragment}}
