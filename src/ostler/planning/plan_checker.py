"""Whether a plan can be carried out: every rule of the problem, checked on the plan as it stands.

Shares no code with what makes plans: it reads instance and plan, nothing else. Intervals are half open, so what ends at
an instant makes room for what starts there. A cloud is always ready: it needs no episodes there.

The rules: what is named exists; each task that is not optional has one placement, by a choice that its host can
serve, of the right duration, after its release and its needs; each of its models is ready on its host from its start to
its end; slots, memory and the limit of residents hold at every instant; one load at a time on each host; loads and
unloads take their time; nothing pinned is unloaded; what was resident at the start has an episode from the start. And a
whole plan is never shorter than the critical path, which follows from the rest and is said in its own words.

Cost: O(n log n) in episodes and placements, times the episodes of one model on one host.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, can_host, task_ms
from ostler.planning.plan import Episode, Placement, Plan

SHOWN_MAX = 5


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that a plan breaks."""

    code: str
    """The rule: `need`, `release`, `duration`, `choice`, `ready`, `slots`, `memory`, `residents`, `load`, ..."""
    subject: str
    """What breaks it: a task, or `host/model`, or a host."""
    said: str
    """One sentence with the figures."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """Something that takes an amount from one instant up to another; `None` = for ever."""

    start_ms: int
    end_ms: int | None
    amount: int
    name: str


def check_plan(instance: Instance, plan: Plan) -> tuple[Violation, ...]:
    """Every broken rule; nothing when the plan can be carried out. What names nothing known is told and left out."""
    hosts = {host.name: host for host in instance.hosts}
    tasks = {task.id: task for task in instance.tasks}
    found = [*_unknown(plan, hosts, tasks)]
    episodes = [row for row in plan.episodes if row.host in hosts and row.model in hosts[row.host].models]
    placed = [
        row
        for row in plan.placements
        if row.task in tasks and row.host in hosts and 0 <= row.choice < len(tasks[row.task].choices)
    ]
    found += _counted(instance, plan)
    found += _needs(placed, tasks)
    stays: dict[tuple[str, str], list[Episode]] = {}
    for episode in episodes:
        stays.setdefault((episode.host, episode.model), []).append(episode)
    for row in placed:
        found += _placement(row, tasks[row.task], hosts[row.host], stays)
    for host in instance.hosts:
        mine = [row for row in episodes if row.host == host.name]
        running = [(row, tasks[row.task].choices[row.choice]) for row in placed if row.host == host.name]
        found += _slots(host, running)
        if host.cloud:
            found += _cloud(host, mine)
        else:
            found += _episodes(host, mine)
            found += _room(host, mine, running)
    found += _critical(instance, plan)
    return tuple(found)


def shortest_path(instance: Instance) -> tuple[int, tuple[str, ...]]:
    """The critical path of the tasks that must be done, no swap counted: its length in ms and its tasks in order.

    An optional task counts where one that must be done needs it. Each counts with its release and its shortest duration
    on any host that could run it.
    """
    tasks = _must(instance)
    ends: dict[str, int] = {}
    before: dict[str, str | None] = {}
    for name in _in_order(tasks):
        task = tasks[name]
        lasts = [task_ms(c, host) for c in task.choices for host in instance.hosts if can_host(c, host)]
        last = max((need for need in task.needs if need in ends), key=lambda need: (ends[need], need), default=None)
        start = max(task.release_ms, ends[last] if last is not None else 0)
        before[name] = last if last is not None and ends[last] == start else None
        ends[name] = start + min(lasts, default=0)
    at = max(ends, key=lambda name: (ends[name], name), default=None)
    length = ends[at] if at is not None else 0
    path: list[str] = []
    while at is not None:
        path.append(at)
        at = before[at]
    return length, tuple(reversed(path))


def _must(instance: Instance) -> dict[str, PlanTask]:
    known = {task.id: task for task in instance.tasks}
    left = [task.id for task in instance.tasks if not task.optional]
    found: dict[str, PlanTask] = {}
    while left:
        name = left.pop()
        if name not in found:
            found[name] = known[name]
            left += known[name].needs
    return {task.id: task for task in instance.tasks if task.id in found}


def _in_order(tasks: dict[str, PlanTask]) -> Iterator[str]:
    missing = {name: len({need for need in task.needs if need in tasks}) for name, task in tasks.items()}
    followers: dict[str, list[str]] = {}
    for name, task in tasks.items():
        for need in sorted(set(task.needs) & tasks.keys()):
            followers.setdefault(need, []).append(name)
    ready = [name for name, count in missing.items() if not count]
    while ready:
        name = ready.pop()
        yield name
        for follower in followers.get(name, ()):
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)


def _unknown(plan: Plan, hosts: dict[str, PlanHost], tasks: dict[str, PlanTask]) -> Iterator[Violation]:
    for episode in plan.episodes:
        if episode.host not in hosts:
            yield _violation(
                "unknown", episode.host, f"the plan loads {episode.model} on it, but there is no such host"
            )
        elif episode.model not in hosts[episode.host].models:
            yield _violation("unknown", f"{episode.host}/{episode.model}", "the host does not have this model")
    for row in plan.placements:
        if row.task not in tasks:
            yield _violation("unknown", row.task, "it has a place in the plan, but there is no such task")
        elif row.host not in hosts:
            yield _violation("unknown", row.task, f"it runs on {row.host}, but there is no such host")
        elif not 0 <= row.choice < len(tasks[row.task].choices):
            count = len(tasks[row.task].choices)
            yield _violation("choice", row.task, f"it runs by choice {row.choice}, but has only {count}")


def _counted(instance: Instance, plan: Plan) -> Iterator[Violation]:
    times = Counter(row.task for row in plan.placements)
    for task in instance.tasks:
        if times[task.id] > 1:
            yield _violation("twice", task.id, f"it has {times[task.id]} places in the plan; a task runs once")
        elif not times[task.id] and not task.optional:
            yield _violation("missing", task.id, "it has no place in the plan and is not optional")


def _needs(placed: Sequence[Placement], tasks: dict[str, PlanTask]) -> Iterator[Violation]:
    ends = {row.task: row.end_ms for row in placed}
    for row in placed:
        for need in tasks[row.task].needs:
            if need not in ends:
                yield _violation("need", row.task, f"it needs {need}, which has no place in the plan")
            elif ends[need] > row.start_ms:
                said = f"it starts at {_at(row.start_ms)}, before {need}, which it needs, ends at {_at(ends[need])}"
                yield _violation("need", row.task, said)


def _placement(
    row: Placement, task: PlanTask, host: PlanHost, stays: Mapping[tuple[str, str], Sequence[Episode]]
) -> Iterator[Violation]:
    choice = task.choices[row.choice]
    if row.start_ms < task.release_ms:
        said = f"it starts at {_at(row.start_ms)}, before its release at {_at(task.release_ms)}"
        yield _violation("release", row.task, said)
    if not can_host(choice, host):
        yield _violation("choice", row.task, f"{host.name} cannot serve {' with '.join(choice.models)} for it")
        return
    lasts = task_ms(choice, host)
    if row.end_ms - row.start_ms != lasts:
        said = f"it runs for {_at(row.end_ms - row.start_ms)}, but takes {_at(lasts)} on {host.name}"
        yield _violation("duration", row.task, said)
    for model in () if host.cloud else sorted(set(choice.models)):
        if not any(_covers(stay, row) for stay in stays.get((host.name, model), ())):
            said = f"{model} is not ready on {host.name} from {_at(row.start_ms)} to {_at(row.end_ms)}"
            yield _violation("ready", row.task, said)


def _covers(stay: Episode, row: Placement) -> bool:
    return stay.ready_ms <= row.start_ms and (stay.unload_start_ms is None or row.end_ms <= stay.unload_start_ms)


def _slots(host: PlanHost, running: Sequence[tuple[Placement, Choice]]) -> Iterator[Violation]:
    for model, serving in sorted(host.models.items()):
        spans = [Span(row.start_ms, row.end_ms, 1, row.task) for row, choice in running if model in choice.models]
        for at, taken, names in _excesses(spans, serving.slots):
            said = f"{taken} tasks at once at {_at(at)}, but {serving.slots} slots: {names}"
            yield _violation("slots", f"{host.name}/{model}", said)


def _cloud(host: PlanHost, episodes: Sequence[Episode]) -> Iterator[Violation]:
    for model in sorted({row.model for row in episodes if not row.initial}):
        yield _violation("load", f"{host.name}/{model}", "a cloud loads nothing: it is always ready")


def _episodes(host: PlanHost, episodes: Sequence[Episode]) -> Iterator[Violation]:
    for row in episodes:
        yield from _episode(host, row)
    for model in host.resident:
        if not any(row.initial and row.model == model for row in episodes):
            yield _violation("initial", f"{host.name}/{model}", "it is in memory at the start, but has no episode then")
    loads = sorted((row.load_start_ms, row.ready_ms, row.model) for row in episodes if not row.initial)
    busy_until: int | None = None
    busy_with = ""
    for start, ready, model in loads:
        if busy_until is not None and start < busy_until and start < ready:
            said = f"its load starts at {_at(start)}, while {busy_with} loads until {_at(busy_until)}: one at a time"
            yield _violation("one-load", f"{host.name}/{model}", said)
        if busy_until is None or ready > busy_until:
            busy_until, busy_with = ready, model
    for model in sorted({row.model for row in episodes}):
        stays = sorted((row for row in episodes if row.model == model), key=lambda row: row.load_start_ms)
        for earlier, later in pairwise(stays):
            if earlier.unload_end_ms is None or earlier.unload_end_ms > later.load_start_ms:
                said = f"it is loaded again at {_at(later.load_start_ms)} while it is still in memory"
                yield _violation("overlap", f"{host.name}/{model}", said)


def _episode(host: PlanHost, row: Episode) -> Iterator[Violation]:
    subject, serving = f"{host.name}/{row.model}", host.models[row.model]
    took = row.ready_ms - row.load_start_ms
    if row.initial and (row.model not in host.resident or row.load_start_ms or row.ready_ms):
        said = "it is said to be in memory at the start"
        said += ", but is not" if row.model not in host.resident else f", but is ready at {_at(row.ready_ms)}"
        yield _violation("initial", subject, said)
    if not row.initial and (took != serving.load_ms or row.load_start_ms < 0):
        said = f"loads from {_at(row.load_start_ms)} to {_at(row.ready_ms)}, but a load takes {_at(serving.load_ms)}"
        yield _violation("load", subject, said)
    if (row.unload_start_ms is None) != (row.unload_end_ms is None):
        yield _violation("unload", subject, "its unload has a start or an end, not both")
    if row.unload_start_ms is None or row.unload_end_ms is None:
        return
    if serving.pinned:
        yield _violation("pinned", subject, f"is unloaded at {_at(row.unload_start_ms)}, but is pinned")
    if row.unload_start_ms < row.ready_ms:
        said = f"is unloaded at {_at(row.unload_start_ms)}, before it is ready at {_at(row.ready_ms)}"
        yield _violation("unload", subject, said)
    if row.unload_end_ms - row.unload_start_ms != serving.unload_ms:
        took = row.unload_end_ms - row.unload_start_ms
        yield _violation("unload", subject, f"unloads in {_at(took)}, but that takes {_at(serving.unload_ms)}")


def _room(
    host: PlanHost, episodes: Sequence[Episode], running: Sequence[tuple[Placement, Choice]]
) -> Iterator[Violation]:
    if host.max_resident is not None:
        stays = [Span(row.load_start_ms, row.unload_end_ms, 1, row.model) for row in episodes]
        for at, taken, names in _excesses(stays, host.max_resident):
            said = f"{taken} models in memory at {_at(at)}, but at most {host.max_resident} may be: {names}"
            yield _violation("residents", host.name, said)
    if host.memory_bytes is not None:
        held = [
            Span(row.load_start_ms, row.unload_end_ms, host.models[row.model].memory_bytes, row.model)
            for row in episodes
        ]
        held += [Span(row.start_ms, row.end_ms, choice.memory_bytes, row.task) for row, choice in running]
        for at, taken, names in _excesses(held, host.memory_bytes):
            said = f"{taken} bytes of {host.memory_bytes} in use at {_at(at)}: {names}"
            yield _violation("memory", host.name, said)


def _excesses(spans: Iterable[Span], limit: int) -> Iterator[tuple[int, int, str]]:
    """Instants at which the spans begin to take more than the limit, with what they take and who they are."""
    events: list[tuple[int, int, int, str]] = []
    for span in spans:
        if span.amount and (span.end_ms is None or span.end_ms > span.start_ms):
            events.append((span.start_ms, 1, span.amount, span.name))
            if span.end_ms is not None:
                events.append((span.end_ms, 0, span.amount, span.name))
    events.sort()
    held: Counter[str] = Counter()
    taken, over = 0, False
    for index, (at, starts, amount, name) in enumerate(events):
        held[name] += 1 if starts else -1
        taken += amount if starts else -amount
        if index + 1 < len(events) and events[index + 1][0] == at:
            continue
        if taken > limit and not over:
            names = sorted(held.elements())
            more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
            yield at, taken, ", ".join(names[:SHOWN_MAX]) + more
        over = taken > limit


def _critical(instance: Instance, plan: Plan) -> Iterator[Violation]:
    length, path = shortest_path(instance)
    if plan.makespan_ms < length:
        said = f"the plan ends at {_at(plan.makespan_ms)}, but these tasks in a row take {_at(length)}: "
        yield _violation("critical-path", plan.strategy, said + " -> ".join(path))


def _at(instant_ms: int) -> str:
    """Seconds with as many decimals as needed."""
    return f"{instant_ms / 1000:.3f}".rstrip("0").rstrip(".") + " s"


def _violation(code: str, subject: str, said: str) -> Violation:
    return Violation(code=code, subject=subject, said=said)
