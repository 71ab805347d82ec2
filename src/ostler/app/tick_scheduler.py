"""`TickScheduler`: an agent called again and again by a program of one's own, with its state in a file.

    from ostler import ScheduleConfig, TickScheduler
    scheduler = TickScheduler(lambda tick: f"tick {tick.tick}", ScheduleConfig(interval_minutes=30, max_loops=2))
    scheduler.start()

The same state machine as the loops of a hub (`ostler.loops`): a schedule that does not drift, pauses for money and
streaks of errors, a guard against answers that repeat. Each step is stored before the tick runs and after it ended.
One process at a time runs a file (`ConflictError`). A tick that was under way when its process died counts as failed,
because nobody knows what it did, and the loop goes on with the next one; `repeat_interrupted` does it again instead.
`running` in a file whose process is gone is shown as `interrupted`.

`run_tick` gets a `Tick` and gives what the agent said (see `ostler.loops.wishes` for what it may ask), or a
`TickResult` with its cost. A coroutine function runs in the event loop of `await scheduler.run()`; a plain function
runs in the scheduler's thread, or in one of the event loop's.
"""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ostler.budget.limits import Level
from ostler.domain.errors import ConflictError
from ostler.domain.event import Event
from ostler.domain.loops import Loop, LoopStatus, ScheduleConfig
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.schedules import check
from ostler.domain.working_set import WorkingState
from ostler.loops import machine
from ostler.loops.machine import Ended, Step
from ostler.store.errors import StoreError
from ostler.store.file_lock import FileLock
from ostler.store.state_file import StateFile

if TYPE_CHECKING:
    from ostler.app.budget_tracker import BudgetTracker

FORMAT = "ostler.loop/1"
RECENT_SHOWN = 20
LOOK_S = 1.0
"""Another process may steer the loop by its file; so often that is looked for."""
INTERRUPTED = "interrupted"
NEWS_S = 0.05
"""How soon an event loop hears of what another thread did."""


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done now."""

    loop: int
    """Of all loops of this file, from 1."""
    tick: int
    step: int
    ticks: int
    steps: int
    stimulus: str
    said: str = ""
    """What the step before said, when this is a further step of its tick."""
    history: tuple[str, ...] = ()
    """What the newest ticks said, oldest first."""
    working: WorkingState = WorkingState()

    @property
    def name(self) -> str:
        """Of the tick among all of this file, such as `3.4`: what its calls are charged to."""
        return f"{self.loop}.{self.tick}"


class TickResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tick."""

    text: str = ""
    cost: float = 0.0
    """In US dollars."""
    error: str = ""
    """Not empty: it failed."""


Said = TickResult | str | None
RunTick = Callable[[Tick], Said | Awaitable[Said]]
Listener = Callable[[str, Mapping[str, Any]], None]


class TickScheduler:
    """Calls `run_tick` on a schedule. Raises `InvalidInputError` for a schedule that cannot be."""

    def __init__(
        self,
        run_tick: RunTick,
        config: ScheduleConfig | None = None,
        *,
        path: str | Path = "data/shared/agi_loop_state.json",
        budget: "BudgetTracker | None" = None,
        repeat_interrupted: bool = False,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        check(config or ScheduleConfig())
        self._config = config
        self._run_tick = run_tick
        self._file = StateFile(path, FORMAT)
        self._budget = budget
        self._repeats = repeat_interrupted
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._listeners: list[Listener] = []
        self.listener_errors = 0
        """How often a listener failed."""
        self._news = threading.Event()
        """Set by whoever steers the loop, never by its own steps: those would end each of its waits."""
        self._owed: tuple[str, Ended] | None = None
        """A tick that ended, as long as its end is not stored."""
        self._failing = ""
        self._mine: FileLock | None = None
        self._thread: threading.Thread | None = None

    @property
    def config(self) -> ScheduleConfig:
        """The schedule in force."""
        return self._read().schedule

    def add_listener(self, listener: Listener) -> None:
        """Have it told of each event: its name (`started`, `tick`, `loop_end`, ...) and its fields. What goes wrong in
        a listener is its own affair.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Run in a thread. What was interrupted is taken up, what was paused goes on, what was over begins anew."""
        self._begin()
        self._thread = threading.Thread(target=self._in_thread, name="ostler-ticks", daemon=True)
        self._thread.start()

    async def run(self) -> None:
        """Run in this event loop until the schedule is over. Cancelling it leaves the loop as it is, to be taken up."""
        self._begin()
        try:
            while (due := self._looked()) is not None:
                if isinstance(due, float):
                    await self._rest(due)
                else:
                    await self._ticked(due, threaded=True)
        finally:
            self._let_go()

    def stop(self, timeout_s: float | None = None) -> None:
        """End the schedule. A tick under way cannot be cut off: it ends, and its answer counts no more. Waits for that,
        at most so long.
        """
        self._steer(machine.stop)
        self.join(timeout_s)

    def pause(self) -> None:
        """Begin nothing new; a tick under way ends and counts."""
        self._steer(machine.pause)

    def resume(self) -> None:
        """Go on where it was paused."""
        self._steer(machine.resume)

    def update(self, **fields: Any) -> ScheduleConfig:  # noqa: ANN401 -- fields of a schedule
        """Change the schedule, also while it runs."""

        def step(loop: Loop, now_ms: int) -> Step:
            return machine.change(loop, msgspec.convert({**_fields(loop.schedule), **fields}, ScheduleConfig), now_ms)

        return self._steer(step).schedule

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the thread has ended; whether it has."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return thread is None
        thread.join(timeout_s)
        return not thread.is_alive()

    def status(self) -> Mapping[str, Any]:
        """What it does now, counts, the countdown in seconds, the newest loops, and the budget."""
        loop, now_ms = self._read(), self._now_ms()
        due_ms = machine.wake_ms(loop)
        going = loop.status in (LoopStatus.RUNNING, LoopStatus.WAITING)
        gone = going and self._mine is None and not self._is_run_elsewhere()
        return {
            "status": INTERRUPTED if gone else loop.status.value,
            "reason": loop.reason,
            "loops_completed": loop.loops_completed,
            "loops_skipped": loop.loops_skipped,
            "total_ticks_run": loop.total_ticks_run,
            "total_errors": loop.total_errors,
            "consecutive_errors": loop.consecutive_errors,
            "total_cost": loop.total_cost_micro_usd / MICRO_USD_PER_USD,
            "started_ms": loop.started_ms,
            "last_loop_ms": loop.last_loop_ms,
            "next_loop_ms": loop.next_loop_ms,
            "countdown_s": None if due_ms is None else max(0, due_ms - now_ms) / 1000,
            "last_error": loop.last_error,
            "failing": self._failing,
            "schedule": _fields(loop.schedule),
            "recent_loops": [_fields(done) for done in loop.recent[::-1][:RECENT_SHOWN]],
            "budget": self._budget.status() if self._budget is not None else None,
        }

    def _begin(self) -> None:
        """Make this process the one that runs the file. Raises `ConflictError`."""
        if self._mine is not None:
            raise ConflictError("it runs already", where=str(self._file.path), remedy="it needs no start")
        self._file.path.parent.mkdir(parents=True, exist_ok=True)
        self._mine = FileLock(self._runner_file)
        try:
            config = self._config
            if config is not None and config != self._read().schedule:
                self._take(lambda loop, now_ms: machine.change(loop, config, now_ms))
            self._take(self._taken_up)
        except BaseException:
            self._let_go()
            raise

    def _taken_up(self, loop: Loop, now_ms: int) -> Step:
        """Whatever it was left as, it goes on."""
        told: tuple[Event, ...] = ()
        was_paused, task_id = loop.status is LoopStatus.PAUSED, machine.wanted(loop)
        if task_id is not None and not self._repeats:
            ended = Ended(ok=False, error="its process ended before it did")
            counted = machine.step_ended(loop, task_id, ended, now_ms) or Step(loop)
            if not was_paused:
                return counted
            loop, told = counted.loop, counted.events
        if loop.status is LoopStatus.PAUSED:
            resumed = machine.resume(loop, now_ms)
            return Step(resumed.loop, (*told, *resumed.events))
        going = told or loop.status in (LoopStatus.RUNNING, LoopStatus.WAITING)
        return Step(loop, told) if going else machine.start(loop, now_ms)

    def _let_go(self) -> None:
        if self._mine is not None:
            self._mine.release()
            self._mine = None

    @property
    def _runner_file(self) -> Path:
        return self._file.path.with_name(self._file.path.name + ".runner")

    def _is_run_elsewhere(self) -> bool:
        if not self._file.path.parent.exists():
            return False
        try:
            FileLock(self._runner_file).release()
        except ConflictError:
            return True
        return False

    def _in_thread(self) -> None:
        try:
            while (due := self._looked()) is not None:
                if isinstance(due, float):
                    self._news.wait(due)
                    self._news.clear()
                else:
                    asyncio.run(self._ticked(due))
        finally:
            self._let_go()

    async def _rest(self, wait_s: float) -> None:
        """As the thread waits, without keeping the event loop from others."""
        until = time.monotonic() + wait_s
        while not self._news.is_set():
            left = until - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(min(left, NEWS_S))
        self._news.clear()

    def _looked(self) -> tuple[str, Tick] | float | None:
        """What is next. A file that cannot be written or read now is tried again, and no tick runs before it can be."""
        try:
            due = self._next()
        except (StoreError, ConflictError) as error:
            self._failing = str(error)
            return LOOK_S
        self._failing = ""
        return due

    def _next(self) -> tuple[str, Tick] | float | None:
        """The tick to run now, seconds to wait, or nothing more."""
        if self._owed is not None:
            owed_id, ended = self._owed
            self._take(lambda loop, now_ms: machine.step_ended(loop, owed_id, ended, now_ms) or Step(loop))
            self._owed = None
        loop = self._take(lambda loop, now_ms: machine.due(loop, now_ms) or Step(loop))
        task_id, run = machine.wanted(loop), loop.run
        if task_id is not None and run is not None:
            tick = _tick(loop)
            if self._is_out_of_money(tick):
                held = self._take(lambda loop, now_ms: machine.no_money(loop, task_id, now_ms) or Step(loop))
                return LOOK_S if held.status is not LoopStatus.RUNNING or machine.wanted(held) == task_id else 0.0
            return task_id, tick
        if loop.status in (LoopStatus.STOPPED, LoopStatus.FINISHED, LoopStatus.IDLE):
            return None
        due_ms = machine.wake_ms(loop)
        return LOOK_S if due_ms is None else min(LOOK_S, max(0.0, (due_ms - self._now_ms()) / 1000))

    def _is_out_of_money(self, tick: Tick) -> bool:
        return self._budget is not None and self._budget.check(tick=tick.name).level is Level.EXHAUSTED

    async def _ticked(self, due: tuple[str, Tick], *, threaded: bool = False) -> None:
        """Run a tick; the next look counts it. `threaded`: a plain function must not hold up the event loop."""
        task_id, tick = due
        run_tick = self._run_tick
        try:
            away = threaded and not inspect.iscoroutinefunction(run_tick)
            said = await asyncio.to_thread(run_tick, tick) if away else run_tick(tick)
            if inspect.isawaitable(said):
                said = await said
            result = said if isinstance(said, TickResult) else TickResult(text=said or "")
        except Exception as error:  # boundary: whatever goes wrong in a tick is the tick's failure
            result = TickResult(error=f"{type(error).__name__}: {error}")
        ended = Ended(
            ok=not result.error,
            output=result.text,
            error=result.error,
            cost_micro_usd=round(result.cost * MICRO_USD_PER_USD),
        )
        self._owed = (task_id, ended)

    def _read(self) -> Loop:
        return self._loop(self._file.read().body)

    def _loop(self, body: bytes | None) -> Loop:
        if body is None:
            schedule = self._config or ScheduleConfig()
            return Loop(name=self._file.path.stem, created_ms=self._now_ms(), schedule=schedule)
        try:
            return msgspec.json.decode(body, type=Loop)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreError(f"no state of a loop: {error}", where=str(self._file.path)) from error

    def _steer(self, step: Callable[[Loop, int], Step]) -> Loop:
        """Take a step that somebody asked for, and let the loop look at once."""
        loop = self._take(step)
        self._news.set()
        return loop

    def _take(self, step: Callable[[Loop, int], Step]) -> Loop:
        """Take a step from the newest state and store it; then tell of it."""
        told: tuple[Event, ...] = ()

        def changed(body: bytes | None) -> bytes:
            nonlocal told
            loop = self._loop(body)
            taken = step(loop, self._now_ms())
            told = taken.events
            return msgspec.json.encode(taken.loop)

        loop = self._loop(self._file.change(changed).body)
        for event in told:
            self._tell(event)
        return loop

    def _tell(self, event: Event) -> None:
        fields = {"at_ms": event.at_ms, **event.measurements, **event.metadata}
        for listener in self._listeners:
            try:
                listener(event.name.removeprefix("loop."), fields)
            except Exception:  # boundary: a listener that fails does not stop the schedule
                self.listener_errors += 1


def _tick(loop: Loop) -> Tick:
    run = loop.run
    assert run is not None  # noqa: S101 -- whoever asks has looked
    return Tick(
        loop=run.number,
        tick=run.tick,
        step=run.step,
        ticks=loop.schedule.ticks_per_loop,
        steps=loop.schedule.max_steps_per_tick,
        stimulus=loop.schedule.stimulus,
        said=run.said,
        history=loop.history,
        working=loop.working,
    )


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
