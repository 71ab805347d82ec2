"""Ollama's native API: the only kind that says which models are loaded, and loads and unloads on request.

What a request and a stream look like is in `wire.ollama`. Two habits of the server are turned
off in every call: cutting the front of a prompt that does not fit (`truncate`), and pushing the prompt out of the
window while answering (`shift`); both give a plausible answer to another question. Servers older than these fields
ignore them, so a prompt that was counted at the whole window is refused afterwards.

`num_ctx` is sent only when a context size is asked for: another size than the loaded one reloads the model.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import msgspec

from ostler.domain.calls import CallError, Completion, ModelCall
from ostler.domain.catalog import EndpointSpec, normal_model
from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass
from ostler.fleet.answer import AnswerReader
from ostler.fleet.asking import Body, asked, body_of
from ostler.fleet.driver import Listing, WireDriver, bounded
from ostler.fleet.exchange import Exchange, Link
from ostler.wire.ollama import OllamaChat

SHOWS_PER_PROBE = 16
"""Models whose window one probe looks up at most; the next probes go on."""
UNLOAD_POLL_S = 0.1
VERSION_CHARACTERS = 12
"""So much of a digest tells versions of a model apart."""
TOP_LEVEL_OPTIONS = frozenset({"think", "format", "truncate", "shift"})
"""Call options that belong beside the engine's `options`, not into them."""
_PASSING = frozenset({FailureClass.NETWORK, FailureClass.SERVER, FailureClass.OVERLOADED, FailureClass.RATE_LIMIT})


class _Tag(msgspec.Struct):
    name: str
    digest: str = ""
    remote_host: str = ""


class _Tags(msgspec.Struct):
    models: list[_Tag] | None


class _Running(msgspec.Struct):
    name: str
    size: int | None = None
    size_vram: int | None = None
    context_length: int | None = None


class _Ps(msgspec.Struct):
    models: list[_Running] | None


class _Version(msgspec.Struct):
    version: str = ""


class _Show(msgspec.Struct):
    model_info: dict[str, Any] | None = None


class _Done(msgspec.Struct):
    done: bool = True


class OllamaReader(AnswerReader):
    """One answer of `/api/chat`."""

    def __init__(self, call: ModelCall) -> None:
        super().__init__(call, OllamaChat().reader())

    def completion(self, first_token_ms: int | None) -> Completion:
        """See `AnswerReader.completion`; also refuses an answer to a prompt that the server cut."""
        window = self._call.context_tokens
        counted = self._tokens.input_tokens
        if window is not None and counted is not None and counted >= window:
            raise CallError(
                FailureClass.CONTEXT_TOO_LONG,
                f"the prompt fills the whole context of {window} tokens: the server cut it and answered the rest",
            )
        return super().completion(first_token_ms)


class OllamaDriver(WireDriver):
    """Drives one or many Ollama servers."""

    protocol = "an Ollama server"
    hint = "is it an OpenAI-compatible one (kind: openai)?"

    def __init__(self, link: Link, env: Mapping[str, str]) -> None:
        super().__init__(link, env)
        self._windows: dict[str, int] = {}
        """Context window by digest, 0 = the model has none to tell. A digest names weights, so this never expires."""

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        """See `EndpointDriver.load`. The model stays for `keep_loaded_s` after its last call."""
        settings = self._link.settings
        body: dict[str, object] = {
            "model": model,
            "prompt": "",
            "stream": False,
            "keep_alive": settings.keep_loaded_s,
        }
        if context_tokens is not None:
            body["options"] = {"num_ctx": context_tokens}
        late = f"{model} was not loaded within {settings.load_timeout_ms / 1_000:g} s"
        async with bounded(settings.load_timeout_ms, late):
            await self._json(spec, "/api/generate", _Done, body)
            running = await self._running(spec) or ()
        name = normal_model(model)
        found = next((resident for resident in running if resident.model == name), None)
        return found or Resident(model=name, context_tokens=context_tokens)

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        """See `EndpointDriver.unload`. Returns when the model is out of memory; raises `CallError` if it stays."""
        settings = self._link.settings
        name = normal_model(model)
        late = f"{model} is still loaded after {settings.unload_timeout_ms / 1_000:g} s: is it in use?"
        async with bounded(settings.unload_timeout_ms, late):
            await self._json(spec, "/api/generate", _Done, {"model": model, "keep_alive": 0, "stream": False})
            while any(resident.model == name for resident in await self._running(spec) or ()):  # noqa: ASYNC110 -- polls
                await asyncio.sleep(UNLOAD_POLL_S)
        return True

    def _base(self, url: str) -> str:
        return url.rstrip("/").removesuffix("/v1").removesuffix("/api")

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _exchange(self, spec: EndpointSpec, call: ModelCall) -> Exchange:
        return Exchange(
            request=self._request(spec, "/api/chat", chat_body(call), traceparent=call.traceparent),
            reader=OllamaReader(call),
            fail=lambda reply: self._failed(spec, reply),
            key=self._key(spec),
        )

    async def _listing(self, spec: EndpointSpec) -> Listing:
        tags = (await self._json(spec, "/api/tags", _Tags)).models or []
        # A server of the user's own may offer models that run in its maker's cloud: they are not local.
        usable = [tag for tag in tags if not (spec.local and tag.remote_host)]
        residents, version, _ = await asyncio.gather(
            self._running(spec), self._version(spec), self._learn_windows(spec, usable)
        )
        hidden = len(tags) - len(usable)
        return Listing(
            models=tuple(dict.fromkeys(normal_model(tag.name) for tag in usable)),
            residents=residents,
            context_tokens={normal_model(tag.name): w for tag in usable if (w := self._windows.get(tag.digest, 0))},
            versions={normal_model(tag.name): tag.digest[:VERSION_CHARACTERS] for tag in usable if tag.digest},
            version=version,
            message=f"{hidden} model(s) that run in a cloud are left out of this local endpoint" if hidden else "",
        )

    async def _running(self, spec: EndpointSpec) -> tuple[Resident, ...] | None:
        """Loaded models; `None` when the server cannot tell."""
        try:
            ps = await self._json(spec, "/api/ps", _Ps)
        except CallError:
            return None
        return tuple(
            Resident(
                model=normal_model(model.name),
                context_tokens=model.context_length or None,
                size_bytes=model.size,
                vram_bytes=model.size_vram,
            )
            for model in ps.models or ()
        )

    async def _version(self, spec: EndpointSpec) -> str:
        try:
            return (await self._json(spec, "/api/version", _Version)).version
        except CallError:
            return ""

    async def _learn_windows(self, spec: EndpointSpec, tags: Iterable[_Tag]) -> None:
        """Look up some windows not known yet, within half the time of the probe: they are welcome, not needed."""
        unknown = {tag.digest: tag.name for tag in tags if tag.digest and tag.digest not in self._windows}
        batch = islice(unknown.items(), SHOWS_PER_PROBE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._link.settings.probe_timeout_ms / 2_000):
                await asyncio.gather(*(self._learn_window(spec, digest, name) for digest, name in batch))

    async def _learn_window(self, spec: EndpointSpec, digest: str, name: str) -> None:
        try:
            show = await self._json(spec, "/api/show", _Show, {"model": name})
        except CallError as error:
            if error.kind not in _PASSING:
                self._windows[digest] = 0
            return
        self._windows[digest] = _window(show.model_info or {})


def chat_body(call: ModelCall) -> Body:
    """The body of `/api/chat` for a call."""
    beside = {name: value for name, value in call.options.items() if name in TOP_LEVEL_OPTIONS}
    body = body_of(OllamaChat(), asked(call), beside)
    inside = {name: value for name, value in call.options.items() if name not in TOP_LEVEL_OPTIONS}
    written = body.get("options")
    body["options"] = (written if isinstance(written, dict) else {}) | inside
    return body


def _window(model_info: Mapping[str, Any]) -> int:
    """The trained context, filed under the name of the architecture; 0 = not said."""
    window = model_info.get(f"{model_info.get('general.architecture')}.context_length")
    return window if isinstance(window, int) else 0
