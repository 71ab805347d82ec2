"""Walk the commands of a flush in order and say what to write: no I/O, so it can be thrown away and made again.

Each command is judged against the picture as the commands before it left it. Rows are gathered by kind, to be written
with one statement each. A task that is touched several times is written once, with its last row; every one of its
events is kept, and its `prev_state` is the state before the last step.

`prev_state` is what the store found, not what the caller believed: the caller may not know which of several expected
states the task is in.

Cost: O(commands), plus one query for each refusal of a task that this flush has not touched.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ostler.domain.commands import (
    AppendEvents,
    Applied,
    Command,
    DropLoop,
    LateReport,
    LedgerCommand,
    NewTask,
    PruneCalls,
    PutCalls,
    PutKey,
    RefusalReason,
    Refused,
    Result,
    RevokeKey,
    SaveLoop,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.event import Event
from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import Task
from ostler.store import rows
from ostler.store.gateway import GatewayPlan
from ostler.store.guards import Problem, is_repeated, submit_problem, update_problem
from ostler.store.ledger import LedgerPlan
from ostler.store.loops import LoopPlan
from ostler.store.picture import Known, Picture
from ostler.store.registry import RegistryPlan

_APPLIED = Applied()


class Plan:
    """What one flush will write, built up command by command."""

    def __init__(self, picture: Picture, last_event_seq: int, last_ledger_seq: int = 0) -> None:
        self.picture = picture
        self.last_event_seq = last_event_seq
        self.new_tasks: dict[str, Known] = {}
        self.changed_tasks: dict[str, Known] = {}
        self.specs: list[rows.Row] = []
        self.attempts: list[rows.Row] = []
        self.decisions: list[rows.Row] = []
        self.outputs: list[rows.Row] = []
        self.late_reports: list[rows.Row] = []
        self.events: list[rows.Row] = []
        self.registry = RegistryPlan(picture)
        self.gateway = GatewayPlan(picture)
        self.loops = LoopPlan(picture.loops)
        self.ledger = LedgerPlan(picture.accounts, picture.spent, last_ledger_seq)

    def add(self, command: Command) -> Result:
        """Judge one command, note what it writes, and answer it (for the case that the transaction commits)."""
        if isinstance(command, UpdateTask):
            return self._update(command)
        if isinstance(command, SubmitTasks):
            return self._submit(command)
        if isinstance(command, LateReport):
            return self._late(command)
        if isinstance(command, AppendEvents):
            return Applied(last_seq=self._record(command.events, None, None))
        if isinstance(command, PutCalls | PruneCalls):
            return self.gateway.add_calls(command)
        if isinstance(command, PutKey | RevokeKey | SaveLoop | DropLoop):
            return self._named(command)
        if isinstance(command, LedgerCommand):
            return self.ledger.add(command)
        return self.registry.add(command)

    def task_rows(self) -> tuple[list[rows.Row], list[rows.Row], list[rows.Row]]:
        """Rows to insert, changes that touch no index, and all other changes."""
        inserts = [rows.task_row(known.task) for known in self.new_tasks.values() if known.task is not None]
        open_changes: list[rows.Row] = []
        changes: list[rows.Row] = []
        for known in self.changed_tasks.values():
            task, was = known.task, known.stored_state
            if task is None:
                continue
            if task.state in FINAL_STATES or was in FINAL_STATES or task.batch != known.batch:
                changes.append(rows.change_row(task, was, known.stored_generation))
            else:
                open_changes.append(rows.open_change_row(task, was, known.stored_generation))
        return inserts, open_changes, changes

    def _update(self, command: UpdateTask) -> Result:
        task = command.task
        known = self.picture.tasks.get(task.id)
        if known is None:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"there is no task {task.id}")
        problem = update_problem(command, known)
        if problem is not None:
            if is_repeated(command, problem, self._row(known)):
                return Applied(spec=self.picture.specs.get(task.id)) if command.want_spec else _APPLIED
            return self._refused(problem, known)
        if command.money is not None and isinstance(answer := self.ledger.add(command.money), Refused):
            return msgspec.structs.replace(answer, task=self._row(known))
        if task.prev_state is not known.state:
            task = msgspec.structs.replace(task, prev_state=known.state)
        known.move(task)
        if task.id not in self.new_tasks:
            self.changed_tasks[task.id] = known
        self._keep_attempt(command, known.seq)
        last_seq = self._record(command.events, task.id, known.seq)
        if command.want_spec:
            return Applied(spec=self.picture.specs.get(task.id), last_seq=last_seq)
        return Applied(last_seq=last_seq) if last_seq else _APPLIED

    def _keep_attempt(self, command: UpdateTask, seq: int) -> None:
        attempt = command.attempt
        generation = attempt.generation if attempt is not None else command.task.generation
        if attempt is not None:
            self.attempts.append((seq, generation, rows.body(attempt)))
        if command.decision is not None:
            self.decisions.append((seq, generation, rows.body(command.decision)))
        if command.output is not None:
            self.outputs.append((seq, generation, command.output))

    def _submit(self, command: SubmitTasks) -> Result:
        staged: dict[str, NewTask] = {}
        duplicates: list[str] = []
        seqs: set[int] = set()
        for new in command.tasks:
            task_id = new.task.id
            known = self.picture.tasks.get(task_id)
            if known is not None or task_id in staged:
                spec = staged[task_id].spec if known is None else self.picture.specs.get(task_id)
                if spec != new.spec:
                    text = f"task {task_id} exists with another spec"
                    return self._refused((RefusalReason.CONFLICT, text), known)
                duplicates.append(task_id)
                continue
            taken = new.task.seq in seqs or new.task.seq in self.picture.taken_seqs
            problem = submit_problem(new, seq_is_taken=taken)
            if problem is not None:
                return self._refused(problem, None)
            staged[task_id] = new
            seqs.add(new.task.seq)
        return Applied(duplicates=tuple(duplicates), last_seq=self._insert(staged.values()))

    def _insert(self, new_tasks: Iterable[NewTask]) -> int:
        last_seq = 0
        for new in new_tasks:
            task = new.task
            known = Known(task.seq, task.state, task.generation, task.batch, task)
            self.picture.tasks[task.id] = self.new_tasks[task.id] = known
            self.picture.specs[task.id] = new.spec
            self.picture.taken_seqs.add(task.seq)
            self.specs.append((task.seq, rows.body(new.spec)))
            last_seq = self._record((new.event,), task.id, task.seq)
        return last_seq

    def _late(self, command: LateReport) -> Result:
        known = self.picture.tasks.get(command.task_id)
        if known is None:
            return Refused(reason=RefusalReason.NOT_FOUND, message=f"there is no task {command.task_id}")
        self.late_reports.append((known.seq, command.generation, command.at_ms, command.body))
        return Applied(last_seq=self._record((command.event,), command.task_id, known.seq))

    def _named(self, command: PutKey | RevokeKey | SaveLoop | DropLoop) -> Result:
        if isinstance(command, SaveLoop | DropLoop):
            return self._loop(command)
        problem, changed = self.gateway.add_key(command)
        if problem is not None:
            return self._refused(problem, None)
        return Applied(last_seq=self._record((command.event,), None, None)) if changed else _APPLIED

    def _loop(self, command: SaveLoop | DropLoop) -> Result:
        problem = self.loops.add(command)
        if problem is not None:
            return self._refused(problem, None)
        events = command.events if isinstance(command, SaveLoop) else (command.event,)
        return Applied(last_seq=self._record(events, None, None))

    def _record(self, events: Sequence[Event], task_id: str | None, task_seq: int | None) -> int:
        """Number events and keep them; the number of the newest, 0 without any."""
        for event in events:
            self.last_event_seq += 1
            # Events about some other task are rare: they keep its id, instead of everyone looking for its number.
            seq = task_seq if event.task_id == task_id else None
            self.events.append(rows.event_row(event, self.last_event_seq, seq))
        return self.last_event_seq if events else 0

    def _refused(self, problem: Problem, known: Known | None) -> Refused:
        reason, message = problem
        return Refused(reason=reason, message=message, task=self._row(known))

    def _row(self, known: Known | None) -> Task | None:
        if known is None:
            return None
        return known.task if known.task is not None else self.picture.load_task(known.seq)
