"""Rows of open tasks beside their states: whatever changes, both say the same."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState
from ostler.domain.tasks import Classification, Complexity, Task, TaskFacts, TaskKind
from ostler.scheduling.open_tasks import OpenTasks

OPEN = sorted(set(TaskState) - FINAL_STATES)
FOUND = Classification(
    complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="general", source="heuristic"
)


def task(name: str, state: TaskState = TaskState.QUEUED, *, paused: bool = False, batch: str | None = None) -> Task:
    facts = TaskFacts(id=name, kind=TaskKind.COMMAND, classification=FOUND, batch=batch)
    return Task(id=name, seq=1, facts=facts, state=state, created_ms=0, updated_ms=0, paused=paused, batch=batch)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.one_of(st.none(), st.tuples(st.sampled_from(OPEN), st.booleans(), st.sampled_from([None, "r", "s"]))),
    ),
    max_size=40,
)


@given(CHANGES)
def test_each_row_is_under_its_state_and_batch_and_no_other(
    changes: list[tuple[str, tuple[TaskState, bool, str | None] | None]],
) -> None:
    """After rows came, moved, were gathered, paused, resumed and left, in whatever order; and each change is told."""
    seen, told = OpenTasks(), list[str]()
    seen.watcher = told.append
    for name, change in changes:
        told.clear()
        was_there = name in seen
        if change is None:
            seen.drop(name)
        else:
            seen[name] = task(name, change[0], paused=change[1], batch=change[2])
        assert told == ([name] if was_there or change is not None else [])

        by_hand = {state: {one.id: one for one in seen.values() if one.state is state} for state in OPEN}
        assert {state: dict(seen.in_state(state)) for state in OPEN} == by_hand
        assert seen.counts() == {state: len(there) for state, there in by_hand.items() if there}
        assert set(seen.paused) == {one.id for one in seen.values() if one.paused}
        assert sum(seen.counts().values()) == len(seen)
        for batch in "rs":
            fellows = {one.id: one for one in seen.values() if one.batch == batch}
            assert dict(seen.in_batch(batch)) == fellows
            assert (batch in seen.batches()) is bool(fellows)
        assert OpenTasks(seen.values()) == seen


def test_a_walk_goes_state_by_state_in_the_order_in_which_they_came() -> None:
    """The same for the same history; a row that is written again in its state keeps its place."""
    seen = OpenTasks()
    for name, state in (("c", TaskState.RUNNING), ("a", TaskState.ASSIGNED), ("b", TaskState.RUNNING)):
        seen[name] = task(name, state)
    seen["c"] = msgspec.structs.replace(seen["c"], updated_ms=5)

    assert [one.id for one in seen.in_any(sorted(LEASED_STATES))] == ["a", "c", "b"]
    assert seen.in_state(TaskState.RUNNING)["c"].updated_ms == 5


def test_what_is_not_there_is_no_error_to_drop_and_one_to_delete() -> None:
    """As of a dictionary; a state in which nothing is, is empty."""
    seen = OpenTasks()
    seen.drop("a")
    with pytest.raises(KeyError):
        del seen["a"]
    assert dict(seen.in_state(TaskState.QUEUED)) == {}
    assert seen.counts() == {}
