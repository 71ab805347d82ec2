"""The decision on a tier that has places: filters, choice, capacity, pins, the record."""

import pytest
from msgspec.structs import replace

from ostler.domain.catalog import DIRECT, Capability, ChoiceRule, CostClass, HostSpec, ModelSpec
from ostler.domain.decision import Cause, Decision, Rejection, TargetType, Verdict
from ostler.domain.fleet import GIB, BreakerState, FleetSnapshot, Health, Resident
from ostler.domain.policy import Policy
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
    endpoint,
    facts,
    fleet,
    held,
    report,
    request,
    routed,
    view,
    with_hosts,
    with_models,
    with_routing,
    with_tier,
)

TRIVIAL, STANDARD, COMPLEX = Complexity.TRIVIAL, Complexity.STANDARD, Complexity.COMPLEX
S, D = SMALL.name, DEAR.name


def ask(task: TaskFacts, snapshot: FleetSnapshot, policy: Policy = THREE_TIERS) -> Verdict:
    return decide(request(task), snapshot, policy)


def rejections(decision: Decision) -> dict[str, Rejection | None]:
    return {candidate.endpoint or candidate.model: candidate.rejection for candidate in decision.candidates}


def test_a_command_runs_on_a_worker_even_when_everything_is_down() -> None:
    """Direct work needs no endpoint, and no candidates are looked at."""
    for snapshot in (fleet(), fleet(view("gpu1", S, health=Health.DOWN))):
        decision = routed(ask(facts(COMPLEX, kind=TaskKind.COMMAND), snapshot))
        assert (decision.target_type, decision.effective_tier) == (TargetType.DIRECT, DIRECT)
        assert (decision.candidate_count, decision.fallback_used) == (0, False)
        assert decision.estimated_cost_tier is CostClass.FREE


def test_no_registered_endpoint_means_plain_matching() -> None:
    """Any capable worker may take it; the decision is stored as a fallback with its reason."""
    decision = routed(ask(facts(), fleet()))
    assert (decision.target_type, decision.effective_tier) == (TargetType.WORKER, "standard")
    assert decision.fallback_used
    assert decision.fallback_reason == "no endpoint is registered: matched by capability alone"
    assert decision.fallback_from_tier == "standard"
    assert (decision.selected_endpoint, decision.selected_model) == (None, None)
    assert routed(ask(facts(model=S), fleet())).selected_model == S


def test_local_only_work_is_not_given_to_an_unknown_model_access() -> None:
    """Without endpoints local-only work waits: what a worker's own access reaches is not known."""
    hold = held(ask(facts(local_only=True), fleet()))
    assert hold.wait.code is WaitCode.NO_ROUTE


def test_the_best_score_is_chosen_and_the_rest_recorded() -> None:
    """The idle host wins; the busy one is recorded with its terms as possible and not chosen."""
    snapshot = fleet(
        view("busy", S),
        view("idle", S),
        view("away", S, health=Health.DOWN, message="connection refused"),
        reports={"busy": report("busy", cpu_percent=90.0), "idle": report("idle", cpu_percent=10.0)},
    )
    decision = routed(ask(facts(), snapshot))
    assert (decision.selected_endpoint, decision.selected_model, decision.selected_host) == ("idle", S, "idle")
    assert [candidate.endpoint for candidate in decision.candidates] == ["idle", "busy", "away"]
    assert rejections(decision) == {"idle": None, "busy": Rejection.NOT_CHOSEN, "away": Rejection.DOWN}
    assert decision.candidates[2].detail == "is down (connection refused)"
    assert (decision.candidate_count, decision.candidates_omitted) == (2, 0)
    assert decision.candidates[0].terms["load"] == pytest.approx(0.9)
    assert decision.estimate == decision.candidates[0].estimate


def test_equal_scores_go_by_name() -> None:
    """Of two equal places the first by name is taken, in whatever order they were registered."""
    assert routed(ask(facts(), fleet(view("b", S), view("a", S)))).selected_endpoint == "a"


def test_a_loaded_model_is_preferred_and_a_swap_is_said() -> None:
    """The warm host wins over an equal cold one; on a cold fleet the record says that a load is needed."""
    snapshot = fleet(view("a", S), view("b", S, warm=[S]))
    warm = routed(ask(facts(), snapshot))
    assert (warm.selected_endpoint, warm.swap_needed) == ("b", False)
    cold = routed(ask(facts(), fleet(view("a", S))))
    assert cold.swap_needed
    assert cold.estimate is not None
    assert cold.estimate.load_ms == 8_000


def test_a_warm_host_loses_when_it_is_far_busier() -> None:
    """Warmness is a term, not a rule: a long queue on the warm host outweighs a short load elsewhere."""
    quick = with_models(THREE_TIERS, replace(SMALL, speeds=replace(SMALL.speeds, load_s=1.0)))
    snapshot = fleet(view("cold", S, slots=4), view("warm", S, slots=4, warm=[S]), in_flight={"warm": 3})
    assert routed(ask(facts(), snapshot, quick)).selected_endpoint == "cold"


def test_the_host_of_the_repo_is_preferred_at_similar_load() -> None:
    """Affinity breaks what would be a tie, and only when the task has a repo."""
    snapshot = fleet(view("a", S), view("b", S), repo_hosts={"ostler": "b"})
    assert routed(ask(facts(repo="ostler"), snapshot)).selected_endpoint == "b"
    assert routed(ask(facts(), snapshot)).selected_endpoint == "a"


@pytest.mark.parametrize(
    ("state", "rejection"),
    [
        ({"spec": endpoint("a", enabled=False)}, Rejection.DISABLED),
        ({"health": Health.DOWN}, Rejection.DOWN),
        ({"health": Health.UNKNOWN}, Rejection.UNCHECKED),
        ({"health": Health.KEY_INVALID}, Rejection.KEY_INVALID),
        ({"breaker": BreakerState.OPEN}, Rejection.BREAKER_OPEN),
        ({"blocked_until_ms": NOW + 1}, Rejection.RATE_LIMITED),
        ({"slots": 0}, Rejection.NO_SLOT),
    ],
)
def test_an_unusable_place_is_left_aside_with_its_reason(state: dict[str, object], rejection: Rejection) -> None:
    """The other place of the tier takes the task, however much worse its name."""
    away = replace(view("a", S), **state)
    decision = routed(ask(facts(), fleet(away, view("z", S))))
    assert decision.selected_endpoint == "z"
    assert rejections(decision)["a"] is rejection
    assert not decision.fallback_used


@pytest.mark.parametrize(
    "state", [{"breaker": BreakerState.HALF_OPEN}, {"blocked_until_ms": NOW}, {"blocked_until_ms": NOW - 1}]
)
def test_a_place_on_probation_or_past_its_limit_is_usable(state: dict[str, object]) -> None:
    """A half-open breaker lets calls through its few slots; a rate limit ends at its instant."""
    assert routed(ask(facts(), fleet(replace(view("a", S), **state)))).selected_endpoint == "a"


def test_all_slots_taken_is_a_wait_and_never_a_fallback() -> None:
    """However long it waited: the tier is there, it is only full."""
    snapshot = fleet(view("gpu1", S), view("cloud", D, local=False), in_flight={"gpu1": 1})
    hold = held(decide(request(facts(), waited_ms=3_600_000), snapshot, THREE_TIERS))
    assert (hold.wait.code, hold.wait.since_ms) == (WaitCode.CAPACITY, NOW - 3_600_000)
    assert (hold.blocked_on, hold.fallback_tier, hold.wait.next_check_ms) == (("gpu1",), None, None)
    assert hold.wait.detail == "gpu1 has no free slot (1 of 1 taken) (tier standard)"
    assert hold.decision.effective_tier == "standard"


def test_slots_of_a_model_count_beside_those_of_its_endpoint() -> None:
    """The minimum of both: a free slot of the endpoint is none for a model whose own slots are taken."""
    limited = view("a", S, slots=4, spec={"slots_per_model": {S: 1}})
    snapshot = fleet(limited, in_flight={"a": 1}, in_flight_by_model={("a", S): 1})
    hold = held(ask(facts(), snapshot))
    assert hold.wait.code is WaitCode.CAPACITY
    assert f"1 of 1 of {S} taken" in hold.wait.detail
    assert routed(ask(facts(), fleet(limited, in_flight={"a": 1}))).selected_endpoint == "a"


def test_calls_in_flight_delay_by_the_fuller_of_both_slots() -> None:
    """Half of the model's slots taken weighs more than a quarter of the endpoint's."""
    seen = view("a", S, slots=4, warm=[S], spec={"slots_per_model": {S: 2}})
    decision = routed(ask(facts(), fleet(seen, in_flight={"a": 1}, in_flight_by_model={("a", S): 1})))
    assert decision.estimate is not None
    assert decision.estimate.queue_ms == (200 + 13_333) // 2
    other = routed(ask(facts(), fleet(seen, in_flight={"a": 1})))
    assert other.estimate is not None
    assert other.estimate.queue_ms == (200 + 13_333) // 4


def test_an_endpoint_with_slots_left_wins_over_a_full_one() -> None:
    """Sideways comes first: another place of the tier, at once."""
    snapshot = fleet(view("a", S, warm=[S]), view("b", S), in_flight={"a": 1})
    assert routed(ask(facts(), snapshot)).selected_endpoint == "b"


def test_a_recovering_endpoint_waits_for_capacity_instead_of_falling_back() -> None:
    """One usable endpoint, even full, keeps the tier available while the other is down."""
    snapshot = fleet(view("a", S), view("b", S, health=Health.DOWN), view("cloud", D, local=False), in_flight={"a": 1})
    hold = held(decide(request(facts(), waited_ms=60_000), snapshot, THREE_TIERS))
    assert (hold.wait.code, hold.blocked_on) == (WaitCode.CAPACITY, ("a", "b"))


TWO_MODELS = with_models(
    with_tier(THREE_TIERS, "standard", models=(S, LARGE.name), choose=ChoiceRule.FIRST), SMALL, LARGE
)


def test_choose_first_keeps_to_the_order_of_the_models() -> None:
    """A later model is taken only when no earlier one can take the task now, whatever the scores."""
    snapshot = fleet(view("a", S), view("b", LARGE.name, warm=[LARGE.name]))
    first = routed(ask(facts(), snapshot, TWO_MODELS))
    assert first.selected_model == S
    assert [candidate.rejection for candidate in first.candidates] == [None, Rejection.NOT_CHOSEN]
    later = routed(ask(facts(), replace(snapshot, in_flight={"a": 1}), TWO_MODELS))
    assert later.selected_model == LARGE.name
    best = with_tier(TWO_MODELS, "standard", choose=ChoiceRule.BEST)
    assert routed(ask(facts(), snapshot, best)).selected_model == LARGE.name


def test_the_place_of_the_last_failure_is_left_out() -> None:
    """An endpoint, or one model on it, is avoided on the next try."""
    snapshot = fleet(view("a", S), view("b", S))
    for excluded in ("a", f"a/{S}", f"a/{S}:latest"):
        decision = routed(decide(request(facts(), excluded=(excluded,)), snapshot, THREE_TIERS))
        assert decision.selected_endpoint == "b"
        assert rejections(decision)["a"] is Rejection.EXCLUDED
    assert routed(decide(request(facts(), excluded=("a/other",)), snapshot, THREE_TIERS)).selected_endpoint == "a"


def test_an_exclusion_is_lifted_when_nothing_else_is_usable() -> None:
    """Trying again where it failed beats waiting for ever; the record says so."""
    snapshot = fleet(view("a", S), view("b", S, health=Health.DOWN))
    decision = routed(decide(request(facts(), excluded=("a",)), snapshot, THREE_TIERS))
    assert decision.selected_endpoint == "a"
    assert decision.candidates[0].detail == "it failed here before, but nothing else is usable"
    busy = replace(snapshot, in_flight={"a": 1})
    assert held(decide(request(facts(), excluded=("a",)), busy, THREE_TIERS)).wait.code is WaitCode.CAPACITY


def test_an_exclusion_is_kept_while_another_place_is_only_full() -> None:
    """A slot elsewhere will come; the place that failed is not tried meanwhile."""
    snapshot = fleet(view("a", S), view("b", S), in_flight={"b": 1})
    hold = held(decide(request(facts(), excluded=("a",)), snapshot, THREE_TIERS))
    assert (hold.wait.code, hold.blocked_on) == (WaitCode.CAPACITY, ("a", "b"))


def test_a_tier_without_the_window_is_passed_over() -> None:
    """60 000 tokens go past the local tiers to the first one with such a window, at no step of an outage."""
    snapshot = fleet(view("gpu1", S, LARGE.name), view("cloud", CHEAP.name, D, local=False))
    decision = routed(ask(facts(context_tokens=60_000), snapshot, FOUR_TIERS))
    assert (decision.effective_tier, decision.requested_tier) == ("T2", "T0")
    assert [step.cause for step in decision.adjustments] == [Cause.CONTEXT, Cause.CONTEXT]
    assert "needs a window of 60000 tokens, has 32000" in decision.adjustments[0].reason
    assert not decision.fallback_used
    assert rejections(decision)[S] is Rejection.CONTEXT


def test_a_window_that_just_fits_is_taken() -> None:
    """The need may equal the window; an unknown window refuses nothing."""
    snapshot = fleet(view("gpu1", S))
    assert routed(ask(facts(context_tokens=32_000), snapshot, FOUR_TIERS)).effective_tier == "T0"
    unknown = with_models(FOUR_TIERS, replace(SMALL, context_tokens=None))
    assert routed(ask(facts(context_tokens=10**9), snapshot, unknown)).effective_tier == "T0"


def test_a_tier_without_the_capability_is_passed_over() -> None:
    """What is known to lack a capability is skipped; what is not known to lack it is not."""
    policy = with_models(THREE_TIERS, replace(SMALL, capabilities=frozenset()))
    snapshot = fleet(view("gpu1", S), view("cloud", D, local=False))
    decision = routed(ask(facts(capabilities=frozenset({Capability.VISION})), snapshot, policy))
    assert (decision.effective_tier, decision.adjustments[0].cause) == ("complex", Cause.CAPABILITY)
    assert decision.adjustments[0].reason == f"{S} cannot do vision"
    assert routed(ask(facts(capabilities=frozenset({Capability.VISION})), snapshot)).effective_tier == "standard"


def test_no_tier_above_can_take_it() -> None:
    """The hold names each model's reason."""
    hold = held(ask(facts(context_tokens=500_000), fleet(view("gpu1", S)), THREE_TIERS))
    assert hold.wait.code is WaitCode.NO_ROUTE
    assert f"{S} needs a window of 500000 tokens, has 32000" in hold.wait.detail
    assert f"{D} needs a window of 500000 tokens, has 200000" in hold.wait.detail
    assert rejections(hold.decision) == {S: Rejection.CONTEXT, D: Rejection.CONTEXT}


def test_local_only_work_fails_closed() -> None:
    """It skips a tier that only clouds serve, and waits when no local tier is left; a local place is taken."""
    clouds = fleet(view("cloud", S, D, local=False))
    hold = held(ask(facts(local_only=True), clouds))
    assert hold.wait.code is WaitCode.NO_ROUTE
    assert "is served by no local endpoint" in hold.wait.detail
    both = fleet(view("cloud", S, D, local=False), view("gpu1", D))
    decision = routed(ask(facts(local_only=True), both))
    assert (decision.selected_endpoint, decision.effective_tier) == ("gpu1", "complex")
    assert decision.adjustments[0].cause is Cause.LOCALITY
    assert rejections(decision)["cloud"] is Rejection.NOT_LOCAL
    assert decision.target_type is TargetType.LOCAL


def test_a_tier_may_keep_to_its_providers() -> None:
    """Endpoints of other providers are no candidates, unless the task pins one."""
    policy = with_tier(THREE_TIERS, "complex", providers=("openai",))
    snapshot = fleet(view("a-router", D, local=False, spec={"provider": "openrouter"}), view("openai", D, local=False))
    decision = routed(ask(facts(COMPLEX), snapshot, policy))
    assert (decision.selected_endpoint, decision.provider) == ("openai", "openai")
    assert rejections(decision)["a-router"] is Rejection.PROVIDER
    assert routed(ask(facts(COMPLEX, endpoint="a-router"), snapshot, policy)).selected_endpoint == "a-router"


def test_a_model_that_can_never_fit_is_not_sent_there() -> None:
    """A host whose memory is too small is refused, unless the model is loaded there already."""
    policy = with_hosts(THREE_TIERS, HostSpec(name="tiny", memory_bytes=8 * GIB, reserve_bytes=1 * GIB))
    decision = routed(ask(facts(), fleet(view("tiny", S), view("z", S)), policy))
    assert decision.selected_endpoint == "z"
    assert rejections(decision)["tiny"] is Rejection.MEMORY
    assert f"{S} takes 8.0 GiB, the host gives 7.0 GiB" in decision.candidates[1].detail
    assert routed(ask(facts(), fleet(view("tiny", S, warm=[S])), policy)).selected_endpoint == "tiny"
    exact = with_hosts(THREE_TIERS, HostSpec(name="tiny", memory_bytes=9 * GIB, reserve_bytes=1 * GIB))
    assert routed(ask(facts(), fleet(view("tiny", S)), exact)).selected_endpoint == "tiny"


def test_clouds_are_chosen_and_priced() -> None:
    """A cloud's decision carries provider, cost class and the expected price."""
    decision = routed(ask(facts(COMPLEX), fleet(view("openai", D, local=False))))
    assert (decision.target_type, decision.provider) == (TargetType.CLOUD, "openai")
    assert decision.estimated_cost_tier is CostClass.METERED
    assert decision.estimate is not None
    assert decision.estimate.cost_micro_usd == 300 + 6_000
    assert not decision.swap_needed


def test_local_and_cloud_compete_in_one_currency() -> None:
    """In a tier with both, a dear minute prefers the quick cloud, a cheap one the free slow host."""
    slow = ModelSpec(name="slow", speeds=replace(SMALL.speeds, decode_tokens_per_s=4.0))
    mixed = with_models(with_tier(THREE_TIERS, "standard", models=("slow", CHEAP.name)), slow, CHEAP)
    snapshot = fleet(view("gpu1", "slow", warm=["slow"]), view("cloud", CHEAP.name, local=False))
    hurried = routed(ask(facts(), snapshot, with_routing(mixed, minute_price_usd=1.0)))
    thrifty = routed(ask(facts(), snapshot, with_routing(mixed, minute_price_usd=0.0001)))
    assert (hurried.selected_endpoint, thrifty.selected_endpoint) == ("cloud", "gpu1")


def test_a_stated_tier_decides_the_models() -> None:
    """An explicit tier is used as it is, above or below the minimum."""
    snapshot = fleet(view("gpu1", S), view("cloud", D, local=False))
    assert routed(ask(facts(TRIVIAL, tier="complex"), snapshot)).selected_model == D
    assert routed(ask(facts(COMPLEX, tier="standard"), snapshot)).selected_model == S


def test_a_loaded_model_with_a_small_context_needs_a_swap() -> None:
    """A larger context reloads the model; the record must not promise a warm start."""
    seen = replace(view("gpu1", S), residents=(Resident(model=S, context_tokens=4_096),))
    assert routed(ask(facts(context_tokens=8_000), fleet(seen))).swap_needed
    assert not routed(ask(facts(context_tokens=4_000), fleet(seen))).swap_needed


def test_the_record_is_bounded() -> None:
    """The best are recorded first, then the refused; what does not fit is counted."""
    down = [view(f"down-{number}", S, health=Health.DOWN) for number in range(6)]
    up = [view(f"up-{number}", S) for number in range(6)]
    policy = with_routing(THREE_TIERS, max_recorded_candidates=8)
    decision = routed(ask(facts(), fleet(*down, *up), policy))
    assert [candidate.endpoint for candidate in decision.candidates] == [
        *(f"up-{number}" for number in range(6)),
        "down-0",
        "down-1",
    ]
    assert (decision.candidate_count, decision.candidates_omitted) == (6, 4)


def test_refused_places_are_recorded_nearest_first() -> None:
    """What passes by itself stands before what needs a person."""
    snapshot = fleet(
        view("a", S, health=Health.KEY_INVALID),
        view("b", S, health=Health.DOWN),
        view("c", S, blocked_until_ms=NOW + 12_000),
        view("d", S),
        view("e", S),
        in_flight={"d": 1},
    )
    decision = routed(ask(facts(), snapshot))
    assert [candidate.endpoint for candidate in decision.candidates] == ["e", "d", "c", "b", "a"]
    assert decision.candidates[2].detail == "is rate limited for 12 s more"


def test_the_record_carries_its_circumstances() -> None:
    """Task, attempt, time, policy, profile and the age of the evidence."""
    policy = replace(THREE_TIERS, version="v7", profile="home")
    snapshot = fleet(view("gpu1", S, checked_ms=NOW - 4_000), reports={"gpu1": report("gpu1", at_ms=NOW - 7_000)})
    decision = routed(decide(request(facts(id="t9"), generation=3), snapshot, policy))
    assert (decision.task_id, decision.generation, decision.decided_ms) == ("t9", 3, NOW)
    assert (decision.policy_version, decision.profile) == ("v7", "home")
    assert (decision.health_age_ms, decision.load_age_ms) == (4_000, 7_000)
    assert decision.classification_reason == "heuristic:standard:0.67 type=general words=12 files=0"
    assert decision.summary == f"{S} on gpu1 (tier standard, to be loaded first): about 21.5 s, no cost."


def test_a_stale_index_is_no_failure() -> None:
    """An endpoint the index still names but the fleet no longer has is passed over."""
    snapshot = replace(fleet(view("gpu1", S)), by_model={S: ("gone", "gpu1")})
    assert routed(ask(facts(), snapshot)).selected_endpoint == "gpu1"


def test_what_the_author_expects_goes_before_tokens_and_speeds() -> None:
    """An agent's work is many calls, of which the tokens of one prompt tell nothing."""
    task = replace(facts(), expected_ms=900_000)
    decision = routed(decide(request(task), fleet(view("box", SMALL.name)), FOUR_TIERS))

    assert decision.estimate is not None
    assert (decision.estimate.prefill_ms, decision.estimate.decode_ms) == (0, 900_000)
