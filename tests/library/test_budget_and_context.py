"""The checks of the ladder by subject: budget, trimming, working set (18 of 44)."""

from pathlib import Path

import pytest

from ostler import BudgetTracker, ContextBudget, ContextManager, Tier, WorkingSet
from ostler.app.budget_tracker import BudgetExceededError
from ostler.context.messages import Message, text_of

JANUARY_MS = 1_767_225_600_000
DAY_MS = 86_400_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = JANUARY_MS + 20 * DAY_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(tmp_path: Path, clock: Clock) -> BudgetTracker:
    return BudgetTracker(tmp_path / "budget.db", session="s", per_session_cap=None, now_ms=clock)


def test_at_first_every_tier_may_be_called(budget: BudgetTracker) -> None:
    """21. Nothing is spent, the level is ok."""
    assert budget.highest_tier() is Tier.EXPENSIVE_CLOUD
    assert budget.status()["level"] == "ok"


def test_at_the_soft_cap_the_dearest_tier_becomes_the_cheap_cloud(budget: BudgetTracker) -> None:
    """22. 16.00 of 20.00; a cent before it is not yet."""
    budget.record(15.99)
    assert budget.highest_tier() is Tier.EXPENSIVE_CLOUD
    budget.record(0.01)
    assert budget.highest_tier() is Tier.CHEAP_CLOUD


def test_at_the_hard_cap_no_cloud_is_called(budget: BudgetTracker) -> None:
    """23. Local tiers cost nothing and go on."""
    budget.record(20.00)
    assert budget.highest_tier() is Tier.LOCAL_STRONG
    assert not budget.can_spend(0.01)
    with pytest.raises(BudgetExceededError):
        budget.reserve(0.01)


def test_a_new_month_begins_by_itself(budget: BudgetTracker, clock: Clock) -> None:
    """24. A process that was blocked at the cap is free without a restart, and nothing has to be recorded for it."""
    budget.record(25.00)
    assert budget.highest_tier() is Tier.LOCAL_STRONG
    clock.now_ms = JANUARY_MS + 31 * DAY_MS
    assert budget.highest_tier() is Tier.EXPENSIVE_CLOUD


def test_a_session_stops_at_its_cap(tmp_path: Path, clock: Clock) -> None:
    """25. 2.00; another session has its own."""
    mine = BudgetTracker(tmp_path / "b.db", session="mine", now_ms=clock)
    mine.record(2.00)
    assert not mine.can_spend(0.01)
    assert BudgetTracker(tmp_path / "b.db", session="other", now_ms=clock).can_spend(0.01)


def test_a_tick_is_blocked_above_its_cap(budget: BudgetTracker) -> None:
    """26. An estimate of exactly 0.10 passes, above it does not; what the tick has spent counts."""
    assert budget.can_spend(0.10, tick="1")
    assert not budget.can_spend(0.11, tick="1")
    budget.record(0.06, tick="1")
    assert not budget.can_spend(0.05, tick="1")
    assert budget.can_spend(0.05, tick="2")


def test_spending_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    """27. By tier and in all."""
    BudgetTracker(tmp_path / "b.db", session="s", now_ms=clock).record(1.25, tier="cheap_cloud")
    again = BudgetTracker(tmp_path / "b.db", session="s", now_ms=clock).status()
    assert (again["total_spent"], again["by_tier"]) == (1.25, {"cheap_cloud": 1.25})


def test_money_is_held_before_a_call_and_settled_after_it(budget: BudgetTracker) -> None:
    """28. So that two calls at once cannot pass a cap together."""
    held = budget.reserve(19.00)
    with pytest.raises(BudgetExceededError) as caught:
        budget.reserve(2.00)
    assert caught.value.limit == "month"
    held.settle(0.50)
    budget.reserve(2.00).release()
    assert budget.status()["total_spent"] == 0.5


def talk(count: int, chars: int = 10) -> list[Message]:
    return [{"role": ("user", "assistant")[n % 2], "content": f"{n} " + "x" * chars} for n in range(count)]


@pytest.mark.parametrize(("tier", "tokens"), list(zip(Tier, (4_000, 16_000, 16_000, 64_000), strict=True)))
def test_each_tier_has_its_prompt_budget(tier: Tier, tokens: int) -> None:
    """29-32. And a talk far above it is trimmed to it."""
    assert ContextBudget().tokens(tier) == tokens
    manager = ContextManager("You are brief.", tier=tier)
    manager.add(*talk(29, 40_000))
    view = manager.view()
    assert view.fits
    assert view.tokens > tokens // 3


def test_the_window_is_the_system_message_and_the_newest_thirty() -> None:
    """33. The oldest goes first."""
    manager = ContextManager("You are brief.", tier=Tier.EXPENSIVE_CLOUD)
    manager.add(*talk(50))
    sent = manager.messages()
    assert [text_of(message).split()[0] for message in sent] == ["You", *map(str, range(20, 50))]


def test_a_short_talk_is_sent_as_it_is() -> None:
    """34. The very same messages."""
    manager = ContextManager("You are brief.")
    messages = talk(6)
    manager.add(*messages)
    assert manager.messages()[1:] == messages
    assert not manager.records


def test_compaction_comes_at_ticks_ten_and_twenty() -> None:
    """35. Older messages are summarised, without a model by extraction."""
    manager = ContextManager("You are brief.")
    compacted = []
    for tick in range(1, 26):
        manager.add(*talk(4))
        if manager.tick() is not None:
            compacted.append(tick)
    assert compacted == [10, 20]
    assert manager.summary


def test_a_working_set_keeps_objectives_decisions_errors_and_summaries(tmp_path: Path) -> None:
    """36. In the file of its profile, for the next process."""
    WorkingSet.of("night", tmp_path).add_objective("mend the roof")
    WorkingSet.of("night", tmp_path).add_decision("slate")
    again = WorkingSet.of("night", tmp_path)
    assert (again.objectives, again.decisions, again.errors, again.summaries) == (
        ("mend the roof",),
        ("slate",),
        (),
        (),
    )
    assert again.path == tmp_path / "night" / "working_set.json"


def test_a_working_set_is_bounded(tmp_path: Path) -> None:
    """37. The newest errors and summaries are kept."""
    working = WorkingSet.of("night", tmp_path)
    for number in range(25):
        working.add_error(f"error {number}")
    assert working.errors == tuple(f"error {number}" for number in range(5, 25))


def test_a_working_set_is_read_by_the_model(tmp_path: Path) -> None:
    """38. Behind the system message, in every view."""
    working = WorkingSet.of("night", tmp_path)
    working.add_objective("mend the roof")
    sent = ContextManager("You are brief.", hot=working).messages()
    assert [message["role"] for message in sent] == ["system", "system"]
    assert "mend the roof" in text_of(sent[1])
