"""Anthropic's Messages API.

Events are named by their `type`; the stream ends with `message_stop`. Counts come in two parts: the input in
`message_start`, cumulative totals in `message_delta`. Their input counts exclude what was written to or read from the
prompt cache; ours is the whole prompt, with the part read from the cache beside it. System turns go into a field of
their own. `ping` events keep a connection alive and are no answer.
"""

import msgspec

from ostler.domain.calls import CallError, Delta, ModelCall
from ostler.domain.catalog import EndpointSpec, normal_model
from ostler.fleet.answer import SseReader, malformed
from ostler.fleet.driver import Listing, WireDriver
from ostler.fleet.exchange import Exchange
from ostler.wire.classify import classify_stream_error
from ostler.wire.framing import SseEvent

API_VERSION = "2023-06-01"
LISTING_LIMIT = 1_000
"""Page size of the model list, the largest allowed: one page holds them all."""
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}
"""Reasons not listed (`pause_turn`) are handed on as they are; `refusal` is a failure."""


class _Model(msgspec.Struct):
    id: str
    max_input_tokens: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class _Details(msgspec.Struct):
    thinking_tokens: int = 0


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _Details | None = None


class _Start(msgspec.Struct):
    usage: _Usage | None = None


class _StopDetails(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class _EventDelta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Start | None = None
    delta: _EventDelta | None = None
    usage: _Usage | None = None


class AnthropicReader(SseReader):
    """One streamed message."""

    def __init__(self, call: ModelCall, now_ms: int) -> None:
        super().__init__(call, now_ms)
        self._decoder = msgspec.json.Decoder(_Event)
        self._usage_seen = _Usage()

    def _event(self, event: SseEvent) -> list[Delta]:
        try:
            parsed = self._decoder.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed("an event is not what this API sends", event.data) from error
        if parsed.type == "error":
            fault = classify_stream_error(event.data, self.now_ms)
            raise CallError(fault.kind, fault.message, retry_after_ms=fault.retry_after_ms)
        if parsed.type == "message_stop":
            self.done = True
        self._count(parsed.message.usage if parsed.message else parsed.usage)
        delta = parsed.delta
        if delta is None:
            return []
        if delta.stop_reason:
            self._stop(delta.stop_reason, delta.stop_details)
        return self._text(delta.text, delta.thinking)

    def _stop(self, reason: str, details: _StopDetails | None) -> None:
        self.finish_reason = _FINISH.get(reason, reason)
        if reason == "refusal":
            self.refusal = (details and (details.explanation or details.category)) or " "

    def _count(self, usage: _Usage | None) -> None:
        """Take over what an event says; later events repeat and correct earlier ones."""
        if usage is None:
            return
        seen = self._usage_seen
        for name in usage.__struct_fields__:
            if (value := getattr(usage, name)) is not None:
                setattr(seen, name, value)
        counts = self.counts
        if seen.input_tokens is not None:
            cached = seen.cache_read_input_tokens or 0
            counts.input_tokens = seen.input_tokens + (seen.cache_creation_input_tokens or 0) + cached
            counts.cached_tokens = cached
        counts.output_tokens = seen.output_tokens
        if seen.output_tokens_details is not None:
            counts.reasoning_tokens = seen.output_tokens_details.thinking_tokens


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
            reader=AnthropicReader(call, self._link.clock.now_ms()),
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


def chat_body(call: ModelCall) -> dict[str, object]:
    """The body of `/v1/messages` for a call."""
    system = "\n\n".join(message.text for message in call.messages if message.role == "system")
    body: dict[str, object] = {
        "model": call.model,
        "messages": [
            {"role": message.role, "content": message.text} for message in call.messages if message.role != "system"
        ],
        "stream": True,
        "max_tokens": call.max_output_tokens,
    }
    if system:
        body["system"] = system
    if call.temperature is not None:
        body["temperature"] = call.temperature
    return body | dict(call.options)
