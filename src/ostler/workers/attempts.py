"""The attempts of this worker: each in a slot of its kind, from assignment to the end that is reported.

Invariants:
- Every attempt that was accepted ends with exactly one Finished.
- Never more attempts of a kind run than slots were offered; one too many (the hub takes a slot as free when it cancels,
  the process needs a moment longer) waits for its slot.
- An attempt that is known, running or ended, is not started again; the hub may hand it out as often as it likes.
- Two attempts of one task never run at once: a newer one waits until the older has ended, an older one is refused.
- None begins without the right to run: between its assignment and its turn the daemon may have been frozen for longer
  than the lease.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import msgspec

from ostler.domain.errors import NotAllowedError
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Assignment, Finished, Report, Started
from ostler.workers.book import Book, Entry
from ostler.workers.guard import ATTEMPT_TAG, SESSION_TAG, TASK_TAG, WORKER_TAG
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Key, Run, Runner
from ostler.workers.timing import Timing, cancelled, first
from ostler.workers.verification import Verifier

TASKS_KEPT = 4096
"""Tasks remembered after their last attempt ended, so that a repeated assignment is known."""

SLOT_WAIT_S = 20.0
"""How long an attempt may wait for its slot; much less than the hub waits for the start of an assignment."""

DUE_MARGIN_S = 15.0
"""Beyond its time, until the supervisors of its commands end them: a daemon that lives does it before, with a grace."""


def attempt_tag(key: Key) -> str:
    """The value of an attempt's tag."""
    return f"{key[0]}.{key[1]}"


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

    `slots` are those of the offer; `identity` is the worker's tag (see `guard.ReaperGuard`). What has commands of its
    own is in the `book` while it runs. `has_right`: whether the lease is good at this instant.
    """

    def __init__(
        self,
        abilities: Abilities,
        slots: Mapping[TaskKind, int],
        *,
        identity: str,
        timing: Timing,
        emit: Callable[[Report], None],
        book: Book | None = None,
        has_right: Callable[[], bool] = lambda: True,
    ) -> None:
        self._book = book
        self._has_right = has_right
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
        run = Run(
            assignment,
            tags=self._tags(key, session_id),
            clock=self._timing,
            emit=self._emit,
            has_right=self._has_right,
        )
        self._begin(run, self._live(run, self._older(key[0]), session_id))
        return True

    def take_up(self, entry: Entry) -> None:
        """Go on with an attempt that an earlier daemon began. It has its slot, however many there are by now."""
        self._remember(entry.key)
        run = Run(
            entry.assignment,
            tags=self._tags(entry.key, entry.session_id),
            clock=self._timing,
            emit=self._emit,
            folder=self._book.folder_of(entry.key) if self._book is not None else None,
            before_us=max(1, self._timing.stopwatch_us() - entry.begun_us),
            has_right=self._has_right,
        )
        self._begin(run, self._go_on(run, entry))

    def give_up(self, entry: Entry, message: str) -> None:
        """An attempt of an earlier daemon is over; nothing of it runs any more."""
        self._remember(entry.key)
        run = Run(entry.assignment, tags={}, clock=self._timing, emit=self._emit)
        self._emit(run.failed(FailureClass.WORKER_LOST, message))
        self._strike_out(entry.key)

    def _begin(self, run: Run, life: Coroutine[Any, Any, None]) -> None:
        self._runs[run.key] = run
        task = self._tasks[run.key] = asyncio.create_task(life, name=f"attempt {attempt_tag(run.key)}")
        task.add_done_callback(lambda _: self._over(run))  # also where it was ended before it began

    def _tags(self, key: Key, session_id: str) -> Mapping[str, str]:
        return {
            WORKER_TAG: self._identity,
            SESSION_TAG: session_id,
            TASK_TAG: key[0],
            ATTEMPT_TAG: attempt_tag(key),
        }

    def _older(self, task: str) -> list[asyncio.Task[None]]:
        """Earlier attempts of a task; they are asked to end at once."""
        for (task_id, _), run in self._runs.items():
            if task_id == task:
                run.stop.stop(FailureClass.WORKER_LOST, "a newer attempt took its place", now=True)
        return [life for (task_id, _), life in self._tasks.items() if task_id == task]

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

    async def _live(self, run: Run, older: list[asyncio.Task[None]], session_id: str) -> None:
        """One attempt from its assignment to its report."""
        if older:
            await asyncio.wait(older)
        self._emit(await self._in_slot(run, session_id))

    async def _go_on(self, run: Run, entry: Entry) -> None:
        """As `_live`, from where an earlier daemon left it. Its start is told again: maybe nobody heard of it."""
        runner = self._abilities.runners.get(run.spec.kind)
        if runner is None:
            self._emit(run.failed(FailureClass.POLICY, f"this worker runs no tasks of kind '{run.spec.kind}' now"))
            return
        self._busy[run.spec.kind] += 1
        self._emit(await self._holding_slot(run, runner, entry.begun_ms))

    def _over(self, run: Run) -> None:
        del self._runs[run.key], self._tasks[run.key]
        self._strike_out(run.key)

    def _strike_out(self, key: Key) -> None:
        if self._book is not None:
            self._book.end(key)

    async def _in_slot(self, run: Run, session_id: str) -> Finished:
        kind = run.spec.kind
        slots = self._slots.get(kind, 0)
        runner = self._abilities.runners.get(kind)
        if runner is None or slots == 0:
            return run.failed(FailureClass.POLICY, f"this worker did not offer to run tasks of kind '{kind}'")
        if not await self._take_slot(run, slots):
            return run.stopped()
        now_ms, now_us = self._timing.now_ms(), self._timing.stopwatch_us()
        if self._book is not None and kind is not TaskKind.CHAT:
            entry = Entry(assignment=run.assignment, session_id=session_id, begun_ms=now_ms, begun_us=now_us)
            run.folder = self._book.begin(entry)
        return await self._holding_slot(run, runner, now_ms)

    async def _holding_slot(self, run: Run, runner: Runner, begun_ms: int) -> Finished:
        left_s, message = self._time_left(run)
        timer = asyncio.create_task(self._time_limit(run, left_s, message))
        try:
            if left_s <= 0 and not run.before_us:
                return run.failed(FailureClass.TIMEOUT, message)
            # Nothing may be awaited between the look and the start.
            if not run.before_us and not run.has_right():
                return run.failed(FailureClass.WORKER_LOST, "the lease of its worker ended before it began")
            if left_s < math.inf:
                run.due_us = self._timing.stopwatch_us() + round((max(0.0, left_s) + DUE_MARGIN_S) * 1_000_000)
            task_id, generation = run.key
            self._emit(Started(task_id=task_id, generation=generation, at_ms=begun_ms))
            return await self._work(run, runner)
        finally:
            self._busy[run.spec.kind] -= 1
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
            waiting.cancel()  # not waited for: whoever is ended meanwhile would keep the slot

    async def _slot_wait_limit(self, run: Run) -> None:
        await self._timing.sleep(SLOT_WAIT_S)
        run.stop.stop(FailureClass.WORKER_LOST, f"no slot of this worker became free within {SLOT_WAIT_S:g} s")

    def _time_left(self, run: Run) -> tuple[float, str]:
        """Seconds until the nearest limit of time, and what to say when it is reached."""
        limits = [(math.inf, "")]
        if run.spec.timeout_s is not None:
            limits.append(
                (run.spec.timeout_s - run.before_us / 1e6, f"took longer than its limit of {run.spec.timeout_s:g} s")
            )
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
