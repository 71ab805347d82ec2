"""The in-box of late results: what workers reported of attempts that had been given up. Kept, shown, adopted by hand.

A report whose first delivery was taken in and only not answered is no late one; it is left out, by its instant.
"""

from collections.abc import Awaitable, Callable, Iterator

import msgspec

from ostler.domain.errors import NotFoundError
from ostler.domain.ports import Store, TaskDetail
from ostler.domain.states import LEASED_STATES, TaskState
from ostler.domain.tasks import Attempt, Task
from ostler.domain.work import Finished, Report
from ostler.hub.late_views import LateAnswer, LateList, LateRow, LateStanding
from ostler.hub.pump import Pump
from ostler.scheduling.signals import AdoptLate

LISTED_MAX = 200
_DECODER = msgspec.json.Decoder(Report)


class LateDesk:
    """Late results for people. `bring_back` sends a task that ended because of another one to the queue again."""

    def __init__(
        self,
        pump: Pump,
        store: Store,
        fell_with: Callable[[Task], Awaitable[list[str]]],
        bring_back: Callable[[str], Awaitable[Task]],
    ) -> None:
        self._pump = pump
        self._store = store
        self._fell_with = fell_with
        self._bring_back = bring_back

    async def rows(self) -> LateList:
        """The newest late results. O(answer), a look at the task of each."""
        ends = [end for body in await self._store.late_reports(LISTED_MAX) if (end := _end(body)) is not None]
        details = {name: await self._store.task(name) for name in dict.fromkeys(end.task_id for end in ends)}
        rows = [
            self._row(detail, end)
            for end in ends
            if (detail := details[end.task_id]) is not None and not _was_taken(detail, end)
        ]
        return LateList(late=tuple(dict.fromkeys(rows)), now_ms=self._pump.clock.now_ms())

    async def show(self, task_id: str, generation: int) -> LateAnswer:
        """One with its output."""
        detail, end = await self._find(task_id, generation)
        return LateAnswer(row=self._row(detail, end), output=end.output, now_ms=self._pump.clock.now_ms())

    async def adopt(self, task_id: str, generation: int) -> Task:
        """Take it for the result of its task, and bring back what ended because that one had."""
        detail, end = await self._find(task_id, generation)
        task = self._pump.scheduler.books.tasks.get(task_id, detail.task)
        record = _record(detail, generation)
        await self._pump.post(AdoptLate(task=task, attempt=record, report=end))
        for other in await self._fell_with(task):
            await self._bring_back(other)
        return (await self._detail(task_id)).task

    async def _find(self, task_id: str, generation: int) -> tuple[TaskDetail, Finished]:
        detail = await self._detail(task_id)
        ends = [end for end in _ends(detail) if end.generation == generation]
        if not ends:
            what = f"there is no late report of attempt {generation} of task {task_id}"
            raise NotFoundError(what, remedy="'ostler late list' shows what there is")
        return detail, max(ends, key=lambda end: (end.ok, end.at_ms))

    async def _detail(self, task_id: str) -> TaskDetail:
        detail = await self._store.task(task_id)
        if detail is None:
            raise NotFoundError(f"there is no task {task_id}", remedy="'ostler late list' shows what there is")
        return detail

    def _row(self, detail: TaskDetail, end: Finished) -> LateRow:
        task = self._pump.scheduler.books.tasks.get(end.task_id, detail.task)
        record = _record(detail, end.generation)
        return LateRow(
            task_id=end.task_id,
            title=task.title,
            generation=end.generation,
            at_ms=end.at_ms,
            worker=record.worker,
            model=record.model,
            ok=end.ok,
            outcome=end.outcome,
            failure=end.failure,
            exit_code=end.exit_code,
            output_bytes=end.output_bytes,
            state=task.state,
            standing=_standing(task, detail, end),
        )


def _end(body: bytes) -> Finished | None:
    report = _DECODER.decode(body)
    return report if isinstance(report, Finished) else None


def _ends(detail: TaskDetail) -> Iterator[Finished]:
    for body in detail.late_reports:
        end = _end(body)
        if end is not None and not _was_taken(detail, end):
            yield end


def _was_taken(detail: TaskDetail, end: Finished) -> bool:
    """Whether it is the very report by which its attempt ended: told twice, because the first answer was lost."""
    record = _record(detail, end.generation)
    return record.finished_ms == end.at_ms and record.ok is end.ok


def _record(detail: TaskDetail, generation: int) -> Attempt:
    """The record of an attempt; a bare one when it has none (it was never written: the hub was killed before)."""
    known = next((attempt for attempt in detail.attempts if attempt.generation == generation), None)
    if known is not None:
        return known
    return Attempt(
        task_id=detail.task.id,
        generation=generation,
        session="",
        worker="",
        tier=detail.task.tier or "",
        assigned_ms=detail.task.created_ms,
    )


def _standing(task: Task, detail: TaskDetail, end: Finished) -> LateStanding:
    if not end.ok:
        return LateStanding.FAILED
    if any(attempt.adopted == end.generation for attempt in detail.attempts):
        return LateStanding.ADOPTED
    if task.state is TaskState.SUCCEEDED:
        return LateStanding.SETTLED
    return LateStanding.RUNNING if task.state in LEASED_STATES else LateStanding.OPEN
