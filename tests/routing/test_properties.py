"""What holds for every decision, whatever the task, the fleet and the policy."""

import random
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import DIRECT, Capability
from ostler.domain.decision import Cause, Decision, Hold, Rejection, Route, RouteRequest, TargetType, Verdict
from ostler.domain.fleet import BreakerState, FleetSnapshot, Health
from ostler.domain.policy import FallbackDirection, Policy
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity, TaskKind
from ostler.routing.availability import available_tiers
from ostler.routing.decide import decide
from ostler.routing.explain import explain, plain
from ostler.routing.ladder import Ladder
from tests.routing.fleets import NOW, view
from tests.routing.strategies import (
    make_plain_request,
    make_policy,
    make_request,
    make_snapshot,
    plain_requests,
    policies,
    requests,
    snapshots,
)

many = settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
"""A world is made and decided in a millisecond; properties of rare verdicts need many."""
K = TypeVar("K")
V = TypeVar("V")


def turned(mapping: Mapping[K, V]) -> dict[K, V]:
    return dict(reversed(list(mapping.items())))


def selected(verdict: Verdict) -> tuple[str | None, ...]:
    decision = verdict.decision
    code = verdict.wait.code if isinstance(verdict, Hold) else None
    return (decision.selected_endpoint, decision.selected_model, decision.effective_tier, decision.target_type, code)


def steps(decision: Decision, cause: Cause) -> list[tuple[str, str]]:
    return [(step.from_tier, step.to_tier) for step in decision.adjustments if step.cause is cause]


@many
@given(requests, snapshots(), policies)
def test_every_verdict_can_be_stored_and_read_back(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """Nothing makes a decision fail, and its record survives JSON unchanged."""
    verdict = decide(request, snapshot, policy)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Route | Hold) == verdict


@many
@given(requests, snapshots(), policies)
def test_equal_inputs_give_equal_verdicts(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """In whatever order mappings and tiers are listed."""
    reordered = FleetSnapshot(
        endpoints=turned(snapshot.endpoints),
        by_model=turned(snapshot.by_model),
        reports=turned(snapshot.reports),
        in_flight=turned(snapshot.in_flight),
        in_flight_by_model=turned(snapshot.in_flight_by_model),
        repo_hosts=turned(snapshot.repo_hosts),
        taken_ms=snapshot.taken_ms,
    )
    catalog = replace(
        policy.catalog,
        tiers=tuple(reversed(policy.catalog.tiers)),
        models=turned(policy.catalog.models),
        hosts=turned(policy.catalog.hosts),
    )
    assert decide(request, snapshot, policy) == decide(request, reordered, replace(policy, catalog=catalog))


@many
@given(requests, snapshots(), policies)
def test_every_hold_says_why_and_what_ends_it(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """A code, a reason, a beginning not after now; an instant in the future or an event to wait for."""
    verdict = decide(request, snapshot, policy)
    assume(isinstance(verdict, Hold))
    assert isinstance(verdict, Hold)
    wait = verdict.wait
    assert wait.detail
    assert wait.since_ms <= request.now_ms
    assert verdict.decision.summary
    assert verdict.decision.selected_endpoint is None
    timed = wait.code in (WaitCode.FALLBACK_WAIT, WaitCode.QUOTA_UNTIL)
    assert (wait.next_check_ms is not None) == timed
    assert wait.next_check_ms is None or wait.next_check_ms > request.now_ms
    assert (verdict.fallback_tier is not None) == (wait.code is WaitCode.FALLBACK_WAIT)
    assert set(verdict.blocked_on) <= {*snapshot.endpoints, request.facts.endpoint}
    assert wait.code is not WaitCode.CAPACITY or verdict.blocked_on


@settings(max_examples=800)
@given(plain_requests | requests, snapshots(), policies)
def test_an_outage_never_leads_two_tiers_away(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """At most one step of availability, one rung long, in the policy's direction, after the whole wait."""
    decision = decide(request, snapshot, policy).decision
    ladder = Ladder(policy.catalog)
    taken = steps(decision, Cause.AVAILABILITY)
    assert len(taken) <= 1
    for before, after in taken:
        here, there = ladder.index(before), ladder.index(after)
        assert here is not None
        assert there is not None
        direction = policy.routing.fallback_by_tier.get(before, policy.routing.fallback_direction)
        assert there - here == {FallbackDirection.UP: 1, FallbackDirection.DOWN: -1}[direction]
        assert after != DIRECT
        assert decision.fallback_wait_ms >= policy.routing.fallback_wait_ms
        assert (decision.fallback_used, decision.fallback_from_tier) == (True, before)


@many
@given(plain_requests, snapshots(), policies)
def test_trivial_work_leaves_the_lowest_tier_only_for_a_proven_reason(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """From direct an outage leads no further than one rung; beyond it only quality, filters and pins do."""
    trivial = replace(request.facts.classification, complexity=Complexity.TRIVIAL, task_type="any")
    request = replace(request, facts=replace(request.facts, classification=trivial))
    policy = replace(policy, routing=replace(policy.routing, complexity_tiers={"trivial": DIRECT}))
    decision = decide(request, snapshot, policy).decision
    assert decision.requested_tier == DIRECT
    assert steps(decision, Cause.AVAILABILITY) == []
    others = {step.cause for step in decision.adjustments} - {Cause.NO_COMMAND, Cause.DISABLED}
    if not others:
        index = Ladder(policy.catalog).index(decision.effective_tier)
        assert index is not None
        assert index <= 1


@many
@given(requests, snapshots(), policies)
def test_quality_goes_up_at_most_two_rungs(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """Repeated errors and failed checks together."""
    decision = decide(request, snapshot, policy).decision
    ladder = Ladder(policy.catalog)
    climbed = 0
    for before, after in (*steps(decision, Cause.REPEATED_ERROR), *steps(decision, Cause.QUALITY)):
        climbed += (ladder.index(after) or 0) - (ladder.index(before) or 0)
    assert climbed == decision.quality_steps
    assert 0 <= climbed <= policy.routing.max_quality_steps


@many
@given(requests, snapshots(), policies)
def test_local_only_work_never_leaves_the_users_machines(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """On no path: not by a pin, not by a fallback, not by plain matching."""
    task = replace(request.facts, local_only=True)
    decision = decide(replace(request, facts=task), snapshot, policy).decision
    if decision.selected_endpoint is not None:
        assert snapshot.endpoints[decision.selected_endpoint].spec.local
    assert not isinstance(decide(replace(request, facts=task), FleetSnapshot(), policy), Route) or task.has_command
    assert decision.target_type is not TargetType.WORKER


@many
@given(requests, snapshots(), policies)
def test_the_chosen_place_passes_every_filter(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """Checked here anew, from the definitions."""
    decision = decide(request, snapshot, policy).decision
    assume(decision.selected_endpoint is not None)
    assert decision.selected_endpoint is not None
    assert decision.selected_model is not None
    task, model = request.facts, decision.selected_model
    place = snapshot.endpoints[decision.selected_endpoint]
    tier = next(tier for tier in policy.catalog.tiers if tier.name == decision.effective_tier)

    assert place.health is Health.UP
    assert place.breaker is not BreakerState.OPEN
    assert place.blocked_until_ms is None or place.blocked_until_ms <= NOW
    assert place.spec.enabled
    assert model in place.models
    assert snapshot.in_flight.get(place.spec.name, 0) < place.slots
    own = place.spec.slots_per_model.get(model)
    assert own is None or snapshot.in_flight_by_model.get((place.spec.name, model), 0) < own
    assert tier.enabled
    pinned = task.model is not None or task.endpoint is not None
    assert pinned or not tier.providers or place.spec.provider in tier.providers
    assert task.model is not None or model in tier.models

    spec = policy.catalog.models.get(model)
    if spec is not None:
        assert spec.context_tokens is None or spec.context_tokens >= task.context_tokens
        known: frozenset[Capability] = task.capabilities if spec.capabilities is None else spec.capabilities
        assert task.capabilities <= known
    chosen = decision.candidates[0]
    assert (chosen.endpoint, chosen.model, chosen.rejection) == (place.spec.name, model, None)
    assert decision.candidate_count == sum(candidate.score is not None for candidate in decision.candidates)


@many
@given(requests, snapshots(), policies)
def test_the_chosen_place_is_the_best_by_the_tiers_rule(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """No possible place of an earlier model, or with a higher score, was passed by."""
    decision = decide(request, snapshot, policy).decision
    assume(decision.selected_endpoint is not None)
    tier = next(tier for tier in policy.catalog.tiers if tier.name == decision.effective_tier)

    def rank(model: str) -> int:
        return tier.models.index(model) if tier.choose == "first" and model in tier.models else 0

    offers = [candidate for candidate in decision.candidates if candidate.score is not None]
    keys = [(rank(offer.model), -(offer.score or 0.0), offer.endpoint, offer.model) for offer in offers]
    assert keys == sorted(keys)
    assert {offer.rejection for offer in offers[1:]} <= {Rejection.NOT_CHOSEN}


@many
@given(requests, snapshots(), policies)
def test_an_explicit_choice_is_never_replaced(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """A pinned model or endpoint is used or waited for; a stated tier is left only for a recorded cause."""
    task = request.facts
    assume(task.kind is not TaskKind.COMMAND)
    decision = decide(request, snapshot, policy).decision
    if task.model is not None:
        assert decision.selected_model in (None, task.model)
        assert {candidate.model for candidate in decision.candidates} <= {task.model}
    if task.endpoint is not None:
        assert decision.selected_endpoint in (None, task.endpoint)
        assert decision.target_type is not TargetType.WORKER
    if task.model is not None or task.endpoint is not None:
        assert steps(decision, Cause.AVAILABILITY) == []
    if task.tier is not None:
        left = {step.cause for step in decision.adjustments} - {Cause.EXPLICIT}
        assert not left & {Cause.CLASSIFICATION, Cause.OVERRIDE, Cause.HISTORY, Cause.NO_COMMAND}
        if not left and task.model is None and task.endpoint is None:
            assert decision.effective_tier == task.tier


@many
@given(requests, snapshots(min_size=1), policies)
def test_an_unrelated_endpoint_changes_nothing(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """An endpoint that serves no model of the task's may join without moving the choice."""
    stranger = view("stranger", "a model nobody asked for", warm=["a model nobody asked for"])
    joined = replace(
        snapshot,
        endpoints={"stranger": stranger, **snapshot.endpoints},
        by_model={"a model nobody asked for": ("stranger",), **snapshot.by_model},
    )
    assert selected(decide(request, snapshot, policy)) == selected(decide(request, joined, policy))


@many
@given(requests, snapshots(), policies)
def test_work_goes_below_its_minimum_only_on_the_record(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """By a stated choice, because nothing above is enabled or allowed, or by a step down that says so."""
    decision = decide(request, snapshot, policy).decision
    ladder = Ladder(policy.catalog)
    task = request.facts
    assume(task.tier is None and task.model is None and task.endpoint is None and decision.target_type != "direct")
    if ladder.position(decision.effective_tier) < ladder.position(decision.minimum_tier):
        causes = {step.cause for step in decision.adjustments}
        step_down = [step for step in decision.adjustments if step.cause is Cause.AVAILABILITY]
        limited = (task.only_models or task.only_tiers) and "below the minimum" in decision.adjustments[-1].reason
        assert Cause.DISABLED in causes or limited or step_down or isinstance(decide(request, snapshot, policy), Hold)
        assert all("below the minimum" in step.reason for step in step_down)


@many
@given(requests, snapshots(), policies)
def test_the_adjustments_lead_from_the_request_to_the_tier(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """The trace has no gaps: each step begins where the one before ended."""
    decision = decide(request, snapshot, policy).decision
    for one, after in zip(decision.adjustments, decision.adjustments[1:], strict=False):
        assert one.to_tier == after.from_tier
    if decision.adjustments and decision.target_type is not TargetType.DIRECT:
        assert decision.adjustments[-1].to_tier == decision.effective_tier


@many
@given(requests, snapshots(), policies, st.integers(0, 6))
def test_the_record_is_never_longer_than_allowed(
    request: RouteRequest, snapshot: FleetSnapshot, policy: Policy, bound: int
) -> None:
    """What is left out is counted, and the choice does not depend on it."""
    whole = decide(request, snapshot, policy)
    short = decide(request, snapshot, replace(policy, routing=replace(policy.routing, max_recorded_candidates=bound)))
    assert len(short.decision.candidates) <= bound
    counted = len(short.decision.candidates) + short.decision.candidates_omitted
    assert counted == len(whole.decision.candidates)
    assert selected(whole) == selected(short)


@many
@given(requests, snapshots(), policies)
def test_a_tier_that_takes_work_is_available(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """Alerts and decisions agree: nobody is told that a tier is down on which work is started."""
    decision = decide(request, snapshot, policy).decision
    assume(decision.selected_endpoint is not None and request.facts.model is None and request.facts.endpoint is None)
    assert available_tiers(snapshot, policy, NOW)[decision.effective_tier]


@many
@given(requests, snapshots(), policies)
def test_every_verdict_can_be_explained(request: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """The explanation begins with the summary, names every recorded place, and has no empty part."""
    verdict = decide(request, snapshot, policy)
    lines = plain(explain(verdict))
    assert lines[0] == verdict.decision.summary
    text = "\n".join(lines)
    for candidate in verdict.decision.candidates:
        assert candidate.endpoint in text
        assert candidate.model in text
    assert "\x1b" not in text
    assert plain(explain(verdict.decision))[0] == lines[0]


def test_the_worlds_are_varied() -> None:
    """The generators reach every kind of verdict and every cause, so that the properties above are about something."""
    reached: set[str] = set()
    rng = random.Random(1)
    for number in range(2_000):
        request = make_request(rng) if number % 2 else make_plain_request(rng)
        verdict = decide(request, make_snapshot(rng, rng.choice([0, 1, 2, 3, 4])), make_policy(rng))
        reached.add(verdict.wait.code if isinstance(verdict, Hold) else verdict.decision.target_type)
        reached.update(step.cause for step in verdict.decision.adjustments)

    codes = {WaitCode.CAPACITY, WaitCode.FALLBACK_WAIT, WaitCode.ENDPOINT_DOWN, WaitCode.QUOTA_UNTIL, WaitCode.NO_ROUTE}
    causes = set(Cause) - {Cause.HISTORY, Cause.BUDGET, Cause.RESIDENCY, Cause.MODEL}
    assert codes | set(TargetType) | causes <= reached
