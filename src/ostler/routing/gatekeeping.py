"""What the limits say about a place (step 9): asked for each paid one, before a model is chosen and for every fallback.

A place on the user's own machines costs nothing and is never asked about: no limit keeps work from it. For any other
one the estimate is the prompt and the expected answer at the model's price, the very amount that is reserved when the
task is assigned. How long an answer is expected to be is learned from those that were seen, else as usual.

The answer is cut to what decides: a place at a hard limit is refused, one at a soft limit is used only where nothing
cheaper can take the task, and a task that says itself where it is to run (tier, model, endpoint) sees hard limits only.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from msgspec.structs import replace

from ostler.budget.limits import Gate, Level, Standing, amount_text, gate
from ostler.budget.prices import cost_micro_usd
from ostler.budget.subscriptions import SubscriptionStanding, subscription_of, subscription_standing
from ostler.domain.catalog import TierSpec
from ostler.domain.fleet import EndpointView
from ostler.domain.ledger import Amount, Basis, Scopes, tick_name
from ostler.domain.limits import BudgetPolicy, Limit, Price, Unit, UnknownPrice, WindowKind
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts
from ostler.routing.question import Question

REFUSED = UnknownPrice.REFUSE
Outputs = Mapping[tuple[str, str], int]
_NOTHING_LEARNED: Outputs = MappingProxyType({})


def price_of(budget: BudgetPolicy, model: str) -> tuple[Price, Basis]:
    """The price to reckon with, and how it is known: the conservative one where nobody knows any."""
    price = budget.prices.get(model)
    return (budget.conservative_price, Basis.UNKNOWN) if price is None else (price, Basis.PRICED)


def charge(budget: BudgetPolicy, provider: str, model: str, amount: Amount) -> tuple[Amount, Basis]:
    """An amount of tokens with what it costs at a provider. Under a subscription that is nothing more; what it would
    have cost is kept apart.
    """
    price, basis = price_of(budget, model)
    micro_usd = cost_micro_usd(price, amount)
    if subscription_of(budget.subscriptions, provider) is not None:
        return replace(amount, covered_micro_usd=micro_usd), Basis.SUBSCRIPTION
    return replace(amount, micro_usd=micro_usd), basis


def expected(
    facts: TaskFacts,
    handed_tokens: int,
    place: tuple[str, str],
    policy: Policy,
    outputs: Outputs = _NOTHING_LEARNED,
) -> tuple[Amount, Basis]:
    """What an attempt at a place (provider, model) is expected to take. `facts` are those of the task without what it
    is handed; `outputs` is what was learned of the lengths of answers (`FleetSnapshot.outputs`).
    """
    provider, model = place
    learned = outputs.get((facts.classification.task_type, model), outputs.get(("", model)))
    output_tokens = learned if learned is not None else policy.routing.default_output_tokens
    if facts.output_tokens is not None:
        output_tokens = min(output_tokens, facts.output_tokens) if learned is not None else facts.output_tokens
    amount = Amount(input_tokens=facts.prompt_tokens + handed_tokens, output_tokens=output_tokens)
    amount, basis = charge(policy.budget, provider, model, amount)
    return amount, Basis.ESTIMATED if basis is Basis.PRICED else basis


def charged_to(facts: TaskFacts) -> Scopes:
    """Whose a task is, wherever it runs."""
    session = facts.session or ""
    tick = tick_name(session, facts.tick or "")
    return Scopes(batch=facts.batch or "", task=facts.id, session=session, tick=tick)


def at_place(charged: Scopes, *, provider: str, tier: str, model: str, endpoint: str) -> Scopes:
    """The same at a place."""
    return replace(charged, provider=provider, tier=tier, model=model, endpoint=endpoint)


def plan_of(question: Question, provider: str, model: str) -> SubscriptionStanding | None:
    """Where the subscription to a provider stands; `None` where there is none, or nobody keeps a ledger."""
    spent = question.snapshot.spent
    plan = subscription_of(question.policy.budget.subscriptions, provider)
    if plan is None or spent is None:
        return None
    now_ms, critical = question.request.now_ms, question.facts.critical
    reports = question.snapshot.allowances
    return subscription_standing(plan, now_ms, spent, reports=reports, model=model, critical=critical)


def gate_of(
    question: Question, tier: TierSpec, view: EndpointView, model: str, plan: SubscriptionStanding | None = None
) -> Gate | None:
    """What money says about a place: its subscription, whether it has a price, the limits; `None` where none is asked.
    A subscription costs nothing more, so no limit of money keeps work from it.
    """
    spent, request, budget = question.snapshot.spent, question.request, question.policy.budget
    if view.spec.local or spent is None:
        return None
    if plan is not None and not plan.usable:
        note = f"its subscription to {plan.subscription.provider} has nothing left: {plan.reason}"
        return Gate(level=Level.EXHAUSTED, note=note, until_ms=plan.resets_ms)
    if plan is None and budget.unknown_price is REFUSED and model not in budget.prices:
        note = f"no price is known of {model}, and budget.unknown_price is refuse; give it one under `models`"
        return Gate(level=Level.EXHAUSTED, note=note)
    every = payable((*budget.limits, *request.limits), covered=plan is not None)
    if not every:
        return None
    facts, spec = request.facts, view.spec
    place = (spec.provider, model)
    estimate, _ = expected(facts, request.handed_tokens, place, question.policy, question.snapshot.outputs)
    charged = request.charged if request.charged is not None else charged_to(facts)
    scopes = at_place(charged, provider=spec.provider, tier=tier.name, model=model, endpoint=spec.name)
    parts = question.snapshot.parts
    return gate(every, scopes, request.now_ms, spent, estimate=estimate, critical=facts.critical, parts=parts)


def payable(limits: Iterable[Limit], *, covered: bool) -> tuple[Limit, ...]:
    """The limits that count an attempt, by whether a subscription covers it."""
    return tuple(limit for limit in limits if not covered or limit.unit is not Unit.USD)


def is_explicit(question: Question) -> bool:
    """Whether the task says itself where it is to run."""
    facts = question.facts
    return facts.tier is not None or facts.model is not None or facts.endpoint is not None


def is_degraded(found: Gate | None) -> bool:
    """Whether something cheaper is to be looked for."""
    return found is not None and found.level is Level.DEGRADED


def reached(standing: Standing) -> bool:
    """Whether nothing fits any more, whatever it costs."""
    part, own = standing.part, standing.used + standing.held
    if part is not None and part.most is not None and own >= part.most:
        return True
    return standing.ceiling is not None and standing.total >= standing.ceiling


def words(found: Gate | None) -> str:
    """The limit that binds, in words that stay the same until it moves; to be read after what it keeps from."""
    binding = found.binding if found is not None else None
    if binding is None:
        until_ms = found.until_ms if found is not None else None
        free = f"; free again at {_instant(until_ms)}" if until_ms is not None else ""
        return f"{found.note}{free}" if found is not None else ""
    name, unit = _name(binding), binding.limit.unit
    if binding.level is Level.DEGRADED:
        return f"the soft value of {name}, {amount_text(binding.limit.soft or 0, unit)}, is reached"
    whole = amount_text(binding.ceiling or 0, unit)
    if is_kept_elsewhere(binding):
        return f"{name} of {whole} leaves too little here: {kept_words(binding)}{moves(binding)}"
    said = f"{name} of {whole} is reached" if reached(binding) else f"{name} of {whole} would be passed"
    return said + moves(binding)


def is_kept_elsewhere(standing: Standing) -> bool:
    """Whether it would fit below the limit if other pools kept nothing for themselves."""
    ceiling = standing.ceiling
    return standing.short and ceiling is not None and standing.total + max(1, standing.asked) <= ceiling


def may_come(standing: Standing) -> bool:
    """Whether it would fit if the other pools that run gave back what they keep, which they do when they are asked."""
    asleep = standing.part.asleep if standing.part is not None else 0
    return is_kept_elsewhere(standing) and standing.total + asleep + max(1, standing.asked) <= (standing.ceiling or 0)


def kept_words(standing: Standing) -> str:
    """What other pools keep of a limit."""
    part = standing.part
    if part is None or not part.kept:
        return "the part of this pool is not known yet" if part is None or not part.pools else "its part moves"
    whose = f"pool {part.pools[0]} holds" if len(part.pools) == 1 else f"pools {', '.join(part.pools)} hold"
    asleep = f", {amount_text(part.asleep, standing.limit.unit)} where no hub runs" if part.asleep else ""
    return f"{whose} {amount_text(part.kept, standing.limit.unit)} of it{asleep}"


def moves(standing: Standing) -> str:
    """When a limit moves by itself. Of a rolling window that changes every quarter-hour, so no instant is said."""
    if standing.resets_ms is None:
        return ""
    if standing.limit.window.kind is WindowKind.ROLLING:
        return "; what leaves its window becomes free"
    return f"; free again at {_instant(standing.resets_ms)}"


def plan_words(plan: SubscriptionStanding) -> str:
    """A subscription with how much of its windows is used; to be read in the record of a place that it pays."""
    used = ", ".join(f"{one.allowance.name} {one.used_percent:.0f} % used" for one in plan.allowances)
    state = "preferred" if plan.preferred else plan.reason or "not preferred"
    return f"subscription to {plan.subscription.provider} ({state}): {used or 'nothing is known of it yet'}"


def told(found: Gate | None) -> str:
    """The limit that matters most, with what is left of it now; empty where none counts the place."""
    binding = found.binding if found is not None else None
    if found is None or binding is None:
        return ""
    unit, whole = binding.limit.unit, binding.ceiling if binding.ceiling is not None else binding.limit.soft
    used, held = amount_text(binding.used, unit), f", {amount_text(binding.held, unit)} held" if binding.held else ""
    said = f"{_name(binding)} ({found.level}): {used} used{held} of {amount_text(whole or 0, unit)}"
    return said + elsewhere_words(binding)


def elsewhere_words(standing: Standing) -> str:
    """What other pools have spent of a limit, and keep; empty where there are none."""
    part, unit = standing.part, standing.limit.unit
    if part is None or not part.pools:
        return ""
    kept = f" and keep {amount_text(part.kept, unit)}" if part.kept else ""
    return f"; other pools spent {amount_text(part.spent, unit)}{kept}"


def _name(standing: Standing) -> str:
    value = f" of {standing.limit.scope} {standing.value}" if standing.value else ""
    return f"limit {standing.limit.name}{value}"


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
