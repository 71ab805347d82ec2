"""When a run of an agent is to be ended: limits kept apart, each with its own class of failure. Pure.

    never began    nothing was told since the start                 environment: not counted
    silent         no output, no file written, no work of the CPU   stuck
    lingering      the last word was told, the process stays        none: what it told counts
    spamming       more output than any run has                     stuck
    circling       the same tool, the same words, the same answer   stuck
    endless        more answers of the model than it may take       stuck
    failing        its calls fail, and it tries for ever            as its calls failed

A task's own timeout is not among them, the daemon keeps that; `wall_s` is for tasks that have none. Activity is the
union of all signs, because each alone kills healthy runs.
"""

import msgspec

from ostler.config.units import size_text
from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.contract import Trouble

CPU_SHARE = 0.1
"""Of one processor, since the last look: an idle runtime uses less."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one run, in seconds and bytes. See `ostler.config.settings.AgentLimits`."""

    first_s: float = 420.0
    """Until the first word. The gateway may wait for a turn and load a model before the first token."""
    silent_s: float = 900.0
    """Longer than the longest call that the gateway allows by itself."""
    linger_s: float = 20.0
    wall_s: float = 3_600.0
    """The whole run, where the task has no limit of its own."""
    output_bytes: int = 512 * 1024 * 1024
    repeats: int = 8
    """So often in a row the very same action with the very same answer."""
    steps: int | None = None
    """Answers of the model."""


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a run found. Everything counts up."""

    events: int = 0
    output_bytes: int = 0
    """Of both streams."""
    written_ns: int = 0
    """Newest time of change in its folder."""
    cpu_s: float = 0.0
    is_over: bool = False
    repeats: int = 0
    steps: int = 0
    stuck_on: Trouble | None = None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The run is to be ended now. `kind` `None`: what it told counts."""

    kind: FailureClass | None
    message: str


def too_much(limits: Limits) -> Ending:
    """The ending of a run that printed without end."""
    return Ending(kind=FailureClass.STUCK, message=f"it printed more than {size_text(limits.output_bytes)}")


class Watch:
    """Looks at one run; all instants are seconds of one stopwatch. `begun_s`: when it began, if not now."""

    def __init__(self, limits: Limits, now_s: float, begun_s: float | None = None) -> None:
        self._limits = limits
        self._begun_s = now_s if begun_s is None else begun_s
        self._seen_s = now_s
        self._active_s = now_s
        self._over_s: float | None = None
        self._before = Signs()

    def look(self, signs: Signs, now_s: float) -> Ending | None:
        """Take in what a look found; the ending when one is due."""
        before, took_s = self._before, now_s - self._seen_s
        is_active = (
            signs.events > before.events
            or signs.output_bytes > before.output_bytes
            or signs.written_ns > before.written_ns
            or (took_s > 0 and (signs.cpu_s - before.cpu_s) / took_s >= CPU_SHARE)
        )
        self._before, self._seen_s = signs, now_s
        if is_active:
            self._active_s = now_s
        if signs.is_over and self._over_s is None:
            self._over_s = now_s
        return self._due(signs, now_s)

    def _due(self, signs: Signs, now_s: float) -> Ending | None:
        limits = self._limits
        if signs.output_bytes > limits.output_bytes:
            return too_much(limits)
        if self._over_s is not None:
            lingered = now_s - self._over_s >= limits.linger_s
            return Ending(kind=None, message="it stayed after its last word") if lingered else None
        if now_s - self._begun_s >= limits.wall_s:
            message = f"it ran for {limits.wall_s:g} s, as long as a run may whose task sets no timeout"
            return Ending(kind=FailureClass.TIMEOUT, message=message)
        if signs.stuck_on is not None:
            return Ending(kind=signs.stuck_on.kind, message=f"its calls fail: {signs.stuck_on.message}")
        if (circling := self._circling(signs)) is not None:
            return Ending(kind=FailureClass.STUCK, message=circling)
        if not signs.events and now_s - self._begun_s >= limits.first_s:
            return Ending(kind=FailureClass.ENVIRONMENT, message=f"it told nothing within {limits.first_s:g} s")
        if now_s - self._active_s >= limits.silent_s:
            what = "no output, no file changed, no work of the CPU"
            return Ending(
                kind=FailureClass.STUCK, message=f"it showed no sign of life for {limits.silent_s:g} s: {what}"
            )
        return None

    def _circling(self, signs: Signs) -> str | None:
        """That it is busy and does not get on, in words."""
        limits = self._limits
        if signs.repeats >= limits.repeats:
            return f"it did the very same thing {signs.repeats} times in a row and got the very same answer"
        if limits.steps is not None and signs.steps > limits.steps:
            return f"it took more than {limits.steps} steps"
        return None
