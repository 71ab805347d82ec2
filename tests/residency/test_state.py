"""The bookkeeping that the rule reads: memory by residents, what a host keeps, which wants a model serves."""

import pytest

from ostler.residency.state import (
    DRAINING,
    LOADING,
    PHASES,
    READY,
    UNKNOWN,
    UNLOADING,
    Footprint,
    HostState,
    Resident,
    State,
    Swap,
    Want,
)

SMALL, LARGE = Footprint(5, 50, 10, 4), Footprint(20, 200, 60, 2, pinned=True)


def box(*residents: Resident) -> HostState:
    return HostState("box", 40, {"small": SMALL, "large": LARGE}, residents=residents)


def test_memory_is_that_of_the_residents_whatever_they_do() -> None:
    """Loading and unloading models take theirs too."""
    host = box(Resident("small", SMALL, phase=LOADING), Resident("large", LARGE, phase=UNLOADING))

    assert host.used_bytes == 25
    host.remove("large")
    assert host.used_bytes == 5
    with pytest.raises(KeyError):
        host.remove("large")


@pytest.mark.parametrize(
    ("phase", "kept"), [(LOADING, True), (READY, True), (DRAINING, False), (UNLOADING, False)], ids=PHASES
)
def test_a_host_keeps_what_loads_or_serves_not_what_leaves(phase: int, kept: bool) -> None:
    """A draining model is in memory, but not for whoever comes now."""
    assert box(Resident("small", SMALL, phase=phase)).keeps("small") is kept


def test_a_host_keeps_what_its_swap_will_load() -> None:
    """Decided is as good as there: nobody decides it twice."""
    host = box()
    host.swap = Swap(("large",), (), 90)

    assert host.keeps("large")
    assert not host.keeps("small")


def test_a_pinned_footprint_makes_a_pinned_resident() -> None:
    """Pinned by configuration; a person may pin another one later."""
    pinned, free = Resident("large", LARGE), Resident("small", SMALL)

    free.pinned = True

    assert pinned.pinned
    assert free.pinned


def test_a_resident_starts_with_the_credit_of_its_load() -> None:
    """What it cost to bring is what it is worth to keep, where nobody knows the future."""
    assert Resident("large", LARGE).credit_ms == 200


def test_the_index_finds_every_want_of_a_model() -> None:
    """Work for a set of models stands under each of them."""
    alone, both = Want(("small",)), Want(("small", "large"))

    index = State([box()], [alone, both]).wants_of

    assert index == {"small": [alone, both], "large": [both]}


def test_a_want_says_nothing_of_what_it_does_not_know() -> None:
    """Whoever only has a queue gives a queue: the future is unknown, the host free, the work patient."""
    want = Want(("small",), waiting=2, work_ms=90, urgency=-4)

    assert (want.later, want.hosts, want.overdue, list(want.soon), want.memory_bytes) == (UNKNOWN, None, False, [], 0)
