"""What must hold in a whole world, beside what holds in every one (`checks`).

Money: what is used and held passes no limit by more than what answers came to beyond their estimates; a key spends no
more than it may. Endpoints: nobody calls one that said when to come back (`provider`, and here for tasks), nothing
in use is thrown out of memory (`House.out`), and no hub that was replaced begins a call (`House.begin`). Keys: none
opens anything after its attempt. Once the faults are over: nothing waits longer than its bound, nobody is asked for
ever, and the loop has done each of its ticks once.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostler.domain.commands import Applied, Command, Result, UpdateTask
from ostler.domain.ledger import EntryKind, LedgerEntry, Span
from ostler.domain.limits import ScopeKind
from ostler.domain.loops import LoopStatus
from ostler.domain.states import FailureClass, TaskState, WaitCode
from ostler.hub.attempt_keys import PREFIX
from tests.simulator.checks import ALL_TIME, Eye
from tests.simulator.people import LOOP, LOOPS, POOR_MICRO_USD, TICKS
from tests.simulator.story import FAULTS_UNTIL_S

if TYPE_CHECKING:
    from tests.simulator.whole import WholeWorld

MISJUDGED = 2
"""No answer of this world comes to more than what was held for it and this part of it again."""
WAIT_BOUND_S = 240.0
"""How long what could run waits at most, once nothing goes wrong any more."""
POOR = Span(scope=ScopeKind.KEY, value="poor", start_ms=0, end_ms=2**52)
_COULD_RUN = frozenset({WaitCode.READY, WaitCode.CAPACITY, WaitCode.MODEL_SWAP})


class WholeEye(Eye):
    """See the module."""

    def __init__(self, world: "WholeWorld", hard_cap_micro_usd: int) -> None:
        super().__init__(world.disk, world.floor, hard_cap_micro_usd)
        self._world = world
        self.highest = 0
        """What was ever used and held, at most."""
        self._held: dict[str, int] = {}
        """Attempt -> what was held for it."""
        self._beyond: Counter[str] = Counter()
        """Key -> by how much answers came to more than was held for them: their lengths are estimates. A cap may be
        passed by this alone, for nothing was begun beyond it. Of the key "" are all.
        """
        self._ends: dict[tuple[str, int], float] = {}
        self._blocked: dict[tuple[int, str], tuple[int, int]] = {}
        """(epoch, endpoint) -> heard when, and until when nobody should be sent there."""

    def since_s(self, attempt: tuple[str, int]) -> float:
        """How long ago the end of an attempt was durable."""
        now_s = asyncio.get_running_loop().time()
        return now_s - self._ends.get(attempt, now_s)

    def _committed(self, commands: Sequence[Command], results: Sequence[Result]) -> None:
        super()._committed(commands, results)
        total = self._disk.truth._ledger.spent(ALL_TIME)
        self.highest = max(self.highest, total.used.micro_usd + total.held.micro_usd)
        poor = self._disk.truth._ledger.spent(POOR)
        if poor.used.micro_usd + poor.held.micro_usd > POOR_MICRO_USD + self._beyond["poor"]:
            self._floor.say(f"a key spent {poor.used.micro_usd + poor.held.micro_usd} of {POOR_MICRO_USD}")
        for command, result in zip(commands, results, strict=True):
            if isinstance(command, UpdateTask) and isinstance(result, Applied):
                self._routed(command)

    def _allowed(self) -> int:
        return self._hard_cap + self._beyond[""]

    def _entered(self, entry: LedgerEntry) -> None:
        super()._entered(entry)
        if entry.kind is EntryKind.RESERVE:
            self._held[entry.attempt] = entry.amount.micro_usd
        elif entry.kind is EntryKind.SETTLE:
            held = self._held.get(entry.attempt, 0)
            beyond = max(0, min(entry.amount.micro_usd - held, held // MISJUDGED))
            for key in {"", entry.scopes.key}:
                self._beyond[key] += beyond

    def _routed(self, command: UpdateTask) -> None:
        """Whether an endpoint is left alone for as long as it said."""
        task, attempt = command.task, command.attempt
        if attempt is None:
            return
        if attempt.finished_ms is not None:
            self._ends.setdefault((task.id, attempt.generation), asyncio.get_running_loop().time())
            failure = attempt.failure
            if failure is not None and failure.kind is FailureClass.RATE_LIMIT and failure.retry_after_ms:
                now_ms = task.updated_ms
                self._blocked[self._disk.epoch, attempt.endpoint or ""] = (now_ms, now_ms + failure.retry_after_ms)
        elif task.state is TaskState.ASSIGNED and attempt.endpoint is not None:
            heard_ms, until_ms = self._blocked.get((self._disk.epoch, attempt.endpoint), (0, 0))
            if heard_ms < attempt.assigned_ms < until_ms and task.facts.kind.value != "agent":
                self._floor.say(f"{task.id} was sent to {attempt.endpoint} before it said to come back")

    def waiters(self) -> None:
        """Nothing that could run waits beyond its bound; to be asked now and then."""
        loop_s = asyncio.get_running_loop().time()
        site = self._world.leader()
        if site is None or site.parts is None or loop_s < FAULTS_UNTIL_S + WAIT_BOUND_S:
            return
        scheduler, now_ms = site.parts.pump.scheduler, site.timing.now_ms()
        for name, task in scheduler.books.tasks.items():
            wait = scheduler.wait_of(name) if task.state is TaskState.QUEUED else None
            since_ms = max(task.eligible_ms or now_ms, task.queued_ms or now_ms)
            if wait is not None and wait.code in _COULD_RUN and now_ms - since_ms > WAIT_BOUND_S * 1_000:
                self._floor.say(
                    f"{name} could run and waits since {(now_ms - since_ms) / 1_000:.0f} s: {wait.code.value}"
                )

    async def at_the_end(self, acknowledged: set[str], cancelled: set[str]) -> None:
        """As in every world, and what people and the loop came to."""
        await super().at_the_end(acknowledged, cancelled)
        rows = await self._disk.truth.rows(sorted(self._disk.truth._records))
        for name, task in sorted(rows.items()):
            if task.state is TaskState.NEEDS_HUMAN:
                self._floor.say(f"{name} asks a person for ever")
        for key in await self._disk.truth.keys():
            if key.name.startswith(PREFIX) and key.revoked_ms is None:
                self._floor.say(f"the key {key.name} still opens models")
        await self._looped()

    async def _looped(self) -> None:
        floor = self._floor
        loops = await self._disk.truth.loops()
        if self._world.people.looped and [loop.status for loop in loops] != [LoopStatus.FINISHED]:
            floor.say(f"the loop never ended: {[(loop.status.value, loop.reason) for loop in loops]}")
        steps = {name: record.task for name, record in self._disk.truth._records.items() if name.startswith("loop-")}
        for loop in loops:
            if loop.status is LoopStatus.FINISHED and loop.total_ticks_run != LOOPS * TICKS:
                floor.say(f"the loop {LOOP} ran {loop.total_ticks_run} ticks of {LOOPS * TICKS}")
        done = [name for name, task in sorted(steps.items()) if task.state is TaskState.SUCCEEDED]
        if len(done) != len({name.rsplit("-again", 1)[0] for name in done}):
            floor.say(f"a tick was done twice: {done}")
