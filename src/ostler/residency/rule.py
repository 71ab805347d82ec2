"""What to load next: one pure function for the live scheduler and the planner.

`next_move` looks at every pair of a want with work and a host that could serve it:

    1. Something to do: work waits, or (`prefetch`) comes soon enough that a load begun now is not early.
    2. A place: the host is allowed, open, carries out no other swap, and does not keep the models already.
    3. Replicas that exist or load clear the queue within `gamma` x the time this load would take, the way back of what
       it evicts included: not another one. Where there are any, a host whose swap leaves room for one counts as one.
    4. The cheapest sufficient eviction set. None: refused. Held or young residents end their time first.
    5. available = the slowest of the set drained and unloaded, then the loads one after the other.
       Work that only comes soon: refused while `available` ends before it comes, with an instant to look again; and
       for it no second replica is made and nothing busy is drained.
    6. A resident of the set that work still waits for stays, unless the waiter is overdue (patience is an urgency
       without limit; of two overdue queues the older one wins), or more urgent by `theta` round trips of the swap, or
       both queues are cleared sooner if this replica changes over. A queue that has a replica already must also be
       longer than `gamma` rounds of all slots there will be: a short one says little about when it is cleared.
    7. A resident that gets work of about that urgency (less by no more than the swap) while the set would drain and
       leave, or within `look` x the swap after that, stays: wait and see. Without `drain` any busy resident stays, so
       that whoever comes for it meanwhile is served, unless the waiter is overdue, or has a replica already and this
       is one more, for a queue so long that it is due.
    8. score = `urgency_weight` x urgency + `work_weight` x waiting work / slots after the load - available; all slots
       count, those of other replicas too, so that hosts share the models out by their work; and work counts by
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

from ostler.residency.eviction import NOTHING, Eviction, Victim, cheapest_set, victims
from ostler.residency.state import READY, HostState, State, Swap, Want

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
VICTIM_BUSY: Final = 11
BY_VICTIM: Final = (VICTIM_WANTED, VICTIM_SOON, VICTIM_BUSY)
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
    "a model that would have to go is working",
)


class Params(NamedTuple):
    """Setting of the rule. The defaults are for work that is known ahead; where it comes unforeseen, see `OPEN`."""

    urgency_weight: float = 1.0
    work_weight: float = 1.0
    theta: float = math.inf
    """How many round trips of the swap more urgent a waiter must be to interrupt a queue. Infinite: never."""
    look: float = 1.0
    """How many swaps ahead a resident's coming work protects it."""
    gamma: float = 2.5
    """A replica is added only if the queue outlasts so many times its load, and takes the place of a model with a queue
    of its own only if so many rounds of all slots wait for it."""
    prefetch: bool = True
    backfill: bool = True
    """For whoever dispatches: a draining model takes tasks that end before its drain does."""
    replica_share: float = 0.5
    min_stay_ms: int = 0
    """A model stays at least so long once it is usable."""
    drain: bool = True
    """Whether a busy model may be closed to further work, so that it leaves when its calls have ended, for a model that
    is nowhere and whose waiters have patience. If not, it stays open as long as anything runs on it."""


LIVE: Final = Params()
OPEN: Final = Params(drain=False)
"""For a stream of work: to close a model early keeps out the next call for it, which then waits for a whole cycle of
changes. That this goes on for long, patience forbids."""


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
        """The first of the models: the only one, except for work that needs several at once, or memory of its own."""
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
        gone = f" ({', '.join(self.evict)})" if self.evict and self.verdict in BY_VICTIM else ""
        return f"{'+'.join(self.models)} on {self.host}: {VERDICTS[self.verdict]}{gone}"


def next_move(
    state: State, params: Params, now_ms: int, considered: list[Considered] | None = None
) -> Load | Recheck | None:
    """The best load now, or when to ask again. With `considered`, every pair looked at is appended to it."""
    look = _Look(state, params, now_ms, considered)
    hosts = state.hosts if considered is not None else [host for host in state.hosts if host.swap is None]
    if not hosts:
        return None
    prefetch = params.prefetch
    for want in state.wants:
        # 1. Something to do.
        if (want.waiting or (prefetch and want.soon)) and want.models:
            look.at_want(want, hosts)
    if look.move is not None:
        return look.move
    return None if look.recheck_ms is None else Recheck(look.recheck_ms)


class _Look:
    """One question to the rule: the best pair so far, and the earliest instant to look again."""

    __slots__ = ("considered", "kept", "key", "leaving", "move", "now_ms", "params", "recheck_ms", "state")

    def __init__(self, state: State, params: Params, now_ms: int, considered: list[Considered] | None) -> None:
        self.state = state
        self.params = params
        self.now_ms = now_ms
        self.considered = considered
        self.key: tuple[float, ...] | None = None
        self.move: Load | None = None
        self.recheck_ms: int | None = None
        self.leaving: dict[str, list[Victim]] = {}
        """By host: who may go at all, nobody overdue. Most wants of one question ask for the same."""
        self.kept: dict[Want, int] = {}
        """Slots of all replicas of a want, once it was asked whether it can spare one."""

    def again(self, at_ms: int) -> None:
        if self.recheck_ms is None or at_ms < self.recheck_ms:
            self.recheck_ms = at_ms

    def refuse(self, verdict: int, want: Want, host: HostState, eviction: Eviction = NOTHING) -> None:
        if self.considered is not None:
            self.considered.append(Considered(host.name, want.models, eviction.models, None, None, verdict))

    def at_want(self, want: Want, hosts: list[HostState]) -> None:
        """Steps 2 and 3 for each host, then the others for those that are left."""
        slots, clear_ms = _replicas(self.state, want, self.now_ms)
        models = want.models
        first = models[0]
        single = len(models) == 1
        gamma = self.params.gamma
        limit_ms = clear_ms / gamma if slots and gamma > 0 and not want.overdue else math.inf
        for host in hosts:
            # 2. A place.
            resident = host.residents.get(first)
            if single and resident is not None and not want.memory_bytes:
                verdict = SERVED if resident.phase <= READY else HOST_BUSY
            elif (verdict := self.place(want, host)) == CHOSEN:
                # 3. Replicas suffice: for sure even if nothing had to be evicted.
                load_ms = host.models[first].load_ms if single and resident is None else _load_ms(host, want)
                crowded = not load_ms and all(model in host.residents for model in models)
                if limit_ms > load_ms or crowded:
                    self._weigh(want, host, slots, math.inf if crowded else limit_ms, load_ms)
                    continue
                verdict = REPLICAS_SUFFICE
            self.refuse(verdict, want, host)

    def place(self, want: Want, host: HostState) -> int:
        if want.hosts is not None and host.name not in want.hosts:
            return NOT_ALLOWED
        if host.swap is not None:
            return HOST_BUSY
        missing = False
        for model in want.models:
            if model not in host.models:
                return NOT_ALLOWED
            missing = missing or model not in host.residents
        if not missing and not _crowded(want, host):
            return SERVED
        if host.closed_until_ms > self.now_ms:
            self.again(host.closed_until_ms)
            return HOST_CLOSED
        excluded = self.state.excluded
        if excluded and any((host.name, model) in excluded for model in want.models):
            return EXCLUDED
        return CHOSEN

    def _weigh(self, want: Want, host: HostState, slots: int, limit_ms: float, load_ms: int) -> None:
        # 4. The cheapest sufficient set.
        eviction = self.eviction(want, host)
        if eviction is None:
            self.refuse(NO_ROOM, want, host)
            return
        # 5. When it would be usable; work that comes later still can wait.
        available_ms = eviction.free_ms + load_ms
        urgency, work_ms = want.urgency, want.work_ms
        if not want.waiting:
            busy = any(host.residents[model].busy for model in eviction.models)
            in_time = [soon for soon in want.soon if soon.at_ms <= self.now_ms + available_ms]
            if slots or busy or not in_time:
                self.refuse(REPLICAS_SUFFICE if slots else TOO_EARLY, want, host, eviction)
                if not (slots or busy):
                    self.again(min(want.soon).at_ms - available_ms)
                return
            urgency = max(soon.urgency for soon in in_time)
            work_ms = sum(soon.work_ms for soon in in_time)
        elif limit_ms <= available_ms + eviction.back_ms:
            self.refuse(REPLICAS_SUFFICE, want, host, eviction)
            return
        # 6 and 7. What would have to go is wanted itself, or soon will be.
        if eviction.models and (verdict := self._protected(want, host, eviction, urgency, slots, load_ms)):
            self.refuse(verdict, want, host, eviction)
            return
        # 8. The score.
        params = self.params
        share = params.replica_share if slots else 1.0
        urgency_term = params.urgency_weight * urgency
        work_term = params.work_weight * share * work_ms / (slots + _slots(host, want))
        score = urgency_term + work_term - available_ms
        key = (1.0, -want.oldest_ms, score, -available_ms) if want.overdue else (0.0, 0.0, score, -available_ms)
        if self.considered is not None:
            self.considered.append(Considered(host.name, want.models, eviction.models, available_ms, score, CHOSEN))
        if self.key is None or key > self.key:
            terms = (("urgency_ms", urgency_term), ("work_ms", work_term), ("available_ms", -float(available_ms)))
            models = tuple([model for model in want.models if model not in host.residents])
            self.key = key
            self.move = Load(host.name, models, eviction.models, available_ms, score, terms, want.overdue)

    def eviction(self, want: Want, host: HostState) -> Eviction | None:
        missing = [host.models[model] for model in want.models if model not in host.residents]
        short = 0
        if host.memory_bytes is not None:
            short = want.memory_bytes + host.used_bytes - host.memory_bytes
            for footprint in missing:
                short += footprint.memory_bytes
        surplus = 0 if host.max_resident is None else len(host.residents) + len(missing) - host.max_resident
        if short <= 0 and surplus <= 0:
            return NOTHING
        if want.overdue:
            found = self._victims(host, overdue=True)
        elif (kept := self.leaving.get(host.name)) is None:
            found = self.leaving[host.name] = self._victims(host, overdue=False)
        else:
            found = kept
        if len(missing) < len(want.models):
            found = [victim for victim in found if victim.model not in want.models]
        return cheapest_set(found, short, surplus)

    def _victims(self, host: HostState, *, overdue: bool) -> list[Victim]:
        keep = []
        least_ms = self.params.min_stay_ms
        for resident in host.residents.values():
            stays_ms = resident.since_ms + least_ms if least_ms else 0
            if resident.hold_until_ms > stays_ms and not overdue:
                stays_ms = resident.hold_until_ms
            if stays_ms > self.now_ms:
                self.again(stays_ms)
                keep.append(resident.model)
        return victims(host, keep, self.state.wants_of, self.now_ms)

    def _protected(
        self, want: Want, host: HostState, eviction: Eviction, urgency: int, slots: int, load_ms: int
    ) -> int:
        """`VICTIM_WANTED`, `VICTIM_SOON`, `VICTIM_BUSY`, or 0: nothing protects the set."""
        swap_ms = load_ms
        for model in eviction.models:
            swap_ms += host.residents[model].footprint.unload_ms
        for model in eviction.models:
            for other in self.state.wants_of.get(model, ()):
                if other.hosts is not None and host.name not in other.hosts:
                    continue
                if other.waiting:
                    if want.overdue:
                        if other.overdue and other.oldest_ms <= want.oldest_ms:
                            return VICTIM_WANTED
                    elif not (
                        self._more_urgent(urgency - other.urgency, want, host, eviction)
                        or self._spared(want, host, other, slots, swap_ms)
                    ):
                        return VICTIM_WANTED
                elif other.soon and self.params.look and not want.overdue:
                    horizon_ms = self.now_ms + eviction.free_ms + self.params.look * swap_ms
                    for soon in other.soon:
                        if soon.at_ms <= horizon_ms and soon.urgency + swap_ms >= urgency:
                            return VICTIM_SOON
        open_ended = not (self.params.drain or want.overdue or slots)
        return VICTIM_BUSY if open_ended and any(host.residents[model].busy for model in eviction.models) else 0

    def _spared(self, want: Want, host: HostState, other: Want, slots: int, swap_ms: int) -> bool:
        """Whether both queues are cleared sooner if this replica of `other` becomes one of `want`, swap included."""
        after = slots + _slots(host, want)
        if slots and want.waiting <= self.params.gamma * after:
            return False
        if (left := self.kept.get(other)) is None:
            left = self.kept[other] = sum([_kept(place, other) for place in self.state.hosts])
        left -= _kept(host, other)
        return left > 0 and other.work_ms / left + swap_ms < want.work_ms / after

    def _more_urgent(self, by_ms: int, want: Want, host: HostState, eviction: Eviction) -> bool:
        """Whether by more than `theta` times the swap there and back again."""
        if by_ms <= 0 or self.params.theta == math.inf:
            return False
        swapped = [host.residents[model].footprint for model in eviction.models]
        swapped += [host.models[model] for model in want.models if model not in host.residents]
        return by_ms > self.params.theta * sum([one.load_ms + one.unload_ms for one in swapped])


def _replicas(state: State, want: Want, now_ms: int) -> tuple[int, float]:
    """Slots of hosts that have or load all the want's models, and by when they would clear its queue, from now.

    Where there are such hosts, those count too whose swap will leave room: there it takes nobody's place.
    """
    slots = beside = 0
    ready_ms = now_ms
    models = want.models
    for host in state.hosts:
        if want.hosts is not None and host.name not in want.hosts:
            continue
        for model in models:
            resident = host.residents.get(model)
            if resident is not None:
                if resident.phase > READY:
                    break
                ready_ms = max(ready_ms, resident.ready_ms)
            elif host.swap is not None and model in host.swap.models:
                ready_ms = max(ready_ms, host.swap.ready_ms)
            else:
                if host.swap is not None and _has_room_after(host, host.swap, want):
                    beside += _slots(host, want)
                break
        else:
            slots += _slots(host, want)
    if not slots:
        return 0, 0.0
    slots += beside
    work_ms = want.work_ms if want.waiting else sum(soon.work_ms for soon in want.soon)
    return slots, ready_ms - now_ms + work_ms / slots


def _has_room_after(host: HostState, swap: Swap, want: Want) -> bool:
    """Whether the one model of a want fits beside what will be on a host when its swap has ended."""
    own = host.models.get(want.models[0])
    coming = [host.models.get(model) for model in swap.models if model not in host.residents]
    if own is None or None in coming or len(want.models) > 1 or want.memory_bytes:
        return False
    sizes = [one.footprint.memory_bytes for one in host.residents.values() if one.phase <= READY]
    sizes += [size.memory_bytes for size in coming if size is not None]
    if host.max_resident is not None and len(sizes) >= host.max_resident:
        return False
    return host.memory_bytes is None or sum(sizes) + own.memory_bytes <= host.memory_bytes


def _kept(host: HostState, want: Want) -> int:
    """Slots for a want on a host that keeps all its models; 0 elsewhere."""
    if want.hosts is not None and host.name not in want.hosts:
        return 0
    for model in want.models:
        if not host.keeps(model):
            return 0
    return _slots(host, want)


def _slots(host: HostState, want: Want) -> int:
    if len(want.models) == 1:
        return host.models[want.models[0]].slots
    return min([host.models[model].slots for model in want.models])


def _load_ms(host: HostState, want: Want) -> int:
    return sum([host.models[model].load_ms for model in want.models if model not in host.residents])


def _crowded(want: Want, host: HostState) -> bool:
    """Whether the models are there, but leave no room for a task, and no end of another task will make any."""
    if not want.memory_bytes or host.memory_bytes is None:
        return False
    if any(host.residents[model].busy for model in want.models):
        return False
    return host.used_bytes + want.memory_bytes > host.memory_bytes


def load_of(state: State, params: Params, now_ms: int, want: Want, host: HostState) -> Load | None:
    """The load for this want on this host whatever protects its victims; `None` where the pair is no place for it.

    For whoever weighs alternatives to the rule: no queue, replica or coming work is looked at.
    """
    if not want.models:
        return None
    look = _Look(state, params, now_ms, None)
    eviction = look.eviction(want, host) if look.place(want, host) == CHOSEN else None
    if eviction is None:
        return None
    models = tuple([model for model in want.models if model not in host.residents])
    return Load(host.name, models, eviction.models, eviction.free_ms + _load_ms(host, want), 0.0, ())
