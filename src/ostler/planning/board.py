"""What waits and what runs in a simulation: queues by class, hosts with their residents, dispatch. No clock, no loads.

Dispatch gives each usable model with a free slot the waiting task of the highest key. A task with several options
waits in a queue for each and leaves all of them when it starts. A draining model takes a task only if it ends before
the drain does. What needs several models takes a slot of each; memory of its own is counted while it runs.

The wants that the residency rule reads are kept up to date at each step: O(log n) for a task and each of its needs.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from ostler.planning.compiled import Compiled, Option, paced
from ostler.planning.stays import Stay
from ostler.residency.rule import LIVE, Params
from ostler.residency.state import DRAINING, READY, HostState, Soon, State, Want

FINISHED: Final = 0
UNLOADED: Final = 1
LOADED: Final = 2
RELEASED: Final = 3
WAKE: Final = 4
NEVER: Final = 1 << 62
EVENTS_PER_ASK: Final = 400
BACKFILL_LOOKED_AT: Final = 32

Event = tuple[int, int, int, str]
"""Instant, kind, task or host, model."""


class Board:
    """The state of a simulation between events."""

    def __init__(
        self,
        compiled: Compiled,
        params: Params = LIVE,
        *,
        keys: list[int] | None = None,
        options: list[tuple[Option, ...]] | None = None,
        actual: list[int] | None = None,
    ) -> None:
        self.compiled = compiled
        self.params = params
        self.keys = compiled.rank if keys is None else keys
        self.options = compiled.options if options is None else options
        self.actual = actual
        """Durations that happen, by task, whatever its option; `None` = those of the options."""
        size = compiled.size
        self.now_ms = 0
        self.events: list[Event] = []
        self.missing = compiled.gates[:]
        self.unstarted = [len(needs) for needs in compiled.needs]
        self.starts = [-1] * size
        self.ends = [0] * size
        self.ran: list[tuple[int, Option] | None] = [None] * size
        self.left = size
        self.gone: list[tuple[int, Stay]] = []
        self._open_hosts()
        self._open_wants()
        self.wake_ms = NEVER
        self.asked = 0
        self.ask_every = max(1, size // EVENTS_PER_ASK)
        for place, count in enumerate(self.missing):
            if compiled.release[place] > 0:
                heappush(self.events, (compiled.release[place], RELEASED, place, ""))
            elif not count:
                self.ready(place)

    def _open_hosts(self) -> None:
        compiled = self.compiled
        self.hosts: list[HostState] = []
        for place, host in enumerate(compiled.instance.hosts):
            memory = None if host.cloud else host.memory_bytes
            limit = None if host.cloud else host.max_resident
            state = HostState(host.name, memory, compiled.footprints[place], max_resident=limit)
            for model in sorted(host.models) if host.cloud else host.resident:
                state.add(Stay(model, compiled, place, 0, initial=True))
            self.hosts.append(state)
        self.pending: list[list[str]] = [[] for _ in self.hosts]
        """Models that the swap of a host still has to load, in order."""
        self.reserved = [0] * len(self.hosts)
        """Memory that they will take."""

    def _open_wants(self) -> None:
        compiled = self.compiled
        names = [host.name for host in self.hosts]
        self.wants: list[Want] = []
        self.coming: list[dict[int, Soon]] = []
        for kind in compiled.classes:
            want = Want(kind.models, later=0)
            want.memory_bytes = kind.memory_bytes
            if not kind.everywhere:
                want.hosts = frozenset(names[place] for place in kind.hosts)
            soon: dict[int, Soon] = {}
            want.soon = soon.values()
            self.wants.append(want)
            self.coming.append(soon)
        for options in self.options:
            for option in options:
                self.wants[option.kind].later += 1
        self.state = State(self.hosts, self.wants)
        self.queues: list[list[tuple[int, int]]] = [[] for _ in self.wants]
        self.served_by: dict[str, list[int]] = {}
        for place, kind in enumerate(compiled.classes):
            for model in kind.models:
                self.served_by.setdefault(model, []).append(place)
        self.dirty: set[int] = set()
        self.changed = True
        """Whether more has changed than the length of a queue since the rule was asked."""

    def ready(self, task: int) -> None:
        """All that the task needs has ended, and it is released: it waits for a model and a slot."""
        key = self.keys[task]
        for option in self.options[task]:
            kind = option.kind
            want = self.wants[kind]
            self.coming[kind].pop(task, None)
            want.later -= 1
            if not want.waiting:
                self.changed = True
            want.waiting += 1
            want.work_ms += option.duration_ms
            heappush(self.queues[kind], (-key, task))
            if want.waiting == 1 or key > want.urgency:
                want.urgency = key
            self.dirty.add(kind)

    def dispatch(self) -> None:
        """Start what can start, class after class."""
        kinds = sorted(self.dirty) if len(self.dirty) > 1 else list(self.dirty)
        self.dirty.clear()
        for kind in kinds:
            want = self.wants[kind]
            if not want.waiting:
                continue
            if self.compiled.plain:
                self._serve_plain(kind, want)
            else:
                self._serve(kind, want)
            if not want.waiting:
                self.changed = True

    def _serve_plain(self, kind: int, want: Want) -> None:
        """One model, no memory of the task's own."""
        model = want.models[0]
        spec = self.compiled.classes[kind]
        draining = False
        for place, pace in zip(spec.hosts, spec.paces, strict=True):
            resident = self.hosts[place].residents.get(model)
            if resident is None:
                continue
            if resident.phase == READY:
                free = resident.footprint.slots - resident.busy
                while free > 0 and want.waiting:
                    self._start(kind, self._pop(kind), place, pace)
                    free -= 1
                if not want.waiting:
                    return
            elif resident.phase == DRAINING:
                draining = True
        if draining and self.params.backfill:
            self._backfill(kind, want)

    def _serve(self, kind: int, want: Want) -> None:
        """Several models at once, or memory of the task's own."""
        spec = self.compiled.classes[kind]
        for place, pace in zip(spec.hosts, spec.paces, strict=True):
            host = self.hosts[place]
            here = [host.residents.get(model) for model in want.models]
            while want.waiting:
                if any(one is None or one.phase != READY or one.busy >= one.footprint.slots for one in here):
                    break
                if spec.memory_bytes and host.memory_bytes is not None:
                    taken = host.used_bytes + self.reserved[place] + spec.memory_bytes
                    if taken > host.memory_bytes:
                        break
                host.used_bytes += spec.memory_bytes
                self._start(kind, self._pop(kind), place, pace)

    def _backfill(self, kind: int, want: Want) -> None:
        """A draining model takes tasks that end before it would be gone anyway."""
        model = want.models[0]
        spec = self.compiled.classes[kind]
        queue = self.queues[kind]
        for place, pace in zip(spec.hosts, spec.paces, strict=True):
            stay = self.hosts[place].residents.get(model)
            if not isinstance(stay, Stay) or stay.phase != DRAINING:
                continue
            for entry in sorted(queue)[:BACKFILL_LOOKED_AT]:
                if stay.busy >= stay.footprint.slots:
                    break
                task = entry[1]
                option = self._option(task, kind)
                if self.starts[task] < 0 and self.now_ms + paced(option.duration_ms, pace) <= stay.backfill_until_ms:
                    queue.remove(entry)
                    heapify(queue)
                    self._start(kind, task, place, pace)

    def _pop(self, kind: int) -> int:
        """The waiting task of the class with the highest key."""
        queue, starts = self.queues[kind], self.starts
        while True:
            task = heappop(queue)[1]
            if starts[task] < 0:
                return task

    def _option(self, task: int, kind: int) -> Option:
        options = self.options[task]
        return options[0] if len(options) == 1 else next(one for one in options if one.kind == kind)

    def _start(self, kind: int, task: int, place: int, pace: int) -> None:
        now_ms = self.now_ms
        option = self._option(task, kind)
        estimate_ms = paced(option.duration_ms, pace)
        end_ms = now_ms + (estimate_ms if self.actual is None else paced(self.actual[task], pace))
        self.starts[task] = now_ms
        self.ends[task] = end_ms
        self.ran[task] = (place, option)
        residents = self.hosts[place].residents
        for model in self.compiled.classes[kind].models:
            resident = residents[model]
            resident.busy += 1
            resident.drained_ms = max(resident.drained_ms, now_ms + estimate_ms)
        for other in self.options[task]:
            want = self.wants[other.kind]
            want.waiting -= 1
            want.work_ms -= other.duration_ms
            if want.waiting:
                queue = self.queues[other.kind]
                while self.starts[queue[0][1]] >= 0:
                    heappop(queue)
                want.urgency = -queue[0][0]
        heappush(self.events, (end_ms, FINISHED, task, ""))
        self._announce(task, now_ms + estimate_ms)

    def _announce(self, task: int, estimated_end_ms: int) -> None:
        """Those that waited only for this one to start will be ready soon."""
        unstarted = self.unstarted
        for after in self.compiled.successors[task]:
            unstarted[after] -= 1
            if not unstarted[after]:
                at_ms = estimated_end_ms
                needs = self.compiled.needs[after]
                if len(needs) > 1:
                    at_ms = max(at_ms, *(self._estimated_end(need) for need in needs if need != task))
                at_ms = max(at_ms, self.compiled.release[after])
                for option in self.options[after]:
                    self.coming[option.kind][after] = Soon(at_ms, self.keys[after], option.duration_ms)
                self.changed = True

    def _estimated_end(self, task: int) -> int:
        if self.actual is None:
            return self.ends[task]
        ran = self.ran[task]
        if ran is None:
            return self.now_ms
        place, option = ran
        spec = self.compiled.classes[option.kind]
        return self.starts[task] + paced(option.duration_ms, spec.paces[spec.hosts.index(place)])
