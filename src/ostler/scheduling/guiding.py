"""Which load a plan in force asks for next, and what stays loaded for it. Pure: books and demand in, a move out.

On each host the turn of the plan decides (`planning.guide`): its model is loaded when work for it waits or soon will,
and is kept while one of its tasks has not ended. All else is the rule's, and no plan overrules a guarantee: while a
waiter has lost its patience the rule decides alone, what is busy is drained first, what is pinned or held stays, and
so does what has just come, for as long as the rule would keep it.

Cost: O(hosts x plans in force), and one eviction set for a load that is due.
"""

from collections.abc import Iterable

from ostler.planning import guide as plans
from ostler.residency.eviction import cheapest_set, victims
from ostler.residency.rule import Load
from ostler.residency.state import READY, HostState, Resident, Want
from ostler.scheduling.books import Turn
from ostler.scheduling.demand import Demand

HOLD_MS = 60_000
"""How long what a turn needs is kept before it is looked at again; lost patience ends it at once."""


def guided(turn: Turn, demand: Demand) -> Load | None:
    """The next load that a plan asks for, if one is due; has what a turn still needs kept (in `demand` alone).

    Nothing while anybody has lost patience: then the rule alone decides.
    """
    if not turn.books.following or any(want.overdue for want in demand.state.wants):
        return None
    for host in demand.state.hosts:
        for followed in turn.books.following.values():
            rest = followed.turn_now(host.name)
            move = _next_load(turn, demand, host, rest) if rest else None
            if move is not None:
                return move
    return None


def _next_load(turn: Turn, demand: Demand, host: HostState, rest: tuple[plans.Turn, ...]) -> Load | None:
    model = rest[0].model
    held = [
        resident for resident in host.residents.values() if demand.held[host.name, resident.model].at.model == model
    ]
    if held:
        for resident in held:
            if resident.phase <= READY:
                resident.hold_until_ms = max(resident.hold_until_ms, turn.now_ms + HOLD_MS)
        return None
    wants = [want for want in demand.state.wants_of.get(model, ()) if want.hosts is None or host.name in want.hosts]
    if not wants or host.swap is not None or host.closed_until_ms > turn.now_ms or model not in host.models:
        return None
    if (host.name, model) in demand.state.excluded or not any(_due(want, turn.now_ms) for want in wants):
        return None
    return _load(turn, demand, host, model)


def _due(want: Want, now_ms: int) -> bool:
    return bool(want.waiting) or any(soon.at_ms <= now_ms + HOLD_MS for soon in want.soon)


def _load(turn: Turn, demand: Demand, host: HostState, model: str) -> Load | None:
    coming = host.models[model]
    short = 0 if host.memory_bytes is None else host.used_bytes + coming.memory_bytes - host.memory_bytes
    surplus = 0 if host.max_resident is None else len(host.residents) + 1 - host.max_resident
    kept = _kept(host.residents.values(), turn.now_ms, turn.books.policy.residency.min_residence_ms)
    gone = cheapest_set(victims(host, kept, demand.state.wants_of, turn.now_ms), short, surplus)
    if gone is None:
        return None
    available_ms = gone.free_ms + coming.load_ms
    return Load(host.name, (model,), gone.models, available_ms, 0.0, (("plan", 1.0),))


def _kept(residents: Iterable[Resident], now_ms: int, least_ms: int) -> list[str]:
    """Models that stay: for an agent between two calls, by the turn of another plan, or because they have just come.

    Those are for somebody who waited, and who has lost no patience any more since they are here.
    """
    return [
        resident.model
        for resident in residents
        if max(resident.hold_until_ms, resident.since_ms + least_ms if least_ms else 0) > now_ms
    ]
