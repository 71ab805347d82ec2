"""What a flush knows: the rows its commands name, as the database held them at its start, and what it did to them.

A picture is loaded in a fixed number of queries, however many commands there are, and lives for one transaction. It is
true for as long as the transaction because there is one writer, and that writer is inside the transaction: nobody can
change a row between the look and the write. With a second writer (another process on the file, several hubs on one
database) the rows would have to be locked when they are read.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ostler.budget.ledger import Account
from ostler.domain.commands import (
    Command,
    DropEndpoint,
    DropLoop,
    DropToken,
    LateReport,
    LedgerCommand,
    PutKey,
    PutToken,
    Reserve,
    RevokeKey,
    SaveLoop,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.ledger import Span, Spent
from ostler.domain.live import GatewayKey
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskSpec


class TokenRow(NamedTuple):
    """A stored token."""

    name: str
    token_hash: str
    scope: str
    created_ms: int


class Known:
    """One task inside a flush: where it is now, and what the database holds until the flush is written."""

    __slots__ = ("batch", "generation", "seq", "state", "stored_generation", "stored_state", "task")

    def __init__(self, seq: int, state: TaskState, generation: int, batch: str | None, task: Task | None) -> None:
        self.seq = seq
        self.state = state
        self.generation = generation
        self.batch = batch
        """As stored; the batch of the newest row is in `task`."""
        self.stored_state = state
        self.stored_generation = generation
        self.task = task
        """The newest row, once this flush wrote one; until then the database has it."""

    def move(self, task: Task) -> None:
        """Let a row replace the one before."""
        self.task = task
        self.state = task.state
        self.generation = task.generation


class Picture(NamedTuple):
    """All that a plan may ask. `load_task` reads the body of a row that a refusal shows: the only query by row."""

    tasks: dict[str, Known]
    specs: dict[str, TaskSpec]
    taken_seqs: set[int]
    tokens: dict[str, TokenRow]
    endpoint_names: set[str]
    keys: dict[str, GatewayKey]
    loops: dict[str, int]
    """Versions by name."""
    accounts: dict[str, Account]
    spent: dict[Span, Spent]
    load_task: Callable[[int], Task]


class Needs:
    """What a picture must hold for these commands."""

    def __init__(self, last_task_seq: int) -> None:
        self.last_task_seq = last_task_seq
        self.task_ids: set[str] = set()
        self.submit_ids: set[str] = set()
        self.wanted_spec_ids: set[str] = set()
        self.seqs: set[int] = set()
        self.tokens = False
        self.endpoints = False
        self.keys = False
        self.loops = False
        self.attempts: set[str] = set()
        self.spans: set[Span] = set()

    def collect(self, batches: Iterable[Sequence[Command]]) -> None:
        """Note what every command will look at."""
        for batch in batches:
            for command in batch:
                if isinstance(command, UpdateTask):
                    self._update(command)
                elif isinstance(command, SubmitTasks):
                    self._submit(command)
                elif isinstance(command, LateReport):
                    self.task_ids.add(command.task_id)
                elif isinstance(command, PutToken | DropToken):
                    self.tokens = True
                elif isinstance(command, DropEndpoint):
                    self.endpoints = True
                elif isinstance(command, PutKey | RevokeKey):
                    self.keys = True
                elif isinstance(command, SaveLoop | DropLoop):
                    self.loops = True
                elif isinstance(command, LedgerCommand):
                    self._money(command)

    def _update(self, command: UpdateTask) -> None:
        task_id = command.task.id
        self.task_ids.add(task_id)
        if command.want_spec:
            self.wanted_spec_ids.add(task_id)
        if command.money is not None:
            self._money(command.money)

    def _money(self, command: LedgerCommand) -> None:
        self.attempts.add(command.attempt)
        if isinstance(command, Reserve):
            self.spans.update(bound.span for bound in command.bounds)

    def _submit(self, command: SubmitTasks) -> None:
        for new in command.tasks:
            self.task_ids.add(new.task.id)
            self.submit_ids.add(new.task.id)
            # Above the newest stored number nothing can be taken; a hub numbers upwards, so this is nearly always so.
            if new.task.seq <= self.last_task_seq:
                self.seqs.add(new.task.seq)
