"""The load score and the score of a place: exact shape, and never better for being worse."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import Catalog, CostClass, HostSpec, ModelSpec, Speeds, TierSpec
from ostler.domain.fleet import GIB, HostReport, Resident
from ostler.domain.policy import Policy, RoutingPolicy, ScoreWeights
from ostler.routing import effort, scoring
from ostler.routing.scoring import HostLoad, Offer
from tests.routing.fleets import NOW, facts, report, view

ROUTING = RoutingPolicy()
WEIGHTS = ScoreWeights()
METERED = TierSpec(name="cloud", rank=1, models=("m",), cost=CostClass.METERED)
LOCAL = TierSpec(name="local", rank=1, models=("m",))


def load(seen: HostReport | None, *, warm: bool = False, affine: bool = False) -> float:
    host = scoring.host_load(seen, NOW, ROUTING)
    return scoring.load_score(host, warm=warm, affine=affine, weights=WEIGHTS)


def test_the_documented_load_scores() -> None:
    """CPU at 20 %, 32 GiB and unknown VRAM is 0.8 x 1.5 x 0.9; without any data it is 0.5 x 1 x 0.9."""
    known = report("h", cpu_percent=20.0, ram_total_bytes=32 * GIB)
    assert load(known) == pytest.approx(1.08)
    assert load(None) == pytest.approx(0.45)
    assert load(known, warm=True) == pytest.approx(1.08 * 1.15)
    assert load(known, affine=True) == pytest.approx(1.08 * 1.05)
    assert load(known, warm=True, affine=True) == pytest.approx(1.08 * 1.15 * 1.05)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0.45),
        ({"cpu_percent": 0.0}, 0.9),
        ({"cpu_percent": 100.0}, 0.0),
        ({"cpu_percent": 250.0}, 0.0),
        ({"cpu_percent": -5.0}, 0.9),
        ({"ram_total_bytes": 8 * GIB}, 0.5 * 0.5 * 0.9),
        ({"ram_total_bytes": 512 * GIB}, 0.5 * 1.5 * 0.9),
        ({"ram_total_bytes": 0}, 0.45),
        ({"vram_total_bytes": 10 * GIB, "vram_used_bytes": 0}, 0.5),
        ({"vram_total_bytes": 10 * GIB, "vram_used_bytes": 10 * GIB}, 0.4),
        ({"vram_total_bytes": 10 * GIB, "vram_used_bytes": 15 * GIB}, 0.4),
        ({"vram_total_bytes": 10 * GIB, "vram_used_bytes": 5 * GIB}, 0.45),
        ({"vram_total_bytes": 0, "vram_used_bytes": 0}, 0.45),
        ({"vram_total_bytes": 10 * GIB}, 0.45),
    ],
)
def test_each_factor_of_the_load_score(fields: dict[str, object], expected: float) -> None:
    """Free processor, memory up to 1.5 times 16 GiB, 0.8 to 1.0 by free VRAM; unknown has its own value."""
    assert load(report("h", **fields)) == pytest.approx(expected)


@pytest.mark.parametrize(("age_ms", "expected"), [(90_000, 0.72), (90_001, 0.45)])
def test_an_old_report_counts_as_unknown(age_ms: int, expected: float) -> None:
    """Past the stale limit a report says nothing; its age is kept for the record."""
    seen = report("h", cpu_percent=20.0, at_ms=NOW - age_ms)
    assert load(seen) == pytest.approx(expected)
    assert scoring.host_load(seen, NOW, ROUTING).age_ms == age_ms


class Place(NamedTuple):
    """What the score of a place depends on."""

    cpu: float = 20.0
    ram_gib: int = 16
    warm: bool = True
    in_flight: int = 0
    price: float | None = None
    affine: bool = False


def offer(place: Place) -> Offer:
    model = ModelSpec(name="m", input_usd_per_mtok=place.price, output_usd_per_mtok=place.price)
    policy = Policy(catalog=Catalog(tiers=(METERED,), models={"m": model}))
    work = effort.work_on(model, METERED, facts(), policy)
    seen = view("e", "m", local=place.price is None, slots=4, warm=("m",) if place.warm else ())
    host = scoring.host_load(report("e", cpu_percent=place.cpu, ram_total_bytes=place.ram_gib * GIB), NOW, ROUTING)
    load_ms = 0 if place.warm else effort.load_time_ms(seen, model, None, policy.catalog, work)
    made = Offer("e", "m", 0, seen, host, work, place.warm, effort.queue_ms(place.in_flight, 4, work), load_ms)
    made.affine = place.affine
    scoring.rate(made, WEIGHTS)
    return made


def not_above(one: Offer, other: Offer) -> bool:
    """Whether one score is at most the other, but for the rounding of its last digit."""
    return one.score <= other.score * (1 + 1e-12)


places = st.builds(
    Place,
    cpu=st.floats(0, 100),
    ram_gib=st.integers(1, 256),
    warm=st.booleans(),
    in_flight=st.integers(0, 9),
    price=st.none() | st.floats(0, 100),
    affine=st.booleans(),
)


@given(places, st.floats(0, 100))
def test_more_load_never_raises_the_score(place: Place, cpu: float) -> None:
    """The busier processor never scores higher."""
    busier = place._replace(cpu=max(place.cpu, cpu))
    assert not_above(offer(busier), offer(place))


@given(places, st.integers(0, 9))
def test_more_calls_in_flight_never_raise_the_score(place: Place, in_flight: int) -> None:
    """The longer queue never scores higher."""
    assert not_above(offer(place._replace(in_flight=max(place.in_flight, in_flight))), offer(place))


@given(places)
def test_warmth_never_lowers_the_score(place: Place) -> None:
    """A loaded model never scores below the same model unloaded."""
    assert not_above(offer(place._replace(warm=False)), offer(place._replace(warm=True)))


@given(places, st.floats(0, 100), st.floats(0, 100))
def test_a_dearer_call_never_scores_higher(place: Place, one: float, other: float) -> None:
    """The higher price never wins by itself."""
    low, high = sorted((one, other))
    assert not_above(offer(place._replace(price=high)), offer(place._replace(price=low)))


@given(places)
def test_affinity_and_capacity_never_lower_the_score(place: Place) -> None:
    """The host of the repo, and the larger host, never score lower for it."""
    assert not_above(offer(place._replace(affine=False)), offer(place._replace(affine=True)))
    assert not_above(offer(place), offer(place._replace(ram_gib=place.ram_gib + 8)))


@given(places)
def test_the_recorded_terms_make_up_the_score(place: Place) -> None:
    """The record suffices to compute the score again, by the documented formula."""
    made = offer(place)
    terms = scoring.terms(made, WEIGHTS)
    product = terms["load"] * terms["capacity"] * terms["vram"] * terms["warm"] * terms["affinity"]
    time_s = terms["queue_s"] + terms["load_time_s"] + terms["prefill_s"] + terms["decode_s"]
    assert terms["load_score"] == pytest.approx(product)
    assert terms["finish_s"] == pytest.approx(time_s)
    if product > 0:
        assert terms["cost_s"] == pytest.approx(time_s / product + terms["money_s"])
        assert made.score == pytest.approx(1 / terms["cost_s"])
    else:
        assert made.score == 0


def test_a_busy_warm_host_beats_an_idle_cold_one() -> None:
    """Twenty seconds of loading outweigh load that the 15 % of the warm factor alone could not."""
    busy_warm, idle_cold = Place(cpu=50.0, warm=True, in_flight=1), Place(cpu=0.0, warm=False)
    assert offer(busy_warm).score > offer(idle_cold).score
    assert 0.5 * 1.15 < 1.0  # by the factors alone the idle host would win


def test_an_unknown_price_is_never_free() -> None:
    """It stays unknown in the record, and counts as dear as the dearest price known, or dearer."""
    unknown, dear = ModelSpec(name="m"), ModelSpec(name="d", input_usd_per_mtok=40.0, output_usd_per_mtok=200.0)
    alone = Policy(catalog=Catalog(tiers=(METERED,), models={"m": unknown}))
    beside = Policy(catalog=Catalog(tiers=(METERED,), models={"m": unknown, "d": dear}))
    work = effort.work_on(unknown, METERED, facts(), alone)
    assert work.cost_micro_usd is None
    assert (
        work.money_s
        > effort.work_on(
            replace(dear, input_usd_per_mtok=14.0, output_usd_per_mtok=74.0), METERED, facts(), alone
        ).money_s
    )
    assert effort.work_on(unknown, METERED, facts(), beside).money_s == pytest.approx(
        effort.work_on(dear, METERED, facts(), beside).money_s
    )


@pytest.mark.parametrize(
    ("cost", "local", "expected"),
    [
        (CostClass.METERED, False, 3_000 + 6_000),
        (CostClass.METERED, True, 0),
        (CostClass.LOCAL, False, 3_000 + 6_000),
        (CostClass.SUBSCRIPTION, False, 0),
        (CostClass.FREE, False, 0),
    ],
)
def test_what_a_call_costs(cost: CostClass, local: bool, expected: int) -> None:
    """Local calls, free tiers and subscriptions cost nothing more; else tokens times price."""
    model = ModelSpec(name="m", input_usd_per_mtok=3.0, output_usd_per_mtok=15.0)
    tier = replace(METERED, cost=cost)
    policy = Policy(catalog=Catalog(tiers=(tier,), models={"m": model}))
    work = effort.work_on(model, tier, facts(prompt_tokens=1_000), policy)
    place = Offer("e", "m", 0, view("e", "m", local=local), HostLoad(1, 1, 1), work, True, 0, 0)
    assert scoring.estimate(place).cost_micro_usd == expected
    assert (place.money_s == 0) == (expected == 0)


def test_a_dollar_is_worth_the_minutes_the_policy_says() -> None:
    """At 0.05 USD a minute, one cent weighs as much as twelve seconds."""
    model = ModelSpec(name="m", input_usd_per_mtok=10.0, output_usd_per_mtok=0.0)
    policy = Policy(catalog=Catalog(tiers=(METERED,), models={"m": model}))
    work = effort.work_on(model, METERED, facts(prompt_tokens=1_000), policy)
    assert work.cost_micro_usd == 10_000
    assert work.money_s == pytest.approx(12.0)


def test_times_come_from_the_models_speeds() -> None:
    """Reading and writing by tokens a second, and the fixed time to the first token."""
    speeds = Speeds(prefill_tokens_per_s=500, decode_tokens_per_s=20, first_token_ms=300, load_s=9.5)
    model = ModelSpec(name="m", speeds=speeds)
    policy = Policy(catalog=Catalog(tiers=(LOCAL,), models={"m": model}))
    work = effort.work_on(model, LOCAL, facts(prompt_tokens=1_000, output_tokens=100), policy)
    assert (work.prefill_ms, work.decode_ms, work.load_ms, work.call_ms) == (2_300, 5_000, 9_500, 7_300)
    usual = effort.work_on(model, LOCAL, facts(), policy)
    assert usual.decode_ms == 400 * 1000 // 20


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_speed_that_makes_no_sense_counts_as_no_time(speed: float) -> None:
    """A zero in the profile must not break a decision."""
    model = ModelSpec(name="m", speeds=Speeds(prefill_tokens_per_s=speed, decode_tokens_per_s=speed))
    policy = Policy(catalog=Catalog(tiers=(LOCAL,), models={"m": model}))
    assert effort.work_on(model, LOCAL, facts(), policy).call_ms == 0


@pytest.mark.parametrize(
    ("resident", "need", "warm"),
    [
        (None, 500, False),
        (Resident(model="other"), 500, False),
        (Resident(model="m"), 500, True),
        (Resident(model="m", context_tokens=4_096), 4_096, True),
        (Resident(model="m", context_tokens=4_096), 4_097, False),
    ],
)
def test_warm_means_loaded_at_a_large_enough_context(resident: Resident | None, need: int, warm: bool) -> None:
    """An engine loads a model anew when the context it is loaded with is too small."""
    seen = replace(view("e", "m"), residents=(resident,) if resident else ())
    assert effort.is_warm(seen, "m", need) is warm
    assert effort.is_warm(view("c", "m", local=False), "m", need)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (None, 20_000),
        (HostSpec(name="e"), 20_000),
        (HostSpec(name="e", memory_bytes=64 * GIB), 20_000),
        (HostSpec(name="e", memory_bytes=64 * GIB, reserve_bytes=60 * GIB), 30_000),
        (HostSpec(name="e", memory_bytes=40 * GIB), 30_000),
        (HostSpec(name="e", max_resident_models=1), 30_000),
        (HostSpec(name="e", max_resident_models=2), 20_000),
    ],
)
def test_a_crowded_host_must_unload_first(host: HostSpec | None, expected: int) -> None:
    """Where there is no room beside the loaded model, its unloading adds to the load time."""
    models = {name: ModelSpec(name=name, memory_bytes=30 * GIB) for name in ("m", "other")}
    policy = Policy(catalog=Catalog(tiers=(LOCAL,), models=models))
    work = effort.work_on(models["m"], LOCAL, facts(), policy)
    seen = view("e", "m", warm=("other",))
    assert effort.load_time_ms(seen, models["m"], host, policy.catalog, work) == expected


def offers(*cpus: float) -> list[Offer]:
    made = []
    for number, cpu in enumerate(cpus):
        one = offer(Place(cpu=cpu))
        one.endpoint = f"e{number}"
        one.view = view(f"e{number}", "m")
        made.append(one)
    return made


@pytest.mark.parametrize(("cpu", "favoured"), [(20.0, True), (28.0, True), (28.5, False), (90.0, False)])
def test_affinity_acts_only_at_similar_load(cpu: float, favoured: bool) -> None:
    """The repo's host is favoured while its free share is at most a tenth below the best one's."""
    best, at_repo = offers(20.0, cpu)
    scoring.favour_repo_host([best, at_repo], "e1", WEIGHTS)
    assert at_repo.affine is favoured
    assert not best.affine


def test_affinity_needs_a_known_host() -> None:
    """Without a host that worked on the repo nothing changes."""
    pair = offers(20.0, 20.0)
    before = [one.score for one in pair]
    scoring.favour_repo_host(pair, None, WEIGHTS)
    scoring.favour_repo_host(pair, "elsewhere", WEIGHTS)
    assert [one.score for one in pair] == before
