"""Trials on generated outcomes whose truth is known: a router that learns beats what it should beat."""

import random

import pytest

from ostler.learning.trials import Figures, Row, halves, many, mean, order, pair, stream, truth

PRICES = {"cheap": 0.1, "middle": 0.3, "dear": 0.9, "broken": 0.9}
RATES = {
    "sum": {"cheap": 0.9, "middle": 0.9, "dear": 0.95, "broken": 0.02},
    "proof": {"cheap": 0.1, "middle": 0.3, "dear": 0.9, "broken": 0.02},
    "poem": {"cheap": 0.3, "middle": 0.9, "dear": 0.5, "broken": 0.02},
}
WORDS = {"sum": "add the numbers {} and {}", "proof": "prove that {} divides {}", "poem": "a poem of {} lines on {}"}


def many_rows(number: int = 600) -> list[many.ManyRow]:
    dice = random.Random(5)
    rows = []
    for index in range(number):
        kind = sorted(RATES)[index % 3]
        scores = {name: float(dice.random() < rate) for name, rate in RATES[kind].items()}
        prompt = WORDS[kind].format(dice.randrange(99), dice.randrange(99))
        rows.append(many.ManyRow(id=f"r{index}", task_type=kind, prompt=prompt, est_tokens=300, scores=scores))
    return rows


def pair_rows(number: int = 300) -> list[pair.PairRow]:
    """The strong model gains on proofs alone."""
    dice = random.Random(6)
    rows = []
    for index in range(number):
        kind = ("sum", "proof")[dice.random() < 0.4]
        weak = float(kind == "sum" and dice.random() < 0.95)
        prompt = WORDS[kind].format(dice.randrange(99), dice.randrange(99))
        rows.append(pair.PairRow(id=f"p{index}", prompt=prompt, weak=weak, strong=float(dice.random() < 0.95)))
    return rows


def figures(lines: list[Figures]) -> dict[str, dict[str, float]]:
    return {line.name: line.figures for line in lines}


def test_a_split_is_a_function_of_seed_and_names() -> None:
    """Rows in another order are split alike, another seed splits otherwise, and nothing is in both halves."""
    rows = [Row(id=f"r{index}") for index in range(101)]
    train, test = halves(rows, 3)
    assert (train, test) == halves(rows[::-1], 3)
    assert order(rows, 4) != order(rows, 3)
    assert (len(train), len(test)) == (50, 51)
    assert {row.id for row in train + test} == {row.id for row in rows}


def test_predicted_gain_finds_the_tasks_that_deserve_the_strong_model() -> None:
    """Nearly all of the gap for about the share of tasks that have it; chance recovers in proportion."""
    found = figures(pair.run(pair_rows(), 1))
    assert found["random"]["apgr"] == pytest.approx(0.5)
    assert found["predicted gain"]["apgr"] > 0.7
    assert found["oracle"]["apgr"] >= found["predicted gain"]["apgr"]
    assert found["predicted gain"]["cpt80"] < 0.55


def test_a_table_by_type_beats_every_single_model() -> None:
    """Better than the best single model in hindsight, the broken dear one never in the way, and cheaper."""
    found = figures(many.run(many_rows(), PRICES, 1))
    best, given, guessed = found["best single"], found["table, type given"], found["table, type from the text"]
    assert given["accuracy"] > best["accuracy"] + 0.1
    assert given["saved"] > 0.3
    assert given["aiq"] > best["aiq"]
    assert guessed["accuracy"] == pytest.approx(given["accuracy"], abs=0.02)
    assert found["oracle"]["accuracy"] >= given["accuracy"]
    assert found["always dearest"]["accuracy"] > found["always cheapest"]["accuracy"]


def test_an_unseen_type_is_routed_by_global_means() -> None:
    """Never worse than them: the gap is nothing."""
    lines = figures(many.unseen(many_rows(), PRICES, sorted(PRICES)))
    assert lines["unseen type: table"]["gap"] == 0.0
    assert lines["unseen type: table"] == lines["unseen type: global means"]


def test_a_stream_learns_and_leaves_the_broken_model() -> None:
    """From no outcomes at all it comes past the best fixed model, and the dominated one gets its floor at most."""
    found = figures(stream.run(many_rows(900), PRICES, 2))
    assert found["learned, cold"]["utility"] > found["best fixed model"]["utility"]
    assert found["learned, cold"]["second_half"] <= found["best model of each type"]["utility"] + 0.03
    assert found["traffic of the worst model"]["share"] <= 0.05


def test_a_stream_is_the_same_under_one_seed() -> None:
    """Equal evidence gives equal choices."""
    rows = many_rows(120)
    assert stream.run(rows, PRICES, 3) == stream.run(rows, PRICES, 3)


def test_the_bound_trusts_few_bad_models_and_finds_the_good_ones() -> None:
    """The raw rule trusts many a bad model; the bound at most one in twenty, and finds seven good in ten."""
    dice = random.Random(8)
    rates = [truth.TrueRate(kind=f"k{n}", model="m", rate=dice.uniform(0.3, 0.7)) for n in range(300)]
    rates += [truth.TrueRate(kind=f"k{n}", model="g", rate=dice.uniform(0.8, 1.0)) for n in range(300)]
    found = figures(truth.run(rates, 0))
    assert found["raw rule"]["false_promotions"] > 0.1
    assert found["bound"]["false_promotions"] <= 0.05
    assert found["bound"]["good_found"] >= 0.7


def test_true_rates_are_means_over_the_tasks_of_a_suite() -> None:
    """One for each suite and model."""
    rows = [
        truth.RateRow(task=str(n), suite="s", model="m", pass_rate_pct=rate) for n, rate in enumerate((50.0, 100.0))
    ]
    assert truth.true_rates(rows) == [truth.TrueRate(kind="s", model="m", rate=0.75)]


def test_means_are_taken_line_by_line() -> None:
    """Over several seeds, figure by figure."""
    runs = [[Figures(name="a", figures={"x": value})] for value in (1.0, 3.0)]
    assert mean(runs) == [Figures(name="a", figures={"x": 2.0})]
