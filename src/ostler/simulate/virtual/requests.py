"""What traces of every kind share: requests with instants and lengths, their jobs, and how much of a fleet they take.

Capacity is counted as if each machine served one model at a time: the load is the sum over models of work / slots,
over all endpoints that serve the model. Swaps come on top.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.catalog import ModelSpec
from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import TaskSpec
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.jobs import Job, facts_of, nominal_ms, spec_of

PROMPT = "a request of the trace"
ROOM_TOKENS = 400
"""Kept free in a window for the answer."""
Row = Mapping[str, str]


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How large a workload is made of a trace."""

    tasks: int = 5_000
    """At most so many; of a trace of rates, about so many."""
    load: float = 0.5
    """Share of what the fleet carries that the trace is scaled to."""
    seed: int = 0
    ttl_ms: int | None = None
    """Time to live of each task; `None` = as the policy says, 0 = nobody gives up."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a trace."""

    at_ms: float
    prompt_tokens: int
    output_tokens: int
    model: str


def local_models(fleet: Fleet) -> list[ModelSpec]:
    """The models of the machines, the smallest first; those of a fleet of clouds alone, by name."""
    names = {model.name for machine in fleet.machines.values() for model in machine.models}
    names = names or {model for offer in fleet.offers.values() for model in offer}
    specs = [spec_of(name, fleet.policy) for name in names]
    return sorted(specs, key=lambda spec: (spec.memory_bytes or 0, spec.name))


def jobs_of(requests: Sequence[Request], scale: Scale, offsets_ms: Sequence[float]) -> tuple[Job, ...]:
    """Requests as jobs that arrive at the given offsets, in their order."""
    return tuple(
        Job(
            spec=TaskSpec(id=f"r{index:06d}", prompt=PROMPT, model=request.model, ttl_ms=scale.ttl_ms),
            arrival_ms=round(offset_ms),
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
        )
        for index, (request, offset_ms) in enumerate(zip(requests, offsets_ms, strict=True), start=1)
    )


def offered_ms(jobs: Sequence[Job], fleet: Fleet) -> float:
    """Machine time that the jobs take, were it spread evenly over the slots of their models."""
    work: dict[str, int] = {}
    for job in jobs:
        model = job.spec.model or ""
        duration_ms = nominal_ms(job, facts_of(job, fleet.policy), spec_of(model, fleet.policy), fleet.policy)
        work[model] = work.get(model, 0) + duration_ms
    total = 0.0
    for model, work_ms in sorted(work.items()):
        places = sum(fleet.slots(endpoint, model) for endpoint in fleet.serving(model))
        total += work_ms / max(1, places)
    return total


def number(row: Row, column: str, source: str, line: int) -> float:
    """A figure of a row, 0 or more. Raises `InvalidInputError` with the line."""
    text = row.get(column) or ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        what = f"{column} is '{text}'" if text else f"{column} is missing"
        raise InvalidInputError(what, where=f"{source}:{line}", remedy="a number from 0 up is expected")
    return value
