"""When loops are due: whole intervals after an anchor, or when a cron expression says so. Nothing drifts.

An instant that is due does not depend on how long loops take, nor on when anyone looks: only on anchor and schedule.
"""

from ostler.budget.windows import zone_named
from ostler.domain.cron import following, parsed
from ostler.domain.loops import ScheduleConfig

SKIPPED_COUNTED_MAX = 10_000


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
