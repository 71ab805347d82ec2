"""How long answers are expected to be: of the type where enough was seen, else of the model, else as usual."""

import random

import pytest
from msgspec.structs import replace

from ostler.domain.ledger import Amount, Basis, EntryKind, LedgerEntry, Scopes
from ostler.domain.limits import BudgetPolicy
from ostler.domain.policy import Policy
from ostler.routing.gatekeeping import expected
from ostler.scheduling.answers import ANY_TYPE, AnswerLengths
from tests.scheduling.live_rig import call_facts
from tests.scheduling.rig import three_tiers

RULES: Policy = replace(three_tiers(), budget=BudgetPolicy(output_quantile_percent=90))
USUAL = RULES.routing.default_output_tokens


def output(answers: AnswerLengths, task_type: str, asked: int | None = None) -> int:
    """Tokens that are reserved for."""
    facts = call_facts(output_tokens=asked)
    facts = replace(facts, classification=replace(facts.classification, task_type=task_type))
    return expected(facts, 0, ("anthropic", "claude"), RULES, answers.expected)[0].output_tokens


def test_the_type_goes_before_the_model_and_both_before_the_usual_length() -> None:
    """Nine answers are enough for a quantile of 90 percent."""
    answers = AnswerLengths()
    assert output(answers, "coding") == USUAL
    for _ in range(9):
        answers.add("coding", "claude", 64, RULES)
    for _ in range(2):
        answers.add("planning", "claude", 64, RULES)
    assert (output(answers, "coding"), output(answers, "planning"), output(answers, "general")) == (64, 64, 64)
    for _ in range(9):
        answers.add("planning", "claude", 1_024, RULES)
    assert (output(answers, "coding"), output(answers, "planning")) == (64, 1_024)


def test_few_answers_only_raise_the_estimate() -> None:
    """Too few for a quantile: the usual length, or the longest that was seen."""
    answers = AnswerLengths()
    answers.add("coding", "claude", 10, RULES)
    assert output(answers, "coding") == USUAL
    answers.add("coding", "claude", 3_000, RULES)
    assert (output(answers, "coding"), output(answers, "general")) == (3_000, 3_000)


def test_no_more_is_held_than_was_asked_for() -> None:
    """A short limit of the caller stands, however long answers were."""
    answers = AnswerLengths()
    for _ in range(20):
        answers.add("coding", "claude", 1_024, RULES)
    assert output(answers, "coding", asked=100) == 100
    assert output(AnswerLengths(), "coding", asked=100) == 100


@pytest.mark.parametrize("seed", range(5))
def test_at_most_a_tenth_of_answers_like_those_seen_is_longer(seed: int) -> None:
    """Measured on lengths of one distribution; a margin of three standard deviations."""
    rng = random.Random(seed)
    answers = AnswerLengths()
    for _ in range(500):
        answers.add("coding", "claude", round(rng.lognormvariate(5, 1)), RULES)
    bound = output(answers, "coding")
    longer = sum(rng.lognormvariate(5, 1) > bound for _ in range(2_000)) / 2_000
    assert longer < 0.1 + 3 * (0.09 / 500) ** 0.5


def test_a_restart_learns_from_the_ledger_and_a_changed_quantile_counts_anew() -> None:
    """By type where an entry says it, as those of before do not; what was ambiguous, or only held, is no answer."""
    entry = LedgerEntry(
        attempt="a",
        kind=EntryKind.SETTLE,
        at_ms=0,
        charged_ms=0,
        amount=Amount(output_tokens=64),
        basis=Basis.PRICED,
        scopes=Scopes(model="claude"),
    )
    wrong = [replace(entry, ambiguous=True), replace(entry, kind=EntryKind.RESERVE), replace(entry, amount=Amount())]
    answers = AnswerLengths()
    answers.restore([*wrong * 9, *[entry] * 9], RULES)
    assert dict(answers.expected) == {(ANY_TYPE, "claude"): 64}
    typed = AnswerLengths()
    long = replace(entry, task_type="planning", amount=Amount(output_tokens=1_024))
    typed.restore([*[replace(entry, task_type="coding")] * 9, *[long] * 9], RULES)
    assert (output(typed, "coding"), output(typed, "planning")) == (64, 1_024)

    answers.policy_changed(replace(RULES, budget=BudgetPolicy(output_quantile_percent=99)))
    assert dict(answers.expected) == {}
