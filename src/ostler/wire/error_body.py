"""The parts of an error body that matter, whatever its wrapping. Pure; never fails.

Known wrappings: `{"error": {...}}`, `{"error": "text"}`, the same as a JSON text inside a JSON text (Ollama hands on
what its engine said), inside a list (Gemini), bare (`{"object": "error", ...}`), `{"detail": ...}`, and no JSON.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec


class ErrorDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What was said: the innermost text, all codes and types in lower case, a status and a delay if there are any."""

    text: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    delay: str | None = None

    @classmethod
    def parse(cls, body: bytes) -> "ErrorDetails":
        """Never fails: what is no known error shape becomes its own text, and HTML only its mention."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            text = body.decode("utf-8", "replace").strip()
            return cls(text="an HTML page" if looks_like_html(text) else text)
        layers = tuple(_layers(value))
        texts = (_text(layer) for layer in layers)
        numbers = (layer.get("code") for layer in layers if isinstance(layer, dict))
        return cls(
            text=next((text for text in texts if text), ""),
            codes=frozenset(code.lower() for layer in layers for code in _codes(layer)),
            status=next((n for n in numbers if isinstance(n, int) and 400 <= n < 600), None),  # noqa: PLR2004
            delay=next((delay for layer in layers if (delay := _delay(layer)) is not None), None),
        )


def looks_like_html(text: str) -> bool:
    """Whether a body is a web page: a proxy, a router or some other server answered."""
    return text.lstrip()[:15].lower().startswith(("<!doctype", "<html", "<head", "<?xml"))


def _layers(value: Any, depth: int = 0) -> Iterator[Any]:  # noqa: ANN401 -- foreign JSON
    """The error objects of a body, innermost first: the innermost is what the engine said."""
    if depth > 4:  # noqa: PLR2004 -- deeper than any real wrapping
        return
    if isinstance(value, list) and value:
        yield from _layers(value[0], depth + 1)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            yield value
        else:
            yield from _layers(inner, depth + 1)
    elif isinstance(value, dict):
        for name in ("error", "detail"):
            if value.get(name):
                yield from _layers(value[name], depth + 1)
        yield value
    elif isinstance(value, str):
        yield value


def _text(layer: Any) -> str:  # noqa: ANN401 -- foreign JSON
    if isinstance(layer, str):
        return layer
    message = layer.get("message") or layer.get("msg")
    if message:
        return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return ""


def _codes(layer: Any) -> Iterator[str]:  # noqa: ANN401 -- foreign JSON
    if not isinstance(layer, dict):
        return
    nested = layer.get("details")
    inner = nested.get("error_code") if isinstance(nested, dict) else None
    for value in (layer.get("code"), layer.get("type"), layer.get("status"), inner):
        if isinstance(value, str):
            yield value


def _delay(layer: Any) -> str | None:  # noqa: ANN401 -- foreign JSON
    details = layer.get("details") if isinstance(layer, dict) else None
    for item in details if isinstance(details, list) else ():
        delay = item.get("retryDelay") if isinstance(item, dict) else None
        if isinstance(delay, str):
            return delay
    return None
