"""The live policy in virtual time: from an instance and a setting to a plan. Event-driven, deterministic, fast.

    events of an instant (ends, loads and unloads done, releases, wake-ups)
      -> dispatch: each usable model with a free slot takes the waiting task with the highest key
      -> residency: `residency.rule.next_move` until it has nothing more to propose

The decision about residents is that of the live scheduler, the very function. What is estimated (`estimate`) and what
happens (`actual`) are two lists of durations: the rule and the keys see the first, the events follow the second; for a
plan they are one.

A run can be copied at any instant, and each of its residency decisions can be overridden: that is how `pilot` and
`replan` look ahead.

Invariants: a task starts after all its needs have ended, on models that are usable, in a free slot; memory counts from
load start to unload end; one load at a time on a host; a model is unloaded only when nothing runs on it.

Cost: O(log n) for each task and need, plus the decisions. While nothing changes but the length of queues, the rule is
asked only once in `ask_every` events: a queue that shrinks by one changes no decision of a long run.
"""

from collections.abc import Callable
from copy import copy
from heapq import heappop, heappush

from ostler.planning.board import FINISHED, LOADED, NEVER, RELEASED, UNLOADED, WAKE, Board
from ostler.planning.plan import Plan
from ostler.planning.stays import Stay, host_copy, plan_of, stay_of
from ostler.residency.rule import LIVE, Load, Recheck, load_of, next_move
from ostler.residency.state import DRAINING, LOADING, READY, UNLOADING, State, Swap

Chooser = Callable[["Run", Load], Load | None]
"""Asked for each load that the rule proposes: what to do instead; `None` = nothing at this instant."""


class Run(Board):
    """One simulation. `go` to the end, then `plan`."""

    chooser: Chooser | None = None

    # -- events

    def go(self, until_ms: int = NEVER, *, settled: bool = False) -> "Run":
        """Run on until everything is done, nothing can move, or that instant has been carried out.

        `settled`: nothing more is to be decided at the present instant.
        """
        events = self.events
        if not settled:
            self._settle()
        while self.left:
            if not events and not self._unstick():
                break
            if events[0][0] > until_ms:
                break
            self.now_ms = now_ms = events[0][0]
            while events and events[0][0] == now_ms:
                _, kind, place, model = heappop(events)
                if kind == FINISHED:
                    self._finished(place)
                else:
                    self._other_event(kind, place, model)
            if self.left:
                self._settle()
        return self

    def _other_event(self, kind: int, place: int, model: str) -> None:
        if kind == LOADED:
            self._loaded(place, model)
        elif kind == UNLOADED:
            self._unloaded(place, model)
        elif kind == RELEASED:
            self.changed = True
            self.missing[place] -= 1
            if not self.missing[place]:
                self.ready(place)
        else:
            self.wake_ms = NEVER
            self.changed = True

    def _settle(self) -> None:
        """Dispatch and decide until the instant has nothing more to give."""
        while True:
            if self.dirty:
                self.dispatch()
            self.asked += 1
            if not self.changed and self.asked < self.ask_every:
                return
            self.asked = 0
            self.changed = False
            while self._decide():
                pass
            if not self.dirty:
                return

    def _finished(self, task: int) -> None:
        self.left -= 1
        ran = self.ran[task]
        if ran is None:
            return
        place, option = ran
        host = self.hosts[place]
        kind = self.compiled.classes[option.kind]
        for model in kind.models:
            resident = host.residents[model]
            resident.busy -= 1
            if not resident.busy and resident.phase == DRAINING:
                self._unload(place, model)
            self.dirty.update(self.served_by[model])
        if kind.memory_bytes:
            host.used_bytes -= kind.memory_bytes
            self.dirty.update(range(len(self.wants)))
            self.changed = True
            self._load_next(place)
        missing = self.missing
        for after in self.compiled.successors[task]:
            missing[after] -= 1
            if not missing[after]:
                self.ready(after)

    def _loaded(self, place: int, model: str) -> None:
        self.hosts[place].residents[model].phase = READY
        self.dirty.update(self.served_by.get(model, ()))
        self.changed = True
        if self.pending[place]:
            self._load_next(place)
        else:
            self.hosts[place].swap = None

    def _unload(self, place: int, model: str) -> None:
        resident = stay_of(self.hosts[place], model)
        resident.phase = UNLOADING
        resident.unload_start_ms = self.now_ms
        resident.unload_end_ms = self.now_ms + resident.footprint.unload_ms
        heappush(self.events, (resident.unload_end_ms, UNLOADED, place, resident.model))

    def _unloaded(self, place: int, model: str) -> None:
        host = self.hosts[place]
        stay = stay_of(host, model)
        host.remove(model)
        self.gone.append((place, stay))
        if not self.compiled.plain:
            self.dirty.update(range(len(self.wants)))
        if host.swap is not None and not host.swap.models:
            self._end_swap(place)
        self._load_next(place)

    def _end_swap(self, place: int) -> None:
        """A swap that only makes room is over when all that had to go is gone."""
        host = self.hosts[place]
        if all(resident.phase == READY for resident in host.residents.values()):
            host.swap = None
            self.changed = True

    def _load_next(self, place: int) -> None:
        """Begin the next load of the host's swap, if its memory is free and no other load runs."""
        pending, host = self.pending[place], self.hosts[place]
        if not pending or any(resident.phase == LOADING for resident in host.residents.values()):
            return
        model = pending[0]
        if model in host.residents:
            return
        footprint = host.models[model]
        if host.memory_bytes is not None and host.used_bytes + footprint.memory_bytes > host.memory_bytes:
            return
        if host.max_resident is not None and len(host.residents) >= host.max_resident:
            return
        pending.pop(0)
        self.reserved[place] -= footprint.memory_bytes
        host.add(Stay(model, self.compiled, place, self.now_ms))
        heappush(self.events, (self.now_ms + footprint.load_ms, LOADED, place, model))

    def _decide(self) -> bool:
        """One question to the rule; whether there may be more to do at this instant."""
        move = next_move(self.state, self.params, self.now_ms)
        if isinstance(move, Load):
            chosen = move if self.chooser is None else self.chooser(self, move)
            if chosen is not None:
                self.commit(chosen)
            return chosen is not None
        if isinstance(move, Recheck) and self.now_ms < move.at_ms < self.wake_ms:
            self.wake_ms = move.at_ms
            heappush(self.events, (move.at_ms, WAKE, 0, ""))
        return False

    def _unstick(self) -> bool:
        """Nothing will happen by itself and work is left: load for the first that waits, whatever protects the rest."""
        for kind, want in enumerate(self.wants):
            for place in self.compiled.classes[kind].hosts if want.waiting else ():
                move = load_of(self.state, LIVE, self.now_ms, want, self.hosts[place])
                if move is not None:
                    self.commit(move)
                    return bool(self.events)
        return False

    def commit(self, move: Load) -> None:
        """Carry out a load: drain, unload, then load."""
        place = next(index for index, host in enumerate(self.hosts) if host.name == move.host)
        host = self.hosts[place]
        self.changed = True
        host.swap = Swap(move.models, move.evict, self.now_ms + move.available_ms)
        self.pending[place] = list(move.models)
        self.reserved[place] = sum(host.models[model].memory_bytes for model in move.models)
        load_ms = sum(host.models[model].load_ms for model in move.models)
        free_ms = self.now_ms + move.available_ms - load_ms
        for model in move.evict:
            stay = stay_of(host, model)
            if stay.busy:
                stay.phase = DRAINING
                stay.backfill_until_ms = free_ms - stay.footprint.unload_ms
                self.dirty.update(self.served_by.get(model, ()))
            else:
                self._unload(place, model)
        self._load_next(place)

    def copy(self) -> "Run":
        """A run of its own that goes on from here."""
        twin = object.__new__(Run)
        twin.__dict__.update(self.__dict__)
        for name in ("events", "missing", "unstarted", "starts", "ends", "ran", "gone", "reserved", "dirty"):
            setattr(twin, name, getattr(self, name).copy())
        twin.chooser = None
        twin.hosts = [host_copy(host) for host in self.hosts]
        twin.pending = [row[:] for row in self.pending]
        twin.queues = [row[:] for row in self.queues]
        twin.coming = [row.copy() for row in self.coming]
        twin.wants = []
        for want, coming in zip(self.wants, twin.coming, strict=True):
            fresh = copy(want)
            fresh.soon = coming.values()
            twin.wants.append(fresh)
        twin.state = State(twin.hosts, twin.wants)
        return twin

    # -- results

    @property
    def makespan_ms(self) -> int:
        """When the last task ends; `NEVER` while some have not run."""
        return max(self.ends, default=0) if not self.left else NEVER

    @property
    def loads(self) -> int:
        """Loads begun."""
        here = sum(stay_of(host, model).load_start_ms >= 0 for host in self.hosts for model in host.residents)
        return here + sum(stay.load_start_ms >= 0 for _, stay in self.gone)

    def plan(self, strategy: str, detail: str = "") -> Plan:
        """What happened, as a plan."""
        stays = list(self.gone)
        for place, host in enumerate(self.hosts):
            stays += [(place, stay_of(host, model)) for model in host.residents]
        return plan_of(self.compiled, stays, (self.starts, self.ends, self.ran), strategy, detail)
