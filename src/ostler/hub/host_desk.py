"""The desk for what is in the memory of hosts: shows it, and passes on what people want loaded, unloaded or pinned.

The scheduler decides whether a wish can be; it refuses before anything changes. Whoever waits for the end of a change
watches the host's book: a change has ended when the book no longer holds it. Where no host is named (`ANY_HOST`), a
model is loaded where it is there soonest, and unloaded where it is.

The comparison with first-in-first-out is a simulation over the tasks of the last hour (`comparison`).
"""

import asyncio
import contextlib
from collections.abc import Iterable

from ostler.domain.catalog import normal_model
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, nearest
from ostler.domain.fleet import HeldPhase, ModelAt
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.hub.comparison import Compared, Comparison, SavedBy
from ostler.hub.fleet_views import HostList, HostRow, LoadOrder, ModelChange, ModelList, SwapOrder, UnloadOrder
from ostler.hub.hosts_view import host_rows, model_rows
from ostler.hub.pump import Pump
from ostler.scheduling.books import Books
from ostler.scheduling.hosts import HostBook, Swap
from ostler.scheduling.signals import PinModel, WantLoad, WantUnload
from ostler.scheduling.swap_costs import SwapCosts

ANY_HOST = "any"
COUNTED_TASKS_MAX = 1_000
LOOK_AGAIN_S = 1.0
_ENDED = tuple(sorted(FINAL_STATES))


class SwapFailedError(ConflictError):
    """A model could not be put in the place of another one, or failed to load."""

    code = "model_swap_failed"
    type = "MODEL_SWAP_FAILED"


class HostDesk:
    """Hosts and models."""

    def __init__(self, pump: Pump, store: Store, saved_by: SavedBy | None = None) -> None:
        self._pump = pump
        self._store = store
        self._comparison = Comparison(pump, store, saved_by)

    @property
    def _books(self) -> Books:
        return self._pump.scheduler.books

    async def hosts(self, *, saved: bool) -> HostList:
        """All hosts; with `saved` also the simulated comparison of the last hour."""
        found = await self._comparison.newest() if saved else Compared()
        now_ms = self._pump.clock.now_ms()
        return HostList(
            hosts=host_rows(self._books, now_ms),
            now_ms=now_ms,
            saved=found.saved,
            saved_at_ms=found.at_ms if found.saved is not None else None,
            not_saved_because=found.why_not,
        )

    async def stop(self) -> None:
        """Compare no longer. Safe to repeat."""
        await self._comparison.stop()

    async def models(self) -> ModelList:
        """All models, with the successes among the newest tasks that ended."""
        tasks = await self._store.tasks(TaskQuery(states=_ENDED, limit=COUNTED_TASKS_MAX))
        now_ms = self._pump.clock.now_ms()
        return ModelList(models=model_rows(self._books, now_ms, _ended(tasks)), now_ms=now_ms, counted=len(tasks))

    async def load(self, host: str, order: LoadOrder) -> ModelChange:
        """Load a model. Raises `NotFoundError` or `ConflictError` when it cannot be, `SwapFailedError` if it fails."""
        model = self._model(order.model)
        evict = tuple(self._model(name) for name in order.evict)
        anywhere = self._is_any(host)
        endpoint = self._soonest(model) if anywhere else self._endpoint(host, order.endpoint, model, loaded=False)
        wish = WantLoad(endpoint=endpoint, model=model, evict=evict, drain=order.drain)
        return await self._change(wish, order.wait_ms)

    async def unload(self, host: str, order: UnloadOrder) -> ModelChange:
        """Unload a model. Raises as `load`."""
        model = self._model(order.model)
        anywhere = self._is_any(host)
        endpoint = self._where(model).endpoint if anywhere else self._endpoint(host, order.endpoint, model, loaded=True)
        return await self._change(WantUnload(endpoint=endpoint, model=model, drain=order.drain), order.wait_ms)

    async def pin(self, host: str, model: str, *, pinned: bool) -> HostRow:
        """Keep a model on a host whatever else waits, or allow its eviction again. Holds until the hub stops."""
        book, model = self._book(host), self._model(model)
        serving = [self._books.endpoints.views[name] for name in book.endpoints]
        if not any(view.serves(model) for view in serving):
            known = {name for view in serving for name in view.models}
            raise NotFoundError(f"{host} does not have {model}", where="model", remedy=nearest(model, known))
        await self._pump.post(PinModel(host=host, model=model, pinned=pinned))
        rows = host_rows(self._books, self._pump.clock.now_ms())
        return next(row for row in rows if row.name == host)

    async def swap(self, order: SwapOrder) -> ModelChange:
        """Put a model in the place of another one. Raises `SwapFailedError` for whatever is in the way."""
        old, new = self._model(order.old), self._model(order.new)
        if old == new:
            what = f"{new} cannot be loaded in place of itself"
            raise InvalidInputError(what, where="to", remedy="name two models")
        try:
            at = self._where(old, order.host)
            wish = WantLoad(endpoint=at.endpoint, model=new, evict=(old,), drain=order.drain)
            return await self._change(wish, order.wait_ms)
        except SwapFailedError:
            raise
        except ConflictError as error:
            raise SwapFailedError(error.what, where=error.where, remedy=error.remedy) from None

    async def _change(self, wish: WantLoad | WantUnload, wait_ms: int) -> ModelChange:
        book = self._book_of(wish.endpoint)
        begun_ms = self._pump.clock.now_ms()
        stored = self._pump.start_signal(wish)
        swap = None if book is None else book.swap  # before anything else is awaited: it is the one just decided
        await asyncio.shield(stored)
        if book is None or swap is None:
            raise ConflictError(f"what is loaded on {wish.endpoint} is left to itself", where="endpoint")
        ended = await self._ended(book, swap, wait_ms)
        now_ms = self._pump.clock.now_ms()
        if ended:
            self._check_done(book, swap)
        return ModelChange(
            kind=swap.kind.value,
            host=book.name,
            endpoint=swap.at.endpoint,
            model=swap.at.model,
            evict=tuple(at.model for at in swap.evict if at != swap.at),
            under_way=not ended,
            ready_ms=now_ms if ended else swap.ready_ms,
            took_ms=now_ms - begun_ms if ended else None,
            now_ms=now_ms,
        )

    async def _ended(self, book: HostBook, swap: Swap, wait_ms: int) -> bool:
        """Wait until a change has ended, at most so long; whether it has."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + wait_ms / 1000
        while book.swap is swap and not self._pump.closing and (left_s := end_s - loop.time()) > 0:
            # The bound makes up for news that came between the look and the wait.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_AGAIN_S, left_s)), self._pump.news:
                    await self._pump.news.wait()
        return book.swap is not swap

    def _check_done(self, book: HostBook, swap: Swap) -> None:
        """Raises `SwapFailedError` when a change that has ended did not come to what was wanted."""
        held = book.held.get(swap.at)
        if swap.kind.value == "unload":
            if held is None or held.phase is HeldPhase.LOADING:
                return
            what = f"{swap.at.model} is still loaded on {swap.at.endpoint}"
            raise SwapFailedError(what, where="model", remedy="its engine did not let it go; 'ostler events' tells why")
        if held is not None:
            return
        _, message = book.failed.get(swap.at.model, (0, "its endpoint went away, or it was taken back"))
        what = f"{swap.at.model} could not be loaded on {book.name}: {message}"
        raise SwapFailedError(what, where="model", remedy="try again later, or look at its engine")

    def _model(self, name: str) -> str:
        """A model's own name."""
        own = normal_model(name)
        catalog = self._books.policy.catalog
        own = catalog.model_aliases.get(own, own)
        known = {*catalog.models, *(model for view in self._books.endpoints.views.values() for model in view.models)}
        if own not in known:
            remedy = nearest(name, {*known, *catalog.model_aliases})
            raise NotFoundError(f"there is no model {name}", where="model", remedy=remedy)
        return own

    def _book(self, host: str) -> HostBook:
        book = self._books.hosts.books.get(host)
        if book is not None:
            return book
        rows = {row.name: row for row in host_rows(self._books, self._pump.clock.now_ms())}
        if host not in rows:
            raise NotFoundError(f"there is no host {host}", where="host", remedy=nearest(host, rows))
        what = f"what is loaded on {host} is left to its engine"
        raise ConflictError(what, where="host", remedy=rows[host].unmanaged_because)

    def _book_of(self, endpoint: str) -> HostBook | None:
        return self._books.hosts.of_endpoint(endpoint)

    def _endpoint(self, host: str, named: str | None, model: str, *, loaded: bool) -> str:
        """The endpoint of a host that is meant: as named, else the first that has the model (in memory)."""
        book = self._book(host)
        if named is not None:
            if named not in book.endpoints:
                what = f"{named} is no managed endpoint of {host}"
                raise NotFoundError(what, where="endpoint", remedy=nearest(named, book.endpoints))
            return named
        views = self._books.endpoints.views
        serving = [name for name in book.endpoints if views[name].serves(model)]
        holding = [name for name in book.endpoints if ModelAt(name, model) in book.held]
        found = holding or serving if loaded else serving
        if not found:
            known = {name for endpoint in book.endpoints for name in views[endpoint].models}
            raise NotFoundError(f"{host} does not have {model}", where="model", remedy=nearest(model, known))
        return found[0]

    def _is_any(self, host: str) -> bool:
        """Whether no host in particular is meant; one of that name goes before."""
        return host == ANY_HOST and host not in self._books.hosts.books

    def _soonest(self, model: str) -> str:
        """The managed endpoint that would have a model soonest."""
        books = self._books
        serving = books.endpoints.by_model.get(model, ())
        managed = [name for name in serving if books.hosts.of_endpoint(name) is not None]
        if not managed:
            remedy = "declare the memory of a host that has it, under 'hosts' in the profile"
            raise NotFoundError(f"no managed host has {model}", where="model", remedy=remedy)
        absent = [ModelAt(name, model) for name in managed if books.hosts.of(ModelAt(name, model)) is None]
        if not absent:
            remedy = "'ostler hosts' shows where"
            raise ConflictError(f"{model} is loaded wherever it can be", where="model", remedy=remedy)
        costs = SwapCosts(books, self._pump.clock.now_ms())
        return min(absent, key=lambda at: (not costs[at].possible, costs[at].total_ms, at)).endpoint

    def _where(self, model: str, host: str | None = None) -> ModelAt:
        """Where a model is usable; of several places an idle one first, then by name."""
        books = [self._book(host)] if host is not None else list(self._books.hosts.books.values())
        places: Iterable[ModelAt] = (
            held.at
            for book in books
            for held in book.held.values()
            if held.at.model == model and held.phase is HeldPhase.READY
        )
        found = sorted(places, key=lambda at: (self._books.hosts.busy(at) > 0, at))
        if not found:
            what = f"{model} is loaded on no managed host" if host is None else f"{model} is not loaded on {host}"
            held = sorted({held.at.model for book in books for held in book.held.values()})
            remedy = f"loaded are {', '.join(held)}" if held else "nothing is loaded on a managed host"
            raise ConflictError(what, where="model", remedy=remedy)
        return found[0]


def _ended(tasks: Iterable[Task]) -> dict[str, tuple[int, int]]:
    """Model -> tasks that ended well and badly on it; cancelled ones say nothing about it."""
    found: dict[str, tuple[int, int]] = {}
    for task in tasks:
        if task.model is None or task.state is TaskState.CANCELLED:
            continue
        good, bad = found.get(task.model, (0, 0))
        done = task.state is TaskState.SUCCEEDED
        found[task.model] = (good + done, bad + (not done))
    return found
