"""What is decided otherwise for live calls: what a key may use, context that is loaded, and places that failed."""

import pytest
from msgspec.structs import replace

from ostler.domain.catalog import EndpointKind, Reach
from ostler.domain.decision import Cause, Rejection
from ostler.domain.fleet import EndpointView, Health, Resident
from ostler.domain.policy import ContextRule, FallbackDirection, GatewayPolicy, Policy
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity, TaskKind
from ostler.routing.classes import route_class
from ostler.routing.decide import decide
from tests.routing import fleets
from tests.routing.fleets import DEAR, FOUR_TIERS, LARGE, NOW, SMALL, THREE_TIERS, facts, fleet, held, request, routed
from tests.routing.test_classes import task_of


def loaded(name: str, context_tokens: int | None, **changes: object) -> EndpointView:
    """A local endpoint with the small model loaded at a context."""
    residents = (Resident(model=SMALL.name, context_tokens=context_tokens),)
    return replace(fleets.view(name, SMALL.name), residents=residents, **changes)


def server(name: str, window: int) -> EndpointView:
    """A server that was started with a window, and says so."""
    spec = fleets.endpoint(name, kind=EndpointKind.OPENAI)
    residents = (Resident(model=SMALL.name, context_tokens=window),)
    return replace(fleets.view(name, SMALL.name), spec=spec, residents=residents, windows={SMALL.name: window})


def ruled(rule: ContextRule, policy: Policy = THREE_TIERS) -> Policy:
    return replace(policy, gateway=GatewayPolicy(context_rule=rule))


CLOUD = fleets.view("cloud", DEAR.name, local=False)


# -- what a key may use ----------------------------------------------------------------------------------------------


def test_tiers_that_a_key_may_not_use_are_passed_over() -> None:
    """Upward, and the record says why."""
    views = fleet(fleets.view("gpu", SMALL.name), CLOUD)
    decision = routed(decide(request(facts(only_tiers=frozenset({"complex"})), live=True), views, THREE_TIERS))

    assert decision.effective_tier == "complex"
    assert [(change.cause, change.to_tier) for change in decision.adjustments] == [(Cause.NOT_ALLOWED, "complex")]
    assert Rejection.NOT_ALLOWED in {candidate.rejection for candidate in decision.candidates}


def test_an_open_choice_finds_an_allowed_tier_below_too() -> None:
    """A key for local models gets one for hard work as well; a tier that was asked for is not left."""
    views = fleet(fleets.view("gpu", SMALL.name), CLOUD)
    hard = facts(Complexity.COMPLEX, only_models=frozenset({SMALL.name}))
    down = routed(decide(request(hard, live=True), views, THREE_TIERS))
    stated = held(decide(request(replace(hard, tier="complex"), live=True), views, THREE_TIERS))

    assert (down.effective_tier, down.minimum_tier) == ("standard", "complex")
    assert (stated.wait.code, "may use" in stated.wait.detail) == (WaitCode.NO_ROUTE, True)


def test_a_model_that_a_key_may_not_use_has_no_route() -> None:
    """Whatever else would be free."""
    asked = facts(model=DEAR.name, only_models=frozenset({SMALL.name}))
    hold = held(decide(request(asked, live=True), fleet(fleets.view("gpu", SMALL.name), CLOUD), THREE_TIERS))

    assert hold.wait.code is WaitCode.NO_ROUTE
    assert {candidate.rejection for candidate in hold.decision.candidates} == {Rejection.NOT_ALLOWED}


def test_an_outage_leads_to_no_tier_that_a_key_may_not_use() -> None:
    """It waits instead."""
    down = fleets.view("gpu", SMALL.name, health=Health.DOWN)
    asked = request(facts(only_tiers=frozenset({"standard"})), live=True, waited_ms=60_000)

    assert held(decide(asked, fleet(down, CLOUD), THREE_TIERS)).wait.code is WaitCode.ENDPOINT_DOWN


# -- context ---------------------------------------------------------------------------------------------------------


def test_a_loaded_context_that_is_too_small_is_loaded_anew() -> None:
    """By default, and its time counts: a place that has the room already is better."""
    need = request(facts(context_tokens=9_000), live=True)
    alone = routed(decide(need, fleet(loaded("gpu1", 4_096)), THREE_TIERS))
    beside = routed(decide(need, fleet(loaded("gpu1", 4_096), loaded("gpu2", 16_384)), THREE_TIERS))

    assert (alone.selected_endpoint, alone.swap_needed) == ("gpu1", True)
    assert (beside.selected_endpoint, beside.swap_needed) == ("gpu2", False)


def test_by_rule_it_goes_where_there_is_room() -> None:
    """Sideways, else one tier aside at once, as if its own were down."""
    need = request(facts(context_tokens=9_000), live=True)
    policy = ruled(ContextRule.REROUTE)
    sideways = routed(decide(need, fleet(loaded("gpu1", 4_096), loaded("gpu2", 16_384), CLOUD), policy))
    aside = routed(decide(need, fleet(loaded("gpu1", 4_096), CLOUD), policy))

    assert sideways.selected_endpoint == "gpu2"
    assert (aside.selected_endpoint, aside.fallback_used) == ("cloud", True)
    assert "4096 tokens, the call needs 9000" in (aside.fallback_reason or "")


def test_by_rule_it_is_denied_with_both_figures() -> None:
    """Nothing else is tried, and it waits for nothing."""
    hold = held(
        decide(
            request(facts(context_tokens=9_000), live=True),
            fleet(loaded("gpu1", 4_096), CLOUD),
            ruled(ContextRule.ERROR),
        )
    )

    assert hold.wait.code is WaitCode.NO_ROUTE
    assert "gpu1 has qwen2.5:7b loaded with a context of 4096 tokens, the call needs 9000" in hold.wait.detail


def test_a_server_with_a_small_window_is_never_asked_for_more() -> None:
    """It cannot load anew: the call goes aside, and is denied when there is no other place."""
    need = request(facts(context_tokens=9_000), live=True)
    aside = routed(decide(need, fleet(server("vllm", 8_192), CLOUD), THREE_TIERS))
    hold = held(decide(need, fleet(server("vllm", 8_192)), THREE_TIERS))

    assert aside.selected_endpoint == "cloud"
    assert hold.wait.code is WaitCode.NO_ROUTE
    assert "vllm has a window of 8192 tokens for qwen2.5:7b, the call needs 9000" in hold.wait.detail
    task = routed(decide(replace(need, live=False), fleet(server("vllm", 8_192)), THREE_TIERS))
    assert task.selected_endpoint == "vllm", "a task hears of it from the server, and goes on elsewhere"


def test_a_listed_window_bounds_what_is_loaded() -> None:
    """No load can give more than the model has."""
    need = request(facts(context_tokens=9_000), live=True)

    for context_tokens in (4_096, None):
        view = loaded("gpu1", context_tokens, windows={SMALL.name: 8_192})
        assert held(decide(need, fleet(view), THREE_TIERS)).wait.code is WaitCode.NO_ROUTE


def test_a_managed_model_grows_only_to_what_the_profile_states() -> None:
    """Where it states nothing, the next load would be as small as this one."""
    need = request(facts(context_tokens=9_000), live=True)
    view = loaded("gpu1", 4_096, managed=True)
    bare = fleets.with_models(THREE_TIERS, replace(SMALL, context_tokens=None))

    assert held(decide(need, fleet(view), THREE_TIERS)).wait.code is WaitCode.MODEL_SWAP
    assert held(decide(need, fleet(view), bare)).wait.code is WaitCode.NO_ROUTE


def test_a_place_that_may_return_is_waited_for() -> None:
    """One without room is no reason to deny what another place could take."""
    need = request(facts(context_tokens=9_000), live=True)
    views = fleet(server("vllm", 8_192), fleets.view("gpu", SMALL.name, health=Health.DOWN))

    assert held(decide(need, views, THREE_TIERS)).wait.code is WaitCode.ENDPOINT_DOWN


# -- places that failed ----------------------------------------------------------------------------------------------


def test_a_place_that_failed_is_lifted_for_a_task_and_never_for_a_call() -> None:
    """The caller would wait for the same failure once more."""
    views = fleet(fleets.view("gpu", SMALL.name))
    again = request(facts(), excluded=("gpu",))

    assert routed(decide(again, views, THREE_TIERS)).selected_endpoint == "gpu"
    hold = held(decide(replace(again, live=True), views, THREE_TIERS))
    assert hold.wait.code is WaitCode.ENDPOINT_DOWN
    assert "gpu failed in the last attempt" in hold.wait.detail


def test_after_a_failure_the_step_is_taken_at_once_whatever_the_wait() -> None:
    """One tier, never two."""
    policy = replace(FOUR_TIERS, gateway=GatewayPolicy(fallback_wait_ms=60_000))
    views = [fleets.view("a", SMALL.name), fleets.view("b", LARGE.name), CLOUD]
    asked = request(facts(tier="T0"), live=True)
    one = routed(decide(replace(asked, excluded=("a",)), fleet(*views), policy))
    two = held(decide(replace(asked, excluded=("a", "b")), fleet(*views), policy))

    assert (one.effective_tier, one.decided_ms, one.fallback_wait_ms) == ("T1", NOW, 0)
    assert two.wait.code is WaitCode.ENDPOINT_DOWN


def test_a_call_that_failed_waits_for_no_tier() -> None:
    """Also when the place where it failed has gone down since."""
    policy = replace(THREE_TIERS, gateway=GatewayPolicy(fallback_wait_ms=60_000))
    down = fleets.view("gpu", SMALL.name, health=Health.DOWN)
    decision = routed(decide(request(live=True, excluded=("gpu",)), fleet(down, CLOUD), policy))

    assert decision.selected_endpoint == "cloud"


@pytest.mark.parametrize("waited_ms", [0, 999, 1_000])
def test_the_wait_for_a_tier_is_that_of_the_gateway(waited_ms: int) -> None:
    """Not that of tasks."""
    policy = replace(
        fleets.with_routing(THREE_TIERS, fallback_wait_ms=0), gateway=GatewayPolicy(fallback_wait_ms=1_000)
    )
    down = fleets.view("gpu", SMALL.name, health=Health.DOWN)
    verdict = decide(request(live=True, waited_ms=waited_ms), fleet(down, CLOUD), policy)

    if waited_ms < 1_000:
        assert held(verdict).wait.code is WaitCode.FALLBACK_WAIT
    else:
        assert routed(verdict).selected_endpoint == "cloud"


def test_no_step_is_taken_where_the_policy_allows_none() -> None:
    """A failure is no permission."""
    policy = fleets.with_routing(THREE_TIERS, fallback_direction=FallbackDirection.NONE)
    views = fleet(fleets.view("gpu", SMALL.name), CLOUD)

    assert held(decide(request(live=True, excluded=("gpu",)), views, policy)).wait.code is WaitCode.ENDPOINT_DOWN


def test_without_endpoints_a_call_has_no_route() -> None:
    """No worker takes it."""
    assert held(decide(request(live=True), fleet(), THREE_TIERS)).wait.code is WaitCode.NO_ROUTE


# -- what the hub itself does not reach --------------------------------------------------------------------------------


def far() -> EndpointView:
    """An endpoint that only workers on its machine reach, with the model loaded."""
    return fleets.view("far", SMALL.name, warm=[SMALL.name], spec={"reached_by": Reach.WORKER})


@pytest.mark.parametrize(("live", "kind"), [(True, TaskKind.CHAT), (False, TaskKind.AGENT)])
def test_what_calls_through_the_hub_passes_over_what_the_hub_does_not_reach(live: bool, kind: TaskKind) -> None:
    """A call of the gateway, and an agent, whose calls are such; the record says why. A chat task may go there."""
    near = fleets.view("near", SMALL.name)
    there = routed(decide(request(facts(kind=kind), live=live), fleet(far(), near), THREE_TIERS))

    assert there.selected_endpoint == "near"
    (refused,) = [one for one in there.candidates if one.endpoint == "far"]
    assert refused.rejection is Rejection.UNREACHABLE
    assert "reached by workers on its machine only" in refused.detail
    assert routed(decide(request(facts()), fleet(far(), near), THREE_TIERS)).selected_endpoint == "far"


def test_a_call_that_only_workers_could_make_is_refused_at_once() -> None:
    """Nothing would end its wait, but for another place that may come back; then it waits for that one."""
    alone = held(decide(request(live=True), fleet(far()), THREE_TIERS))
    down = fleets.view("near", SMALL.name, health=Health.DOWN)
    beside = held(decide(request(live=True), fleet(far(), down), THREE_TIERS))

    assert (alone.wait.code, beside.wait.code) == (WaitCode.NO_ROUTE, WaitCode.ENDPOINT_DOWN)
    assert "far is reached by workers on its machine only" in alone.wait.detail


def test_agents_and_chats_are_different_questions() -> None:
    """They do not share an answer, though they ask for the same model with the same needs."""
    chat = facts(kind=TaskKind.CHAT)
    keys = {route_class(one, task_of(request(one)), THREE_TIERS) for one in (chat, replace(chat, kind=TaskKind.AGENT))}

    assert len(keys) == 2
