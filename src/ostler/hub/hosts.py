"""The desk for hosts: what managed hosts hold, and what people wish of them. For the faces that show and offer it.

A wish names a model by any of its names; without an endpoint, the one is taken that holds the model (to unload it) or
that would have it soonest (to load it). Wishes go through the scheduler as signals, which refuses them before anything
changes: a `ConflictError` or `NotFoundError` says what is in the way. A wish that was taken has begun, not ended; its
end is an event (`model.loaded`, `model.unloaded`, `model.load_failed`).
"""

import msgspec

from ostler.domain.catalog import normal_model
from ostler.domain.errors import ConflictError, NotFoundError, nearest
from ostler.domain.fleet import HeldPhase, ModelAt
from ostler.hub.pump import Pump
from ostler.scheduling.host_views import HostView, ModelQueue, SpeedView, host_views, model_queues, speed_views
from ostler.scheduling.signals import PinModel, WantLoad, WantUnload
from ostler.scheduling.swap_costs import SwapCosts


class HostList(msgspec.Struct, frozen=True, kw_only=True):
    """All managed hosts, what waits for which model on them, and every speed that was measured."""

    hosts: tuple[HostView, ...]
    queues: tuple[ModelQueue, ...]
    speeds: tuple[SpeedView, ...]
    now_ms: int


class HostDesk:
    """Managed hosts by name."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    def hosts(self) -> HostList:
        """All of them, by name."""
        books, now_ms = self._pump.scheduler.books, self._pump.clock.now_ms()
        return HostList(
            hosts=host_views(books, now_ms), queues=model_queues(books), speeds=speed_views(books), now_ms=now_ms
        )

    async def load(self, model: str, endpoint: str | None = None) -> ModelAt:
        """Have a model loaded; returns where. Raises `NotFoundError` or `ConflictError`."""
        name = self.model_name(model)
        at = ModelAt(endpoint or self._soonest(name), name)
        await self._pump.post(WantLoad(endpoint=at.endpoint, model=at.model))
        return at

    async def unload(self, model: str, endpoint: str | None = None) -> ModelAt:
        """Have a model unloaded; returns where. Raises `NotFoundError` or `ConflictError`."""
        name = self.model_name(model)
        at = ModelAt(endpoint or self._holding(name), name)
        await self._pump.post(WantUnload(endpoint=at.endpoint, model=at.model))
        return at

    async def swap(self, from_model: str, to_model: str, endpoint: str | None = None) -> ModelAt:
        """Have one model loaded instead of another on the endpoint that holds it; returns what is being loaded."""
        leaving, coming = self.model_name(from_model), self.model_name(to_model)
        if leaving == coming:
            raise ConflictError(f"{coming} cannot be loaded instead of itself", where="to")
        place = endpoint or self._holding(leaving)
        await self._pump.post(WantLoad(endpoint=place, model=coming, evict=(leaving,)))
        return ModelAt(place, coming)

    async def pin(self, host: str, model: str, *, pinned: bool) -> None:
        """Never evict a model from a host, or allow it again; holds until the hub stops."""
        await self._pump.post(PinModel(host=host, model=self.model_name(model), pinned=pinned))

    def model_name(self, name: str) -> str:
        """The normalised name of a model that is called by any of its names. Raises `NotFoundError`."""
        books = self._pump.scheduler.books
        catalog, plain = books.policy.catalog, normal_model(name)
        meant = catalog.model_aliases.get(plain, catalog.model_aliases.get(name, plain))
        known = {*catalog.models, *books.endpoints.by_model}
        if meant not in known:
            raise NotFoundError(f"no model {name}", where="model", remedy=nearest(name, known))
        return meant

    def _holding(self, model: str) -> str:
        """The endpoint that holds a model, the first by name. Raises `NotFoundError`."""
        hosts = self._pump.scheduler.books.hosts
        places = [
            at.endpoint
            for book in hosts.books.values()
            for at, held in book.held.items()
            if at.model == model and held.phase in {HeldPhase.READY, HeldPhase.LEAVING}
        ]
        if not places:
            held = sorted({at.model for book in hosts.books.values() for at in book.held})
            remedy = f"loaded are {', '.join(held)}" if held else "nothing is loaded on a managed host"
            raise NotFoundError(f"{model} is loaded on no managed host", where="model", remedy=remedy)
        return min(places)

    def _soonest(self, model: str) -> str:
        """The managed endpoint that would have a model soonest. Raises `NotFoundError` or `ConflictError`."""
        books, now_ms = self._pump.scheduler.books, self._pump.clock.now_ms()
        serving = books.endpoints.by_model.get(model, ())
        managed = [name for name in serving if books.hosts.of_endpoint(name) is not None]
        if not managed:
            remedy = "declare the memory of a host that has it, under 'hosts' in the profile"
            raise NotFoundError(f"no managed host has {model}", where="model", remedy=remedy)
        absent = [name for name in managed if books.hosts.of(ModelAt(name, model)) is None]
        if not absent:
            raise ConflictError(f"{model} is loaded wherever it can be", where="model")
        costs = SwapCosts(books, now_ms)
        return min(absent, key=lambda name: (not costs[ModelAt(name, model)].possible, _soon(costs, name, model), name))


def _soon(costs: SwapCosts, endpoint: str, model: str) -> int:
    return costs[ModelAt(endpoint, model)].total_ms
