"""Time of one routing decision against the size of the fleet.

Two fleets of each size: every endpoint serves the tier, or two of them do. In the second the time must not grow: a
decision reads the index by model, never the fleet. Printed are microseconds for one decision (the median of several
rounds) and how much it grew from one size to the next; times are of this machine, the ratios are the result.

usage: python bench/decide.py [--rounds N]
"""

import argparse
import gc
import statistics
import time

from ostler.domain.catalog import (
    DIRECT,
    Catalog,
    CostClass,
    EndpointKind,
    EndpointSpec,
    ModelSpec,
    TierSpec,
)
from ostler.domain.decision import Hold, Route, RouteRequest
from ostler.domain.fleet import GIB, EndpointView, FleetSnapshot, Health, HostReport, Resident
from ostler.domain.policy import Policy
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.routing.decide import decide

SIZES = (2, 10, 100, 1_000)
NOW = 1_750_000_000_000
MODEL, OTHER = "qwen2.5:7b", "llama3:8b"

POLICY = Policy(
    catalog=Catalog(
        tiers=(
            TierSpec(name=DIRECT, rank=0, cost=CostClass.FREE),
            TierSpec(name="standard", rank=1, models=(MODEL,)),
            TierSpec(name="complex", rank=2, models=(OTHER,), cost=CostClass.METERED),
        ),
        models={name: ModelSpec(name=name, context_tokens=32_000, memory_bytes=8 * GIB) for name in (MODEL, OTHER)},
    )
)


def fleet(size: int, serving: int, *, full: bool) -> FleetSnapshot:
    """`size` endpoints on hosts of their own, the first `serving` of which serve the tier."""
    views = {}
    for number in range(size):
        model = MODEL if number < serving else OTHER
        name = f"gpu-{number:04}"
        spec = EndpointSpec(
            name=name,
            kind=EndpointKind.OLLAMA,
            url="http://unused.invalid",
            provider="ollama",
            host=name,
            local=True,
            slots=4,
        )
        residents = (Resident(model=model),) if number % 2 else ()
        views[name] = EndpointView(
            spec=spec, health=Health.UP, models=frozenset({model}), residents=residents, checked_ms=NOW, slots=4
        )
    by_model: dict[str, list[str]] = {}
    for name, view in views.items():
        by_model.setdefault(next(iter(view.models)), []).append(name)
    reports = {
        name: HostReport(host=name, at_ms=NOW - 1_000, cpu_percent=number % 90, ram_total_bytes=32 * GIB)
        for number, name in enumerate(views)
    }
    return FleetSnapshot(
        endpoints=views,
        by_model={model: tuple(names) for model, names in by_model.items()},
        reports=reports,
        in_flight=dict.fromkeys(views, 4) if full else {name: number % 4 for number, name in enumerate(views)},
        repo_hosts={"ostler": "gpu-0001"},
        taken_ms=NOW,
    )


def request() -> RouteRequest:
    """A standard task with a repo."""
    found = Classification(
        complexity=Complexity.STANDARD,
        inferred_complexity=Complexity.STANDARD,
        task_type="general",
        source="heuristic",
        confidence=0.67,
    )
    facts = TaskFacts(
        id="bench", kind=TaskKind.CHAT, classification=found, prompt_tokens=800, context_tokens=1_200, repo="ostler"
    )
    return RouteRequest(facts=facts, now_ms=NOW, queued_ms=NOW - 1_000)


def measure_us(snapshot: FleetSnapshot, rounds: int, kind: type[Route | Hold]) -> float:
    """Median microseconds of one decision."""
    question = request()
    assert isinstance(decide(question, snapshot, POLICY), kind)
    repeats = max(1, 4_000 // (len(snapshot.by_model[MODEL]) + 40))
    samples = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for _ in range(repeats):
            decide(question, snapshot, POLICY)
        samples.append((time.perf_counter_ns() - begin) / repeats / 1_000)
    return statistics.median(samples)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="samples per row (default %(default)s)")
    rounds = parser.parse_args().rounds
    gc.freeze()
    print("one decision: microseconds, and growth against the row above")
    print(f"{'endpoints':>10}  {'all serve':>16}  {'two serve':>16}  {'all serve, full':>16}")
    before: list[float] = []
    for size in SIZES:
        row = [
            measure_us(fleet(size, size, full=False), rounds, Route),
            measure_us(fleet(size, 2, full=False), rounds, Route),
            measure_us(fleet(size, size, full=True), rounds, Hold),
        ]
        growth = [f"x{now / then:.1f}" for now, then in zip(row, before, strict=True)] if before else ["", "", ""]
        cells = "  ".join(f"{us:>10.0f} {ratio:>5}" for us, ratio in zip(row, growth, strict=True))
        print(f"{size:>10}  {cells}")
        before = row


if __name__ == "__main__":
    main()
