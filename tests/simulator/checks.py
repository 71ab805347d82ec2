"""What must hold in every world: looked at after each commit, at each start of work, and at the end.

Safety, always: nothing runs twice at once (`Floor.start`); no endpoint has more calls than slots (`Floor.start`); what
ended well never runs again and never changes; no attempt is charged twice; money used and held never exceeds the hard
cap; numbers of events only rise. Liveness, once the faults are over: everything acknowledged is there and has ended, as
the story says or with a reason, and a success is one that really happened.
"""

from collections import Counter
from collections.abc import Sequence

from ostler.domain.commands import Applied, Command, Result, UpdateTask
from ostler.domain.ledger import EntryKind, LedgerEntry, Span
from ostler.domain.limits import ScopeKind
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task
from tests.simulator.disk import Disk
from tests.simulator.floor import Floor

ALL_TIME = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=2**52)


class Eye:
    """Sees everything that is committed."""

    def __init__(self, disk: Disk, floor: Floor, hard_cap_micro_usd: int) -> None:
        self._disk = disk
        self._floor = floor
        self._hard_cap = hard_cap_micro_usd
        self._last_event_seq = 0
        self._ended: dict[str, TaskState] = {}
        self._charged: Counter[str] = Counter()
        self._entries = 0
        self._rows: dict[str, Task] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        """(task, generation) -> when it was handed out."""
        disk.watch = self._committed
        floor.is_final = lambda task: self._ended.get(task) is TaskState.SUCCEEDED

    def _committed(self, commands: Sequence[Command], results: Sequence[Result]) -> None:
        for command, result in zip(commands, results, strict=True):
            if not isinstance(result, Applied):
                continue
            if isinstance(command, UpdateTask):
                self._moved(command)
        self._counted()
        last = self._disk.truth._events.last_seq
        if last < self._last_event_seq:
            self._floor.say(f"event {last} came after event {self._last_event_seq}")
        self._last_event_seq = last

    def _moved(self, command: UpdateTask) -> None:
        task = command.task
        before = self._ended.get(task.id)
        if before is TaskState.SUCCEEDED and self._rows[task.id] != task:  # the same once more is no change
            self._floor.say(f"{task.id} had succeeded and became {task.state.value}")
        self._rows[task.id] = task
        if task.state is TaskState.ASSIGNED:
            self._began(task)
        if task.state in FINAL_STATES:
            self._ended[task.id] = task.state
        else:
            self._ended.pop(task.id, None)
        if task.state is TaskState.SUCCEEDED and (task.id, task.generation) not in self._floor.done:
            self._floor.say(f"{task.id} succeeded with attempt {task.generation}, which never did")

    def _began(self, task: Task) -> None:
        """Nothing begins before what it needs is done, nor while it is paused, nor under a number it had before."""
        records = self._disk.truth._records
        for need in task.needs:
            if records[need].task.state is not TaskState.SUCCEEDED:
                self._floor.say(f"{task.id} began before {need}, which it needs, was done")
        if task.paused:
            self._floor.say(f"{task.id} began while it was paused")
        if self._numbers.setdefault((task.id, task.generation), task.updated_ms) != task.updated_ms:
            self._floor.say(f"attempt {task.generation} of {task.id} was handed out twice")

    def _counted(self) -> None:
        """The sums of the ledger, and each entry once."""
        entries = self._disk.truth._ledger.entries
        for entry in entries[self._entries :]:
            self._entered(entry)
        self._entries = len(entries)
        spent = self._disk.truth._ledger.spent(ALL_TIME)
        total = spent.used.micro_usd + spent.held.micro_usd
        if total > self._allowed():
            self._floor.say(f"{total} micro-dollars used and held of {self._hard_cap}")

    def _entered(self, entry: LedgerEntry) -> None:
        self._charged[entry.attempt] += entry.kind is EntryKind.SETTLE
        if self._charged[entry.attempt] > 1:
            self._floor.say(f"{entry.attempt} was charged {self._charged[entry.attempt]} times")

    def _allowed(self) -> int:
        """Micro-dollars that may be used and held: here answers never come to more than was held for them."""
        return self._hard_cap

    async def at_the_end(self, acknowledged: set[str], cancelled: set[str]) -> None:
        """Everything that was promised is there and over."""
        rows = await self._disk.truth.rows(sorted(acknowledged))
        for name in sorted(acknowledged):
            task = rows.get(name)
            if task is None:
                self._floor.say(f"{name} was acknowledged and is gone")
            elif task.state not in FINAL_STATES | {TaskState.NEEDS_HUMAN}:
                wait = task.wait.code.value if task.wait is not None else "no reason"
                self._floor.say(f"{name} never ended: it is {task.state.value} ({wait})")
            elif (
                task.state is not TaskState.SUCCEEDED and task.failure is None and task.state is not TaskState.CANCELLED
            ):
                self._floor.say(f"{name} is {task.state.value} without a reason")
            elif name in cancelled and task.state not in FINAL_STATES:
                self._floor.say(f"{name} was cancelled and is {task.state.value}")
        (spent,) = await self._disk.truth.spent([ALL_TIME])
        if spent.used.micro_usd + spent.held.micro_usd > self._allowed():
            self._floor.say(f"{spent.used.micro_usd + spent.held.micro_usd} spent of {self._hard_cap}")
        for entry in await self._disk.truth.open_reservations():
            self._floor.say(f"{entry.attempt} still holds money")
