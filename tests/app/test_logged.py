"""Other profiles on what a hub has logged: from the records and outcomes that it keeps, nothing simulated."""

from collections.abc import Sequence
from random import Random

import pytest
from msgspec.structs import replace

from ostler.app.logged import cases_of, compare_logged
from ostler.domain.decision import Adjustment, Cause, Route, RouteRequest
from ostler.domain.fleet import FleetSnapshot
from ostler.domain.limits import BudgetPolicy, Price
from ostler.domain.observations import Observation
from ostler.domain.policy import Arm, HistoryRule, Learned, LearningPolicy, Policy
from ostler.domain.states import Outcome
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.hub.accept import new_tasks
from ostler.hub.views import TaskAnswer
from ostler.learning.lessons import revision_of
from ostler.routing.decide import decide
from tests.routing.fleets import view
from tests.scheduling.rig import three_tiers

NOW = 1_750_000_000_000
RATES = {"qwen": 0.6, "claude": 0.9}
COSTS = {"qwen": 0, "claude": 5_000}
FLEET = FleetSnapshot(
    endpoints={"box": view("box", "qwen", slots=9), "cloud": view("cloud", "claude", local=False, slots=9)},
    by_model={"qwen": ("box",), "claude": ("cloud",)},
)


def policy(explore: float, **fields: object) -> Policy:
    """Both tiers are known to do about as well: the local one is taken but for what explores."""
    arms = (
        Arm(tier="standard", models=("qwen",), a=30, b=20, trials=49),
        Arm(tier="complex", models=("claude",), a=30, b=20, trials=49),
    )
    learning = LearningPolicy(history=HistoryRule.POSTERIOR, explore=explore)
    prices = {"claude": Price(input=3.0, output=15.0)}
    base = replace(
        three_tiers(), learning=learning, learned={"docs": Learned(arms=arms)}, budget=BudgetPolicy(prices=prices)
    )
    return replace(base, **fields)


def always(tier: str) -> Policy:
    """A profile that sends all standard work to a tier."""
    base = three_tiers()
    mapping = {"trivial": "direct", "standard": tier, "complex": "complex"}
    return replace(base, routing=replace(base.routing, complexity_tiers=mapping))


def played(rules: Policy, number: int, seed: int = 1, **fields: object) -> tuple[list[TaskAnswer], list[Observation]]:
    """What a hub under these rules would have logged of so many tasks."""
    dice, answers, outcomes = Random(seed), [], []
    for index in range(number):
        plain = {"kind": TaskKind.CHAT, "prompt": "write", "task_type": "docs", "complexity": Complexity.STANDARD}
        spec = TaskSpec(id=f"t{index}", **{**plain, **fields})  # type: ignore[arg-type]
        (row,) = new_tasks([spec], rules, first_seq=index + 1, now_ms=NOW, settled={})
        verdict = decide(RouteRequest(facts=row.task.facts, now_ms=NOW, queued_ms=NOW, generation=1), FLEET, rules)
        assert isinstance(verdict, Route)
        decision, model = verdict.decision, verdict.decision.selected_model or ""
        answers.append(
            TaskAnswer(task=row.task, spec=spec, attempts=(), decisions=(decision,), events=(), output=None, now_ms=NOW)
        )
        weighing = decision.weighing
        outcomes.append(
            Observation(
                id=f"{spec.id}:1",
                at_ms=NOW + index,
                task_id=spec.id,
                task_type="docs",
                model=model,
                tier=decision.effective_tier,
                success=dice.random() < RATES[model],
                proof=Outcome.VERIFIED,
                cost_micro_usd=COSTS[model],
                propensity=weighing.propensity if weighing is not None else 1.0,
            )
        )
    return answers, outcomes


def test_another_profile_is_told_from_what_explored() -> None:
    """The log went to the local tier mostly; what the other one would have earned is told from its share, with both
    truths inside the intervals.
    """
    answers, outcomes = played(policy(0.3), 1_500)
    found = {
        one.policy: one
        for one in compare_logged(answers, outcomes, {"up": always("complex"), "as is": always("standard")})
    }
    for name, model in (("up", "claude"), ("as is", "qwen")):
        success, cost = found[name].success, found[name].cost_usd
        assert success.cannot_say == cost.cannot_say == ""
        assert success.support == 1.0
        assert success.low <= RATES[model] <= success.high
        assert cost.dr == pytest.approx(COSTS[model] / 1e6, rel=0.25, abs=1e-9)
    assert found["up"].success.low > found["as is"].success.high
    assert found["up"].success.effective == pytest.approx(450, abs=60)


def test_a_log_without_exploring_cannot_tell() -> None:
    """Nothing went to the other tier: no figure, and the reason."""
    answers, outcomes = played(policy(0.0), 200)
    (up,) = compare_logged(answers, outcomes, {"up": always("complex")})
    assert up.success.cannot_say == "100% of its choices were never tried here"
    assert (up.success.low, up.success.high) == (0.0, 1.0)
    (same,) = compare_logged(answers, outcomes, {"same": always("standard")})
    assert same.success.cannot_say == ""
    assert same.success.dr == pytest.approx(same.happened_success)


def test_a_log_without_history_tells_of_policies_that_choose_alike() -> None:
    """Where outcomes chose nothing, the choice was certain."""
    answers, outcomes = played(always("standard"), 120)
    alike, other = compare_logged(answers, outcomes, {"alike": always("standard"), "other": always("complex")})
    assert (alike.success.same, alike.success.cannot_say) == (120, "")
    assert "never tried" in other.success.cannot_say


def test_a_policy_that_learns_knows_only_what_came_before() -> None:
    """At first it goes where its profile says; once it knows, mostly to what gains most. All of that has support."""
    answers, outcomes = played(policy(0.4), 1_200)
    learner = policy(0.05, learned={})
    (found,) = compare_logged(answers, outcomes, {"learns": learner})
    assert found.success.cannot_say == ""
    assert found.success.dr > RATES["qwen"] + 0.1
    assert 0 < found.success.same < 1_200


def test_later_evidence_counts() -> None:
    """An outcome that was put right is compared as it was in truth."""
    answers, outcomes = played(always("standard"), 60)
    revised = [revision_of(one.task_id, "docs", one.model, NOW + 999, success=False) for one in outcomes]
    (found,) = compare_logged(answers, [*outcomes, *revised], {"same": always("standard")})
    assert (found.success.dr, found.happened_success) == (0.0, 0.0)


def test_only_free_choices_that_ran_where_they_were_decided_are_compared() -> None:
    """Not what named its tier, nor what an outage moved, nor second tries."""

    def number(answers: Sequence[TaskAnswer], outcomes: Sequence[Observation]) -> int:
        return len(cases_of(answers, outcomes))

    answers, outcomes = played(always("standard"), 5)
    assert number(answers, outcomes) == 5
    assert number(*played(always("standard"), 5, tier="standard")) == 0
    assert number(answers, [replace(one, attempt=2) for one in outcomes]) == 0
    assert number(answers, []) == 0
    fell = [replace(one, decisions=(replace(one.decisions[0], fallback_used=True),)) for one in answers]
    assert number(fell, outcomes) == 0
    step = Adjustment(cause=Cause.BUDGET, from_tier="complex", to_tier="standard", reason="limit")
    cut = [replace(one, decisions=(replace(one.decisions[0], adjustments=(step,)),)) for one in answers]
    assert number(cut, outcomes) == 0


def test_a_profile_that_cannot_run_the_tasks_leaves_them_out() -> None:
    """And says how many."""
    answers, outcomes = played(always("standard"), 40, endpoint=None)
    missing = [replace(one, spec=replace(one.spec, tier="nowhere")) for one in answers]
    (found,) = compare_logged(missing, outcomes, {"other": always("standard")})
    assert (found.left_out, found.success.cannot_say) == (40, "no decision was logged")
