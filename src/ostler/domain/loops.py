"""Loops as data: the schedule of an autonomous agent, what a tick of it does, and the durable state of both.

    loop      every interval, or when a cron expression says so:
      tick    1 .. `ticks_per_loop`, one after the other:
        step  1 .. `max_steps_per_tick`: one task in the queue; a further one only when the agent asks for it

All that a loop will do next follows from this state alone (`ostler.loops`); there is no other memory of it.
"""

from enum import StrEnum

import msgspec

from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.working_set import WorkingState

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
RECENT_KEPT = 50
HISTORY_KEPT = 10
"""Answers, where nobody says otherwise."""
HISTORY_CHARS = 2_000
LOOP_ENV = ("OSTLER_LOOP", "OSTLER_LOOP_NUMBER", "OSTLER_LOOP_TICK")
"""What a command of a loop is told of its place. They steer no program, so every worker lets a task set them."""


class ScheduleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a loop runs, how much of it, and what stops it."""

    interval_hours: float = 0
    interval_minutes: float = 30
    """Added to the hours; both 0 are refused unless `cron` is set."""
    cron: str = ""
    """Five fields (minute, hour, day, month, weekday); goes before the interval."""
    time_zone: str = "UTC"
    """Whose clock `cron` reads."""
    max_loops: int = 0
    """0 = without end. Counted from the last start."""
    ticks_per_loop: int = 15
    max_steps_per_tick: int = 3
    stimulus: str = ""
    """What the agent is told at each tick."""
    auto_pause_on_budget: bool = True
    """False = a tick without money waits in the queue until there is some."""
    auto_pause_on_error_streak: int = 5
    """Ticks that failed in a row; 0 = never."""
    identical_ticks: int = 2
    """So many equal answers in a row end a loop before its time; 0 = never."""
    catch_up: bool = False
    """Loops that fell due while none could run are run one after the other; else they are counted as skipped."""
    wait_first: bool = False
    """The first loop comes one interval after the start, not at once."""

    @property
    def interval_ms(self) -> int:
        """Hours and minutes together."""
        return round(self.interval_hours * HOUR_MS + self.interval_minutes * MINUTE_MS)


class LoopStatus(StrEnum):
    """What a loop does now."""

    IDLE = "idle"
    """Made, never started."""
    WAITING = "waiting"
    """For `next_loop_ms`."""
    RUNNING = "running"
    """A tick of it is in the queue or runs."""
    PAUSED = "paused"
    """`reason` says by whom or what; a loop under way goes on at its next tick when it is resumed."""
    STOPPED = "stopped"
    """By a person."""
    FINISHED = "finished"
    """It ran `max_loops` times, or its agent ended it."""


class LoopRun(msgspec.Struct, frozen=True, kw_only=True):
    """A loop that is under way."""

    number: int
    """Of all loops of this name, from 1."""
    due_ms: int
    started_ms: int
    tick: int = 1
    step: int = 1
    again: int = 0
    """How often this step was begun anew, because a pause took it back from the queue."""
    pending: bool = True
    """The task of this step is with the queue; else it is begun when the loop is resumed."""
    errors: int = 0
    steps: int = 0
    cost_micro_usd: int = 0
    said: str = ""
    """What the step before said, when this is a further step of its tick."""


class LoopDone(msgspec.Struct, frozen=True, kw_only=True):
    """A loop that is over."""

    number: int
    due_ms: int
    started_ms: int
    ended_ms: int
    ticks: int
    errors: int = 0
    cost_micro_usd: int = 0
    outcome: str = "completed"
    """`completed`, `no_progress`, `agent_ended`, `stopped`."""


class Summarizing(msgspec.Struct, frozen=True, kw_only=True):
    """Older answers that a model is asked to summarise."""

    number: int = 0
    """Of the loop in which it was asked for; 0 in what was stored before there was this number."""
    at_tick: int
    texts: tuple[str, ...]


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """A loop with all its state. `version` rises by one with each stored change: whoever stores one names the version
    that it was made from, so that of two hubs one takes the step and the other looks again.
    """

    name: str
    version: int = 0
    created_ms: int
    schedule: ScheduleConfig = ScheduleConfig()
    work: TaskSpec = TaskSpec(id="work", kind=TaskKind.CHAT)
    """What each step is, but for its id and prompt."""
    status: LoopStatus = LoopStatus.IDLE
    reason: str = ""
    """Why it is paused, or has ended."""
    anchor_ms: int | None = None
    """When the schedule began; loops are due whole intervals after it, however long they take."""
    next_loop_ms: int | None = None
    run: LoopRun | None = None
    loops_begun: int = 0
    loops_completed: int = 0
    loops_since_start: int = 0
    loops_skipped: int = 0
    """Due, and not run: paused, or an earlier one was not over."""
    total_ticks_run: int = 0
    total_errors: int = 0
    consecutive_errors: int = 0
    total_cost_micro_usd: int = 0
    started_ms: int | None = None
    last_loop_ms: int | None = None
    last_error: str = ""
    same_answers: int = 0
    """Answers in a row that were like the last one."""
    patient: bool = False
    """It was resumed after a pause for money: its tick waits for money instead of pausing it again."""
    fingerprint: str = ""
    recent: tuple[LoopDone, ...] = ()
    """The newest `RECENT_KEPT`, oldest first."""
    history: tuple[str, ...] = ()
    """What the newest ticks said, cut, oldest first."""
    summarizing: Summarizing | None = None
    working: WorkingState = WorkingState()

    @property
    def session(self) -> str:
        """What its tasks are charged to."""
        return f"loop:{self.name}"
