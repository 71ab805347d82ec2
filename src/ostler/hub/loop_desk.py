"""The verbs of loops: made, shown, steered, changed, dropped. Steps are taken by `hub.loop_runner`."""

import re
from collections.abc import Callable

from ostler.domain.commands import DropLoop, Refused
from ostler.domain.errors import ConflictError, InvalidInputError, nearest
from ostler.domain.event import Event
from ostler.domain.loops import Loop, LoopStatus
from ostler.domain.ports import Store
from ostler.domain.schedules import check
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.loop_runner import LoopRunner
from ostler.hub.loop_views import RECENT_SHOWN, LoopAnswer, LoopHistory, LoopList, LoopWish, ScheduleChange
from ostler.hub.pump import Pump
from ostler.loops import machine
from ostler.loops.machine import Step

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LOOPS_LOOKED_FOR = 500
"""In one look. Loops whose first task was never taken are a gap in the records; a gap of so many is the end."""
_ACTS: dict[str, Callable[[Loop, int], Step]] = {
    "start": machine.start,
    "stop": machine.stop,
    "pause": machine.pause,
    "resume": machine.resume,
}


class LoopDesk:
    """Loops for people and programs."""

    def __init__(self, pump: Pump, store: Store, runner: LoopRunner, try_out: Callable[[TaskSpec], None]) -> None:
        self.runner = runner
        self._pump = pump
        self._store = store
        self._try_out = try_out
        """Raises what the hub would not take."""

    async def create(self, wish: LoopWish) -> LoopAnswer:
        """Make a loop, and start it where that is wished. Raises `InvalidInputError` and `ConflictError`."""
        if NAME.fullmatch(wish.name) is None:
            remedy = "letters, digits, '-', '_' and '.', at most 64"
            raise InvalidInputError(f"{wish.name!r} is no name", where="name", remedy=remedy)
        schedule = wish.schedule.of(self.runner.rules.defaults)
        check(schedule)
        now_ms = self._pump.clock.now_ms()
        begun = await self._begun(wish.name)
        loop = Loop(name=wish.name, created_ms=now_ms, schedule=schedule, work=wish.work, loops_begun=begun)
        self._check_work(loop)
        made = Event(name="loop.created", at_ms=now_ms, metadata={"loop": loop.name, "kind": wish.work.kind.value})
        step = Step(loop, (made,))
        if wish.start:
            started = machine.start(loop, now_ms)
            step = Step(started.loop, (made, *started.events))
        await self.runner.save_new(loop, step)
        return await self.show(wish.name)

    async def _begun(self, name: str) -> int:
        """The number of the last loop of this name whose tasks are in the records, also of one that was dropped: a new
        one counts on from there, because the task of a step of an old one would count as its own.
        """
        begun = 0
        while True:
            numbers = range(begun + 1, begun + 1 + LOOPS_LOOKED_FOR)
            ids = {machine.first_step_id(name, number): number for number in numbers}
            known = await self._store.states(list(ids))
            if not known:
                return begun
            begun = max(ids[task_id] for task_id in known)

    def _check_work(self, loop: Loop) -> None:
        work = loop.work
        for field in ("needs", "batch", "session", "tick", "not_before_ms"):
            if getattr(work, field):
                remedy = f"leave it out: a loop's session is {loop.session}"
                raise InvalidInputError(f"the work of a loop has no {field}", where=f"work.{field}", remedy=remedy)
        told = loop.schedule.stimulus or work.prompt
        if work.kind is not TaskKind.COMMAND and not told:
            what, remedy = "the agent is told nothing", "give the work a prompt, or the loop a stimulus"
            raise InvalidInputError(what, where="work.prompt", remedy=remedy)
        self._try_out(work)

    async def act(self, name: str, verb: str) -> LoopAnswer:
        """`start`, `stop`, `pause` or `resume`. Raises `ConflictError` where its state does not allow it."""
        step = _ACTS.get(verb)
        if step is None:
            raise InvalidInputError(f"a loop knows no {verb}", where="verb", remedy=nearest(verb, _ACTS))
        return self._answer(await self.runner.stepped(name, step))

    async def change(self, name: str, change: ScheduleChange) -> LoopAnswer:
        """Change the schedule, also while it runs."""

        def step(loop: Loop, now_ms: int) -> Step:
            return machine.change(loop, change.of(loop.schedule), now_ms)

        return self._answer(await self.runner.stepped(name, step))

    async def drop(self, name: str) -> None:
        """Forget a loop that neither runs nor waits; its tasks stay."""
        loop = await self.runner.named(name)
        if loop.status in (LoopStatus.RUNNING, LoopStatus.WAITING, LoopStatus.PAUSED):
            raise ConflictError(f"loop {name} is {loop.status.value}", remedy=f"'ostler loop stop {name}' first")
        event = Event(name="loop.dropped", at_ms=self._pump.clock.now_ms(), metadata={"loop": name})
        (result,) = await self._pump.apply([DropLoop(name=name, event=event)])
        if isinstance(result, Refused):
            raise ConflictError(result.message, where="name")

    async def listed(self) -> LoopList:
        """All loops by name."""
        now_ms = self._pump.clock.now_ms()
        return LoopList(loops=tuple(map(self._answer, await self._store.loops())), now_ms=now_ms)

    async def show(self, name: str) -> LoopAnswer:
        """One loop."""
        return self._answer(await self.runner.named(name))

    async def history(self, name: str, limit: int = RECENT_SHOWN) -> LoopHistory:
        """Loops that are over, the newest first."""
        loop = await self.runner.named(name)
        return LoopHistory(
            name=name,
            loops=loop.recent[::-1][: max(0, limit)],
            loops_completed=loop.loops_completed,
            loops_skipped=loop.loops_skipped,
            total_ticks_run=loop.total_ticks_run,
            total_errors=loop.total_errors,
            total_cost_micro_usd=loop.total_cost_micro_usd,
        )

    def _answer(self, loop: Loop) -> LoopAnswer:
        now_ms, due_ms = self._pump.clock.now_ms(), machine.wake_ms(loop)
        return LoopAnswer(
            loop=loop,
            countdown_ms=None if due_ms is None else max(0, due_ms - now_ms),
            step=machine.wanted(loop) or "",
            waits=self.runner.waits(loop),
            now_ms=now_ms,
        )
