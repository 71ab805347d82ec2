"""What an engine is asked for beside the work itself: the context to load a model with, and how long to keep it."""

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.fleet import EndpointView, ModelAt
from ostler.scheduling.books import Books

KEEP_LOADED_S = 1_800
"""How long the engine of a managed host is told to keep a model after a call: who decides about its leaving is us."""

CONTEXT_MIN_TOKENS = 4_096
"""Nothing is loaded with less: what an engine takes by itself."""


def engine_terms(books: Books, spec: EndpointSpec, model: str) -> tuple[int | None, int | None]:
    """(context in tokens, seconds to keep the model); `None` = the engine's own."""
    if spec.kind is not EndpointKind.OLLAMA:
        return None, None
    known = books.policy.catalog.models.get(model)
    context_tokens = known.context_tokens if known is not None else None
    held = books.hosts.of(ModelAt(spec.name, model))
    if held is None:
        return context_tokens, None
    if held.context_tokens is not None:
        context_tokens = held.context_tokens  # another size would load it anew
    return context_tokens, KEEP_LOADED_S


def live_terms(books: Books, view: EndpointView, model: str, need_tokens: int) -> tuple[int | None, int | None]:
    """As `engine_terms`, for a live call that needs so much context. What is loaded is named as it is if it is enough,
    because a call that names another size, or none, has the engine load anew; else it is a size with room to grow.
    """
    context_tokens, keep_alive_s = engine_terms(books, view.spec, model)
    if view.spec.kind is not EndpointKind.OLLAMA or keep_alive_s is not None:
        return context_tokens, keep_alive_s
    loaded = view.loaded_context(model)
    if loaded is not None and loaded >= need_tokens:
        return loaded, None
    if context_tokens is not None or (loaded is None and need_tokens <= CONTEXT_MIN_TOKENS):
        return context_tokens, None
    return min(context_step(need_tokens), view.windows.get(model) or need_tokens * 2), None


def context_step(need_tokens: int) -> int:
    """The context to load for a need: powers of two, so that the next longer call mostly fits too.

    >>> context_step(100), context_step(5_000), context_step(8_192)
    (4096, 8192, 8192)
    """
    return max(CONTEXT_MIN_TOKENS, 1 << (need_tokens - 1).bit_length())
