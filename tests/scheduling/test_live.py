"""Live calls: they share queue, slots and failure rules with tasks, store nothing, and hold a slot exactly once."""

import pytest
from msgspec.structs import replace

from ostler.domain.decision import Rejection
from ostler.domain.fleet import BreakerState, Health, ProbeStatus
from ostler.domain.live import LiveEnded
from ostler.domain.policy import GatewayPolicy
from ostler.domain.states import Failure, FailureClass, TaskState, WaitCode
from ostler.domain.tasks import Complexity, Priority
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import DenyCall, Effect, RunCall
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import cloud, local, three_tiers


def rig_with(slots: int = 1, *, more: bool = False) -> LiveRig:
    """A local endpoint, and with `more` a second one and a cloud."""
    rig = LiveRig()
    rig.up(local("gpu1", slots=slots))
    if more:
        rig.up(local("gpu2", slots=slots))
        rig.up(cloud(slots=slots), models=("claude",))
    return rig


def stored(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, RunCall | DenyCall)]


def test_a_call_runs_at_once_on_a_free_slot_and_stores_nothing() -> None:
    """No worker is asked, no row is written, and the answer is in the same turn."""
    rig = rig_with()
    before = len(rig.effects)
    rig.call("c1")
    rig.end_call("c1")

    assert [type(effect) for effect in rig.effects[before:]] == [RunCall]
    assert rig.scheduler.books.in_flight == {}
    assert not rig.scheduler.books.calls.known


def test_a_dispatch_says_where_and_why() -> None:
    """Endpoint, model, tier and the record of the decision go with it."""
    rig = rig_with()
    rig.call("c1")
    run = rig.running["c1"]

    assert (run.endpoint, run.model, run.tier) == ("gpu1", "qwen", "standard")
    assert run.decision.selected_endpoint == "gpu1"
    assert (run.attempt, run.wait_ms, run.context_tokens) == (1, 0, 32_768)


def test_calls_and_tasks_share_the_slots() -> None:
    """A slot that a task holds is not there for a call, and the other way round."""
    rig = rig_with()
    rig.worker()
    rig.chat("t1")
    rig.call("c1")
    assert rig.scheduler.standing("c1") is not None
    rig.chat("t2")
    rig.finish("t1")

    assert list(rig.running) == ["c1"], "somebody waits for it: it comes before the task"
    assert rig.state("t2") is TaskState.QUEUED
    rig.end_call("c1")
    assert rig.state("t2") is TaskState.ASSIGNED


def test_calls_of_one_priority_run_in_the_order_they_came() -> None:
    """Also those of one millisecond, whatever their names."""
    rig = rig_with()
    rig.call("first")
    for name in ("z", "a", "m"):
        rig.call(name)
    for name in ("first", "z", "a", "m"):
        rig.end_call(name)

    assert rig.order == ["first", "z", "a", "m"]


def test_an_urgent_call_comes_first_and_a_low_one_last() -> None:
    """Priority orders calls of all classes, and tasks with them."""
    rig = rig_with()
    rig.worker()
    rig.call("first")
    rig.call("low", priority=Priority.LOW)
    rig.chat("task")
    rig.call("high")
    rig.call("urgent", priority=Priority.URGENT, model="qwen")
    for name in ("first", "urgent", "high"):
        rig.end_call(name)
    assert rig.state("task") is TaskState.ASSIGNED
    rig.finish("task")

    assert rig.order == ["first", "urgent", "high", "low"]


def test_a_call_that_no_model_can_take_is_denied_at_once() -> None:
    """Nothing it could wait for would help."""
    rig = rig_with()
    rig.call("c1", context_tokens=10_000_000)

    assert rig.denied["c1"].wait.code is WaitCode.NO_ROUTE
    assert rig.denied["c1"].retry_after_ms is None
    assert not rig.scheduler.books.calls.known


def test_without_any_endpoint_a_call_is_denied() -> None:
    """No worker's own access is a way out for it."""
    rig = LiveRig()
    rig.worker()
    rig.call("c1")

    assert rig.denied["c1"].wait.code is WaitCode.NO_ROUTE
    assert "no endpoint" in rig.denied["c1"].wait.detail


def test_a_call_that_waits_too_long_is_denied_with_the_reason_of_its_wait() -> None:
    """At its deadline, with the time after which a slot should be free."""
    rig = rig_with()
    rig.call("c1")
    rig.call("c2", wait_ms=2_000)
    rig.pass_ms(1_999)
    assert "c2" not in rig.denied
    rig.pass_ms(1)
    denial = rig.denied["c2"]

    assert denial.wait.code is WaitCode.CAPACITY
    assert denial.wait_ms == 2_000
    assert denial.retry_after_ms is not None
    assert denial.retry_after_ms >= 1_000
    assert denial.decision is not None
    rig.end_call("c1")
    assert rig.order == ["c1"], "a denied call never runs"


def test_the_guess_when_to_come_back_grows_with_the_line() -> None:
    """Each call before it takes its turn on the slots that there are."""
    rig = rig_with()
    rig.call("c1", expected_ms=30_000)
    for name in ("c2", "c3", "c4"):
        rig.call(name, wait_ms=1_000, expected_ms=30_000)
    rig.pass_ms(1_000)

    guesses = [rig.denied[name].retry_after_ms for name in ("c2", "c3", "c4")]
    assert guesses[0] == 29_000
    assert sorted(guesses, key=lambda guess: guess or 0) == guesses


def test_a_thousand_that_leave_at_once_are_denied_in_one_turn() -> None:
    """Each with a guess of its own, and the line is worked out once for all of them."""
    rig = rig_with()
    rig.call("first", expected_ms=2_000)
    for number in range(1_000):
        rig.call(f"c{number}", wait_ms=1_000)
    orders = 0
    order = rig.scheduler.books.queue.order

    def counted(key: object) -> list[str]:
        nonlocal orders
        orders += 1
        return order(key)

    rig.scheduler.books.queue.order = counted  # type: ignore[method-assign]
    rig.pass_ms(1_000)

    assert (len(rig.denied), orders) == (1_000, 1)
    assert rig.denied["c999"].retry_after_ms == 1_000 + 999 * 1_000


def test_a_call_on_a_place_that_is_down_waits_for_it_until_its_deadline() -> None:
    """A recovery lets it run."""
    rig = rig_with()
    rig.down("gpu1")
    rig.call("c1")
    assert rig.scheduler.standing("c1") is not None
    rig.probe("gpu1", ProbeStatus.AVAILABLE, models=("qwen",))

    assert list(rig.running) == ["c1"]


def test_nobody_waits_at_a_prompt_while_a_tier_is_down() -> None:
    """Sideways first, then one tier at once: no five seconds as for a task."""
    rig = rig_with(more=True)
    rig.down("gpu1")
    rig.call("sideways")
    rig.end_call("sideways")
    rig.down("gpu2")
    rig.call("up")

    assert rig.running["up"].endpoint == "anthropic"
    assert rig.running["up"].decision.fallback_used
    assert rig.running["up"].decision.fallback_from_tier == "standard"


def test_a_wait_before_the_fallback_can_be_asked_for() -> None:
    """By the setting of the gateway; then its class is looked at again at that instant."""
    policy = three_tiers()
    rig = LiveRig(replace(policy, gateway=GatewayPolicy(fallback_wait_ms=700)))
    rig.up(local("gpu1"))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu1")
    rig.call("c1")
    rig.pass_ms(699)
    assert not rig.running
    rig.pass_ms(1)

    assert rig.running["c1"].endpoint == "anthropic"


def test_a_place_where_an_attempt_failed_is_not_tried_again() -> None:
    """First the rest of the tier, then one tier up, at once; then it is denied, although the first one is up."""
    rig = rig_with(more=True)
    rig.call("c1", attempt=1)
    first = rig.running["c1"].endpoint
    rig.end_call("c1", FailureClass.SERVER)
    rig.call("c1", attempt=2, excluded=(first,))
    second = rig.running["c1"].endpoint
    assert {first, second} == {"gpu1", "gpu2"}
    rig.end_call("c1", FailureClass.SERVER)
    rig.call("c1", attempt=3, excluded=("gpu1", "gpu2"))
    assert rig.running["c1"].endpoint == "anthropic"
    rig.end_call("c1", FailureClass.SERVER)
    rig.call("c1", attempt=4, excluded=("gpu1", "gpu2", "anthropic"))
    denial = rig.denied["c1"]

    assert denial.wait.code is WaitCode.ENDPOINT_DOWN
    assert "gpu1 failed in the last attempt" in denial.wait.detail
    assert denial.decision is not None
    assert {place.rejection for place in denial.decision.candidates} == {Rejection.EXCLUDED}


def test_a_pinned_model_goes_sideways_and_never_elsewhere() -> None:
    """To the other endpoint that has it; after that it is denied, not sent to another model."""
    rig = rig_with(more=True)
    rig.call("c1", model="qwen", excluded=("gpu1",))
    assert rig.running["c1"].endpoint == "gpu2"
    rig.end_call("c1")
    rig.call("c2", model="qwen", excluded=("gpu1", "gpu2"))

    assert rig.denied["c2"].wait.code is WaitCode.ENDPOINT_DOWN


def test_a_call_that_failed_elsewhere_still_waits_for_a_slot() -> None:
    """Full is not lost."""
    rig = rig_with(more=True)
    rig.call("other", endpoint="gpu2")
    rig.call("c1", model="qwen", excluded=("gpu1",))
    assert rig.scheduler.standing("c1") is not None
    rig.end_call("other")

    assert rig.running["c1"].endpoint == "gpu2"


def test_an_end_frees_its_slot_once() -> None:
    """Said twice, said of an older attempt, or said after a withdrawal: nothing happens."""
    rig = rig_with(slots=2)
    rig.call("c1")
    rig.call("c2")
    rig.end_call("c1")
    for end in (LiveEnded(call_id="c1", attempt=1), LiveEnded(call_id="c2", attempt=7)):
        rig.tell(sig.CallEnded(end=end))
    assert rig.scheduler.books.in_flight == {"gpu1": 1}
    rig.hang_up("c2")
    rig.hang_up("c2")
    rig.tell(sig.CallEnded(end=LiveEnded(call_id="c2", attempt=1)))

    assert rig.scheduler.books.in_flight == {}


def test_a_client_that_hangs_up_leaves_the_queue() -> None:
    """What came after it moves up, and its deadline wakes nobody."""
    rig = rig_with()
    rig.call("c1")
    rig.call("c2")
    rig.call("c3")
    rig.hang_up("c2")
    rig.end_call("c1")
    rig.pass_ms(120_000)

    assert rig.order == ["c1", "c3"]
    assert not rig.denied


def test_a_client_that_hangs_up_while_it_runs_frees_the_slot_without_blame() -> None:
    """Neither good nor bad for the endpoint, and neither is an end as cancelled."""
    rig = rig_with()
    for name in ("a", "b", "c", "d"):
        rig.call(name)
        if name < "c":
            rig.end_call(name, FailureClass.CANCELLED)
        else:
            rig.hang_up(name)

    view = rig.scheduler.books.endpoints.views["gpu1"]
    assert (view.breaker, rig.scheduler.books.in_flight) == (BreakerState.CLOSED, {})


def test_failures_of_calls_open_the_breaker_and_a_good_one_closes_it() -> None:
    """As those of tasks do."""
    rig = rig_with()
    for index in range(rig.policy.scheduler.breaker_failures):
        rig.call(f"c{index}")
        rig.end_call(f"c{index}", FailureClass.SERVER)
    states = [rig.scheduler.books.endpoints.views["gpu1"].breaker]
    rig.pass_ms(rig.policy.scheduler.breaker_cooldown_ms)
    rig.call("trial")
    rig.end_call("trial")
    states.append(rig.scheduler.books.endpoints.views["gpu1"].breaker)

    assert states == [BreakerState.OPEN, BreakerState.CLOSED]


@pytest.mark.parametrize(
    ("failure", "health", "blocked_ms"),
    [(FailureClass.RATE_LIMIT, Health.UP, 7_000), (FailureClass.AUTH, Health.KEY_INVALID, None)],
)
def test_an_endpoint_that_refuses_a_call_is_left_alone(
    failure: FailureClass, health: Health, blocked_ms: int | None
) -> None:
    """For as long as it said; without end where it refuses our key."""
    rig = rig_with()
    rig.call("c1")
    rig.end_call("c1", failure, retry_after_ms=blocked_ms)
    view = rig.scheduler.books.endpoints.views["gpu1"]

    assert view.health is health
    assert view.blocked_until_ms == (None if blocked_ms is None else rig.now_ms + blocked_ms)


def test_a_later_attempt_replaces_one_that_nobody_ended() -> None:
    """Its slot is freed first; an equal offer changes nothing."""
    rig = rig_with()
    rig.call("c1")
    rig.tell(sig.CallOffered(call=rig.scheduler.books.calls.known["c1"].call))
    assert rig.scheduler.books.in_flight == {"gpu1": 1}
    rig.running.pop("c1")
    rig.call("c1", attempt=2)

    assert rig.running["c1"].attempt == 2
    assert rig.scheduler.books.in_flight == {"gpu1": 1}


def test_a_call_stands_behind_those_of_its_class() -> None:
    """`ahead` counts them; a call that runs, or is not known, has no standing."""
    rig = rig_with()
    for name in ("c1", "c2", "c3"):
        rig.call(name)
    standing = rig.scheduler.standing("c3")

    assert standing is not None
    assert (standing.wait.code, standing.ahead) == (WaitCode.CAPACITY, 1)
    assert rig.scheduler.standing("c1") is None
    assert rig.scheduler.standing("nobody") is None


def test_other_rules_speak_for_waiting_calls_too() -> None:
    """A call that waited for a slot is denied when no model may take it any more."""
    rig = rig_with()
    rig.call("c1")
    rig.call("c2", model="qwen")
    catalog = rig.policy.catalog
    small = {**catalog.models, "qwen": replace(catalog.models["qwen"], context_tokens=10)}
    rig.tell(sig.PolicyChanged(policy=replace(rig.policy, catalog=replace(catalog, models=small), version="other")))

    assert rig.denied["c2"].wait.code is WaitCode.NO_ROUTE


def test_an_endpoint_may_go_while_a_call_runs_there() -> None:
    """The call may end; the one that waited for it is told at its deadline."""
    rig = rig_with()
    rig.call("c1")
    rig.call("c2", wait_ms=500, model="qwen")
    rig.tell(sig.EndpointRemoved(name="gpu1"))
    rig.end_call("c1")
    rig.pass_ms(500)

    assert "c2" in rig.denied
    assert rig.scheduler.books.in_flight == {}


def test_a_call_may_be_named_as_a_task_is() -> None:
    """Neither gets into the books of the other."""
    rig = rig_with()
    rig.worker()
    rig.chat("same")
    rig.call("same", complexity=Complexity.STANDARD)
    rig.finish("same")
    assert list(rig.running) == ["same"]
    rig.end_call("same")

    assert rig.state("same") is TaskState.SUCCEEDED


def test_a_failure_without_a_reason_is_still_blamed_once() -> None:
    """The end of an attempt as the gateway reports it."""
    rig = rig_with()
    rig.call("c1")
    rig.running.pop("c1")
    failure = Failure(kind=FailureClass.NETWORK, message="refused", at_ms=rig.now_ms)
    rig.tell(sig.CallEnded(end=LiveEnded(call_id="c1", attempt=1, failure=failure)))

    assert rig.probes == ["gpu1"], "it may be down: it is listed at once"
