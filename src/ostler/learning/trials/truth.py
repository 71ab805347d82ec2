"""Known true rates: how often each rule trusts a model that it should not, and how soon it finds a good one.

Outcomes are drawn one at a time from the true rate; a rule that trusts once has promoted, whatever comes later.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Annotated
from zlib import crc32

import msgspec

from ostler.learning.evidence import Counts
from ostler.learning.promotion import Trust, by_bound, by_raw
from ostler.learning.trials import Figures

TRIALS = 30
BAD, GOOD = 0.70, 0.80
_DRAWS = 1 << 32


class RateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A measured pass rate of a model at a task of a suite."""

    task: str
    suite: str
    model: str
    pass_rate_pct: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]


class TrueRate(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a kind of work, and how often it truly succeeds."""

    kind: str
    model: str
    rate: float


def true_rates(rows: Sequence[RateRow]) -> list[TrueRate]:
    """The mean of each model over the tasks of a suite, its kind of work."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row.suite, row.model), []).append(row.pass_rate_pct / 100.0)
    return [
        TrueRate(kind=kind, model=model, rate=sum(rates) / len(rates)) for (kind, model), rates in sorted(found.items())
    ]


def run(rates: Sequence[TrueRate], seed: int, *, trials: int = TRIALS) -> list[Figures]:
    """Both rules on the same draws."""
    rules: dict[str, Callable[[Counts], Trust]] = {"raw rule": by_raw, "bound": by_bound}
    return [Figures(name=name, figures=_figures(rates, rule, seed, trials)) for name, rule in rules.items()]


def promoted_after(rule: Callable[[Counts], Trust], one: TrueRate, seed: int, trials: int = TRIALS) -> int | None:
    """After how many outcomes the rule trusts; `None` = not within the trials."""
    counts = Counts()
    for number in range(1, trials + 1):
        draw = crc32(f"{seed}:{one.kind}:{one.model}:{number}".encode()) / _DRAWS
        counts = counts.plus(Counts(1.0, 0.0) if draw < one.rate else Counts(0.0, 1.0))
        if rule(counts).trusted:
            return number
    return None


def _figures(rates: Sequence[TrueRate], rule: Callable[[Counts], Trust], seed: int, trials: int) -> dict[str, float]:
    bad = [promoted_after(rule, one, seed, trials) for one in rates if one.rate < BAD]
    good = [promoted_after(rule, one, seed, trials) for one in rates if one.rate > GOOD]
    found = [number for number in good if number is not None]
    return {
        "false_promotions": sum(number is not None for number in bad) / max(1, len(bad)),
        "good_found": len(found) / max(1, len(good)),
        "median_trials": float(median(found)) if found else float(trials),
    }
