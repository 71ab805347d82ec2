"""The wire formats of three kinds of upstream, written by hand from their makers' documentation, not with our codecs: a
mistake in a codec cannot hide in what it is tested against. `Said` is what the simulated model says.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.gateway.upstream import Dialect, Json

MODEL = "simulated-model"
PROMPT_TOKENS = 11
CACHED_TOKENS = 4
ANSWER_TOKENS = 7
CONTEXT_TOKENS = 200_000


@dataclass(frozen=True)
class Tool:
    """A call of a tool."""

    id: str
    name: str
    arguments: Json

    @property
    def text(self) -> str:
        """Its arguments as the model writes them."""
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Said:
    """One answer. `finish`: `stop`, `length`, `tools`, `refusal`."""

    text: str = "Chestnut, bay and grey."
    thinking: str = ""
    tools: tuple[Tool, ...] = ()
    finish: str = "stop"
    pieces: int = 6
    """Into how many events the text is cut."""

    @property
    def cut_text(self) -> list[str]:
        """The text in pieces."""
        return cut(self.text, self.pieces)


@dataclass(frozen=True)
class Error:
    """An error as each format says it: HTTP status, machine-readable word, sentence."""

    status: int
    kind: str
    message: str


def cut(text: str, pieces: int) -> list[str]:
    """`text` in about so many pieces of one size."""
    step = max(1, -(-len(text) // pieces))
    return [text[at : at + step] for at in range(0, len(text), step)]


def sse(data: object, name: str = "") -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


class AnswerDialect(Dialect):
    """What the plays need of a format."""

    stream_type: str
    end_markers: int
    """How many of the last frames say that the answer is whole."""
    opening_frames: int
    """How many of the first frames carry nothing of the answer."""

    def __init__(self, models: tuple[str, ...] = (MODEL,)) -> None:
        self.models = models

    def wants_stream(self, body: Json) -> bool:
        """Whether a request asks for a stream."""
        return bool(body.get("stream"))

    def whole(self, said: Said) -> Json:
        """The answer as one body."""
        raise NotImplementedError

    def frames(self, said: Said) -> list[bytes]:
        """The answer as events, the last one the end marker."""
        raise NotImplementedError

    def error(self, error: Error) -> tuple[int, Json]:
        """Status and body of an error."""
        raise NotImplementedError

    def error_frame(self, error: Error) -> bytes:
        """An error in the middle of a stream."""
        raise NotImplementedError

    def malformed_frame(self) -> bytes:
        """An event whose content is cut in the middle of its JSON."""
        return b'data: {"choices": [{"delta": {"content": "hal\n\n'

    def last_turn(self, body: Json) -> tuple[str, bool]:
        """Role of the last turn, and whether it carries the result of a tool."""
        last = body["messages"][-1]
        return last["role"], last["role"] == "tool"


class OpenAI(AnswerDialect):
    """Chat completions and embeddings, as OpenAI and those who are compatible serve them."""

    name = "openai"
    answers = ("/chat/completions",)
    stream_type = "text/event-stream"
    end_markers = 1
    opening_frames = 1
    finishes = {"stop": "stop", "length": "length", "tools": "tool_calls", "refusal": "content_filter"}  # noqa: RUF012
    codes: dict[str, tuple[str, str | None]] = {  # noqa: RUF012
        "rate_limit": ("requests", "rate_limit_exceeded"),
        "quota": ("insufficient_quota", "insufficient_quota"),
        "auth": ("invalid_request_error", "invalid_api_key"),
        "context": ("invalid_request_error", "context_length_exceeded"),
        "filter": ("invalid_request_error", "content_filter"),
        "invalid": ("invalid_request_error", None),
        "server": ("server_error", None),
    }
    usage: Json = {  # noqa: RUF012
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": ANSWER_TOKENS,
        "total_tokens": PROMPT_TOKENS + ANSWER_TOKENS,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }

    def fixed(self, method: str, path: str, body: bytes) -> Json | None:
        if path.endswith("/models"):
            row = {"object": "model", "created": 1, "owned_by": "simulated", "max_model_len": CONTEXT_TOKENS}
            return {"object": "list", "data": [{"id": name, **row} for name in self.models]}
        if path.endswith("/embeddings"):
            asked = json.loads(body)
            inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            rows = [{"object": "embedding", "index": i, "embedding": vector(text)} for i, text in enumerate(inputs)]
            usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
            return {"object": "list", "model": asked["model"], "data": rows, "usage": usage}
        return None

    def whole(self, said: Said) -> Json:
        message: Json = {"role": "assistant", "content": said.text or None, "refusal": None}
        if said.thinking:
            message["reasoning_content"] = said.thinking
        if said.tools:
            message["tool_calls"] = [_openai_tool(tool) for tool in said.tools]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finishes[said.finish]}
        return {**self._base("chat.completion"), "choices": [choice], "usage": self.usage}

    def frames(self, said: Said) -> list[bytes]:
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in cut(said.thinking, 2)]
        deltas += [{"content": piece} for piece in said.cut_text]
        for index, tool in enumerate(said.tools):
            opened = {**_openai_tool(tool), "index": index, "function": {"name": tool.name, "arguments": ""}}
            deltas.append({"tool_calls": [opened]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in cut(tool.text, 3)
            ]
        choices: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": self.finishes[said.finish]})
        base = self._base("chat.completion.chunk")
        frames = [sse({**base, "choices": [choice]}) for choice in choices]
        return [*frames, sse({**base, "choices": [], "usage": self.usage}), sse("[DONE]")]

    def error(self, error: Error) -> tuple[int, Json]:
        kind, code = self.codes[error.kind]
        return error.status, {"error": {"message": error.message, "type": kind, "param": None, "code": code}}

    def error_frame(self, error: Error) -> bytes:
        return sse(self.error(error)[1])

    def _base(self, kind: str) -> Json:
        return {"id": "chatcmpl-simulated", "object": kind, "created": 1_767_225_600, "model": MODEL}


class Anthropic(AnswerDialect):
    """Messages, as Anthropic serves them."""

    name = "anthropic"
    answers = ("/messages",)
    stream_type = "text/event-stream; charset=utf-8"
    end_markers = 1
    opening_frames = 2
    finishes = {"stop": "end_turn", "length": "max_tokens", "tools": "tool_use", "refusal": "refusal"}  # noqa: RUF012
    kinds = {  # noqa: RUF012
        "rate_limit": "rate_limit_error",
        "quota": "billing_error",
        "auth": "authentication_error",
        "context": "invalid_request_error",
        "filter": "invalid_request_error",
        "invalid": "invalid_request_error",
        "server": "api_error",
        "overloaded": "overloaded_error",
    }

    def fixed(self, method: str, path: str, body: bytes) -> Json | None:
        if path.endswith("/models"):
            row = {"type": "model", "display_name": "Simulated", "created_at": "2026-01-01T00:00:00Z"}
            rows = [{"id": name, **row} for name in self.models]
            return {"data": rows, "has_more": False, "first_id": self.models[0], "last_id": self.models[-1]}
        return {"input_tokens": PROMPT_TOKENS} if path.endswith("/count_tokens") else None

    def usage(self, output_tokens: int) -> Json:
        """Counts in Anthropic's way: what was cached is not in `input_tokens`."""
        cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED_TOKENS}
        return {"input_tokens": PROMPT_TOKENS - CACHED_TOKENS, **cached, "output_tokens": output_tokens}

    def whole(self, said: Said) -> Json:
        finish = {"stop_reason": self.finishes[said.finish], "stop_sequence": None}
        return {**self._base(), "content": self._blocks(said), **finish, "usage": self.usage(ANSWER_TOKENS)}

    def frames(self, said: Said) -> list[bytes]:
        opening = {**self._base(), "content": [], "stop_reason": None, "stop_sequence": None, "usage": self.usage(1)}
        frames = [sse({"type": "message_start", "message": opening}, "message_start"), sse({"type": "ping"}, "ping")]
        for index, block in enumerate(self._blocks(said)):
            empty, deltas = self._deltas(block, said.pieces)
            rows: list[Json] = [{"type": "content_block_start", "content_block": empty}]
            rows += [{"type": "content_block_delta", "delta": delta} for delta in deltas]
            rows.append({"type": "content_block_stop"})
            frames += [sse({**row, "index": index}, row["type"]) for row in rows]
        finish = {"stop_reason": self.finishes[said.finish], "stop_sequence": None}
        last = {"type": "message_delta", "delta": finish, "usage": {"output_tokens": ANSWER_TOKENS}}
        return [*frames, sse(last, "message_delta"), sse({"type": "message_stop"}, "message_stop")]

    def error(self, error: Error) -> tuple[int, Json]:
        return error.status, {"type": "error", "error": {"type": self.kinds[error.kind], "message": error.message}}

    def error_frame(self, error: Error) -> bytes:
        return sse(self.error(error)[1], "error")

    def malformed_frame(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "del\n\n'

    def last_turn(self, body: Json) -> tuple[str, bool]:
        last = body["messages"][-1]
        content = last["content"] if isinstance(last["content"], list) else []
        return last["role"], any(block["type"] == "tool_result" for block in content)

    def _base(self) -> Json:
        return {"id": "msg_simulated", "type": "message", "role": "assistant", "model": MODEL}

    def _blocks(self, said: Said) -> list[Json]:
        blocks: list[Json] = []
        if said.thinking:
            blocks.append({"type": "thinking", "thinking": said.thinking, "signature": "simulated-signature"})
        if said.text:
            blocks.append({"type": "text", "text": said.text})
        tools = [{"type": "tool_use", "id": tool.id, "name": tool.name, "input": tool.arguments} for tool in said.tools]
        return blocks + tools

    def _deltas(self, block: Json, pieces: int) -> tuple[Json, list[Json]]:
        match block["type"]:
            case "thinking":
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"], 2)]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
                return {"type": "thinking", "thinking": "", "signature": ""}, deltas
            case "text":
                deltas = [{"type": "text_delta", "text": piece} for piece in cut(block["text"], pieces)]
                return {"type": "text", "text": ""}, deltas
            case _:
                text = json.dumps(block["input"])
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *cut(text, 3))]
                return {**block, "input": {}}, deltas


class Ollama(AnswerDialect):
    """Chat, lists and embeddings, as Ollama serves them: lines of JSON, streamed unless told otherwise."""

    name = "ollama"
    answers = ("/api/chat",)
    stream_type = "application/x-ndjson"
    end_markers = 1
    opening_frames = 0
    finishes = {"stop": "stop", "length": "length", "tools": "stop", "refusal": "stop"}  # noqa: RUF012

    def fixed(self, method: str, path: str, body: bytes) -> Json | None:
        details = {"family": "llama", "parameter_size": "3B", "quantization_level": "Q4_K_M", "format": "gguf"}
        facts = {"size": 2_000_000_000, "digest": "0" * 64, "details": details}
        rows = [{"name": name, "model": name, **facts} for name in self.models]
        match path:
            case "/api/version":
                return {"version": "0.99.0"}
            case "/api/tags":
                return {"models": [{**row, "modified_at": "2026-01-01T00:00:00Z"} for row in rows]}
            case "/api/ps":
                loaded = {"expires_at": "2099-01-01T00:00:00Z", "size_vram": facts["size"]}
                return {"models": [{**row, **loaded, "context_length": CONTEXT_TOKENS} for row in rows]}
            case "/api/show":
                info = {"general.architecture": "llama", "llama.context_length": CONTEXT_TOKENS}
                return {"details": details, "model_info": info, "capabilities": ["completion", "tools", "vision"]}
            case "/api/embed":
                asked = json.loads(body)
                inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
                return {"model": asked["model"], "embeddings": [vector(text) for text in inputs]}
            case _:
                return None

    def wants_stream(self, body: Json) -> bool:
        return body.get("stream", True) is not False

    def whole(self, said: Said) -> Json:
        message: Json = {"role": "assistant", "content": said.text}
        if said.thinking:
            message["thinking"] = said.thinking
        if said.tools:
            message["tool_calls"] = [_ollama_tool(tool) for tool in said.tools]
        return {**self._base(), "message": message, **self._end(said)}

    def frames(self, said: Said) -> list[bytes]:
        messages: list[Json] = [{"content": "", "thinking": piece} for piece in cut(said.thinking, 2)]
        messages += [{"content": piece} for piece in said.cut_text]
        messages += [{"content": "", "tool_calls": [_ollama_tool(tool)]} for tool in said.tools]
        rows: list[Any] = [
            {**self._base(), "message": {"role": "assistant", **message}, "done": False} for message in messages
        ]
        rows.append({**self._base(), "message": {"role": "assistant", "content": ""}, **self._end(said)})
        return [json.dumps(row).encode() + b"\n" for row in rows]

    def error(self, error: Error) -> tuple[int, Json]:
        return error.status, {"error": error.message}

    def error_frame(self, error: Error) -> bytes:
        return json.dumps(self.error(error)[1]).encode() + b"\n"

    def malformed_frame(self) -> bytes:
        return b'{"model": "simulated-model", "message": {"role": "assi\n'

    def _base(self) -> Json:
        return {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}

    def _end(self, said: Said) -> Json:
        durations = {"total_duration": 9_000_000, "load_duration": 1_000_000, "prompt_eval_duration": 2_000_000}
        counts = {"prompt_eval_count": PROMPT_TOKENS, "eval_count": ANSWER_TOKENS, "eval_duration": 6_000_000}
        return {"done": True, "done_reason": self.finishes[said.finish], **durations, **counts}


def vector(text: str) -> list[float]:
    """An embedding that depends on the text alone."""
    return [len(text) / 100, 0.5, -0.25]


def _openai_tool(tool: Tool) -> Json:
    return {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.text}}


def _ollama_tool(tool: Tool) -> Json:
    return {"function": {"name": tool.name, "arguments": tool.arguments}}


DIALECTS: dict[str, AnswerDialect] = {dialect.name: dialect for dialect in (OpenAI(), Anthropic(), Ollama())}
