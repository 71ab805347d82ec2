"""Which commands are refused, and why: pure rules that every store shares.

A guard compares a command with the row as it is at that point of the batch. It never reads and never writes, so the
same rules hold in memory and inside a database transaction. `schema` repeats the rules about rows as CHECK
constraints: a row that passes `row_problem` and `may_move` is one that the database takes.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from ostler.domain.commands import NewTask, PutKey, PutToken, RefusalReason, UpdateTask
from ostler.domain.live import GatewayKey
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState, may_move
from ostler.domain.tasks import Task

FIRST_STATES = frozenset({TaskState.SCHEDULED, TaskState.QUEUED})
"""States in which a task begins; every other one is reached through the table of transitions."""

Problem = tuple[RefusalReason, str]


class CurrentRow(Protocol):
    """What a guard must know of the row as it is. A `Task` is one."""

    @property
    def seq(self) -> int:
        """Order of arrival."""
        ...

    @property
    def state(self) -> TaskState:
        """Where it is."""
        ...

    @property
    def generation(self) -> int:
        """Number of its newest attempt."""
        ...


def row_problem(task: Task) -> str | None:
    """What is wrong with a row by itself: wait, end and lease belong to their states and to no other."""
    state = task.state
    if (state is TaskState.QUEUED) is (task.wait is None):
        return f"task {task.id}: {state} " + ("needs a wait reason" if task.wait is None else "allows no wait reason")
    if (state in FINAL_STATES) is (task.finished_ms is None):
        return f"task {task.id}: {state} " + ("needs finished_ms" if task.finished_ms is None else "has not finished")
    if (state in LEASED_STATES) is (task.session is None):
        return f"task {task.id}: {state} " + ("needs a session" if task.session is None else "allows no session")
    return None


def submit_problem(new: NewTask, *, seq_is_taken: bool) -> Problem | None:
    """Why a task that is not stored yet cannot begin like this."""
    task = new.task
    problem = row_problem(task)
    if new.spec.id != task.id:
        problem = f"task {task.id} came with the spec of {new.spec.id}"
    elif task.state not in FIRST_STATES or task.prev_state is not None:
        problem = f"task {task.id} cannot begin as {task.state}; it begins as queued or scheduled, with no state before"
    elif task.generation != 0:
        problem = f"task {task.id} cannot begin at generation {task.generation}; nothing has run yet"
    if problem is None and seq_is_taken:
        return RefusalReason.CONFLICT, f"task {task.id} came with sequence number {task.seq}, which another task has"
    return (RefusalReason.ILLEGAL, problem) if problem else None


def update_problem(command: UpdateTask, current: CurrentRow) -> Problem | None:
    """Why a transition is refused: the first of these that holds.

    1. another generation, 2. another state, 3. no such transition, 4. the new row is not a legal successor.
    """
    task = command.task
    if current.generation != command.expect_generation:  # 1
        return RefusalReason.STALE_GENERATION, (
            f"task {task.id} is at generation {current.generation}, not {command.expect_generation}"
        )
    if current.state not in command.expect_states:  # 2
        expected = " or ".join(command.expect_states) or "no state"
        return RefusalReason.WRONG_STATE, f"task {task.id} is {current.state}, not {expected}"
    if not may_move(current.state, task.state):  # 3
        return RefusalReason.ILLEGAL, f"task {task.id}: {current.state} -> {task.state} is no legal transition"
    problem = _successor_problem(command, current)  # 4
    return (RefusalReason.ILLEGAL, problem) if problem else None


def is_repeated(command: UpdateTask, problem: Problem, row: Task | None) -> bool:
    """Whether an update comes too late because it is there already, word for word: whoever asks has not heard of its
    commit, and is answered as if this were it. The store itself says what the state before was.
    """
    if problem[0] not in {RefusalReason.STALE_GENERATION, RefusalReason.WRONG_STATE}:
        return False
    return row is not None and msgspec.structs.replace(row, prev_state=command.task.prev_state) == command.task


def _successor_problem(command: UpdateTask, current: CurrentRow) -> str | None:
    task, attempt = command.task, command.attempt
    if task.seq != current.seq:
        return f"task {task.id}: its sequence number is {current.seq} for good, not {task.seq}"
    if task.generation < current.generation:
        return f"task {task.id}: its generation never falls, from {current.generation} to {task.generation}"
    if attempt is not None and (attempt.task_id != task.id or attempt.generation > task.generation):
        return (
            f"task {task.id} at generation {task.generation} came with"
            f" attempt {attempt.generation} of task {attempt.task_id}"
        )
    return row_problem(task)


class TokenFields(Protocol):
    """What a stored token says; `PutToken` has the same fields."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def token_hash(self) -> str:
        """What is known of the secret."""
        ...

    @property
    def scope(self) -> str:
        """What it allows."""
        ...


def token_problem(command: PutToken, tokens: Iterable[TokenFields]) -> Problem | None:
    """Why a token cannot be stored: a name means one token and a token has one name. The same again is no problem."""
    for token in tokens:
        same_hash = token.token_hash == command.token_hash
        if token.name == command.name and not (same_hash and token.scope == command.scope):
            return RefusalReason.CONFLICT, f"a token named {command.name} exists; revoke it first"
        if token.name != command.name and same_hash:
            return RefusalReason.CONFLICT, f"this token is stored under the name {token.name}"
    return None


def key_problem(command: PutKey, keys: Mapping[str, GatewayKey]) -> Problem | None:
    """Why a key cannot be stored: a name means one key for good, and a key has one name. The same again is no problem.

    A name is not free again after its key was revoked: calls are on record under it, and a limit that was reached must
    not be lifted by a new key of the name.
    """
    name, key_hash = command.key.name, command.key.key_hash
    known = keys.get(name)
    if known is not None and known.key_hash != key_hash:
        state = "existed and was revoked" if known.revoked_ms is not None else "exists"
        return RefusalReason.CONFLICT, f"a key named {name} {state}; the records of its calls keep the name"
    for key in keys.values():
        if key.name != name and key.key_hash == key_hash:
            return RefusalReason.CONFLICT, f"this key is stored under the name {key.name}"
    return None
