"""What to do after a failure: one table from failure class to move, and the arithmetic of attempts and delays.

Three axes. *Another model* that the task itself names, when the model is to blame. *Sideways* for availability: the
same tier elsewhere; such attempts do not count. *Upward* for capability: the next tier, with a fresh budget of
attempts. Authentication, policy and refusals are never routed around.
"""

from enum import StrEnum

import msgspec

from ostler.domain.policy import SchedulerPolicy
from ostler.domain.states import FailureClass
from ostler.domain.tasks import ErrorCount, Task, TaskKind
from ostler.scheduling.escalating import Advice, Path

MAX_LOST_ATTEMPTS = 10
"""Attempts lost to outages or environment before the task is given up: nothing loops for ever."""

LOST_DELAYS_MS = (0, 5_000, 15_000, 30_000)
"""Delay before the n-th try after a lost attempt, up to the profile's cap; the first goes elsewhere at once."""

DEFAULT_BLOCK_MS = {FailureClass.RATE_LIMIT: 60_000, FailureClass.QUOTA: 300_000}
"""How long a route is left alone when the endpoint said no time itself."""


class Move(StrEnum):
    """Where a failed attempt leads."""

    AGAIN = "again"
    """Another attempt; counted, after a growing delay."""
    ELSEWHERE = "elsewhere"
    """Another attempt on another route; not counted."""
    MODEL = "model"
    """Another attempt on the next of the task's own models, at once; counted as the failure's own rule says."""
    UP = "up"
    """The next tier, because this one was not capable."""
    HUMAN = "human"
    """A person must act."""
    FAIL = "fail"
    """It failed for good."""
    CANCEL = "cancel"
    """It was cancelled."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What one failure class means."""

    move: Move
    excludes: bool = False
    """The next choice leaves the endpoint out (for a model problem: that model on it)."""
    model_only: bool = False
    breaks: bool = False
    """Counts against the endpoint's breaker."""
    blocks: bool = False
    """The endpoint is left alone until it said (rate limit, quota)."""
    blames_model: bool = False
    """Another model may well do it: the next one that the task names is tried."""
    is_free: bool = False
    """Of the moves that end an attempt for good: it is not counted."""
    probe: bool = False
    """List the endpoint at once: it may be down."""


_ELSEWHERE = Rule(move=Move.ELSEWHERE, excludes=True, breaks=True)
_NOT_THERE = Rule(move=Move.ELSEWHERE, excludes=True, model_only=True, blames_model=True)

RULES: dict[FailureClass, Rule] = {
    FailureClass.RATE_LIMIT: Rule(move=Move.ELSEWHERE, blocks=True),
    FailureClass.QUOTA: Rule(move=Move.ELSEWHERE, blocks=True),
    FailureClass.OVERLOADED: _ELSEWHERE,
    FailureClass.NETWORK: Rule(move=Move.ELSEWHERE, excludes=True, breaks=True, probe=True),
    FailureClass.SERVER: _ELSEWHERE,
    FailureClass.ENDPOINT_DOWN: Rule(move=Move.ELSEWHERE, excludes=True, breaks=True, probe=True),
    FailureClass.CUT: _ELSEWHERE,
    FailureClass.STALLED: _ELSEWHERE,
    FailureClass.TIMEOUT: Rule(move=Move.AGAIN, excludes=True, breaks=True),
    FailureClass.MALFORMED: Rule(move=Move.AGAIN, excludes=True, breaks=True, blames_model=True),
    FailureClass.MODEL_MISSING: _NOT_THERE,
    FailureClass.CONTEXT_TOO_LONG: _NOT_THERE,
    FailureClass.OUT_OF_MEMORY: _NOT_THERE,
    FailureClass.AUTH: Rule(move=Move.HUMAN),
    FailureClass.POLICY: Rule(move=Move.HUMAN),
    FailureClass.QUESTION: Rule(move=Move.HUMAN, is_free=True),
    FailureClass.REFUSAL: Rule(move=Move.FAIL),
    FailureClass.CAPABILITY: Rule(move=Move.UP, blames_model=True),
    FailureClass.COMMAND: Rule(move=Move.AGAIN),
    FailureClass.VERIFICATION: Rule(move=Move.AGAIN, blames_model=True),
    FailureClass.ENVIRONMENT: Rule(move=Move.ELSEWHERE),
    FailureClass.WORKER_LOST: Rule(move=Move.ELSEWHERE),
    FailureClass.NO_ENDPOINT: Rule(move=Move.FAIL),
    FailureClass.STUCK: Rule(move=Move.AGAIN, blames_model=True),
    FailureClass.CANCELLED: Rule(move=Move.CANCEL, is_free=True),
    FailureClass.DEPENDENCY: Rule(move=Move.CANCEL, is_free=True),
    FailureClass.TTL: Rule(move=Move.FAIL),
}


class NextStep(msgspec.Struct, frozen=True, kw_only=True):
    """The books of a task after a failed attempt, and where it goes."""

    move: Move
    """AGAIN, ELSEWHERE, MODEL or UP go back to the queue after `delay_ms`; with `exhausted` it is a dead letter."""
    counted: bool
    delay_ms: int = 0
    exhausted: str = ""
    """Why no further attempt is made, in words; empty = there is one."""
    attempts_used: int = 0
    attempts_lost: int = 0
    quality_steps: int = 0
    errors: tuple[ErrorCount, ...] = ()
    reason: str = ""
    """Why this way, where outcomes chose it."""


def next_step(
    task: Task,
    kind: FailureClass,
    signature: str,
    policy: SchedulerPolicy,
    *,
    repeats: int,
    can_rise: bool,
    can_switch: bool = False,
    advice: Advice | None = None,
) -> NextStep:
    """Decide the move after a failed attempt. `advice`: what outcomes say, which goes before counting equal errors.

    `signature` is the normalised error text, `repeats` how many equal ones in all raise the tier, `can_rise` whether
    there is a tier above that the rules still allow, `can_switch` whether the task names a model that comes after the
    one that failed.
    """
    rule = RULES[kind]
    switches = rule.blames_model and can_switch
    if rule.move is Move.ELSEWHERE:
        return _lost(task, rule, policy, switches=switches)
    used = task.attempts_used + 1
    if rule.move not in (Move.AGAIN, Move.UP):
        return NextStep(
            move=rule.move,
            counted=not rule.is_free,
            attempts_used=task.attempts_used if rule.is_free else used,
            attempts_lost=task.attempts_lost,
            quality_steps=task.quality_steps,
            errors=task.errors,
        )
    errors = count_error(task.errors, signature)
    seen = next(error.count for error in errors if error.signature == signature)
    if advice is not None and not switches:
        return _advised(task, advice, errors, policy)
    wants_up = rule.move is Move.UP or (task.facts.kind is not TaskKind.COMMAND and seen % repeats == 0)
    if wants_up and can_rise and not switches:
        return NextStep(
            move=Move.UP,
            counted=True,
            delay_ms=0,
            attempts_used=0,  # the budget is per tier: a capable model deserves as many tries as the weak one had
            attempts_lost=task.attempts_lost,
            quality_steps=task.quality_steps + 1,
            errors=errors,
        )
    return NextStep(
        move=Move.MODEL if switches else Move.AGAIN,
        counted=True,
        delay_ms=0 if switches else min(policy.retry_base_ms * 2 ** (used - 1), policy.retry_cap_ms),
        exhausted=f"{used} of {task.max_attempts} attempts failed" if used >= task.max_attempts else "",
        attempts_used=used,
        attempts_lost=task.attempts_lost,
        quality_steps=task.quality_steps,
        errors=errors,
    )


def _advised(task: Task, advice: Advice, errors: tuple[ErrorCount, ...], policy: SchedulerPolicy) -> NextStep:
    """By what each try is worth."""
    used, rises = task.attempts_used + 1, advice.path is Path.UP
    return NextStep(
        move=Move.UP if rises else Move.AGAIN,
        counted=True,
        delay_ms=0 if rises else min(policy.retry_base_ms * 2 ** (used - 1), policy.retry_cap_ms),
        exhausted=advice.reason if advice.path is Path.STOP else "",
        attempts_used=0 if rises else used,
        attempts_lost=task.attempts_lost,
        quality_steps=advice.quality_steps,
        errors=errors,
        reason=advice.reason,
    )


def _lost(task: Task, rule: Rule, policy: SchedulerPolicy, *, switches: bool) -> NextStep:
    """After an attempt that does not count."""
    lost = task.attempts_lost + 1
    delay_ms = min(LOST_DELAYS_MS[min(lost, len(LOST_DELAYS_MS)) - 1], policy.retry_cap_ms)
    return NextStep(
        move=Move.MODEL if switches else Move.ELSEWHERE,
        counted=False,
        delay_ms=0 if rule.blocks or switches else delay_ms,
        exhausted=f"{lost} attempts were lost to outages or environment" if lost >= MAX_LOST_ATTEMPTS else "",
        attempts_used=task.attempts_used,
        attempts_lost=lost,
        quality_steps=task.quality_steps,
        errors=task.errors,
    )


def count_error(errors: tuple[ErrorCount, ...], signature: str, *, keep: int = 8) -> tuple[ErrorCount, ...]:
    """Add one to the count of a signature; at most `keep` are remembered, the newest first."""
    count = next((error.count for error in errors if error.signature == signature), 0)
    others = tuple(error for error in errors if error.signature != signature)
    return (ErrorCount(signature, count + 1), *others[: keep - 1])


def exclusion(kind: FailureClass, endpoint: str | None, model: str | None) -> tuple[str, ...]:
    """What the next choice leaves out after this failure."""
    rule = RULES[kind]
    if not rule.excludes or endpoint is None:
        return ()
    return (f"{endpoint}/{model}",) if rule.model_only else (endpoint,)
