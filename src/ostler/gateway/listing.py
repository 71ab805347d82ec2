"""What can be called, told to each kind of client in its own words; and how long a prompt is.

A model is listed when an endpoint that works serves it; its aliases, the tiers and `auto` are listed beside it, because
clients offer for choice what is listed. Loaded models are those of endpoints that say so.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from ostler.context.trim import estimate
from ostler.domain.calls import UpstreamRequest
from ostler.domain.catalog import DIRECT, Capability, EndpointKind, EndpointSpec, ModelSpec, normal_model
from ostler.domain.errors import InvalidInputError, NotFoundError, nearest
from ostler.domain.fleet import EndpointView, Health, Resident
from ostler.domain.live import GatewayKey
from ostler.gateway.inbound import Head, read_body
from ostler.gateway.line import Line
from ostler.gateway.outlet import answer_whole
from ostler.gateway.service import Gateway
from ostler.routing.facts import AUTO, TIER_PREFIX
from ostler.version import __version__
from ostler.wire import listings
from ostler.wire.codec import Format
from ostler.wire.formats import codec
from ostler.wire.listings import Listed

OLLAMA_VERSION = "0.13.0"
"""Clients of Ollama ask what it can do by its version; what we answer for is what this one has."""
_WORDS: Mapping[Capability, str] = {
    Capability.TOOLS: "tools",
    Capability.VISION: "vision",
    Capability.THINKING: "thinking",
    Capability.EMBEDDING: "embedding",
}
_JSON = {"content-type": "application/json"}
_ANTHROPIC = "anthropic-version"


class Route(NamedTuple):
    """A question: its handler's name, and the format whose errors its clients read."""

    handler: str
    face: Format


ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/v1/models"): Route("models", Format.OPENAI_CHAT),
    ("GET", "/v1/models/*"): Route("model", Format.OPENAI_CHAT),
    ("POST", "/v1/messages/count_tokens"): Route("count", Format.ANTHROPIC),
    ("GET", "/api/tags"): Route("tags", Format.OLLAMA_CHAT),
    ("GET", "/api/ps"): Route("loaded", Format.OLLAMA_CHAT),
    ("POST", "/api/show"): Route("show", Format.OLLAMA_CHAT),
    ("GET", "/api/version"): Route("version", Format.OLLAMA_CHAT),
    ("HEAD", "/"): Route("alive", Format.OLLAMA_CHAT),
}


class Listings:
    """Answers questions about models."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def models(self, head: Head, line: Line) -> None:
        """All that can be asked for by name."""
        found = self._named(self._gateway.who(head))
        if _ANTHROPIC in head.passed:
            query = parse_qs(head.query)
            limit = _whole_number(query, "limit", listings.PAGE)
            after, before = (query.get(name, [""])[0] for name in ("after_id", "before_id"))
            body = listings.anthropic_models(found, limit=limit, after=after, before=before)
        else:
            body = listings.openai_models(found)
        await answer_whole(line, 200, _JSON, body)

    async def model(self, head: Head, line: Line) -> None:
        """One of them. Raises `NotFoundError`."""
        name = normal_model(unquote(head.path.removeprefix("/v1/models/")))
        one = self._one(name, self._gateway.who(head))
        build = listings.anthropic_model if _ANTHROPIC in head.passed else listings.openai_model
        await answer_whole(line, 200, _JSON, build(one))

    async def tags(self, head: Head, line: Line) -> None:
        """The same for clients of Ollama."""
        await answer_whole(line, 200, _JSON, listings.ollama_tags(self._named(self._gateway.who(head))))

    async def loaded(self, head: Head, line: Line) -> None:
        """Models in memory, wherever they are."""
        key = self._gateway.who(head)
        residents: dict[str, Listed] = {}
        for view in self._gateway.hub.views().values():
            for resident in view.residents or ():
                if _may_use(key, resident.model):
                    residents.setdefault(resident.model, self._resident(resident))
        rows = [residents[name] for name in sorted(residents)]
        await answer_whole(line, 200, _JSON, listings.ollama_ps(rows))

    async def show(self, head: Head, line: Line) -> None:
        """One model in the words of Ollama. Raises `NotFoundError`."""
        key = self._gateway.who(head)
        raw = await read_body(line, head, self._gateway.hub.settings)
        try:
            asked = msgspec.json.decode(raw, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidInputError("the body is no JSON object", where="body", remedy='send {"model": ...}') from None
        name = asked.get("model") or asked.get("name")
        if not isinstance(name, str):
            raise InvalidInputError("no model is named", where="model", remedy="name one of /api/tags")
        await answer_whole(line, 200, _JSON, listings.ollama_show(self._one(normal_model(name), key)))

    async def version(self, _head: Head, line: Line) -> None:
        """For clients of Ollama that look what the server can do."""
        await answer_whole(
            line, 200, {**_JSON, "x-ostler-version": __version__}, listings.ollama_version(OLLAMA_VERSION)
        )

    async def alive(self, _head: Head, line: Line) -> None:
        """What programs of Ollama ask first."""
        await answer_whole(line, 200, _JSON, b"")

    async def count(self, head: Head, line: Line) -> None:
        """How many tokens a prompt has: counted by the endpoint where it can, else estimated, and said to be."""
        gateway = self._gateway
        gateway.who(head)
        body = await read_body(line, head, gateway.hub.settings)
        form = codec(Format.ANTHROPIC)
        peek = form.peek(body)
        spec, model = self._counter(peek.model)
        if spec is None:
            tokens = estimate(form.decode_ask(body))
            headers = {**_JSON, "x-ostler-estimated": "true"}
            await answer_whole(line, 200, headers, listings.anthropic_count(tokens))
            return
        request = UpstreamRequest(
            path="/v1/messages/count_tokens" + (f"?{head.query}" if head.query else ""),
            body=body if peek.model == model else form.renamed(body, model),
            headers=head.passed,
        )
        await answer_whole(line, 200, _JSON, await gateway.fetch(spec, request))

    def _counter(self, asked: str) -> tuple[EndpointSpec | None, str]:
        """An endpoint that counts for this model, and the model's own name."""
        catalog = self._gateway.hub.policy().catalog
        model = catalog.model_aliases.get(normal_model(asked), normal_model(asked))
        views = self._gateway.hub.views()
        for name in sorted(views):
            view = views[name]
            if view.spec.kind is EndpointKind.ANTHROPIC and view.health is Health.UP and view.serves(model):
                return view.spec, model
        return None, model

    def _one(self, name: str, key: GatewayKey | None) -> Listed:
        found = {model.name: model for model in self._named(key)}
        if name not in found:
            raise NotFoundError(f"there is no model '{name}'", where="model", remedy=nearest(name, found))
        return found[name]

    def _named(self, key: GatewayKey | None) -> list[Listed]:
        """Models, their aliases, tiers and `auto`, by name; only those that a key may use."""
        catalog = self._gateway.hub.policy().catalog
        served: dict[str, EndpointView] = {}
        for view in self._gateway.hub.views().values():
            if view.health is Health.UP:
                served |= dict.fromkeys(view.models, view)
        rows = {
            name: self._listed(name, name, catalog.models.get(name), view)
            for name, view in served.items()
            if _may_use(key, name)
        }
        for alias, name in catalog.model_aliases.items():
            if name in rows:
                rows.setdefault(alias, self._listed(alias, name, catalog.models.get(name), served[name]))
        for tier in catalog.tiers:
            usable = tier.enabled and tier.name != DIRECT and any(model in rows for model in tier.models)
            if usable and (key is None or not key.tiers or tier.name in key.tiers):
                rows[f"{TIER_PREFIX}{tier.name}"] = Listed(
                    name=f"{TIER_PREFIX}{tier.name}", capabilities=("completion",)
                )
        if rows:
            rows[AUTO] = Listed(name=AUTO, capabilities=("completion", "tools"))
        return [rows[name] for name in sorted(rows)]

    def _listed(self, shown: str, name: str, spec: ModelSpec | None, view: EndpointView) -> Listed:
        window = spec.context_tokens if spec is not None and spec.context_tokens else view.windows.get(name)
        known = spec.capabilities if spec is not None and spec.capabilities is not None else frozenset[Capability]()
        words = [_WORDS[capability] for capability in sorted(known)]
        if Capability.EMBEDDING not in known:
            words.insert(0, "completion")
        size = spec.memory_bytes if spec is not None and spec.memory_bytes else 0
        owner = view.spec.provider
        return Listed(name=shown, context_tokens=window, capabilities=tuple(words), size_bytes=size, owner=owner)

    def _resident(self, resident: Resident) -> Listed:
        return Listed(
            name=resident.model,
            context_tokens=resident.context_tokens,
            size_bytes=resident.size_bytes or 0,
            vram_bytes=resident.vram_bytes or 0,
        )


def _may_use(key: GatewayKey | None, model: str) -> bool:
    return key is None or not key.models or model in key.models


def _whole_number(query: Mapping[str, list[str]], name: str, usual: int) -> int:
    text = query.get(name, [""])[0]
    if not text:
        return usual
    if not text.isdecimal():
        raise InvalidInputError(f"'{text}' is no whole number", where=name, remedy="leave it out")
    return int(text)
