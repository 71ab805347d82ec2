"""After a failed check: again on the same tier, up, or no further try, by what each is worth given the failures so far.

    1. nothing is said where outcomes may not decide (`history: posterior`), of a type without outcomes, of work that
       names its tier, model or models, and of failures that are no word about the model
    2. the tiers from the present one up, as far as the rules allow; the present one only while attempts are left
    3. worth = value x chance - harm x accepted failure - cost, where the chance is that of success *given the failures*
       (`learning.escalate`), with the check's own errors as measured
    4. the one that is worth most; when nothing is worth more than it costs, the task ends, which critical work never
       does for money

A chance that nobody measured is that of the belief: unknown tiers above are tried, as they always were.
"""

from enum import StrEnum
from typing import NamedTuple

from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.policy import HistoryRule, Learned, Policy
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Task
from ostler.learning.belief import Belief
from ostler.learning.escalate import Failed, Next, Stakes, rank_next
from ostler.learning.evidence import Counts
from ostler.learning.verifier import Check
from ostler.routing.aim import find_aim, is_open
from ostler.routing.history import cost_of, learned_of, option_of
from ostler.routing.ladder import Ladder, ladder_of

JUDGED = frozenset({FailureClass.VERIFICATION, FailureClass.CAPABILITY, FailureClass.MALFORMED})
"""Failures that say something about what to try next."""


class Path(StrEnum):
    """Where to go after a failure."""

    AGAIN = "again"
    UP = "up"
    STOP = "stop"


class Advice(NamedTuple):
    """What outcomes advise. `quality_steps`: where the task stands then, counted from where it began."""

    path: Path
    quality_steps: int
    reason: str


def advise(task: Task, kind: FailureClass, policy: Policy) -> Advice | None:
    """What to do after an attempt of `task` failed; `None` = outcomes say nothing, the usual rules decide."""
    facts = task.facts
    learned = learned_of(facts, policy)
    is_mute = policy.learning.history is not HistoryRule.POSTERIOR or kind not in JUDGED or not is_open(facts)
    if is_mute or facts.fallback_models or learned is None or not learned.arms or task.tier is None:
        return None
    ladder = ladder_of(policy.catalog)
    start = find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=ladder).start
    first, here = ladder.index(start.name) if start is not None else None, ladder.index(task.tier)
    if first is None or here is None:
        return None
    reach = {ladder.steps[here].name: task.quality_steps}
    for steps in range(task.quality_steps + 1, policy.routing.max_quality_steps + 1):
        above = ladder.shift(first, steps)
        if above is not None and (ladder.index(above.name) or 0) > here:
            reach[above.name] = steps
    found = _ranked(task, learned, policy, ladder, reach)
    if found is None:
        return None
    if not found:
        return None if facts.critical else Advice(Path.STOP, task.quality_steps, _stop_reason(policy))
    best = found[0]
    path = Path.AGAIN if best.option.name == task.tier else Path.UP
    said = (
        f"{best.option.name} is worth most now: success {best.chance:.0%}, cost ${best.option.cost_micro_usd / 1e6:.4f}"
    )
    return Advice(path, reach[best.option.name], said)


def _ranked(task: Task, learned: Learned, policy: Policy, ladder: Ladder, reach: dict[str, int]) -> list[Next] | None:
    """What is worth trying, the best first; `None` where nothing is known of the tier that failed or left."""
    arms = {arm.tier: arm for arm in learned.arms if not arm.dominated_by and arm.tier in reach}
    own = next((arm for arm in learned.arms if arm.tier == task.tier and task.model in arm.models), None)
    if own is None:
        return None
    used = task.attempts_used + 1
    if used >= task.max_attempts:
        arms.pop(own.tier, None)
    elif own.dominated_by:
        arms[own.tier] = own
    if not arms:
        return None
    rules = policy.learning
    stakes = Stakes(
        value_micro_usd=rules.value_usd * MICRO_USD_PER_USD, harm_micro_usd=rules.harm_usd * MICRO_USD_PER_USD
    )
    return rank_next(
        [option_of(arm, cost_of(arm, task.facts, policy, ladder))._replace(name=arm.tier) for arm in arms.values()],
        [Failed(own.tier, own.a / (own.a + own.b), used)],
        stakes,
        check=Check(learned.false_accept, learned.false_reject),
        later={arm.tier: Belief(1.0, 1.0, Counts(*arm.later)) for arm in arms.values()},
        again=True,
    )


def _stop_reason(policy: Policy) -> str:
    return f"no tier is worth another try: value of a success ${policy.learning.value_usd:g} x chance is below the cost"
