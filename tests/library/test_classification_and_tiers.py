"""The checks of the ladder by subject: classification, tiers, escalation (20 of 44; the others stand beside them)."""

from pathlib import Path

import pytest

from ostler import TaskType, Tier
from tests.library.ladder import changed, kind, went

WORDS = {
    TaskType.MEMORY_OPS: "please recall what is in the vault",
    TaskType.REFLECTION: "reflect on the day and write your journal",
    TaskType.SUMMARIZATION: "summarize this letter for me",
    TaskType.GENERAL: "what is the capital of France",
    TaskType.PLANNING: "plan the strategy for spring",
    TaskType.CODING: "debug this function and refactor the code",
    TaskType.HIGH_STAKES: "deploy the critical change to production",
    TaskType.FINAL_POLISH: "give it a final review and ship it",
}


@pytest.mark.parametrize("expected", list(TaskType))
def test_words_tell_the_type_of_work(expected: TaskType) -> None:
    """1-8. Each of the eight types by its own words, and general work by none."""
    assert kind(WORDS[expected]) == expected


def test_words_are_whole_words() -> None:
    """9. `plan` is not in explain, `code` not in decode, `release` not in a lease."""
    assert kind("explain how to decode a lease") == TaskType.GENERAL


def test_tiers_are_ordered_numbers() -> None:
    """10. 0 to 3, the cheapest first; by name, number or short name."""
    assert [int(tier) for tier in Tier] == [0, 1, 2, 3]
    assert Tier.LOCAL_CHEAP < Tier.LOCAL_STRONG < Tier.CHEAP_CLOUD < Tier.EXPENSIVE_CLOUD
    assert Tier.named("T2") is Tier.named("cheap_cloud") is Tier.named(2) is Tier.CHEAP_CLOUD
    assert [tier.is_local for tier in Tier] == [True, True, False, False]


@pytest.mark.parametrize("task_type", list(TaskType))
def test_work_starts_at_the_minimum_tier_of_its_type(task_type: TaskType) -> None:
    """11. The cheapest tier that may: T0 for memory, reflection, summaries and general work, T1 for plans, T2 for code
    and high stakes, T3 for the final polish.
    """
    expected = {"planning": 1, "coding": 2, "high_stakes": 2, "final_polish": 3}.get(task_type, 0)
    assert went(WORDS[task_type]) == task_type.minimum_tier == expected


def test_a_profile_overrides_the_tier_of_a_type(tmp_path: Path) -> None:
    """12. In both directions, and for the named types alone."""
    profile = changed(tmp_path, "task_overrides: {coding: local_strong, summarization: cheap_cloud}")
    assert went(WORDS[TaskType.CODING], profile) == Tier.LOCAL_STRONG
    assert went(WORDS[TaskType.SUMMARIZATION], profile) == Tier.CHEAP_CLOUD
    assert went(WORDS[TaskType.PLANNING], profile) == Tier.LOCAL_STRONG


@pytest.mark.parametrize("tier", list(Tier))
def test_a_tier_can_be_forced(tier: Tier) -> None:
    """13. Whatever the words say."""
    assert went(WORDS[TaskType.CODING], tier=tier.label) == tier


def test_a_disabled_tier_is_skipped_upward(tmp_path: Path) -> None:
    """14. And so is the next one, when that is disabled too."""
    one = changed(tmp_path, "tiers: {cheap_cloud: {enabled: false}}")
    assert went(WORDS[TaskType.CODING], one) == Tier.EXPENSIVE_CLOUD
    two = changed(tmp_path, "tiers: {local_cheap: {enabled: false}, local_strong: {enabled: false}}")
    assert went(WORDS[TaskType.GENERAL], two) == Tier.CHEAP_CLOUD


def test_two_equal_errors_move_nothing() -> None:
    """15. A loop is three."""
    assert went(WORDS[TaskType.GENERAL], recent_errors=("timed out",) * 2) == Tier.LOCAL_CHEAP


def test_the_third_equal_error_moves_one_tier_up() -> None:
    """16. From wherever it started."""
    assert went(WORDS[TaskType.GENERAL], recent_errors=("timed out",) * 3) == Tier.LOCAL_STRONG
    assert went(WORDS[TaskType.CODING], recent_errors=("timed out",) * 3) == Tier.EXPENSIVE_CLOUD


def test_a_number_that_changes_hides_no_loop() -> None:
    """17. Errors are equal when they differ in figures only."""
    errors = tuple(f"line {line}: no such file (attempt {line + 1})" for line in (3, 14, 159))
    assert went(WORDS[TaskType.GENERAL], recent_errors=errors) == Tier.LOCAL_STRONG


def test_different_errors_are_no_loop() -> None:
    """18. Three of three kinds."""
    errors = ("no such file", "timed out", "permission denied")
    assert went(WORDS[TaskType.GENERAL], recent_errors=errors) == Tier.LOCAL_CHEAP


def test_an_escalation_skips_disabled_tiers(tmp_path: Path) -> None:
    """19. One step is a step on the ladder as it is."""
    profile = changed(tmp_path, "tiers: {local_strong: {enabled: false}}")
    assert went(WORDS[TaskType.GENERAL], profile, recent_errors=("timed out",) * 3) == Tier.CHEAP_CLOUD


def test_above_the_dearest_tier_there_is_nothing() -> None:
    """20. What starts at the top stays there."""
    assert went(WORDS[TaskType.FINAL_POLISH], recent_errors=("timed out",) * 3) == Tier.EXPENSIVE_CLOUD
