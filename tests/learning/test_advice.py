"""What outcomes say about the tiers, by bounds and by the raw rule."""

import pytest
from hypothesis import given

from ostler.domain.policy import HistoryRule, LearningPolicy
from ostler.domain.states import Outcome
from ostler.learning.advice import about_type, advise
from ostler.learning.evidence import Evidence
from tests.learning.rig import TYPES, histories, history, observation

TIERS = (("low", ("small",)), ("mid", ("middle",)), ("top", ("large",)))
BOUND = LearningPolicy(history=HistoryRule.POSTERIOR)
RAW = LearningPolicy(history=HistoryRule.RAW)
Rows = list[tuple[str, str, bool, int, Outcome]]


def outcomes(model: str, good: int, bad: int, task_type: str = "docs") -> list[tuple[str, str, bool, int, Outcome]]:
    return [(task_type, model, number < good, 1, Outcome.VERIFIED) for number in range(good + bad)]


def evidence(*rows: list[tuple[str, str, bool, int, Outcome]]) -> Evidence:
    return Evidence(history([row for part in rows for row in part]))


def test_the_cheapest_tier_that_is_proven_is_enough() -> None:
    """Twenty of twenty is proof, with the figures that say so; what has no outcomes is not spoken of."""
    found = advise(evidence(outcomes("small", 20, 0), outcomes("middle", 20, 0)), TIERS, BOUND)
    assert found["docs"].enough == "low"
    assert found["docs"].evidence["low"].startswith("small 20 of 20 succeeded, P(rate > 75%) = 0.9")
    assert set(found["docs"].evidence) == {"low", "mid"}


def test_three_of_three_is_enough_for_the_raw_rule_alone() -> None:
    """The seed's rule as written; the bound waits for more."""
    three = evidence(outcomes("small", 3, 0))
    assert advise(three, TIERS, RAW)["docs"].enough == "low"
    assert advise(three, TIERS, BOUND) == {}
    assert advise(evidence(outcomes("small", 3, 1)), TIERS, RAW) == {}


def test_a_tier_that_fails_is_poor_and_the_one_above_may_be_enough() -> None:
    """Going up starts with proof, too."""
    found = advise(evidence(outcomes("small", 0, 12), outcomes("middle", 25, 1)), TIERS, BOUND)["docs"]
    assert (found.poor, found.enough) == (("low",), "mid")
    assert advise(evidence(outcomes("small", 0, 3)), TIERS, RAW)["docs"].poor == ("low",)


def test_being_good_at_other_work_is_no_proof() -> None:
    """Three of three after two hundred of two hundred elsewhere: the belief is high, and still nothing is proven."""
    found = evidence(outcomes("small", 200, 0, "bugfix"), outcomes("small", 3, 0))
    assert set(advise(found, TIERS, BOUND)) == {"bugfix"}


def test_the_top_tier_is_never_called_enough() -> None:
    """There is nothing above it to save."""
    assert advise(evidence(outcomes("large", 40, 0)), TIERS, BOUND) == {}


def test_one_poor_model_keeps_its_tier_from_being_enough() -> None:
    """Nobody says which of a tier's models will be chosen."""
    tiers = (("low", ("small", "middle")), ("top", ("large",)))
    both = evidence(outcomes("small", 30, 0), outcomes("middle", 0, 30))
    found = about_type(both, "docs", tiers, BOUND)
    assert (found.enough, found.poor) == ("", ())


@pytest.mark.parametrize("policy", [RAW, BOUND])
def test_too_few_outcomes_prove_nothing(policy: LearningPolicy) -> None:
    """Whatever they were."""
    assert advise(evidence(outcomes("small", 2, 0)), TIERS, policy) == {}
    assert advise(evidence(outcomes("small", 0, 2)), TIERS, policy) == {}


@given(histories)
def test_no_tier_is_good_enough_and_poor_at_once(rows: Rows) -> None:
    """Under either rule, whatever happened."""
    for policy in (RAW, BOUND):
        for learned in advise(Evidence(history(rows)), TIERS, policy).values():
            assert learned.enough not in learned.poor
            assert learned.enough != "top"


@given(histories)
def test_forgetting_everything_takes_all_advice_back(rows: Rows) -> None:
    """Advice is a function of what is left."""
    left = [one for one in history(rows) if one.task_type != "docs"]
    assert "docs" not in advise(Evidence(left), TIERS, BOUND)
    assert set(advise(Evidence(left), TIERS, RAW)) <= set(TYPES) - {"docs"}


def test_one_more_success_never_takes_trust_away() -> None:
    """A tier that is enough stays so while it succeeds."""
    rows = outcomes("small", 18, 0)
    found = Evidence(history(rows))
    assert advise(found, TIERS, BOUND)["docs"].enough == "low"
    for number in range(100, 160):
        found.add(observation(number, "docs", "small"))
        assert advise(found, TIERS, BOUND)["docs"].enough == "low"
