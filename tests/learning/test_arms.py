"""What there is to choose from: tiers as their models are known, dominated models by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.policy import ANY_TYPE, Arm, HistoryRule, LearningPolicy
from ostler.domain.states import Outcome
from ostler.learning.arms import Costs, arms_of
from ostler.learning.belief import Prior
from ostler.learning.evidence import Evidence
from tests.learning.rig import MODELS, TYPES, histories, history, observation

TIERS = (("low", ("small",)), ("mid", ("middle",)), ("top", ("large",)))
ONE_TIER = (("all", MODELS),)
RULES = LearningPolicy(history=HistoryRule.POSTERIOR)
Rows = list[tuple[str, str, bool, int, Outcome]]


def rows(model: str, good: int, bad: int, task_type: str = "docs", attempt: int = 1) -> Rows:
    return [(task_type, model, number < good, attempt, Outcome.VERIFIED) for number in range(good + bad)]


def evidence(*parts: Rows) -> Evidence:
    return Evidence(history([row for part in parts for row in part]))


def named(arms: tuple[Arm, ...]) -> dict[str, Arm]:
    return {arm.name: arm for arm in arms}


def mean(arm: Arm) -> float:
    return arm.a / (arm.a + arm.b)


def test_each_tier_is_one_choice_with_what_is_known_of_it() -> None:
    """The cheapest first, also those without an outcome of their own; counts, trust and what it took."""
    arms = arms_of(_dearer("small", rows("small", 20, 0), rows("middle", 1, 9)), "docs", TIERS, RULES)
    assert [arm.name for arm in arms] == ["low", "mid", "top"]
    low, mid, top = arms
    assert (low.trials, low.trusted, low.poor) == (20, True, False)
    assert (mid.trials, mid.trusted, mid.poor) == (10, False, True)
    assert (top.trials, top.trusted, top.poor, top.cost_micro_usd) == (0, False, False, None)
    assert (low.cost_micro_usd, mid.cost_micro_usd) == (9_000, 1_000)
    assert mean(low) > mean(top) > mean(mid)
    assert "20 of 20 succeeded" in low.said


def test_without_enough_outcomes_there_is_nothing_to_choose() -> None:
    """Of no model of the tiers: what others did says nothing of these."""
    assert arms_of(evidence(rows("small", 2, 0)), "docs", TIERS, RULES) == ()
    assert arms_of(evidence(rows("small", 9, 0)), "bugfix", TIERS, RULES) == ()
    assert arms_of(evidence(rows("stranger", 9, 0)), "docs", TIERS, RULES) == ()
    assert arms_of(evidence(rows("small", 3, 0)), "docs", TIERS, RULES) != ()


def test_a_dominated_model_is_taken_out_of_its_tier() -> None:
    """Surely worse and no cheaper: it is a choice of its own, and the tier's figures are without it."""
    arms = named(arms_of(evidence(rows("small", 60, 0), rows("large", 0, 60)), "docs", ONE_TIER, RULES))
    assert set(arms) == {"all", "all/large"}
    assert arms["all"].models == ("small", "middle")
    assert arms["all/large"].dominated_by == "small"
    assert mean(arms["all"]) > 0.8
    assert mean(arms["all/large"]) < 0.2


def test_one_that_is_cheaper_is_not_dominated() -> None:
    """It may be worth its price."""
    found = evidence(rows("small", 0, 60), rows("large", 60, 0))
    dear = Costs({"large": 9_000})
    free = [observation(number, "docs", model) for number, model in enumerate(MODELS)]
    assert all(one.cost_micro_usd in (None, 1_000) for one in free)
    arms = arms_of(_uncosted(rows("small", 0, 60), rows("large", 60, 0)), "docs", TIERS, RULES, costs=dear)
    assert not any(arm.dominated_by for arm in arms)
    arms = arms_of(found, "docs", TIERS, RULES)
    assert named(arms)["low/small"].dominated_by == "large"


def _dearer(model: str, *parts: Rows) -> Evidence:
    found = history([row for part in parts for row in part])
    return Evidence([replace(one, cost_micro_usd=9_000 if one.model == model else one.cost_micro_usd) for one in found])


def _uncosted(*parts: Rows) -> Evidence:
    return Evidence([replace(one, cost_micro_usd=None) for one in history([row for part in parts for row in part])])


def test_the_usual_cost_stands_in_for_one_that_nobody_measured() -> None:
    """For comparing alone: the arm itself says that it was not measured."""
    arms = named(arms_of(_uncosted(rows("small", 9, 0)), "docs", TIERS, RULES, costs=Costs({"small": 7})))
    assert arms["low"].cost_micro_usd is None


def test_later_tries_are_counted_by_themselves() -> None:
    """Successes and failures of tries that came after a failed one."""
    found = evidence(rows("middle", 5, 0), rows("middle", 3, 1, attempt=2), rows("middle", 1, 0, attempt=3))
    (later,) = [arm.later for arm in arms_of(found, "docs", TIERS, RULES) if arm.name == "mid"]
    assert later == pytest.approx((4.0, 1.0), abs=0.05)


def test_work_of_unknown_type_is_judged_by_all_work_together() -> None:
    """Global means, and proof by all outcomes: price is not quality."""
    found = evidence(rows("small", 10, 0), rows("small", 10, 0, "bugfix"), rows("large", 2, 8, "testing"))
    arms = named(arms_of(found, ANY_TYPE, TIERS, RULES))
    assert (arms["low"].trials, arms["low"].trusted, arms["low"].poor) == (20, True, False)
    assert mean(arms["low"]) > 0.9
    assert mean(arms["top/large"]) < 0.3
    assert "at all work" in arms["low"].said


def test_a_prior_orders_what_nobody_tried() -> None:
    """A model of which more is thought stands higher until it has outcomes."""
    priors = {"middle": Prior(rate=0.6), "large": Prior(rate=0.9)}
    arms = named(arms_of(evidence(rows("small", 5, 5)), "docs", TIERS, RULES, priors=priors))
    assert mean(arms["top"]) == pytest.approx(0.9)
    assert mean(arms["mid"]) == pytest.approx(0.6)


@given(histories, st.sampled_from(TYPES))
def test_the_arms_are_a_partition_of_the_models(found: Rows, task_type: str) -> None:
    """Whatever happened: each model of each tier in exactly one arm, and none that is both trusted and poor."""
    for tiers in (TIERS, ONE_TIER):
        arms = arms_of(Evidence(history(found)), task_type, tiers, RULES)
        if arms:
            placed = [(arm.tier, model) for arm in arms for model in arm.models]
            assert sorted(placed) == sorted((tier, model) for tier, models in tiers for model in models)
            assert len({arm.name for arm in arms}) == len(arms)
        assert not any(arm.trusted and arm.poor for arm in arms)
        assert not any(arm.dominated_by and len(arm.models) != 1 for arm in arms)


@given(histories, st.sampled_from(MODELS), st.sampled_from(TYPES))
def test_forgetting_a_model_restores_its_arm_exactly(found: Rows, model: str, task_type: str) -> None:
    """With others' outcomes as they are, its belief is its prior again, to the last digit."""
    prior = {name: Prior(rate=0.62, weight=2.0) for name in MODELS}
    left = Evidence([one for one in history(found) if one.model != model])
    arms = arms_of(left, task_type, TIERS, RULES, priors=prior)
    fresh = arms_of(evidence(rows("small" if model != "small" else "large", 3, 0)), "docs", TIERS, RULES, priors=prior)
    own = [(arm.a, arm.b, arm.trials, arm.later) for arm in arms if model in arm.models]
    expected = [(arm.a, arm.b, arm.trials, arm.later) for arm in fresh if model in arm.models]
    assert not arms or own == expected


@given(histories, st.sampled_from(TYPES), st.sampled_from(MODELS))
def test_one_more_success_never_lowers_an_arm(found: Rows, task_type: str, model: str) -> None:
    """Nor takes its trust, nor makes it dominated."""
    kept = Evidence(history(found))
    before = {name: arm for arm in arms_of(kept, task_type, TIERS, RULES) for name in arm.models}
    kept.add(observation(99, task_type, model))
    after = {name: arm for arm in arms_of(kept, task_type, TIERS, RULES) for name in arm.models}
    if model in before:
        assert mean(after[model]) >= mean(before[model]) - 1e-9
        assert after[model].trusted >= before[model].trusted
        assert (
            bool(after[model].dominated_by) <= bool(before[model].dominated_by)
            or after[model].cost_micro_usd is not None
        )
