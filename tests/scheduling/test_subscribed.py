"""Subscriptions in the scheduler: preferred while they last, charged as covered, told of near the end."""

from collections.abc import Sequence

from msgspec.structs import replace

from ostler.budget.windows import HOUR_MS, LATEST_MS
from ostler.domain.allowances import Reported
from ostler.domain.commands import PutAllowances
from ostler.domain.event import Event
from ostler.domain.ledger import Amount, Basis, Span
from ostler.domain.limits import (
    Allowance,
    BudgetPolicy,
    Limit,
    Pace,
    Price,
    ScopeKind,
    Subscription,
    Window,
    WindowKind,
)
from ostler.domain.states import FailureClass, TaskState, WaitCode
from ostler.domain.tasks import Complexity, Usage
from ostler.scheduling.actor import Scheduler
from ostler.scheduling.effects import Apply
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import START_MS, HandClock, cloud, local, three_tiers

ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)
DAY = Window(kind=WindowKind.DAY)
PLAN = Subscription(provider="plan", pace=Pace.NONE, reserve_percent=0)


def rig(*plans: Subscription, limits: tuple[Limit, ...] = ()) -> LiveRig:
    """A local host, a provider that is subscribed to and one that is paid by the token, both with the tier's model."""
    prices = {"claude": Price(input=3.0, output=15.0)}
    base = three_tiers()
    budget = BudgetPolicy(limits=limits, prices=prices, subscriptions=plans)
    rules = replace(base.scheduler, heartbeat_ms=10**10, session_dead_ms=10**11)
    places = (local("box"), cloud("by-token"), cloud("plan"))
    catalog = replace(base.catalog, endpoints={spec.name: spec for spec in places})
    made = LiveRig(replace(base, budget=budget, scheduler=rules, catalog=catalog))
    made.worker()
    made.up(places[0])
    for spec in places[1:]:
        made.up(spec, models=("claude",))
    return made


def window(percent: float, name: str = "5h", *, at_ms: int = START_MS, resets_ms: int | None = None) -> Reported:
    return Reported(window=name, used_percent=percent, at_ms=at_ms, resets_ms=resets_ms, hours=5)


def alerts(made: LiveRig) -> list[tuple[object, object]]:
    told = [event for event in made.events if event.name == "alert.allowance"]
    return [(event.metadata["allowance"], event.metadata["level"]) for event in told]


def stored(made: LiveRig) -> list[Sequence[Reported]]:
    return [effect.command.reports for effect in made.effects
            if isinstance(effect, Apply) and isinstance(effect.command, PutAllowances)]  # fmt: skip


def test_a_subscription_is_preferred_to_a_provider_by_the_token_while_it_lasts_and_not_afterwards() -> None:
    """Two calls are allowed: the third goes where it costs money. The record says who pays, and why not."""
    allowance = Allowance(name="day", window=DAY, amount=2)
    made = rig(replace(PLAN, allowances=(allowance,)))
    for name in ("a", "b", "c"):
        made.chat(name, tier="complex")

    assert [made.rows[name].endpoint for name in ("a", "b", "c")] == ["plan", "plan", "by-token"]
    first, third = made.sent[0].command.decision, made.sent[2].command.decision
    assert first is not None
    assert third is not None
    assert first.budget == "subscription to plan (preferred): day 0 % used"
    assert first.estimate is not None
    assert first.estimate.cost_micro_usd == 0
    refused = {one.endpoint: one.detail for one in third.candidates if one.rejection}
    assert refused["plan"].startswith(
        "may not be used: its subscription to plan has nothing left: day is used up; free again at"
    )


def test_what_a_subscription_covers_costs_nothing_and_is_counted_apart() -> None:
    """No limit of money counts it or keeps work from it; its worth at list prices is in the ledger."""
    made = rig(PLAN, limits=(Limit(name="month", hard=0),))
    made.chat("t", tier="complex")
    assert made.rows["t"].endpoint == "plan"
    assert made.ledger.spent(ALL).held == Amount(input_tokens=4, output_tokens=400, covered_micro_usd=4 * 3 + 400 * 15)

    made.finish("t", usage=Usage(input_tokens=100, output_tokens=20))

    assert made.ledger.spent(ALL).used == Amount(input_tokens=100, output_tokens=20, covered_micro_usd=600)
    assert made.ledger.entries[-1].basis is Basis.SUBSCRIPTION


def test_when_nothing_is_left_and_nothing_else_may_be_used_work_waits_for_the_window() -> None:
    """It says for which, and goes on at the instant it is new: no sooner, and without a restart."""
    made = rig(PLAN)
    made.call("c", tier="complex", endpoint="plan")
    resets_ms = made.now_ms + HOUR_MS
    made.end_call("c", FailureClass.RATE_LIMIT, allowances=(window(100.0, resets_ms=resets_ms),), retry_after_ms=1)
    made.pass_ms(10)
    made.chat("t", tier="complex", endpoint="plan", ttl_ms=0)

    wait = made.rows["t"].wait
    assert wait is not None
    assert (wait.code, wait.next_check_ms) == (WaitCode.BUDGET, resets_ms)
    made.pass_ms(resets_ms - made.now_ms - 1)
    assert made.state("t") is TaskState.QUEUED
    made.pass_ms(1)
    assert made.state("t") is TaskState.ASSIGNED


def test_the_reserve_is_left_to_critical_work() -> None:
    """Nineteen of twenty for everybody, the last one for what is critical."""
    made = rig(replace(PLAN, reserve_percent=5))
    made.call("c", tier="complex", endpoint="plan")
    made.end_call("c", allowances=(window(95.0),), usage=Usage(input_tokens=1, output_tokens=1))

    made.chat("usual", tier="complex")
    made.chat("critical", tier="complex", critical=True)

    assert (made.rows["usual"].endpoint, made.rows["critical"].endpoint) == ("by-token", "plan")


def test_what_is_ahead_of_its_pace_competes_at_its_worth() -> None:
    """It is neither preferred nor refused: where the tier has another place, the better one by score is taken."""
    made = rig(replace(PLAN, pace=Pace.EVEN))
    made.call("c", tier="complex", endpoint="plan")
    early = window(50.0, resets_ms=made.now_ms + 4 * HOUR_MS)
    made.end_call("c", allowances=(early,), usage=Usage(input_tokens=1, output_tokens=1))

    made.chat("t", tier="complex")

    (decision,) = [sent.command.decision for sent in made.sent]
    assert decision is not None
    worth = {one.endpoint: one.terms["money_s"] for one in decision.candidates if one.terms}
    assert worth["plan"] == worth["by-token"] > 0
    pinned = made.chat("pinned", tier="complex", endpoint="plan")
    assert made.state(pinned) is TaskState.ASSIGNED
    last = made.sent[-1].command.decision
    assert last is not None
    assert last.budget == "subscription to plan (5h is ahead of its pace): 5h 50 % used"


def test_a_model_of_the_tier_that_is_covered_goes_before_one_that_is_not_also_where_the_order_counts() -> None:
    """A tier that takes its models in order still does among those that are paid alike."""
    base = rig(PLAN)
    tiers = tuple(
        replace(tier, models=("dear", "claude")) if tier.name == "complex" else tier
        for tier in base.policy.catalog.tiers
    )
    policy = replace(base.policy, catalog=replace(base.policy.catalog, tiers=tiers))
    made = LiveRig(policy)
    made.worker()
    made.up(replace(cloud("by-token"), models=("dear",)), models=("dear",))
    made.up(cloud("plan"), models=("claude",))

    made.chat("t", Complexity.COMPLEX)

    assert made.rows["t"].endpoint == "plan"


def test_people_are_told_once_near_the_end_and_once_at_it() -> None:
    """However often it is reported; again when it had room in between; not again after a restart."""
    made = rig(replace(PLAN, warn_percent=85))
    for percent in (10.0, 85.0, 90.0, 100.0, 99.0, 100.0, 20.0, 86.0):
        name = made.call(f"c{len(made.order)}", tier="complex")
        report = replace(window(percent), provider="plan")
        made.end_call(name, allowances=(report,), usage=Usage(input_tokens=1, output_tokens=1))
        made.pass_ms(1_000)

    assert alerts(made) == [("5h", "near_end"), ("5h", "used_up"), ("5h", "near_end")]

    again = Scheduler(made.policy, HandClock())
    reports = [replace(window(90.0), provider="plan")]
    again.restore_money([], [], now_ms=made.now_ms, reports=reports)
    assert again.books.snapshot(made.now_ms).allowances == tuple(reports)
    assert again.books.allowances.alerted == {("plan", "5h"): "near_end"}


def test_our_own_count_is_told_of_too() -> None:
    """Of an allowance whose amount is known, whatever the provider says."""
    made = rig(replace(PLAN, allowances=(Allowance(name="day", window=DAY, amount=10),)))
    for number in range(10):
        made.chat(f"t{number}", tier="complex")
        made.finish(f"t{number}", usage=Usage(input_tokens=1, output_tokens=1))

    assert alerts(made) == [("day", "near_end"), ("day", "used_up")]


def test_reports_are_stored_when_they_have_moved() -> None:
    """By a percent, in a new window, or after a minute; an older one than is known is dropped."""
    made = rig(PLAN)

    def hear(percent: float, after_ms: int = 0, resets_ms: int | None = None, late_ms: int = 0) -> int:
        made.pass_ms(after_ms)
        before = len(stored(made))
        report = window(percent, at_ms=made.now_ms - late_ms, resets_ms=resets_ms)
        name = made.call(f"c{made.now_ms}-{before}-{percent}", tier="complex")
        made.end_call(name, allowances=(report,), usage=Usage(input_tokens=1, output_tokens=1))
        return len(stored(made)) - before

    assert [hear(10.0), hear(10.4, 10), hear(11.0, 10), hear(11.0, 59_999), hear(11.0, 1)] == [1, 0, 1, 0, 1]
    assert [hear(11.0, 10, resets_ms=made.now_ms + HOUR_MS), hear(90.0, late_ms=5_000)] == [1, 0]
    assert made.scheduler.books.allowances.known["plan", "5h"].used_percent == 11.0


def test_an_attempt_of_a_worker_reports_too() -> None:
    """Its report has what the endpoint, or the agent program, was told."""
    made = rig(PLAN)
    made.chat("t", tier="complex")
    made.finish("t", usage=Usage(input_tokens=1, output_tokens=1), allowances=(window(42.0),))

    assert made.scheduler.books.allowances.known["plan", "5h"] == replace(window(42.0), provider="plan")


def test_nothing_is_told_of_a_provider_that_is_paid_by_the_token() -> None:
    """Its windows are kept for people to see; they neither prefer nor refuse anything."""
    made = rig()
    made.call("c", tier="complex", endpoint="by-token")
    made.end_call("c", allowances=(window(100.0),), usage=Usage(input_tokens=1, output_tokens=1))

    made.chat("t", tier="complex", endpoint="by-token")

    assert alerts(made) == []
    assert made.state("t") is TaskState.ASSIGNED
    assert isinstance(made.events[0], Event)
