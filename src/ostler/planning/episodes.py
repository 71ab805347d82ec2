"""A schedule as explicit episodes: for each host the models in order of load, for each task the episode that serves it.

The decoder turns that into instants, without any policy: an episode loads as soon as the one before it in its line has
loaded and its memory is free; it serves its tasks, the lowest key first, in its slots; it may leave when its last task
has ended and leaves when a load behind it needs the room. What the best schedules do and a policy does not is easy to
say in this form: a long task goes first so that an episode ends together, two tasks swap places, a model comes back
once instead of twice.

Only for instances whose tasks need one model at a time and no memory of their own (`Compiled.plain`); tasks on a cloud
are in a line of that host whose episodes are always usable.

Cost of a decode: O(log n) for each task, need and episode; about 4 microseconds for a task.
"""

from heapq import heapify, heappop, heappush

from ostler.planning.board import NEVER
from ostler.planning.compiled import Compiled, Option, paced
from ostler.planning.plan import Plan
from ostler.planning.stays import Stay, plan_of

Ways = dict[tuple[int, str], tuple[int, Option]]
"""By host and model: duration there, and the option."""

PENDING, COMING, USABLE, GONE = range(4)


class Frame:
    """What every layout of an instance shares."""

    def __init__(self, compiled: Compiled, options: list[tuple[Option, ...]] | None = None) -> None:
        self.compiled = compiled
        self.ways: list[Ways] = []
        shared: dict[tuple[Option, ...], Ways] = {}
        for row in compiled.options if options is None else options:
            if row not in shared:
                shared[row] = self._ways(row)
            self.ways.append(shared[row])
        hosts = compiled.instance.hosts
        self.clouds = [host.cloud for host in hosts]
        self.memory = [NEVER if host.cloud or host.memory_bytes is None else host.memory_bytes for host in hosts]
        self.limit = [NEVER if host.cloud or host.max_resident is None else host.max_resident for host in hosts]

    def _ways(self, options: tuple[Option, ...]) -> Ways:
        ways: Ways = {}
        for option in options:
            kind = self.compiled.classes[option.kind]
            for place, pace in zip(kind.hosts, kind.paces, strict=True):
                entry = (paced(option.duration_ms, pace), option)
                known = ways.setdefault((place, kind.models[0]), entry)
                if (entry[1].cost_micro_usd, entry[0]) < (known[1].cost_micro_usd, known[0]):
                    ways[place, kind.models[0]] = entry
        return ways


class Layout:
    """Lines of episodes, and the episode and key of each task. `models`, `hosts` and `initial` are by episode."""

    __slots__ = ("hosts", "initial", "keys", "lasts", "lines", "models", "of")

    def __init__(self) -> None:
        self.lines: list[list[int]] = []
        self.models: list[str] = []
        self.hosts: list[int] = []
        self.initial: list[bool] = []
        self.of: list[int] = []
        self.keys: list[int] = []
        self.lasts: list[int] = []

    def copy(self) -> "Layout":
        """A layout of its own."""
        twin = Layout()
        twin.lines = [line[:] for line in self.lines]
        twin.models, twin.hosts, twin.initial = self.models[:], self.hosts[:], self.initial[:]
        twin.of, twin.keys, twin.lasts = self.of[:], self.keys[:], self.lasts[:]
        return twin

    def open(self, host: int, model: str, position: int) -> int:
        """A new episode at that position of the host's line; its number."""
        number = len(self.models)
        self.models.append(model)
        self.hosts.append(host)
        self.initial.append(False)
        self.lines[host].insert(position, number)
        return number

    def assign(self, frame: Frame, task: int, episode: int) -> None:
        """The task goes to that episode. Raises `KeyError` if it cannot."""
        self.of[task] = episode
        self.lasts[task] = frame.ways[task][self.hosts[episode], self.models[episode]][0]

    def members(self, episode: int) -> list[int]:
        """Its tasks."""
        return [task for task, where in enumerate(self.of) if where == episode]

    def drop_empty(self) -> None:
        """Episodes without a task leave their lines, those that were there at the start excepted."""
        used = set(self.of)
        for place, line in enumerate(self.lines):
            self.lines[place] = [one for one in line if one in used or self.initial[one]]


class Timing:
    """What a layout comes to. `complete` is false if some task waits for ever, or longer than was allowed."""

    __slots__ = ("busy_until", "complete", "ends", "free_at", "load_start", "loads", "makespan_ms", "ready", "starts")

    def __init__(self, tasks: int, episodes: int) -> None:
        self.starts = [-1] * tasks
        self.ends = [0] * tasks
        self.load_start = [-1] * episodes
        self.ready = [-1] * episodes
        self.busy_until = [-1] * episodes
        """Unload start; -1 = not unloaded."""
        self.free_at = [-1] * episodes
        self.makespan_ms = NEVER
        self.loads = 0
        self.complete = False


class _Decoder:
    """One decode: the event loop and the state of hosts and episodes."""

    def __init__(self, frame: Frame, layout: Layout) -> None:
        self.frame = frame
        self.layout = layout
        compiled = frame.compiled
        count = len(layout.models)
        self.timing = Timing(compiled.size, count)
        self.left = [0] * count
        for episode in layout.of:
            self.left[episode] += 1
        self.state = [PENDING] * count
        self.queues: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        self.footprints = [
            compiled.footprints[host][model] for host, model in zip(layout.hosts, layout.models, strict=True)
        ]
        self.slots = [footprint.slots for footprint in self.footprints]
        self.free = frame.memory[:]
        self.room = frame.limit[:]
        self.releasing = [0] * len(frame.memory)
        self.leaving = [0] * len(frame.memory)
        self.position = [0] * len(frame.memory)
        self.loading = [False] * len(frame.memory)
        self.finished: list[list[int]] = [[] for _ in frame.memory]
        self.resident: list[set[str]] = [set() for _ in frame.memory]
        self.events: list[tuple[int, int]] = []

    def run(self, limit_ms: int) -> Timing:
        compiled, timing = self.frame.compiled, self.timing
        size, count = compiled.size, len(self.layout.models)
        events, successors, of = self.events, compiled.successors, self.layout.of
        queues, keys, state, slots, left = self.queues, self.layout.keys, self.state, self.slots, self.left
        starts, ends, lasts = timing.starts, timing.ends, self.layout.lasts
        missing = compiled.gates[:]
        self._open(missing)
        remaining, now_ms = size, 0
        touched = list(range(count))
        while True:
            for episode in touched:
                if state[episode] == USABLE:
                    queue = queues[episode]
                    free = slots[episode]
                    while queue and free:
                        task = heappop(queue)[1]
                        starts[task] = now_ms
                        ends[task] = end_ms = now_ms + lasts[task]
                        heappush(events, (end_ms, task))
                        free -= 1
                    slots[episode] = free
            if not remaining or not events or events[0][0] > limit_ms:
                break
            touched = []
            now_ms = events[0][0]
            while events and events[0][0] == now_ms:
                code = heappop(events)[1]
                if code >= size:
                    self._moved(code - size, now_ms, touched, missing)
                    continue
                remaining -= 1
                episode = of[code]
                slots[episode] += 1
                touched.append(episode)
                left[episode] -= 1
                if not left[episode]:
                    self._done(episode, now_ms)
                for after in successors[code]:
                    missing[after] -= 1
                    if not missing[after]:
                        where = of[after]
                        heappush(queues[where], (keys[after], after))
                        touched.append(where)
        timing.complete = not remaining
        if timing.complete:
            timing.makespan_ms = now_ms
        return timing

    def _open(self, missing: list[int]) -> None:
        """What is there at the start, what is ready at the start, and the first loads."""
        compiled, layout, timing = self.frame.compiled, self.layout, self.timing
        for task, count in enumerate(missing):
            if compiled.release[task] > 0:
                self.events.append((compiled.release[task], compiled.size + 2 * len(layout.models) + task))
            elif not count:
                self.queues[layout.of[task]].append((layout.keys[task], task))
        heapify(self.events)
        for queue in self.queues:
            heapify(queue)
        for place, line in enumerate(layout.lines):
            for episode in line:
                if not layout.initial[episode] and not self.frame.clouds[place]:
                    break
                self.state[episode] = USABLE
                timing.ready[episode] = 0
                self.position[place] += 1
                if not self.frame.clouds[place]:
                    self.free[place] -= self.footprints[episode].memory_bytes
                    self.room[place] -= 1
                    self.resident[place].add(layout.models[episode])
                    if not self.left[episode] and not self.footprints[episode].pinned:
                        self.finished[place].append(episode)
            self._load(place, 0)

    def _moved(self, code: int, now_ms: int, touched: list[int], missing: list[int]) -> None:
        """A load or unload is done, or a task is released."""
        count = len(self.layout.models)
        if code >= 2 * count:
            task = code - 2 * count
            missing[task] -= 1
            if not missing[task]:
                episode = self.layout.of[task]
                heappush(self.queues[episode], (self.layout.keys[task], task))
                touched.append(episode)
            return
        episode = code % count
        place = self.layout.hosts[episode]
        footprint = self.footprints[episode]
        if code < count:
            self.state[episode] = USABLE
            self.loading[place] = False
            touched.append(episode)
            if not self.left[episode] and not footprint.pinned:
                self.finished[place].append(episode)
        else:
            self.free[place] += footprint.memory_bytes
            self.room[place] += 1
            self.releasing[place] -= footprint.memory_bytes
            self.leaving[place] -= 1
            self.resident[place].discard(self.layout.models[episode])
        self._load(place, now_ms)

    def _done(self, episode: int, now_ms: int) -> None:
        place = self.layout.hosts[episode]
        if self.frame.clouds[place] or self.footprints[episode].pinned:
            return
        self.finished[place].append(episode)
        self._load(place, now_ms)

    def _load(self, place: int, now_ms: int) -> None:
        """Begin the next load of the line, or make room for it."""
        line = self.layout.lines[place]
        if self.loading[place] or self.position[place] >= len(line):
            return
        episode = line[self.position[place]]
        footprint, model = self.footprints[episode], self.layout.models[episode]
        again = model in self.resident[place]
        if self.free[place] >= footprint.memory_bytes and self.room[place] > 0 and not again:
            self.position[place] += 1
            self.loading[place] = True
            self.free[place] -= footprint.memory_bytes
            self.room[place] -= 1
            self.resident[place].add(model)
            self.state[episode] = COMING
            self.timing.loads += 1
            self.timing.load_start[episode] = now_ms
            self.timing.ready[episode] = now_ms + footprint.load_ms
            heappush(self.events, (now_ms + footprint.load_ms, self.frame.compiled.size + episode))
            return
        short = footprint.memory_bytes - self.free[place] - self.releasing[place]
        crowd = 1 - self.room[place] - self.leaving[place]
        for other in self.finished[place][:]:
            if short <= 0 and crowd <= 0 and not (again and self.layout.models[other] == model):
                continue
            self.finished[place].remove(other)
            unloaded = self.footprints[other]
            self.state[other] = GONE
            self.releasing[place] += unloaded.memory_bytes
            self.leaving[place] += 1
            short -= unloaded.memory_bytes
            crowd -= 1
            self.timing.busy_until[other] = now_ms
            self.timing.free_at[other] = now_ms + unloaded.unload_ms
            code = self.frame.compiled.size + len(self.layout.models) + other
            heappush(self.events, (now_ms + unloaded.unload_ms, code))


def decode(frame: Frame, layout: Layout, limit_ms: int = NEVER) -> Timing:
    """The instants of a layout; incomplete if it takes longer than the limit or waits for itself."""
    return _Decoder(frame, layout).run(limit_ms)


def layout_of(frame: Frame, plan: Plan) -> Layout:
    """The layout that a plan follows: its episodes in order of load, its tasks in order of start."""
    compiled = frame.compiled
    instance = compiled.instance
    places = {host.name: place for place, host in enumerate(instance.hosts)}
    layout = Layout()
    layout.lines = [[] for _ in instance.hosts]
    spans: dict[tuple[int, str], list[tuple[int, int | None, int]]] = {}
    rows = sorted(plan.episodes, key=lambda row: (not row.initial, row.load_start_ms, row.host, row.model))
    for row in rows:
        place = places[row.host]
        number = layout.open(place, row.model, len(layout.lines[place]))
        layout.initial[number] = row.initial
        spans.setdefault((place, row.model), []).append((row.ready_ms, row.unload_start_ms, number))
    for place, host in enumerate(instance.hosts):
        for model in sorted(host.models) if host.cloud else ():
            number = layout.open(place, model, len(layout.lines[place]))
            spans[place, model] = [(0, None, number)]
    index = {task.id: number for number, task in enumerate(instance.tasks)}
    layout.of = [0] * compiled.size
    layout.keys = [0] * compiled.size
    layout.lasts = [0] * compiled.size
    for key, placed in enumerate(plan.placements):
        task = index[placed.task]
        place = places[placed.host]
        choice = instance.tasks[task].choices[placed.choice]
        for ready_ms, until_ms, number in spans[place, choice.models[0]]:
            if ready_ms <= placed.start_ms and (until_ms is None or placed.end_ms <= until_ms):
                layout.assign(frame, task, number)
                break
        layout.keys[task] = key
    return layout


def plan_of_layout(frame: Frame, layout: Layout, timing: Timing, strategy: str, detail: str = "") -> Plan:
    """The plan of a complete timing."""
    stays = []
    for place, line in enumerate(layout.lines):
        for episode in line:
            if frame.clouds[place] or timing.ready[episode] < 0:
                continue
            model = layout.models[episode]
            start_ms = max(0, timing.load_start[episode])
            stay = Stay(model, frame.compiled, place, start_ms, initial=layout.initial[episode])
            stay.ready_ms = timing.ready[episode]
            if timing.busy_until[episode] >= 0:
                stay.unload_start_ms, stay.unload_end_ms = timing.busy_until[episode], timing.free_at[episode]
            stays.append((place, stay))
    ran = [
        (layout.hosts[episode], frame.ways[task][layout.hosts[episode], layout.models[episode]][1])
        for task, episode in enumerate(layout.of)
    ]
    return plan_of(frame.compiled, stays, (timing.starts, timing.ends, ran), strategy, detail)
