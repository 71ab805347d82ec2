"""The books of a simulated host's memory."""

import pytest

from ostler.simulate.host_events import UnloadCause
from ostler.simulate.residents import Resident, Residents
from ostler.simulate.spec import BYTES_PER_GIB, SimulatedModelSpec


def resident(name: str = "m", weights_gib: float = 1, keep_alive_ms: int = 1000, slots: int = 1) -> Resident:
    spec = SimulatedModelSpec(name=name, weights_gib=weights_gib, kv_bytes_per_token=0, slots=slots)
    return Resident(spec, 4096, keep_alive_ms)


def memory(*ready: Resident, capacity_gib: int = 10) -> Residents:
    residents = Residents(capacity_gib * BYTES_PER_GIB)
    residents.ready = {one.spec.key: one for one in ready}
    return residents


def test_memory_is_taken_in_every_state() -> None:
    """Loading, ready and unloading count alike."""
    residents = memory(resident("a", 1))
    residents.loading = resident("b", 2)
    residents.unloading = [resident("a", 4)]

    assert residents.used_bytes == 7 * BYTES_PER_GIB


@pytest.mark.parametrize(
    ("beside_gib", "wanted_gib", "fits"), [(0, 10, True), (0, 11, False), (5, 4, True), (5, 5, False)]
)
def test_a_load_may_claim_all_of_nothing_but_only_a_share_beside_others(
    beside_gib: int, wanted_gib: int, fits: bool
) -> None:
    """80 % of what is free."""
    residents = memory(*([resident("other", beside_gib)] if beside_gib else []))

    assert residents.fits(wanted_gib * BYTES_PER_GIB, 80) is fits


def test_what_is_unloading_counts_as_others() -> None:
    """Its memory is not free, and not certain to be."""
    residents = memory()
    residents.unloading = [resident("old", 1)]

    assert not residents.fits(9 * BYTES_PER_GIB, 80)
    assert residents.fits(7 * BYTES_PER_GIB, 80)


def test_the_victim_is_idle_then_short_lived_then_first_by_name() -> None:
    """In that order of importance."""
    busy, long, short_b, short_a = (
        resident("busy", keep_alive_ms=1),
        resident("long", keep_alive_ms=9),
        resident("short-b", keep_alive_ms=2),
        resident("short-a", keep_alive_ms=2),
    )
    busy.running.add(1)
    order = []
    candidates = [busy, long, short_b, short_a]
    while candidates:
        victim = memory(*candidates).victim()
        order.append(victim.spec.name)
        candidates.remove(victim)

    assert order == ["short-a", "short-b", "long", "busy"]


@pytest.mark.parametrize("use", ["running", "holders", "waiting"])
def test_any_use_keeps_a_model_from_being_idle(use: str) -> None:
    """A call on a slot, one without, and one that waits for a slot."""
    one = resident()
    assert one.is_idle

    (one.waiting.append if use == "waiting" else getattr(one, use).add)(7)

    assert not one.is_idle


def test_the_next_timer_is_the_earliest_and_unloads_come_first() -> None:
    """Of timers that end together: unload, load, keep-alive, then by name."""
    expiring_b, expiring_a, loading, unloading = resident("b"), resident("a"), resident("c"), resident("d")
    residents = memory(expiring_b, expiring_a)
    residents.loading, residents.unloading = loading, [unloading]
    assert residents.next_due() is None
    order = []
    for one in (expiring_b, expiring_a, loading, unloading):
        one.timer_ms = 500
    while (due := residents.next_due()) is not None:
        order.append(due.spec.name)
        due.timer_ms = None

    assert order == ["d", "c", "a", "b"]


def test_a_view_shows_use_and_fate() -> None:
    """When it expires only while it is ready and idle; whether it is to leave."""
    one = resident(slots=2)
    one.running |= {1, 2}
    one.waiting.append(3)
    one.leaving = UnloadCause.EVICTED

    view = one.view("ready")

    assert (view.running, view.waiting, view.slots, view.leaving) == (2, 1, 2, True)
    assert view.expires_ms is None
    one.timer_ms = 5
    assert (one.view("ready").expires_ms, one.view("unloading").expires_ms) == (5, None)
