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
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial

import msgspec

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.catalog import EndpointSpec, normal_model
from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass
from ostler.fleet import llama_router
from ostler.fleet.answer import AnswerReader
from ostler.fleet.asking import Body, asked, body_of
from ostler.fleet.driver import Listing, WireDriver, bounded
from ostler.fleet.exchange import Exchange, Link
from ostler.fleet.llama_router import ListedModels
from ostler.fleet.transport import HttpReply, HttpRequest, always, origin
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.openai_chat_request import STRICT, Dialect

OPENAI_HOST = "api.openai.com"
"""Whose own API takes less than the servers that copy it."""
_VERSION_SEGMENT = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?(?:/|$)")
_REFUSED_FORM = frozenset({400, 422})


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
    """Drives any number of OpenAI-compatible servers. Of these, llama.cpp's router loads and unloads on request."""

    protocol = "an OpenAI-compatible server"
    hint = "is the address right, or is it an Ollama server (kind: ollama)?"

    def __init__(self, link: Link, env: Mapping[str, str]) -> None:
        super().__init__(link, env)
        self._dislikes: dict[str, frozenset[str]] = {}
        """Fields an address and model do not take."""
        self._routers: set[str] = set()
        """Addresses where models are loaded and unloaded on request, by their last listing."""

    def _base(self, url: str) -> str:
        return versioned(url)

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def chat(
        self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = always
    ) -> AsyncGenerator[Delta | Completion, None]:
        """See `EndpointDriver.chat`.

        Some servers answer a prompt they cannot take with status 200 and a stream that ends at once. Asked again for
        one token, unstreamed, they say what is wrong.
        """
        try:
            async with aclosing(super().chat(spec, call, may_send)) as pieces:
                async for piece in pieces:
                    yield piece
        except CallError as error:
            if error.kind is not FailureClass.CUT or error.emitted or not may_send():
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

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:  # noqa: ARG002 -- this server takes no size for one load
        """See `EndpointDriver.load`: llama.cpp's router can, at the context that it was started with."""
        if spec.url not in self._routers:
            return None
        limit_ms = self._link.settings.load_timeout_ms
        async with bounded(limit_ms, f"{model} was not loaded within {limit_ms / 1_000:g} s"):
            return await llama_router.load(model, partial(self._order, spec), partial(self._models, spec))

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        """See `EndpointDriver.unload`: llama.cpp's router can. Returns when the model is out of memory."""
        if spec.url not in self._routers:
            return False
        limit_ms = self._link.settings.unload_timeout_ms
        async with bounded(limit_ms, f"{model} is still loaded after {limit_ms / 1_000:g} s: is it in use?"):
            await llama_router.unload(model, partial(self._order, spec), partial(self._models, spec))
        return True

    async def _order(self, spec: EndpointSpec, path: str, body: Mapping[str, object]) -> None:
        await self._fetch(spec, path, body, base=versioned(spec.url).removesuffix("/v1"))

    async def _models(self, spec: EndpointSpec) -> ListedModels:
        return await self._json(spec, "/models", ListedModels)

    async def _listing(self, spec: EndpointSpec) -> Listing:
        models = (await self._models(spec)).data
        loaded = llama_router.residents(models)
        if loaded is None:
            self._routers.discard(spec.url)
        else:
            self._routers.add(spec.url)
        return Listing(
            models=tuple(dict.fromkeys(normal_model(model.id) for model in models)),
            residents=loaded,
            context_tokens={normal_model(model.id): window for model in models if (window := model.window)},
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
