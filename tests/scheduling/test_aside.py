"""Queued tasks that are not in the queue: what is counted of them is what a walk finds, whenever somebody asks."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.scheduling import aside
from ostler.scheduling.aside import Aside
from ostler.scheduling.open_tasks import OpenTasks
from ostler.scheduling.queue import WaitingQueue
from tests.scheduling.test_open_tasks import task

WAITS = [Wait(code=code, since_ms=since) for code in (WaitCode.DEPS, WaitCode.PAUSED) for since in (1, 2)]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.one_of(
            st.sampled_from(["push", "remove", "end", "run", "ask"]),
            st.sampled_from(WAITS),
        ),
    ),
    max_size=60,
)


@given(st.integers(0, 7), CHANGES)
def test_what_is_counted_is_what_a_walk_finds(kept: int, changes: list[tuple[str, str | Wait]]) -> None:
    """Rows that change, come into the queue, leave it and end, in any order; however many changes are kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aside, "NOTED_MIN", kept)
        tasks, queue = OpenTasks(), WaitingQueue()
        found = Aside(tasks, queue)
        for name, change in [*changes, ("a", "ask")]:
            match change:
                case Wait():
                    tasks[name] = replace(task(name), wait=change)
                case "run":
                    tasks[name] = task(name, TaskState.RUNNING)
                case "end":
                    tasks.drop(name)
                case "push" if name not in queue:
                    queue.push(name, "k", 1, 1)
                case "remove":
                    queue.remove(name)
                case "ask":
                    assert {group.wait.code: group.number for group in found.groups()} == walked(tasks, queue)
            assert len(found._noted) <= max(kept, len(tasks)) + 1


def walked(tasks: OpenTasks, queue: WaitingQueue) -> Counter[WaitCode]:
    return Counter(
        one.wait.code
        for one in tasks.values()
        if one.state is TaskState.QUEUED and one.wait is not None and one.id not in queue
    )


def test_changes_of_tasks_that_are_gone_are_not_kept_for_ever() -> None:
    """A hub that nobody looks at for a year holds no more than what is open, and a few."""
    tasks, queue = OpenTasks(), WaitingQueue()
    found = Aside(tasks, queue)
    for number in range(3 * aside.NOTED_MIN):
        tasks[f"t{number}"] = task(f"t{number}")
        tasks.drop(f"t{number}")

    assert len(found._noted) <= aside.NOTED_MIN
