"""Whether a certificate holds: derives its bound again from the instance and the witness, by code of its own.

Shares nothing with `bounds`: what finds a bound and what confirms it do not fail together. The witness only says where
to look; every figure is computed here and in `bound_facts` and `bound_turns`. A certificate is refused when its bound
is larger than what follows, or when its witness does not fit the instance. The arguments are told in `bounds`, by kind.

Hosts are taken one by one; optional tasks are left out, except those that a task which must be done needs. Cost:
O(edges x hosts), with lifts O(n^2).
"""

from bisect import bisect_left

import msgspec

from ostler.planning.bound_facts import Facts, Lift, WrongWitnessError, dearest, longest_shared, together
from ostler.planning.bound_turns import none_cheaper
from ostler.planning.certificate import Certificate
from ostler.planning.instance import Instance, PlanHost


class _Witness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that any kind of witness may hold."""

    task: str | None = None
    model: str = ""
    host: str = ""
    after_ms: int = 0
    before_ms: int = 0
    switching_ms: int = 0
    lifts: tuple[Lift, ...] = ()
    prices: dict[str, dict[str, int]] = {}
    weights: dict[str, int] = {}
    clocks: dict[str, tuple[int, int]] = {}
    groups: tuple[tuple[str, ...], ...] = ()
    models: tuple[str, ...] = ()


def check_certificate(instance: Instance, certificate: Certificate) -> str:
    """Why the certificate is refused; empty when its bound follows from its witness."""
    try:
        witness = msgspec.convert(certificate.witness, _Witness, strict=True)
        derived = _derive(Facts(instance), certificate.kind, witness)
    except msgspec.ValidationError as error:
        return f"the witness cannot be read: {error}"
    except WrongWitnessError as error:
        return str(error)
    if certificate.bound_ms > derived:
        return f"the witness proves {derived} ms, not {certificate.bound_ms} ms"
    return ""


def _derive(facts: Facts, kind: str, witness: _Witness) -> int:
    if any(price < 0 for row in (*witness.prices.values(), witness.weights) for price in row.values()):
        raise WrongWitnessError("a price is negative")
    if kind == "clock":
        return _clock_ms(facts, witness)
    if kind == "switching":
        return _switching_ms(facts, witness)
    if kind == "loads":
        return _loads_ms(facts, witness)
    if kind == "replicas":
        return _replicas_ms(facts, witness)
    if kind not in ("path", "cut", "energy", "residency"):
        raise WrongWitnessError(f"no argument is called '{kind}'")
    heads = facts.earliest(witness.lifts, witness.prices, forwards=True)
    tails = facts.earliest(witness.lifts, witness.prices, forwards=False)
    if kind in ("path", "cut"):
        if witness.task is None:
            return 0
        if witness.task not in facts.ways:
            raise WrongWitnessError(f"no task '{witness.task}' must be done")
        rows = zip(heads[witness.task], facts.ways[witness.task], tails[witness.task], strict=True)
        return min(head + way.ms + tail for head, way, tail in rows)
    after, before = witness.after_ms, witness.before_ms
    inside = [name for name in facts.ways if min(heads[name]) >= after and min(tails[name]) >= before]
    if not inside:
        raise WrongWitnessError("no task has to be done in that window")
    return after + facts.window_ms(inside, witness.model, witness.prices, from_start=after <= 0) + before


def _ready_ms(facts: Facts, host: str, model: str, window: tuple[int, int]) -> int:
    """How long a model must be ready: its tasks in a window on the clock that ticks while it is."""
    mine = {name: min(way.ms for way in ways) for name, ways in facts.ways.items() if model in facts.must(name)}
    if not mine:
        raise WrongWitnessError(f"no task must use {model}")
    if any(way.host != host for name in mine for way in facts.ways[name]):
        raise WrongWitnessError(f"some work of {model} can be done elsewhere than on {host}")
    readings = []
    for order in (facts.needs, facts.follows):
        ticks: dict[str, int] = {}
        for name, before in order.items():
            ticks[name] = max((ticks[need] + mine.get(need, 0) for need in before), default=0)
        readings.append(ticks)
    inside = [ms for name, ms in mine.items() if readings[0][name] >= window[0] and readings[1][name] >= window[1]]
    if not inside:
        return 0
    slots = facts.hosts[host].models[model].slots
    return window[0] + max(-(-sum(inside) // slots), longest_shared(inside, slots)) + window[1]


def _host_of(facts: Facts, witness: _Witness) -> PlanHost:
    host = facts.hosts.get(witness.host)
    if host is None or host.cloud:
        raise WrongWitnessError(f"'{witness.host}' is no host with a memory")
    for model in (
        *witness.models,
        *witness.clocks,
        *witness.weights,
        *(model for group in witness.groups for model in group),
    ):
        if model not in host.models:
            raise WrongWitnessError(f"{host.name} has no model '{model}'")
    return host


def _replicas_ms(facts: Facts, witness: _Witness) -> int:
    """The least time in which work and the loads it then takes can be earned; refuted times are a beginning of all."""
    tails = facts.earliest((), {}, forwards=False)
    costs, capacity = facts.earned(list(facts.ways), witness.prices)
    users: dict[str, list[str]] = {}
    for name in facts.ways:
        for model in facts.must(name):
            users.setdefault(model, []).append(name)
    ends = {model: min(min(tails[name]) for name in names) for model, names in users.items()}
    work = {model: sum(min(way.ms for way in facts.ways[name]) for name in names) for model, names in users.items()}
    hosts = {model: {way.host for ways in facts.ways.values() for way in ways if model in way.models} for model in work}

    def possible(limit_ms: int) -> bool:
        total = sum(costs.values())
        for model, ms in work.items():
            loads = {host: facts.load_ms(host, model) for host in hosts[model]}
            slots = {host: facts.hosts[host].models[model].slots for host in loads}
            offers = sorted(slots[host] * max(0, limit_ms - ends[model] - loads[host]) for host in loads)
            count, left = 0, ms
            while left > 0:
                if not offers:
                    return False
                left, count = left - offers.pop(), count + 1
            prices = (witness.prices.get(host, {}).get(model, 0) * slots[host] * loads[host] for host in loads)
            total += sum(sorted(prices)[:count])
        return total <= limit_ms * capacity

    if not capacity:
        return 0
    high = 1
    while not possible(high):
        high *= 2
    return bisect_left(range(high), True, key=possible)  # noqa: FBT003 (what is looked for)


def _loads_ms(facts: Facts, witness: _Witness) -> int:
    host = _host_of(facts, witness)
    tails = facts.earliest((), {}, forwards=False)
    follows = []
    for model in sorted(set(witness.models)):
        users = [
            name
            for name, ways in facts.ways.items()
            if model in facts.must(name) and all(way.host == host.name for way in ways)
        ]
        if not users:
            raise WrongWitnessError(f"{model} need not be loaded on {host.name}")
        follows.append(max(min(way.ms for way in facts.ways[name]) + min(tails[name]) for name in users))
    return sum(facts.load_ms(host.name, model) for model in set(witness.models)) + min(follows, default=0)


def _clock_ms(facts: Facts, witness: _Witness) -> int:
    host = _host_of(facts, witness)
    if not witness.weights.keys() <= witness.clocks.keys():
        raise WrongWitnessError("a model has a weight, but no clock")
    total, late = 0, {}
    for model, weight in witness.weights.items():
        unload = 0 if host.models[model].pinned else host.models[model].unload_ms
        ready = _ready_ms(facts, host.name, model, witness.clocks[model])
        total += weight * (ready + facts.load_ms(host.name, model) + unload)
        late[model] = weight * unload
    capacity = dearest(host, witness.weights)
    return -(-(total - dearest(host, late)) // capacity) if capacity else 0


def _switching_ms(facts: Facts, witness: _Witness) -> int:
    host = _host_of(facts, witness)
    pinned = {model for model in host.resident if host.models[model].pinned}
    of = {model: number for number, group in enumerate(witness.groups) for model in group}
    if len(of) != sum(map(len, witness.groups)) or pinned & of.keys():
        raise WrongWitnessError("a model is in two groups, or is pinned")
    for one, number in of.items():
        for other, another in of.items():
            if number < another and together(host, {one, other}):
                raise WrongWitnessError(f"{one} and {other} fit together, but are in two groups")
    open_to: dict[str, frozenset[int]] = {}
    for name, ways in facts.ways.items():
        turns = frozenset[int]()
        for way in ways:
            bound_here = way.models & of.keys() if way.host == host.name and way.ms else frozenset[str]()
            turns |= {of[model] for model in bound_here} or frozenset(range(-1, len(witness.groups)))
        open_to[name] = turns
    first = {of[model] for model in host.resident if model in of}
    if len(first) > 1:
        raise WrongWitnessError("models of two groups are in memory at the start")
    ready = 0
    for group in witness.groups:
        clocks = [_ready_ms(facts, host.name, m, witness.clocks[m]) for m in group if m in witness.clocks]
        ready += max(clocks, default=0)
    loads = [min(host.models[model].load_ms for model in group) for group in witness.groups]
    unloads = [min(host.models[model].unload_ms for model in group) for group in witness.groups]
    if not none_cheaper(facts, open_to, (loads, [*unloads, 0]), min(first, default=-1), witness.switching_ms):
        raise WrongWitnessError(f"turns that cost less than {witness.switching_ms} ms do all tasks")
    return ready + witness.switching_ms
