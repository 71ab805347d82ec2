"""The task's own models: the pinned one first, then its fallback models in order; and room for handed results."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.decision import Cause, Hold, Rejection, Route, RouteRequest
from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import EndpointView, FleetSnapshot, Health
from ostler.domain.policy import Policy
from ostler.domain.states import WaitCode
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.routing.classes import route_class
from ostler.routing.decide import decide
from ostler.routing.effective import chain, effective, step_of
from ostler.routing.explain import explain, plain
from ostler.routing.facts import describe
from tests.routing.fleets import CHEAP, DEAR, FOUR_TIERS, LARGE, NOW, SMALL, facts, fleet, held, request, routed, view
from tests.routing.strategies import MODELS, make_request, policies, snapshots
from tests.routing.test_classes import outline, task_of

many = settings(max_examples=300)
PINNED = facts(model=SMALL.name, fallback_models=(LARGE.name, CHEAP.name))
UP = (view("a", SMALL.name), view("b", LARGE.name), view("c", CHEAP.name, local=False))


def down(name: str, *models: str, since_ms: int = 60_000) -> EndpointView:
    return view(name, *models, health=Health.DOWN, unusable_since_ms=NOW - since_ms)


def test_the_pinned_model_comes_first() -> None:
    """Naming others changes nothing while it can be used."""
    decision = routed(decide(request(PINNED), fleet(*UP), FOUR_TIERS))
    assert decision.selected_model == SMALL.name
    assert not decision.fallback_used


@pytest.mark.parametrize(("step", "model"), [(1, LARGE.name), (2, CHEAP.name), (3, CHEAP.name), (9, CHEAP.name)])
def test_a_failed_model_gives_way_to_the_next(step: int, model: str) -> None:
    """In order, and the last one stays the last; the record says how the ones before failed."""
    asked = request(PINNED, model_step=step, tried=("attempt 1 on x failed (verification)",))
    decision = routed(decide(asked, fleet(*UP), FOUR_TIERS))
    assert decision.selected_model == model
    assert (decision.fallback_used, decision.fallback_from_model) == (True, SMALL.name)
    assert decision.fallback_reason == "attempt 1 on x failed (verification)"
    assert [step.cause for step in decision.adjustments][-1] is Cause.MODEL
    assert any("attempt 1 on x failed" in line and model in line for line in plain(explain(decision)))
    assert f"fallback from {SMALL.name}" in decision.summary


def test_an_unavailable_model_is_waited_for_before_another_is_used() -> None:
    """A blip costs no money: the wait of a fallback, then the next model that has a place."""
    fallen = (down("a", SMALL.name, since_ms=1_000), *UP[1:])
    hold = held(decide(request(PINNED, waited_ms=60_000), fleet(*fallen), FOUR_TIERS))
    assert hold.wait.code is WaitCode.FALLBACK_WAIT
    assert (hold.fallback_tier, hold.fallback_model) == ("T1", LARGE.name)
    assert f"next may use {LARGE.name}" in hold.wait.detail
    assert {"a", "b"} <= set(hold.blocked_on)

    later = replace(request(PINNED, waited_ms=60_000), now_ms=NOW + 5_000)
    decision = routed(decide(later, fleet(*fallen), FOUR_TIERS))
    assert (decision.selected_model, decision.effective_tier) == (LARGE.name, "T1")
    assert "is not available" in (decision.fallback_reason or "")
    assert decision.fallback_wait_ms >= FOUR_TIERS.routing.fallback_wait_ms


def test_a_model_without_a_place_is_passed_by() -> None:
    """The one after it is used, by the same wait."""
    fallen = (down("a", SMALL.name), down("b", LARGE.name), UP[2])
    decision = routed(decide(request(PINNED, waited_ms=60_000), fleet(*fallen), FOUR_TIERS))
    assert decision.selected_model == CHEAP.name


def test_taken_slots_are_no_reason_to_leave_the_model() -> None:
    """All slots taken is a wait, as for a tier."""
    hold = held(decide(request(PINNED), fleet(*UP, in_flight={"a": 1}), FOUR_TIERS))
    assert (hold.wait.code, hold.decision.selected_model) == (WaitCode.CAPACITY, None)


def test_a_tiers_own_fallback_comes_after_the_tasks_models() -> None:
    """Work that pins nothing but names models: first they, then the tier beside."""
    task = facts(fallback_models=(DEAR.name,))
    places = (down("a", SMALL.name), view("b", LARGE.name), view("d", DEAR.name, local=False))
    decision = routed(decide(request(task, waited_ms=60_000), fleet(*places), FOUR_TIERS))
    assert (decision.selected_model, decision.fallback_from_model) == (DEAR.name, "the tier's choice")
    gone = routed(decide(request(task, waited_ms=60_000), fleet(*places[:2]), FOUR_TIERS))
    assert (gone.selected_model, gone.fallback_from_tier, gone.fallback_from_model) == (LARGE.name, "T0", None)


def test_a_model_that_can_never_take_it_gives_way_at_once() -> None:
    """Its window is too small: no wait would change that, and the record says why it was passed."""
    task = facts(model=LARGE.name, fallback_models=(SMALL.name,), context_tokens=20_000)
    decision = routed(decide(request(task), fleet(*UP), FOUR_TIERS))
    assert decision.selected_model == SMALL.name
    assert "needs a window of 20000 tokens" in (decision.fallback_reason or "")
    both = held(decide(request(replace(task, context_tokens=900_000)), fleet(*UP), FOUR_TIERS))
    assert both.wait.code is WaitCode.NO_ROUTE
    assert both.wait.detail.startswith(LARGE.name)


def test_results_ask_for_a_window_of_their_own() -> None:
    """The prompt is short, what it is handed is not: a model too small for both is passed over."""
    small_enough = routed(decide(request(facts(), handed_tokens=1_000), fleet(*UP), FOUR_TIERS))
    assert small_enough.selected_model == SMALL.name
    assert (small_enough.handed_tokens, small_enough.results_trimmed) == (1_000, False)
    large = routed(decide(request(facts(), handed_tokens=40_000), fleet(*UP), FOUR_TIERS))
    assert large.selected_model == CHEAP.name
    assert Cause.CONTEXT in {step.cause for step in large.adjustments}


def test_results_that_fit_nowhere_are_cut_rather_than_waited_for() -> None:
    """A pinned model, or a ladder without a larger one: it runs, and the record says that results are cut."""
    pinned = routed(decide(request(facts(model=SMALL.name), handed_tokens=90_000), fleet(*UP), FOUR_TIERS))
    assert (pinned.selected_model, pinned.results_trimmed) == (SMALL.name, True)
    assert any("cut" in line for line in plain(explain(pinned)))
    any_model = routed(decide(request(facts(), handed_tokens=900_000), fleet(*UP), FOUR_TIERS))
    assert (any_model.selected_model, any_model.results_trimmed) == (SMALL.name, True)


def test_a_stated_window_includes_the_results() -> None:
    """Whoever says what window it needs has thought of them."""
    task = facts(window_stated=True, context_tokens=32_000)
    decision = routed(decide(request(task, handed_tokens=20_000), fleet(*UP), FOUR_TIERS))
    assert (decision.selected_model, decision.results_trimmed) == (SMALL.name, False)


def test_longer_results_take_longer() -> None:
    """They are read like the rest of the prompt: the estimate counts them."""
    plain_one = routed(decide(request(facts()), fleet(*UP), FOUR_TIERS)).estimate
    handed = routed(decide(request(facts(), handed_tokens=5_000), fleet(*UP), FOUR_TIERS)).estimate
    assert plain_one is not None
    assert handed is not None
    assert handed.prefill_ms > plain_one.prefill_ms


def test_names_of_fallback_models_are_resolved_once() -> None:
    """Aliases and spellings, doubles and the pinned model itself."""
    spec = TaskSpec(
        id="t", prompt="hi", model=SMALL.name, fallback_models=("ds", "ds", f"{SMALL.name}:latest", DEAR.name)
    )
    assert describe(spec, FOUR_TIERS).fallback_models == (CHEAP.name, DEAR.name)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (TaskSpec(id="t", prompt="hi", fallback_models=("auto",)), "is no model"),
        (TaskSpec(id="t", prompt="hi", fallback_models=("tier:T1",)), "is no model"),
        (
            TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("x",), fallback_models=("m",)),
            "a command uses no fallback_models",
        ),
        (TaskSpec(id="t", prompt="hi", batch="b", batch_limit=0), "at most 0 tasks"),
        (TaskSpec(id="t", prompt="hi", batch="b", batch_slots={"m": 0}), "at most 0 tasks"),
        (TaskSpec(id="t", prompt="hi", batch_limit=2), "but no batch"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: TaskSpec, what: str) -> None:
    """With the field that is wrong."""
    with pytest.raises(InvalidInputError, match=what):
        describe(spec, FOUR_TIERS)


def make_chained(rng: random.Random) -> RouteRequest:
    """A request that names other models, has failed on some of them, and may be handed results."""
    asked = make_request(rng)
    others = tuple(rng.sample(MODELS, rng.choice([1, 2, 2])))
    own = rng.choice([None, *MODELS])
    kind = TaskKind.CHAT if asked.facts.kind is TaskKind.COMMAND else asked.facts.kind
    task = replace(asked.facts, kind=kind, model=own, fallback_models=tuple(name for name in others if name != own))
    return replace(
        asked,
        facts=task,
        model_step=rng.choice([0, 0, 0, 1, 2, 3]),
        handed_tokens=rng.choice([0, 0, 500, 30_000, 10**6]),
        tried=("attempt 1 on m failed (verification)",),
    )


chained = st.integers(0, 2**48).map(lambda seed: make_chained(random.Random(seed)))


@many
@given(chained, snapshots(), policies)
def test_no_step_goes_back(asked: RouteRequest, snapshot: FleetSnapshot, policy: Policy) -> None:
    """The chosen model is one that has not failed yet, and every other than the first is on the record as such."""
    verdict = decide(asked, snapshot, policy)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Route | Hold) == verdict
    decision, models = verdict.decision, chain(asked.facts)
    step = step_of(asked.facts, asked.model_step)
    if decision.selected_endpoint is None:
        return
    rest = models[step:]
    assert None in rest or decision.selected_model in rest
    stands_in = decision.selected_model in rest[1:] and rest[0] is not None
    if step or stands_in:
        assert decision.fallback_used
    if decision.fallback_from_model is not None:
        assert Cause.MODEL in {step.cause for step in decision.adjustments}
        assert decision.fallback_reason


@many
@given(chained, snapshots(min_size=1), policies)
def test_an_earlier_model_with_a_free_place_is_never_passed_by(
    asked: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """Asked for that model alone, the same fleet would not have run it either; or only with the results cut that the
    chosen one takes whole.
    """
    decision = decide(asked, snapshot, policy).decision
    models, step = chain(asked.facts), step_of(asked.facts, asked.model_step)
    if decision.selected_model not in models[step:] or decision.selected_endpoint is None:
        return
    if models[step] is None and decision.fallback_from_model is None:
        return  # the tier's own choice, which may happen to be named as a fallback too
    for model in models[step : models.index(decision.selected_model, step)]:
        if model is None:
            continue
        alone = replace(asked, facts=replace(asked.facts, model=model, fallback_models=()), model_step=0)
        verdict = decide(alone, snapshot, policy)
        only_cut = verdict.decision.results_trimmed and not decision.results_trimmed
        assert isinstance(verdict, Hold) or only_cut


@many
@given(chained, snapshots(), policies)
def test_results_are_cut_only_when_they_fit_nowhere(
    asked: RouteRequest, snapshot: FleetSnapshot, policy: Policy
) -> None:
    """And an unfit window is then no reason to wait: what runs without results runs with them."""
    verdict = decide(asked, snapshot, policy)
    bare = decide(replace(asked, handed_tokens=0), snapshot, policy)
    no_route = isinstance(verdict, Hold) and verdict.wait.code is WaitCode.NO_ROUTE
    assert no_route == (isinstance(bare, Hold) and bare.wait.code is WaitCode.NO_ROUTE)
    decision = verdict.decision
    window = policy.catalog.models.get(decision.selected_model or "")
    if decision.selected_endpoint is None or window is None or window.context_tokens is None:
        return
    needed = effective(asked.facts, handed_tokens=asked.handed_tokens).context_tokens
    assert decision.results_trimmed or needed <= window.context_tokens


@st.composite
def similar(draw: st.DrawFn) -> tuple[RouteRequest, RouteRequest]:
    """Two chained requests that differ in what they are handed, in their step or in one of their models."""
    rng = random.Random(draw(st.integers(0, 2**48)))
    one = make_chained(rng)
    other = replace(one, handed_tokens=rng.choice([one.handed_tokens, 0, 600]))
    if rng.random() < 0.3:
        other = replace(other, model_step=rng.randrange(3))
    if rng.random() < 0.3:
        other = replace(other, facts=replace(other.facts, fallback_models=(rng.choice(MODELS),)))
    return one, other


@settings(max_examples=600)
@given(similar(), snapshots(), policies)
def test_equal_keys_mean_verdicts_of_one_kind(
    pair: tuple[RouteRequest, RouteRequest], snapshot: FleetSnapshot, policy: Policy
) -> None:
    """One decision speaks for all tasks of a class, with other models and results too."""
    keys = []
    for asked in pair:
        row = replace(task_of(asked), model_step=asked.model_step, handed_tokens=asked.handed_tokens)
        keys.append(route_class(asked.facts, row, policy))
    if keys[0] == keys[1]:
        one, other = (outline(decide(asked, snapshot, policy)) for asked in pair)
        assert one == other


def test_the_chained_worlds_are_varied() -> None:
    """The generators reach what the properties speak of."""
    rng = random.Random(3)
    reached: set[object] = set()
    for _ in range(1_500):
        asked = make_chained(rng)
        policy = FOUR_TIERS
        verdict = decide(asked, fleet(*UP), policy)
        decision = verdict.decision
        reached.add(type(verdict).__name__)
        reached |= {step.cause for step in decision.adjustments}
        reached.add("cut" if decision.results_trimmed else "whole")
        reached |= {candidate.rejection for candidate in decision.candidates}
    assert {"Route", "Hold", "cut", "whole", Cause.MODEL, Cause.CONTEXT, Rejection.NOT_SERVED} <= reached
