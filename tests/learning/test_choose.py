"""Choices among models: gain for the money, exploration with a purse, and what to try after a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.learning.belief import Belief
from ostler.learning.choose import Aims, Option, choose, draw_of
from ostler.learning.escalate import Failed, Stakes, given_failed, rank_next
from ostler.learning.evidence import Counts
from ostler.learning.verifier import Check, Verdicts

AIMS = Aims(value_micro_usd=10_000.0, optimism=0.0, explore=0.1)
beliefs = st.builds(Belief, st.floats(0.5, 300.0), st.floats(0.5, 300.0))
named = st.lists(
    st.builds(Option, st.sampled_from("abcdefgh"), st.floats(0.0, 5_000.0), beliefs),
    max_size=6,
    unique_by=lambda o: o.name,
)


def option(name: str, cost: float, good: float, bad: float) -> Option:
    return Option(name, cost, Belief(good, bad, Counts(good, bad)))


@given(named, st.floats(0.0, 0.999), st.none() | st.floats(0.0, 3_000.0))
def test_propensities_are_a_distribution(options: list[Option], draw: float, purse: float | None) -> None:
    """They add up to one, and that of the chosen model is the one that is logged."""
    choice = choose(options, AIMS, draw=draw, purse_micro_usd=purse)
    if choice is None:
        assert not options
        return
    assert sum(one.propensity for one in choice.ranked) == pytest.approx(1.0)
    (own,) = [one for one in choice.ranked if one.option is choice.chosen]
    assert own.propensity == pytest.approx(choice.propensity)
    assert choice.propensity > 0.0


@given(named, st.randoms(use_true_random=False))
def test_equal_evidence_gives_equal_choices(options: list[Option], shuffler: object) -> None:
    """Whatever the order in which models are named, the same draw chooses the same one."""
    mixed = list(options)
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    draw = draw_of(7, "task-1")
    assert choose(options, AIMS, draw=draw) == choose(mixed, AIMS, draw=draw)


@given(named, st.floats(0.1, 50.0))
def test_more_successes_never_cost_a_model_its_place(options: list[Option], more: float) -> None:
    """The best model stays the best when it succeeds once more."""
    choice = choose(options, AIMS)
    if choice is None:
        return
    best = choice.chosen
    better = [one._replace(belief=Belief(one.belief.a + more, one.belief.b)) if one is best else one for one in options]
    again = choose(better, AIMS)
    assert again is not None
    assert again.chosen.name == best.name


@given(named)
def test_the_draw_decides_as_often_as_it_says(options: list[Option]) -> None:
    """Over evenly spread draws each model is chosen with its propensity."""
    first = choose(options, AIMS)
    if first is None:
        return
    number = 1_000
    chosen = [choose(options, AIMS, draw=index / number) for index in range(number)]
    for one in first.ranked:
        times = sum(choice is not None and choice.chosen.name == one.option.name for choice in chosen)
        assert times / number == pytest.approx(one.propensity, abs=0.003)


def test_gain_decides_not_price() -> None:
    """A dearer model is taken when what it gains is worth more than it costs more, and left when it is not."""
    cheap, dear = option("cheap", 100.0, 60, 40), option("dear", 1_000.0, 80, 20)
    assert choose([cheap, dear], AIMS).chosen.name == "dear"  # type: ignore[union-attr]
    frugal = Aims(value_micro_usd=4_000.0, optimism=0.0)
    assert choose([cheap, dear], frugal).chosen.name == "cheap"  # type: ignore[union-attr]


def test_a_dominated_model_gets_exploration_and_nothing_else() -> None:
    """Surely worse and no cheaper: it is last, says why, and has its share of the floor."""
    good, bad, other = option("good", 100.0, 90, 10), option("bad", 900.0, 5, 95), option("other", 50.0, 50, 50)
    choice = choose([bad, good, other], AIMS)
    assert choice is not None
    last = choice.ranked[-1]
    assert (last.option.name, last.dominated_by, last.propensity) == ("bad", "good", 0.05)


def test_an_empty_purse_ends_exploration_of_what_costs_more() -> None:
    """Cheaper models are explored as before; what is dearer than the purse allows leaves its share to the best."""
    options = [option("good", 100.0, 90, 10), option("dear", 900.0, 50, 50), option("free", 0.0, 20, 80)]
    choice = choose(options, AIMS, draw=0.0, purse_micro_usd=0.0)
    assert choice is not None
    assert {one.option.name: one.propensity for one in choice.ranked} == {"good": 0.95, "free": 0.05, "dear": 0.0}
    assert (choice.chosen.name, choice.explored) == ("free", True)


def test_what_is_not_known_is_tried_where_it_may_be_better() -> None:
    """Optimism goes to the model with fewer outcomes at the same mean."""
    known, new = option("known", 0.0, 80, 20), option("new", 0.0, 4, 1)
    assert choose([known, new], Aims(value_micro_usd=1.0)).chosen.name == "new"  # type: ignore[union-attr]
    assert choose([known, new], Aims(value_micro_usd=1.0, optimism=0.0)).chosen.name == "known"  # type: ignore[union-attr]


def test_a_draw_is_the_same_for_the_same_task() -> None:
    """And spread over the whole range over many."""
    draws = [draw_of(3, f"t{number}") for number in range(2_000)]
    assert draws == [draw_of(3, f"t{number}") for number in range(2_000)]
    assert all(0.0 <= draw < 1.0 for draw in draws)
    assert sum(draw < 0.1 for draw in draws) == pytest.approx(200, abs=40)
    assert sum(draw < 0.5 for draw in draws) == pytest.approx(1_000, abs=70)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_failure_of_another_never_speaks_for_a_model(rate: float, failed: float, shared: float) -> None:
    """The task may be hard: given a failure the chance is no higher than without one, and it is a chance."""
    chance = given_failed(rate, failed, shared)
    assert -1e-12 <= chance <= rate + 1e-9


def test_after_a_failure_the_one_that_differs_comes_next() -> None:
    """A stronger model is next; the one that is as strong as the one that failed is worth less than before."""
    options = [option("a", 100.0, 60, 40), option("b", 100.0, 58, 42), option("c", 900.0, 85, 15)]
    first = rank_next(options, [], Stakes(value_micro_usd=2_000.0))
    after = rank_next(options, [Failed("a", 0.6)], Stakes(value_micro_usd=2_000.0))
    assert first[0].option.name == "a"
    assert after[1].chance < first[1].chance
    assert [one.option.name for one in after] == ["c", "b"]
    strict = rank_next(options, [Failed("a", 0.6)], Stakes(value_micro_usd=4_000.0, shared=1.0))
    assert [one.option.name for one in strict] == ["c"]


def test_it_stops_when_nothing_is_worth_its_cost() -> None:
    """Value times chance below the cost: no further try."""
    options = [option("a", 100.0, 50, 50), option("b", 900.0, 90, 10)]
    assert rank_next(options, [Failed("a", 0.5)], Stakes(value_micro_usd=500.0)) == []


def test_outcomes_of_later_tries_outweigh_the_formula() -> None:
    """A model that saved the day thirty times after a failure is believed to do so again."""
    options = [option("b", 10.0, 50, 50)]
    later = {"b": Belief(31.0, 1.0, Counts(30.0, 0.0))}
    plain = rank_next(options, [Failed("a", 0.9)], Stakes(value_micro_usd=1_000.0))
    known = rank_next(options, [Failed("a", 0.9)], Stakes(value_micro_usd=1_000.0), later=later)
    assert plain[0].chance < 0.3
    assert known[0].chance > 0.8


def test_a_check_that_lets_bad_work_pass_makes_a_try_worth_less() -> None:
    """With harm of accepted failures in the sum, a poor check can make a weak model not worth trying."""
    options = [option("weak", 10.0, 30, 70)]
    stakes = Stakes(value_micro_usd=1_000.0, harm_micro_usd=1_000.0)
    assert rank_next(options, [], stakes, check=Check(0.0, 0.0))
    assert not rank_next(options, [], stakes, check=Check(0.5, 0.0))


def test_a_check_is_measured_by_what_came_to_light_later() -> None:
    """Accepted and bad, rejected and good; without any it is taken to be wrong once in twenty."""
    verdicts = Verdicts()
    assert verdicts.rates() == Check(0.05, 0.05)
    for number in range(100):
        verdicts = verdicts.plus(accepted=number % 4 == 0, good=False)
        verdicts = verdicts.plus(accepted=True, good=True)
    assert verdicts.rates().false_accept == pytest.approx(26 / 120)
    assert verdicts.rates().false_reject == pytest.approx(1 / 120)
    assert verdicts.bounds().false_accept > verdicts.rates().false_accept
