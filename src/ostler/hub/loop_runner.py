"""The hub's side of loops: it looks, takes the steps of `ostler.loops`, and hands their tasks to the queue.

A look reads all loops from the store, takes each step that can be taken, and stores it over the version it was made
from. Only then its task is handed in, under an id that follows from the loop. So whatever ends a hub between two
writes, the next look of any hub goes on from there; of several that look at once, one takes the step.

It looks when a loop is due, when a task of a loop has ended or begins to wait for money, after each verb, and every
`LOOK_EVERY_S` in any case; a look that failed, of all loops or of one, is taken again after `AGAIN_S`. Between two
looks others always get their turn. O(loops) a look; nothing is read while there is nothing to do.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
import structlog

from ostler.budget.windows import EARLIEST_MS, LATEST_MS
from ostler.domain.commands import Refused, SaveLoop
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError
from ostler.domain.ledger import Span
from ostler.domain.limits import ScopeKind
from ostler.domain.loops import Loop, ScheduleConfig
from ostler.domain.ports import Store
from ostler.domain.states import FINAL_STATES, TaskState, WaitCode
from ostler.domain.tasks import Task, TaskSpec
from ostler.hub.pump import Pump
from ostler.loops import machine
from ostler.loops.machine import Ended, Step
from ostler.loops.work import extract, step_spec, summary_spec
from ostler.scheduling.purse import waits_for_part

LOOK_EVERY_S = 5.0
AGAIN_S = 1.0
LEAST_S = 0.001
"""What is due in less than the clock can tell."""
TRIES = 20
"""Others may store a loop between our look and our step; so often it is tried again."""
SESSION = "loop:"


class LoopRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the profile says of loops."""

    defaults: ScheduleConfig = ScheduleConfig()
    summarize_every: int = 10
    """Ticks between summaries of older answers; 0 = never."""
    window: int = 30
    """Answers that are kept as they were given, until they are summarised; older ones are forgotten."""
    tokens: int = 4_000
    """Length of a prompt where the tier of the work does not say."""


class Queue(Protocol):
    """What a loop needs of the hub."""

    async def submit(self, specs: list[TaskSpec]) -> object:
        """Accept tasks; the same again is no mistake."""
        ...

    async def cancel(self, task_id: str, reason: str = "") -> Task:
        """Cancel a task."""
        ...


class LoopRunner:
    """Takes the steps of all loops."""

    def __init__(self, pump: Pump, store: Store, queue: Queue) -> None:
        self.rules = LoopRules()
        self._pump = pump
        self._store = store
        self._queue = queue
        self._log = structlog.get_logger("ostler.loops")
        self._looking: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._kicked = asyncio.Event()
        self._watched: frozenset[str] = frozenset()
        """Tasks of loops that were with the queue at the last look."""
        self._due_ms: int | None = None
        self._seen_seq = 0
        """The newest durable event when the last look began."""
        self._poor: frozenset[str] = frozenset()
        """Tasks of loops that waited for money when the last look began."""

    async def start(self) -> None:
        """Take back what no loop wants any more, and begin to look."""
        await self._sweep()
        self._looking = asyncio.create_task(self._look_for_ever(), name="loops")

    async def stop(self) -> None:
        """Look no longer. Safe to repeat."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def look(self) -> bool:
        """Take every step that can be taken now; whether every loop could be looked after. One that cannot be keeps no
        other from its steps.
        """
        async with self._lock:
            self._seen_seq, self._poor = self._pump.last_seq, self._without_money()
            watched: set[str] = set()
            due_ms: list[int] = []
            whole = True
            for seen in await self._store.loops():
                loop = await self._looked_after(seen)
                whole = whole and loop is not None
                loop = loop or seen
                watched.update(_tasks_of(loop))
                due_ms += [wake_ms] if (wake_ms := machine.wake_ms(loop)) is not None else []
            self._watched, self._due_ms = frozenset(watched), min(due_ms, default=None)
            return whole

    async def _looked_after(self, seen: Loop) -> Loop | None:
        """The loop after all steps that it can take; `None` when something was in the way."""
        try:
            return await self._advance(seen)
        except Exception as error:  # boundary: whatever is wrong with one loop, the others go on
            what, kind = str(error), type(error).__name__
            self._log.warning("a loop cannot be looked after", loop=seen.name, error=what, kind=kind)
            return None

    async def stepped(self, name: str, step: Callable[[Loop, int], Step]) -> Loop:
        """Take a step that somebody asked for, and what follows from it; the loop after that. Raises what the step
        refuses.
        """
        for _ in range(TRIES):
            loop = await self.named(name)
            taken = step(loop, self._now_ms())
            if taken.loop == loop or await self._saved(loop, taken) is not None:
                await self.look()
                self._kicked.set()
                return await self.named(name)
        raise ConflictError(f"loop {name} changes all the time", remedy="try again")

    async def save_new(self, loop: Loop, step: Step) -> None:
        """Store a new loop. Raises `ConflictError` when there is one of this name."""
        saved = msgspec.structs.replace(step.loop, version=1)
        (result,) = await self._pump.apply([SaveLoop(loop=saved, events=step.events)])
        if isinstance(result, Refused):
            remedy = f"use another name, or 'ostler loop drop {loop.name}'"
            raise ConflictError(result.message, where="name", remedy=remedy)
        await self.look()
        self._kicked.set()

    async def named(self, name: str) -> Loop:
        """A loop by name. Raises `NotFoundError`."""
        for loop in await self._store.loops():
            if loop.name == name:
                return loop
        raise NotFoundError(f"there is no loop {name}", remedy="'ostler loop list' shows what there is")

    def waits(self, loop: Loop) -> str:
        """Why the step under way does not run, if it does not."""
        wait = self._pump.scheduler.wait_of(machine.wanted(loop) or "")
        return "" if wait is None else f"{wait.code.value}: {wait.detail}" if wait.detail else wait.code.value

    def _now_ms(self) -> int:
        return self._pump.clock.now_ms()

    async def _advance(self, loop: Loop) -> Loop:
        """Take the steps of one loop until there is none to take; the loop after them."""
        for _ in range(TRIES):
            step = machine.due(loop, self._now_ms())
            if step is None:
                step = await self._summarized(loop) or await self._stepped(loop)
            if step is None:
                break
            saved = await self._saved(loop, step)
            if saved is None:
                break  # somebody else took a step: the next look goes on
            loop = saved
        return loop

    async def _saved(self, seen: Loop, step: Step) -> Loop | None:
        """Store a step over what was seen and carry it out; `None` when somebody else was first."""
        loop = msgspec.structs.replace(step.loop, version=seen.version + 1)
        (result,) = await self._pump.apply([SaveLoop(loop=loop, events=step.events)])
        if isinstance(result, Refused):
            return None
        for task_id in step.cancel:
            await self._cancel(task_id)
        return loop

    async def _stepped(self, loop: Loop) -> Step | None:
        """What the task of the step under way makes possible; it is handed in if it is not with the queue yet."""
        task_id, run = machine.wanted(loop), loop.run
        if task_id is None or run is None:
            return None
        before = machine.taken_back(loop, run)
        found = await self._found(task_id, lambda: step_spec(loop, run, self._tokens(loop)), before)
        if found is None:
            return machine.no_money(loop, task_id, self._now_ms()) if self._waits_for_money(task_id) else None
        every, keep = self.rules.summarize_every, self.rules.window
        return machine.step_ended(loop, task_id, found, self._now_ms(), summarize_every=every, keep=keep)

    async def _summarized(self, loop: Loop) -> Step | None:
        """What the task that summarises makes possible. Without a model that answers, sentences are extracted."""
        job = loop.summarizing
        if job is None:
            return None
        task_id = machine.summary_id(loop, job)
        found = await self._found(task_id, lambda: summary_spec(loop, job))
        if found is None and self._waits_for_money(task_id):
            await self._cancel(task_id)
            found = Ended(ok=False, error="no money")
        if found is None:
            return None
        by_model = found.ok and bool(found.output.strip())
        text = found.output.strip() if by_model else extract(loop, job)
        return machine.summarized(loop, task_id, text, "model" if by_model else "extract", self._now_ms())

    async def _found(self, task_id: str, spec: Callable[[], TaskSpec], before: str | None = None) -> Ended | None:
        """How a task ended; `None` while it is open. One that nobody knows is handed in. `before`: a task that was
        taken back for this one; where it was too late for that, it counts.
        """
        if task_id in self._pump.scheduler.books.tasks:
            return None
        states = await self._store.states([task_id] if before is None else [task_id, before])
        if task_id not in states and before in states:
            if states[before] is TaskState.SUCCEEDED:
                return await self._ending(before, states[before])
            if states[before] not in FINAL_STATES:
                return None
        if states.get(task_id) in FINAL_STATES:
            return await self._ending(task_id, states[task_id])
        # Nobody knows it, or it is about to end, or its commit was not heard of: then the hub takes it up.
        return await self._handed_in(spec())

    async def _ending(self, task_id: str, state: TaskState) -> Ended:
        """What is in the records of a task that has ended."""
        task = (await self._store.rows([task_id]))[task_id]
        output = (await self._store.outputs([task_id])).get(task_id, "")
        span = Span(scope=ScopeKind.TASK, value=task_id, start_ms=EARLIEST_MS, end_ms=LATEST_MS)
        (spent,) = await self._store.spent([span])
        ok = state is TaskState.SUCCEEDED
        error = "" if ok else task.failure.message if task.failure is not None else f"it ended {state.value}"
        return Ended(ok=ok, output=output, error=error, cost_micro_usd=spent.used.micro_usd)

    async def _handed_in(self, spec: TaskSpec) -> Ended | None:
        """Hand a task in. What the hub does not take is a step that failed."""
        try:
            await self._queue.submit([spec])
        except ConflictError:
            return None  # another hub was first, and the loop was changed in between: its task counts
        except InvalidInputError as error:
            return Ended(ok=False, error=str(error))
        return None

    def _waits_for_money(self, task_id: str) -> bool:
        wait, books = self._pump.scheduler.wait_of(task_id), self._pump.scheduler.books
        return wait is not None and wait.code is WaitCode.BUDGET and not waits_for_part(books, task_id)

    def _tokens(self, loop: Loop) -> int:
        tiers = {tier.name: tier for tier in self._pump.scheduler.books.policy.catalog.tiers}
        tier = tiers.get(loop.work.tier or "")
        return tier.context_tokens if tier is not None and tier.context_tokens is not None else self.rules.tokens

    async def _cancel(self, task_id: str) -> None:
        with contextlib.suppress(NotFoundError, ConflictError):  # never handed in, or over already
            await self._queue.cancel(task_id, "its loop wants it no longer")

    async def _sweep(self) -> None:
        """Cancel open tasks of loops that their loop does not want: the hub was stopped before it could."""
        wanted = {task_id for loop in await self._store.loops() for task_id in _tasks_of(loop)}
        for task in list(self._pump.scheduler.books.tasks.values()):
            if (task.facts.session or "").startswith(SESSION) and task.id not in wanted:
                await self._cancel(task.id)

    async def _look_for_ever(self) -> None:
        while True:
            self._kicked.clear()
            try:
                whole = await self.look()
            except OstlerError as error:
                self._log.warning("loops cannot be looked after", error=str(error))
                whole = False
            await (self._rest() if whole else asyncio.sleep(AGAIN_S))

    async def _rest(self) -> None:
        """Until something may have changed for a loop."""
        left_s = LOOK_EVERY_S
        if self._due_ms is not None:
            left_s = min(left_s, max(LEAST_S, (self._due_ms - self._now_ms()) / 1000))
        waiting = (asyncio.ensure_future(self._kicked.wait()), asyncio.ensure_future(self._news()))
        try:
            await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _news(self) -> None:
        async with self._pump.news:
            await self._pump.news.wait_for(self._changed)

    def _changed(self) -> bool:
        """Whether a task of a loop has ended, or waits for money and did not before. Looks at memory only. The books
        let go of a task before its end is durable: then the next news of the store are waited for.
        """
        tasks = self._pump.scheduler.books.tasks
        ended = self._pump.last_seq != self._seen_seq and any(task_id not in tasks for task_id in self._watched)
        return ended or not self._without_money() <= self._poor

    def _without_money(self) -> frozenset[str]:
        return frozenset(task_id for task_id in self._watched if self._waits_for_money(task_id))


def _tasks_of(loop: Loop) -> Iterator[str]:
    """Tasks that have to be in the queue for it."""
    step = machine.wanted(loop)
    if step is not None:
        yield step
    if loop.summarizing is not None:
        yield machine.summary_id(loop, loop.summarizing)
