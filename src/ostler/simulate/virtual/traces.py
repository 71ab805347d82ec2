"""Traces of requests as workloads: order, gaps and lengths are the trace's; models and scale are ours, and said.

Columns: `t_s` or `t_ms`, `in_tokens`, `out_tokens`; others are ignored. Time is stretched by one factor, which keeps
the shape and the variation of the gaps, so that the work offered is the wanted share of what the fleet carries.

Which model a request wants no trace says. Requests get one by a seeded draw: the share of a model halves from each to
the next larger one. A request that fits no window of its model goes to the smallest model that it fits; one that fits
none is left out, and counted.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from random import Random

from ostler.domain.catalog import ModelSpec
from ostler.domain.errors import InvalidInputError
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.jobs import Workload
from ostler.simulate.virtual.rates import rates_workload
from ostler.simulate.virtual.requests import ROOM_TOKENS, Request, Row, Scale, jobs_of, local_models, number, offered_ms


def trace_workload(text: str, source: str, fleet: Fleet, scale: Scale) -> Workload:
    """The workload of a trace, of requests or of rates. `source` names it in messages.

    Raises `InvalidInputError` with the line.
    """
    reader = csv.DictReader(io.StringIO(text))
    columns = set(reader.fieldnames or ())
    models = local_models(fleet)
    if {"window_start_s", "tier", "rate_rps"} <= columns:
        return rates_workload(list(reader), source, fleet, scale, models)
    if ("t_s" in columns or "t_ms" in columns) and {"in_tokens", "out_tokens"} <= columns:
        return _requests_workload(reader, source, fleet, scale, models)
    remedy = "give a trace with t_s (or t_ms), in_tokens, out_tokens, or with window_start_s, tier, rate_rps, mean_cv"
    raise InvalidInputError("these are not the columns of a trace", where=f"{source}:1", remedy=remedy)


def _requests_workload(
    rows: Iterator[Row], source: str, fleet: Fleet, scale: Scale, models: Sequence[ModelSpec]
) -> Workload:
    shares = [2.0**-rank for rank in range(len(models))]
    requests, left_out = _read(rows, source, scale, models, shares)
    first_ms = requests[0].at_ms
    span_ms = max(1.0, requests[-1].at_ms - first_ms)
    offsets_ms = [request.at_ms - first_ms for request in requests]
    factor = offered_ms(jobs_of(requests, scale, offsets_ms), fleet) / (scale.load * span_ms)
    jobs = jobs_of(requests, scale, [offset_ms * factor for offset_ms in offsets_ms])
    total = sum(shares)
    percents = ", ".join(f"{m.name} {100 * s / total:.0f} %" for m, s in zip(models, shares, strict=True))
    rules = [
        f"{len(jobs)} requests of {source}, their gaps stretched by {factor:.2f}: {_carried(scale.load)}",
        f"the trace names no models; drawn with seed {scale.seed}: {percents}",
    ]
    if left_out:
        rules.append(f"{left_out} requests left out: longer than every window of the fleet")
    return Workload(name=source, jobs=jobs, rules=tuple(rules))


def _read(
    rows: Iterator[Row], source: str, scale: Scale, models: Sequence[ModelSpec], shares: Sequence[float]
) -> tuple[list[Request], int]:
    """The first requests in order of time, each with a model, and how many had to be left out."""
    dice = Random(f"{scale.seed}/models")
    requests: list[Request] = []
    left_out = 0
    for line, row in enumerate(rows, start=2):
        if len(requests) == scale.tasks:
            break
        at_ms = number(row, "t_ms", source, line) if "t_ms" in row else 1000 * number(row, "t_s", source, line)
        prompt, output = (int(number(row, name, source, line)) for name in ("in_tokens", "out_tokens"))
        model = _fitting(models, dice.choices(models, weights=shares)[0], prompt)
        if model is None:
            left_out += 1
        else:
            requests.append(Request(at_ms=at_ms, prompt_tokens=prompt, output_tokens=output, model=model.name))
    if not requests:
        remedy = "use a longer trace, or a fleet with larger windows"
        raise InvalidInputError("the trace has no request that fits a model", where=source, remedy=remedy)
    requests.sort(key=lambda request: request.at_ms)
    return requests, left_out


def _fitting(models: Sequence[ModelSpec], wanted: ModelSpec, prompt_tokens: int) -> ModelSpec | None:
    for model in (wanted, *models):
        if model.context_tokens is None or prompt_tokens + ROOM_TOKENS <= model.context_tokens:
            return model
    return None


def _carried(load: float) -> str:
    return f"{100 * load:.0f} % of what the fleet carries without swaps"
