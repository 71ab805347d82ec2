"""The gateway's paths for the hub's OpenAPI document: which exist, and what of them is ours to say.

The formats are described by their makers; what stands here is what the gateway itself looks at, and that the rest goes
on untouched.
"""

from collections.abc import Mapping
from typing import Any

from ostler.gateway.face import TALKS
from ostler.gateway.listing import ROUTES
from ostler.gateway.vectors import FACES
from ostler.wire.codec import Format
from ostler.wire.formats import codec

_JSON = "application/json"
_SUMMARIES: Mapping[str, str] = {
    "/v1/chat/completions": "An answer of a model, in OpenAI's chat format",
    "/v1/responses": "An answer of a model, in OpenAI's Responses format",
    "/v1/messages": "An answer of a model, in Anthropic's format",
    "/api/chat": "An answer of a model, in Ollama's chat format",
    "/api/generate": "An answer of a model to one prompt, in Ollama's format",
    "/v1/embeddings": "Embeddings, in OpenAI's format",
    "/api/embed": "Embeddings, in Ollama's format",
    "/api/embeddings": "One embedding, in Ollama's older format",
    "/v1/models": "All that can be asked for by name; in Anthropic's form for clients that send anthropic-version",
    "/v1/models/*": "One of them",
    "/v1/messages/count_tokens": "Length of a prompt in tokens; x-ostler-estimated says when nobody counted",
    "/api/tags": "All that can be asked for by name, in Ollama's form",
    "/api/ps": "Models in memory",
    "/api/show": "One model",
    "/": "Whether a server is here, as programs of Ollama ask first",
    "/api/version": "The version of Ollama whose API this is",
}
_MODEL = {"type": "string", "description": "A model, an alias, a tier, `tier:NAME` or `auto`"}
_ASK = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": _MODEL, "stream": {"type": "boolean"}},
    "additionalProperties": True,
}
_NAMED = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "string"}},
    "additionalProperties": True,
}


def paths() -> dict[str, dict[str, Any]]:
    """OpenAPI path items by path."""
    found: dict[str, dict[str, Any]] = {}
    for path, form in TALKS.items():
        found[path] = {"post": _operation(path, _ASK, stream=_stream_type(form))}
    for path in FACES:
        found[path] = {"post": _operation(path, _NAMED)}
    for method, path in ROUTES:
        shown = path.replace("*", "{name}")
        body = _NAMED if method == "POST" else None
        found.setdefault(shown, {})[method.lower()] = _operation(path, body)
    return found


def _name(path: str) -> str:
    """A name for programs: `gateway_v1_models`, `gateway_v1_models_one`."""
    parts = [part for part in path.replace("*", "one").split("/") if part]
    return "_".join(["gateway", *(parts or ["alive"])])


def _stream_type(form: Format) -> str:
    return codec(form).stream_type.partition(";")[0]


def _operation(path: str, body: Mapping[str, Any] | None, *, stream: str = "") -> dict[str, Any]:
    answer = {_JSON: {"schema": {"type": "object"}}}
    if stream:
        answer[stream] = {"schema": {"type": "string"}}
    operation: dict[str, Any] = {
        "operationId": _name(path),
        "summary": _SUMMARIES[path],
        "parameters": [],
        "responses": {
            "200": {"description": "Done", "content": answer},
            "default": {
                "description": "An error in the caller's own format",
                "content": {_JSON: {"schema": {"type": "object", "required": ["error"]}}},
            },
        },
        "security": [{"token": []}, {}],
        "x-access": "gateway",
    }
    if path.endswith("*"):
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        operation["parameters"] = [name]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": dict(body)}}}
    return operation
