"""Who has to leave for a model: small hosts, worked out by hand, and any host against brute force."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ostler.residency.eviction import (
    EXACT_MAX,
    NOTHING,
    WANTED_PRICE_MS,
    Victim,
    charge,
    cheapest_set,
    touch,
    victims,
)
from ostler.residency.state import DRAINING, LOADING, Footprint, HostState, Resident, Soon, State, Want

NOW = 1_000_000


def resident(model: str, memory: int = 10, load_ms: int = 100, unload_ms: int = 10, **more: int) -> Resident:
    return Resident(model, Footprint(memory, load_ms, unload_ms, 4), **more)


def host(*residents: Resident, memory: int = 40) -> HostState:
    return HostState("box", memory, {one.model: one.footprint for one in residents}, residents=residents)


def prices(box: HostState, *wants: Want, keep: tuple[str, ...] = ()) -> dict[str, int]:
    found = victims(box, keep, State([box], wants).wants_of, NOW)
    return {victim.model: victim.price_ms for victim in found}


def test_nothing_leaves_where_there_is_room() -> None:
    """A model that fits beside the others evicts nobody."""
    box = host(resident("a"))

    assert cheapest_set(victims(box, (), {}, NOW), 0) == NOTHING


def test_an_idle_model_goes_before_a_busy_one() -> None:
    """The busy one would have to be drained first: that time is part of its price."""
    box = host(resident("busy", busy=1, drained_ms=NOW + 500), resident("idle"))

    assert prices(box) == {"busy": 500 + 10 + 100, "idle": 10 + 100}
    found = cheapest_set(victims(box, (), {}, NOW), 5)
    assert found is not None
    assert found.models == ("idle",)


def test_the_time_until_memory_is_free_is_that_of_the_slowest() -> None:
    """Two models drain and unload side by side."""
    box = host(resident("a", busy=1, drained_ms=NOW + 300), resident("b", unload_ms=50))

    found = cheapest_set(victims(box, (), {}, NOW), 20)

    assert found is not None
    assert found.models == ("a", "b")
    assert found.free_ms == 310


def test_an_estimate_that_has_passed_counts_as_no_time() -> None:
    """Work that runs longer than was thought makes no victim cheaper than an idle one."""
    box = host(resident("late", busy=1, drained_ms=NOW - 300))

    assert prices(box) == {"late": 110}


def test_known_future_decides_like_belady() -> None:
    """Never needed again is cheapest, needed some time costs a load, needed at once costs nearly two."""
    box = host(resident("never"), resident("later"), resident("soon"), resident("waiting"))
    wants = (
        Want(("never",), later=0),
        Want(("later",), later=3),
        Want(("soon",), later=1, soon=[Soon(NOW + 30, 5, 5)]),
        Want(("waiting",), waiting=1, work_ms=5),
    )

    found = prices(box, *wants)

    assert found == {"never": 10, "later": 110, "soon": 10 + 100 + 70, "waiting": 10 + 100 + WANTED_PRICE_MS}
    assert list(found) == ["never", "later", "soon", "waiting"]


def test_what_is_wanted_goes_last_but_comes_back_like_any_other() -> None:
    """The bar decides who leaves. It is no time: to have the wanted one back takes its load and no more."""
    box = host(resident("idle"), resident("wanted"))
    found = victims(box, (), State([box], [Want(("wanted",), waiting=1, work_ms=5)]).wants_of, NOW)

    one, both = cheapest_set(found, 5), cheapest_set(found, 15)

    assert one is not None
    assert both is not None
    assert (one.models, one.back_ms) == (("idle",), 100)
    assert both.models == ("idle", "wanted")
    assert both.back_ms == 10 + 100 + 100, "two loads and, as the price is a sum, the second unload"
    assert both.price_ms > WANTED_PRICE_MS


def test_unknown_future_goes_by_credit() -> None:
    """Landlord: whoever stays while another leaves pays for its room; use makes the credit whole again."""
    cheap, dear = resident("cheap", load_ms=40), resident("dear", load_ms=100)
    box = host(cheap, dear, resident("used", load_ms=100))

    charge(box, ["cheap"])
    touch(box.residents["used"])

    assert dear.credit_ms == 60
    assert prices(box)["dear"] == 10 + 60
    assert prices(box)["used"] == 10 + 100


def test_pinned_loading_leaving_and_kept_models_never_leave() -> None:
    """Only what is usable and free to go is a victim at all."""
    pinned = Resident("pinned", Footprint(10, 100, 10, 1, pinned=True))
    box = host(pinned, resident("loading", phase=LOADING), resident("draining", phase=DRAINING), resident("kept"))

    assert prices(box, keep=("kept",)) == {}
    assert cheapest_set([], 1) is None


def test_one_large_victim_beats_two_small_dear_ones() -> None:
    """The cheapest set need not hold the cheapest victim."""
    found = [Victim("s1", 5, 10, 60), Victim("s2", 5, 10, 60), Victim("large", 10, 10, 100)]

    chosen = cheapest_set(found, 10)

    assert chosen is not None
    assert chosen.models == ("large",)


def test_a_limit_of_residents_counts_like_memory() -> None:
    """Where two must go for the count, two go, even if one frees enough memory."""
    found = [Victim("a", 50, 10, 10), Victim("b", 1, 10, 20), Victim("c", 1, 10, 30)]

    chosen = cheapest_set(found, 10, surplus=2)

    assert chosen is not None
    assert chosen.models == ("a", "b")


victim_lists = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 100), st.integers(0, 100)), min_size=0, max_size=8
).map(
    lambda rows: sorted(
        (Victim(f"m{index}", memory, free, free + more) for index, (memory, free, more) in enumerate(rows)),
        key=lambda victim: (victim.price_ms, victim.model),
    )
)


@given(victim_lists, st.integers(0, 120), st.integers(0, 3))
def test_the_set_is_sufficient_and_for_few_residents_the_cheapest(
    found: list[Victim], short: int, surplus: int
) -> None:
    """Compared with every subset; beyond the exact limit the set is sufficient and holds nothing needless."""
    sets = [
        chosen
        for size in range(len(found) + 1)
        for chosen in combinations(found, size)
        if sum(victim.memory_bytes for victim in chosen) >= short and size >= surplus
    ]

    chosen = cheapest_set(found, short, surplus)

    assert (chosen is None) == (not sets), "a set is found exactly when there is one"
    if chosen is None:
        return
    picked = [victim for victim in found if victim.model in chosen.models]
    freed = sum(victim.memory_bytes for victim in picked)
    assert freed >= short, "the set frees what is short"
    assert len(picked) >= surplus, "the set takes as many as the limit of residents asks"
    assert chosen.price_ms == sum(victim.price_ms for victim in picked), "its price is the sum"
    assert chosen.free_ms == max((victim.free_ms for victim in picked), default=0), "the slowest decides"
    if len(found) <= EXACT_MAX:
        cheapest = min(sum(victim.price_ms for victim in one) for one in sets)
        assert chosen.price_ms == cheapest, "no sufficient set is cheaper"
    else:
        needless = [v for v in picked if freed - v.memory_bytes >= short and len(picked) > surplus]
        assert not needless, "nobody leaves for nothing"
