"""What outcomes say about the tiers of the ladder, type by type.

A tier is *good enough* for a type when one of its models is proven to be and none is proven poor; it is *poor* when all
of its models that have enough outcomes are, and at least one has. Proven means the bound of the policy, or with the raw
rule the bare share. The top tier is never called good enough: there is nothing to save by it. Advice is a function of
the evidence and the policy; who forgets the outcomes has undone it.
"""

from collections.abc import Mapping, Sequence

from ostler.domain.policy import HistoryRule, Learned, LearningPolicy
from ostler.learning.belief import NO_PRIOR, Prior, believe
from ostler.learning.evidence import Evidence
from ostler.learning.promotion import Trust, by_bound, by_raw

POOR_RATE = 0.5
"""Who is proven to succeed less often than this costs more in second tries than it saves."""
TierModels = Sequence[tuple[str, Sequence[str]]]
"""Tiers with their models, the cheapest first."""


def advise(
    evidence: Evidence, tiers: TierModels, policy: LearningPolicy, *, priors: Mapping[str, Prior] | None = None
) -> dict[str, Learned]:
    """Advice by type; types about which nothing is proven are left out."""
    found = {}
    for task_type in evidence.types():
        learned = about_type(evidence, task_type, tiers, policy, priors=priors)
        if learned.enough or learned.poor:
            found[task_type] = learned
    return found


def about_type(
    evidence: Evidence,
    task_type: str,
    tiers: TierModels,
    policy: LearningPolicy,
    *,
    priors: Mapping[str, Prior] | None = None,
) -> Learned:
    """What is proven about one type, with the figures of every tier that has outcomes."""
    enough, poor, said = "", [], {}
    for place, (tier, models) in enumerate(tiers):
        known = [model for model in models if evidence.raw(task_type, model).trials >= policy.samples_min]
        if not known:
            continue
        prior = (priors or {}).get
        good = {m: is_good(evidence, task_type, m, policy, prior=prior(m) or NO_PRIOR) for m in known}
        bad = {m: is_poor(evidence, task_type, m, policy, prior=prior(m) or NO_PRIOR) for m in known}
        said[tier] = "; ".join(figures(evidence, task_type, model, good[model], policy) for model in known)
        if all(trust.trusted for trust in bad.values()):
            poor.append(tier)
        elif not enough and place < len(tiers) - 1 and any(trust.trusted for trust in good.values()):
            enough = "" if any(trust.trusted for trust in bad.values()) else tier
    return Learned(enough=enough, poor=tuple(poor), evidence=said)


def is_good(
    evidence: Evidence, task_type: str, model: str, policy: LearningPolicy, *, prior: Prior = NO_PRIOR
) -> Trust:
    """Whether a model is proven to be above the rate: by the belief, and by its own outcomes at this type alone.

    Nothing is trusted because it is good at other work.
    """
    if policy.history is HistoryRule.RAW:
        return by_raw(evidence.raw(task_type, model), rate=policy.rate, samples_min=policy.samples_min)
    own = by_bound(evidence.of_type(task_type, model), rate=policy.rate).figure
    chance = min(own, believe(evidence, task_type, model, prior=prior).above(policy.rate))
    return Trust(chance >= policy.confidence, chance)


def is_poor(
    evidence: Evidence, task_type: str, model: str, policy: LearningPolicy, *, prior: Prior = NO_PRIOR
) -> Trust:
    """Whether it is proven to fail more often than not; with the raw rule its share is below what is left to one."""
    if policy.history is HistoryRule.RAW:
        counts = evidence.raw(task_type, model)
        share = counts.successes / counts.trials if counts.trials else 1.0
        return Trust(counts.trials >= policy.samples_min and share < 1.0 - policy.rate, share)
    chance = 1.0 - believe(evidence, task_type, model, prior=prior).above(POOR_RATE)
    return Trust(chance >= policy.confidence, chance)


def figures(evidence: Evidence, task_type: str, model: str, good: Trust, policy: LearningPolicy) -> str:
    """Counts and what they prove, in words."""
    counts = evidence.raw(task_type, model)
    said = f"{model} {counts.successes:.0f} of {counts.trials:.0f} succeeded"
    if policy.history is HistoryRule.RAW:
        return said
    return f"{said}, P(rate > {policy.rate:.0%}) = {good.figure:.2f}"
