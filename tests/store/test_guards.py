"""The rules about rows agree with the domain's invariants, over every combination."""

import itertools

import msgspec
import pytest

from ostler.domain.commands import RefusalReason, UpdateTask
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState, may_move
from ostler.store.guards import FIRST_STATES, row_problem, submit_problem, update_problem
from tests.store.rows_made import NOW_MS, READY, make_new, make_task, make_update


@pytest.mark.parametrize("state", list(TaskState))
def test_a_row_is_right_in_exactly_one_shape(state: TaskState) -> None:
    """Of the eight ways to set or leave out wait, end and session, each state allows one."""
    allowed = []
    for wait, finished_ms, session in itertools.product((None, READY), (None, NOW_MS), (None, "s1")):
        task = make_task(state=state, wait=wait, finished_ms=finished_ms, session=session)
        if row_problem(task) is None:
            allowed.append((wait is not None, finished_ms is not None, session is not None))

    assert allowed == [(state is TaskState.QUEUED, state in FINAL_STATES, state in LEASED_STATES)]


def test_every_state_can_be_reached_from_a_first_one() -> None:
    """The states in which a task may begin are enough to get to all the others."""
    reached = set(FIRST_STATES)
    while more := {state for state in TaskState for origin in reached if may_move(origin, state)} - reached:
        reached |= more

    assert reached == set(TaskState)


@pytest.mark.parametrize("state", list(TaskState))
def test_a_task_begins_in_a_first_state_alone(state: TaskState) -> None:
    """Any other state is refused for a new task even when its row is consistent."""
    problem = submit_problem(make_new(state=state), seq_is_taken=False)

    assert (problem is None) == (state in FIRST_STATES)


def test_a_taken_number_is_a_conflict_of_a_good_task_only() -> None:
    """A task that could never be stored is told that first."""
    good, bad = make_new(), make_new(state=TaskState.RUNNING)

    found = [submit_problem(new, seq_is_taken=True) for new in (good, bad)]

    assert [problem[0] for problem in found if problem] == [RefusalReason.CONFLICT, RefusalReason.ILLEGAL]


def test_the_checks_come_in_their_order() -> None:
    """Generation, then state, then transition, then row: each message is about the first thing that is wrong."""
    current = make_task(state=TaskState.SUCCEEDED, generation=2)
    wrong = UpdateTask(
        task=msgspec.structs.replace(make_update(current, TaskState.RUNNING).task, session=None),
        expect_generation=1,
        expect_states=(TaskState.QUEUED,),
        events=(),
    )
    reasons = []
    for changes in (
        {},
        {"expect_generation": 2},
        {"expect_generation": 2, "expect_states": (TaskState.SUCCEEDED,)},
    ):
        problem = update_problem(msgspec.structs.replace(wrong, **changes), current)
        assert problem is not None
        reasons.append(problem[0])

    assert reasons == [RefusalReason.STALE_GENERATION, RefusalReason.WRONG_STATE, RefusalReason.ILLEGAL]
