"""Turns of solved parts and of search on episodes: never worse, within their time, and proven at the bound only."""

import time
from random import Random

import msgspec
import pytest

from ostler.domain.errors import InvalidInputError
from ostler.planning.bounds import certify
from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first
from ostler.simulate.instances import random_instance
from ostler.solver.alternation import _challenger, _shorter, alternating
from ostler.solver.messages import Request

INSTANCE = random_instance(3, 44, 2)
START = msgspec.structs.replace(dependency_first(INSTANCE), detail="as it comes")


def test_turns_make_a_poor_plan_shorter_and_say_so() -> None:
    """From a plan that swaps for every task; what comes of it can be carried out."""
    solved = alternating(Request(instance=INSTANCE, seconds=4, hint=START))

    assert solved.plan is not None
    assert check_plan(INSTANCE, solved.plan) == ()
    assert solved.plan.makespan_ms < START.makespan_ms
    assert solved.plan.detail.startswith("as it comes; then ")
    assert solved.plan.detail.endswith(" turns of solved parts and of search on episodes")


def test_turns_end_with_their_time() -> None:
    """A step that is under way may end; nothing new begins."""
    began = time.monotonic()
    solved = alternating(Request(instance=INSTANCE, seconds=1, hint=START))

    assert 1 <= solved.seconds <= time.monotonic() - began
    assert solved.seconds < 10


def test_without_time_the_start_comes_back() -> None:
    """No turn, no change, no proof, and no word of turns."""
    solved = alternating(Request(instance=INSTANCE, seconds=0, hint=START))

    assert solved.plan is not None
    assert (solved.plan.placements, solved.plan.detail) == (START.placements, START.detail)
    assert (solved.status, solved.plan.proven) == (Status.FEASIBLE, False)


@pytest.mark.parametrize("early_ms", [0, 1])
def test_the_bound_ends_all_turns_and_is_the_only_proof(early_ms: int) -> None:
    """A bound that the start meets needs no turn; one that it misses by a millisecond is no proof of it."""
    bound_ms = START.makespan_ms - early_ms
    solved = alternating(Request(instance=INSTANCE, seconds=0.2, hint=START, bound_ms=bound_ms))

    assert solved.plan is not None
    assert (solved.plan.placements == START.placements) or early_ms
    assert (solved.status is Status.PROVEN) == (solved.plan.makespan_ms <= bound_ms)


def test_tasks_that_take_memory_themselves_are_left_to_the_solver() -> None:
    """The search on episodes knows one model at a time; the turns of parts go on without it."""
    first = INSTANCE.tasks[0]
    heavy = tuple(msgspec.structs.replace(choice, memory_bytes=1) for choice in first.choices)
    instance = msgspec.structs.replace(
        INSTANCE, tasks=(msgspec.structs.replace(first, choices=heavy), *INSTANCE.tasks[1:])
    )
    start = dependency_first(instance)
    solved = alternating(Request(instance=instance, seconds=1, hint=start, bound_ms=certify(instance).bound_ms))

    assert solved.plan is not None
    assert check_plan(instance, solved.plan) == ()
    assert solved.plan.makespan_ms <= start.makespan_ms


def test_a_challenger_wins_only_if_it_is_shorter() -> None:
    """Of equal plans the known one stays; any plan is better than none."""
    longer = msgspec.structs.replace(
        START, placements=tuple(msgspec.structs.replace(one, end_ms=one.end_ms + 1) for one in START.placements)
    )
    known, late, none = (Solved(status=Status.FEASIBLE, plan=plan) for plan in (START, longer, None))
    equal = msgspec.structs.replace(known, seconds=9)

    assert _shorter(known, equal) is known
    assert _shorter(known, late) is known
    assert _shorter(late, known) is known
    assert _shorter(none, late) is late
    assert _shorter(late, none) is late


def test_where_nothing_is_found_from_nothing_the_known_plan_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that gives up is no reason to lose a plan."""

    def gives_up(*_arguments: object) -> None:
        raise InvalidInputError("no way was found", where="plan", remedy="add memory")

    monkeypatch.setattr("ostler.solver.alternation.make_plan", gives_up)

    assert _challenger(Request(instance=INSTANCE, seconds=1), START, 0.1, Random(1)) is START
