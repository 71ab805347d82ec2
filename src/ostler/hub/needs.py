"""Needs on tasks that ended before: whether they are met, and how long their results are."""

from collections.abc import Mapping, Sequence

from ostler.domain.ports import Store
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.hub.pump import Pump
from ostler.scheduling.intake import Settled, need_is_met


async def settled_needs(store: Store, known: Mapping[str, TaskState]) -> Settled:
    """Of those of the needed tasks that ended; open ones are left out."""
    ended = [task_id for task_id, state in known.items() if state in FINAL_STATES]
    rows = await store.rows(ended) if ended else {}
    return Settled(
        met={name: name in rows and need_is_met(known[name], optional=rows[name].optional) for name in ended},
        lengths={name: row.output_tokens for name, row in rows.items() if row.state is TaskState.SUCCEEDED},
    )


async def settled_now(pump: Pump, store: Store, needs: Sequence[str], before: Settled) -> Settled:
    """As `settled_needs`, for every need that the actor does not hold (any more); `before` is an earlier look.

    A task may end while another is being stored. Nothing is awaited after the last look at the actor's books, so the
    answer holds for a signal that is handed over at once.
    """
    met: dict[str, bool] = {need: True for need, is_met in before.met.items() if is_met}
    lengths = dict(before.lengths)
    open_tasks = pump.scheduler.books.tasks
    while gone := [need for need in needs if need not in open_tasks and need not in met]:
        await pump.apply([])  # from here on the store knows how they ended
        ended = await settled_needs(store, await store.states(gone))
        met |= {need: ended.met.get(need, False) for need in gone}
        lengths |= ended.lengths
    return Settled(met=met, lengths=lengths)


async def lost_sight_of(pump: Pump, store: Store, ids: Sequence[str]) -> tuple[Task, ...]:
    """Those of `ids` that are durable and open although the actor does not hold them, in the order of their arrival:
    they were committed, and whoever waited for that was told that it failed.
    """
    missing = [task_id for task_id in ids if task_id not in pump.scheduler.books.tasks]
    if not missing:
        return ()
    await pump.apply([])  # what the actor let go of because it ended has ended in the store from here on
    rows = await store.rows(missing)
    found = (row for row in rows.values() if row.state not in FINAL_STATES and row.state not in LEASED_STATES)
    return tuple(sorted(found, key=lambda row: row.seq))
