"""The OpenAI-compatible protocol: llama.cpp, vLLM, LM Studio, OpenAI, DeepSeek, OpenRouter, Gemini's compatible side.

"Compatible" differs from server to server, so the driver adapts by what a server says, not by what it is called:

* the address may be given with or without its version segment;
* a server that refuses `stream_options`, or wants `max_completion_tokens` instead of `max_tokens`, is asked again in
  the form it wants, and from then on at once (nothing had been worked on, so this is no retry of work);
* a stream without token counts is counted here and marked as estimated;
* the context window is in the listing under one of several names, or nowhere.

What a request and a stream look like is in `wire.openai_chat`.
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
from ostler.fleet.answer import AnswerReader
from ostler.fleet.asking import Body, asked, body_of
from ostler.fleet.driver import Listing, WireDriver
from ostler.fleet.exchange import Exchange, Link
from ostler.fleet.transport import HttpReply, HttpRequest, origin
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.openai_chat_request import STRICT, Dialect

OPENAI_HOST = "api.openai.com"
"""Whose own API takes less than the servers that copy it."""
_VERSION_SEGMENT = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?(?:/|$)")
_REFUSED_FORM = frozenset({400, 422})


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
        dialect = STRICT if origin(spec.url) == OPENAI_HOST else None

        def request() -> HttpRequest:
            body = chat_body(call, self._dislikes.get(place, frozenset()), dialect)
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
            reader=AnswerReader(call, OpenAIChat().reader()),
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


def chat_body(call: ModelCall, dislikes: frozenset[str] = frozenset(), dialect: Dialect | None = None) -> Body:
    """The body of `/chat/completions` for a call, without the fields a server does not take."""
    dialect = dialect or Dialect()
    if "max_tokens" in dislikes:
        dialect = msgspec.structs.replace(dialect, limit_field="max_completion_tokens")
    ask = msgspec.structs.replace(asked(call), stream_counts="stream_options" not in dislikes)
    return body_of(OpenAIChat(dialect), ask, call.options)


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
