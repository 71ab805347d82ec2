"""Step 4 of the decision: what outcomes of the past do to a request. Pure; what was learned stands in the policy.

    1. off, or the type has no outcomes (nor, for work of which nobody knows the type, all work together): nothing
    2. `posterior`: among the tiers the one with the most value x chance - cost, and for a small share of the tasks
       another one, to find out
    3. `raw`, and where 2 stays on a tier that is proven poor: down to the cheapest tier that is good enough, or up from
       a poor one to the next that is not

Who may win at 2: the tier that the work asks for; a lower one when it is proven good enough by its bound and the work
is not critical; a higher one when both it and the tier that the work asks for have outcomes. Nothing below the
profile's minimum, no dominated model. Who may be tried: anything above the minimum, but a lower tier only for work that
carries a check, as nobody would notice bad work otherwise; nothing for critical work, nor for live calls.

The draw is a hash of the policy's seed and the task's id: the same task explores, or does not, whenever it is asked.
"""

from typing import NamedTuple

from ostler.domain.catalog import CostClass, TierSpec
from ostler.domain.decision import Weighed, Weighing
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.policy import ANY_TYPE, Arm, HistoryRule, Learned, Policy
from ostler.domain.tasks import TaskFacts
from ostler.learning.belief import Belief
from ostler.learning.choose import Aims, Choice, Option, Ranked, choose, draw_of
from ostler.learning.evidence import Counts
from ostler.routing.facts import CALL
from ostler.routing.gatekeeping import expected
from ostler.routing.ladder import Ladder

_PAID = frozenset({CostClass.METERED})
_AWAY = frozenset({CostClass.METERED, CostClass.SUBSCRIPTION})


class Move(NamedTuple):
    """Where history sends a request, and why; `tier` is `None` where it stays."""

    tier: TierSpec | None = None
    reason: str = ""
    weighing: Weighing | None = None


STAY = Move()


def learned_of(facts: TaskFacts, policy: Policy) -> Learned | None:
    """What outcomes say of the type of a task; of all work together where nobody knows its type."""
    found = facts.classification
    own = policy.learned.get(found.task_type)
    return own if own is not None or found.type_source != "none" else policy.learned.get(ANY_TYPE)


def consult(
    facts: TaskFacts, base: TierSpec, minimum: TierSpec | None, policy: Policy, ladder: Ladder, *, explore: bool
) -> Move:
    """What history makes of a request for `base`. `minimum`: the lowest tier of the type; `explore`: whether there is
    money for exploring what costs more.
    """
    learned = learned_of(facts, policy)
    if learned is None:
        return STAY
    weighed = STAY
    if learned.arms and policy.learning.history is HistoryRule.POSTERIOR:
        weighed = _weigh(facts, learned, base, minimum, policy, ladder, explore=explore)
        if weighed.tier is not None or base.name not in learned.poor:
            return weighed
    return _by_rule(facts, learned, base, minimum, ladder)._replace(weighing=weighed.weighing)


def cost_of(arm: Arm, facts: TaskFacts, policy: Policy, ladder: Ladder) -> int:
    """Expected cost of the task on an arm, in micro-dollars: as measured, else by price. Unknown is not free."""
    if arm.cost_micro_usd is not None:
        return arm.cost_micro_usd
    tier = ladder.find(arm.tier)
    if tier is None or tier.cost not in _PAID:
        return 0
    return max(expected(facts, 0, ("", model), policy)[0].micro_usd for model in arm.models)


def option_of(arm: Arm, cost_micro_usd: int) -> Option:
    """An arm as one of those that are compared."""
    return Option(arm.name, float(cost_micro_usd), Belief(arm.a, arm.b, Counts()))


def _weigh(
    facts: TaskFacts,
    learned: Learned,
    base: TierSpec,
    minimum: TierSpec | None,
    policy: Policy,
    ladder: Ladder,
    *,
    explore: bool,
) -> Move:
    """Branch 2."""
    arms = {arm.name: arm for arm in learned.arms if _allowed(arm, facts, minimum, ladder)}
    own = arms.get(base.name) or next((arm for arm in arms.values() if arm.tier == base.name), None)
    if own is None:
        return STAY
    barred = {name: _barred(arm, own, base, facts, policy, ladder) for name, arm in arms.items()}
    if all(barred.values()):
        return STAY
    tried = {name for name, arm in arms.items() if _may_be_tried(arm, base, facts, ladder)}
    rules = policy.learning
    aims = Aims(value_micro_usd=rules.value_usd * MICRO_USD_PER_USD, optimism=0.0, explore=rules.explore)
    choice = choose(
        [option_of(arm, cost_of(arm, facts, policy, ladder)) for arm in arms.values()],
        aims,
        draw=draw_of(rules.seed, facts.id),
        purse_micro_usd=None if explore else 0.0,
        winners=[name for name in arms if not barred[name]],
        tried=tried,
    )
    if choice is None:
        return STAY
    chosen = arms[choice.chosen.name]
    weighing = Weighing(
        options=tuple(_weighed(one, arms[one.option.name], barred[one.option.name]) for one in choice.ranked),
        chosen=chosen.name,
        propensity=choice.propensity,
        explored=choice.explored,
        spared=_spared(chosen, learned, ladder),
    )
    tier = ladder.find(chosen.tier)
    if tier is None or tier.name == base.name:
        return Move(None, "", weighing)
    return Move(tier, _reason(choice, chosen, own, facts), weighing)


def _allowed(arm: Arm, facts: TaskFacts, minimum: TierSpec | None, ladder: Ladder) -> bool:
    """Whether an arm may be used at all: its tier is there, not below the minimum, and not paid for where data stay."""
    tier = ladder.find(arm.tier)
    if tier is None or not ladder.index(tier.name) or (facts.local_only and tier.cost in _AWAY):
        return False
    return minimum is None or ladder.position(tier.name) >= ladder.position(minimum.name)


def _barred(arm: Arm, own: Arm, base: TierSpec, facts: TaskFacts, policy: Policy, ladder: Ladder) -> str:
    """Why an arm may not win; empty = it may. `own`: the one that the work asks for."""
    if arm.dominated_by:
        return f"{arm.dominated_by} is better and costs no more"
    if arm is own:
        return ""
    if ladder.position(arm.tier) < ladder.position(base.name):
        if facts.critical:
            return "critical work is not made cheaper"
        return "" if arm.trusted else "not proven good enough"
    few = policy.learning.samples_min
    if arm.trials < few:
        return f"{arm.trials} outcomes"
    return f"{own.name} has {own.trials} outcomes" if own.trials < few else ""


def _may_be_tried(arm: Arm, base: TierSpec, facts: TaskFacts, ladder: Ladder) -> bool:
    if facts.critical or facts.id == CALL:
        return False
    return ladder.position(arm.tier) >= ladder.position(base.name) or facts.classification.verification_steps > 0


def _spared(chosen: Arm, learned: Learned, ladder: Ladder) -> tuple[str, ...]:
    """Models to leave out: dominated ones, and on the tier of the choice all that it does not consist of."""
    tier = ladder.find(chosen.tier)
    others = tier.models if tier is not None else ()
    dominated = (model for arm in learned.arms if arm.dominated_by for model in arm.models)
    return tuple(sorted({*others, *dominated} - set(chosen.models)))


def _weighed(one: Ranked, arm: Arm, barred: str) -> Weighed:
    return Weighed(
        name=arm.name,
        models=arm.models,
        chance=round(one.option.belief.mean, 4),
        trials=arm.trials,
        cost_micro_usd=round(one.option.cost_micro_usd),
        worth_micro_usd=round(one.worth_micro_usd),
        gain_per_usd=None if one.gain_per_usd is None else round(one.gain_per_usd, 4),
        propensity=one.propensity,
        dominated_by=arm.dominated_by,
        barred=barred,
    )


def _reason(choice: Choice, chosen: Arm, own: Arm, facts: TaskFacts) -> str:
    kind = facts.classification.task_type
    if choice.explored:
        return f"{chosen.name} is tried to find out how it does at {kind} ({choice.propensity:.1%} of the tasks)"
    means = f"{chosen.a / (chosen.a + chosen.b):.0%} against {own.a / (own.a + own.b):.0%}"
    return f"{chosen.name} is worth most at {kind} ({means} expected): {chosen.said}"


def _by_rule(facts: TaskFacts, learned: Learned, base: TierSpec, minimum: TierSpec | None, ladder: Ladder) -> Move:
    """Branch 3."""
    kind = facts.classification.task_type
    enough, here = ladder.find(learned.enough), ladder.position(base.name)
    lower = enough is not None and ladder.position(enough.name) < here
    if enough is not None and lower and not facts.critical and _reaches(enough, minimum, ladder):
        return Move(enough, f"{enough.name} is good enough for {kind}: {_said(learned, enough)}")
    better = [tier for tier in ladder.models if ladder.position(tier.name) > here and tier.name not in learned.poor]
    if base.name in learned.poor and better:
        return Move(better[0], f"{base.name} is poor at {kind}: {_said(learned, base)}")
    return STAY


def _reaches(tier: TierSpec, minimum: TierSpec | None, ladder: Ladder) -> bool:
    """Whether a tier may be gone down to: it has models, is enabled, and is not below the profile's minimum."""
    if not ladder.index(tier.name):
        return False
    return minimum is None or ladder.position(tier.name) >= ladder.position(minimum.name)


def _said(learned: Learned, tier: TierSpec) -> str:
    return learned.evidence.get(tier.name, "by its outcomes")
