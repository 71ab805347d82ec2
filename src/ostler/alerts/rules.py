"""The rules: what each looks for, its bound, and what it asks before it speaks. `find` puts all to one set of facts.

A bound is passed when the value is above it. The catalogue with its figures is `domain.alert_rules`. Rules about shares
and counts of an hour let go of a raised alert only below `HOLD` of their bound, so that a value that swings around the
bound raises one alert, not many.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from ostler.alerts.facts import Facts, Trend
from ostler.alerts.machine import Finding
from ostler.domain.alert_rules import Rule

HOLD = 0.8
SHARE_SAMPLES_MIN = 5
"""Fewer outcomes than this are no share: one failure of one is not 100 %."""
STABLE_SAMPLES = 3
_PERCENT = 100.0


Look = Callable[[Facts, Trend, float], Iterator[Finding]]


def find(facts: Facts, trend: Trend, rules: Mapping[str, Rule]) -> list[Finding]:
    """What the rules in force find, in the order of the catalogue."""
    return [one for name, look in _LOOKS.items() if name in rules for one in look(facts, trend, rules[name].above)]


def _over(rule: str, value: float, above: float, message: str, *, hold: float = 1.0) -> Iterator[Finding]:
    """A finding where a value is above a bound, or above the share of it down to which a raised alert is held."""
    if value > above * hold and value > 0:
        yield Finding(rule=rule, message=message, value=value, bound=above, firing=value > above)


def _queue_growing(facts: Facts, trend: Trend, above: float) -> Iterator[Finding]:
    message = f"the queue grew {trend.grew} times in a row, to {facts.queued}"
    firing = trend.grew > above
    if firing or trend.stable < STABLE_SAMPLES:
        held = message if firing else f"the queue holds {facts.queued}"
        yield Finding(rule="queue_growing", message=held, value=trend.grew, bound=above, firing=firing)


def _failure_share(facts: Facts, _trend: Trend, above: float) -> Iterator[Finding]:
    ended = facts.succeeded + facts.failed
    if ended >= SHARE_SAMPLES_MIN:
        share = _PERCENT * facts.failed / ended
        message = f"{facts.failed} of {ended} attempts and calls failed in the last hour ({share:.0f} %)"
        yield from _over("failure_share", share, above, message, hold=HOLD)


def _errors(facts: Facts, _trend: Trend, above: float) -> Iterator[Finding]:
    yield from _over("errors", facts.failed, above, f"{facts.failed} failures in the last hour", hold=HOLD)


def _task_stuck(facts: Facts, _trend: Trend, above: float) -> Iterator[Finding]:
    silent = {task: ms / 1_000 for task, ms in facts.stuck.items() if ms / 1_000 > above}
    if silent:
        task = max(sorted(silent), key=lambda name: silent[name])
        more = f", and {len(silent) - 1} more" if len(silent) > 1 else ""
        message = f"task {task} has shown no sign of life for {silent[task]:.0f} s{more}"
        yield Finding(rule="task_stuck", message=message, value=silent[task], bound=above)


def _no_worker(facts: Facts, _trend: Trend, _above: float) -> Iterator[Finding]:
    if facts.workers == 0 and facts.worker_needed:
        yield Finding(rule="no_worker", message="no worker is joined; `ostler worker` starts one")


def _tier_down(facts: Facts, _trend: Trend, _above: float) -> Iterator[Finding]:
    for tier, since_ms in sorted(facts.tiers_down.items()):
        seconds = (facts.now_ms - since_ms) / 1_000
        message = f"no endpoint of tier {tier} can be used, for {seconds:.0f} s now"
        yield Finding(rule="tier_down", subject=tier, message=message, value=seconds, since_ms=since_ms)


def _call_rate(facts: Facts, _trend: Trend, above: float) -> Iterator[Finding]:
    yield from _over("call_rate", facts.calls, above, f"{facts.calls} calls to models in the last hour", hold=HOLD)


def _budget(rule: str, *, exhausted: bool) -> Look:
    def look(facts: Facts, _trend: Trend, _above: float) -> Iterator[Finding]:
        for one in facts.limits:
            if one.exhausted or not exhausted:
                subject = f"{one.limit}/{one.of}" if one.of else one.limit
                yield Finding(rule=rule, subject=subject, message=one.said, value=one.used_percent)

    return look


def _subscription(facts: Facts, _trend: Trend, _above: float) -> Iterator[Finding]:
    for one in facts.allowances:
        if one.used_percent >= one.warn_percent:
            subject = f"{one.provider}/{one.allowance}"
            message = f"{one.used_percent:.0f} % of {one.allowance} of {one.provider} is used"
            yield Finding(
                rule="subscription", subject=subject, message=message, value=one.used_percent, bound=one.warn_percent
            )


def _needs_human(facts: Facts, _trend: Trend, above: float) -> Iterator[Finding]:
    noun = "task waits" if facts.needs_human == 1 else "tasks wait"
    such = f", such as {facts.needs_human_example}" if facts.needs_human_example else ""
    yield from _over("needs_human", facts.needs_human, above, f"{facts.needs_human} {noun} for a person{such}")


def _unanswered(facts: Facts, _trend: Trend, _above: float) -> Iterator[Finding]:
    for task, owner in sorted(facts.unanswered.items()):
        message = f"{owner or 'nobody'} has {'not ' if owner else ''}answered {task} in time; it waits on"
        yield Finding(rule="unanswered", subject=task, message=message)


def _records_lost(facts: Facts, _trend: Trend, above: float) -> Iterator[Finding]:
    yield from _over("records_lost", facts.records_lost, above, f"{facts.records_lost} records of calls were lost")


_LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "queue_growing": _queue_growing,
        "failure_share": _failure_share,
        "errors": _errors,
        "task_stuck": _task_stuck,
        "no_worker": _no_worker,
        "tier_down": _tier_down,
        "call_rate": _call_rate,
        "budget_soft": _budget("budget_soft", exhausted=False),
        "budget_hard": _budget("budget_hard", exhausted=True),
        "subscription": _subscription,
        "needs_human": _needs_human,
        "unanswered": _unanswered,
        "records_lost": _records_lost,
    }
)
