"""What the live policy saves in swaps and waiting, simulated, beside simple routers on the same machines.

    python bench/swaps.py [--tasks 3000] [--load 0.6] [--quick] [--trace FILE ...]

The real scheduler and five rivals (fifo, round-robin, least-loaded, warm-first, drain) run the same workloads in
virtual time: a stretch of bursty requests and a week of rates. Without `--trace` both are generated here; a trace file
has the columns that `ostler simulate` reads. Printed for each: swaps for each hundred tasks, share of the machines'
time lost to loading and unloading, waits, makespan, ratios of swaps and mean wait to the live policy's, and how fast
the simulation ran. All rows come from this one run; everything but the last column is simulated and the same anywhere.

A wait lasts from when a task could run until a loaded model takes it. Nobody gives up, so waits can be compared.
"""

import argparse
import math
import sys
import time
from pathlib import Path
from random import Random

import msgspec

from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, HostSpec, ModelSpec, Speeds, TierSpec
from ostler.domain.policy import Policy
from ostler.hub.simulated import Result
from ostler.simulate.virtual.figures import result_of
from ostler.simulate.virtual.fleet import Fleet, fleet_of
from ostler.simulate.virtual.jobs import Workload
from ostler.simulate.virtual.requests import Scale
from ostler.simulate.virtual.rivals import run_rival
from ostler.simulate.virtual.routers import ROUTERS
from ostler.simulate.virtual.scheduled import run_scheduled
from ostler.simulate.virtual.traces import trace_workload

GB = 1000**3
MODELS = {"chat-4b": (5, 60.0, 4), "coder-9b": (9, 45.0, 4), "coder-32b": (20, 20.0, 2), "writer-32b": (20, 20.0, 2)}
"""Model -> GB in memory, tokens/s written, slots."""
HOSTS = {"one-24gb": {"box": 24}, "three": {"box-a": 24, "box-b": 24, "box-c": 48}}
LIVE = "live"
SEED = 1
WEEK_TASKS = 4
"""Times as many tasks for a week."""


def policy(hosts: dict[str, int]) -> Policy:
    """A ladder of one tier over all models, on machines that each serve all of them."""
    models = {
        name: ModelSpec(
            name=name,
            context_tokens=131_072,
            memory_bytes=size * GB,
            speeds=Speeds(
                prefill_tokens_per_s=40 * speed, decode_tokens_per_s=speed, load_s=1.1 * size, unload_s=0.3 * size
            ),
        )
        for name, (size, speed, _) in MODELS.items()
    }
    slots = {name: slots for name, (_, _, slots) in MODELS.items()}
    endpoints = {
        host: EndpointSpec(
            name=host,
            kind=EndpointKind.OLLAMA,
            url=f"http://{host}:11434",
            provider="ollama",
            host=host,
            local=True,
            slots=sum(slots.values()),
            slots_per_model=slots,
            models=tuple(models),
        )
        for host in hosts
    }
    catalog = Catalog(
        tiers=(
            TierSpec(name="direct", rank=0, cost=CostClass.FREE),
            TierSpec(name="local", rank=1, models=tuple(models), cost=CostClass.LOCAL),
        ),
        models=models,
        endpoints=endpoints,
        hosts={name: HostSpec(name=name, memory_bytes=size * GB) for name, size in hosts.items()},
    )
    return Policy(catalog=catalog, version="bench", profile=LIVE)


def bursts(tasks: int) -> str:
    """A trace of requests: gaps log-normal with sigma 1.2 (a variation of 1.8), lengths as agents have them."""
    dice = Random(SEED)
    lines, at_s = ["t_s,in_tokens,out_tokens"], 0.0
    for _ in range(tasks):
        at_s += dice.lognormvariate(0, 1.2)
        prompt, output = dice.lognormvariate(7.5, 1.0), dice.lognormvariate(5.5, 0.8)
        lines.append(f"{at_s:.3f},{min(60_000, round(prompt))},{max(1, round(output))}")
    return "\n".join(lines)


def week() -> str:
    """A trace of rates: days and nights over a week, three tiers, one of them away for half a day."""
    lines = ["window_start_s,tier,rate_rps,mean_cv"]
    for window in range(7 * 144):
        day = 1 + 0.8 * math.sin(2 * math.pi * (window / 144 - 0.3))
        for tier, share, cv in (("m-small", 1.0, 2.0), ("m-mid", 0.6, 3.0), ("m-large", 0.3, 2.5)):
            away = tier == "m-mid" and 400 <= window < 472
            lines.append(f"{window * 600},{tier},{0 if away else share * day:.4f},{cv}")
    return "\n".join(lines)


def run(name: str, workload: Workload, fleet: Fleet) -> tuple[Result, float]:
    """One row, and the seconds it took to simulate."""
    started_s = time.perf_counter()
    done = run_scheduled(workload, fleet, fleet.policy) if name == LIVE else run_rival(name, workload, fleet)
    seconds = time.perf_counter() - started_s
    result = result_of(done)
    assert result.succeeded == result.tasks, (name, result.missed)
    return result, seconds


def table(title: str, workload: Workload, fleet: Fleet) -> None:
    """All policies on one workload."""
    out = sys.stdout.write
    out(f"\n{title} on {fleet.name}: {len(workload.jobs)} tasks, simulated\n")
    for rule in workload.rules:
        out(f"  {rule}\n")
    out(
        f"{'policy':<14}{'swaps/100':>10}{'lost':>8}{'p50 s':>9}{'p95 s':>9}{'p99 s':>9}{'mean s':>9}{'makespan h':>12}"
    )
    out(f"{'swaps':>9}{'wait':>8}{'tasks/s':>9}\n")
    live: Result | None = None
    for name in (LIVE, *ROUTERS):
        result, seconds = run(name, workload, fleet)
        live = live or result
        wait = result.wait
        lost = (result.swap_ms or 0) / max(1, result.makespan_ms * len(fleet.machines))
        out(f"{name:<14}{result.swaps_per_100 or 0:>10.2f}{100 * lost:>7.2f}%")
        out("".join(f"{ms / 1000:>9.1f}" for ms in (wait.p50_ms, wait.p95_ms, wait.p99_ms, wait.mean_ms)))
        out(f"{result.makespan_ms / 3_600_000:>12.2f}")
        out(f"{ratio(result.swaps, live.swaps):>9}{ratio(wait.mean_ms, live.wait.mean_ms):>8}")
        out(f"{result.tasks / seconds:>9.0f}\n")


def ratio(value: int | None, base: int | None) -> str:
    """How many times the live policy's figure."""
    return f"x{value / base:.2f}" if value is not None and base else "-"


def main() -> None:
    """Print the tables."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--tasks", type=int, default=1500)
    cli.add_argument("--load", type=float, default=0.6)
    cli.add_argument("--quick", action="store_true", help="A few hundred tasks.")
    cli.add_argument("--trace", action="append", default=[], metavar="FILE")
    args = cli.parse_args()
    scale = Scale(tasks=300 if args.quick else args.tasks, load=args.load, seed=SEED, ttl_ms=0)
    texts = [(path, Path(path).read_text("utf-8")) for path in args.trace]
    texts = texts or [("generated bursts", bursts(scale.tasks)), ("a generated week", week())]
    for title, text in texts:
        # A week of few tasks would be one of very long ones.
        scale = msgspec.structs.replace(scale, tasks=scale.tasks * (WEEK_TASKS if "rate_rps" in text[:200] else 1))
        for name, hosts in HOSTS.items():
            fleet = fleet_of(policy(hosts), name=name)
            table(title, trace_workload(text, title, fleet, scale), fleet)


if __name__ == "__main__":
    main()
