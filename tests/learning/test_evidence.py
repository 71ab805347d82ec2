"""Counts that fade, and beliefs that lean on what is known more broadly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import Outcome
from ostler.learning.belief import Prior, Shrinkage, believe
from ostler.learning.evidence import NO_COUNTS, Counts, Evidence, attempt_class
from ostler.learning.promotion import by_belief, by_bound, by_raw
from tests.learning.rig import MODELS, TYPES, histories, history, observation

Rows = list[tuple[str, str, bool, int, Outcome]]


@given(histories, st.sampled_from(TYPES), st.sampled_from(MODELS), st.integers(1, 3))
def test_one_more_success_never_lowers_a_model(rows: Rows, task_type: str, model: str, attempt: int) -> None:
    """Whatever happened before, and although it makes older outcomes fade: mean, bound and chance do not fall."""
    evidence = Evidence(history(rows))
    before = believe(evidence, task_type, model, attempt=attempt)
    evidence.add(observation(99, task_type, model, success=True, attempt=attempt))
    after = believe(evidence, task_type, model, attempt=attempt)
    assert after.mean >= before.mean - 1e-12
    assert after.low() >= before.low() - 1e-9
    assert after.above(0.75) >= before.above(0.75) - 1e-9


@given(histories, st.sampled_from(TYPES), st.sampled_from(MODELS))
def test_one_more_failure_never_raises_a_model(rows: Rows, task_type: str, model: str) -> None:
    """The same the other way round."""
    evidence = Evidence(history(rows))
    before = believe(evidence, task_type, model)
    evidence.add(observation(99, task_type, model, success=False))
    assert believe(evidence, task_type, model).mean <= before.mean + 1e-12


@given(histories, st.sampled_from(MODELS))
def test_forgetting_restores_the_prior_exactly(rows: Rows, model: str) -> None:
    """A model whose outcomes are taken away stands where it stood before any: not nearly, exactly."""
    left = [one for one in history(rows) if one.model != model]
    prior = Prior(rate=0.62, weight=7.0)
    evidence, nothing = Evidence(left), Evidence()
    for task_type in TYPES:
        for attempt in (1, 2, 3):
            now = believe(evidence, task_type, model, attempt=attempt, prior=prior)
            assert now == believe(nothing, task_type, model, attempt=attempt, prior=prior)
            assert now.mean == pytest.approx(0.62)


@given(histories)
def test_the_same_outcomes_give_the_same_state(rows: Rows) -> None:
    """Added one by one or all at once, in the same order: equal to the last digit."""
    whole = Evidence(history(rows))
    slow = Evidence()
    for one in history(rows):
        slow.add(one)
    for task_type in TYPES:
        for model in MODELS:
            assert believe(whole, task_type, model) == believe(slow, task_type, model)
    assert whole.types() == slow.types()
    assert whole.models() == slow.models()


@given(histories)
def test_counts_of_a_model_are_the_sum_of_its_types(rows: Rows) -> None:
    """No outcome is lost or counted twice between the levels."""
    evidence = Evidence(history(rows))
    for model in MODELS:
        parts = [evidence.of_type(task_type, model).trials for task_type in TYPES]
        assert evidence.of_model(model).trials == pytest.approx(sum(parts))
        for task_type in TYPES:
            tries = [evidence.of(task_type, model, attempt).trials for attempt in (1, 2, 3)]
            assert evidence.of_type(task_type, model).trials == pytest.approx(sum(tries))


def test_a_type_without_outcomes_is_as_the_model_is_elsewhere() -> None:
    """Nobody is sent to the dearest model because a kind of work is new."""
    evidence = Evidence(observation(number, "docs", success=number % 10 != 0) for number in range(100))
    assert believe(evidence, "new", "small").mean == pytest.approx(0.9, abs=0.02)
    assert believe(evidence, "new", "small").counts == NO_COUNTS


def test_old_outcomes_fade_with_those_of_their_type_alone() -> None:
    """A thousand successes at one kind of work leave a seventh of older failures there, all of them elsewhere."""
    evidence = Evidence(observation(number, kind, success=False) for number, kind in enumerate(["docs", "bugfix"]))
    for number in range(1_000):
        evidence.add(observation(number, "docs", "large"))
    assert evidence.of_type("docs", "small").failures == pytest.approx(0.998**1_000)
    assert evidence.of_type("bugfix", "small").failures == 1.0


def test_what_a_check_found_counts_more_than_what_was_said() -> None:
    """Twice as much."""
    proven = Evidence([observation(1, success=False)])
    said = Evidence([observation(1, success=False, proof=Outcome.REPORTED)])
    assert proven.of("bugfix", "small", 1) == Counts(0.0, 1.0)
    assert said.of("bugfix", "small", 1) == Counts(0.0, 0.5)
    assert said.raw("bugfix", "small") == Counts(0.0, 1.0)


def test_a_later_try_is_a_belief_of_its_own() -> None:
    """A model that fails when it is called second is still good when it is called first."""
    rows = [observation(number, attempt=1 + number % 2, success=number % 2 == 0) for number in range(60)]
    evidence = Evidence(rows)
    assert believe(evidence, "bugfix", "small", attempt=1).mean > 0.75
    assert believe(evidence, "bugfix", "small", attempt=2).mean < 0.25
    assert attempt_class(7) == attempt_class(3)


def test_a_strong_prior_needs_more_to_be_moved() -> None:
    """The prior counts for as many outcomes as it says."""
    evidence = Evidence([observation(1, success=False)])
    weak = believe(evidence, "bugfix", "small", prior=Prior(rate=0.9, weight=1.0), shrinkage=Shrinkage(type_weight=1.0))
    strong = believe(evidence, "bugfix", "small", prior=Prior(rate=0.9), shrinkage=Shrinkage(type_weight=20.0))
    assert weak.mean == pytest.approx(0.45)
    assert strong.mean == pytest.approx(18 / 21)
    assert strong.prior_weight == pytest.approx(20.0)


def test_means_are_of_those_that_say_it() -> None:
    """Cost and duration are averaged over the outcomes that have them."""
    means = Evidence(observation(number) for number in range(4)).means("bugfix", "small")
    assert (means.priced, means.cost_micro_usd, means.timed, means.duration_ms) == (2, 2_000, 4, 6)


@pytest.mark.parametrize(
    ("good", "bad", "raw", "bound"),
    [
        (3, 0, True, False),
        (3, 1, False, False),
        (2, 0, False, False),
        (4, 1, True, False),
        (8, 0, True, True),
        (30, 2, True, True),
    ],
)
def test_rules_of_promotion(good: int, bad: int, raw: bool, bound: bool) -> None:
    """The raw rule is the seed's as written: more than 75 %, three samples. The bound needs eight of eight."""
    counts = Counts(good, bad)
    assert by_raw(counts).trusted is raw
    assert by_bound(counts).trusted is bound


def test_nothing_is_trusted_on_hearsay() -> None:
    """A model that is splendid elsewhere still needs outcomes of its own at a kind of work."""
    evidence = Evidence(observation(number, "docs") for number in range(200))
    assert by_belief(believe(evidence, "docs", "small")).trusted
    assert not by_belief(believe(evidence, "bugfix", "small")).trusted


@given(histories)
def test_counts_are_those_of_fading_one_by_one(rows: Rows) -> None:
    """The unit that grows is another way to write the same sums."""
    slow: dict[tuple[str, str, int], list[float]] = {}
    for one in history(rows):
        for (kind, _, _), counts in slow.items():
            if kind == one.task_type:
                counts[:] = [count * 0.998 for count in counts]
        weight = 1.0 if one.proof is Outcome.VERIFIED else 0.5
        own = slow.setdefault((one.task_type, one.model, attempt_class(one.attempt)), [0.0, 0.0])
        own[0 if one.success else 1] += weight
    evidence = Evidence(history(rows))
    for (kind, model, attempt), counts in slow.items():
        assert evidence.of(kind, model, attempt) == pytest.approx(tuple(counts))


def test_counts_stay_right_when_the_unit_is_brought_back() -> None:
    """After more outcomes than any unit can stand, the newest still count one and the oldest nothing."""
    evidence = Evidence(decay=0.5)
    for number in range(1_000):
        evidence.count("docs", "small", float(number % 2))
    assert evidence.of_type("docs", "small").trials == pytest.approx(2.0)
    assert evidence.of_type("docs", "small").successes == pytest.approx(4.0 / 3.0)
    assert evidence.of_model("small").trials == pytest.approx(2.0)


@given(histories)
def test_a_copy_stays_as_it_was(rows: Rows) -> None:
    """Whatever the original learns afterwards."""
    evidence = Evidence(history(rows))
    copy = evidence.copy()
    before = [believe(copy, kind, model) for kind in TYPES for model in MODELS]
    evidence.add(observation(99, "docs", "small"))
    evidence.add(observation(100, "new", "newer"))
    assert [believe(copy, kind, model) for kind in TYPES for model in MODELS] == before
    assert "new" not in copy.types()
    assert copy.pairs() == Evidence(history(rows)).pairs()
