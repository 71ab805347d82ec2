"""Loads and unloads that the scheduler asks for, carried out on simulated machines: one under way on each host.

What goes first leaves in the order given, each after the one before; then the model is loaded; then the scheduler hears
of all of it in one signal. A machine that goes away in between ends its swap as failed.
"""

from collections.abc import Callable

import msgspec

from ostler.domain.fleet import Unloaded
from ostler.domain.states import Failure, FailureClass
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.simulate.virtual.ground import Ground
from ostler.simulate.virtual.sites import LOST, Machine, Order

KEEP_LOADED_MS = 1_800_000
"""What is loaded on request stays so long once it is idle, as the hub's own drivers ask for."""


class _Swap(msgspec.Struct, kw_only=True):
    """One swap under way."""

    wish: LoadModel | UnloadModel
    started_ms: int
    step_ms: int
    """When the step that is under way began."""
    leaving: list[str]
    """Models still to leave, the first one first."""
    number: int | None = None
    """Number of the load, once it is asked for."""
    unloaded: list[Unloaded] = []


class Swaps:
    """All swaps of a run. `tell` hands a signal to the scheduler, `next_number` gives numbers no call has."""

    def __init__(self, ground: Ground, tell: Callable[[sig.Signal], None], next_number: Callable[[], int]) -> None:
        self._ground = ground
        self._tell = tell
        self._next_number = next_number
        self._under_way: dict[str, _Swap] = {}
        self._by_number: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, wish: LoadModel | UnloadModel) -> None:
        """Begin a swap."""
        site = self._ground.site_of(wish.endpoint).name
        now_ms = self._ground.timeline.time_ms
        leaving = [gone.model for gone in wish.evict] if isinstance(wish, LoadModel) else [wish.model]
        self._under_way[site] = _Swap(wish=wish, started_ms=now_ms, step_ms=now_ms, leaving=leaving, unloaded=[])
        if leaving:
            self._leave(site)
        else:
            self._ground.timeline.at(now_ms, lambda: self._advance(site))

    def unloaded(self, site: str, model: str) -> None:
        """A model has left the memory of a machine."""
        swap = self._under_way.get(site)
        if swap is None or not swap.leaving or swap.leaving[0] != model:
            return
        now_ms = self._ground.timeline.time_ms
        endpoint = self._endpoint_of(swap, model)
        swap.unloaded.append(Unloaded(endpoint=endpoint, model=model, unload_ms=now_ms - swap.step_ms))
        swap.leaving.pop(0)
        self._advance(site)

    def ended(self, number: int) -> bool:
        """A load has ended well; `False` when the number is not that of a load."""
        site = self._by_number.pop(number, None)
        if site is not None:
            self._close(site, None)
        return site is not None

    def failed(self, number: int, message: str) -> bool:
        """A load came to nothing; `False` when the number is not that of a load."""
        site = self._by_number.pop(number, None)
        if site is not None:
            self._close(site, message)
        return site is not None

    def lost(self, site: str) -> None:
        """The machine went away."""
        if site in self._under_way:
            self._close(site, LOST)

    def _leave(self, site: str) -> None:
        machine, swap = self._machine(site), self._under_way[site]
        swap.step_ms = self._ground.timeline.time_ms
        model = swap.leaving[0]
        if model in machine.ready:
            machine.unload(model)
        elif model not in machine.unloading:
            swap.leaving.pop(0)
            self._ground.timeline.at(swap.step_ms, lambda: self._advance(site))

    def _advance(self, site: str) -> None:
        swap = self._under_way.get(site)
        if swap is None or swap.number is not None:
            return
        if swap.leaving:
            self._leave(site)
            return
        wish = swap.wish
        if isinstance(wish, UnloadModel):
            self._close(site, None)
            return
        swap.number = self._next_number()
        swap.step_ms = self._ground.timeline.time_ms
        self._by_number[swap.number] = site
        load = Order(number=swap.number, model=wish.model, load_only=True, keep_alive_ms=KEEP_LOADED_MS)
        self._machine(site).call(load)

    def _close(self, site: str, message: str | None) -> None:
        swap = self._under_way.pop(site)
        wish, now_ms = swap.wish, self._ground.timeline.time_ms
        failure = None
        if message is not None:
            failure = Failure(kind=FailureClass.SERVER, message=message, at_ms=now_ms)
        if isinstance(wish, UnloadModel):
            self._tell(
                sig.UnloadEnded(
                    endpoint=wish.endpoint,
                    model=wish.model,
                    started_ms=swap.started_ms,
                    at_ms=now_ms,
                    unload_ms=sum(gone.unload_ms for gone in swap.unloaded),
                    failure=failure,
                )
            )
            return
        residents = () if failure is not None else self._machine(site).residents()
        self._tell(
            sig.LoadEnded(
                endpoint=wish.endpoint,
                model=wish.model,
                context_tokens=wish.context_tokens,
                started_ms=swap.started_ms,
                at_ms=now_ms,
                load_ms=now_ms - swap.step_ms if swap.number is not None else 0,
                unloaded=tuple(swap.unloaded),
                resident=next((known for known in residents if known.model == wish.model), None),
                failure=failure,
            )
        )

    def _endpoint_of(self, swap: _Swap, model: str) -> str:
        wish = swap.wish
        if isinstance(wish, LoadModel):
            return next((gone.endpoint for gone in wish.evict if gone.model == model), wish.endpoint)
        return wish.endpoint

    def _machine(self, site: str) -> Machine:
        machine = self._ground.sites[site]
        assert isinstance(machine, Machine), "only machines hold models"  # noqa: S101 -- the scheduler's own promise
        return machine
