"""Anthropic's face of a simulated provider: authentication, versions, limits and errors in its shapes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from ostler.simulate.anthropic_wire import CacheUse, MessageEncoder, MessagesRequest
from ostler.simulate.cloud_model import CACHE_TOKENS_MIN, Gauge, Limit, Limited
from ostler.simulate.cloud_service import CloudCall, SimulatedCloud
from ostler.simulate.exchange import Exchange, json_exchange
from ostler.simulate.faults import Fault, FaultKind
from ostler.simulate.generation import Delivery
from ostler.simulate.reply import digest_of
from ostler.simulate.spec import SimulatedCloudModelSpec

ORGANIZATION = "00000000-0000-0000-0000-51301a7ed000"
CREATED_AT = "2026-01-01T00:00:00Z"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}
LIMIT_NAMES = {Limit.REQUESTS: "requests per minute", Limit.TOKENS: "input tokens per minute"}
CONCURRENCY = "Number of concurrent connections has exceeded your rate limit. Please try again later. (simulated)"


def error_body(status: int, message: str, request_id: str) -> object:
    """Anthropic's error shape."""
    return {"type": "error", "error": {"type": ERROR_TYPES[status], "message": message}, "request_id": request_id}


class AnthropicFace:
    """Anthropic's endpoints. `/v1/models` is shared with the other face."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes that only this face has."""
        return [
            Route("/v1/messages", self.messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", self.count_tokens, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Exchange:
        """`GET /v1/models`."""
        if (refused := self._unauthorized(request)) is not None:
            return refused
        rows = [_listed(model) for model in self._cloud.listed("anthropic")]
        first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
        return self._json(200, {"data": rows, "has_more": False, "first_id": first, "last_id": last})

    async def one_model(self, request: Request) -> Exchange:
        """`GET /v1/models/{model}`."""
        if (refused := self._unauthorized(request)) is not None:
            return refused
        name = request.path_params["model"]
        model = self._cloud.find("anthropic", name)
        return self._refused(404, f"model: {name}") if model is None else self._json(200, _listed(model))

    async def count_tokens(self, request: Request) -> Exchange:
        """`POST /v1/messages/count_tokens`."""
        asked = await self._asked(request)
        if isinstance(asked, Exchange):
            return asked
        return self._json(200, {"input_tokens": asked.prompt_tokens()})

    async def messages(self, request: Request) -> Exchange:
        """`POST /v1/messages`."""
        asked = await self._asked(request)
        if isinstance(asked, Exchange):
            return asked
        if asked.max_tokens is None:
            return self._refused(400, "max_tokens: Field required")
        model = self._cloud.find("anthropic", asked.model)
        if model is None:
            return self._refused(404, f"model: {asked.model}")
        if asked.max_tokens > model.max_output_tokens:
            return self._refused(
                400,
                f"max_tokens: {asked.max_tokens} > {model.max_output_tokens}, which is the maximum allowed number of "
                f"output tokens for {model.name}",
            )
        return self._answer(asked, model)

    def _answer(self, asked: MessagesRequest, model: SimulatedCloudModelSpec) -> Exchange:
        prompt_tokens = asked.prompt_tokens()
        if prompt_tokens > model.context_length:
            message = f"prompt is too long: {prompt_tokens} tokens > {model.context_length} maximum"
            return self._refused(400, message)
        faults = self._cloud.faults.strike_call(model.name)
        if faults.refusal is not None:
            return self._struck(faults.refusal, model)
        limited = self._cloud.model.admit(model, prompt_tokens, self._cloud.clock.now_ms())
        if limited is not None:
            return self._limited(limited, model)
        cache = self._cache_use(asked, model)
        reply = self._cloud.compose(
            model,
            asked.reduced_messages(),
            asked.max_tokens,
            tools_offered=asked.offers_tools,
            stop=tuple(asked.stop_sequences or ()),
        )
        serial = self._cloud.request_id()
        encoder = MessageEncoder(asked.model, prompt_tokens, cache, serial)
        headers = {**_headers(serial), **self._limit_headers(model)}
        return self._cloud.answer(
            CloudCall(
                model=model,
                prompt_tokens=prompt_tokens,
                cached_tokens=cache.read_tokens,
                stream=bool(asked.stream),
                delivery=Delivery(reply=reply, encoder=encoder, faults=faults, headers=headers),
            )
        )

    async def _asked(self, request: Request) -> MessagesRequest | Exchange:
        """The request, or the answer to one that is not in order."""
        if (refused := self._unauthorized(request)) is not None:
            return refused
        try:
            asked = msgspec.json.decode(await request.body(), type=MessagesRequest)
        except msgspec.ValidationError as error:
            return self._refused(400, str(error))
        except msgspec.DecodeError as error:
            return self._refused(400, f"The request body is not valid JSON: {error}")
        if not asked.model:
            return self._refused(400, "model: Field required")
        if not asked.messages:
            return self._refused(400, "messages: at least one message is required")
        return asked

    def _cache_use(self, asked: MessagesRequest, model: SimulatedCloudModelSpec) -> CacheUse:
        prefixes = [(text, tokens) for text, tokens in asked.cache_prefixes() if tokens >= CACHE_TOKENS_MIN]
        if not prefixes:
            return CacheUse()
        read_tokens = self._cloud.cached_tokens(model, prefixes)
        return CacheUse(read_tokens=read_tokens, written_tokens=prefixes[-1][1] - read_tokens)

    def _unauthorized(self, request: Request) -> Exchange | None:
        """A key comes as `x-api-key` or, from newer clients, as a bearer token."""
        key = request.headers.get("x-api-key")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not key and not scheme:
            return self._refused(401, "x-api-key header is required")
        if key and not self._cloud.lets_in(key):
            return self._refused(401, "invalid x-api-key")
        if not key and not (scheme.lower() == "bearer" and self._cloud.lets_in(token)):
            return self._refused(401, "Invalid bearer token")
        if "anthropic-version" not in request.headers:
            return self._refused(400, "anthropic-version: header is required")
        return None

    def _struck(self, fault: Fault, model: SimulatedCloudModelSpec) -> Exchange:
        if fault.kind is FaultKind.RATE_LIMITED:
            retry_ms = None if fault.retry_after_s is None else fault.retry_after_s * 1000
            return self._too_many("This request would exceed your rate limit (simulated).", model, retry_ms)
        if fault.kind is FaultKind.OVERLOADED:
            return self._refused(529, "Overloaded")
        return self._refused(500, "Internal server error (simulated failure)")

    def _limited(self, limited: Limited, model: SimulatedCloudModelSpec) -> Exchange:
        if limited.limit is Limit.CONCURRENCY:
            return self._too_many(CONCURRENCY, model, limited.retry_ms)
        message = (
            f"This request would exceed your organization's rate limit of {limited.allowed:,} "
            f"{LIMIT_NAMES[limited.limit]} (org: {ORGANIZATION}, model: {model.name}). (simulated)"
        )
        return self._too_many(message, model, limited.retry_ms)

    def _too_many(self, message: str, model: SimulatedCloudModelSpec, retry_ms: float | None) -> Exchange:
        headers = self._limit_headers(model)
        if retry_ms is not None:
            headers["retry-after"] = self._cloud.retry_after_s(retry_ms)
        return self._refused(429, message, headers)

    def _limit_headers(self, model: SimulatedCloudModelSpec) -> dict[str, str]:
        headers: dict[str, str] = {}
        requests, tokens = self._cloud.gauges(model)
        for unit, gauge in (("requests", requests), ("tokens", tokens), ("input-tokens", tokens)):
            headers[f"anthropic-ratelimit-{unit}-limit"] = str(gauge.allowed)
            headers[f"anthropic-ratelimit-{unit}-remaining"] = str(gauge.remaining)
            headers[f"anthropic-ratelimit-{unit}-reset"] = self._reset_at(gauge)
        return headers

    def _reset_at(self, gauge: Gauge) -> str:
        clock = self._cloud.clock
        at = datetime.fromtimestamp(clock.wall_ms() / 1000, UTC) + timedelta(seconds=clock.real_s(gauge.reset_ms))
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _refused(self, status: int, message: str, headers: dict[str, str] | None = None) -> Exchange:
        serial = self._cloud.request_id()
        content = error_body(status, message, _headers(serial)["request-id"])
        return json_exchange(status, content, {**_headers(serial), **(headers or {})})

    def _json(self, status: int, content: object) -> Exchange:
        return json_exchange(status, content, _headers(self._cloud.request_id()))


def _headers(serial: str) -> dict[str, str]:
    return {"request-id": f"req_{digest_of(serial, size=24)}", "anthropic-organization-id": ORGANIZATION}


def _listed(model: SimulatedCloudModelSpec) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.name,
        "display_name": f"Simulated {model.name}",
        "created_at": CREATED_AT,
        "lifecycle": "active",
        "max_input_tokens": model.context_length,
        "max_tokens": model.max_output_tokens,
    }
