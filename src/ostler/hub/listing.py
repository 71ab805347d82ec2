"""Rows of tasks by state, newest first: read off the store, which is what is durable.

The store has no index of open tasks by state, for each transition would write to it. A walk over them finds those of a
state that few are in only after all others. Which ones these are the scheduler knows: so their rows are asked for by
name. Cost: O(limit) where many are in the states, O(tasks in them) where few are.
"""

from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import Task
from ostler.scheduling.open_tasks import OpenTasks

FEW = 2_000
"""Tasks whose rows are asked for by name; of more a walk soon has as many as are wanted."""


async def listed(store: Store, open_tasks: OpenTasks, query: TaskQuery) -> list[Task]:
    """The rows that a query names. `open_tasks`: as the scheduler knows them at this moment."""
    if not query.states or query.batch is not None or query.after_seq is not None or set(query.states) & FINAL_STATES:
        return await store.tasks(query)
    wanted = frozenset(query.states)
    if sum(len(open_tasks.in_state(state)) for state in wanted) > FEW:
        return await store.tasks(query)
    below = query.before_seq
    names = [task.id for task in open_tasks.in_any(sorted(wanted)) if below is None or task.seq < below]
    rows = await store.rows(names) if names else {}
    # A step ahead of the store the scheduler may be: what is shown is what is stored.
    found = sorted((row for row in rows.values() if row.state in wanted), key=lambda row: row.seq, reverse=True)
    return found[: max(0, query.limit)]
