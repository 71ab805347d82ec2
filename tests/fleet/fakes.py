"""Fake endpoints on loopback for the three wire formats, with faults, and the clock the drivers run on in tests.

Frames are written as the real servers write them. A fake plays one `Script` for chat calls: what to send, and how it
ends. It records requests, and sets `gone` when the client hangs up in the middle of an answer.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from ostler.domain.calls import Message, ModelCall
from ostler.domain.catalog import EndpointKind, EndpointSpec

KEY = "sk-test-0123456789abcdef"
KEY_ENV = "TEST_KEY"
CALL = ModelCall(
    model="small:1b",
    messages=(Message(role="system", text="Be brief."), Message(role="user", text="Say hello to the horse.")),
    max_output_tokens=64,
)


class WallClock:
    """The real clock."""

    def now_ms(self) -> int:
        return int(time.time() * 1_000)

    def stopwatch_us(self) -> int:
        return time.perf_counter_ns() // 1_000


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Script:
    """A chat answer: status and body for an error, else frames, and then how it ends."""

    frames: Iterable[bytes] = ()
    ending: str = "close"
    """`close` = proper end of the body, `late` = the same a moment after the last frame, `abort` = the connection
    dies, `hang` = nothing more ever comes."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    content_type: str = "text/event-stream"


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeServer:
    """One endpoint. `routes` are answered with JSON; chat paths play `script`, or the next one of `scripts`."""

    def __init__(self, chat_path: str) -> None:
        self.chat_path = chat_path
        self.script = Script()
        self.scripts: list[Script] = []
        self.routes: dict[str, Any] = {}
        self.handlers: dict[str, Handler] = {}
        self.seen: list[Seen] = []
        self.gone = asyncio.Event()
        self.answering = asyncio.Event()
        self.connections: set[object] = set()
        self.url = ""

    def bodies(self, path: str) -> list[Any]:
        """Bodies that arrived at a path."""
        return [seen.body for seen in self.seen if seen.path == path]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.seen.append(Seen(request.method, request.path_qs, dict(request.headers), body))
        self.connections.add(request.transport)
        if request.path == self.chat_path and request.method == "POST":
            return await self._play(request, self.scripts.pop(0) if self.scripts else self.script)
        if request.path in self.handlers:
            return await self.handlers[request.path](request)
        if request.path in self.routes:
            answer = self.routes[request.path]
            return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)
        return web.Response(status=404, text="404 page not found")

    async def _play(self, request: web.Request, script: Script) -> web.StreamResponse:
        if script.status != 200:
            return web.Response(status=script.status, headers=script.headers, text=script.body)
        response = web.StreamResponse(headers={"Content-Type": script.content_type, **script.headers})
        try:
            if script.frames or script.ending == "close":
                await response.prepare(request)
            for frame in script.frames:
                await response.write(frame)
            self.answering.set()
            if script.ending == "hang":
                await asyncio.Event().wait()
            if script.ending == "late":
                await asyncio.sleep(0.01)
            if script.ending == "abort":
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return response


@asynccontextmanager
async def serving(server: FakeServer) -> AsyncIterator[FakeServer]:
    """Run a fake on a free port of loopback."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server._serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


class Wire:
    """One wire format as a server writes it."""

    kind: EndpointKind
    chat_path: str
    listing_path: str
    listing: ClassVar[dict[str, Any]]
    odd_frame: bytes
    """A frame that is no JSON."""
    keep_alive: bytes = b""
    """A frame that only keeps the connection alive."""

    def server(self) -> FakeServer:
        server = FakeServer(self.chat_path)
        server.routes[self.listing_path] = self.listing
        return server

    def spec(self, server: FakeServer, **changes: object) -> EndpointSpec:
        values: dict[str, object] = {
            "name": "box",
            "kind": self.kind,
            "url": server.url,
            "provider": "test",
            "host": "box",
            "local": True,
            "api_key_env": KEY_ENV,
        }
        return msgspec.convert(values | changes, EndpointSpec)

    def begin(self) -> list[bytes]:
        return []

    def text(self, text: str) -> bytes:
        raise NotImplementedError

    def thinking(self, text: str) -> bytes:
        raise NotImplementedError

    def finish(self, reason: str = "stop", *, tokens: tuple[int, int] = (12, 3)) -> list[bytes]:
        """Everything from the finish reason to the end marker, which is the last frame."""
        raise NotImplementedError

    def error_frame(self) -> bytes:
        """An overload reported inside the stream."""
        raise NotImplementedError

    def error_body(self, message: str) -> str:
        raise NotImplementedError

    def good(self, *texts: str) -> list[bytes]:
        return [*self.begin(), *(self.text(text) for text in texts), *self.finish()]


def sse(value: object, name: str = "") -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


class OllamaWire(Wire):
    kind = EndpointKind.OLLAMA
    chat_path = "/api/chat"
    listing_path = "/api/tags"
    listing: ClassVar[dict[str, Any]] = {
        "models": [
            {"name": "small:1b", "model": "small:1b", "size": 1_300_000_000, "digest": "aa11", "details": {}},
            {"name": "big:latest", "model": "big:latest", "size": 9_000_000_000, "digest": "bb22", "details": {}},
        ]
    }
    odd_frame = b"{oops}\n"
    content_type = "application/x-ndjson"

    def line(self, **values: object) -> bytes:
        return json.dumps({"model": "small:1b", "created_at": "2026-10-14T17:46:40Z", **values}).encode() + b"\n"

    def text(self, text: str) -> bytes:
        return self.line(message={"role": "assistant", "content": text}, done=False)

    def thinking(self, text: str) -> bytes:
        return self.line(message={"role": "assistant", "content": "", "thinking": text}, done=False)

    def finish(self, reason: str = "stop", *, tokens: tuple[int, int] = (12, 3)) -> list[bytes]:
        return [
            self.line(
                message={"role": "assistant", "content": ""},
                done=True,
                done_reason=reason,
                total_duration=900_000_000,
                load_duration=400_000_000,
                prompt_eval_count=tokens[0],
                prompt_eval_duration=200_000_000,
                eval_count=tokens[1],
                eval_duration=300_000_000,
            )
        ]

    def error_frame(self) -> bytes:
        return json.dumps({"error": "server overloaded, please retry shortly"}).encode() + b"\n"

    def error_body(self, message: str) -> str:
        return json.dumps({"error": message})


class OpenAIWire(Wire):
    kind = EndpointKind.OPENAI
    chat_path = "/v1/chat/completions"
    listing_path = "/v1/models"
    listing: ClassVar[dict[str, Any]] = {
        "object": "list",
        "data": [
            {"id": "small:1b", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 8192},
            {"id": "big:latest", "object": "model", "created": 1, "owned_by": "vllm", "max_model_len": 4096},
        ],
    }
    odd_frame = b"data: {oops}\n\n"
    keep_alive = b": OPENROUTER PROCESSING\n\n"

    def chunk(self, delta: object, finish: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "small:1b",
                "choices": [choice],
                "usage": None,
                **more,
            }
        )

    def begin(self) -> list[bytes]:
        return [self.chunk({"role": "assistant", "content": ""})]

    def text(self, text: str) -> bytes:
        return self.chunk({"content": text})

    def thinking(self, text: str) -> bytes:
        return self.chunk({"reasoning_content": text})

    def usage(self, prompt: int, completion: int) -> bytes:
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage})

    def finish(self, reason: str = "stop", *, tokens: tuple[int, int] = (12, 3)) -> list[bytes]:
        return [self.chunk({}, reason), self.usage(*tokens), sse("[DONE]")]

    def error_frame(self) -> bytes:
        return sse({"error": {"code": 503, "message": "The provider is overloaded"}})

    def error_body(self, message: str) -> str:
        return json.dumps({"error": {"message": message, "type": "error", "param": None, "code": None}})


class AnthropicWire(Wire):
    kind = EndpointKind.ANTHROPIC
    chat_path = "/v1/messages"
    listing_path = "/v1/models"
    listing: ClassVar[dict[str, Any]] = {
        "data": [
            {"type": "model", "id": "small:1b", "display_name": "Small", "max_input_tokens": 200_000},
            {"type": "model", "id": "big:latest", "display_name": "Big", "max_input_tokens": None},
        ],
        "has_more": False,
    }
    odd_frame = b"event: content_block_delta\ndata: {oops}\n\n"
    keep_alive = sse({"type": "ping"}, "ping")

    def event(self, kind: str, **values: object) -> bytes:
        return sse({"type": kind, **values}, kind)

    def begin(self) -> list[bytes]:
        usage = {"input_tokens": 9, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": usage}
        return [
            self.event("message_start", message={**message, "model": "small:1b", "stop_reason": None}),
            self.event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            self.keep_alive,
        ]

    def text(self, text: str) -> bytes:
        return self.event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def thinking(self, text: str) -> bytes:
        return self.event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": text})

    def finish(self, reason: str = "stop", *, tokens: tuple[int, int] = (12, 3)) -> list[bytes]:
        stop = {"stop": "end_turn", "length": "max_tokens"}.get(reason, reason)
        return [
            self.event("content_block_stop", index=0),
            self.event(
                "message_delta",
                delta={"stop_reason": stop, "stop_sequence": None, "stop_details": None},
                usage={"output_tokens": tokens[1]},
            ),
            self.event("message_stop"),
        ]

    def error_frame(self) -> bytes:
        return self.event("error", error={"type": "overloaded_error", "message": "Overloaded"})

    def error_body(self, message: str) -> str:
        return json.dumps({"type": "error", "error": {"type": "error", "message": message}})


WIRES = (OllamaWire(), OpenAIWire(), AnthropicWire())
