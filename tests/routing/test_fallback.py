"""What happens when no place of a tier can be used: wait, then one step, and never a second one."""

import pytest
from msgspec.structs import replace

from ostler.domain.catalog import HostSpec
from ostler.domain.decision import Cause, Rejection, Verdict
from ostler.domain.fleet import GIB, BreakerState, EndpointView, Health
from ostler.domain.policy import FallbackDirection, Policy
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity, TaskFacts, TaskKind
from ostler.routing.decide import decide
from tests.routing.fleets import (
    CHEAP,
    DEAR,
    FOUR_TIERS,
    LARGE,
    NOW,
    SMALL,
    THREE_TIERS,
    facts,
    fleet,
    held,
    request,
    routed,
    view,
    with_hosts,
    with_routing,
    with_tier,
)

TRIVIAL, STANDARD, COMPLEX = Complexity.TRIVIAL, Complexity.STANDARD, Complexity.COMPLEX
S, D = SMALL.name, DEAR.name
CLOUD = view("cloud", D, local=False)


def down(name: str, *models: str, since_ms: int | None = None, local: bool = True) -> EndpointView:
    return view(name, *models, local=local, health=Health.DOWN, unusable_since_ms=since_ms, message="refused")


def ask(task: TaskFacts, *views: EndpointView, waited_ms: int = 60_000, policy: Policy = THREE_TIERS) -> Verdict:
    return decide(request(task, waited_ms=waited_ms), fleet(*views), policy)


def test_fallback_not_before_five_seconds_and_at_five_seconds() -> None:
    """At 4 999 ms the task waits for the tier, at 5 000 ms it runs one tier up, with the whole story in its record."""
    hold = held(ask(facts(), down("gpu1", S), CLOUD, waited_ms=4_999))
    assert hold.wait.code is WaitCode.FALLBACK_WAIT
    assert (hold.wait.since_ms, hold.wait.next_check_ms) == (NOW - 4_999, NOW + 1)
    assert (hold.fallback_tier, hold.decision.fallback_used) == ("complex", False)
    assert hold.blocked_on == ("cloud", "gpu1")
    assert hold.wait.detail == "no endpoint of standard is available: gpu1 is down (refused); next may use complex"

    decision = routed(ask(facts(), down("gpu1", S), CLOUD, waited_ms=5_000))
    assert (decision.selected_endpoint, decision.effective_tier) == ("cloud", "complex")
    assert (decision.fallback_used, decision.fallback_from_tier, decision.fallback_wait_ms) == (
        True,
        "standard",
        5_000,
    )
    assert decision.fallback_reason == "no endpoint of standard is available: gpu1 is down (refused)"
    assert [step.cause for step in decision.adjustments] == [Cause.AVAILABILITY]
    assert [(c.endpoint, c.rejection) for c in decision.candidates] == [("cloud", None), ("gpu1", Rejection.DOWN)]
    assert "fallback from standard" in decision.summary


@pytest.mark.parametrize(
    ("outages", "waited_ms", "ready_ms"),
    [
        ((None,), 1_000, NOW + 4_000),
        ((NOW - 60_000,), 1_000, NOW + 4_000),  # down long before it was queued
        ((NOW - 2_000,), 60_000, NOW + 3_000),  # went down while it waited
        ((NOW - 9_000, NOW - 2_000), 60_000, NOW + 3_000),  # the last one counts
        ((NOW - 2_000, None), 60_000, NOW + 3_000),
    ],
)
def test_the_wait_runs_from_queueing_or_from_the_outage(
    outages: tuple[int | None, ...], waited_ms: int, ready_ms: int
) -> None:
    """Whichever is later; with several endpoints the outage begins when the last of them went."""
    views = [down(f"gpu{number}", S, since_ms=since) for number, since in enumerate(outages)]
    hold = held(ask(facts(), *views, CLOUD, waited_ms=waited_ms))
    assert (hold.wait.code, hold.wait.next_check_ms) == (WaitCode.FALLBACK_WAIT, ready_ms)
    assert hold.wait.since_ms == ready_ms - 5_000


def test_a_blip_costs_nothing() -> None:
    """When the endpoint is back before the wait is over, the task runs on its own tier."""
    assert held(ask(facts(), down("gpu1", S), CLOUD, waited_ms=1_000)).fallback_tier == "complex"
    assert routed(ask(facts(), view("gpu1", S), CLOUD, waited_ms=4_999)).effective_tier == "standard"


@pytest.mark.parametrize(
    "away",
    [
        {"health": Health.DOWN},
        {"health": Health.KEY_INVALID},
        {"health": Health.UNKNOWN},
        {"breaker": BreakerState.OPEN},
        {"blocked_until_ms": NOW + 600_000},
    ],
)
def test_every_kind_of_outage_leads_to_the_fallback(away: dict[str, object]) -> None:
    """Down, key refused, not checked, left alone by the breaker or rate limited: nobody can be called there."""
    assert routed(ask(facts(), replace(view("gpu1", S), **away), CLOUD)).effective_tier == "complex"


def test_a_tier_nobody_serves_is_unavailable_since_the_task_was_queued() -> None:
    """Other endpoints are registered, so it is no plain matching: it waits, then goes one tier up."""
    hold = held(ask(facts(), CLOUD, waited_ms=1_000))
    assert (hold.wait.code, hold.wait.since_ms) == (WaitCode.FALLBACK_WAIT, NOW - 1_000)
    assert f"no registered endpoint serves {S}" in hold.wait.detail
    decision = routed(ask(facts(), CLOUD))
    assert decision.fallback_from_tier == "standard"
    assert [(c.model, c.rejection) for c in decision.candidates] == [(D, None), (S, Rejection.NOT_SERVED)]


def test_a_tier_whose_hosts_are_all_too_small_is_unavailable() -> None:
    """No recovery will help there, so the step is taken; the record names the memory."""
    policy = with_hosts(THREE_TIERS, HostSpec(name="tiny", memory_bytes=1 * GIB))
    decision = routed(ask(facts(), view("tiny", S), CLOUD, policy=policy))
    assert decision.effective_tier == "complex"
    assert "can never hold the model in its memory" in (decision.fallback_reason or "")


def test_complex_work_waits_for_its_tier() -> None:
    """There is nothing above the top; the wait says since when and for whom."""
    hold = held(ask(facts(COMPLEX), view("gpu1", S), down("cloud", D, local=False, since_ms=NOW - 7_000)))
    assert (hold.wait.code, hold.wait.since_ms) == (WaitCode.ENDPOINT_DOWN, NOW - 7_000)
    assert (hold.wait.next_check_ms, hold.fallback_tier, hold.blocked_on) == (None, None, ("cloud",))


def test_trivial_work_never_reaches_complex_by_an_outage() -> None:
    """From direct, one step is the lowest model tier; there it stays."""
    hold = held(ask(facts(TRIVIAL), down("gpu1", S), CLOUD, waited_ms=3_600_000))
    assert (hold.wait.code, hold.decision.effective_tier) == (WaitCode.ENDPOINT_DOWN, "standard")
    escalated = decide(
        request(facts(TRIVIAL), waited_ms=60_000, quality_steps=1),
        fleet(view("gpu1", S), down("big", LARGE.name), view("cloud", CHEAP.name, local=False)),
        FOUR_TIERS,
    )
    assert routed(escalated).effective_tier == "T2"  # T0 by its classification, T1 by quality, T2 by the outage


def test_trivial_work_from_direct_does_not_fall_back_below_what_quality_demands() -> None:
    """Escalated from direct, no step of an outage may lead back down, and none further up."""
    policy = with_routing(FOUR_TIERS, complexity_tiers={"trivial": "direct", "standard": "T0", "complex": "T1"})
    views = (view("gpu1", S), down("big", LARGE.name), view("cloud", CHEAP.name, local=False))
    question = request(facts(TRIVIAL), waited_ms=60_000, quality_steps=1)
    hold = held(decide(question, fleet(*views), policy))
    assert (hold.wait.code, hold.decision.effective_tier) == (WaitCode.ENDPOINT_DOWN, "T1")


def test_a_second_step_is_refused() -> None:
    """Two tiers down: the work of the lower one waits, though a third tier is up."""
    hold = held(ask(facts(), down("a", S), down("b", LARGE.name), CLOUD, policy=FOUR_TIERS))
    assert (hold.wait.code, hold.blocked_on) == (WaitCode.ENDPOINT_DOWN, ("a", "b"))
    assert "no endpoint of T0" in hold.wait.detail
    assert "no endpoint of T1" in hold.wait.detail


def test_all_tiers_down_trivial_commands_still_run() -> None:
    """Commands and trivial work with a command run; everything else waits with a reason."""
    views = (down("gpu1", S, since_ms=NOW - 9_000), down("cloud", D, local=False, since_ms=NOW - 6_000))
    assert routed(ask(facts(COMPLEX, kind=TaskKind.COMMAND), *views)).target_type == "direct"
    assert routed(ask(facts(TRIVIAL, has_command=True), *views)).target_type == "direct"
    for complexity in (TRIVIAL, STANDARD, COMPLEX):
        assert held(ask(facts(complexity), *views)).wait.code is WaitCode.ENDPOINT_DOWN
    both = held(ask(facts(), *views))
    assert (both.wait.since_ms, both.blocked_on) == (NOW - 6_000, ("cloud", "gpu1"))


def test_the_step_skips_disabled_tiers() -> None:
    """They are not on the ladder: from T0 the step leads to T2 when T1 is disabled."""
    policy = with_tier(FOUR_TIERS, "T1", enabled=False)
    decision = routed(ask(facts(), down("a", S), view("cloud", CHEAP.name, local=False), policy=policy))
    assert (decision.effective_tier, decision.fallback_from_tier) == ("T2", "T0")


def test_the_step_down_says_when_it_is_below_the_minimum() -> None:
    """Only where the profile's direction is down; then the record says so."""
    policy = with_routing(FOUR_TIERS, fallback_by_tier={"T2": FallbackDirection.DOWN})
    views = (view("big", LARGE.name), down("ds", CHEAP.name, local=False))
    decision = routed(ask(facts(task_type="coding"), *views, policy=policy))
    assert (decision.effective_tier, decision.minimum_tier) == ("T1", "T2")
    assert "T1 is below the minimum T2" in decision.adjustments[-1].reason
    assert "T1 is below the minimum T2" in (decision.fallback_reason or "")


def test_the_step_down_never_leads_to_direct() -> None:
    """Work that needs a model has nothing below the lowest model tier."""
    policy = with_routing(THREE_TIERS, fallback_direction=FallbackDirection.DOWN)
    assert held(ask(facts(), down("gpu1", S), CLOUD, policy=policy)).wait.code is WaitCode.ENDPOINT_DOWN


@pytest.mark.parametrize("routing", [{"fallback_direction": FallbackDirection.NONE}, {"max_availability_steps": 0}])
def test_fallback_can_be_switched_off(routing: dict[str, object]) -> None:
    """Then the task waits for its own tier."""
    policy = with_routing(THREE_TIERS, **routing)
    assert held(ask(facts(), down("gpu1", S), CLOUD, policy=policy)).wait.code is WaitCode.ENDPOINT_DOWN


def test_more_steps_only_when_the_policy_allows_them() -> None:
    """With two steps allowed, the nearest available tier is used."""
    policy = with_routing(FOUR_TIERS, max_availability_steps=2)
    views = (down("a", S), down("b", LARGE.name), view("cloud", CHEAP.name, local=False))
    assert routed(ask(facts(), *views, policy=policy)).effective_tier == "T2"


def test_a_full_fallback_tier_is_waited_for() -> None:
    """After the wait the fallback tier is the place: its full slots are a wait for capacity there."""
    question = request(facts(), waited_ms=60_000)
    hold = held(decide(question, fleet(down("gpu1", S), CLOUD, in_flight={"cloud": 1}), THREE_TIERS))
    assert (hold.wait.code, hold.blocked_on) == (WaitCode.CAPACITY, ("cloud", "gpu1"))
    assert (hold.decision.effective_tier, hold.decision.fallback_used) == ("complex", True)


@pytest.mark.parametrize("changes", [{"context_tokens": 8_001}, {"local_only": True}])
def test_a_fallback_tier_that_cannot_take_the_task_is_none(changes: dict[str, object]) -> None:
    """It lacks the window, or is not local: the task waits for its own tier instead of going two tiers away."""
    views = (down("a", S), view("b", LARGE.name, local="local_only" not in changes), view("c", CHEAP.name, local=False))
    hold = held(ask(replace(facts(), **changes), *views, policy=FOUR_TIERS))
    assert (hold.wait.code, hold.fallback_tier, hold.blocked_on) == (WaitCode.ENDPOINT_DOWN, None, ("a",))


def test_a_context_skip_costs_no_step_of_an_outage() -> None:
    """Moved to T2 by its window, the work may still go one tier up when T2 is down."""
    views = (view("a", S), down("ds", CHEAP.name, local=False), CLOUD)
    decision = routed(ask(facts(context_tokens=40_000), *views, policy=FOUR_TIERS))
    assert (decision.effective_tier, decision.fallback_from_tier) == ("T3", "T2")
    assert [step.cause for step in decision.adjustments] == [Cause.CONTEXT, Cause.CONTEXT, Cause.AVAILABILITY]


def test_a_stated_tier_may_fall_back() -> None:
    """A tier is a level of ability, not a place; only models and endpoints are pins."""
    decision = routed(ask(facts(tier="standard"), down("gpu1", S), CLOUD))
    assert (decision.requested_tier, decision.effective_tier) == ("standard", "complex")


def test_a_rate_limit_says_when_to_look_again() -> None:
    """With nothing else usable, the earliest end of a limit is the next check."""
    views = (
        view("a", D, local=False, blocked_until_ms=NOW + 30_000, unusable_since_ms=NOW - 1_000),
        view("b", D, local=False, blocked_until_ms=NOW + 20_000, unusable_since_ms=NOW - 4_000),
        down("c", D, local=False),
    )
    hold = held(ask(facts(COMPLEX), *views))
    assert (hold.wait.code, hold.wait.next_check_ms) == (WaitCode.QUOTA_UNTIL, NOW + 20_000)
    assert (hold.wait.since_ms, hold.blocked_on) == (NOW - 1_000, ("a", "b", "c"))
    fallen = held(ask(facts(), down("gpu1", S), *views))
    assert (fallen.wait.code, fallen.wait.next_check_ms) == (WaitCode.QUOTA_UNTIL, NOW + 20_000)


def test_the_reason_of_a_wait_does_not_change_with_the_clock() -> None:
    """Asked again a second later, an unchanged wait reads the same, so that nothing needs to be stored again."""
    limited = view("a", D, local=False, blocked_until_ms=NOW + 30_000)
    for snapshot in (fleet(limited), fleet(down("gpu1", S), limited)):
        for task in (facts(), facts(COMPLEX)):
            one = held(decide(request(task, waited_ms=1_000), snapshot, THREE_TIERS))
            other = held(decide(request(task, now_ms=NOW + 1_000, queued_ms=NOW - 1_000), snapshot, THREE_TIERS))
            assert one.wait == other.wait


def test_endpoints_that_were_not_checked_yet_are_waited_for() -> None:
    """Right after a start nothing is known: not down, not usable."""
    new = view("gpu1", S, health=Health.UNKNOWN, checked_ms=None)
    first = held(ask(facts(), new, CLOUD, waited_ms=0))
    assert (first.wait.code, first.wait.next_check_ms) == (WaitCode.FALLBACK_WAIT, NOW + 5_000)
    assert "gpu1 is not checked yet" in first.wait.detail
    alone = held(ask(facts(), new))
    assert (alone.wait.code, alone.wait.since_ms) == (WaitCode.ENDPOINT_DOWN, NOW - 60_000)
    assert "not checked yet" in alone.wait.detail
    assert routed(ask(facts(), new, CLOUD)).effective_tier == "complex"


def test_endpoints_that_listed_nothing_yet_are_watched() -> None:
    """Nobody serves the tier so far: whoever may list its models next is watched, and the reason says so."""
    blank = view("gpu1", health=Health.UNKNOWN, checked_ms=None)
    remote = view("far", local=False, health=Health.UNKNOWN)
    hold = held(ask(facts(), blank, remote))
    assert hold.blocked_on == ("far", "gpu1")
    assert "2 of the endpoints listed no models so far" in hold.wait.detail
    assert held(ask(facts(local_only=True), blank, remote)).blocked_on == ("gpu1",)


def test_a_failed_place_is_tried_again_before_the_tier_is_left() -> None:
    """Exclusion alone is no outage: the tier is usable, so no step is taken."""
    question = request(facts(), waited_ms=60_000, excluded=("gpu1",))
    decision = routed(decide(question, fleet(view("gpu1", S), CLOUD), THREE_TIERS))
    assert (decision.selected_endpoint, decision.fallback_used) == ("gpu1", False)


def test_the_wait_is_configurable() -> None:
    """The instant follows `fallback_wait_ms`."""
    policy = with_routing(THREE_TIERS, fallback_wait_ms=250)
    assert held(ask(facts(), down("gpu1", S), CLOUD, waited_ms=249, policy=policy)).wait.next_check_ms == NOW + 1
    assert routed(ask(facts(), down("gpu1", S), CLOUD, waited_ms=250, policy=policy)).fallback_wait_ms == 250


def test_escalated_work_may_still_fall_back_one_tier() -> None:
    """Steps are counted by cause: one for quality, one for the outage."""
    views = (view("a", S), down("b", LARGE.name), view("c", CHEAP.name, local=False))
    question = replace(request(facts(), waited_ms=60_000), quality_steps=1)
    decision = routed(decide(question, fleet(*views), FOUR_TIERS))
    assert [step.cause for step in decision.adjustments] == [Cause.QUALITY, Cause.AVAILABILITY]
    assert (decision.effective_tier, decision.quality_steps) == ("T2", 1)
