"""When loops are due: whole intervals after an anchor, or when a cron expression says so. Nothing drifts.

An instant that is due does not depend on how long loops take, nor on when anyone looks: only on anchor and schedule.
"""

from ostler.budget.windows import zone_named
from ostler.domain.errors import InvalidInputError
from ostler.domain.loops import ScheduleConfig
from ostler.loops.cron import following, parsed

SKIPPED_COUNTED_MAX = 10_000
INTERVAL_MS_MAX = 366 * 24 * 3_600_000


def check(schedule: ScheduleConfig) -> None:
    """Raises `InvalidInputError` for a schedule that cannot be, with the field."""
    try:
        zone_named(schedule.time_zone)
    except ValueError as error:
        raise InvalidInputError(str(error), where="time_zone", remedy="a name such as Europe/Berlin") from None
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


def first_due(schedule: ScheduleConfig, now_ms: int) -> int:
    """When the first loop is due of a schedule that begins now."""
    if schedule.cron:
        return next_due(schedule, now_ms, now_ms)
    return now_ms + schedule.interval_ms if schedule.wait_first else now_ms


def next_due(schedule: ScheduleConfig, anchor_ms: int, after_ms: int) -> int:
    """The first instant strictly after one."""
    if schedule.cron:
        return following(parsed(schedule.cron), after_ms, zone_named(schedule.time_zone))
    passed = (after_ms - anchor_ms) // schedule.interval_ms
    return anchor_ms + (passed + 1) * schedule.interval_ms


def due_between(schedule: ScheduleConfig, anchor_ms: int, from_ms: int, until_ms: int) -> int:
    """How many instants are due from one (which is due itself) to another, both counted; at most
    `SKIPPED_COUNTED_MAX` for a cron expression.
    """
    if until_ms < from_ms:
        return 0
    if not schedule.cron:
        return (until_ms - from_ms) // schedule.interval_ms + 1
    count, at_ms = 0, from_ms
    while at_ms <= until_ms and count < SKIPPED_COUNTED_MAX:
        count += 1
        at_ms = next_due(schedule, anchor_ms, at_ms)
    return count
