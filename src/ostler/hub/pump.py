"""The shell of the scheduler: signals in, effects out to store, workers and prober; one alarm for its timers.

Order of one signal: the actor decides (synchronously) -> its commands go to the store as one batch -> when they are
durable, assignments go to the workers' outboxes and followers of the event log are woken; refusals go back to the actor
as signals. `post` returns when all of that is done; the actor itself never waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from ostler.domain.clock import Clock
from ostler.domain.commands import (
    AppendEvents,
    Applied,
    Command,
    DropSession,
    PutObservations,
    Refused,
    Result,
    UpdateTask,
)
from ostler.domain.errors import OstlerError
from ostler.domain.observations import Observation
from ostler.domain.ports import Store
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.domain.trace import attempt_span, traceparent
from ostler.domain.work import Assignment, ModelRoute
from ostler.hub.committer import Committer
from ostler.hub.handing import NO_EQUIPMENT, Equipment, Handed, as_decided, hand_over, needed_results
from ostler.hub.outbox import Outbox
from ostler.scheduling import Scheduler
from ostler.scheduling.effects import (
    Apply,
    Assign,
    DenyCall,
    Effect,
    Emit,
    LoadModel,
    ProbeNow,
    Replan,
    RunCall,
    Stop,
    UnloadModel,
)
from ostler.scheduling.signals import CommandRefused, Signal, Wake
from ostler.telemetry.spans import trace_of

SLICE = 16
"""Decisions that are made before whatever else has come in is listened to again."""
_ANSWERS = (RunCall, DenyCall)
"""As a pair made once: this is asked with each call that comes and goes."""


async def _nothing(_task: Task, _route: ModelRoute | None) -> Equipment:
    return NO_EQUIPMENT


def _open() -> str:
    return ""


Observer = Callable[[Sequence[tuple[Command, Applied]]], None]


class Pump:
    """Runs the actor."""

    def __init__(self, scheduler: Scheduler, store: Store, clock: Clock) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self._store = store
        self._log = structlog.get_logger("ostler.hub")
        self.committer = Committer(store, self._fatal)
        self.outboxes: dict[str, Outbox] = {}
        self.probe_now: Callable[[str], None] = lambda _: None
        self.load: Callable[[LoadModel | UnloadModel], None] = lambda _: None
        """Begins a load or an unload; its end comes back as a signal."""
        self.equip: Callable[[Task, ModelRoute | None], Awaitable[Equipment]] = _nothing
        """What an agent's attempt needs beside its spec; asked before it is handed to its worker."""
        self.attempt_ended: Callable[[Task, int], None] = lambda _task, _generation: None
        """Told when the end of an agent's attempt is durable; maybe more than once."""
        self.observed: Callable[[Sequence[Observation]], None] = lambda _: None
        """Told of outcomes of attempts when they are durable."""
        self.replan: Callable[[Replan], None] = lambda _: None
        self.answer_call: Callable[[RunCall | DenyCall], None] = lambda _: None
        """Takes the answer for a live call, which stores nothing: before what else the signal brought is durable."""
        self.observers: list[Observer] = []
        """Told of what is durable, after it is. They are quick; what one raises is logged and stops nothing."""
        self.traces = False
        """Whether attempts hand on a trace of ours where their submitter has none."""
        self.takeover_ms = 0
        """How soon another hub may take the place of this one while its process lives; 0 = none can."""
        self.closed_because: Callable[[], str] = _open
        """Why this hub may begin nothing at an endpoint; empty while it may. One of several hubs must not once another
        one may lead: what waits in its memory is no longer its own to let go.
        """
        self.fatal: asyncio.Future[BaseException] | None = None
        self.news = asyncio.Condition()
        """Notified whenever new events are durable."""
        self.last_seq = 0
        """Number of the newest event that is durable."""
        self.closing = False
        """Set before the faces stop: followers end instead of being cut."""
        self._had_its_round = False
        """Whether a round was made since the hub listened: then the next one waits until it has listened again."""
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ms = 0
        self._tasks: set[asyncio.Task[bool]] = set()
        self._stopped = False

    def why_closed(self) -> str:
        """See `closed_because`."""
        return self.closed_because()

    def start(self) -> None:
        """Start committing."""
        self.fatal = asyncio.get_running_loop().create_future()
        self.committer.start()

    async def close_followers(self) -> None:
        """Let everyone who follows the events come to an end."""
        self.closing = True
        await self._tell([])

    async def stop(self) -> None:
        """Finish what is under way, then stop; no signal is taken any more."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.committer.stop()

    async def post(self, signal: Signal) -> bool:
        """Handle a signal and wait until its effects are durable, and with them all that came before; whether there was
        anything to store. Raises what the actor refuses.
        """
        return await asyncio.shield(self.start_signal(signal))

    def start_signal(self, signal: Signal) -> asyncio.Task[bool]:
        """Handle a signal now; its effects are carried out by the returned task, which tells what `post` does."""
        return self._carry_on(self._handle(signal, 0 if self._had_its_round else SLICE))

    def tell(self, signal: Signal) -> None:
        """As `start_signal`, for who does not wait. Where the only effects are answers to live calls, all is done when
        this returns, without a task.
        """
        effects = self._handle(signal, SLICE)
        if effects:
            _ = self._carry_on(effects)

    def _handle(self, signal: Signal, most: int) -> list[Effect]:
        """Have the actor decide and answer live calls; returns the other effects. `most`: see `Scheduler.handle`."""
        effects = self.scheduler.handle(signal, self.clock.now_ms(), most=most)
        self._set_alarm()
        if not self._had_its_round and (effects or self.scheduler.is_due):
            self._had_its_round = True
            asyncio.get_running_loop().call_soon(self._next_round)
        others: list[Effect] = []
        for effect in effects:
            if isinstance(effect, _ANSWERS):
                self.answer_call(effect)
            else:
                others.append(effect)
        return others

    def _next_round(self) -> None:
        """The hub has listened: go on with what is due. So a signal that comes alone is answered at once, and of many
        that come together all are taken in, between any two parts of the round that answers them.
        """
        self._had_its_round = False
        if self.scheduler.is_due and not self._stopped:
            effects = self._handle(Wake(), SLICE)
            if effects:
                _ = self._carry_on(effects)

    def _carry_on(self, effects: list[Effect]) -> asyncio.Task[bool]:
        task = asyncio.create_task(self._carry_out(effects))
        self._tasks.add(task)
        task.add_done_callback(self._carried)
        return task

    def _carried(self, task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a store that gave up is reported once, through `fatal`

    async def apply(self, commands: list[Command]) -> list[Result]:
        """Store commands that are no business of the actor, in order with its own; wakes the followers."""
        results = await asyncio.shield(self.committer.apply(commands))
        self._observed(commands, results)
        await self._tell(results)
        return results

    async def _carry_out(self, effects: list[Effect]) -> bool:
        commands: list[Command] = []
        stored: list[Effect] = []  # the effect of each command, at the same index
        for effect in effects:
            match effect:
                case Apply() | Assign():
                    commands.append(effect.command)
                    stored.append(effect)
                    if isinstance(effect.command, DropSession):
                        self.outboxes.pop(effect.command.session_id, None)
                case Emit():
                    last = commands[-1] if commands else None
                    if isinstance(last, AppendEvents):
                        commands[-1] = AppendEvents(events=(*last.events, effect.event))
                    else:
                        commands.append(AppendEvents(events=(effect.event,)))
                        stored.append(effect)
                case RunCall() | DenyCall():
                    pass  # answered at once, see `_handle`
                case _:
                    self._hand_on(effect)
        if not commands:
            return False
        results = await self.committer.apply(commands, must=True)
        self._observed(commands, results)
        for effect, result in zip(stored, results, strict=True):
            self._after(effect, result)
        await self._tell(results)
        await self._deliver_all(stored, results)
        return True

    def outbox_of(self, session_id: str) -> Outbox | None:
        """The mail of a session; `None` when there is no such session.

        Sessions outlive the hub's process and their mail does not, so it is made for the first who needs it: a worker
        that polls, or what is to be told to it.
        """
        found = self.outboxes.get(session_id)
        if found is None and session_id in self.scheduler.books.workers.states:
            found = self.outboxes[session_id] = Outbox()
        return found

    def _hand_on(self, effect: Stop | ProbeNow | LoadModel | UnloadModel | Replan) -> None:
        """An effect that stores nothing: somebody else's to carry out."""
        match effect:
            case Stop():
                outbox = self.outbox_of(effect.session_id)
                if outbox is not None:
                    outbox.stop(effect.task_id, effect.generation)
            case ProbeNow():
                self.probe_now(effect.endpoint)
            case LoadModel() | UnloadModel():
                self.load(effect)
            case Replan():
                self.replan(effect)

    def _after(self, effect: Effect, result: Result) -> None:
        if isinstance(effect, Apply) and isinstance(effect.command, PutObservations) and isinstance(result, Applied):
            self.observed(effect.command.observations)
        if isinstance(effect, Apply) and isinstance(effect.command, UpdateTask):
            attempt = effect.command.attempt
            # Refused, it is over as well: the store has its end, unknown to us, or has gone beyond it.
            if attempt is not None and attempt.finished_ms is not None:
                self._attempt_ended(effect.command.task, attempt.generation)
        if isinstance(result, Refused) and isinstance(effect, Apply | Assign):
            command = effect.command
            if isinstance(command, UpdateTask) and not self._stopped:
                signal = CommandRefused(task_id=command.task.id, generation=command.task.generation, result=result)
                _ = self.start_signal(signal)

    def _attempt_ended(self, task: Task, generation: int) -> None:
        if task.facts.kind is TaskKind.AGENT:
            self.attempt_ended(task, generation)

    async def _deliver_all(self, stored: list[Effect], results: list[Result]) -> None:
        """Hand durable assignments to their workers; those that are handed results come after the others."""
        waiting: list[tuple[Assign, TaskSpec]] = []
        for effect, result in zip(stored, results, strict=True):
            if not isinstance(effect, Assign) or not isinstance(result, Applied) or result.spec is None:
                continue
            if effect.command.task.needs:
                waiting.append((effect, result.spec))
            elif effect.command.task.facts.kind is TaskKind.AGENT:
                await self._deliver_agent(effect, Handed(spec=result.spec))
            else:
                self._deliver(effect, Handed(spec=result.spec))
        if waiting:
            await self._deliver_with_results(waiting)

    async def _deliver_agent(self, effect: Assign, handed: Handed) -> None:
        """An attempt that cannot be equipped is left to the timer for unstarted attempts."""
        task = effect.command.task
        try:
            equipment = await self.equip(task, effect.route)
        except OstlerError as error:
            self._log.warning("an agent cannot be equipped", error=str(error), task=task.id)
            if not self._is_held(effect):
                self.attempt_ended(task, task.generation)
            return
        if self._is_current(effect):
            self._deliver(effect, handed, equipment)
        else:
            self.attempt_ended(task, task.generation)

    async def _deliver_with_results(self, waiting: list[tuple[Assign, TaskSpec]]) -> None:
        """One look into the store for all of them. One that fails leaves them to the timer for unstarted attempts."""
        try:
            found = await needed_results(self._store, [spec for _, spec in waiting])
        except OstlerError as error:
            self._log.warning("results cannot be read", error=str(error), assignments=len(waiting))
            return
        policy, now_ms = self.scheduler.books.policy, self.clock.now_ms()
        said = []
        for (effect, spec), results in zip(waiting, found, strict=True):
            handed = hand_over(effect.command.task, spec, results, effect.route, policy, now_ms)
            if self._is_current(effect):
                if spec.kind is TaskKind.AGENT:
                    await self._deliver_agent(effect, handed)
                else:
                    self._deliver(effect, handed)
                said += [handed.event] if handed.event is not None else []
        if said:
            await self._publish([AppendEvents(events=tuple(said))])

    def _is_current(self, effect: Assign) -> bool:
        """Whether nobody took the attempt back or cancelled it while its results were read."""
        return self._is_held(effect) and effect.command.task.id not in self.scheduler.books.cancelling

    def _is_held(self, effect: Assign) -> bool:
        assigned = effect.command.task
        task = self.scheduler.books.tasks.get(assigned.id)
        return task is not None and (task.generation, task.session) == (assigned.generation, effect.session_id)

    def _deliver(self, effect: Assign, handed: Handed, equipment: Equipment = NO_EQUIPMENT) -> None:
        outbox = self.outbox_of(effect.session_id)
        if outbox is None or not self._is_held(effect):
            return  # the session ended, or its worker came back without it: the attempt was taken back
        outbox.assign(
            Assignment(
                task_id=effect.command.task.id,
                generation=effect.command.task.generation,
                spec=as_decided(handed.spec, effect.command.task, effect.route),
                tier=effect.tier,
                route=effect.route,
                results=handed.results,
                key=equipment.key,
                judge=equipment.judge,
                notes=equipment.notes,
                traceparent=self._traceparent(effect.command.task),
            )
        )

    def _traceparent(self, task: Task) -> str:
        """What an attempt hands on, where anyone traces the task."""
        if task.trace is None and not self.traces:
            return ""
        return traceparent(trace_of(task), attempt_span(task.id, task.generation))

    async def _publish(self, commands: list[Command]) -> None:
        results = await self.committer.apply(commands, must=True)
        self._observed(commands, results)
        await self._tell(results)

    def _observed(self, commands: Sequence[Command], results: Sequence[Result]) -> None:
        if self.observers:
            applied = [
                (command, result)
                for command, result in zip(commands, results, strict=True)
                if isinstance(result, Applied)
            ]
            for observer in self.observers:
                try:
                    observer(applied)
                except Exception as error:  # boundary: whoever only looks must not stop what is done
                    self._log.error("an observer failed", error=str(error), kind=type(error).__name__)

    async def _tell(self, results: list[Result]) -> None:
        newest = (result.last_seq for result in results if isinstance(result, Applied))
        self.last_seq = max(self.last_seq, *newest, 0)
        async with self.news:
            self.news.notify_all()

    def _set_alarm(self) -> None:
        """Have the alarm ring when the actor wants it, or before: one that rings too early is set anew (`_ring`), which
        is cheaper than moving it with each call that comes and goes.
        """
        due_ms = self.scheduler.next_wake_ms()
        if due_ms is None or self._stopped or (self._alarm is not None and self._alarm_ms <= due_ms):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        delay_s = max(0, due_ms - self.clock.now_ms()) / 1000
        self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring)
        self._alarm_ms = due_ms

    def _ring(self) -> None:
        self._alarm = None
        if self._stopped:
            return
        due_ms = self.scheduler.next_wake_ms()
        if due_ms is not None and due_ms <= max(self._alarm_ms, self.clock.now_ms()):
            _ = self.start_signal(Wake())
        else:
            self._set_alarm()

    def _fatal(self, error: BaseException) -> None:
        if self.fatal is not None and not self.fatal.done():
            self.fatal.set_result(error)
