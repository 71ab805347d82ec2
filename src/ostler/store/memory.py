"""`MemoryStore`: the reference. Plain dictionaries, one command after the other, nothing clever.

It defines what the other stores must answer; the conformance suite compares them. It is also the store of tests and
of the simulator: it keeps nothing, and it has no limits of an engine (sizes, text that is no Unicode).

A batch is applied without an await in between, so no other caller sees half of it. That holds on one event loop; it
is not made for several threads.
"""

from collections.abc import Sequence
from itertools import islice
from typing import assert_never

import msgspec

from ostler.budget.book import LedgerBook
from ostler.domain.alerts import Alert
from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec
from ostler.domain.commands import (
    AppendEvents,
    Applied,
    Command,
    DropEndpoint,
    DropLoop,
    DropSession,
    DropToken,
    ForgetObservations,
    LateReport,
    LedgerCommand,
    NewTask,
    PruneCalls,
    PruneEvents,
    PruneTasks,
    PutAlerts,
    PutAllowances,
    PutCalls,
    PutEndpoint,
    PutKey,
    PutMeasurements,
    PutObservations,
    PutPlan,
    PutSessions,
    PutToken,
    RefusalReason,
    Refused,
    Result,
    RevokeKey,
    SaveLoop,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.decision import Decision
from ostler.domain.event import Event
from ostler.domain.event_totals import EventTotal
from ostler.domain.fleet import Session
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent, Summed
from ostler.domain.limits import ScopeKind
from ostler.domain.live import CallRecord, GatewayKey, KeySpend
from ostler.domain.loops import Loop
from ostler.domain.measured import Measurement
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.plans import StoredPlan
from ostler.domain.ports import CallDetail, CallQuery, OpenWork, TaskDetail, TaskQuery
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec
from ostler.domain.tokens import KnownToken
from ostler.store.errors import StoreError
from ostler.store.guards import is_repeated, submit_problem, token_problem, update_problem
from ostler.store.memory_events import MemoryEvents
from ostler.store.memory_gateway import MemoryGateway
from ostler.store.memory_loops import MemoryLoops
from ostler.store.memory_tasks import listed, prunable

_Registered = (
    PutSessions
    | DropSession
    | PutEndpoint
    | DropEndpoint
    | PutToken
    | DropToken
    | PutMeasurements
    | PutAllowances
    | PutPlan
)


class _Record:
    """Everything about one task."""

    def __init__(self, task: Task, spec: TaskSpec) -> None:
        self.task = task
        self.spec = spec
        self.attempts: dict[int, Attempt] = {}
        self.decisions: dict[int, Decision] = {}
        self.outputs: dict[int, str] = {}
        self.late_reports: list[bytes] = []


class MemoryStore:
    """A `Store` that lasts as long as the process. Not made for several threads."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._seqs: set[int] = set()
        self._events = MemoryEvents()
        self._sessions: dict[str, Session] = {}
        self._endpoints: dict[str, EndpointSpec] = {}
        self._tokens: dict[str, PutToken] = {}
        self._allowances: dict[tuple[str, str], Reported] = {}
        self._measurements: dict[tuple[str, str, int, str], Measurement] = {}
        self._plans: dict[tuple[str, int], StoredPlan] = {}
        self._observations: dict[str, Observation] = {}
        self._loops = MemoryLoops()
        self._gateway = MemoryGateway()
        self._ledger = LedgerBook()
        self._late_reports: list[bytes] = []
        self._closed = False

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """See the port."""
        self._must_be_open()
        return [self._apply(command) for command in commands]

    async def open_work(self) -> OpenWork:
        """See the port."""
        self._must_be_open()
        tasks = sorted((record.task for record in self._records.values()), key=lambda task: task.seq)
        return OpenWork(
            tasks=tuple(task for task in tasks if task.state not in FINAL_STATES),
            sessions=tuple(sorted(self._sessions.values(), key=lambda session: (session.joined_ms, session.id))),
            endpoints=tuple(self._endpoints[name] for name in sorted(self._endpoints)),
            allowances=tuple(self._allowances[key] for key in sorted(self._allowances)),
            measurements=tuple(self._measurements[key] for key in sorted(self._measurements)),
            next_seq=(tasks[-1].seq if tasks else 0) + 1,
            last_event_seq=self._events.last_seq,
        )

    async def states(self, ids: Sequence[str]) -> dict[str, TaskState]:
        """See the port."""
        self._must_be_open()
        return {task_id: self._records[task_id].task.state for task_id in ids if task_id in self._records}

    async def rows(self, ids: Sequence[str]) -> dict[str, Task]:
        """See the port."""
        self._must_be_open()
        return {task_id: self._records[task_id].task for task_id in ids if task_id in self._records}

    async def outputs(self, ids: Sequence[str]) -> dict[str, str]:
        """See the port."""
        self._must_be_open()
        found = {task_id: self._records[task_id].outputs for task_id in ids if task_id in self._records}
        return {task_id: outputs[max(outputs)] for task_id, outputs in found.items() if outputs}

    async def specs(self, ids: Sequence[str]) -> dict[str, TaskSpec]:
        """See the port."""
        self._must_be_open()
        return {task_id: self._records[task_id].spec for task_id in ids if task_id in self._records}

    async def task(self, task_id: str) -> TaskDetail | None:
        """See the port."""
        self._must_be_open()
        record = self._records.get(task_id)
        if record is None:
            return None
        return TaskDetail(
            task=record.task,
            spec=record.spec,
            attempts=tuple(record.attempts[generation] for generation in sorted(record.attempts)),
            decisions=tuple(record.decisions[generation] for generation in sorted(record.decisions)),
            events=tuple(self._events.above(0, task_id)),
            output=record.outputs[max(record.outputs)] if record.outputs else None,
            late_reports=tuple(record.late_reports),
        )

    async def tasks(self, query: TaskQuery) -> list[Task]:
        """See the port."""
        self._must_be_open()
        return listed([record.task for record in self._records.values()], query)

    async def events(self, *, after_seq: int = 0, limit: int = 500, task_id: str | None = None) -> list[Event]:
        """See the port."""
        self._must_be_open()
        return list(islice(self._events.above(after_seq, task_id), max(0, limit)))

    async def event_totals(self, since_ms: int = 0) -> list[EventTotal]:
        """See the port."""
        self._must_be_open()
        return self._events.totals(since_ms)

    async def alerts(self) -> list[Alert]:
        """See the port."""
        self._must_be_open()
        return self._events.alerts()

    async def plans(self, batch: str) -> list[StoredPlan]:
        """See the port."""
        self._must_be_open()
        return [self._plans[key] for key in sorted(self._plans) if key[0] == batch]

    async def late_reports(self, limit: int) -> list[bytes]:
        """See the port."""
        self._must_be_open()
        return self._late_reports[: -max(0, limit) - 1 : -1]

    async def loops(self) -> list[Loop]:
        """See the port."""
        self._must_be_open()
        return self._loops.listed()

    async def token_name(self, token_hash: str, scope: str) -> str | None:
        """See the port."""
        self._must_be_open()
        wanted = (token_hash, scope)
        return next((one.name for one in self._tokens.values() if (one.token_hash, one.scope) == wanted), None)

    async def tokens(self) -> list[KnownToken]:
        """See the port."""
        self._must_be_open()
        return [msgspec.convert(row, KnownToken, from_attributes=True) for _, row in sorted(self._tokens.items())]

    async def keys(self) -> list[GatewayKey]:
        """See the port."""
        self._must_be_open()
        return self._gateway.keys()

    async def calls(self, query: CallQuery) -> list[CallRecord]:
        """See the port."""
        self._must_be_open()
        return self._gateway.calls(query)

    async def call(self, call_id: str) -> CallDetail | None:
        """See the port."""
        self._must_be_open()
        return self._gateway.call(call_id)

    async def key_spend(self, since_ms: int) -> KeySpend:
        """See the port."""
        self._must_be_open()
        return self._gateway.key_spend(since_ms)

    async def oldest_call_ms(self) -> int | None:
        """See the port."""
        self._must_be_open()
        return self._gateway.oldest_call_ms()

    async def spent(self, spans: Sequence[Span]) -> list[Spent]:
        """See the port."""
        self._must_be_open()
        return [self._ledger.spent(span) for span in spans]

    async def sums(self, kinds: Sequence[ScopeKind], since_ms: int) -> list[Summed]:
        """See the port."""
        self._must_be_open()
        return self._ledger.summed(kinds, since_ms)

    async def ledger(self, query: LedgerQuery) -> list[LedgerEntry]:
        """See the port."""
        self._must_be_open()
        return self._ledger.listed(query)

    async def open_reservations(self) -> list[LedgerEntry]:
        """See the port."""
        self._must_be_open()
        return self._ledger.open_reservations()

    async def charged(self, kind: ScopeKind) -> list[str]:
        """See the port."""
        self._must_be_open()
        return self._ledger.values(kind)

    async def observations(self, query: ObservationQuery) -> list[Observation]:
        """See the port."""
        self._must_be_open()
        query = msgspec.structs.replace(query, version="")
        return [one for one in self._observations.values() if query.names(one)]

    async def close(self) -> None:
        """Refuse everything from now on. Safe to repeat."""
        self._closed = True

    def _must_be_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    def _apply(self, command: Command) -> Result:
        if isinstance(command, UpdateTask):
            return self._update(command)
        if isinstance(command, SubmitTasks):
            return self._submit(command)
        if isinstance(command, LateReport):
            return self._late(command)
        if isinstance(command, AppendEvents):
            return Applied(last_seq=self._events.record(command.events))
        if isinstance(command, PutKey | RevokeKey | SaveLoop | DropLoop):
            return self._named(command)
        if isinstance(command, PutCalls | PruneCalls):
            self._gateway.change_calls(command)
            return Applied()
        if isinstance(command, LedgerCommand):
            return self._money(command)
        return self._others(command)

    def _update(self, command: UpdateTask) -> Result:
        task = command.task
        record = self._records.get(task.id)
        if record is None:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"there is no task {task.id}")
        problem = update_problem(command, record.task)
        if problem is not None:
            if is_repeated(command, problem, record.task):
                return Applied(spec=record.spec if command.want_spec else None)
            return Refused(reason=problem[0], message=problem[1], task=record.task)
        if command.money is not None and isinstance(answer := self._money(command.money), Refused):
            return msgspec.structs.replace(answer, task=record.task)
        record.task = msgspec.structs.replace(task, prev_state=record.task.state)
        generation = task.generation
        if command.attempt is not None:
            generation = command.attempt.generation
            record.attempts[generation] = command.attempt
        if command.decision is not None:
            record.decisions[generation] = command.decision
        if command.output is not None:
            record.outputs[generation] = command.output
        spec = record.spec if command.want_spec else None
        return Applied(spec=spec, last_seq=self._events.record(command.events))

    def _submit(self, command: SubmitTasks) -> Result:
        staged: dict[str, NewTask] = {}
        duplicates: list[str] = []
        seqs: set[int] = set()
        for new in command.tasks:
            task = new.task
            record = self._records.get(task.id)
            known = record.spec if record is not None else staged[task.id].spec if task.id in staged else None
            if known is not None and known != new.spec:
                return Refused(
                    reason=RefusalReason.CONFLICT,
                    message=f"task {task.id} exists with another spec",
                    task=record.task if record is not None else None,
                )
            if known is not None:
                duplicates.append(task.id)
                continue
            problem = submit_problem(new, seq_is_taken=task.seq in self._seqs or task.seq in seqs)
            if problem is not None:
                return Refused(reason=problem[0], message=problem[1])
            staged[task.id] = new
            seqs.add(task.seq)
        for new in staged.values():
            self._records[new.task.id] = _Record(new.task, new.spec)
        self._seqs |= seqs
        last_seq = self._events.record([new.event for new in staged.values()])
        return Applied(duplicates=tuple(duplicates), last_seq=last_seq)

    def _late(self, command: LateReport) -> Result:
        record = self._records.get(command.task_id)
        if record is None:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"there is no task {command.task_id}")
        record.late_reports.append(command.body)
        self._late_reports.append(command.body)
        return Applied(last_seq=self._events.record((command.event,)))

    def _token(self, command: PutToken | DropToken) -> Result:
        if isinstance(command, PutToken):
            problem = token_problem(command, self._tokens.values())
            if problem is not None:
                return Refused(reason=problem[0], message=problem[1])
            self._tokens.setdefault(command.name, command)
        elif self._tokens.pop(command.name, None) is None:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"there is no token named {command.name}")
        return Applied()

    def _named(self, command: PutKey | RevokeKey | SaveLoop | DropLoop) -> Result:
        if isinstance(command, SaveLoop | DropLoop):
            problem, changed = self._loops.apply(command), True
            events = command.events if isinstance(command, SaveLoop) else (command.event,)
        else:
            problem, changed = self._gateway.key(command)
            events = (command.event,)
        if problem is not None:
            return Refused(reason=problem[0], message=problem[1])
        return Applied(last_seq=self._events.record(events)) if changed else Applied()

    def _money(self, command: LedgerCommand) -> Applied | Refused:
        judged = self._ledger.apply(command)
        if judged.reason is not None:
            return Refused(reason=judged.reason, message=judged.message, limit=judged.limit)
        return Applied()

    def _observe(self, command: PutObservations | ForgetObservations) -> Result:
        if isinstance(command, PutObservations):
            for one in command.observations:
                self._observations.setdefault(one.id, one)
        else:
            which = msgspec.structs.replace(command.which, version="")
            named = [key for key, one in self._observations.items() if which.names(one)]
            for key in command.ids or named:
                self._observations.pop(key, None)
        return Applied()

    def _others(
        self, command: _Registered | PutObservations | ForgetObservations | PutAlerts | PruneEvents | PruneTasks
    ) -> Result:
        if isinstance(command, PruneTasks):
            return self._prune_tasks(command)
        if isinstance(command, PutObservations | ForgetObservations):
            return self._observe(command)
        if isinstance(command, PutAlerts | PruneEvents):
            self._events.change(command, self._ended_ms)
            return Applied()
        return self._register(command)

    def _prune_tasks(self, step: PruneTasks) -> Result:
        gone = prunable([record.task for record in self._records.values()], step)
        for task in gone:
            record = self._records.pop(task.id)
            late = {id(one) for one in record.late_reports}
            self._late_reports = [one for one in self._late_reports if id(one) not in late]
        empty = {task.batch for task in gone} - {record.task.batch for record in self._records.values()}
        self._plans = {key: plan for key, plan in self._plans.items() if key[0] not in empty}
        return Applied()

    def _ended_ms(self, task_id: str) -> int | None:
        """When a task ended: 0 for one that is not known, `None` for one that is open."""
        record = self._records.get(task_id)
        return record.task.finished_ms if record is not None else 0

    def _register(self, command: _Registered) -> Result:
        if isinstance(command, PutToken | DropToken):
            return self._token(command)
        if isinstance(command, PutSessions):
            self._sessions.update((session.id, session) for session in command.sessions)
        elif isinstance(command, DropSession):
            self._sessions.pop(command.session_id, None)
        elif isinstance(command, PutEndpoint):
            self._endpoints[command.endpoint.name] = command.endpoint
        elif isinstance(command, DropEndpoint):
            if self._endpoints.pop(command.name, None) is None:
                return Refused(reason=RefusalReason.NOT_FOUND, message=f"no endpoint {command.name} was registered")
        elif isinstance(command, PutMeasurements):
            for row in command.measurements:
                self._measurements[row.host, row.model, row.context_tokens, row.quantity.value] = row
        elif isinstance(command, PutAllowances):
            self._allowances.update(((one.provider, one.window), one) for one in command.reports)
        elif isinstance(command, PutPlan):
            self._plans[command.plan.batch, command.plan.version] = command.plan
        else:
            assert_never(command)
        return Applied()
