"""Where work goes when its tier costs more than it should (step 9): down while a soft limit is reached, to what costs
nothing at a hard one.

A soft limit moves work to the first tier below that can take it, from the limit's own `degrade_to` downward where it
names one; where nothing below can, it stays, because a soft limit stops nothing. A hard limit leaves the places that
are still admitted, the nearest tier below first, and above only what costs nothing. Going down may lead below the
minimum, and says so. Whoever states where the work is to run is never moved.

The survey that was left keeps its places as refused by the budget, so the record names the limit for each.
"""

from collections.abc import Iterator

from ostler.domain.catalog import TierSpec
from ostler.domain.decision import Cause
from ostler.routing import gatekeeping
from ostler.routing.filters import Screen, screen
from ostler.routing.record import Record
from ostler.routing.survey import Survey, Surveyor


def within_limits(record: Record, surveyor: Surveyor, found: Survey) -> Survey:
    """The survey to choose from: the one given, or that of another tier where a limit leads there."""
    if gatekeeping.is_explicit(record.question):
        return found
    if found.offers:
        return _cheaper(record, surveyor, found)
    if found.available or not found.over_limit():
        return found
    return _free(record, surveyor, found) or found


def _cheaper(record: Record, surveyor: Surveyor, found: Survey) -> Survey:
    """While a soft limit is reached: the survey of a tier below, if it can take the task."""
    question = record.question
    gate = found.best(1)[0].gate
    if gate is None or gate.binding is None or not gatekeeping.is_degraded(gate):
        return found
    for tier, screened in _below_first(record, found.tier, gate.binding.limit.degrade_to):
        other = surveyor.survey(tier, screened)
        # A task may wait for a slot of the cheaper tier; somebody who waits for an answer is not made to.
        if other.offers or (other.available and not question.request.live):
            found.spare()
            record.surveys.append(other)
            record.move(tier, Cause.BUDGET, f"{gatekeeping.words(gate)}{below(record, tier)}")
            return other
    return found


def _free(record: Record, surveyor: Surveyor, found: Survey) -> Survey | None:
    """What is left at a hard limit: the survey of another tier; `None` when there is none that may be used."""
    question = record.question
    why = gatekeeping.words(found.over_limit()[0].gate)
    for tier, screened in _others(record, found.tier):
        other = surveyor.survey(tier, screened)
        record.surveys.append(other)
        upward = question.ladder.position(tier.name) > question.ladder.position(found.tier.name)
        if other.available and (other.costs_nothing or not upward):
            record.move(tier, Cause.BUDGET, f"{why}{below(record, tier)}")
            return other
    return None


def below(record: Record, tier: TierSpec) -> str:
    """That a step leads below the minimum, where it does."""
    ladder, minimum = record.question.ladder, record.aim.minimum
    is_below = ladder.position(tier.name) < ladder.position(minimum)
    return f"; {tier.name} is below the minimum {minimum}" if is_below else ""


def _below_first(record: Record, tier: TierSpec, degrade_to: str) -> Iterator[tuple[TierSpec, Screen]]:
    """Tiers below that can take it, the nearest first; where a limit names the highest one that may be used, from that
    one on, and none for work that is on it or below.
    """
    question = record.question
    lower = [one for one in question.ladder.models if one not in question.ladder.above(tier)]
    if degrade_to:
        names = [one.name for one in lower]
        lower = lower[: names.index(degrade_to) + 1] if degrade_to in names else []
    for one in reversed(lower):
        screened = screen(one, question)
        if screened.fit:
            yield one, screened


def _others(record: Record, tier: TierSpec) -> Iterator[tuple[TierSpec, Screen]]:
    """All other tiers that can take it: downward, then upward."""
    question = record.question
    upward = question.ladder.above(tier)
    lower = [one for one in question.ladder.models if one not in upward]
    for one in (*reversed(lower), *upward[1:]):
        screened = screen(one, question)
        if screened.fit:
            yield one, screened
