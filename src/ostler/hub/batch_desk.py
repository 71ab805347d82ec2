"""Batches: tasks that belong together, as figures, and verbs for all of them at once.

A batch is over when its last task has ended. Whatever has a batch is one: tasks that were gathered, a run of a file.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ostler.budget.windows import LATEST_MS
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.ledger import Span, Spent
from ostler.domain.limits import ScopeKind
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import Task
from ostler.hub.batch_views import BatchAnswer, BatchList, BatchRow, BatchWish
from ostler.hub.pump import Pump
from ostler.hub.waiting import wait_groups
from ostler.scheduling.open_tasks import OpenTasks
from ostler.scheduling.signals import Cancel, Gather, Pause, Resume

PAGE = 1000
NEWEST_LOOKED_AT = 1000
"""Tasks that have ended, looked at for batches that are over."""
_ENDED = tuple(sorted(FINAL_STATES))

_Make = Callable[[Task], Cancel | Pause | Resume]


class BatchDesk:
    """Batches for people."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store

    async def make(self, name: str, wish: BatchWish) -> BatchRow:
        """Put tasks into a batch and start it, or change how many of it run at once. All or none."""
        known = list(self._open().in_batch(name).values())
        if not wish.tasks and not known:
            remedy = "name its tasks; 'ostler add' makes some"
            raise InvalidInputError(f"batch {name} has no open tasks", where="tasks", remedy=remedy)
        limit = wish.concurrency
        if limit is None and known:
            limit = known[0].facts.batch_limit
        await self._pump.post(Gather(batch=name, task_ids=wish.tasks, limit=limit))
        return await self._row(name, await self._tasks(name))

    async def rows(self) -> BatchList:
        """All batches with open tasks, and those that were over lately."""
        newest = await self._store.tasks(TaskQuery(limit=NEWEST_LOOKED_AT))
        names = dict.fromkeys(task.batch for task in newest if task.batch is not None)
        names |= dict.fromkeys(self._open().batches())
        known = {name: dict(self._open().in_batch(name)) for name in names}
        if not self._pump.committer.failing:
            await self._pump.apply([])  # what has ended before that look has ended in the store from here on
        # All at once: one after the other, each would wait for a turn of a busy hub of its own.
        found = await asyncio.gather(*(self._members(name, rows) for name, rows in known.items()))
        spent = await self._store.spent([_span(name) for name in names])
        rows = [_row(name, tasks, of) for name, tasks, of in zip(names, found, spent, strict=True)]
        rows.sort(key=lambda row: (-row.created_ms, row.name))
        return BatchList(batches=tuple(rows), now_ms=self._pump.clock.now_ms())

    async def show(self, name: str) -> BatchAnswer:
        """One batch with its tasks."""
        tasks = await self._tasks(name)
        books = self._pump.scheduler.books
        return BatchAnswer(
            row=await self._row(name, tasks),
            tasks=tuple(sorted(tasks, key=lambda task: task.seq)),
            waiting=wait_groups(books, [task for task in tasks if task.id in books.tasks]),
            now_ms=self._pump.clock.now_ms(),
        )

    async def pause(self, name: str) -> BatchRow:
        """Keep what has not started from starting; what runs goes on."""
        return await self._each(name, lambda task: Pause(task_id=task.id))

    async def resume(self, name: str) -> BatchRow:
        """Let it go on."""
        return await self._each(name, lambda task: Resume(task_id=task.id), last_first=False)

    async def cancel(self, name: str, reason: str = "") -> BatchRow:
        """Cancel what has not ended; what runs is being stopped when this returns."""
        return await self._each(name, lambda task: Cancel(task_id=task.id, reason=reason or f"batch {name} cancelled"))

    async def _each(self, name: str, signal: _Make, *, last_first: bool = True) -> BatchRow:
        tasks = [task for task in await self._tasks(name) if task.id in self._open()]
        if not tasks:
            what = f"batch {name} is over"
            raise ConflictError(what, remedy="'ostler tasks retry ID' sends a task of it back to the queue")
        # The last ones first: nothing of the batch starts, or ends for a need, while it is being stopped.
        for task in sorted(tasks, key=lambda task: task.seq, reverse=last_first):
            if task.id in self._open():
                await self._pump.post(signal(task))
        return await self._row(name, await self._tasks(name))

    def _open(self) -> OpenTasks:
        return self._pump.scheduler.books.tasks

    async def _members(self, name: str, rows: Mapping[str, Task]) -> list[Task]:
        """All tasks of a batch, for its figures: the open ones are at hand, and only the others are read. `rows`: those
        that were open a moment ago.
        """
        ended = await self._stored(TaskQuery(batch=name, states=_ENDED, limit=PAGE))
        return list({**rows, **{task.id: task for task in ended}, **self._open().in_batch(name)}.values())

    async def _stored(self, query: TaskQuery) -> list[Task]:
        """All rows that match, page by page."""
        found: list[Task] = []
        while page := await self._store.tasks(query):
            found += page
            query = msgspec.structs.replace(query, before_seq=page[-1].seq)
            if len(page) < PAGE:
                break
        return found

    async def _tasks(self, name: str) -> list[Task]:
        found = await self._stored(TaskQuery(batch=name, limit=PAGE))
        if not found:
            raise NotFoundError(f"there is no batch {name}", remedy="'ostler batch --list' shows what there is")
        live = self._open()
        return [live.get(task.id, task) for task in found]

    async def _row(self, name: str, tasks: Sequence[Task]) -> BatchRow:
        (spent,) = await self._store.spent([_span(name)])
        return _row(name, tasks, spent)


def _span(name: str) -> Span:
    return Span(scope=ScopeKind.BATCH, value=name, start_ms=0, end_ms=LATEST_MS)


def _row(name: str, tasks: Sequence[Task], spent: Spent) -> BatchRow:
    still_open = [task for task in tasks if task.state not in FINAL_STATES]
    ends = [task.finished_ms for task in tasks if task.finished_ms is not None]
    limits = {task.facts.batch_limit for task in still_open or tasks}
    return BatchRow(
        name=name,
        total=len(tasks),
        counts=dict(sorted(Counter(task.state.value for task in tasks).items())),
        concurrency=min((limit for limit in limits if limit is not None), default=None),
        paused=sum(task.paused for task in still_open),
        created_ms=min(task.created_ms for task in tasks),
        finished_ms=None if still_open else max(ends),
        cost_micro_usd=spent.used.micro_usd,
    )
