"""Ollama's OpenAI-compatible face of a simulated host: its shapes, its error texts, its stream.

The role comes in the first chunk only, a tool call in one chunk, the finish reason in a chunk with an empty delta, then
usage if asked for, then `[DONE]`. A context size cannot be named here: a model that was loaded with another one than
its default is reloaded, as by Ollama.
"""

import base64
import struct
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from ostler.simulate.exchange import Exchange, json_exchange
from ostler.simulate.host_service import Generation, SimulatedHost
from ostler.simulate.openai_wire import (
    DONE,
    SSE,
    ChatRequest,
    EmbeddingsRequest,
    event,
    tool_call,
    usage,
)
from ostler.simulate.reply import Piece, PieceKind, Reply, ToolCall, digest_of, embedding, estimate_tokens
from ostler.simulate.spec import SimulatedModelSpec
from ostler.simulate.timing import Timing

CREATED_S = 1_767_225_600
"""When all models were made."""
ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
T = TypeVar("T")


def error_body(status: int, message: str) -> object:
    """The error shape of Ollama's compatible face: three types, never a code."""
    error_type = ERROR_TYPES.get(status, "api_error")
    return {"error": {"message": message, "type": error_type, "param": None, "code": None}}


class CompatEncoder:
    """`/v1/chat/completions` as Ollama answers it."""

    media_type = SSE

    def __init__(self, asked: ChatRequest, prompt_tokens: int, wall_ms: int) -> None:
        self._model = asked.model
        self._includes_usage = asked.includes_usage
        self._prompt_tokens = prompt_tokens
        self._created_s = wall_ms // 1000
        self._id = f"chatcmpl-{int(digest_of(asked.model, wall_ms, size=8), 16) % 999}"
        self._opened = False

    def opening(self) -> bytes:
        """Nothing: the role comes with the first piece."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """One chunk."""
        delta: dict[str, Any] = {} if self._opened else {"role": "assistant"}
        self._opened = True
        if piece.call is not None:
            delta |= {"content": "", "tool_calls": [_indexed(piece.call)]}
        elif piece.kind is PieceKind.THINKING:
            delta |= {"content": "", "reasoning": piece.text}
        else:
            delta["content"] = piece.text
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def malformed(self) -> bytes:
        """An event that ends in the middle."""
        return b'data: {"id":"' + self._id.encode() + b'","choices":[{"delta":\n\n'

    def failed(self) -> bytes:
        """An empty chunk: that is all Ollama's translation leaves of an error line."""
        return self.piece(Piece(kind=PieceKind.CONTENT, tokens=0))

    def closing(self, reply: Reply, _timing: Timing) -> bytes:
        """Finish reason, usage and `[DONE]`."""
        first = b"" if self._opened else self.piece(Piece(kind=PieceKind.CONTENT, tokens=0))
        finish = self._chunk([{"index": 0, "delta": {}, "finish_reason": reply.finish.value}])
        figures = usage(self._prompt_tokens, reply.tokens)
        return first + finish + (self._chunk([], usage=figures) if self._includes_usage else b"") + DONE

    def whole(self, reply: Reply, _timing: Timing) -> object:
        """The answer to a request without `stream`."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.content}
        if reply.thinking:
            message["reasoning"] = reply.thinking
        if reply.tool_calls:
            message["tool_calls"] = [_indexed(call) for call in reply.tool_calls]
        choice = {"index": 0, "message": message, "finish_reason": reply.finish.value}
        return self._envelope("chat.completion", [choice], usage=usage(self._prompt_tokens, reply.tokens))

    def _chunk(self, choices: list[dict[str, Any]], **extra: object) -> bytes:
        return event(self._envelope("chat.completion.chunk", choices, **extra))

    def _envelope(self, kind: str, choices: list[dict[str, Any]], **extra: object) -> dict[str, Any]:
        head = {"id": self._id, "object": kind, "created": self._created_s, "model": self._model}
        return {**head, "system_fingerprint": "fp_ollama", "choices": choices, **extra}


class OpenAICompatFace:
    """The endpoints under `/v1/`."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/models", self._models),
            Route("/v1/models/{model:path}", self._model),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
        ]

    async def _models(self, _request: Request) -> Exchange:
        rows = [_listed(model.listed_name) for model in self._host.spec.models]
        return json_exchange(200, {"object": "list", "data": rows})

    async def _model(self, request: Request) -> Exchange:
        name = request.path_params["model"]
        return self._missing(name) if self._host.find(name) is None else json_exchange(200, _listed(name))

    async def _chat(self, request: Request) -> Exchange:
        asked = await _decode(request, ChatRequest)
        if isinstance(asked, Exchange):
            return asked
        model = self._host.find(asked.model)
        if not asked.messages:
            return _refused(400, "[] is too short - 'messages'")
        if model is None:
            return self._missing(asked.model)
        if problem := _unsupported(model, asked):
            return _refused(400, problem)
        generation = Generation(
            model=model,
            messages=asked.reduced_messages(),
            stream=bool(asked.stream),
            tools_offered=asked.offers_tools,
            tools_tokens=asked.tools_tokens(),
            max_tokens=asked.limit_tokens,
            seed=asked.seed or 0,
            stop=asked.stop_sequences,
            wants_json=asked.wants_json,
            thinks="thinking" in model.capabilities,
        )
        wall_ms = self._host.clock.wall_ms()
        return self._host.generate(generation, lambda tokens: CompatEncoder(asked, tokens, wall_ms), error_body)

    async def _embeddings(self, request: Request) -> Exchange:
        asked = await _decode(request, EmbeddingsRequest)
        if isinstance(asked, Exchange):
            return asked
        model, texts = self._host.find(asked.model), asked.texts
        if model is None:
            return self._missing(asked.model)
        if not texts:
            return _refused(400, "invalid input")
        dimensions = min(asked.dimensions or model.embedding_length, model.embedding_length)
        vectors = [embedding(model.key, text, dimensions) for text in texts]
        tokens = sum(max(1, estimate_tokens(text)) for text in texts)
        content = {
            "object": "list",
            "data": [
                {"object": "embedding", "embedding": _encoded(vector, asked.encoding_format), "index": index}
                for index, vector in enumerate(vectors)
            ],
            "model": asked.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return self._host.embed(model, tokens, None, lambda _timing: content, error_body)

    def _missing(self, name: str) -> Exchange:
        return _refused(404, f"model '{name}' not found")


async def _decode(request: Request, kind: type[T]) -> T | Exchange:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.DecodeError as error:
        return _refused(400, str(error))


def _refused(status: int, message: str) -> Exchange:
    return json_exchange(status, error_body(status, message))


def _unsupported(model: SimulatedModelSpec, asked: ChatRequest) -> str:
    if "completion" not in model.capabilities:
        return f'"{asked.model}" does not support chat'
    if asked.tools and "tools" not in model.capabilities:
        return f"registry.ollama.ai/library/{model.listed_name} does not support tools"
    return ""


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED_S, "owned_by": "library"}


def _indexed(call: ToolCall) -> dict[str, Any]:
    return {"index": call.index, **tool_call(call, f"call_{call.serial[:8]}")}


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    if encoding.lower() != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
