"""When a run of an agent is ended: each limit by itself, with its own class, and no healthy run among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.contract import Trouble
from ostler.workers.runners.agents.watch import Ending, Limits, Signs, Watch

LIMITS = Limits(first_s=100, silent_s=300, linger_s=20, output_bytes=1_000)


def played(*looks: tuple[float, Signs]) -> tuple[float, Ending] | None:
    """Look at these instants; when the first ending came, and which."""
    watch = Watch(LIMITS, 0.0)
    for now_s, signs in looks:
        ending = watch.look(signs, now_s)
        if ending is not None:
            return now_s, ending
    return None


def test_a_run_that_tells_nothing_never_began() -> None:
    """After its limit, not before; it does not count against the task, because nothing was tried."""
    busy = [(float(now_s), Signs(cpu_s=now_s)) for now_s in range(10, 200, 10)]

    found = played(*busy)

    assert found is not None
    assert (found[0], found[1].kind) == (100.0, FailureClass.ENVIRONMENT)


def test_a_silent_run_is_stuck() -> None:
    """It has begun, and then nothing moves for the whole limit: no output, no file, no processor time."""
    found = played((10, Signs(events=1)), *((float(now_s), Signs(events=1)) for now_s in range(20, 600, 10)))

    assert found is not None
    assert (found[0], found[1].kind) == (310.0, FailureClass.STUCK)


def test_a_run_without_a_timeout_of_its_task_ends_after_the_longest_time() -> None:
    """However busy it is: nobody waits for it for ever."""
    busy = [(float(now_s), Signs(events=now_s)) for now_s in range(10, 4_000, 10)]

    found = played(*busy)

    assert found is not None
    assert (found[0], found[1].kind) == (3_600.0, FailureClass.TIMEOUT)


@pytest.mark.parametrize("sign", ["events", "output_bytes", "written_ns", "cpu_s"])
def test_any_one_sign_of_life_is_enough(sign: str) -> None:
    """A run that only writes, only computes or only logs is healthy, however long it goes on."""
    looks = [(float(now_s), replace(Signs(events=1), **{sign: now_s // 10 + 1})) for now_s in range(10, 3_000, 10)]

    assert played(*looks) is None


def test_an_idle_runtime_is_no_sign_of_life() -> None:
    """A few milliseconds of processor time a second are what a hung program uses, too."""
    looks = [(float(now_s), Signs(events=1, cpu_s=now_s * 0.02)) for now_s in range(10, 600, 10)]

    found = played(*looks)

    assert found is not None
    assert found[1].kind is FailureClass.STUCK


def test_a_run_that_stays_after_its_last_word_is_ended_without_blame() -> None:
    """What it told counts, so the ending has no class; it gets a moment to leave by itself."""
    looks = [(float(now_s), Signs(events=now_s, is_over=now_s >= 50)) for now_s in range(10, 200, 10)]

    found = played(*looks)

    assert found is not None
    assert (found[0], found[1].kind) == (70.0, None)


def test_a_run_that_spams_is_stuck() -> None:
    """More output than any run has ends it at once."""
    found = played((1, Signs(events=1, output_bytes=999)), (2, Signs(events=2, output_bytes=1_001)))

    assert found is not None
    assert (found[0], found[1].kind) == (2, FailureClass.STUCK)


def test_a_run_that_goes_round_in_circles_is_stuck() -> None:
    """Whatever else moves, from the number of repeats that is set."""
    found = played(*((float(count), Signs(events=count, output_bytes=count, repeats=count)) for count in range(1, 20)))

    assert found is not None
    assert (found[0], found[1].kind) == (LIMITS.repeats, FailureClass.STUCK)


def test_a_run_may_take_so_many_steps_and_no_more() -> None:
    """Where a number is set; else any."""
    looks = [(float(count), Signs(events=count, steps=count)) for count in range(1, 90)]

    assert played(*looks) is None
    watch = Watch(replace(LIMITS, steps=5), 0.0)
    ends = [(now_s, watch.look(signs, now_s)) for now_s, signs in looks]
    first = next((now_s, ending) for now_s, ending in ends if ending is not None)
    assert (first[0], first[1].kind) == (6.0, FailureClass.STUCK)
    assert "more than 5 steps" in first[1].message


def test_a_run_whose_calls_fail_for_ever_ends_as_its_calls_failed() -> None:
    """The class is that of the calls: it decides the move, not that the program hung."""
    trouble = Trouble(kind=FailureClass.AUTH, message="the key was refused")

    found = played((1, Signs(stuck_on=trouble)))

    assert found is not None
    assert found[1].kind is FailureClass.AUTH
    assert "the key was refused" in found[1].message


@given(st.lists(st.tuples(st.floats(0.1, 90), st.integers(0, 3), st.integers(0, 50)), max_size=60))
def test_a_run_that_moves_often_enough_is_never_ended(steps: list[tuple[float, int, int]]) -> None:
    """Any run that tells something within each limit lives on."""
    watch, now_s, signs = Watch(LIMITS, 0.0), 0.0, Signs(events=1)
    watch.look(signs, now_s)
    for pause_s, events, written in steps:
        now_s += pause_s
        signs = replace(signs, events=signs.events + events + 1, written_ns=signs.written_ns + written)
        assert watch.look(signs, now_s) is None
