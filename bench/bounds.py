"""How good the lower bounds are: against proven optima of tiny instances, and how long they take on large ones.

    python bench/bounds.py [--count 60] [--first 0] [--seconds 6]

The exact solver is told nothing of the bound. An instance that it does not prove in time is left out and counted.
Printed: violations (a certificate above an optimum, or one that the checker refuses; there must be none), the share of
instances where the best bound is the optimum, the mean and the worst ratio of optimum to bound, over all and by the
family that won; and how often each family alone would have been enough. Then processor seconds of a certificate for 200
to 10,000 tasks.
"""

import argparse
import sys
import time
from collections import Counter

from ostler.planning.bound_checker import check_certificate
from ostler.planning.bounds import certificates, certify
from ostler.planning.cpsat.result import Goal, Status
from ostler.planning.cpsat.solve import solve
from ostler.simulate.instances import Memory, Regime, Shape, random_instance, tiny_instance

LARGE: tuple[tuple[int, int, Shape, Regime, Memory], ...] = (
    (200, 1, "layered", "agent", "tight"),
    (1_000, 1, "layered", "agent", "tight"),
    (1_000, 4, "jobs", "call", "mixed"),
    (10_000, 8, "layered", "agent", "tight"),
    (10_000, 32, "jobs", "call", "mixed"),
)


def quality(first: int, count: int, seconds: float) -> int:
    """Compares and prints; returns the number of violations."""
    unproven = violations = 0
    ratios: dict[str, list[tuple[float, int]]] = {}
    by_hosts: dict[int, list[float]] = {}
    enough: Counter[str] = Counter()
    for seed in range(first, first + count):
        instance = tiny_instance(seed)
        found = solve(instance, seconds=seconds, goal=Goal(minimise_loads=False, keep_optional=False))
        if found.status is not Status.PROVEN or found.plan is None:
            unproven += 1
            continue
        optimum = found.plan.makespan_ms
        made = certificates(instance)
        for certificate in made:
            refusal = check_certificate(instance, certificate)
            if certificate.bound_ms > optimum or refusal:
                violations += 1
                print(f"VIOLATION {instance.name} {certificate.kind} {certificate.bound_ms} > {optimum}: {refusal}")
        best = max(made, key=lambda row: row.bound_ms)
        enough.update(row.kind for row in made if row.bound_ms == optimum)
        ratios.setdefault(best.kind, []).append((optimum / best.bound_ms, seed))
        by_hosts.setdefault(len(instance.hosts), []).append(optimum / best.bound_ms)
    every = sorted(row for rows in ratios.values() for row in rows)
    print(f"{len(every)} optima, {unproven} not proven in {seconds:g} s, {violations} violations")
    print(f"{'family that won':<16} {'won':>6} {'equal':>7} {'mean':>7} {'worst':>7}  seed    alone enough")
    for kind, rows in [("all", every), *sorted(ratios.items())]:
        equal = sum(ratio == 1 for ratio, _ in rows) / len(rows)
        mean = sum(ratio for ratio, _ in rows) / len(rows)
        worst, seed = max(rows)
        alone = f"{enough[kind] / len(every):7.1%}" if kind in enough else ""
        print(f"{kind:<16} {len(rows):>6} {equal:>7.1%} {mean:>7.4f} {worst:>7.3f}  {seed:<7} {alone}")
    for hosts, values in sorted(by_hosts.items()):
        equal = sum(value == 1 for value in values) / len(values)
        print(f"{hosts} host(s): {len(values)} instances, equal {equal:.1%}, mean {sum(values) / len(values):.4f}")
    return violations


def speed() -> None:
    """Prints processor seconds, best of three."""
    for tasks, hosts, shape, regime, memory in LARGE:
        instance = random_instance(1, tasks, hosts, shape=shape, regime=regime, memory=memory)
        took = []
        for _ in range(3):
            started = time.process_time()
            certificate = certify(instance)
            took.append(time.process_time() - started)
        print(
            f"{tasks:>6} tasks x {hosts:>2} hosts, {shape}, {regime}, {memory}: {min(took):.2f} s, {certificate.kind}"
        )


def main() -> int:
    """Runs both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    violations = quality(given.first, given.count, given.seconds)
    speed()
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
