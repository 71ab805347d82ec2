"""What windows come to: best, usual and worst of several, ratios of neighbours, verdicts."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec

STORE_RATIO = 0.6
"""Of the raw loop beside it."""
END_TO_END_S = 2_000.0
"""Tasks a second over HTTP on two cores."""
IDLE_P50_MS = 2.0
IDLE_P99_MS = 10.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One window of one side."""

    rate: float
    """Lives a second."""
    p50_ms: float
    p99_ms: float
    step_p50_ms: float | None = None
    """Of a single transition; `None`: it cannot be seen from outside."""
    step_p99_ms: float | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Several windows of one side."""

    name: str
    in_flight: int
    windows: tuple[Window, ...]
    ratio: float | None = None
    """Median over the turns of its rate to that of its raw loop just beside it."""

    @property
    def rates(self) -> tuple[float, float, float]:
        """Lowest, median, highest lives a second."""
        rates = [window.rate for window in self.windows]
        return min(rates), statistics.median(rates), max(rates)


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values; 0 without any."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def window(seconds: float, ended_ms: Sequence[float], steps_ms: Sequence[float] = ()) -> Window:
    """From a reading of sorted latencies."""
    return Window(
        rate=len(ended_ms) / seconds,
        p50_ms=quantile(ended_ms, 0.5),
        p99_ms=quantile(ended_ms, 0.99),
        step_p50_ms=quantile(steps_ms, 0.5) if steps_ms else None,
        step_p99_ms=quantile(steps_ms, 0.99) if steps_ms else None,
    )


def ratio(own: Sequence[Window], raw: Sequence[Window]) -> float:
    """Of windows that were neighbours: the machine was the same for both of a pair, not for all."""
    return statistics.median(mine.rate / limit.rate for mine, limit in zip(own, raw, strict=True))


def lives_table(rows: Sequence[Shown]) -> list[str]:
    """For people."""
    head = f"{'in flight':>9}  {'side':<16}{'lives/s: min':>13}{'median':>9}{'max':>9}{'of raw':>8}"
    lines = [f"{head}   life p50{'p99 ms':>9}   step p50{'p99 ms':>9}"]
    for row in rows:
        low, usual, high = row.rates
        said = "" if row.ratio is None else f"{row.ratio:.2f}"
        steps = [
            _median(value for window in row.windows if (value := getattr(window, name)) is not None)
            for name in ("step_p50_ms", "step_p99_ms")
        ]
        lines.append(
            f"{row.in_flight:>9}  {row.name:<16}{low:>13,.0f}{usual:>9,.0f}{high:>9,.0f}{said:>8}"
            f"   {_median(w.p50_ms for w in row.windows):>8}{_median(w.p99_ms for w in row.windows):>9}"
            f"   {steps[0]:>8}{steps[1]:>9}"
        )
    return lines


def _median(values: Iterable[float]) -> str:
    found = list(values)
    return f"{statistics.median(found):.2f}" if found else "-"


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def verdict(value: float, must: float, *, at_least: bool) -> str:
    """Whether a bar is met."""
    met = value >= must if at_least else value <= must
    return "met" if met else "NOT MET"
