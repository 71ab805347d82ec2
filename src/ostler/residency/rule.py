"""What to load next: one pure function for the live scheduler and the planner.

`next_move` looks at every pair of a want with work and a host that could serve it:

    1. Something to do: work waits, or (`prefetch`) comes soon enough that a load begun now is not early.
    2. A place: the host is allowed, open, carries out no other swap, and does not keep the models already.
    3. Replicas that exist or load clear the queue within `gamma` x the time this load would take: not another one.
    4. The cheapest sufficient eviction set. None: refused. Held or young residents end their time first.
    5. available = the slowest of the set drained and unloaded, then the loads one after the other.
       Work that only comes soon: refused while `available` ends before it comes, with an instant to look again.
    6. A resident of the set that work still waits for stays, unless the waiter is overdue (patience is an urgency
       without limit; of two overdue queues the older one wins), or more urgent by `theta` round trips of the swap, or
       other replicas of the resident clear its queue before this one would be.
    7. A resident that gets work at least as urgent within `look` x the swap stays: wait and see.
    8. score = `urgency_weight` x urgency + `work_weight` x waiting work / slots - available; work counts by
       `replica_share` where another replica exists.

Overdue wants come first, oldest first; then the best score; ties go to what is available sooner, then to names. The
answer is one `Load`, or a `Recheck` (the earliest instant at which waiting alone can change the answer), or `None`.
A waiter's patience is its caller's to watch: `Want.overdue` is an input.

Starvation bound, for one host: provided that whoever dispatches starts overdue work oldest first, an overdue waiter
waits only for waiters at least as old, and for the swaps between their models. Where patience is set, set a minimum
residence of some round trips too: under overload everything is overdue, and only that keeps the grouping alive.

Cost: wants x hosts, with a handful of integer operations each; a set of victims only where steps 1 to 3 let through.
Nothing is written in words unless asked: pass `considered` to have every pair with its verdict.
"""

import math
from typing import Final, NamedTuple

from ostler.residency.eviction import NOTHING, Eviction, cheapest_set, victims
from ostler.residency.state import READY, Footprint, HostState, State, Want

CHOSEN: Final = 0
NOT_ALLOWED: Final = 1
SERVED: Final = 2
HOST_BUSY: Final = 3
HOST_CLOSED: Final = 4
EXCLUDED: Final = 5
REPLICAS_SUFFICE: Final = 6
NO_ROOM: Final = 7
TOO_EARLY: Final = 8
VICTIM_WANTED: Final = 9
VICTIM_SOON: Final = 10
VERDICTS: Final = (
    "can be loaded",
    "not for this host",
    "is there already",
    "the host is busy with another swap",
    "the host waits after a failed swap",
    "the last swap to it failed here",
    "replicas clear the queue sooner than this load would",
    "no memory can be freed for it",
    "its work comes later than the load would be done",
    "work still waits for a model that would have to go",
    "a model that would have to go gets work as urgent within the time of the swap",
)


class Params(NamedTuple):
    """Setting of the rule. The defaults are those of live scheduling."""

    urgency_weight: float = 1.0
    work_weight: float = 1.0
    theta: float = math.inf
    """How many round trips of the swap more urgent a waiter must be to interrupt a queue. Infinite: never."""
    look: float = 1.0
    """How many swaps ahead a resident's coming work protects it."""
    gamma: float = 1.0
    """A replica is added only if the queue outlasts so many times its load."""
    prefetch: bool = True
    backfill: bool = True
    """For whoever dispatches: a draining model takes tasks that end before its drain does."""
    replica_share: float = 0.5
    min_stay_ms: int = 0
    """A model stays at least so long once it is usable."""


LIVE: Final = Params()


class Load(NamedTuple):
    """Make these models usable on that host, after the others have drained and left."""

    host: str
    models: tuple[str, ...]
    evict: tuple[str, ...]
    available_ms: int
    """From now until the last of the models is usable, by estimate."""
    score: float
    terms: tuple[tuple[str, float], ...]
    overdue: bool = False

    @property
    def model(self) -> str:
        """The first of the models: the only one, except for work that needs several at once."""
        return self.models[0]


class Recheck(NamedTuple):
    """Nothing to do now; ask again at that instant even if nothing happens."""

    at_ms: int


class Considered(NamedTuple):
    """A pair of models and host, and what became of it. `verdict` is a place in `VERDICTS`."""

    host: str
    models: tuple[str, ...]
    evict: tuple[str, ...]
    available_ms: int | None
    score: float | None
    verdict: int

    def said(self) -> str:
        """In words, for people: `qwen on box: work still waits for a model that would have to go (llama)`."""
        gone = f" ({', '.join(self.evict)})" if self.evict and self.verdict in {VICTIM_WANTED, VICTIM_SOON} else ""
        return f"{'+'.join(self.models)} on {self.host}: {VERDICTS[self.verdict]}{gone}"


class _Best:
    """The best pair so far, the earliest instant to look again, and the record if one is kept."""

    __slots__ = ("considered", "key", "move", "recheck_ms")

    def __init__(self, considered: list[Considered] | None) -> None:
        self.key: tuple[float, ...] | None = None
        self.move: Load | None = None
        self.recheck_ms: int | None = None
        self.considered = considered

    def again(self, at_ms: int) -> None:
        if self.recheck_ms is None or at_ms < self.recheck_ms:
            self.recheck_ms = at_ms

    def refuse(self, verdict: int, want: Want, host: HostState, eviction: Eviction = NOTHING) -> None:
        if self.considered is not None:
            self.considered.append(Considered(host.name, want.models, eviction.models, None, None, verdict))


def next_move(
    state: State, params: Params, now_ms: int, considered: list[Considered] | None = None
) -> Load | Recheck | None:
    """The best load now, or when to ask again. With `considered`, every pair looked at is appended to it."""
    best = _Best(considered)
    hosts = state.hosts if considered is not None else [host for host in state.hosts if host.swap is None]
    if not hosts:
        return None
    for want in state.wants:
        # 1. Something to do.
        if want.waiting or (want.soon and params.prefetch):
            _weigh_want(best, state, params, now_ms, want, hosts)
    if best.move is not None:
        return best.move
    return None if best.recheck_ms is None else Recheck(best.recheck_ms)


def _weigh_want(best: _Best, state: State, params: Params, now_ms: int, want: Want, hosts: list[HostState]) -> None:
    slots, clear_ms = _replicas(state, want, now_ms)
    models = want.models
    single = models[0] if len(models) == 1 else None
    limit_ms = clear_ms / params.gamma if slots and params.gamma > 0 else -1.0
    excluded = state.excluded
    for host in hosts:
        # 2. A place.
        verdict = CHOSEN
        if want.hosts is not None and host.name not in want.hosts:
            verdict = NOT_ALLOWED
        elif single is not None and single in host.residents:
            verdict = SERVED if host.residents[single].phase <= READY else HOST_BUSY
        elif any(model not in host.models for model in models):
            verdict = NOT_ALLOWED
        elif host.swap is not None:
            verdict = HOST_BUSY
        elif single is None and all(model in host.residents for model in models):
            verdict = SERVED
        elif host.closed_until_ms > now_ms:
            best.again(host.closed_until_ms)
            verdict = HOST_CLOSED
        elif excluded and any((host.name, model) in excluded for model in models):
            verdict = EXCLUDED
        # 3. Replicas suffice: for sure even if nothing had to be evicted.
        elif not want.overdue and slots and limit_ms <= _load_ms(host, want):
            verdict = REPLICAS_SUFFICE
        if verdict != CHOSEN:
            best.refuse(verdict, want, host)
        else:
            _weigh(best, state, params, now_ms, want, host, slots, limit_ms)


def _replicas(state: State, want: Want, now_ms: int) -> tuple[int, float]:
    """Slots of hosts that have or load all the want's models, and by when they would clear its queue, from now."""
    slots = 0
    late_ms = 0
    models = want.models
    for host in state.hosts:
        if any(not host.keeps(model) for model in models) or (want.hosts is not None and host.name not in want.hosts):
            continue
        here = min(host.models[model].slots for model in models)
        slots += here
        for model in models:
            resident = host.residents.get(model)
            ready_ms = resident.ready_ms if resident is not None else host.swap.ready_ms if host.swap else 0
            late_ms = max(late_ms, ready_ms - now_ms)
    if not slots:
        return 0, 0.0
    work_ms = want.work_ms if want.waiting else sum(soon.work_ms for soon in want.soon)
    return slots, late_ms + work_ms / slots


def _load_ms(host: HostState, want: Want) -> int:
    return sum(host.models[model].load_ms for model in want.models if model not in host.residents)


def _weigh(
    best: _Best,
    state: State,
    params: Params,
    now_ms: int,
    want: Want,
    host: HostState,
    slots: int,
    limit_ms: float,
) -> None:
    # 4. The cheapest sufficient set.
    eviction = _eviction(best, state, params, now_ms, want, host)
    if eviction is None:
        best.refuse(NO_ROOM, want, host)
        return
    # 5. When it would be usable; work that comes later still can wait.
    load_ms = _load_ms(host, want)
    available_ms = eviction.free_ms + load_ms
    urgency, work_ms = want.urgency, want.work_ms
    if not want.waiting:
        in_time = [soon for soon in want.soon if soon.at_ms <= now_ms + available_ms]
        if not in_time:
            best.again(min(want.soon).at_ms - available_ms)
            best.refuse(TOO_EARLY, want, host, eviction)
            return
        urgency = max(soon.urgency for soon in in_time)
        work_ms = sum(soon.work_ms for soon in in_time)
    if slots and limit_ms <= available_ms and not want.overdue:
        best.refuse(REPLICAS_SUFFICE, want, host, eviction)
        return
    # 6 and 7. What would have to go is wanted itself, or soon will be.
    if eviction.models and (verdict := _protected(state, params, now_ms, want, host, eviction, urgency)):
        best.refuse(verdict, want, host, eviction)
        return
    # 8. The score.
    here = min([host.models[model].slots for model in want.models], default=1)
    share = params.replica_share if slots else 1.0
    urgency_term, work_term = params.urgency_weight * urgency, params.work_weight * share * work_ms / here
    score = urgency_term + work_term - available_ms
    key = (1.0, -want.oldest_ms, score, -available_ms) if want.overdue else (0.0, 0.0, score, -available_ms)
    if best.considered is not None:
        best.considered.append(Considered(host.name, want.models, eviction.models, available_ms, score, CHOSEN))
    if best.key is None or key > best.key:
        terms = (("urgency_ms", urgency_term), ("work_ms", work_term), ("available_ms", -float(available_ms)))
        models = tuple(model for model in want.models if model not in host.residents)
        best.key = key
        best.move = Load(host.name, models, eviction.models, available_ms, score, terms, want.overdue)


def _eviction(best: _Best, state: State, params: Params, now_ms: int, want: Want, host: HostState) -> Eviction | None:
    if host.memory_bytes is None and host.max_resident is None:
        return NOTHING
    missing = [host.models[model] for model in want.models if model not in host.residents]
    short = 0
    if host.memory_bytes is not None:
        need = want.memory_bytes
        for footprint in missing:
            need += footprint.memory_bytes
        short = need + host.used_bytes - host.memory_bytes
    surplus = 0 if host.max_resident is None else len(host.residents) + len(missing) - host.max_resident
    if short <= 0 and surplus <= 0:
        return NOTHING
    keep = list(want.models)
    for resident in host.residents.values():
        stays_ms = resident.since_ms + params.min_stay_ms if params.min_stay_ms else 0
        if not want.overdue and resident.hold_until_ms > stays_ms:
            stays_ms = resident.hold_until_ms
        if stays_ms > now_ms:
            best.again(stays_ms)
            keep.append(resident.model)
    return cheapest_set(victims(host, keep, state.wants_of, now_ms), short, surplus)


def _protected(
    state: State,
    params: Params,
    now_ms: int,
    want: Want,
    host: HostState,
    eviction: Eviction,
    urgency: int,
) -> int:
    """`VICTIM_WANTED`, `VICTIM_SOON`, or 0: nothing protects the set."""
    gone = [host.residents[model].footprint for model in eviction.models]
    coming = [host.models[model] for model in want.models if model not in host.residents]
    swap_ms = sum(footprint.unload_ms for footprint in gone) + sum(footprint.load_ms for footprint in coming)
    for model in eviction.models:
        for other in state.wants_of.get(model, ()):
            if other.hosts is not None and host.name not in other.hosts:
                continue
            if other.waiting:
                if want.overdue:
                    if other.overdue and other.oldest_ms <= want.oldest_ms:
                        return VICTIM_WANTED
                elif urgency - _back_ms(params, gone, coming) <= other.urgency and not _spared(
                    state, want, host, other
                ):
                    return VICTIM_WANTED
            elif other.soon and params.look and not want.overdue:
                horizon_ms = now_ms + params.look * swap_ms
                for soon in other.soon:
                    if soon.at_ms <= horizon_ms and soon.urgency >= urgency:
                        return VICTIM_SOON
    return 0


def _back_ms(params: Params, gone: list[Footprint], coming: list[Footprint]) -> float:
    """`theta` times the swap there and back again."""
    return params.theta * sum(footprint.load_ms + footprint.unload_ms for footprint in (*gone, *coming))


def _spared(state: State, want: Want, host: HostState, other: Want) -> bool:
    """Whether the queue of a resident is cleared by its other replicas before this queue would be."""
    slots = 0
    for place in state.hosts:
        if place is not host and all(place.keeps(model) for model in other.models):
            slots += min(place.models[model].slots for model in other.models)
    here = min([host.models[model].slots for model in want.models], default=1)
    return slots > 0 and other.work_ms / slots < want.work_ms / here


def expected_swap_ms(state: State, host: HostState, models: tuple[str, ...], now_ms: int) -> int | None:
    """Time until all the models would be usable on the host, by the cheapest set; `None` = no memory can be freed.

    0 when they are usable; what is left of a load that runs; drain, unload and load otherwise. For the cost of a route.
    """
    ready_ms = 0
    missing = []
    for model in models:
        resident = host.residents.get(model)
        if resident is not None and resident.phase <= READY:
            ready_ms = max(ready_ms, resident.ready_ms - now_ms)
        elif host.swap is not None and model in host.swap.models:
            ready_ms = max(ready_ms, host.swap.ready_ms - now_ms)
        elif model not in host.models:
            return None
        else:
            missing.append(host.models[model])
    if not missing:
        return ready_ms
    short = 0
    if host.memory_bytes is not None:
        short = sum(footprint.memory_bytes for footprint in missing) + host.used_bytes - host.memory_bytes
    surplus = 0 if host.max_resident is None else len(host.residents) + len(missing) - host.max_resident
    eviction = cheapest_set(victims(host, models, state.wants_of, now_ms), short, surplus)
    if eviction is None:
        return None
    queue_ms = max(0, host.swap.ready_ms - now_ms) if host.swap is not None else 0
    return max(ready_ms, queue_ms + eviction.free_ms + sum(footprint.load_ms for footprint in missing))
