"""What there is to choose from at a type of work, with what is believed of each: the tiers, and dominated models.

The models of a tier are interchangeable by the word of whoever wrote the profile, so a tier is one choice: its figures
are those of its models, weighed by their outcomes. A model is taken out of it when another one, of any tier, costs no
more and is surely better (its lower bound is above this one's upper bound); it is a choice of its own then, which gets
exploration and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ostler.domain.policy import ANY_TYPE, Arm, HistoryRule, LearningPolicy
from ostler.learning.advice import TierModels, figures, is_good, is_poor
from ostler.learning.belief import NO_PRIOR, Belief, Prior, believe
from ostler.learning.choose import Option, dominating
from ostler.learning.evidence import Counts, Evidence

SIGMAS = 2.0
"""How far a bound is from the mean where models are compared."""


class Costs(NamedTuple):
    """What a usual task costs on each model; one that is not there costs nothing more."""

    usual: Mapping[str, int] = {}

    def of(self, model: str) -> int:
        """In micro-dollars."""
        return self.usual.get(model, 0)


class _Known(NamedTuple):
    tier: str
    model: str
    option: Option
    trials: int
    later: Counts
    cost: int | None
    trusted: bool
    poor: bool
    said: str


def arms_of(
    evidence: Evidence,
    task_type: str,
    tiers: TierModels,
    policy: LearningPolicy,
    *,
    priors: Mapping[str, Prior] | None = None,
    costs: Costs | None = None,
) -> tuple[Arm, ...]:
    """The choices at a type of work, the cheapest tier first; none where no model of the tiers has enough outcomes."""
    bound = policy if policy.history is HistoryRule.POSTERIOR else _by_bound(policy)
    known = [
        _look(evidence, task_type, tier, model, bound, (priors or {}).get(model, NO_PRIOR), costs or Costs())
        for tier, models in tiers
        for model in models
    ]
    if not any(one.trials >= policy.samples_min for one in known):
        return ()
    options = [one.option for one in known]
    by_name = {one.option.name: one for one in known}
    inferior = {one.option.name: dominating(one.option, options, SIGMAS) for one in known}
    arms: list[Arm] = []
    for tier, _ in tiers:
        members = [one for one in known if one.tier == tier]
        usual = [one for one in members if not inferior[one.option.name]]
        if usual:
            arms.append(_together(tier, usual, policy.samples_min))
        arms.extend(
            _together(tier, [one], policy.samples_min, by_name[inferior[one.option.name]].model)
            for one in members
            if inferior[one.option.name]
        )
    return tuple(arms)


def _by_bound(policy: LearningPolicy) -> LearningPolicy:
    return LearningPolicy(
        history=HistoryRule.POSTERIOR, rate=policy.rate, confidence=policy.confidence, samples_min=policy.samples_min
    )


def _look(
    evidence: Evidence, task_type: str, tier: str, model: str, policy: LearningPolicy, prior: Prior, costs: Costs
) -> _Known:
    """One model at a type; with `ANY_TYPE` at all work together."""
    if task_type == ANY_TYPE:
        overall = evidence.of_model(model)
        belief = Belief(
            overall.successes + prior.weight * prior.rate, overall.failures + prior.weight * (1.0 - prior.rate), overall
        )
        own = [evidence.raw(kind, model) for kind in evidence.types()]
        trials = round(sum(counts.trials for counts in own))
        later = _sum([_later(evidence, kind, model) for kind in evidence.types()])
        spent = [evidence.means(kind, model) for kind in evidence.types()]
        trusted, poor = belief.above(policy.rate) >= policy.confidence, belief.above(0.5) <= 1.0 - policy.confidence
        said = f"{model} {sum(counts.successes for counts in own):.0f} of {trials} succeeded at all work"
    else:
        belief = believe(evidence, task_type, model, prior=prior)
        trials = round(evidence.raw(task_type, model).trials)
        later = _later(evidence, task_type, model)
        spent = [evidence.means(task_type, model)]
        good = is_good(evidence, task_type, model, policy, prior=prior)
        trusted, poor = good.trusted, is_poor(evidence, task_type, model, policy, prior=prior).trusted
        said = figures(evidence, task_type, model, good, policy)
    priced = sum(means.priced for means in spent)
    cost = sum(means.cost_micro_usd for means in spent) // priced if priced >= policy.samples_min else None
    option = Option(f"{tier}/{model}", cost if cost is not None else costs.of(model), belief)
    enough = trials >= policy.samples_min
    return _Known(tier, model, option, trials, later, cost, trusted and enough, poor and enough, said)


def _together(tier: str, members: Sequence[_Known], samples_min: int, dominated_by: str = "") -> Arm:
    """One choice of some models. It is trusted when one of those with enough outcomes is and none is poor."""
    weights = [1.0 + one.trials for one in members]
    mean = sum(weight * one.option.belief.mean for weight, one in zip(weights, members, strict=True)) / sum(weights)
    size = sum(one.option.belief.a + one.option.belief.b for one in members)
    costs = [(one.cost, one.trials) for one in members if one.cost is not None]
    told = [one for one in members if one.trials >= samples_min]
    trials, later = sum(trials for _, trials in costs), _sum([one.later for one in members])
    return Arm(
        tier=tier,
        models=tuple(one.model for one in members),
        a=size * mean,
        b=size * (1.0 - mean),
        trials=sum(one.trials for one in members),
        trusted=any(one.trusted for one in told) and not any(one.poor for one in told),
        poor=bool(told) and all(one.poor for one in told),
        cost_micro_usd=sum(cost * number for cost, number in costs) // trials if trials else None,
        later=(later.successes, later.failures),
        dominated_by=dominated_by,
        said="; ".join(one.said for one in members if one.trials),
    )


def _later(evidence: Evidence, task_type: str, model: str) -> Counts:
    """Outcomes of tries that came after a failed one."""
    return evidence.of_type(task_type, model).minus(evidence.of(task_type, model, 1))


def _sum(parts: Sequence[Counts]) -> Counts:
    total = Counts()
    for part in parts:
        total = total.plus(part)
    return total
