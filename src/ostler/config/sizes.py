"""How large a local model is, from its listing or its name: all that tells a small from a strong one unseen."""

import re

import msgspec

STRONG_BILLIONS = 14.0
"""From this many parameters (in billions) on, a local model counts as strong."""
BYTES_PER_PARAMETER = 0.62
"""Of the four-bit files that local engines serve by default: 7B is 4.7 GB, 32B is 20 GB, 70B is 40 GB."""

_SIZE_IN_NAME = re.compile(r"(?<![\w.])e?(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
_EMBEDDING_NAMES = ("embed", "bge-", "all-minilm", "e5-")
_CLOUD_TAGS = ("-cloud", ":cloud")


class FoundModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a listing shows it."""

    name: str
    size_bytes: int | None = None
    parameters_billions: float | None = None
    context_tokens: int | None = None
    embedding: bool = False
    """The listing says that it makes embeddings."""


def size_billions(model: FoundModel) -> float | None:
    """Parameters in billions: as listed, as named, or guessed from the size of the file; `None` = unknown.

    >>> size_billions(FoundModel(name="coder:32b-instruct-128k")), size_billions(FoundModel(name="mixtral:8x7b"))
    (32.0, 56.0)
    """
    if model.parameters_billions is not None:
        return model.parameters_billions
    match = _SIZE_IN_NAME.search(model.name.lower())
    if match is not None:
        experts, number, unit = match.groups()
        return int(experts or 1) * float(number) / (1 if unit == "b" else 1000)
    if model.size_bytes is not None:
        return model.size_bytes / BYTES_PER_PARAMETER / 1e9
    return None


def is_embedding(model: FoundModel) -> bool:
    """Whether a model only makes embeddings, by its listing or its name."""
    return model.embedding or any(word in model.name.lower() for word in _EMBEDDING_NAMES)


def runs_in_cloud(model: FoundModel) -> bool:
    """Whether a local engine only forwards to a cloud, as Ollama does for models with such a tag."""
    return model.name.lower().endswith(_CLOUD_TAGS)
