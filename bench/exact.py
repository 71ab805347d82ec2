"""How many small problems the exact solver proves, and how far simple rules are from the proven optimum.

Families: 10 to 20 tasks, one or two hosts, three or four models, tasks of minutes or of seconds, one graph or many
workflows, all hosts tight or mixed. The solver starts from the searched plan and the analytic bound, as `ostler plan`
does. Printed per family: share proven within the limit and seconds of the solver; then, of the proven ones, makespan
over optimum of the live policy, of the portfolio of its settings, and of the search that goes on from there. Seeded:
one seed, one set of instances; seconds are of this machine and of what else runs on it.

usage: python bench/exact.py [--instances N] [--seconds S] [--search S] [--workers N] [--verbose]
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from random import Random
from typing import get_args

import msgspec

from ostler.planning.bounds import certify
from ostler.planning.compiled import Compiled
from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Instance
from ostler.planning.planner import make_plan
from ostler.planning.portfolio import best_setting
from ostler.simulate.instances import Memory, Regime, Shape, random_instance

SIZES = (10, 15, 20)
RULES = ("live", "portfolio", "search")


class Until:
    """Effort by the clock."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def spent(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: the answer, and the makespan of each rule."""

    solved: Solved
    rules: dict[str, int]


def instances(count: int) -> Iterator[tuple[str, Instance]]:
    """`count` instances, as evenly over the families as the number allows, each with the name of its family."""
    regimes, shapes, memories = get_args(Regime), get_args(Shape), get_args(Memory)
    families = list(product((1, 2), regimes, shapes, (3, 4), SIZES, memories))
    for number in range(count):
        hosts, regime, shape, models, tasks, memory = families[number * 37 % len(families)]
        instance = random_instance(
            number // len(families), tasks, hosts, models=models, regime=regime, shape=shape, memory=memory
        )
        yield f"{hosts} host{'s' if hosts > 1 else ' '} {regime:5}", instance


def measured(instance: Instance, arguments: argparse.Namespace) -> Row:
    """Plan by every rule, then solve from the best of them."""
    run = best_setting(Compiled(instance), Until(arguments.search)).run
    search = make_plan(instance, "portfolio", Until(arguments.search), Random(0))
    rules = {
        "live": make_plan(instance, "live", Until(0), Random(0)).makespan_ms,
        "portfolio": run.plan("portfolio", "").makespan_ms,
        "search": search.makespan_ms,
    }
    bound_ms = certify(instance).bound_ms
    solved = solve(instance, seconds=arguments.seconds, hint=search, bound_ms=bound_ms, workers=arguments.workers)
    return Row(solved=solved, rules=rules)


def told(family: str, rows: list[Row]) -> str:
    """One line of the table."""
    proven = [row for row in rows if row.solved.status is Status.PROVEN and row.solved.plan]
    seconds = [row.solved.seconds for row in rows]
    ratios = {
        rule: [row.rules[rule] / row.solved.plan.makespan_ms for row in proven if row.solved.plan] for rule in RULES
    }
    shown = ", ".join(
        f"{rule} {statistics.mean(values):.3f} (worst {max(values):.2f})" for rule, values in ratios.items() if values
    )
    return (
        f"{family:14} proven {len(proven):>3} of {len(rows):>3} ({len(proven) / len(rows):6.1%})"
        f"  seconds: median {statistics.median(seconds):5.2f}, worst {max(seconds):5.2f}"
        f"  over optimum: {shown}"
    )


def main() -> None:
    """Solve all and print one line per family."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--search", type=float, default=1.5)
    parser.add_argument("--workers", type=int, default=3, help="3 = as `ostler plan` does")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    families: dict[str, list[Row]] = defaultdict(list)
    for family, instance in instances(arguments.instances):
        row = measured(instance, arguments)
        families[family].append(row)
        solved = row.solved
        if arguments.verbose:
            shown = f"{solved.plan.makespan_ms:>9} ms, {solved.plan.loads:>2} loads" if solved.plan else "no plan"
            print(
                f"  {instance.name:32} {solved.status:8} {shown}, bound {solved.bound_ms:>9}, {solved.seconds:6.2f} s"
            )
    for family, group in sorted(families.items()):
        print(told(family, group))
    print(told("all", [row for group in families.values() for row in group]))


if __name__ == "__main__":
    main()
