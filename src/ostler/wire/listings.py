"""What these APIs answer beside answers of models: lists of models, counts of tokens, versions, loads. Pure builders.

They are made of what a gateway knows of its models (`Listed`), which may be little: what is not known is left out, or
is the format's own word for nothing where a client demands the field.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2s

import msgspec

from ostler.domain.errors import InvalidInputError, nearest
from ostler.wire.ollama_shapes import timestamp
from ostler.wire.talk import Json

PAGE = 20
PAGE_MAX = 1000
"""Sizes of a page of Anthropic's list: by default, and at most."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a client may know it."""

    name: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: tuple[str, ...] = ()
    """In Ollama's words: `completion`, `tools`, `vision`, `thinking`, `embedding`."""
    size_bytes: int = 0
    vram_bytes: int = 0
    family: str = ""
    parameters: str = ""
    """Size in parameters, such as `8B`."""
    quantization: str = ""
    file_format: str = ""
    digest: str = ""
    owner: str = "ostler"
    created_s: int = 0
    """When it was made or last changed; 0 = not known."""
    expires_s: int | None = None
    """Until when it stays in memory, if it is there and will not stay for ever."""


def openai_models(models: Iterable[Listed]) -> bytes:
    """`GET /v1/models` for clients of OpenAI's formats."""
    return msgspec.json.encode({"object": "list", "data": [_openai(model) for model in models]})


def openai_model(model: Listed) -> bytes:
    """`GET /v1/models/{name}` for clients of OpenAI's formats."""
    return msgspec.json.encode(_openai(model))


def anthropic_models(models: Sequence[Listed], *, limit: int = PAGE, after: str = "", before: str = "") -> bytes:
    """`GET /v1/models` for clients of Anthropic's format: a page of at most `limit`, behind the model `after` or, if
    that is not given, ahead of `before`. Raises `InvalidInputError` for a limit out of range or an unknown name.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidInputError(f"is {limit}", where="limit", remedy=f"ask for 1 to {PAGE_MAX} models")
    if after or not before:
        rest = models[_place(models, after, "after_id") + 1 if after else 0 :]
        page, more = rest[:limit], len(rest) > limit
    else:
        rest = models[: _place(models, before, "before_id")]
        page, more = rest[-limit:], len(rest) > limit
    return msgspec.json.encode({
        "data": [_anthropic(model) for model in page],
        "has_more": more,
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
    })  # fmt: skip


def anthropic_model(model: Listed) -> bytes:
    """`GET /v1/models/{name}` for clients of Anthropic's format."""
    return msgspec.json.encode(_anthropic(model))


def anthropic_count(input_tokens: int) -> bytes:
    """`POST /v1/messages/count_tokens`."""
    return msgspec.json.encode({"input_tokens": input_tokens})


def ollama_tags(models: Iterable[Listed]) -> bytes:
    """`GET /api/tags`: models that can be asked."""
    return msgspec.json.encode({
        "models": [_ollama(model) | {"modified_at": timestamp(model.created_s)} for model in models]
    })  # fmt: skip


def ollama_ps(models: Iterable[Listed]) -> bytes:
    """`GET /api/ps`: models in memory. One that stays for ever has an end in the far future, as Ollama tells it."""
    rows = []
    for model in models:
        row = _ollama(model) | {
            "expires_at": timestamp(_FAR_S if model.expires_s is None else model.expires_s),
            "size_vram": model.vram_bytes,
        }
        rows.append(row | ({} if model.context_tokens is None else {"context_length": model.context_tokens}))
    return msgspec.json.encode({"models": rows})


def ollama_show(model: Listed) -> bytes:
    """`POST /api/show`. The window is filed under the architecture, as clients look it up."""
    architecture = model.family or "unknown"
    info: Json = {"general.architecture": architecture}
    if model.context_tokens is not None:
        info[f"{architecture}.context_length"] = model.context_tokens
    return msgspec.json.encode({
        "parameters": "",
        "template": "",
        "details": _details(model),
        "model_info": info,
        "capabilities": list(model.capabilities),
        "modified_at": timestamp(model.created_s),
    })  # fmt: skip


def ollama_version(version: str) -> bytes:
    """`GET /api/version`."""
    return msgspec.json.encode({"version": version})


def ollama_loaded(name: str, created_s: int, *, chat: bool, unloaded: bool = False) -> bytes:
    """The answer to a request of `/api/chat` or `/api/generate` that only loads or unloads a model."""
    said: Json = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
    reason = "unload" if unloaded else "load"
    return msgspec.json.encode(
        {"model": name, "created_at": timestamp(created_s)} | said | {"done": True, "done_reason": reason}
    )


_FAR_S = 253_370_764_800
"""The year 9999, the last one that a time stamp of four digits can say."""


def _openai(model: Listed) -> Json:
    row: Json = {"id": model.name, "object": "model", "created": model.created_s, "owned_by": model.owner}
    # The official fields say nothing of the window; clients read this one, which vLLM made known.
    return row | ({} if model.context_tokens is None else {"max_model_len": model.context_tokens})


def _anthropic(model: Listed) -> Json:
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name,
        "created_at": timestamp(model.created_s),
        "lifecycle": "active",
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
    }


def _ollama(model: Listed) -> Json:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        # Clients tell models apart by it: where weights have no digest that is known here, the name's stands for it.
        "digest": model.digest or blake2s(model.name.encode()).hexdigest(),
        "details": _details(model),
    }


def _details(model: Listed) -> Json:
    return {
        "parent_model": "",
        "format": model.file_format,
        "family": model.family,
        "families": [model.family] if model.family else [],
        "parameter_size": model.parameters,
        "quantization_level": model.quantization,
    }


def _place(models: Sequence[Listed], name: str, where: str) -> int:
    names = [model.name for model in models]
    if name not in names:
        raise InvalidInputError(f"'{name}' is no model here", where=where, remedy=nearest(name, names))
    return names.index(name)
