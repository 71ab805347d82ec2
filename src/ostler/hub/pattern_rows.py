"""Evidence as rows and lines for people, and as what decisions obey."""

from collections.abc import Mapping

import msgspec

from ostler.budget.prices import cost_micro_usd
from ostler.domain.catalog import DIRECT, CostClass
from ostler.domain.event import Event
from ostler.domain.ledger import Amount
from ostler.domain.policy import ANY_TYPE, Arm, HistoryRule, Learned, LearningPolicy, Policy
from ostler.hub.evidence_book import EvidenceBook
from ostler.hub.pattern_views import CheckRow, PatternRow
from ostler.learning.advice import TierModels, about_type, advise, is_good
from ostler.learning.arms import Costs, arms_of
from ostler.learning.belief import NO_PRIOR, Prior, believe
from ostler.learning.evidence import Evidence
from ostler.learning.priors import prior_of
from ostler.learning.promotion import by_raw
from ostler.learning.verifier import Check
from ostler.routing.gatekeeping import price_of

USUAL_PROMPT_TOKENS = 1_000
"""Models are compared by what a task of this length costs where nobody measured it."""
DRIFT = 0.02
"""Beliefs that decisions obey may be this far behind."""
DRIFT_OF_COST = 0.1
FEW = 10
"""The first outcomes of a model count whatever they say: below so many, any new one is told."""


def tiers_of(policy: Policy) -> TierModels:
    """The enabled tiers with their models, the cheapest first."""
    tiers = sorted((tier for tier in policy.catalog.tiers if tier.name != DIRECT), key=lambda tier: tier.rank)
    return [(tier.name, tier.models) for tier in tiers if tier.enabled]


def priors_of(policy: Policy) -> dict[str, Prior]:
    """What is believed of the models of the ladder before they have outcomes."""
    prices = policy.budget.prices
    names = {model for _, models in tiers_of(policy) for model in models}
    return {name: prior_of(name, prices[name].output if name in prices else None) for name in sorted(names)}


def usual_costs(policy: Policy) -> Costs:
    """What a usual task costs on each model of a metered tier."""
    amount = Amount(input_tokens=USUAL_PROMPT_TOKENS, output_tokens=policy.routing.default_output_tokens)
    metered = (tier for tier in policy.catalog.tiers if tier.cost is CostClass.METERED)
    return Costs(
        {name: cost_micro_usd(price_of(policy.budget, name)[0], amount) for tier in metered for name in tier.models}
    )


def proven(evidence: Evidence, policy: Policy) -> dict[str, Learned]:
    """What is proven of tiers, by type."""
    return advise(evidence, tiers_of(policy), policy.learning, priors=priors_of(policy))


def learn(evidence: Evidence, check: Check, policy: Policy) -> dict[str, Learned]:
    """What decisions obey, by type: what is proven, and by `posterior` all there is to choose from."""
    found = proven(evidence, policy)
    if policy.learning.history is not HistoryRule.POSTERIOR:
        return found
    tiers, priors, costs = tiers_of(policy), priors_of(policy), usual_costs(policy)
    for kind in (*evidence.types(), ANY_TYPE):
        arms = arms_of(evidence, kind, tiers, policy.learning, priors=priors, costs=costs)
        if arms:
            found[kind] = msgspec.structs.replace(
                found.get(kind, Learned()),
                arms=arms,
                false_accept=round(check.false_accept, 4),
                false_reject=round(check.false_reject, 4),
            )
    return found


def learned_at(evidence: Evidence, kind: str, policy: Policy) -> Learned | None:
    """What decisions about one type would obey on some evidence; `None` where it says nothing."""
    found = Learned()
    if kind != ANY_TYPE:
        found = about_type(evidence, kind, tiers_of(policy), policy.learning, priors=priors_of(policy))
    if policy.learning.history is HistoryRule.POSTERIOR:
        tiers, priors, costs = tiers_of(policy), priors_of(policy), usual_costs(policy)
        arms = arms_of(evidence, kind, tiers, policy.learning, priors=priors, costs=costs)
        found = msgspec.structs.replace(found, arms=arms)
    return found if found.enough or found.poor or found.arms else None


def moves(learned: Learned | None) -> tuple[object, ...]:
    """What of it moves decisions, but for figures."""
    if learned is None:
        return ("", (), ())
    arms = tuple(
        (arm.name, arm.trusted, arm.poor) for arm in learned.arms if arm.trusted or arm.poor or arm.dominated_by
    )
    return (learned.enough, learned.poor, arms)


def drifted(before: Mapping[str, Learned], after: Mapping[str, Learned]) -> bool:
    """Whether figures that decisions obey have moved so far that they should see them."""
    if set(before) != set(after):
        return True
    return any(_differ(before[kind].arms, after[kind].arms) for kind in after)


def _differ(before: tuple[Arm, ...], after: tuple[Arm, ...]) -> bool:
    if [arm.name for arm in before] != [arm.name for arm in after]:
        return True
    return any(_has_moved(one, other) for one, other in zip(before, after, strict=True))


def _has_moved(one: Arm, other: Arm) -> bool:
    means = abs(one.a / (one.a + one.b) - other.a / (other.a + other.b))
    costs = abs((one.cost_micro_usd or 0) - (other.cost_micro_usd or 0))
    known = (one.cost_micro_usd is None) != (other.cost_micro_usd is None)
    return (
        means > DRIFT or known or costs > DRIFT_OF_COST * (one.cost_micro_usd or 0) or one.trials != other.trials < FEW
    )


def evidence_lines(policy: Policy, task_type: str, evidence: Evidence) -> tuple[str, ...]:
    """What is known of each model of the ladder at a type of work, for whoever asks where a task would run."""
    lines, priors = [], priors_of(policy)
    for tier, models in tiers_of(policy):
        for model in models:
            counts = evidence.raw(task_type, model)
            if counts.trials:
                belief = believe(evidence, task_type, model, prior=priors.get(model, NO_PRIOR))
                low = belief.low(policy.learning.confidence)
                said = f"{counts.successes:.0f} of {counts.trials:.0f} succeeded, true rate {belief.mean:.0%}"
                above = f"P(> {policy.learning.rate:.0%}) = {belief.above(policy.learning.rate):.2f}"
                prior = f"prior counts {belief.prior_weight:.1f}"
                cost = _mean_cost(evidence, task_type, model)
                lines.append(f"{task_type} on {tier}/{model}: {said}, at least {low:.0%}, {above}, {prior}{cost}")
    return tuple(lines)


def _mean_cost(evidence: Evidence, task_type: str, model: str) -> str:
    means = evidence.means(task_type, model)
    return f", ${means.cost_micro_usd / means.priced / 1e6:.4f} each" if means.priced else ""


def told(kind: str, before: Learned | None, after: Learned | None, now_ms: int) -> Event:
    """The event of a change, with its evidence and how to take it back."""
    was, now = before or Learned(), after or Learned()
    evidence = (after or before or Learned()).evidence
    arms = (after or before or Learned()).arms
    said = [f"{tier}: {words}" for tier, words in evidence.items()] or [
        f"{arm.name}: {arm.said}" for arm in arms if arm.said
    ]
    metadata = {
        "task_type": kind,
        "enough_before": was.enough,
        "enough": now.enough,
        "poor_before": ", ".join(was.poor),
        "poor": ", ".join(now.poor),
        "dominated": ", ".join(arm.name for arm in now.arms if arm.dominated_by),
        "evidence": "; ".join(said),
        "undo": f"ostler patterns forget --type {kind}" if kind else "ostler patterns forget --all",
    }
    return Event(name="learning.changed", at_ms=now_ms, metadata=metadata)


def row(book: EvidenceBook, kind: str, model: str, policy: Policy) -> PatternRow:
    """The standing of a model at a type of work."""
    evidence, prior = book.evidence, priors_of(policy).get(model, prior_of(model))
    raw, means, belief = (
        evidence.raw(kind, model),
        evidence.means(kind, model),
        believe(evidence, kind, model, prior=prior),
    )
    rule: LearningPolicy = policy.learning
    tier = next((name for name, models in tiers_of(policy) if model in models), "")
    trust = is_good(evidence, kind, model, msgspec.structs.replace(rule, history=HistoryRule.POSTERIOR), prior=prior)
    return PatternRow(
        task_type=kind,
        model=model,
        tier=tier,
        version=book.versions.get((kind, model), ""),
        successes=round(raw.successes),
        failures=round(raw.failures),
        weight=round(evidence.of_type(kind, model).trials, 3),
        prior_rate=round(prior.rate, 4),
        prior_weight=round(belief.prior_weight, 3),
        mean=round(belief.mean, 4),
        low=round(belief.low(rule.confidence), 4),
        high=round(belief.high(rule.confidence), 4),
        above=round(trust.figure, 4),
        raw_trusted=by_raw(raw, rate=rule.rate, samples_min=rule.samples_min).trusted,
        trusted=trust.trusted and raw.trials >= rule.samples_min,
        mean_duration_ms=means.duration_ms // means.timed if means.timed else None,
        mean_cost_micro_usd=means.cost_micro_usd // means.priced if means.priced else None,
    )


def check_row(book: EvidenceBook) -> CheckRow:
    """How good the checks themselves are."""
    verdicts, rates, bounds = book.verdicts, book.verdicts.rates(), book.verdicts.bounds()
    return CheckRow(
        accepted=verdicts.accepted_good + verdicts.accepted_bad,
        accepted_bad=verdicts.accepted_bad,
        rejected=verdicts.rejected_good + verdicts.rejected_bad,
        rejected_good=verdicts.rejected_good,
        looked_at=book.looked_at,
        false_accept=round(rates.false_accept, 4),
        false_reject=round(rates.false_reject, 4),
        false_accept_high=round(bounds.false_accept, 4),
        false_reject_high=round(bounds.false_reject, 4),
    )
