"""The pulse: one step of the engine on demand, and what there is to say about it.

A step is what the hub does by itself all the time (look at the workers, judge what ended, give out what can run, let go
of what is over), done now. It is safe to ask for at any time and as often as one likes.

Cost of a look: what runs, what needs a person and the reasons that work waits for; of a batch, its open tasks.
"""

from collections.abc import Iterable, Sequence

from ostler.domain.errors import NotFoundError
from ostler.domain.event import Event
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.hub.idle import binding, why_idle
from ostler.hub.pulse_views import Idle, PulsePerson, PulseReport, PulseRun, PulseWorker
from ostler.hub.pump import Pump
from ostler.hub.waiting import every_group, wait_groups
from ostler.scheduling.books import Books
from ostler.scheduling.open_tasks import OpenTasks
from ostler.scheduling.signals import Wake

EVENTS_READ = 5_000
_ENDED = frozenset(f"task.{state.value}" for state in FINAL_STATES)


class PulseDesk:
    """Looks at everything, and takes a step."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store

    async def why_idle(self, batch: str | None = None) -> Idle:
        """The binding constraint in one sentence."""
        return self._idle(await self._tasks(batch))

    async def look(self, batch: str | None = None) -> PulseReport:
        """What runs, waits, is stuck. Changes nothing."""
        return self._report(batch, await self._tasks(batch), ())

    async def step(self, batch: str | None = None) -> PulseReport:
        """Take a step, then look."""
        await self._tasks(batch)
        before = self._pump.last_seq
        await self._pump.post(Wake())
        return await self.since(before, batch)

    async def since(self, after_seq: int, batch: str | None = None) -> PulseReport:
        """Look; what it says was done is what was told after an event."""
        events = await self._store.events(after_seq=after_seq, limit=EVENTS_READ)
        if batch is not None:
            named = sorted({event.task_id for event in events if event.task_id is not None})
            rows = await self._store.rows(named)
            events = [event for event in events if (row := rows.get(event.task_id or "")) and row.batch == batch]
        return self._report(batch, await self._tasks(batch), events)

    @property
    def _books(self) -> Books:
        return self._pump.scheduler.books

    async def _tasks(self, batch: str | None) -> OpenTasks | None:
        """The open tasks of a batch; `None` = all there are. Raises `NotFoundError`."""
        if batch is None:
            return None
        found = OpenTasks(self._books.tasks.in_batch(batch).values())
        if not found and not await self._store.tasks(TaskQuery(batch=batch, limit=1)):
            raise NotFoundError(f"there is no batch {batch}", remedy="'ostler batch --list' shows what there is")
        return found

    def _idle(self, some: OpenTasks | None) -> Idle:
        books, failing = self._books, self._pump.committer.failing
        return why_idle(books, failing) if some is None else binding(books, some.values(), failing)

    def _report(self, batch: str | None, some: OpenTasks | None, events: Sequence[Event]) -> PulseReport:
        books = self._books
        tasks = books.tasks if some is None else some
        return PulseReport(
            now_ms=self._pump.clock.now_ms(),
            batch=batch,
            idle=self._idle(some),
            running=tuple(self._run(task) for task in _in_order(tasks.in_any(LEASED_STATES))),
            waiting=every_group(books) if some is None else wait_groups(books, some.values()),
            needs_person=tuple(_person(task) for task in _in_order(tasks.in_state(TaskState.NEEDS_HUMAN).values())),
            workers=self._workers(),
            retrying=len(tasks.in_state(TaskState.RETRY_WAIT)),
            later=len(tasks.in_state(TaskState.SCHEDULED)),
            is_over=not tasks,
            started=_about(events, frozenset({"task.assigned"})),
            taken_back=_about(events, frozenset({"task.reclaimed"})),
            ended=_about(events, _ENDED),
        )

    def _run(self, task: Task) -> PulseRun:
        books, now_ms = self._books, self._pump.clock.now_ms()
        since_ms = task.started_ms or task.updated_ms
        heard_ms = max(since_ms, books.heard.at_ms.get(task.id, 0))
        return PulseRun(
            task_id=task.id,
            title=task.title,
            state=task.state.value,
            worker=task.worker or "",
            model=task.model,
            since_ms=since_ms,
            heard_ms=heard_ms,
            stuck=self._stuck(task, now_ms - heard_ms),
        )

    def _stuck(self, task: Task, quiet_ms: int) -> str:
        worker = self._books.workers.states.get(task.session or "")
        if worker is not None and worker.suspect:
            return "its worker is silent"
        if quiet_ms >= self._books.policy.scheduler.stuck_ms:
            return f"no sign of life for {quiet_ms // 60_000} min"
        return ""

    def _workers(self) -> tuple[PulseWorker, ...]:
        states = sorted(self._books.workers.states.values(), key=lambda state: state.session.offer.name)
        return tuple(
            PulseWorker(
                name=state.session.offer.name,
                host=state.session.offer.host,
                tasks=len(state.attempts),
                slots=sum(state.session.offer.slots.values()),
                seen_ms=state.seen_ms,
                lost_ms=state.seen_ms + self._books.lease_ms(state.session) if state.suspect else None,
            )
            for state in states
        )


def _in_order(tasks: Iterable[Task]) -> list[Task]:
    """As they came."""
    return sorted(tasks, key=lambda task: task.seq)


def _person(task: Task) -> PulsePerson:
    message = task.failure.message if task.failure is not None else ""
    return PulsePerson(task_id=task.id, title=task.title, message=message, since_ms=task.updated_ms)


def _about(events: Iterable[Event], names: frozenset[str]) -> tuple[str, ...]:
    """Tasks that events of these names are about, in their order."""
    return tuple(dict.fromkeys(event.task_id for event in events if event.name in names and event.task_id is not None))
