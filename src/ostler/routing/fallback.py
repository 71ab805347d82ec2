"""What replaces an unavailable tier or model (step 8): where a step may lead and from when on.

The other models that the task itself names come first, in their order, whatever tier they are on; a pinned model has
no other way out. Then the one step of the tier:

Sideways comes first and needs no step: the survey has looked at every endpoint and model of the tier before anyone asks
here. The step goes in the policy's direction and is never longer than `max_availability_steps`. It is counted from the
tier that all other causes led to; for trivial work from `direct`, so that an outage can never take it beyond the
lowest model tier.
A target that lacks context, capability or locality is no target; it is not passed over, because that would be a
second step.

The wait runs from the queueing of the task or from the end of the last usable place, whichever is later, so that a
short blip never costs money.
"""

from collections.abc import Iterator

import msgspec

from ostler.domain.catalog import DIRECT, TierSpec
from ostler.domain.policy import FallbackDirection
from ostler.routing.aim import Aim, find_aim
from ostler.routing.filters import Screen, screen
from ostler.routing.question import Question
from ostler.routing.survey import Survey


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A way out. `question` is the one to survey it with; `model` is set for another model of the task."""

    tier: TierSpec
    screen: Screen
    question: Question
    model: str | None = None


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """Ways out in the order in which they are tried, from `at_ms` on. Never empty."""

    targets: tuple[Target, ...]
    since_ms: int
    at_ms: int


def find_fallback(question: Question, aim: Aim, found: Survey) -> Fallback | None:
    """What may replace the unavailable tier or model of `found`; `None` when nothing may."""
    facts = question.facts
    targets = [*_models(question)]
    if facts.model is None and facts.endpoint is None:
        targets += _targets(question, aim, found.tier)
    if not targets:
        return None
    queued_ms = question.request.queued_ms
    since_ms = max(queued_ms, found.outage_since_ms() or queued_ms)
    return Fallback(targets=tuple(targets), since_ms=since_ms, at_ms=since_ms + _wait_ms(question, found))


def _wait_ms(question: Question, found: Survey) -> int:
    """How long the tier is waited for. A live call waits for none where it has failed already, or has no room."""
    if not question.request.live:
        return question.policy.routing.fallback_wait_ms
    return 0 if question.excluded or found.lacks_room() else question.policy.gateway.fallback_wait_ms


def _models(question: Question) -> Iterator[Target]:
    """The task's own models that come after the one in question. One that cannot take it is no way out."""
    for model in question.facts.fallback_models:
        other = question.about(model)
        aim = find_aim(
            other.facts,
            quality_steps=question.request.quality_steps,
            errors=question.request.errors,
            policy=question.policy,
            ladder=question.ladder,
        )
        if aim.start is not None and (screened := screen(aim.start, other)).fit:
            yield Target(tier=aim.start, screen=screened, question=other, model=model)


def _targets(question: Question, aim: Aim, tier: TierSpec) -> list[Target]:
    routing, ladder = question.policy.routing, question.ladder
    direction = routing.fallback_by_tier.get(tier.name, routing.fallback_direction)
    if direction is FallbackDirection.NONE:
        return []
    sign = 1 if direction is FallbackDirection.UP else -1
    here = ladder.index(tier.name) or 0
    origin = 0 if aim.from_direct else here
    targets = []
    for steps in range(1, routing.max_availability_steps + 1):
        target = ladder.shift(origin, sign * steps)
        if target is None or target.name == DIRECT:
            break
        onward = ((ladder.index(target.name) or 0) - here) * sign
        screened = screen(target, question)
        if onward > 0 and screened.fit:
            targets.append(Target(tier=target, screen=screened, question=question))
    return targets
