"""What another policy would have earned, from decisions that were made by this one: by the logged propensities.

    w_i = P(its choice is the logged one) / P(the logged choice was made)
    IPS    mean of w r                      unbiased where every choice of the other policy had a chance
    SNIPS  sum of w r / sum of w            less scatter, a little bias
    DR     mean of q_policy + w (r - q)     q = what a model of the outcomes expects; right when either is right
    ESS    (sum of w)^2 / sum of w^2        so many decisions the answer rests on
    support  the share of the other policy's choices that had any chance of being made here

Intervals are DR +- 1.96 standard errors, within what a figure can be. Where too much of the other policy was never
tried, or the answer would rest on too few decisions, nothing is said but why, and the bounds that hold in any case:
what was never tried may have gone as badly, or as well, as can be.
"""

from collections.abc import Sequence
from math import sqrt

import msgspec

DECISIONS_MIN = 30
EFFECTIVE_MIN = 30.0
SUPPORT_MIN = 0.95
_SIGMAS = 1.96


class Logged(msgspec.Struct, frozen=True, gc=False):
    """One decision with what came of it."""

    target: float
    """P(the other policy makes the logged choice)."""
    propensity: float
    """P(the logged choice was made)."""
    reward: float
    expected: float
    """Of the logged choice, by a model that has not seen this decision."""
    expected_target: float
    """Of the other policy's choices, likewise."""
    support: float = 1.0
    """P(the other policy makes a choice that had a chance here)."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of one figure of another policy."""

    decisions: int
    same: int
    """Decisions whose choice the other policy could have made, too."""
    effective: float
    support: float
    ips: float
    snips: float
    dr: float
    low: float
    """Of the interval; where nothing can be said, the bounds that hold in any case."""
    high: float
    cannot_say: str = ""


def evaluate(rows: Sequence[Logged], *, worst: float = 0.0, best: float = 1.0) -> Answer:
    """Evaluate another policy. `worst`, `best`: what a reward can be."""
    number = len(rows)
    if not number:
        return Answer(
            decisions=0, same=0, effective=0.0, support=0.0, ips=0.0, snips=0.0, dr=0.0, low=worst, high=best,
            cannot_say="no decision was logged",
        )  # fmt: skip
    weights = [row.target / row.propensity for row in rows]
    total, squares = sum(weights), sum(weight * weight for weight in weights)
    gained = sum(weight * row.reward for weight, row in zip(weights, rows, strict=True))
    corrected = [
        row.expected_target + weight * (row.reward - row.expected) for weight, row in zip(weights, rows, strict=True)
    ]
    dr, support = sum(corrected) / number, sum(row.support for row in rows) / number
    effective = total * total / squares if squares else 0.0
    why = _why(number, effective, support)
    spread = _SIGMAS * _error(corrected, dr)
    low, high = max(worst, dr - spread), min(best, dr + spread)
    if why:
        tried = sum(weight * (row.reward - worst) for weight, row in zip(weights, rows, strict=True)) / number
        low = min(best, worst + tried) if effective >= EFFECTIVE_MIN else worst
        high = min(best, worst + tried + (1.0 - support) * (best - worst)) if effective >= EFFECTIVE_MIN else best
    return Answer(
        decisions=number,
        same=sum(weight > 0.0 for weight in weights),
        effective=effective,
        support=support,
        ips=gained / number,
        snips=gained / total if total else 0.0,
        dr=min(best, max(worst, dr)),
        low=low,
        high=high,
        cannot_say=why,
    )


def _why(number: int, effective: float, support: float) -> str:
    """Why nothing can be said; empty = something can."""
    if number < DECISIONS_MIN:
        return f"only {number} logged, at least {DECISIONS_MIN} decisions are needed"
    if support < SUPPORT_MIN:
        return f"{1.0 - support:.0%} of its choices were never tried here"
    if effective < EFFECTIVE_MIN:
        return f"it would rest on {effective:.0f} decisions, at least {EFFECTIVE_MIN:.0f} are needed"
    return ""


def _error(values: Sequence[float], mean: float) -> float:
    """Standard error of a mean."""
    if len(values) < 2:  # noqa: PLR2004 -- one value has no spread
        return 0.0
    return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
