"""Decisions on managed hosts: a model that is not loaded is weighed with its swap, never called; the record says so."""

from msgspec.structs import replace

from ostler.domain.catalog import Speeds
from ostler.domain.decision import Hold, Rejection, Route, Verdict
from ostler.domain.fleet import EndpointView, FleetSnapshot, ModelAt, Resident, SwapEstimate
from ostler.domain.states import WaitCode
from ostler.routing.decide import decide
from ostler.routing.explain import explain, plain
from tests.routing.fleets import NOW, SMALL, THREE_TIERS, fleet, request, view, with_models, with_tier

OTHER = replace(SMALL, name="other:7b")
TWO = with_models(with_tier(THREE_TIERS, "standard", models=(SMALL.name, OTHER.name)), OTHER)
SWAP = SwapEstimate(wait_ms=3_000, unload_ms=10_000, load_ms=20_000, evict=("llama3:70b",))


def managed(name: str, *loaded: str, models: tuple[str, ...] = (SMALL.name,), slots: int = 1) -> EndpointView:
    """An endpoint whose memory the scheduler manages, with these models loaded."""
    found = view(name, *models, slots=slots)
    return replace(found, managed=True, residents=tuple(Resident(model=model) for model in loaded))


def asked(
    *views: EndpointView,
    swaps: dict[ModelAt, SwapEstimate] | None = None,
    in_flight: dict[tuple[str, str], int] | None = None,
    speeds: dict[tuple[str, str], Speeds] | None = None,
    policy: object = THREE_TIERS,
) -> Verdict:
    """The verdict on standard work."""
    base = fleet(*views)
    busy: dict[str, int] = {}
    for (endpoint, _), count in (in_flight or {}).items():
        busy[endpoint] = busy.get(endpoint, 0) + count
    snapshot: FleetSnapshot = replace(
        base, swaps=swaps or {}, in_flight=busy, in_flight_by_model=in_flight or {}, speeds=speeds or {}
    )
    return decide(request(), snapshot, policy)  # type: ignore[arg-type]


def test_a_model_that_is_not_loaded_is_waited_for_with_its_swap_in_the_record() -> None:
    """No route: a hold that names the load, what goes for it, what it takes, and where it could be."""
    verdict = asked(managed("box"), swaps={ModelAt("box", SMALL.name): SWAP})

    assert isinstance(verdict, Hold)
    assert verdict.wait.code is WaitCode.MODEL_SWAP
    assert verdict.wait.detail == "qwen2.5:7b is to be loaded on box instead of llama3:70b (tier standard)"
    decision = verdict.decision
    assert decision.swap_needed
    assert decision.estimate is not None
    assert decision.estimate.load_ms == 33_000
    (place,) = decision.candidates
    assert place.rejection is Rejection.COLD
    assert {name: place.terms[name] for name in ("swap_wait_s", "unload_s", "load_s", "load_time_s")} == {
        "swap_wait_s": 3.0,
        "unload_s": 10.0,
        "load_s": 20.0,
        "load_time_s": 33.0,
    }
    assert [(wish.endpoint, wish.model, wish.swap_ms) for wish in verdict.wishes] == [("box", SMALL.name, 33_000)]
    assert verdict.blocked_on == ("box",)


def test_the_explanation_says_what_the_swap_consists_of() -> None:
    """In words, for `ostler why` and `ostler route`."""
    lines = plain(explain(asked(managed("box"), swaps={ModelAt("box", SMALL.name): SWAP})))

    assert "Waits for a model: qwen2.5:7b is to be loaded on box instead of llama3:70b (tier standard)." in lines
    assert (
        "  box/qwen2.5:7b to be loaded first: waits about 3 s for its turn, unloads llama3:70b (10 s), loads (20 s)"
        in lines
    )


def test_where_it_is_loaded_it_runs() -> None:
    """A loaded place beats one with a swap before it, and the other one is in the record."""
    verdict = asked(managed("cold"), managed("warm", SMALL.name), swaps={ModelAt("cold", SMALL.name): SWAP})

    assert isinstance(verdict, Route)
    assert verdict.decision.selected_endpoint == "warm"
    assert [place.rejection for place in verdict.decision.candidates] == [None, Rejection.NOT_CHOSEN]
    assert not verdict.decision.swap_needed


def test_a_loaded_place_that_is_full_is_waited_for_and_a_load_elsewhere_is_wished() -> None:
    """The reason is the slot; whether another copy is worth it is the scheduler's to weigh."""
    verdict = asked(
        managed("cold"),
        managed("warm", SMALL.name),
        swaps={ModelAt("cold", SMALL.name): SWAP},
        in_flight={("warm", SMALL.name): 1},
    )

    assert isinstance(verdict, Hold)
    assert verdict.wait.code is WaitCode.CAPACITY
    assert [(wish.endpoint, wish.swap_ms) for wish in verdict.wishes] == [("warm", 0), ("cold", 33_000)]
    assert verdict.blocked_on == ("cold", "warm")


def test_slots_taken_by_what_has_to_go_do_not_hide_a_load() -> None:
    """The calls on it are waited for as part of the swap."""
    verdict = asked(
        managed("box", OTHER.name, models=(SMALL.name, OTHER.name)),
        swaps={ModelAt("box", SMALL.name): SWAP},
        in_flight={("box", OTHER.name): 1},
    )

    assert isinstance(verdict, Hold)
    assert verdict.wait.code is WaitCode.MODEL_SWAP


def test_of_two_models_the_one_that_is_loaded_sooner_is_waited_for() -> None:
    """A load under way counts with what is left of it."""
    verdict = asked(
        managed("box", models=(SMALL.name, OTHER.name)),
        swaps={
            ModelAt("box", SMALL.name): SWAP,
            ModelAt("box", OTHER.name): SwapEstimate(load_ms=4_000, loading=True),
        },
        policy=TWO,
    )

    assert isinstance(verdict, Hold)
    assert verdict.wishes[0].model == OTHER.name
    assert verdict.decision.candidates[0].detail == "is being loaded, about 4 s left"


def test_a_load_that_failed_is_no_candidate_until_its_time_is_over() -> None:
    """Another place is taken; with none, it waits and says when it is tried again and what went wrong."""
    failed = SwapEstimate(blocked_until_ms=NOW + 12_000, message="out of memory")
    swaps = {ModelAt("bad", SMALL.name): failed, ModelAt("good", SMALL.name): SWAP}
    elsewhere = asked(managed("bad"), managed("good"), swaps=swaps)
    assert [wish.endpoint for wish in elsewhere.wishes] == ["good"]  # type: ignore[union-attr]
    alone = asked(managed("bad"), swaps=swaps, policy=with_tier(THREE_TIERS, "complex", enabled=False))

    assert isinstance(alone, Hold)
    assert (alone.wait.code, alone.wait.next_check_ms) == (WaitCode.MODEL_SWAP, NOW + 12_000)
    assert "bad could not load the model a moment ago (out of memory)" in alone.wait.detail
    assert alone.decision.candidates[0].rejection is Rejection.LOAD_FAILED
    assert "the next try to load it, in 12 s" in "\n".join(plain(explain(alone)))


def test_no_room_beside_what_is_pinned_is_no_candidate() -> None:
    """It is said which models are in the way for good."""
    swaps = {ModelAt("box", SMALL.name): SwapEstimate(possible=False, message="pinned there: llama3:70b")}
    verdict = asked(managed("box"), swaps=swaps, policy=with_tier(THREE_TIERS, "complex", enabled=False))

    assert isinstance(verdict, Hold)
    assert "no room for the model beside what is pinned (pinned there: llama3:70b)" in verdict.wait.detail
    assert verdict.decision.candidates[0].rejection is Rejection.NO_ROOM


def test_measured_speeds_replace_the_configured_ones_place_by_place() -> None:
    """The machine that was seen to write faster wins, and the estimate is by its speed."""
    slow, fast = (Speeds(prefill_tokens_per_s=500, decode_tokens_per_s=rate) for rate in (5.0, 200.0))
    verdict = asked(
        managed("a", SMALL.name),
        managed("b", SMALL.name),
        speeds={("a", SMALL.name): slow, ("b", SMALL.name): fast},
    )

    assert isinstance(verdict, Route)
    assert verdict.decision.selected_endpoint == "b"
    assert verdict.decision.estimate is not None
    assert verdict.decision.estimate.decode_ms == 2_000, "400 tokens at 200 in a second"
