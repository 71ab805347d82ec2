"""Traces of rates as workloads: the week, its shape and its bursts are the trace's; how many tasks, and how long, ours.

Columns: `window_start_s`, `tier`, `rate_rps`, `mean_cv`; others are ignored. Rates are scaled by one factor to the
wanted number of tasks. Arrivals are a renewal process in the window's own time: gamma gaps of the window's coefficient
of variation (at most `CV_MAX`: beyond, a single gap outlasts days); a gap that reaches into the next window goes on
there at its rate. Lengths are log-normal; answers are scaled so that the work is the wanted share of what the fleet
carries. The tiers of the trace go to the models of the fleet by size.
"""

import math
from collections.abc import Sequence
from random import Random

import msgspec

from ostler.domain.catalog import ModelSpec
from ostler.domain.errors import InvalidInputError
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.jobs import Workload
from ostler.simulate.virtual.requests import ROOM_TOKENS, Request, Row, Scale, jobs_of, number, offered_ms

WINDOW_S = 600
MEDIAN_IN, MEDIAN_OUT, SIGMA_LENGTH = 900, 250, 0.8
"""Lengths before scaling: medians in tokens, and the sigma of the log-normal."""
CV_MIN, CV_MAX = 0.05, 5.0
NO_LIMIT = 1_000_000
SIZES = {"small": 0, "mid": 1, "medium": 1, "large": 2}
"""Words in the names of tiers that tell their size."""


class _Window(msgspec.Struct, frozen=True, kw_only=True):
    start_s: float
    tier: str
    rate_rps: float
    cv: float


def rates_workload(
    rows: Sequence[Row], source: str, fleet: Fleet, scale: Scale, models: Sequence[ModelSpec]
) -> Workload:
    """The workload of a trace of rates. Raises `InvalidInputError` with the line."""
    windows = [_window(row, source, line) for line, row in enumerate(rows, start=2)]
    total = sum(window.rate_rps for window in windows) * WINDOW_S
    if total <= 0:
        raise InvalidInputError("the trace has no traffic", where=source, remedy="give one with rates above 0")
    factor = scale.tasks / total
    tiers = _by_size(windows)
    model_of = {tier: models[min(len(models) - 1, rank * len(models) // len(tiers))] for rank, tier in enumerate(tiers)}
    requests = [
        request
        for tier in tiers
        for request in _draw([w for w in windows if w.tier == tier], factor, scale.seed, model_of[tier])
    ]
    if not requests:
        raise InvalidInputError("not one task was drawn", where=source, remedy="ask for more with --tasks")
    requests.sort(key=lambda request: (request.at_ms, request.model))
    span_ms = (max(w.start_s for w in windows) - min(w.start_s for w in windows) + WINDOW_S) * 1000
    stretch = _stretch(requests, fleet, scale, span_ms)
    requests = [_stretched(request, stretch) for request in requests]
    jobs = jobs_of(requests, scale, [request.at_ms for request in requests])
    load = 100 * offered_ms(jobs, fleet) / span_ms
    drawn = f"{len(jobs)} requests drawn with seed {scale.seed} from the rates of {source}, scaled by {factor:.3g}"
    kept = f"shape and variation of each window kept (at most {CV_MAX:g})"
    named = ", ".join(f"{tier} -> {model_of[tier].name}" for tier in tiers)
    lengths = f"log-normal with medians of {MEDIAN_IN} tokens in and {MEDIAN_OUT * stretch:.0f} out"
    rules = (
        f"{drawn}; {kept}",
        f"the trace has no lengths; {lengths}: {load:.0f} % of what the fleet carries without swaps",
        f"the trace names no models; its tiers by size: {named}",
    )
    return Workload(name=source, jobs=jobs, rules=rules)


def _window(row: Row, source: str, line: int) -> _Window:
    cv = number(row, "mean_cv", source, line) if row.get("mean_cv") else 1.0
    return _Window(
        start_s=number(row, "window_start_s", source, line),
        tier=row["tier"],
        rate_rps=number(row, "rate_rps", source, line),
        cv=min(CV_MAX, max(CV_MIN, cv)),
    )


def _by_size(windows: Sequence[_Window]) -> list[str]:
    """Tiers from small to large: by the usual words in their names, others behind, the busiest first."""

    def key(tier: str) -> tuple[int, float, str]:
        known = [rank for word, rank in SIZES.items() if word in tier]
        return (known[0] if known else len(SIZES), -sum(w.rate_rps for w in windows if w.tier == tier), tier)

    return sorted({window.tier for window in windows}, key=key)


def _draw(windows: Sequence[_Window], factor: float, seed: int, model: ModelSpec) -> list[Request]:
    """The arrivals of one tier, window by window. What is left of a gap is carried over in mean gaps."""
    dice = Random(f"{seed}/{windows[0].tier}")
    limit = (model.context_tokens or NO_LIMIT) - ROOM_TOKENS
    left = dice.expovariate(1.0)
    found: list[Request] = []
    for window in sorted(windows, key=lambda window: window.start_s):
        if window.rate_rps <= 0:
            continue
        gap_s = 1 / (window.rate_rps * factor)
        shape = 1 / window.cv**2
        at_s = left * gap_s
        while at_s < WINDOW_S:
            prompt, output = (dice.lognormvariate(math.log(median), SIGMA_LENGTH) for median in (MEDIAN_IN, MEDIAN_OUT))
            found.append(
                Request(
                    at_ms=(window.start_s + at_s) * 1000,
                    prompt_tokens=max(1, min(round(prompt), limit)),
                    output_tokens=max(1, round(output)),
                    model=model.name,
                )
            )
            at_s += dice.gammavariate(shape, gap_s / shape)
        left = (at_s - WINDOW_S) / gap_s
    return found


def _stretch(requests: Sequence[Request], fleet: Fleet, scale: Scale, span_ms: float) -> float:
    """The factor on the answers' lengths that makes the load; never below a tenth."""
    whole = offered_ms(jobs_of(requests, scale, [0.0] * len(requests)), fleet)
    silent = [msgspec.structs.replace(request, output_tokens=0) for request in requests]
    reading = offered_ms(jobs_of(silent, scale, [0.0] * len(silent)), fleet)
    return max(0.1, (scale.load * span_ms - reading) / max(1.0, whole - reading))


def _stretched(request: Request, factor: float) -> Request:
    return msgspec.structs.replace(request, output_tokens=max(1, round(request.output_tokens * factor)))
