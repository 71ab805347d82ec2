"""Whether a measured quantity grows: the slope of Theil and Sen, with Sen's interval around it. Pure.

The rule: readings of the first third are left out, in which caches fill. Of the rest the slope is the median of the
slopes of all pairs, which a few odd readings do not move. It grows when even the lower end of the 99 % interval is
above zero *and* what the slope makes of the whole time is worth mentioning: more than `share` of the level and more
than `least`. Either alone is fooled: neighbouring readings are alike, which makes the interval too narrow; and a level
that jumps once is no leak.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

import msgspec

Z_99 = 2.576
SETTLED_AFTER = 1 / 3
READINGS_MIN = 9


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a quantity over the time that counts."""

    level: float
    """Its median."""
    hourly: float
    """The slope, for an hour."""
    low: float
    high: float
    """The interval around it, for an hour."""
    hours: float
    grows: bool


def trend(at_s: Sequence[float], values: Sequence[float], *, share: float, least: float) -> Trend:
    """Judge readings. Too few of them say nothing: then it does not grow. O(n^2)."""
    first = next((i for i, at in enumerate(at_s) if at >= at_s[0] + (at_s[-1] - at_s[0]) * SETTLED_AFTER), 0)
    times, kept = at_s[first:], values[first:]
    level, count = statistics.median(kept), len(kept)
    hours = (times[-1] - times[0]) / 3600
    if count < READINGS_MIN or hours <= 0:
        return Trend(level=level, hourly=0.0, low=0.0, high=0.0, hours=hours, grows=False)
    pairs = combinations(zip(times, kept, strict=True), 2)
    slopes = sorted((later - value) / (then - at) * 3600 for (at, value), (then, later) in pairs)
    spread = Z_99 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(0, int((len(slopes) - spread) / 2))]
    high = slopes[min(len(slopes) - 1, int((len(slopes) + spread) / 2) + 1)]
    hourly = statistics.median(slopes)
    worth = hourly * hours > max(least, share * level)
    return Trend(level=level, hourly=hourly, low=low, high=high, hours=hours, grows=low > 0 and worth)
