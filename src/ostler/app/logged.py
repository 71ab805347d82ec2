"""Other policies on the decisions that a hub has logged: where they would have sent each task, and what that says.

Nothing is simulated here: each figure is made of outcomes that happened, weighed by how likely the choices were
(`learning.offline`). Counted are first tries of tasks that left the choice to the hub and ran where it was decided,
not where an outage or a limit sent them. A choice is a tier; models of one tier stand for each other, as the places of
the moment choose among them. A policy that learns is given the outcomes that were there before each decision.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from msgspec.structs import replace

from ostler.domain.decision import Cause, Decision
from ostler.domain.errors import InvalidInputError
from ostler.domain.observations import Observation
from ostler.domain.policy import ANY_TYPE, HistoryRule, Learned, Policy
from ostler.domain.tasks import TaskKind
from ostler.hub.pattern_rows import learned_at
from ostler.hub.simulated import OffPolicy
from ostler.hub.views import TaskAnswer
from ostler.learning.belief import believe
from ostler.learning.evidence import Evidence
from ostler.learning.lessons import corrected
from ostler.learning.offline import Logged, evaluate
from ostler.routing.aim import Aim, find_aim, is_open
from ostler.routing.facts import describe
from ostler.routing.ladder import Ladder

MICRO = 1_000_000
_MOVED = frozenset({Cause.AVAILABILITY, Cause.BUDGET, Cause.CONTEXT, Cause.CAPABILITY, Cause.LOCALITY})


class Case(NamedTuple):
    """A decision that can be compared, with its outcome."""

    answer: TaskAnswer
    decision: Decision
    outcome: Observation


class Share(NamedTuple):
    """A choice: models that stand for each other, and how likely it is."""

    models: frozenset[str]
    chance: float


def compare_logged(
    history: Iterable[TaskAnswer], observations: Sequence[Observation], policies: Mapping[str, Policy]
) -> tuple[OffPolicy, ...]:
    """What the log says of each policy."""
    cases = cases_of(history, observations)
    outcomes = [case.outcome for case in cases]
    folds = [Evidence(one for one in outcomes if _fold(one.task_id) != fold) for fold in (0, 1)]
    return tuple(_compared(name, cases, policy, folds) for name, policy in policies.items())


def cases_of(history: Iterable[TaskAnswer], observations: Sequence[Observation]) -> list[Case]:
    """First tries that left the choice to the hub, in the order of their ends."""
    by_attempt = {one.id: one for one in corrected(observations).outcomes}
    cases = []
    for answer in history:
        for decision in answer.decisions:
            outcome = by_attempt.get(f"{answer.task.id}:{decision.generation}")
            if outcome is not None and outcome.attempt == 1 and _is_comparable(answer, decision):
                cases.append(Case(answer, decision, outcome))
    return sorted(cases, key=lambda case: (case.outcome.at_ms, case.outcome.id))


def _is_comparable(answer: TaskAnswer, decision: Decision) -> bool:
    moved = decision.fallback_used or any(step.cause in _MOVED for step in decision.adjustments)
    return is_open(answer.task.facts) and answer.task.facts.kind is not TaskKind.COMMAND and not moved


def _fold(name: str) -> int:
    return crc32(name.encode()) % 2


def _compared(name: str, cases: Sequence[Case], policy: Policy, folds: Sequence[Evidence]) -> OffPolicy:
    learner = _Learner(policy)
    rows: list[tuple[Logged, Logged]] = []
    left_out = 0
    for case in cases:
        target = _shares_of(case, learner.at(case.outcome.task_type))
        learner.add(case.outcome)
        if target is None:
            left_out += 1
        else:
            rows.append(_row(case, target, folds[_fold(case.outcome.task_id)]))
    success = evaluate([row for row, _ in rows])
    dearest = max((row.reward for _, row in rows), default=0.0)
    cost = evaluate([row for _, row in rows], best=max(dearest, 1e-9))
    observed = [row.reward for row, _ in rows]
    spent = [row.reward for _, row in rows]
    return OffPolicy(
        policy=name,
        success=success,
        cost_usd=cost,
        happened_success=sum(observed) / len(observed) if observed else 0.0,
        happened_cost_usd=sum(spent) / len(spent) if spent else 0.0,
        left_out=left_out,
    )


class _Learner:
    """A policy as it stands before each decision: one that learns knows the outcomes until then."""

    def __init__(self, policy: Policy) -> None:
        self._policy = replace(policy, learned={})
        self._evidence = Evidence()
        self._known: dict[str, tuple[int, Learned | None]] = {}

    def add(self, outcome: Observation) -> None:
        """An outcome that came to be known."""
        self._evidence.add(outcome)

    def at(self, kind: str) -> Policy:
        """The policy for a decision about a type of work. What it believes may be a fiftieth of its outcomes behind."""
        if self._policy.learning.history not in (HistoryRule.RAW, HistoryRule.POSTERIOR):
            return self._policy
        found = {name: learned for name in (kind, ANY_TYPE) if (learned := self._at(name)) is not None}
        return replace(self._policy, learned=found)

    def _at(self, kind: str) -> Learned | None:
        samples = self._evidence.samples
        known = self._known.get(kind)
        if known is None or samples - known[0] > known[0] // 50:
            known = (samples, learned_at(self._evidence, kind, self._policy))
            self._known[kind] = known
        return known[1]


def _shares_of(case: Case, policy: Policy) -> list[Share] | None:
    """What a policy would choose for a task; `None` where it cannot run it, or runs it without a model."""
    try:
        facts = describe(case.answer.spec, policy)
    except InvalidInputError:
        return None
    facts = replace(facts, classification=case.answer.task.facts.classification)
    aim = find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=Ladder(policy.catalog))
    return _shares(aim)


def _shares(aim: Aim) -> list[Share] | None:
    if aim.start is None:
        return None
    if aim.weighing is None or aim.weighing.chosen.partition("/")[0] != aim.start.name:
        return [Share(frozenset(aim.start.models), 1.0)]
    return [Share(frozenset(one.models), one.propensity) for one in aim.weighing.options if one.propensity > 0.0]


def _logged_shares(case: Case) -> list[Share]:
    """What had a chance when the decision was made."""
    weighing, model = case.decision.weighing, case.outcome.model
    if weighing is None:
        tried = {one.model for one in case.decision.candidates if one.tier == case.decision.effective_tier}
        return [Share(frozenset({model, *tried}), 1.0)]
    return [Share(frozenset(one.models), one.propensity) for one in weighing.options if one.propensity > 0.0]


def _row(case: Case, target: Sequence[Share], others: Evidence) -> tuple[Logged, Logged]:
    """The decision for success and for cost."""
    outcome, logged = case.outcome, _logged_shares(case)
    chosen = sum(share.chance for share in target if outcome.model in share.models)
    propensity = sum(share.chance for share in logged if outcome.model in share.models) or outcome.propensity
    known = frozenset().union(*(share.models for share in logged))
    support = sum(share.chance for share in target if share.models & known)
    kind, cost = outcome.task_type, (outcome.cost_micro_usd or 0) / MICRO

    def expected(share: Share) -> float:
        return sum(believe(others, kind, model).mean for model in share.models) / len(share.models)

    def costs(models: frozenset[str]) -> float:
        means = [others.means(kind, model) for model in sorted(models)]
        priced = sum(one.priced for one in means)
        return sum(one.cost_micro_usd for one in means) / priced / MICRO if priced else 0.0

    success = Logged(
        chosen,
        propensity,
        1.0 if outcome.success else 0.0,
        believe(others, kind, outcome.model).mean,
        sum(share.chance * expected(share) for share in target),
        support,
    )
    money = Logged(
        chosen,
        propensity,
        cost,
        costs(frozenset({outcome.model})),
        sum(share.chance * costs(share.models) for share in target),
        support,
    )
    return success, money
