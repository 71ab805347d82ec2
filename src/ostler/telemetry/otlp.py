"""OTLP over HTTP as JSON, written by hand: spans in, the body of a request out.

The protocol's own rules for JSON: ids are hexadecimal, 64-bit numbers are texts, enumerations are numbers. Every
receiver of OTLP over HTTP takes JSON; so a hub needs no library for it, and no thread.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum

import msgspec

from ostler.telemetry import genai

Value = str | int | float | bool
PATH = "/v1/traces"
SCOPE = "ostler"


class SpanKind(IntEnum):
    """Numbers of the protocol."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class SpanEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened within a span."""

    name: str
    at_ms: int
    attributes: Mapping[str, Value | None] = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span that has ended. Attributes that are `None` are left out. `error`: a class, never a message."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str = ""
    kind: SpanKind = SpanKind.INTERNAL
    start_ms: int
    end_ms: int
    attributes: Mapping[str, Value | None] = {}
    events: tuple[SpanEvent, ...] = ()
    error: str = ""


def body(spans: Iterable[Span], service: str, version: str) -> bytes:
    """The request for spans of one service."""
    resource = {genai.SERVICE_NAME: service, genai.SERVICE_VERSION: version}
    scope = {"scope": {"name": SCOPE, "version": version}, "spans": [_span(span) for span in spans]}
    request = {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}
    return msgspec.json.encode(request)


def _span(span: Span) -> dict[str, object]:
    attributes = dict(span.attributes)
    if span.error:
        attributes[genai.ERROR_TYPE] = span.error
    written: dict[str, object] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": _nanos(span.start_ms),
        "endTimeUnixNano": _nanos(max(span.start_ms, span.end_ms)),
        "attributes": _attributes(attributes),
        "status": {"code": 2} if span.error else {},
    }
    if span.parent_id:
        written["parentSpanId"] = span.parent_id
    if span.events:
        written["events"] = [
            {"name": event.name, "timeUnixNano": _nanos(event.at_ms), "attributes": _attributes(event.attributes)}
            for event in span.events
        ]
    return written


def _nanos(at_ms: int) -> str:
    return f"{at_ms}000000"


def _attributes(named: Mapping[str, Value | None]) -> list[dict[str, object]]:
    return [{"key": name, "value": _value(value)} for name, value in named.items() if value is not None]


def _value(value: Value) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
