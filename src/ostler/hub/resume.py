"""Taking a run up again: what is done stays done, what ended badly is sent back, what has changed is refused.

Nothing here remembers that a run is being taken up. Each step is durable by itself and leaves what is done alone, so a
resume that was cut off in the middle is made whole by asking once more.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.errors import ConflictError
from ostler.domain.ports import Store
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.planning.pipeline import depths

SHOWN = 5
"""So many changed tasks are named; the others are counted."""


async def changed_fields(store: Store, specs: Sequence[TaskSpec]) -> dict[str, tuple[str, ...]]:
    """Tasks that are stored with another content, each with the fields that differ."""
    stored = await store.specs([spec.id for spec in specs])
    found = ((spec.id, differing(stored[spec.id], spec)) for spec in specs if spec.id in stored)
    return {task_id: fields for task_id, fields in found if fields}


def differing(one: TaskSpec, other: TaskSpec) -> tuple[str, ...]:
    """Names of the fields in which two tasks differ."""
    names = (field.name for field in msgspec.structs.fields(TaskSpec))
    return tuple(name for name in names if getattr(one, name) != getattr(other, name))


def refuse_changed(changed: Mapping[str, tuple[str, ...]]) -> None:
    """Raise `ConflictError` that names changed tasks and what changed in them, if there are any."""
    if not changed:
        return
    named = [f"{task_id} ({', '.join(fields)})" for task_id, fields in list(changed.items())[:SHOWN]]
    more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    raise ConflictError(
        f"handed in before with another content: {', '.join(named)}{more}",
        where="tasks.id",
        remedy="put these fields back, or use another id",
    )


def ended_badly(rows: Mapping[str, Task], specs: Sequence[TaskSpec]) -> list[Task]:
    """What is sent back, in an order in which every task comes after those that it needs."""
    depth = depths({spec.id: spec.needs for spec in specs})
    bad = [row for row in rows.values() if _is_bad(row.state)]
    return sorted(bad, key=lambda row: (depth.get(row.id, 0), row.seq))


def _is_bad(state: TaskState) -> bool:
    return state is TaskState.NEEDS_HUMAN or (state in FINAL_STATES and state is not TaskState.SUCCEEDED)
