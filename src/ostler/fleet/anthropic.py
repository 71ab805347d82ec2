"""Anthropic's Messages API. What a request and a stream look like is in `wire.anthropic`."""

import msgspec

from ostler.domain.calls import ModelCall
from ostler.domain.catalog import EndpointSpec, normal_model
from ostler.fleet.answer import AnswerReader
from ostler.fleet.asking import Body, asked, body_of
from ostler.fleet.driver import Listing, WireDriver
from ostler.fleet.exchange import Exchange
from ostler.wire.anthropic import Anthropic

API_VERSION = "2023-06-01"
LISTING_LIMIT = 1_000
"""Page size of the model list, the largest allowed: one page holds them all."""


class _Model(msgspec.Struct):
    id: str
    max_input_tokens: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class AnthropicDriver(WireDriver):
    """Drives the Messages API of Anthropic and of servers that speak it. There is nothing to load or unload."""

    protocol = "an Anthropic Messages server"
    hint = "is the address right, or is it an OpenAI-compatible one (kind: openai)?"

    def _base(self, url: str) -> str:
        return url.rstrip("/").removesuffix("/v1")

    def _key_headers(self, key: str) -> dict[str, str]:
        return {"anthropic-version": API_VERSION} | ({"x-api-key": key} if key else {})

    def _exchange(self, spec: EndpointSpec, call: ModelCall) -> Exchange:
        return Exchange(
            request=self._request(spec, "/v1/messages", chat_body(call), traceparent=call.traceparent),
            reader=AnswerReader(call, Anthropic().reader()),
            fail=lambda reply: self._failed(spec, reply),
            key=self._key(spec),
        )

    async def _listing(self, spec: EndpointSpec) -> Listing:
        models = (await self._json(spec, f"/v1/models?limit={LISTING_LIMIT}", _Models)).data
        return Listing(
            models=tuple(dict.fromkeys(normal_model(model.id) for model in models)),
            context_tokens={
                normal_model(model.id): model.max_input_tokens for model in models if model.max_input_tokens
            },
        )


def chat_body(call: ModelCall) -> Body:
    """The body of `/v1/messages` for a call."""
    return body_of(Anthropic(), asked(call), call.options)
