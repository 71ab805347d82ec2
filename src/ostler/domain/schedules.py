"""Which schedules of a loop can be: asked when a profile is read, and when a loop is made or changed."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ostler.domain.cron import parsed
from ostler.domain.errors import InvalidInputError
from ostler.domain.loops import ScheduleConfig

INTERVAL_MS_MAX = 366 * 24 * 3_600_000


def check(schedule: ScheduleConfig) -> None:
    """Raises `InvalidInputError` for a schedule that cannot be, with the field."""
    try:
        ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        what = f"there is no time zone '{schedule.time_zone}'"
        raise InvalidInputError(what, where="time_zone", remedy="a name such as Europe/Berlin") from None
    if schedule.cron:
        parsed(schedule.cron)
    for name in ("interval_hours", "interval_minutes"):
        hours_or_minutes: float = getattr(schedule, name)
        if not 0 <= hours_or_minutes <= INTERVAL_MS_MAX:
            raise InvalidInputError(f"{hours_or_minutes} is no interval", where=name, remedy="0 or more")
    if not schedule.cron and schedule.interval_ms < 1:
        remedy = "give hours or minutes, or a cron expression"
        raise InvalidInputError("an interval of 0 would never stop", where="interval_minutes", remedy=remedy)
    if schedule.interval_ms > INTERVAL_MS_MAX:
        raise InvalidInputError("an interval is at most a year", where="interval_hours", remedy="use cron")
    for name, least in (
        ("max_loops", 0),
        ("ticks_per_loop", 1),
        ("max_steps_per_tick", 1),
        ("auto_pause_on_error_streak", 0),
        ("identical_ticks", 0),
    ):
        if getattr(schedule, name) < least:
            what = f"{getattr(schedule, name)} is below {least}"
            raise InvalidInputError(what, where=name, remedy=f"{least} or more")
    if schedule.identical_ticks == 1:
        raise InvalidInputError("every answer is like itself", where="identical_ticks", remedy="2 or more, or 0")
