"""Alerts once per crossing: a limit that gets worse in a window is told of once, however often it is looked at.

What was told is a set of names, kept by whoever asks. A name holds the window's start, so the next window begins
untold; a limit of a rolling window, whose start moves, is told again only after it had been ok.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import msgspec

from ostler.budget.limits import Level, Standing
from ostler.domain.limits import WindowKind


class Told(msgspec.Struct, frozen=True, order=True):
    """A crossing that was told of."""

    limit: str
    value: str
    level: Level
    start_ms: int = 0


def crossed(standings: Iterable[Standing], told: AbstractSet[Told]) -> tuple[list[Standing], frozenset[Told]]:
    """The standings to tell of now, and all that is told afterwards. What is over is forgotten."""
    fresh: list[Standing] = []
    kept: set[Told] = set()
    for one in standings:
        if one.level is Level.OK:
            continue
        rolls = one.limit.window.kind is WindowKind.ROLLING
        start_ms = 0 if rolls else one.start_ms
        names = [Told(one.limit.name, one.value, level, start_ms) for level in _up_to(one.level)]
        if names[-1] not in told:
            fresh.append(one)
        kept.update(names)
        if one.level is Level.DEGRADED:
            # Worse was told already: that it is a little better now is no news, nor that it gets as bad again.
            worse = Told(one.limit.name, one.value, Level.EXHAUSTED, start_ms)
            kept |= {worse} & told
    return fresh, frozenset(kept)


def _up_to(level: Level) -> list[Level]:
    return [Level.DEGRADED] if level is Level.DEGRADED else [Level.DEGRADED, Level.EXHAUSTED]
