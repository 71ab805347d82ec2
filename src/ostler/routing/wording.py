"""Words for what a decision found: why a place was refused, why a tier is unavailable, the one-sentence summary.

These texts are part of the record and depend on nothing but the inputs of the decision. What goes into the reason of a
wait says nothing about "how long still": it must read the same until the reason itself changes.
"""

import heapq

from ostler.domain.decision import Estimate, Rejection
from ostler.domain.errors import nearest
from ostler.domain.fleet import GIB, SharedSlots
from ostler.domain.money import usd_text
from ostler.domain.states import WaitCode
from ostler.routing import gatekeeping
from ostler.routing.question import Question
from ostler.routing.scoring import Offer
from ostler.routing.survey import Refusal, Survey

NAMED = 3
"""So many places are named in a sentence; the others are counted."""

NOT_SERVED = "is served by no registered endpoint"
NOT_SERVED_THERE = "is not served there"
_REFUSED = {
    Rejection.DOWN: "is down",
    Rejection.UNCHECKED: "is not checked yet",
    Rejection.KEY_INVALID: "refuses our key",
    Rejection.BREAKER_OPEN: "is left alone for a while, because calls to it failed",
    Rejection.RATE_LIMITED: "is rate limited",
    Rejection.NO_SLOT: "has no free slot",
    Rejection.BATCH_SLOT: "has a model that as many tasks of the run use as may at once",
    Rejection.NO_WORKER: "is reached only by workers of its own machine, and none of those is free for it",
    Rejection.NOT_LOCAL: "is not local, and the data must stay local",
    Rejection.PROVIDER: "belongs to a provider the tier does not use",
    Rejection.EXCLUDED: "failed in the last attempt",
    Rejection.PLANNED: "is not where the plan has it",
    Rejection.LEARNED: "gives way to another model of its tier, by outcomes",
    Rejection.MEMORY: "can never hold the model in its memory",
    Rejection.DISABLED: "is disabled in the profile",
    Rejection.CONTEXT: "has too small a context",
    Rejection.LOAD_FAILED: "could not load the model a moment ago",
    Rejection.NO_ROOM: "has no room for the model beside what is pinned",
    Rejection.UNREACHABLE: "is reached by workers on its machine only, and this calls models through the hub",
    Rejection.BUDGET: "costs money",
}


def seconds(duration_ms: int) -> str:
    """A duration for people.

    >>> seconds(80), seconds(5000), seconds(90_000)
    ('0.1 s', '5 s', '1.5 min')
    """
    if duration_ms >= 60_000:  # noqa: PLR2004 -- a minute
        return f"{duration_ms / 60_000:.1f} min"
    text = f"{duration_ms / 1000:.1f}"
    return f"{text.removesuffix('.0')} s"


def refusal(place: Refusal, question: Question) -> str:
    """Why one place cannot take the task, with what is known about it; to be read after its name."""
    view, text = place.view, _REFUSED[place.rejection]
    match place.rejection:
        case Rejection.DOWN | Rejection.KEY_INVALID | Rejection.BREAKER_OPEN if view.message:
            return f"{text} ({view.message})"
        case Rejection.NO_SLOT:
            return f"{text} ({_slots(place, question)})"
        case Rejection.BATCH_SLOT:
            most = question.facts.batch_slots.get(place.model, 0)
            return f"{text} ({most} of {most} of {place.model} taken by {question.facts.batch})"
        case Rejection.CONTEXT:
            return _context(place, question)
        case Rejection.BUDGET:
            is_limit = place.gate is not None and not place.gate.note
            return f"{f'{text}, and' if is_limit else 'may not be used:'} {gatekeeping.words(place.gate)}"
        case Rejection.MEMORY:
            return f"{text} ({_memory(place, question)})"
        case Rejection.LOAD_FAILED | Rejection.NO_ROOM if place.swap is not None and place.swap.message:
            return f"{text} ({place.swap.message})"
    return text


def refusal_now(place: Refusal, question: Question) -> str:
    """As `refusal`, with what is true at this moment only: for the record of one decision."""
    until_ms = place.view.blocked_until_ms
    if place.rejection is Rejection.RATE_LIMITED and until_ms is not None:
        return f"{_REFUSED[place.rejection]} for {seconds(until_ms - question.request.now_ms)} more"
    again_ms = place.swap.blocked_until_ms if place.swap is not None else None
    if place.rejection is Rejection.LOAD_FAILED and again_ms is not None:
        return f"{refusal(place, question)}; tried again in {seconds(again_ms - question.request.now_ms)}"
    return refusal(place, question)


def shared_slots(share: SharedSlots) -> str:
    """Slots that pools share, for a person.

    >>> shared_slots(SharedSlots(slots=2, total=6, pools=("lab",))), shared_slots(SharedSlots(slots=0))
    ('slots are shared with pool lab: 2 of 6 here', 'whether other pools use it is being asked')
    """
    if not share.pools:
        return "whether other pools use it is being asked"
    noun = "pool" if len(share.pools) == 1 else "pools"
    return f"slots are shared with {noun} {', '.join(share.pools)}: {share.slots} of {share.total} here"


def _slots(place: Refusal, question: Question) -> str:
    in_flight = question.snapshot.in_flight.get(place.endpoint, 0)
    if in_flight >= place.view.slots:
        share = place.view.share
        shared = f"; {shared_slots(share)}" if share is not None and place.view.slots == share.slots else ""
        return f"{in_flight} of {place.view.slots} taken{shared}"
    own = question.snapshot.in_flight_by_model.get((place.endpoint, place.model), 0)
    return f"{own} of {place.view.spec.slots_per_model.get(place.model, 0)} of {place.model} taken"


def _context(place: Refusal, question: Question) -> str:
    need, loaded = question.facts.context_tokens, place.view.loaded_context(place.model)
    window = place.view.windows.get(place.model)
    if loaded is None or (window is not None and window < need):
        return f"has a window of {window} tokens for {place.model}, the call needs {need}"
    return f"has {place.model} loaded with a context of {loaded} tokens, the call needs {need}"


def _memory(place: Refusal, question: Question) -> str:
    model = question.policy.catalog.models[place.model]
    host = question.policy.catalog.hosts[place.view.spec.host]
    room = (host.memory_bytes or 0) - host.reserve_bytes
    return f"{place.model} takes {(model.memory_bytes or 0) / GIB:.1f} GiB, the host gives {room / GIB:.1f} GiB"


def unavailable(found: Survey, question: Question) -> str:
    """Why no call can go to a tier (or to what the task pinned), naming some of the places."""
    facts = question.facts
    pins = [
        f"{kind} {name}" for kind, name in (("model", facts.model), ("endpoint", facts.endpoint)) if name is not None
    ]
    subject = f"{' of '.join(pins)} is not available" if pins else f"no endpoint of {found.tier.name} is available"
    if out := [*found.excluded, *found.refused]:
        # An endpoint that serves several models of the tier is refused once for each, mostly for the same reason.
        ordered = heapq.nsmallest(len(out), out, key=nearness)
        said = tuple(dict.fromkeys(f"{place.endpoint} {refusal(place, question)}" for place in ordered))
        more = f", and {len(said) - NAMED} more" if len(said) > NAMED else ""
        return f"{subject}: {', '.join(said[:NAMED])}{more}"
    if facts.endpoint is not None:
        return f"{subject}: {_pinned_endpoint(facts.endpoint, found, question)}"
    models = ", ".join(found.screen.fit[:NAMED])
    unchecked = sum(1 for view in question.snapshot.endpoints.values() if not view.models)
    hint = f"; {unchecked} of the endpoints listed no models so far (not checked yet, or down)" if unchecked else ""
    return f"{subject}: no registered endpoint serves {models}{_meant(question)}{hint}"


def _meant(question: Question) -> str:
    """What was probably meant by a pinned model that neither the profile nor any endpoint knows."""
    model, known = question.facts.model, question.policy.catalog.models
    if model is None or model in known:
        return ""
    return f" ({nearest(model, (*known, *question.snapshot.by_model))})"


def _pinned_endpoint(name: str, found: Survey, question: Question) -> str:
    view = question.snapshot.endpoints.get(name)
    if view is None:
        return f"endpoint {name} is not registered"
    models = ", ".join(found.screen.fit[:NAMED])
    if not view.models:
        return f"{name} listed no models so far ({view.message or view.health})"
    return f"{name} does not serve {models}"


def cost(estimate: Estimate) -> str:
    """Expected money in words."""
    if estimate.cost_micro_usd is None:
        return "price unknown"
    return "no cost" if estimate.cost_micro_usd == 0 else f"about {usd_text(estimate.cost_micro_usd)}"


def chosen(offer: Offer, tier: str, estimate: Estimate, others: int) -> str:
    """The summary of a route to a model."""
    state = "" if offer.view.residents is None else ", loaded" if offer.warm else ", to be loaded first"
    rivals = "" if not others else f", the best of {others + 1} places"
    finish = seconds(estimate.finish_ms)
    return f"{offer.model} on {offer.endpoint} (tier {tier}{state}{rivals}): about {finish}, {cost(estimate)}."


def load(offer: Offer) -> str:
    """What the swap to an offer's model consists of; empty when none is needed, or none of ours."""
    swap = offer.swap
    if swap is None:
        return ""
    if swap.loading:
        return f"is being loaded, about {seconds(swap.total_ms)} left"
    waits = f"waits about {seconds(swap.wait_ms)} for its turn, " if swap.wait_ms else ""
    unloads = f"unloads {' and '.join(swap.evict)} ({seconds(swap.unload_ms)}), " if swap.evict else ""
    return f"to be loaded first: {waits}{unloads}loads ({seconds(swap.load_ms)})"


def to_load(offer: Offer, tier: str) -> str:
    """Which load a task waits for; says the same until that load is another one."""
    evict = offer.swap.evict if offer.swap is not None else ()
    instead = f" instead of {' and '.join(evict)}" if evict else ""
    return f"{offer.model} is to be loaded on {offer.endpoint}{instead} (tier {tier})"


_WAITS = {
    WaitCode.MODEL_SWAP: "Waits for a model",
    WaitCode.CAPACITY: "Waits for a free slot",
    WaitCode.FALLBACK_WAIT: "Waits for its tier",
    WaitCode.ENDPOINT_DOWN: "Waits for an endpoint to come back",
    WaitCode.QUOTA_UNTIL: "Waits for a rate limit to end",
    WaitCode.NO_ROUTE: "Cannot run as the profile is",
    WaitCode.BUDGET: "Waits for a limit of the budget",
}


def waiting(code: WaitCode, detail: str) -> str:
    """The summary of a hold."""
    return f"{_WAITS[code]}: {detail}."


_NEARNESS = {
    rejection: rank
    for rank, rejection in enumerate(
        (
            Rejection.NO_SLOT,
            Rejection.BATCH_SLOT,
            Rejection.NO_WORKER,
            Rejection.LOAD_FAILED,
            Rejection.RATE_LIMITED,
            Rejection.BUDGET,
            Rejection.BREAKER_OPEN,
            Rejection.PLANNED,
            Rejection.LEARNED,
            Rejection.EXCLUDED,
            Rejection.UNCHECKED,
            Rejection.DOWN,
            Rejection.KEY_INVALID,
            Rejection.NO_ROOM,
            Rejection.CONTEXT,
            Rejection.MEMORY,
            Rejection.PROVIDER,
            Rejection.NOT_LOCAL,
            Rejection.UNREACHABLE,
            Rejection.DISABLED,
        )
    )
}


def nearness(place: Refusal) -> tuple[int, str, str]:
    """Sort key: what is likely to pass by itself first, what needs a person last; then by name."""
    return (_NEARNESS[place.rejection], place.endpoint, place.model)
