"""Loading and unloading at llama.cpp's own server, where it serves several models (its router mode). Shell.

Such a server says of each listed model whether it is loaded; others of this protocol say nothing, and cannot load. It
answers an order at once and does the work afterwards, so the listing is asked until it shows the end. An order for what
is there already is refused by it; here it is done.

A model that sleeps takes its memory back with the next call, so it counts as loaded.

Invariant: a load that returns was listed as loaded, an unload that returns was listed as gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from ostler.domain.calls import CallError
from ostler.domain.catalog import normal_model
from ostler.domain.errors import nearest
from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass

POLL_S = 0.1
LOAD, UNLOAD = "/models/load", "/models/unload"
_HELD = frozenset({"loaded", "sleeping"})
_COMING = frozenset({"loading", "downloading"})


class ListedModel(msgspec.Struct):
    """A model in a listing, of whichever server."""

    id: str
    owned_by: str | None = None
    max_model_len: int | None = None
    """vLLM"""
    context_length: int | None = None
    """OpenRouter, Together"""
    context_window: int | None = None
    """Groq"""
    max_context_length: int | None = None
    """LM Studio, Mistral"""
    meta: dict[str, Any] | None = None
    """llama.cpp: `n_ctx` is the size it runs with, `size` its bytes"""
    status: Any = None
    """llama.cpp as a router: `{"value": "loaded" | "unloaded" | ...}`"""

    @property
    def state(self) -> str:
        """Whether it is loaded, in the router's words; empty = the server does not say."""
        value = self.status.get("value") if isinstance(self.status, dict) else None
        return value if isinstance(value, str) else ""

    @property
    def window(self) -> int | None:
        """Its context, under whichever name it is said."""
        meta = self.meta or {}
        listed = (self.max_model_len, self.context_length, self.context_window, self.max_context_length)
        for window in (*listed, meta.get("n_ctx"), meta.get("n_ctx_train")):
            if isinstance(window, int) and window > 0:
                return window
        return None

    @property
    def resident(self) -> Resident:
        """The model as what is in memory."""
        size = (self.meta or {}).get("size")
        return Resident(
            model=normal_model(self.id),
            context_tokens=self.window,
            size_bytes=size if isinstance(size, int) and size > 0 else None,
        )


class ListedModels(msgspec.Struct):
    """A listing."""

    data: list[ListedModel]


Order = Callable[[str, Mapping[str, object]], Awaitable[object]]
"""Sends an order: path below the root of the server, and body. Raises `CallError`."""
Listing = Callable[[], Awaitable[ListedModels]]
"""Asks for the listing. Raises `CallError`."""


def residents(models: Iterable[ListedModel]) -> tuple[Resident, ...] | None:
    """What is loaded; `None` where the server does not say."""
    models = tuple(models)
    if not any(model.state for model in models):
        return None
    return tuple(model.resident for model in models if model.state in _HELD)


async def load(model: str, order: Order, listing: Listing) -> Resident:
    """Have a model loaded. Raises `CallError`; the caller bounds the waiting."""
    refused = await _refused(order(LOAD, {"model": await _called(model, listing)}))
    while True:
        found = await _listed(model, listing)
        state = found.state if found is not None else ""
        if found is not None and state in _HELD:
            return found.resident
        if found is None and refused is not None:  # its refusal says only that something was not found
            remedy = nearest(model, [one.id for one in (await listing()).data])
            raise CallError(refused.kind, f"llama.cpp has no model {model} to load; {remedy}")
        if state not in _COMING:
            raise refused or CallError(FailureClass.SERVER, _not_loaded(model, found))
        await asyncio.sleep(POLL_S)


async def unload(model: str, order: Order, listing: Listing) -> None:
    """Have a model gone. Raises `CallError`; the caller bounds the waiting."""
    refused = await _refused(order(UNLOAD, {"model": await _called(model, listing)}))
    while (found := await _listed(model, listing)) is not None and found.state in _HELD | _COMING:
        if refused is not None:
            raise refused
        await asyncio.sleep(POLL_S)


async def _refused(order: Awaitable[object]) -> CallError | None:
    """The refusal of an order by a server that answers; the listing tells whether it matters. Raises all others."""
    try:
        await order
    except CallError as error:
        if error.kind in {FailureClass.NETWORK, FailureClass.AUTH}:
            raise
        return error
    return None


async def _listed(model: str, listing: Listing) -> ListedModel | None:
    name = normal_model(model)
    return next((found for found in (await listing()).data if normal_model(found.id) == name), None)


async def _called(model: str, listing: Listing) -> str:
    """The name by which the server knows the model: it takes no other spelling."""
    found = await _listed(model, listing)
    return model if found is None else found.id


def _not_loaded(model: str, found: ListedModel | None) -> str:
    code = found.status.get("exit_code") if found is not None and isinstance(found.status, dict) else None
    how = "" if code is None else f": its process ended with code {code}"
    return f"llama.cpp could not load {model}{how}; the server's log says why"
