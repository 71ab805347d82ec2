"""The attempts of this worker: each in a slot of its kind, from assignment to the end that is reported.

Invariants:
- Every attempt that was accepted ends with exactly one Finished.
- Never more attempts of a kind run than slots were offered; one too many (the hub takes a slot as free when it cancels,
  the process needs a moment longer) waits for its slot.
- An attempt that is known, running or ended, is not started again; the hub may hand it out as often as it likes.
- Two attempts of one task never run at once: a newer one waits until the older has ended, an older one is refused.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from ostler.domain.errors import NotAllowedError
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Assignment, Finished, Report, Started
from ostler.workers.guard import ATTEMPT_TAG, SESSION_TAG, TASK_TAG, WORKER_TAG
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Key, Run, Runner
from ostler.workers.timing import Timing, cancelled, first
from ostler.workers.verification import Verifier

TASKS_KEPT = 4096
"""Tasks remembered after their last attempt ended, so that a repeated assignment is known."""

SLOT_WAIT_S = 20.0
"""How long an attempt may wait for its slot; much less than the hub waits for the start of an assignment."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker may and can run, and how it checks the work. Kinds in `self_checked` run their checks themselves,
    where their work is.

    Without a verifier, a task with checks of its own is refused: unchecked work never passes for checked work.
    """

    rules: WorkerRules
    runners: Mapping[TaskKind, Runner]
    verifier: Verifier | None = None
    self_checked: frozenset[TaskKind] = frozenset()


class AttemptPool:
    """All attempts of one daemon, over its sessions.

    `slots` are those of the offer; `identity` is the worker's tag (see `guard.ReaperGuard`).
    """

    def __init__(
        self,
        abilities: Abilities,
        slots: Mapping[TaskKind, int],
        *,
        identity: str,
        timing: Timing,
        emit: Callable[[Report], None],
    ) -> None:
        self._abilities = abilities
        self._slots = slots
        self._identity = identity
        self._timing = timing
        self._emit = emit
        self._busy = dict.fromkeys(TaskKind, 0)
        self._slot_freed = asyncio.Event()
        self._runs: dict[Key, Run] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._newest: OrderedDict[str, int] = OrderedDict()
        """Task -> highest generation ever seen here, in the order in which they were last seen."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def keys(self) -> frozenset[Key]:
        """Attempts in hand."""
        return frozenset(self._tasks)

    def start(self, assignment: Assignment, session_id: str) -> bool:
        """Take on an attempt; `False` when it is known already or older than a known one of its task."""
        key = (assignment.task_id, assignment.generation)
        if self._newest.get(key[0], -1) >= key[1]:
            return False
        self._remember(key)
        older = [task for (task_id, _), task in self._tasks.items() if task_id == key[0]]
        for (task_id, _), run in self._runs.items():
            if task_id == key[0]:
                run.stop.stop(FailureClass.WORKER_LOST, "a newer attempt took its place", now=True)
        tags = {
            WORKER_TAG: self._identity,
            SESSION_TAG: session_id,
            TASK_TAG: key[0],
            ATTEMPT_TAG: f"{key[0]}.{key[1]}",
        }
        run = Run(assignment, tags=tags, clock=self._timing, emit=self._emit)
        self._runs[key] = run
        self._tasks[key] = asyncio.create_task(self._live(run, older), name=f"attempt {key[0]}.{key[1]}")
        return True

    def known(self, keys: Iterable[Key]) -> None:
        """Attempts that have ended under an earlier daemon: they are not started again, should they still come."""
        for key in sorted(keys):
            if self._newest.get(key[0], -1) < key[1]:
                self._remember(key)

    def cancel(self, key: Key) -> bool:
        """Kill an attempt on request; whether this was news.

        One that never came here is reported as cancelled, and not started should its assignment still come.
        """
        run = self._runs.get(key)
        if run is not None:
            is_news = not run.stop.is_asked
            run.stop.stop(FailureClass.CANCELLED, "cancelled on request")
            return is_news
        if self._newest.get(key[0], -1) >= key[1]:
            return False
        self._remember(key)
        at_ms = self._timing.now_ms()
        failure = Failure(kind=FailureClass.CANCELLED, message="it was not running on this worker", at_ms=at_ms)
        self._emit(Finished(task_id=key[0], generation=key[1], at_ms=at_ms, ok=False, failure=failure))
        return True

    def stop_all(self, message: str, *, now: bool = False) -> None:
        """Ask every attempt to end because this worker stops or has lost its session."""
        for run in self._runs.values():
            run.stop.stop(FailureClass.WORKER_LOST, message, now=now)

    async def all_ended(self) -> None:
        """Wait until nothing runs."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def abandon(self) -> None:
        """Kill everything on the spot, for a daemon that is itself being cancelled."""
        await cancelled(*self._tasks.values())

    def _remember(self, key: Key) -> None:
        self._newest[key[0]] = key[1]
        self._newest.move_to_end(key[0])
        while len(self._newest) > TASKS_KEPT + len(self._runs):
            oldest, generation = self._newest.popitem(last=False)
            if any(task_id == oldest for task_id, _ in self._runs):
                self._newest[oldest] = generation

    async def _live(self, run: Run, older: list[asyncio.Task[None]]) -> None:
        """One attempt from its assignment to its report."""
        try:
            if older:
                await asyncio.wait(older)
            self._emit(await self._in_slot(run))
        finally:
            del self._runs[run.key], self._tasks[run.key]

    async def _in_slot(self, run: Run) -> Finished:
        kind = run.spec.kind
        slots = self._slots.get(kind, 0)
        runner = self._abilities.runners.get(kind)
        if runner is None or slots == 0:
            return run.failed(FailureClass.POLICY, f"this worker did not offer to run tasks of kind '{kind}'")
        if not await self._take_slot(run, slots):
            return run.stopped()
        left_s, message = self._time_left(run)
        timer = asyncio.create_task(self._time_limit(run, left_s, message))
        try:
            if left_s <= 0:
                return run.failed(FailureClass.TIMEOUT, message)
            task_id, generation = run.key
            self._emit(Started(task_id=task_id, generation=generation, at_ms=self._timing.now_ms()))
            return await self._work(run, runner)
        finally:
            self._busy[kind] -= 1
            self._slot_freed.set()
            await cancelled(timer)

    async def _take_slot(self, run: Run, slots: int) -> bool:
        """Wait for a slot; `False` when the attempt was asked to stop before it had one."""
        kind = run.spec.kind
        waiting = asyncio.create_task(self._slot_wait_limit(run))
        try:
            while not run.stop.is_asked:
                # Nothing may be awaited between the look and the taking.
                if self._busy[kind] < slots:
                    self._busy[kind] += 1
                    return True
                self._slot_freed.clear()
                await first(self._slot_freed.wait(), run.stop.asked())
            return False
        finally:
            await cancelled(waiting)

    async def _slot_wait_limit(self, run: Run) -> None:
        await self._timing.sleep(SLOT_WAIT_S)
        run.stop.stop(FailureClass.WORKER_LOST, f"no slot of this worker became free within {SLOT_WAIT_S:g} s")

    def _time_left(self, run: Run) -> tuple[float, str]:
        """Seconds until the nearest limit of time, and what to say when it is reached."""
        limits = [(math.inf, "")]
        if run.spec.timeout_s is not None:
            limits.append((run.spec.timeout_s, f"took longer than its limit of {run.spec.timeout_s:g} s"))
        if run.assignment.deadline_ms is not None:
            left_s = (run.assignment.deadline_ms - self._timing.now_ms()) / 1000
            limits.append((left_s, "its deadline has passed"))
        return min(limits)

    async def _time_limit(self, run: Run, left_s: float, message: str) -> None:
        """Ask the run to stop when its time is up; that covers the work and its checks together."""
        if left_s < math.inf:
            await self._timing.sleep(left_s)
            run.stop.stop(FailureClass.TIMEOUT, message)

    async def _work(self, run: Run, runner: Runner) -> Finished:
        verifier = self._abilities.verifier
        if run.spec.verify and verifier is None:
            return run.failed(FailureClass.POLICY, "this worker may not run the task's verify commands")
        try:
            self._abilities.rules.check_kind(run.spec.kind)
            if run.spec.kind in self._abilities.self_checked:
                return await runner.run(run)
            checks = verifier.prepare(run) if verifier is not None else ()
            work = await runner.run(run)
            if work.ok and checks and verifier is not None:
                return await verifier.verify(checks, run, work)
            return work
        except NotAllowedError as error:
            return run.failed(FailureClass.POLICY, str(error))
        except Exception as error:  # boundary: every accepted attempt ends with a report, whatever its runner does
            return run.failed(FailureClass.ENVIRONMENT, f"the worker failed on it: {type(error).__name__}: {error}")
