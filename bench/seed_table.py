"""The fourteen agents in every reading and number of slots: bound, best plan, strategies, rivals, and what-ifs.

The problem is small enough to be known: every row has figures that were worked out before, by another program, and this
one fails if its own differ. A, B and C are the declared phases, followed to the letter, with DevOps moved behind the
reviews where the reading demands it. Every plan passes the independent checker, every bound the checker of bounds.
The best plan is *proven* when its length meets a bound, the solver's or the certificate's; otherwise both are shown.
What others would do (first in first out, a router before hosts that load on demand, drain, critical path without regard
to swaps) and our own search are simulated; only that the search ends at the best plan is known beforehand.

usage: python bench/seed_table.py [--seconds S] [--brief]
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from ostler.planning.audit import audit, minutes
from ostler.planning.bound_checker import check_certificate
from ostler.planning.bounds import certify
from ostler.planning.certificate import Certificate
from ostler.planning.compiled import Compiled
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.planner import make_plan
from ostler.planning.portfolio import best_setting
from ostler.planning.rivals import rival
from ostler.planning.strategies import planned
from ostler.planning.whatif import Question, add_host, add_memory, allow_model, scale_swaps, to_cloud
from ostler.simulate.fourteen_agents import DECLARED, GB, Reading, fourteen_agents
from ostler.simulate.fourteen_agents_claims import CLAIMS, FIGURES, HYBRID, SEQUENTIAL

SEARCH_STEPS = 4_000
WORKERS = 3
"""Strategies of the solver, as `ostler plan` has them."""
RIVALS = ("fifo", "least-loaded", "drain", "heft")
OTHERS = ("model 1st", "depend 1st", "hybrid", "fifo", "on demand", "drain", "heft", "settings", "search")
WIDTH = 11
REVIEWERS = ("qa", "security", "docs", "chief-architect")


class Row(NamedTuple):
    """A row of the table, in minutes as printed."""

    reading: Reading
    slots: int
    bound: str
    best: str
    loads: int
    a: str
    b: str
    c: str
    proven: bool = True
    """Whether the best is known to be the best."""


# Nine slots are as good as any number: no more than nine tasks are ever ready for one model.
TABLE = (
    Row("map", 1, "163.62", "163.62", 5, "163.79", "163.79", "163.79"),
    Row("map", 2, "93.62", "98.62", 5, "103.79", "118.79", "113.79", proven=False),
    Row("map", 3, "60.29", "63.62", 5, "78.79", "108.79", "73.79"),
    Row("map", 4, "53.62", "58.62", 5, "68.79", "98.79", "73.79"),
    Row("map", 5, "53.62", "53.62", 5, "63.79", "93.79", "63.79"),
    Row("map", 9, "53.62", "53.62", 5, "53.79", "83.79", "63.79"),
    Row("mermaid", 2, "108.62", "108.62", 5, "113.79", "128.79", "113.79"),
    Row("mermaid", 4, "73.62", "78.62", 5, "78.79", "108.79", "88.79"),
    Row("mermaid", 9, "68.62", "68.62", 5, "68.79", "98.79", "78.79"),
    Row("phases", 2, "92.96", "92.96", 4, "98.12", "113.12", "98.12"),
    Row("phases", 4, "52.96", "52.96", 4, "58.12", "88.12", "58.12"),
    Row("phases", 5, "44.96", "47.96", 4, "53.12", "83.12", "48.12"),
    Row("phases", 9, "37.96", "37.96", 4, "38.12", "68.12", "48.12"),
)
COLUMNS: tuple[tuple[Reading, int], ...] = (("map", 4), ("map", 9), ("phases", 4), ("phases", 9))
CHANGES: dict[str, Callable[[Instance], Question]] = {
    "swaps free": lambda instance: scale_swaps(instance, 0),
    "swaps x5": lambda instance: scale_swaps(instance, 5_000),
    "swaps x10": lambda instance: scale_swaps(instance, 10_000),
    "reviewers may use latest": lambda instance: allow_model(instance, "latest", REVIEWERS),
    "architect on a cloud": lambda instance: to_cloud(instance, ("chief-architect",), 120_000),
    "40 GB": lambda instance: add_memory(instance, "mac", 8 * GB),
    "64 GB": lambda instance: add_memory(instance, "mac", 32 * GB),
    "a second host": lambda instance: add_host(instance, "mac"),
}
SENSITIVITY = {
    "swaps free": ("56.00", "51.00", "51.00", "36.00"),
    "swaps x5": ("69.12", "64.12", "60.79", "45.79"),
    "swaps x10": ("82.25", "77.25", "70.58", "55.58"),
    "reviewers may use latest": ("51.62", "51.62", "51.62", "36.62"),
    "architect on a cloud": ("54.96", "49.96", "49.29", "34.29"),
    "40 GB": ("55.38", "50.38", "49.71", "34.71"),
    "64 GB": ("48.38", "48.38", "48.38", "33.38"),
    "a second host": ("48.38", "48.38", "38.38", "33.38"),
}


def in_minutes(duration_ms: int) -> str:
    """As the table prints it."""
    return f"{duration_ms / 60_000:.2f}"


def bounded(instance: Instance) -> Certificate:
    """The analytic bound, checked."""
    certificate = certify(instance)
    assert not check_certificate(instance, certificate)
    return certificate


def best(instance: Instance, seconds: float) -> tuple[Plan, Certificate]:
    """The best plan that the exact solver finds, checked, and the better of its bound and the analytic one."""
    certificate = bounded(instance)
    solved = solve(instance, seconds=seconds, bound_ms=certificate.bound_ms, workers=WORKERS)
    assert solved.plan is not None
    assert check_plan(instance, solved.plan) == ()
    if solved.bound_ms > certificate.bound_ms:
        certificate = Certificate(bound_ms=solved.bound_ms, kind="exact solver")
    return solved.plan, certificate


def declared(instance: Instance) -> list[Plan]:
    """Strategies A, B and C, checked."""
    plans = [planned(instance, strategy, order, repair=True) for strategy, order in DECLARED.items()]
    assert [check_plan(instance, plan) for plan in plans] == [()] * 3
    return plans


def measured(reading: Reading, slots: int, seconds: float) -> tuple[Row, Plan]:
    """A row of the table as it comes out here, and its best plan."""
    instance = fourteen_agents(reading, slots)
    plan, certificate = best(instance, seconds)
    a, b, c = (in_minutes(row.makespan_ms) for row in declared(instance))
    proven = plan.makespan_ms <= certificate.bound_ms
    bound = in_minutes(bounded(instance).bound_ms)
    return Row(reading, slots, bound, in_minutes(plan.makespan_ms), plan.loads, a, b, c, proven), plan


def print_table(seconds: float) -> Iterator[str]:
    """Print the table; yields what differs from what is known."""
    print(f"{'needs':9}{'slots':>6}{'bound':>9}{'best':>9} loads {'':10}{'A':>9}{'B':>9}{'C':>9}   (minutes)")
    for row in TABLE:
        made, _ = measured(row.reading, row.slots, seconds)
        word = "proven" if made.proven else "not proven"
        print(
            f"{made.reading:9}{made.slots:>6}{made.bound:>9}{made.best:>9}{made.loads:>6} {word:10}"
            f"{made.a:>9}{made.b:>9}{made.c:>9}"
        )
        # A proof that was not there before is good news.
        if made._replace(proven=row.proven or made.proven) != row._replace(proven=row.proven or made.proven):
            yield f"{row.reading} with {row.slots} slots: {made} instead of {row}"


class Steps:
    """Effort by count, so that results repeat exactly."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spent(self) -> bool:
        """Whether to stop now."""
        self.left -= 1
        return self.left < 0


def found_by_search(instance: Instance) -> Plan:
    """What our own search finds, without a solver and within a third of a second or so."""
    return make_plan(instance, "portfolio", Steps(SEARCH_STEPS), Random(0))


def others(instance: Instance) -> Iterator[Plan]:
    """Plans of derived strategies, of rivals, of the best setting of our rule, and of the search; all checked."""
    compiled = Compiled(instance)
    for strategy in DECLARED:
        yield planned(instance, strategy)
    for name in RIVALS:
        plan = rival(compiled, name)
        assert plan is not None
        yield plan
    run = best_setting(compiled, Steps(SEARCH_STEPS)).run
    yield run.plan("settings")
    yield found_by_search(instance)


def print_others() -> Iterator[str]:
    """Print what others would do; yields where the search ends above the best plan that is known."""
    print(f"\n{'minutes':9}{'slots':>6}" + "".join(f"{name:>{WIDTH}}" for name in OTHERS))
    for row in TABLE:
        instance = fourteen_agents(row.reading, row.slots)
        plans = list(others(instance))
        assert [check_plan(instance, plan) for plan in plans] == [()] * len(plans)
        cells = [in_minutes(plan.makespan_ms) for plan in plans]
        print(f"{row.reading:9}{row.slots:>6}" + "".join(f"{cell:>{WIDTH}}" for cell in cells))
        if cells[-1] != row.best:
            yield f"{row.reading} with {row.slots} slots: the search ends at {cells[-1]}, known is {row.best}"


def print_what_ifs(seconds: float) -> Iterator[str]:
    """Print the best plan after each change; yields what differs from what is known."""
    print(f"\n{'best plan in minutes, if':27}" + "".join(f"{f'{reading}, {slots}':>12}" for reading, slots in COLUMNS))
    for change, ask in CHANGES.items():
        cells = []
        for (reading, slots), known in zip(COLUMNS, SENSITIVITY[change], strict=True):
            plan, certificate = best(ask(fourteen_agents(reading, slots)).after, seconds)
            sure = "" if plan.makespan_ms <= certificate.bound_ms else "?"
            cells.append(f"{in_minutes(plan.makespan_ms)}{sure}")
            if cells[-1].rstrip("?") != known:
                yield f"{change}, {reading} with {slots} slots: {cells[-1]} instead of {known}"
        print(f"{change:27}" + "".join(f"{cell:>12}" for cell in cells))


def print_audit() -> None:
    """What is wrong with the figures that were once stated, under the dependency map on four slots."""
    for account in (SEQUENTIAL, HYBRID):
        print(f"\nstated: {account.name} {minutes(account.sum_ms)} with {account.swaps} swaps", end="")
    print("\nfound by the audit:")
    for finding in audit(fourteen_agents(), CLAIMS, FIGURES):
        print(f"  {finding.kind:20} {finding.subject}: {finding.said}")


def main() -> int:
    """Print everything; 1 if a figure differs from what is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="longest exact search of one instance")
    parser.add_argument("--brief", action="store_true", help="the table alone")
    arguments = parser.parse_args()
    started = time.perf_counter()
    wrong = list(print_table(arguments.seconds))
    if not arguments.brief:
        wrong += print_others()
        wrong += print_what_ifs(arguments.seconds)
        print_audit()
    print(f"\n{time.perf_counter() - started:.1f} s, {time.process_time():.1f} s of them on the processor")
    for line in wrong:
        print(f"DIFFERS: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
