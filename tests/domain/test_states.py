"""The table of transitions: nobody gets stuck, nobody leaves an end but by hand, and the documents say the same."""

from itertools import pairwise

import msgspec
import pytest

from ostler.domain import states
from ostler.domain.states import (
    FINAL_STATES,
    LEASED_STATES,
    TRANSITIONS,
    FailureClass,
    TaskState,
    WaitCode,
    may_move,
)

S = TaskState
OPEN = [state for state in TaskState if state not in FINAL_STATES]


def reachable(start: TaskState, without: frozenset[TaskState] = frozenset()) -> set[TaskState]:
    """All states that a task can come to from `start`, not passing through `without`."""
    seen, todo = set[TaskState](), [start]
    while todo:
        for state in TRANSITIONS[todo.pop()] - seen - without:
            seen.add(state)
            todo.append(state)
    return seen


def test_the_table_has_a_line_for_every_state_and_may_move_is_that_table() -> None:
    """All pairs."""
    assert set(TRANSITIONS) == set(TaskState)
    for one in TaskState:
        for other in TaskState:
            assert may_move(one, other) is (other in TRANSITIONS[one])


@pytest.mark.parametrize("state", OPEN)
def test_every_open_state_can_come_to_success_and_to_a_cancellation(state: TaskState) -> None:
    """Nothing is a trap."""
    assert {S.SUCCEEDED, S.CANCELLED} <= reachable(state)


@pytest.mark.parametrize("state", OPEN)
def test_every_open_state_can_be_ended_at_once(state: TaskState) -> None:
    """By a person: cancelled, without anything in between."""
    assert may_move(state, S.CANCELLED)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_an_end_is_left_by_hand_alone_and_success_never(state: TaskState) -> None:
    """Back to the queue, nowhere else."""
    assert TRANSITIONS[state] == (frozenset() if state is S.SUCCEEDED else {S.QUEUED})


def test_success_follows_judgement_only() -> None:
    """A worker's word alone is no success."""
    assert {state for state in TaskState if may_move(state, S.SUCCEEDED)} == {S.EVALUATING}


def test_a_lease_begins_in_the_queue_and_runs_forward() -> None:
    """Only queued work is assigned; a lease never starts again without the queue."""
    assert {state for state in TaskState if may_move(state, S.ASSIGNED)} == {S.QUEUED}
    assert {state for state in TaskState if may_move(state, S.RUNNING)} == {S.ASSIGNED}
    assert {state for state in TaskState if may_move(state, S.EVALUATING)} == {S.ASSIGNED, S.RUNNING}
    for state in LEASED_STATES:
        assert S.ASSIGNED not in reachable(state, without=frozenset({S.QUEUED}))


def test_only_waiting_changes_without_a_change_of_state() -> None:
    """A new reason in the queue is worth storing; anything else that repeats itself is a mistake."""
    assert {state for state in TaskState if may_move(state, state)} == {S.QUEUED}


def test_time_to_live_ends_only_what_waits() -> None:
    """Work that was started is not thrown away for having waited."""
    assert {state for state in TaskState if may_move(state, S.EXPIRED)} == {S.SCHEDULED, S.QUEUED, S.RETRY_WAIT}


def test_the_picture_in_the_module_shows_no_move_that_the_table_forbids() -> None:
    """The first line of the drawing, from left to right."""
    line = next(line for line in (states.__doc__ or "").splitlines() if "scheduled ->" in line)
    names = [TaskState(word) for word in line.replace("->", " ").split()]

    assert names == [S.SCHEDULED, S.QUEUED, S.ASSIGNED, S.RUNNING, S.EVALUATING, S.SUCCEEDED]
    assert all(may_move(one, other) for one, other in pairwise(names))


def test_final_and_leased_states_are_disjoint() -> None:
    """Whoever has ended holds nothing."""
    assert not FINAL_STATES & LEASED_STATES
    assert len(FINAL_STATES) == 5


@pytest.mark.parametrize("names", [TaskState, WaitCode, FailureClass])
def test_names_are_stable_words(names: type[TaskState | WaitCode | FailureClass]) -> None:
    """They are stored and sent: lower case, like their members, and readable back."""
    for member in names:
        assert member.value == member.value.lower()
        assert member.value.replace("_", "").isalpha()
        assert msgspec.json.decode(msgspec.json.encode(member), type=names) is member
