"""A pinned model or endpoint is used or waited for, and replaced by nothing."""

import pytest

from ostler.domain.decision import Cause, Decision, Rejection, Verdict
from ostler.domain.fleet import FleetSnapshot, Health
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity, TaskFacts
from ostler.routing.decide import decide
from tests.routing.fleets import DEAR, LARGE, NOW, SMALL, THREE_TIERS, facts, fleet, held, request, routed, view

STANDARD, COMPLEX = Complexity.STANDARD, Complexity.COMPLEX
S, D = SMALL.name, DEAR.name


def ask(task: TaskFacts, snapshot: FleetSnapshot) -> Verdict:
    return decide(request(task), snapshot, THREE_TIERS)


def rejections(decision: Decision) -> dict[str, Rejection | None]:
    return {candidate.endpoint or candidate.model: candidate.rejection for candidate in decision.candidates}


def test_a_pinned_model_is_the_only_one() -> None:
    """Other models of the tier are not looked at, whatever classification says."""
    snapshot = fleet(view("gpu1", S), view("cloud", D, local=False))
    decision = routed(ask(facts(COMPLEX, model=S), snapshot))
    assert (decision.selected_model, decision.effective_tier, decision.minimum_tier) == (S, "standard", "complex")
    assert [candidate.model for candidate in decision.candidates] == [S]


def test_a_pinned_model_outside_the_catalogue_is_used_where_it_is_served() -> None:
    """The profile need not name it; its price and window are unknown."""
    decision = routed(ask(facts(model="phi3"), fleet(view("gpu1", S), view("gpu2", "phi3"))))
    assert (decision.selected_endpoint, decision.selected_model) == ("gpu2", "phi3")


@pytest.mark.parametrize("waited_ms", [0, 5_000, 3_600_000])
def test_an_unavailable_pin_waits_and_never_falls_back(waited_ms: int) -> None:
    """A pinned model or endpoint that is away is waited for, however long."""
    down = view("gpu1", S, health=Health.DOWN, unusable_since_ms=NOW - 9_000)
    snapshot = fleet(down, view("gpu2", LARGE.name), view("cloud", D, local=False))
    for task in (facts(model=S), facts(endpoint="gpu1"), facts(model=S, endpoint="gpu1")):
        hold = held(decide(request(task, waited_ms=waited_ms), snapshot, THREE_TIERS))
        assert (hold.wait.code, hold.wait.since_ms) == (WaitCode.ENDPOINT_DOWN, NOW - 9_000)
        assert hold.fallback_tier is None
        assert hold.blocked_on == ("gpu1",)


def test_a_model_nobody_serves_is_said() -> None:
    """The reason names it, and every endpoint that may yet list it is watched."""
    snapshot = fleet(view("gpu1", S), view("gpu2", spec={"models": ("x",)}))
    hold = held(ask(facts(model="phi3"), snapshot))
    assert hold.wait.code is WaitCode.ENDPOINT_DOWN
    assert "model phi3 is not available: no registered endpoint serves phi3" in hold.wait.detail
    assert hold.blocked_on == ("gpu1",)
    assert rejections(hold.decision) == {"phi3": Rejection.NOT_SERVED}


def test_a_misspelt_model_is_answered_with_the_nearest_one() -> None:
    """A name that neither profile nor fleet knows is probably a slip; a known one that is away is none."""
    snapshot = fleet(view("gpu1", "qwen2.5:7b-instruct"))
    assert "did you mean 'qwen2.5:7b'?" in held(ask(facts(model="quen2.5:7b"), snapshot)).wait.detail
    assert "did you mean" not in held(ask(facts(model=S), snapshot)).wait.detail


def test_a_pinned_endpoint_works_for_the_nearest_tier_it_serves() -> None:
    """Upward first, then downward; nothing else is looked at."""
    snapshot = fleet(view("gpu1", S), view("cloud", D, local=False))
    up = routed(ask(facts(STANDARD, endpoint="cloud"), snapshot))
    down = routed(ask(facts(COMPLEX, endpoint="gpu1"), snapshot))
    assert (up.selected_endpoint, up.effective_tier) == ("cloud", "complex")
    assert (down.selected_endpoint, down.effective_tier) == ("gpu1", "standard")
    assert down.adjustments[-1].cause is Cause.EXPLICIT
    assert routed(ask(facts(STANDARD, endpoint="gpu1"), snapshot)).adjustments == ()
    assert [candidate.endpoint for candidate in down.candidates] == ["gpu1"]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (facts(endpoint="gone"), "endpoint gone is not registered"),
        (facts(endpoint="odd"), f"odd does not serve {S}"),
        (facts(endpoint="gpu1", model=D), f"gpu1 does not serve {D}"),
        (facts(endpoint="new"), "new listed no models so far (unknown)"),
    ],
)
def test_a_pinned_endpoint_that_cannot_serve_is_waited_for(task: TaskFacts, says: str) -> None:
    """It is not replaced; the reason says what is missing and its change is watched."""
    snapshot = fleet(view("gpu1", S), view("odd", "phi3"), view("new", health=Health.UNKNOWN))
    hold = held(ask(task, snapshot))
    assert hold.wait.code is WaitCode.ENDPOINT_DOWN
    assert says in hold.wait.detail
    assert hold.blocked_on == (task.endpoint,)
    assert set(rejections(hold.decision).values()) == {Rejection.NOT_SERVED}


def test_a_pinned_endpoint_is_waited_for_when_none_is_registered() -> None:
    """Plain matching would replace the explicit choice."""
    assert held(ask(facts(endpoint="gpu1"), fleet())).wait.code is WaitCode.ENDPOINT_DOWN


def test_a_pinned_cloud_is_refused_to_local_only_work() -> None:
    """Locality is not given up for a pin."""
    snapshot = fleet(view("gpu1", S), view("cloud", D, local=False))
    for task in (facts(endpoint="cloud", local_only=True), facts(model=D, local_only=True)):
        assert held(ask(task, snapshot)).wait.code is WaitCode.NO_ROUTE


def test_a_pinned_model_that_cannot_take_the_task_is_not_replaced() -> None:
    """A window too small for it is a reason to wait for another profile or model, not to choose one."""
    hold = held(ask(facts(model=S, context_tokens=90_000), fleet(view("gpu1", S), view("cloud", D, local=False))))
    assert hold.wait.code is WaitCode.NO_ROUTE
    assert [(c.model, c.rejection) for c in hold.decision.candidates] == [(S, Rejection.CONTEXT)]
