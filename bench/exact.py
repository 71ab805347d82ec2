"""How many small problems the exact solver proves, and how far simple rules are from the proven optimum.

Families: 10 to 20 tasks, one or two hosts, three or four models, tasks of minutes or of seconds, one graph or many
workflows. Printed per family: share proven within the limit, seconds (median and worst), and how many loads the plans
have. Seeded: one seed, one set of instances.

usage: python bench/exact.py [--instances N] [--seconds S] [--workers N] [--verbose]
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from typing import get_args

from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Instance
from ostler.simulate.instances import Memory, Regime, Shape, random_instance

SIZES = (10, 15, 20)


def instances(count: int) -> Iterator[tuple[str, Instance]]:
    """`count` instances, as evenly over the families as the number allows, each with the name of its family."""
    regimes, shapes, memories = get_args(Regime), get_args(Shape), get_args(Memory)
    families = list(product((1, 2), regimes, shapes, (3, 4), SIZES, memories))
    for number in range(count):
        hosts, regime, shape, models, tasks, memory = families[number % len(families)]
        instance = random_instance(
            number // len(families), tasks, hosts, models=models, regime=regime, shape=shape, memory=memory
        )
        yield f"{hosts} host{'s' if hosts > 1 else ' '} {regime:5}", instance


def main() -> None:
    """Solve all and print one line per family."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--instances", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    families: dict[str, list[Solved]] = defaultdict(list)
    for family, instance in instances(arguments.instances):
        solved = solve(instance, seconds=arguments.seconds, workers=arguments.workers)
        families[family].append(solved)
        if arguments.verbose:
            shown = f"{solved.plan.makespan_ms:>9} ms, {solved.plan.loads:>2} loads" if solved.plan else "no plan"
            print(
                f"  {instance.name:32} {solved.status:8} {shown}, bound {solved.bound_ms:>9}, {solved.seconds:6.2f} s"
            )
    everything = [solved for group in families.values() for solved in group]
    for family, group in [*sorted(families.items()), ("all", everything)]:
        seconds = [solved.seconds for solved in group]
        proven = sum(solved.status is Status.PROVEN for solved in group)
        print(
            f"{family:14} proven {proven:>3} of {len(group):>3} ({proven / len(group):6.1%})"
            f"  seconds: median {statistics.median(seconds):6.2f}, worst {max(seconds):6.2f}"
        )


if __name__ == "__main__":
    main()
