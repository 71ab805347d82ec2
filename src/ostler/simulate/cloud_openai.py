"""OpenAI's face of a simulated provider: authentication, limits and errors in its shapes.

Prompts of 1,024 tokens and more are cached in steps of 128.
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from ostler.simulate.cloud_model import CACHE_TOKENS_MIN, Gauge, Limit, Limited
from ostler.simulate.cloud_service import CloudCall, SimulatedCloud
from ostler.simulate.exchange import Exchange, json_exchange
from ostler.simulate.faults import Fault, FaultKind
from ostler.simulate.generation import Delivery
from ostler.simulate.openai_wire import ChatRequest, OpenAIEncoder
from ostler.simulate.reply import CHARS_PER_TOKEN, Message, digest_of, estimate_tokens
from ostler.simulate.spec import SimulatedCloudModelSpec

CREATED_S = 1_767_225_600
CACHE_STEP_TOKENS = 128
LONG_KEY = 20
ORGANIZATION = "org-simulated"
LIMITS_URL = "https://platform.openai.com/account/rate-limits"
KEYS_URL = "https://platform.openai.com/account/api-keys"
UNITS = {Limit.REQUESTS: "requests per min (RPM)", Limit.TOKENS: "tokens per min (TPM)"}
SERVER_ERROR = "The server had an error while processing your request. Sorry about that! (simulated failure)"
OVERLOADED = "The engine is currently overloaded, please try again later (simulated overload)"


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> object:
    """OpenAI's error shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class OpenAIFace:
    """OpenAI's endpoints. `/v1/models` is shared with the other face, so it is answered when that one passes."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """The routes that only this face has."""
        return [Route("/v1/chat/completions", self.chat, methods=["POST"])]

    async def models(self, request: Request) -> Exchange:
        """`GET /v1/models`."""
        if (refused := self._unauthorized(request)) is not None:
            return refused
        rows = [_listed(model) for model in self._cloud.listed("openai")]
        return self._json(200, {"object": "list", "data": rows})

    async def one_model(self, request: Request) -> Exchange:
        """`GET /v1/models/{model}`."""
        if (refused := self._unauthorized(request)) is not None:
            return refused
        name = request.path_params["model"]
        model = self._cloud.find("openai", name)
        return self._missing(name) if model is None else self._json(200, _listed(model))

    async def chat(self, request: Request) -> Exchange:
        """`POST /v1/chat/completions`."""
        if (refused := self._unauthorized(request)) is not None:
            return refused
        try:
            asked = msgspec.json.decode(await request.body(), type=ChatRequest)
        except msgspec.DecodeError as error:
            return self._invalid(f"We could not parse the JSON body of your request: {error}")
        if not asked.model:
            return self._invalid("you must provide a model parameter")
        if not asked.messages:
            return self._invalid("Missing required parameter: 'messages'.", "missing_required_parameter", "messages")
        model = self._cloud.find("openai", asked.model)
        return self._missing(asked.model) if model is None else self._answer(asked, model)

    def _answer(self, asked: ChatRequest, model: SimulatedCloudModelSpec) -> Exchange:
        messages = asked.reduced_messages()
        prompt_tokens = asked.tools_tokens() + sum(estimate_tokens(message.text) for message in messages)
        if prompt_tokens > model.context_length:
            return self._invalid(
                f"This model's maximum context length is {model.context_length} tokens. However, your messages "
                f"resulted in {prompt_tokens} tokens. Please reduce the length of the messages.",
                "context_length_exceeded",
                "messages",
            )
        faults = self._cloud.faults.strike_call(model.name)
        if faults.refusal is not None:
            return self._struck(faults.refusal, model)
        limited = self._cloud.model.admit(model, prompt_tokens, self._cloud.clock.now_ms())
        if limited is not None:
            return self._limited(limited, model)
        cached_tokens = self._cloud.cached_tokens(model, _prefixes(messages))
        reply = self._cloud.compose(
            model,
            messages,
            asked.limit_tokens,
            seed=asked.seed or 0,
            tools_offered=asked.offers_tools,
            stop=asked.stop_sequences,
            wants_json=asked.wants_json,
        )
        serial, created_s = self._cloud.request_id(), self._cloud.clock.wall_ms() // 1000
        encoder = OpenAIEncoder(asked, prompt_tokens, cached_tokens, created_s, serial)
        headers = {**self._headers(serial), **self._limit_headers(model)}
        return self._cloud.answer(
            CloudCall(
                model=model,
                prompt_tokens=prompt_tokens,
                cached_tokens=cached_tokens,
                stream=bool(asked.stream),
                delivery=Delivery(reply=reply, encoder=encoder, faults=faults, headers=headers),
            )
        )

    def _unauthorized(self, request: Request) -> Exchange | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return self._json(401, error_body("Missing bearer authentication in header", "invalid_request_error"))
        if self._cloud.lets_in(key):
            return None
        message = f"Incorrect API key provided: {_masked(key)}. You can find your API key at {KEYS_URL}."
        return self._json(401, error_body(message, "invalid_request_error", "invalid_api_key"))

    def _struck(self, fault: Fault, model: SimulatedCloudModelSpec) -> Exchange:
        if fault.kind is FaultKind.RATE_LIMITED:
            retry_ms = None if fault.retry_after_s is None else fault.retry_after_s * 1000
            message = f"Rate limit reached for {model.name} in organization {ORGANIZATION} (simulated)."
            return self._too_many(message, "requests", model, retry_ms)
        if fault.kind is FaultKind.OVERLOADED:
            return self._json(503, error_body(OVERLOADED, "server_error"))
        return self._json(500, error_body(SERVER_ERROR, "server_error"))

    def _limited(self, limited: Limited, model: SimulatedCloudModelSpec) -> Exchange:
        wait = _go_duration(self._cloud.clock.real_s(limited.retry_ms))
        if limited.limit is Limit.CONCURRENCY:
            message = (
                f"Too many concurrent requests for {model.name} in organization {ORGANIZATION}: {limited.allowed}."
            )
        else:
            remaining = self._gauge(limited.limit, model).remaining
            message = (
                f"Rate limit reached for {model.name} in organization {ORGANIZATION} on {UNITS[limited.limit]}: "
                f"Limit {limited.allowed}, Used {limited.allowed - remaining}, Requested {limited.requested}. "
                f"Please try again in {wait}. Visit {LIMITS_URL} to learn more."
            )
        return self._too_many(message, limited.limit.value, model, limited.retry_ms)

    def _too_many(self, message: str, kind: str, model: SimulatedCloudModelSpec, retry_ms: float | None) -> Exchange:
        headers = self._limit_headers(model)
        if retry_ms is not None:
            headers["retry-after"] = self._cloud.retry_after_s(retry_ms)
            headers["retry-after-ms"] = str(math.ceil(self._cloud.clock.real_s(retry_ms) * 1000))
        return self._json(429, error_body(message, kind, "rate_limit_exceeded"), headers)

    def _gauge(self, limit: Limit, model: SimulatedCloudModelSpec) -> Gauge:
        requests, tokens = self._cloud.gauges(model)
        return requests if limit is Limit.REQUESTS else tokens

    def _limit_headers(self, model: SimulatedCloudModelSpec) -> dict[str, str]:
        headers: dict[str, str] = {}
        for unit, gauge in zip(("requests", "tokens"), self._cloud.gauges(model), strict=True):
            headers[f"x-ratelimit-limit-{unit}"] = str(gauge.allowed)
            headers[f"x-ratelimit-remaining-{unit}"] = str(gauge.remaining)
            headers[f"x-ratelimit-reset-{unit}"] = _go_duration(self._cloud.clock.real_s(gauge.reset_ms))
        return headers

    def _headers(self, serial: str) -> dict[str, str]:
        return {
            "x-request-id": f"req_{digest_of(serial, size=32)}",
            "openai-organization": ORGANIZATION,
            "openai-version": "2020-10-01",
        }

    def _json(self, status: int, content: object, headers: dict[str, str] | None = None) -> Exchange:
        return json_exchange(status, content, {**self._headers(self._cloud.request_id()), **(headers or {})})

    def _invalid(self, message: str, code: str | None = None, param: str | None = None) -> Exchange:
        return self._json(400, error_body(message, "invalid_request_error", code, param))

    def _missing(self, name: str) -> Exchange:
        message = f"The model `{name}` does not exist or you do not have access to it."
        return self._json(404, error_body(message, "invalid_request_error", "model_not_found"))


def _prefixes(messages: tuple[Message, ...]) -> Iterator[tuple[str, int]]:
    text = "\x1e".join(f"{message.role}:{message.text}" for message in messages)
    for tokens in range(CACHE_TOKENS_MIN, len(text) // CHARS_PER_TOKEN + 1, CACHE_STEP_TOKENS):
        yield text[: tokens * CHARS_PER_TOKEN], tokens


def _listed(model: SimulatedCloudModelSpec) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": CREATED_S, "owned_by": "simulated"}


def _masked(key: str) -> str:
    """Enough of a key to recognise it, as OpenAI shows it."""
    head, tail = (key[:8], key[-4:]) if len(key) >= LONG_KEY else (key[:2], "")
    return head + "*" * max(4, len(key) - len(head) - len(tail)) + tail


def _go_duration(seconds: float) -> str:
    """The providers' spelling of a duration: `12ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.3g}s" if minutes else f"{rest:.4g}s"
