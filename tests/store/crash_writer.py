"""A program that writes lives of tasks as fast as it can and says what was acknowledged, until it is killed.

Started by `test_crash` with the path of a database and a first sequence number. One line on standard output for each
acknowledged step: the task's id and how many of its events are durable, at last the id of a call of the gateway. A
line may be missing, none may be wrong.
"""

import asyncio
import os
import sys

import msgspec

from ostler.domain.commands import Applied, PutCalls, SubmitTasks
from ostler.domain.states import TaskState
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import make_attempt, make_call, make_call_decision, make_new, make_update

CALLERS = 8
STEPS = (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.EVALUATING, TaskState.SUCCEEDED)


async def live(store: SqliteStore, seq: int) -> None:
    """One task from submit to success."""
    task_id = f"t{seq}"
    new = make_new(task_id, seq)
    (answer,) = await store.apply([SubmitTasks(tasks=(new,))])
    assert isinstance(answer, Applied), answer
    say(task_id, 1)
    task = new.task
    for done, state in enumerate(STEPS, 2):
        command = make_update(task, state)
        if state is TaskState.ASSIGNED:
            command = msgspec.structs.replace(command, attempt=make_attempt(task_id))
        (answer,) = await store.apply([command])
        assert isinstance(answer, Applied), answer
        say(task_id, done)
        task = command.task
    call_id = f"c-{task_id}"
    (answer,) = await store.apply([PutCalls(records=(make_call(call_id),), decisions=(make_call_decision(),))])
    assert isinstance(answer, Applied), answer
    say(call_id, 0)


def say(task_id: str, events: int) -> None:
    """Unbuffered, so that a kill loses no line that was said."""
    os.write(sys.stdout.fileno(), f"{task_id} {events}\n".encode())


async def main(path: str, first_seq: int) -> None:
    """Live for ever."""
    store = await SqliteStore.open(path)
    numbers = iter(range(first_seq, first_seq + 1_000_000))

    async def caller() -> None:
        for seq in numbers:
            await live(store, seq)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
