"""What the hub is asked about loops, and what it says of them."""

import msgspec

from ostler.domain.loops import Loop, LoopDone, ScheduleConfig
from ostler.domain.tasks import TaskSpec

RECENT_SHOWN = 20


class ScheduleChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of a schedule that are to be others; `null` = as it is (of a new loop: as the profile has it).
    See `ScheduleConfig` for what they mean.
    """

    interval_hours: float | None = None
    interval_minutes: float | None = None
    cron: str | None = None
    time_zone: str | None = None
    max_loops: int | None = None
    ticks_per_loop: int | None = None
    max_steps_per_tick: int | None = None
    stimulus: str | None = None
    auto_pause_on_budget: bool | None = None
    auto_pause_on_error_streak: int | None = None
    identical_ticks: int | None = None
    catch_up: bool | None = None
    wait_first: bool | None = None

    def of(self, schedule: ScheduleConfig) -> ScheduleConfig:
        """The schedule with these fields. An interval that is stated ends a cron expression, unless both are."""
        told = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        if self.cron is None and (self.interval_hours is not None or self.interval_minutes is not None):
            told["cron"] = ""
            told.setdefault("interval_hours", 0)
            told.setdefault("interval_minutes", 0)
        return msgspec.structs.replace(schedule, **told)


class LoopWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new loop. `work` is what each step is: a task without id, session and tick. `start`: begin at once."""

    name: str
    schedule: ScheduleChange = ScheduleChange()
    work: TaskSpec
    start: bool = False


class LoopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A loop as it is now."""

    loop: Loop
    countdown_ms: int | None = None
    """Until the next loop is due; `null` when none is."""
    step: str = ""
    """The task of the step under way."""
    waits: str = ""
    """Why that task does not run, if it does not."""
    now_ms: int = 0


class LoopList(msgspec.Struct, frozen=True, kw_only=True):
    """All loops by name."""

    loops: tuple[LoopAnswer, ...] = ()
    now_ms: int = 0


class LoopHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Loops that are over, the newest first."""

    name: str
    loops: tuple[LoopDone, ...] = ()
    loops_completed: int = 0
    loops_skipped: int = 0
    total_ticks_run: int = 0
    total_errors: int = 0
    total_cost_micro_usd: int = 0
