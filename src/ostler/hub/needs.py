"""Needs on tasks that ended before: whether they are met."""

from collections.abc import Mapping, Sequence

from ostler.domain.ports import Store
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.hub.pump import Pump
from ostler.scheduling.intake import need_is_met


async def settled_needs(store: Store, known: Mapping[str, TaskState]) -> dict[str, bool]:
    """For those of the needed tasks that ended: whether the need is met. Open ones are left out."""
    settled: dict[str, bool] = {}
    for task_id, state in known.items():
        if state is TaskState.SUCCEEDED:
            settled[task_id] = True
        elif state in FINAL_STATES:
            # Whether a bad end counts as met depends on the task being optional, which only its row says.
            detail = await store.task(task_id)
            settled[task_id] = detail is not None and need_is_met(state, optional=detail.task.optional)
    return settled


async def settled_now(pump: Pump, store: Store, needs: Sequence[str], before: Mapping[str, bool]) -> dict[str, bool]:
    """As `settled_needs`, for every need that the actor does not hold (any more); `before` is an earlier look.

    A task may end while another is being stored. Nothing is awaited after the last look at the actor's books, so the
    answer holds for a signal that is handed over at once.
    """
    settled: dict[str, bool] = {need: True for need, met in before.items() if met}
    open_tasks = pump.scheduler.books.tasks
    while gone := [need for need in needs if need not in open_tasks and need not in settled]:
        await pump.apply([])  # from here on the store knows how they ended
        ended = await settled_needs(store, await store.states(gone))
        settled |= {need: ended.get(need, False) for need in gone}
    return settled
