"""What an engine is asked for beside the work itself: the context to load a model with, and how long to keep it."""

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.fleet import ModelAt
from ostler.scheduling.books import Books

KEEP_LOADED_S = 1_800
"""How long the engine of a managed host is told to keep a model after a call: who decides about its leaving is us."""


def engine_terms(books: Books, spec: EndpointSpec, model: str) -> tuple[int | None, int | None]:
    """(context in tokens, seconds to keep the model); `None` = the engine's own."""
    known = books.policy.catalog.models.get(model)
    context_tokens = known.context_tokens if known is not None and spec.kind is EndpointKind.OLLAMA else None
    held = books.hosts.of(ModelAt(spec.name, model))
    if held is None:
        return context_tokens, None
    if held.context_tokens is not None:
        context_tokens = held.context_tokens  # another size would load it anew
    return context_tokens, KEEP_LOADED_S
