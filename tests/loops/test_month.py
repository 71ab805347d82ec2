"""Months of a loop in virtual time, with crashes at every step: no loop is missed in silence, none runs twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.loops import LoopStatus
from tests.loops.made import HALF_HOUR, NOW_MS
from tests.loops.month import World, run


def check(world: World, *, catch_up: bool) -> None:
    """Every instant that was due is one loop, counted as skipped, or still to come."""
    loop = world.stored
    begun = [due_ms for _, due_ms in world.begun]
    assert len(set(begun)) == len(begun), "an instant was run twice"
    assert all((due_ms - NOW_MS) % HALF_HOUR == 0 for due_ms in begun), "the schedule drifted"
    assert begun == sorted(begun)
    assert [number for number, _ in world.begun] == list(range(1, len(begun) + 1))
    assert loop.next_loop_ms is not None
    slots = (loop.next_loop_ms - NOW_MS) // HALF_HOUR
    assert len(begun) + loop.loops_skipped == slots, "a loop was missed in silence"
    if catch_up:
        assert loop.loops_skipped == 0
    assert set(world.runs.values()) <= {1}, "a tick was handed in twice"
    expected = {f"loop-night-{number}-{tick}-1" for number, _ in world.begun for tick in (1, 2)}
    assert set(world.runs) == expected, "a tick was lost"
    assert loop.loops_completed == len(begun)
    assert loop.total_ticks_run == 2 * len(begun)
    assert loop.status is LoopStatus.WAITING


def test_a_quiet_month_runs_every_loop_in_time() -> None:
    """30 days of half hours: 1,440 loops, 2,880 ticks, nothing skipped."""
    world = run(1, 30, death=0.0, hubs=1)
    check(world, catch_up=False)
    assert len(world.begun) == 1_440
    assert world.stored.loops_skipped == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_month_with_hundreds_of_crashes_misses_nothing_and_doubles_nothing(seed: int) -> None:
    """Two hubs, each killed at a twentieth of its writes and away for up to two hours."""
    world = run(seed, 30, death=0.05)
    check(world, catch_up=False)
    assert world.deaths > 200
    assert world.refused > 100, "the two hubs did get into each other's way"


def test_a_month_that_catches_up_runs_every_loop() -> None:
    """Late, but each once."""
    world = run(5, 30, death=0.02, catch_up=True)
    check(world, catch_up=True)
    assert len(world.begun) >= 1_440


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.floats(0.1, 2), st.sampled_from([0.02, 0.1, 0.4]), st.booleans(), st.integers(1, 3))
def test_however_often_hubs_die_every_instant_is_accounted_for(
    seed: int, days: float, death: float, catch_up: bool, hubs: int
) -> None:
    """Any number of hubs, any crashes."""
    check(run(seed, days, death=death, catch_up=catch_up, hubs=hubs), catch_up=catch_up)
