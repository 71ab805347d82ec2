"""Other policies on logged decisions: right on average, honest about how sure, silent where nothing can be said."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.learning.offline import Answer, Logged, evaluate

RATES = {"cheap": 0.55, "dear": 0.85}
LOGGING = {"cheap": 0.8, "dear": 0.2}


def log(seed: int, number: int, target: dict[str, float], *, model: float | None = None) -> list[Logged]:
    """Decisions of a policy that explores, with outcomes by the true rates. `model`: what a wrong model expects."""
    dice = Random(seed)
    rows = []
    for _ in range(number):
        choice = "cheap" if dice.random() < LOGGING["cheap"] else "dear"
        reward = 1.0 if dice.random() < RATES[choice] else 0.0
        expected = {name: rate if model is None else model for name, rate in RATES.items()}
        rows.append(
            Logged(
                target=target[choice],
                propensity=LOGGING[choice],
                reward=reward,
                expected=expected[choice],
                expected_target=sum(chance * expected[name] for name, chance in target.items()),
            )
        )
    return rows


def true_value(target: dict[str, float]) -> float:
    return sum(chance * RATES[name] for name, chance in target.items())


TARGETS = [{"cheap": 0.0, "dear": 1.0}, {"cheap": 1.0, "dear": 0.0}, {"cheap": 0.5, "dear": 0.5}]


@pytest.mark.parametrize("target", TARGETS, ids=["dear", "cheap", "both"])
@pytest.mark.parametrize("model", [None, 0.1], ids=["right model", "wrong model"])
def test_each_estimate_is_right_on_average(target: dict[str, float], model: float | None) -> None:
    """Over many logs, also where the model of outcomes is wrong: the weights make up for it."""
    answers = [evaluate(log(seed, 400, target, model=model)) for seed in range(60)]
    truth = true_value(target)
    for figure in ("ips", "snips", "dr"):
        mean = sum(getattr(answer, figure) for answer in answers) / len(answers)
        assert mean == pytest.approx(truth, abs=0.025), figure


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Nineteen in twenty, give or take what a hundred logs can show."""
    target = TARGETS[0]
    answers = [evaluate(log(seed, 500, target, model=0.6)) for seed in range(100)]
    held = sum(answer.low <= true_value(target) <= answer.high for answer in answers)
    assert held >= 88
    assert all(not answer.cannot_say for answer in answers)


def test_the_policy_that_was_logged_earns_what_happened() -> None:
    """Every weight is one: the mean, resting on all decisions."""
    rows = [
        Logged(target=1.0, propensity=1.0, reward=float(n % 4 > 0), expected=0.5, expected_target=0.5)
        for n in range(80)
    ]
    answer = evaluate(rows)
    assert (answer.ips, answer.snips, answer.dr) == (0.75, 0.75, 0.75)
    assert (answer.effective, answer.same, answer.support, answer.cannot_say) == (80.0, 80, 1.0, "")
    assert answer.low < 0.75 < answer.high


def test_what_was_never_tried_cannot_be_told() -> None:
    """Half of its choices had no chance here: the reason, and bounds that hold in any case."""
    rows = [
        Logged(target=float(n % 2), propensity=1.0, reward=1.0, expected=1.0, expected_target=1.0, support=float(n % 2))
        for n in range(100)
    ]
    answer = evaluate(rows)
    assert answer.cannot_say == "50% of its choices were never tried here"
    assert (answer.low, answer.high) == (0.5, 1.0)


def test_too_few_decisions_say_nothing() -> None:
    """Whether few were logged or few are alike."""
    few = evaluate(log(1, 20, TARGETS[0]))
    assert "only 20 logged" in few.cannot_say
    assert (few.low, few.high) == (0.0, 1.0)
    rare = [
        Logged(target=float(n < 5), propensity=0.5, reward=1.0, expected=0.9, expected_target=0.9) for n in range(200)
    ]
    answer = evaluate(rare)
    assert answer.cannot_say == "it would rest on 5 decisions, at least 30 are needed"
    assert (answer.low, answer.high) == (0.0, 1.0)


def test_nothing_logged_is_said_to_be_nothing() -> None:
    """No division by what is not there."""
    answer = evaluate([])
    assert answer.cannot_say == "no decision was logged"
    assert (answer.decisions, answer.low, answer.high) == (0, 0.0, 1.0)


rows = st.lists(
    st.builds(
        Logged,
        target=st.floats(0.0, 1.0),
        propensity=st.floats(0.01, 1.0),
        reward=st.floats(0.0, 1.0),
        expected=st.floats(0.0, 1.0),
        expected_target=st.floats(0.0, 1.0),
        support=st.floats(0.0, 1.0),
    ),
    max_size=60,
)


@given(rows)
def test_an_answer_is_within_what_can_be(found: list[Logged]) -> None:
    """Bounds in order and inside, no more effective decisions than there are; either a reason or an interval."""
    answer: Answer = evaluate(found)
    assert 0.0 <= answer.low <= answer.high <= 1.0
    assert 0.0 <= answer.dr <= 1.0
    assert answer.effective <= len(found) + 1e-6
    if not answer.cannot_say:
        assert answer.low <= answer.dr <= answer.high


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_decisions_does_not_matter(found: list[Logged], shuffler: Random) -> None:
    """A log is a set."""
    mixed = list(found)
    shuffler.shuffle(mixed)
    there, here = evaluate(found), evaluate(mixed)
    assert (there.ips, there.snips, there.dr, there.effective) == pytest.approx(
        (here.ips, here.snips, here.dr, here.effective)
    )
