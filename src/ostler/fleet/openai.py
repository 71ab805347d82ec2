"""The OpenAI-compatible protocol: llama.cpp, vLLM, LM Studio, OpenAI, DeepSeek, OpenRouter, Gemini's compatible side.

"Compatible" differs from server to server, so the driver adapts by what a server says, not by what it is called:

* the address may be given with or without its version segment;
* a server that refuses `stream_options`, or wants `max_completion_tokens` instead of `max_tokens`, is asked again in
  the form it wants, and from then on at once (nothing had been worked on, so this is no retry of work);
* a stream without token counts is counted here and marked as estimated;
* thinking is called `reasoning_content` or `reasoning`;
* the context window is in the listing under one of several names, or nowhere.

The end marker is `data: [DONE]`; without it a stream was cut, also when a finish reason had come.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.catalog import EndpointSpec, normal_model
from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass
from ostler.fleet.answer import SseReader, malformed
from ostler.fleet.driver import Listing, WireDriver
from ostler.fleet.exchange import Exchange, Link
from ostler.fleet.transport import HttpReply, HttpRequest, origin
from ostler.wire.classify import classify_stream_error
from ostler.wire.framing import SseEvent

DONE = b"[DONE]"
OPENAI_HOST = "api.openai.com"
"""Where the newer models refuse `max_tokens` and all models take its successor."""
_VERSION_SEGMENT = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?(?:/|$)")
_REFUSED_FORM = frozenset({400, 422})
_FINISH = {"function_call": "tool_calls", "eos": "stop"}


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None
    """vLLM"""
    context_length: int | None = None
    """OpenRouter, Together"""
    context_window: int | None = None
    """Groq"""
    max_context_length: int | None = None
    """LM Studio, Mistral"""
    meta: dict[str, Any] | None = None
    """llama.cpp: `n_ctx` is the size it runs with"""
    status: Any = None
    """llama.cpp as a router: `{"value": "loaded" | "unloaded" | ...}`"""


class _Models(msgspec.Struct):
    data: list[_Model]


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Timings(msgspec.Struct):
    """llama.cpp's own measurements."""

    prompt_ms: float | None = None
    predicted_ms: float | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: msgspec.Raw = msgspec.Raw()
    object: str | None = None


_REFUSALS = frozenset(
    {
        FailureClass.CONTEXT_TOO_LONG,
        FailureClass.MODEL_MISSING,
        FailureClass.OUT_OF_MEMORY,
        FailureClass.CAPABILITY,
        FailureClass.REFUSAL,
    }
)
"""What a server may have to say about a call whose stream it ended without a word."""


class OpenAIReader(SseReader):
    """One streamed chat completion."""

    def __init__(self, call: ModelCall, now_ms: int) -> None:
        super().__init__(call, now_ms)
        self._decoder = msgspec.json.Decoder(_Chunk)

    def _event(self, event: SseEvent) -> list[Delta]:
        if event.data.strip() == DONE:
            self.done = True
            return []
        try:
            chunk = self._decoder.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed("an event is not what this API sends", event.data) from error
        if bytes(chunk.error) not in (b"", b"null") or chunk.object == "error":
            fault = classify_stream_error(event.data, self.now_ms)
            raise CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms)
        self._count(chunk)
        return [delta for choice in chunk.choices or () for delta in self._choice(choice)]

    def _choice(self, choice: _Choice) -> list[Delta]:
        if choice.finish_reason:
            self.finish_reason = _FINISH.get(choice.finish_reason, choice.finish_reason)
        delta = choice.delta
        if delta is None:
            return []
        self.refusal += delta.refusal or ""
        return self._text(delta.content, delta.reasoning_content or delta.reasoning)

    def _count(self, chunk: _Chunk) -> None:
        counts = self.counts
        if (usage := chunk.usage) is not None:
            counts.input_tokens = usage.prompt_tokens
            counts.output_tokens = usage.completion_tokens
            prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
            counts.cached_tokens = (prompt.cached_tokens if prompt else None) or 0
            counts.reasoning_tokens = (completion.reasoning_tokens if completion else None) or 0
        if (timings := chunk.timings) is not None:
            counts.prefill_ms = None if timings.prompt_ms is None else round(timings.prompt_ms)
            counts.decode_ms = None if timings.predicted_ms is None else round(timings.predicted_ms)


class OpenAIDriver(WireDriver):
    """Drives any number of OpenAI-compatible servers. It cannot load or unload: there is no common way to."""

    protocol = "an OpenAI-compatible server"
    hint = "is the address right, or is it an Ollama server (kind: ollama)?"

    def __init__(self, link: Link, env: Mapping[str, str]) -> None:
        super().__init__(link, env)
        self._dislikes: dict[str, frozenset[str]] = {}
        """Fields an address and model do not take."""

    def _base(self, url: str) -> str:
        return versioned(url)

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def chat(self, spec: EndpointSpec, call: ModelCall) -> AsyncGenerator[Delta | Completion, None]:
        """See `EndpointDriver.chat`.

        Some servers answer a prompt they cannot take with status 200 and a stream that ends at once. Asked again for
        one token, unstreamed, they say what is wrong.
        """
        try:
            async with aclosing(super().chat(spec, call)) as pieces:
                async for piece in pieces:
                    yield piece
        except CallError as error:
            if error.kind is not FailureClass.CUT or error.emitted:
                raise
            raise await self._explained(spec, call, error) from error

    async def _explained(self, spec: EndpointSpec, call: ModelCall, cut: CallError) -> CallError:
        """The refusal that the stream left out, if the server says one now; else the cut itself."""
        place = f"{spec.url} {call.model}"
        known = self._dislikes.get(place, frozenset()) | {"stream_options"}
        short = msgspec.structs.replace(call, max_output_tokens=1)
        body = chat_body(short, frozenset(known)) | {"stream": False}
        try:
            async with asyncio.timeout(self._link.settings.probe_timeout_ms / 1_000):
                await self._fetch(spec, "/chat/completions", body)
        except TimeoutError:
            return cut
        except CallError as refusal:
            return refusal if refusal.kind in _REFUSALS else cut
        return cut

    def _exchange(self, spec: EndpointSpec, call: ModelCall) -> Exchange:
        place = f"{spec.url} {call.model}"
        if origin(spec.url) == OPENAI_HOST:
            self._dislikes.setdefault(place, frozenset({"max_tokens"}))

        def request() -> HttpRequest:
            body = chat_body(call, self._dislikes.get(place, frozenset()))
            return self._request(spec, "/chat/completions", body, traceparent=call.traceparent)

        def adapt(_refused: HttpRequest, reply: HttpReply) -> HttpRequest | None:
            known = self._dislikes.get(place, frozenset())
            learned = known | _disliked(reply)
            if learned == known:
                return None
            self._dislikes[place] = learned
            return request()

        return Exchange(
            request=request(),
            reader=OpenAIReader(call, self._link.clock.now_ms()),
            fail=lambda reply: self._failed(spec, reply),
            key=self._key(spec),
            adapt=adapt,
        )

    async def _listing(self, spec: EndpointSpec) -> Listing:
        models = (await self._json(spec, "/models", _Models)).data
        states = {normal_model(model.id): _state(model.status) for model in models}
        windows = {normal_model(model.id): window for model in models if (window := _window(model))}
        loaded = tuple(
            Resident(model=name, context_tokens=windows.get(name))
            for name, state in states.items()
            if state == "loaded"
        )
        return Listing(
            models=tuple(states),
            residents=loaded if any(states.values()) else None,
            context_tokens=windows,
        )


def versioned(url: str) -> str:
    """The address with its version segment, which people write or leave out.

    >>> versioned("http://127.0.0.1:8080"), versioned("https://openrouter.ai/api/v1/")
    ('http://127.0.0.1:8080/v1', 'https://openrouter.ai/api/v1')
    >>> versioned("https://generativelanguage.googleapis.com/v1beta/openai")
    'https://generativelanguage.googleapis.com/v1beta/openai'
    """
    bare = url.rstrip("/")
    return bare if _VERSION_SEGMENT.search(bare) else f"{bare}/v1"


def chat_body(call: ModelCall, dislikes: frozenset[str] = frozenset()) -> dict[str, object]:
    """The body of `/chat/completions` for a call, without the fields a server does not take."""
    limit = "max_completion_tokens" if "max_tokens" in dislikes else "max_tokens"
    body: dict[str, object] = {
        "model": call.model,
        "messages": [{"role": message.role, "content": message.text} for message in call.messages],
        "stream": True,
        limit: call.max_output_tokens,
    }
    if "stream_options" not in dislikes:
        body["stream_options"] = {"include_usage": True}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    return body | dict(call.options)


def _disliked(reply: HttpReply) -> frozenset[str]:
    """Fields that an answer refuses by name."""
    if reply.status not in _REFUSED_FORM:
        return frozenset()
    found = set()
    if b"stream_options" in reply.body or b"include_usage" in reply.body:
        found.add("stream_options")
    if b"max_completion_tokens" in reply.body:
        found.add("max_tokens")
    return frozenset(found)


def _window(model: _Model) -> int | None:
    meta = model.meta or {}
    listed = (model.max_model_len, model.context_length, model.context_window, model.max_context_length)
    for window in (*listed, meta.get("n_ctx"), meta.get("n_ctx_train")):
        if isinstance(window, int) and window > 0:
            return window
    return None


def _state(status: Any) -> str | None:  # noqa: ANN401 -- foreign JSON
    value = status.get("value") if isinstance(status, dict) else None
    return value if isinstance(value, str) else None
