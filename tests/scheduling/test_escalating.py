"""After a failed check: what is worth most given the failures, and when to stop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.limits import BudgetPolicy, Price
from ostler.domain.policy import Arm, HistoryRule, Learned, LearningPolicy, Policy
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import Complexity
from ostler.scheduling.escalating import JUDGED, Path, advise
from tests.scheduling.rig import Rig, cloud, local, three_tiers

RULES = LearningPolicy(history=HistoryRule.POSTERIOR, explore=0.0, value_usd=0.02)
"""At this value the dear tier is not worth its cost at the first try of what the cheap one mostly can, and it is after
that one has failed."""
CLAUDE = Price(input=3.0, output=15.0)


def arm(tier: str, rate: float, trials: int = 40, later: tuple[float, float] = (0.0, 0.0)) -> Arm:
    model = {"standard": "qwen", "complex": "claude"}[tier]
    return Arm(
        tier=tier, models=(model,), a=rate * trials + 0.5, b=(1 - rate) * trials + 0.5, trials=trials, later=later
    )


def rules(*arms: Arm, learning: LearningPolicy = RULES, **fields: object) -> Policy:
    base = three_tiers()
    return replace(
        base,
        learning=learning,
        learned={"docs": Learned(arms=arms, **fields)},  # type: ignore[arg-type]
        budget=BudgetPolicy(prices={"claude": CLAUDE}),
        scheduler=replace(base.scheduler, heartbeat_ms=10**10, session_dead_ms=10**11),
    )


def rig(policy: Policy) -> Rig:
    made = Rig(policy)
    made.worker()
    made.up(local("box"))
    made.up(cloud(), models=("claude",))
    return made


def failed_once(policy: Policy, **fields: object) -> Rig:
    made = rig(policy)
    made.chat("t", Complexity.STANDARD, **{"task_type": "docs", **fields})
    made.finish("t", FailureClass.VERIFICATION)
    return made


def test_a_better_tier_is_next_when_its_gain_is_worth_its_cost() -> None:
    """At once, without the second and third try on the tier that failed; the event says why."""
    made = failed_once(rules(arm("standard", 0.8), arm("complex", 0.95)))
    (event,) = made.named("task.retry_wait")
    assert (event.metadata["move"], event.metadata["tier"]) == ("up", "standard")
    assert "complex is worth most now" in str(event.metadata["because"])
    made.pass_ms(10)
    assert (made.rows["t"].tier, made.rows["t"].model) == ("complex", "claude")


def test_the_same_tier_is_tried_again_when_the_better_one_is_too_dear() -> None:
    """Value x what is gained is below what it costs."""
    poor = replace(RULES, value_usd=0.002)
    made = failed_once(rules(arm("standard", 0.5), arm("complex", 0.95), learning=poor))
    (event,) = made.named("task.retry_wait")
    assert event.metadata["move"] == "again"
    made.pass_ms(60_000)
    assert made.rows["t"].tier == "standard"


def test_later_tries_that_went_well_speak_for_another_one() -> None:
    """Second tries of the cheap model that mostly succeeded outweigh the formula."""
    without = rules(arm("standard", 0.8), arm("complex", 0.95))
    with_later = rules(arm("standard", 0.8, later=(45.0, 5.0)), arm("complex", 0.95))
    assert failed_once(without).named("task.retry_wait")[0].metadata["move"] == "up"
    assert failed_once(with_later).named("task.retry_wait")[0].metadata["move"] == "again"


def test_it_stops_when_nothing_is_worth_its_cost() -> None:
    """On the top tier, after it has failed there: the task ends with the reason, its attempts unspent."""
    worthless = replace(RULES, value_usd=0.0001)
    made = rig(rules(arm("standard", 0.5), arm("complex", 0.5), learning=worthless))
    made.chat("t", Complexity.COMPLEX, task_type="docs")
    made.finish("t", FailureClass.VERIFICATION)
    row = made.rows["t"]
    assert row.state is TaskState.DEAD_LETTER
    assert row.failure is not None
    assert "no tier is worth another try" in row.failure.message
    assert made.rows["t"].attempts_used == 1


def test_critical_work_is_not_given_up_for_money() -> None:
    """It goes on by the usual rules."""
    worthless = replace(RULES, value_usd=0.0001)
    made = rig(rules(arm("standard", 0.5), arm("complex", 0.5), learning=worthless))
    made.chat("t", Complexity.COMPLEX, task_type="docs", critical=True)
    made.finish("t", FailureClass.VERIFICATION)
    assert made.state("t") is TaskState.RETRY_WAIT


def test_a_check_that_rejects_good_work_makes_a_try_worth_less() -> None:
    """Half of what succeeds would be rejected: the dear tier is not worth it any more."""
    found = (arm("standard", 0.8), arm("complex", 0.95))
    good = failed_once(rules(*found, false_reject=0.0))
    bad = failed_once(rules(*found, false_reject=0.7))
    assert good.named("task.retry_wait")[0].metadata["move"] == "up"
    assert bad.named("task.retry_wait")[0].metadata["move"] == "again"


def test_a_check_that_lets_bad_work_pass_costs_its_harm() -> None:
    """What bad work does is part of the sum."""
    harmful = replace(RULES, value_usd=0.02, harm_usd=1.0)
    made = rig(rules(arm("standard", 0.5), arm("complex", 0.6), learning=harmful, false_accept=0.2))
    made.chat("t", task_type="docs")
    made.finish("t", FailureClass.VERIFICATION)
    assert made.state("t") is TaskState.DEAD_LETTER


@pytest.mark.parametrize("fields", [{"tier": "standard"}, {"model": "qwen"}, {"fallback_models": ("claude",)}])
def test_work_that_names_where_it_runs_is_not_advised(fields: dict[str, object]) -> None:
    """An explicit choice is not overridden, nor is the order of its own models."""
    made = failed_once(rules(arm("standard", 0.1), arm("complex", 0.95)), **fields)
    assert all(event.metadata["because"] == "" for event in made.named("task.retry_wait"))


@pytest.mark.parametrize("history", [HistoryRule.OFF, HistoryRule.OBSERVE, HistoryRule.RAW])
def test_only_the_posterior_advises(history: HistoryRule) -> None:
    """Otherwise a failed check is followed by the usual rules."""
    policy = rules(arm("standard", 0.1), arm("complex", 0.95), learning=replace(RULES, history=history))
    (event,) = failed_once(policy).named("task.retry_wait")
    assert (event.metadata["move"], event.metadata["because"]) == ("again", "")


@pytest.mark.parametrize("kind", sorted(set(FailureClass) - JUDGED))
def test_failures_that_say_nothing_about_the_model_are_not_advised(kind: FailureClass) -> None:
    """An outage leads elsewhere, a refusal ends: outcomes have no say."""
    made = rig(rules(arm("standard", 0.1), arm("complex", 0.95)))
    made.chat("t", task_type="docs")
    made.start("t")
    assert advise(made.rows["t"], kind, made.policy) is None


def test_steps_stay_within_what_the_rules_allow() -> None:
    """No more steps for lack of quality than the profile says, whatever they are worth."""
    policy = rules(arm("standard", 0.2), arm("complex", 0.95))
    strict = replace(policy, routing=replace(policy.routing, max_quality_steps=0))
    (event,) = failed_once(strict).named("task.retry_wait")
    assert event.metadata["move"] == "again"


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.0, 1.0), st.floats(0.0, 0.9))
def test_a_task_comes_to_an_end(low: float, high: float, value: float, reject: float) -> None:
    """Whatever is believed: after a bounded number of failures nothing is tried any more."""
    learning = replace(RULES, value_usd=value)
    made = rig(rules(arm("standard", low), arm("complex", high), learning=learning, false_reject=reject))
    made.chat("t", task_type="docs")
    for _ in range(8):
        if made.rows["t"].state is TaskState.DEAD_LETTER:
            break
        made.finish("t", FailureClass.VERIFICATION)
        made.pass_ms(10_000)
    assert made.state("t") is TaskState.DEAD_LETTER
    assert made.rows["t"].generation <= 6


def test_advice_names_where_the_task_stands_then() -> None:
    """Steps are counted from where it began."""
    made = rig(rules(arm("standard", 0.8), arm("complex", 0.95)))
    made.chat("t", task_type="docs")
    made.start("t")
    found = advise(made.rows["t"], FailureClass.VERIFICATION, made.policy)
    assert found is not None
    assert (found.path, found.quality_steps) == (Path.UP, 1)
