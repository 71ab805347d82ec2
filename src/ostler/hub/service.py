"""The hub as its faces see it: the shell's answer to `HubApi`, put together from the parts of this package.

Verbs of tasks stand here; each other group of verbs is a desk of its own, reached by an attribute.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from ostler.domain.commands import AppendEvents, NewTask, Refused, SubmitTasks
from ostler.domain.decision import Hold, RouteRequest, Verdict
from ostler.domain.errors import ConflictError, NotFoundError, OstlerError
from ostler.domain.event import Event
from ostler.domain.hubs import HubList, HubRow, Leader
from ostler.domain.policy import Policy
from ostler.domain.ports import HubLink, Store, TaskDetail, TaskQuery
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.domain.trace import Trace
from ostler.hub.accept import (
    OPEN_TASKS_MAX,
    Fleet,
    as_it_runs,
    check_batch,
    check_room,
    disagreement,
    new_tasks,
    outside_needs,
    traced,
)
from ostler.hub.alert_desk import AlertDesk
from ostler.hub.attempt_keys import AttemptKeys
from ostler.hub.batch_desk import BatchDesk
from ostler.hub.board_desk import BoardDesk
from ostler.hub.comparison import SavedBy
from ostler.hub.endpoints import EndpointDesk
from ostler.hub.explaining import headline, verdict_why, why_lines
from ostler.hub.gateway_desk import GatewayDesk
from ostler.hub.host_desk import HostDesk
from ostler.hub.late_desk import LateDesk
from ostler.hub.link import LocalLink
from ostler.hub.listing import listed
from ostler.hub.loop_desk import LoopDesk
from ostler.hub.loop_runner import LoopRunner
from ostler.hub.metrics_desk import MetricsDesk
from ostler.hub.needs import lost_sight_of, settled_needs, settled_now
from ostler.hub.pattern_desk import PatternDesk
from ostler.hub.people_desk import PeopleDesk
from ostler.hub.plan_desk import PlanDesk
from ostler.hub.plan_views import PlanWish
from ostler.hub.pulse_desk import PulseDesk
from ostler.hub.pump import Pump
from ostler.hub.results import run_results
from ostler.hub.resume import changed_fields, ended_badly, refuse_changed
from ostler.hub.roles import RoleDesk
from ostler.hub.service_info import HubInfo
from ostler.hub.spending import SpendingDesk
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.hub.status import status
from ostler.hub.tokens import TokenDesk
from ostler.hub.views import (
    EventPage,
    HubStatus,
    RunResults,
    SettingList,
    SettingRow,
    SubmitAnswer,
    Submitted,
    TaskAnswer,
    TaskList,
    Why,
    WorkerList,
)
from ostler.hub.workers_view import worker_list
from ostler.routing.decide import decide
from ostler.scheduling.intake import Settled, route_request
from ostler.scheduling.signals import Cancel, Pause, Resume, Retry, TasksAccepted

PAGE = 1000

Fellows = Callable[[], Awaitable[HubList]]
"""Asks who shares the work of the pool. Raises `OstlerError`."""


class Hub:
    """The hub of one pool of work. `next_seq` is the first unused arrival number."""

    def __init__(
        self,
        pump: Pump,
        store: Store,
        desk: EndpointDesk,
        plans: PlanDesk,
        info: HubInfo,
        next_seq: int,
        saved_by: SavedBy | None = None,
    ) -> None:
        self._pump = pump
        self._store = store
        self.endpoints = desk
        self.plans = plans
        self.residency = HostDesk(pump, store, saved_by)
        self._info = info
        self._next_seq = next_seq
        self.tokens = TokenDesk(pump, store)
        self.gateway = GatewayDesk(pump, store)
        self.attempt_keys = AttemptKeys(self.gateway, store)
        pump.equip = self.attempt_keys.equip
        pump.attempt_ended = self.attempt_keys.ended
        self.patterns = PatternDesk(pump, store)
        self.batches = BatchDesk(pump, store)
        self._spending = SpendingDesk(pump, store)
        self.pulse = PulseDesk(pump, store)
        self.late = LateDesk(pump, store, self._fell_with, self.retry)
        self.roles = RoleDesk()
        self.people = PeopleDesk(pump, store)
        self.loops = LoopDesk(pump, store, LoopRunner(pump, store, self), self._try_out)
        self.board = BoardDesk(pump, store, self.status)
        self._link = LocalLink(pump)
        self._link.as_taken = self.attempt_keys.as_paid
        self.fellows: Fellows = self._alone
        self.known_as: Leader | None = None
        self.max_open_tasks = OPEN_TASKS_MAX
        self.signs = self._link.signs
        self.listings = self._link.listings
        self.alerts = AlertDesk(pump, store, self.signs)
        self.metrics = MetricsDesk(pump, info, self.alerts)
        self.metrics.loops = self.loops.listed

    @property
    def link(self) -> HubLink:
        """The side for workers."""
        return self._link

    @property
    def _policy(self) -> Policy:
        return self._pump.scheduler.books.policy

    async def status(self) -> HubStatus:
        """The hub at a glance."""
        return status(self._pump, self._info, self.gateway.book.totals(), self.known_as)

    async def submit(
        self,
        specs: Sequence[TaskSpec],
        *,
        resume: bool = False,
        plan: PlanWish | None = None,
        trace: Trace | None = None,
    ) -> SubmitAnswer:
        """Accept tasks, all or none; durable when this returns. `resume`: what ended badly is sent back first. `plan`:
        the run is planned before its tasks may start. `trace`: of who hands them in.
        """
        specs = await self.roles.taken_on(specs, self._policy)
        run = self.plans.one_run(specs) if plan is not None else None
        outside = outside_needs(specs)
        known = await self._store.states(outside) if outside else {}
        check_batch(specs, known)
        taken = self._pump.scheduler.books.tasks
        check_room(specs, taken, len(taken), self.max_open_tasks)
        settled = await settled_needs(self._store, known)
        outside_rows = await self._store.rows(outside) if outside else {}
        local = frozenset(name for name, row in outside_rows.items() if row.facts.local_only)
        now_ms = self._pump.clock.now_ms()
        made = new_tasks(
            specs,
            self._policy,
            first_seq=self._next_seq,
            now_ms=now_ms,
            settled=settled.met,
            lengths=settled.lengths,
            fleet=self._fleet(),
            local=local,
        )
        self._next_seq += len(rows := traced(made, trace))
        retried = await self._send_back([row.spec for row in rows]) if resume else frozenset()
        odd = tuple(event for row in rows if (event := disagreement(row.task.facts, now_ms)) is not None)
        said = [AppendEvents(events=odd)] if odd else []
        result, *_ = await self._pump.apply([SubmitTasks(tasks=tuple(rows)), *said])
        if isinstance(result, Refused):
            refuse_changed(await changed_fields(self._store, [row.spec for row in rows]))
            remedy = "use another id, or leave it out to get a new one"
            raise ConflictError(result.message, where="tasks.id", remedy=remedy)
        fresh = tuple(row.task for row in rows if row.task.id not in result.duplicates)
        lost = await lost_sight_of(self._pump, self._store, result.duplicates)
        if fresh or lost:
            needed = (*outside, *(need for task in lost for need in task.needs))
            settled = await settled_now(self._pump, self._store, needed, settled)
            lost = tuple(task for task in lost if task.id not in self._pump.scheduler.books.tasks)
            by_ms = self._pump.clock.now_ms() + plan.longest_ms if plan is not None else None
            _ = self._pump.start_signal(
                TasksAccepted(tasks=(*fresh, *lost), settled=settled.met, lengths=settled.lengths, plan_by_ms=by_ms)
            )
        await self.patterns.labelled([row.spec for row in rows if row.task.id not in result.duplicates])
        unplanned = await self.plans.make_first(run, plan) if run is not None and plan is not None else ""
        return SubmitAnswer(unplanned=unplanned, tasks=await self._submitted(rows, result.duplicates, retried))

    async def _submitted(
        self, rows: Sequence[NewTask], duplicates: Sequence[str], retried: frozenset[str]
    ) -> tuple[Submitted, ...]:
        """What became of each task that was handed in."""
        states = await self._store.states(list(duplicates)) if duplicates else {}
        return tuple(
            Submitted(
                id=row.task.id,
                state=states.get(row.task.id, row.task.state),
                duplicate=row.task.id in duplicates,
                retried=row.task.id in retried,
            )
            for row in rows
        )

    async def _send_back(self, specs: Sequence[TaskSpec]) -> frozenset[str]:
        """Send those of a run that ended badly back to the queue, first what the others need."""
        refuse_changed(await changed_fields(self._store, specs))
        rows = await self._store.rows([spec.id for spec in specs])
        sent: set[str] = set()
        for row in ended_badly(rows, specs):
            settled = await settled_now(self._pump, self._store, row.needs, Settled())
            task = self._pump.scheduler.books.tasks.get(row.id, row)
            if task is row or task.state is TaskState.NEEDS_HUMAN:
                await self._pump.post(Retry(task=task, settled=settled.met, lengths=settled.lengths))
                sent.add(row.id)
        return frozenset(sent)

    async def results(self, run: str, phase: int | None = None) -> RunResults:
        """The results of a run by derived phase."""
        tasks = await self._all_of(run)
        if not tasks:
            raise NotFoundError(f"there is no run {run}", remedy="'ostler tasks list' shows what there is")
        outputs = await self._store.outputs([task.id for task in tasks])
        return run_results(run, tasks, outputs, self._pump.clock.now_ms(), phase)

    async def _all_of(self, run: str) -> list[Task]:
        found: list[Task] = []
        before: int | None = None
        while page := await self._store.tasks(TaskQuery(batch=run, limit=PAGE, before_seq=before)):
            found += page
            before = page[-1].seq
        return found

    def _fleet(self) -> Fleet:
        """What is registered now, for what tasks may name."""
        endpoints = self._pump.scheduler.books.endpoints
        return Fleet(
            endpoints=frozenset(endpoints.views),
            models=frozenset(endpoints.by_model),
            all_listed=bool(endpoints.views) and all(view.models for view in endpoints.views.values()),
            reader=self.patterns.reader,
        )

    def _try_out(self, spec: TaskSpec) -> None:
        """Refuse a task that would not be taken."""
        check_batch([spec], {})
        as_it_runs(spec, self._policy, self._fleet())

    async def tasks(self, query: TaskQuery) -> TaskList:
        """Tasks, newest first."""
        rows = await listed(self._store, self._pump.scheduler.books.tasks, query)
        signs = {row.id: sign for row in rows if (sign := self.signs.of(row.id, row.generation)) is not None}
        return TaskList(
            tasks=tuple(self._live(row) for row in rows),
            now_ms=self._pump.clock.now_ms(),
            output_tokens={task_id: sign.output_tokens for task_id, sign in signs.items() if sign.output_tokens},
        )

    async def task(self, task_id: str) -> TaskAnswer:
        """Everything about one task."""
        detail = await self._detail(task_id)
        return TaskAnswer(
            task=self._live(detail.task),
            spec=detail.spec,
            attempts=detail.attempts,
            decisions=detail.decisions,
            events=detail.events,
            output=detail.output,
            now_ms=self._pump.clock.now_ms(),
        )

    def _live(self, task: Task) -> Task:
        """The stored row with the wait reason of this moment."""
        if task.state is not TaskState.QUEUED:
            return task
        wait = self._pump.scheduler.wait_of(task.id)
        return task if wait is None else msgspec.structs.replace(task, wait=wait)

    async def _detail(self, task_id: str) -> TaskDetail:
        detail = await self._store.task(task_id)
        if detail is None:
            raise NotFoundError(f"there is no task {task_id}", remedy="'ostler tasks list' shows what there is")
        return detail

    async def cancel(self, task_id: str, reason: str = "") -> Task:
        """Cancel a task; one that runs is being stopped when this returns."""
        await self._open_only(task_id)
        await self._pump.post(Cancel(task_id=task_id, reason=reason))
        return (await self._detail(task_id)).task

    async def pause(self, task_id: str) -> Task:
        """Pause a task."""
        await self._open_only(task_id)
        await self._pump.post(Pause(task_id=task_id))
        return self._live((await self._detail(task_id)).task)

    async def resume(self, task_id: str) -> Task:
        """Resume a task."""
        await self._open_only(task_id)
        await self._pump.post(Resume(task_id=task_id))
        return self._live((await self._detail(task_id)).task)

    async def _open_only(self, task_id: str) -> None:
        if task_id in self._pump.scheduler.books.tasks:
            return
        task = (await self._detail(task_id)).task
        done = task.state is TaskState.SUCCEEDED
        remedy = "it is done" if done else f"'ostler tasks retry {task_id}' sends it back to the queue"
        raise ConflictError(f"task {task_id} has ended ({task.state.value})", remedy=remedy)

    async def retry(self, task_id: str) -> Task:
        """Send a task that ended badly back to the queue, and with it the tasks that ended because of it."""
        pending = [task_id]
        while pending:
            current = pending.pop(0)
            detail = await self._detail(current)
            settled = await settled_now(self._pump, self._store, detail.task.needs, Settled())
            task = self._pump.scheduler.books.tasks.get(current, detail.task)
            await self._pump.post(Retry(task=task, settled=settled.met, lengths=settled.lengths))
            pending += await self._fell_with(task)
        return self._live((await self._detail(task_id)).task)

    async def _fell_with(self, task: Task) -> list[str]:
        """Tasks that were cancelled because this one ended badly."""
        query = TaskQuery(states=(TaskState.CANCELLED,), batch=task.batch, limit=1000)
        return [
            other.id
            for other in await self._store.tasks(query)
            if task.id in other.needs and other.failure is not None and other.failure.kind is FailureClass.DEPENDENCY
        ]

    async def why(self, task_id: str) -> Why:
        """Why a task is where it is."""
        detail = await self._detail(task_id)
        task = self._live(detail.task)
        decision = detail.decisions[-1] if detail.decisions else None
        hold = self._hold_of(task)
        lines = why_lines(task, detail, hold, self._pump.clock.now_ms())
        called = await self.attempt_keys.call_lines(detail.attempts) if task.facts.kind is TaskKind.AGENT else ()
        return Why(
            task_id=task_id,
            headline=headline(task, self._pump.clock.now_ms()),
            lines=(*lines, "", *called) if called else lines,
            decision=hold.decision if hold is not None else decision,
            wait=task.wait,
        )

    def _hold_of(self, task: Task) -> Hold | None:
        """The verdict that keeps a waiting task waiting, made for this very task."""
        if task.state is not TaskState.QUEUED or task.id not in self._pump.scheduler.books.queue:
            return None
        verdict = self._verdict(task)
        return verdict if isinstance(verdict, Hold) else None

    def _verdict(self, task: Task) -> Verdict:
        now_ms = self._pump.clock.now_ms()
        return decide(
            route_request(self._pump.scheduler.books, task, now_ms),
            self._pump.scheduler.books.snapshot(now_ms),
            self._policy,
        )

    async def route(self, spec: TaskSpec) -> tuple[Verdict, Why]:
        """What would happen to this task now; stores nothing, calls nothing."""
        (spec,) = await self.roles.taken_on([spec], self._policy)
        check_batch([msgspec.structs.replace(spec, needs=())], {})
        now_ms = self._pump.clock.now_ms()
        _, facts = as_it_runs(spec, self._policy, self._fleet())
        request = RouteRequest(facts=facts, now_ms=now_ms, queued_ms=now_ms)
        verdict = decide(request, self._pump.scheduler.books.snapshot(now_ms), self._policy)
        shown = await self.patterns.evidence(facts.classification.task_type)
        return verdict, verdict_why(spec.id, verdict, now_ms, shown)

    async def events(self, after_seq: int, limit: int, task_id: str | None = None) -> EventPage:
        """Events after a sequence number."""
        events = await self._store.events(after_seq=after_seq, limit=limit, task_id=task_id)
        return EventPage(events=tuple(events), last_seq=events[-1].seq if events else after_seq)

    async def follow(self, after_seq: int | None = None) -> AsyncIterator[Event]:
        """Events as they become durable. A reader that is slow gets them later, never costs memory here."""
        if after_seq is None:
            after_seq = self._pump.last_seq
        while not self._pump.closing:
            page = await self._store.events(after_seq=after_seq, limit=500)
            for event in page:
                after_seq = event.seq
                yield event
            if not page:
                async with self._pump.news:
                    # The bound makes up for news that came between the look and the wait.
                    try:
                        async with asyncio.timeout(1.0):
                            await self._pump.news.wait()
                    except TimeoutError:
                        continue

    async def hubs(self) -> HubList:
        """The hubs that share the work, this one among them."""
        return await self.fellows()

    async def _alone(self) -> HubList:
        began_ms = self._info.started_ms
        up_ms = self._pump.clock.now_ms() - began_ms
        version = self._info.version
        row = HubRow(name="this hub", url="", version=version, started_ms=began_ms, up_ms=up_ms, leads=True)
        books = self._pump.scheduler.books
        running = len(books.attempts) + books.calls.running
        row = msgspec.structs.replace(row, open_tasks=len(books.tasks), running=running)
        return HubList(hubs=(row,))

    async def workers(self) -> WorkerList:
        """All workers."""
        return worker_list(self._pump)

    async def settings(self) -> SettingList:
        """All effective settings."""
        return SettingList(settings=self._info.settings)

    async def record_spending(self, spending: Spending) -> SpendingNoted:
        """Charge a call that was made elsewhere."""
        return await self._spending.charge(spending)

    async def reload(self, policy: Policy, settings: Sequence[SettingRow]) -> None:
        """Put a changed profile in force: new rules for what waits, endpoints added and removed."""
        self._info = msgspec.structs.replace(self._info, settings=tuple(settings))
        await self.patterns.follow_profile(policy)
        await self.endpoints.follow_profile(policy)

    async def reload_refused(self, error: OstlerError) -> None:
        """Tell everyone that a changed profile was refused whole."""
        event = Event(name="config.refused", at_ms=self._pump.clock.now_ms(), metadata={"message": str(error)})
        await self._pump.apply([AppendEvents(events=(event,))])
