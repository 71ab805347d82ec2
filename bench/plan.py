"""How good plans are and how long they take: rivals, the live policy and each stage of the planner, side by side.

    quality  ratio of the makespan to the best known (the best of all columns, and of CP-SAT with --exact SECONDS), mean
             and worst of a family; last column: best known to the certified lower bound
    growth   time of one simulation of the live policy and its gap to the bound, 100 to 10,000 tasks; loads against a
             least-loaded router's
    noise    durations differ from their estimates: makespan against the best of 120 settings of the rule, chosen
             with hindsight
    tight    what `ostler plan --strategy optimal` finds in 60 seconds for 50 to 200 tasks, by the best known: that
             plan or the best of --runs others of twice the time, each with a seed of its own (not part of all tables)

Families are those of `ostler.simulate.instances`: `agent` tasks of ten minutes or `call`s of twenty seconds, one
`layered` graph or many `jobs`, `tight` (24 GB) or `mixed` memory. All hosts and durations are simulated; times are of
this machine, the ratios are the result.

usage: python bench/plan.py [--full] [--exact SECONDS] [--only quality|growth|noise|tight] [--seconds N] [--runs N]
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from random import Random
from typing import NamedTuple, cast

import msgspec

from ostler.planning.bounds import certify
from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Instance
from ostler.planning.pilot import pilot
from ostler.planning.plan_checker import check_plan
from ostler.planning.planner import make_plan
from ostler.planning.portfolio import Setting, best_setting, policies
from ostler.planning.replan import Replanner
from ostler.planning.rivals import RIVALS, rival
from ostler.simulate.instances import Memory, Regime, Shape, random_instance

REDRAWS = 20
STAGES = ("live", "portfolio", "pilot", "search")


class Until:
    """Effort by the clock."""

    def __init__(self, seconds: float) -> None:
        self.until = time.perf_counter() + seconds

    def spent(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() >= self.until


class Family(NamedTuple):
    """Instances of one kind, and the seconds that each stage of the planner has for one of them."""

    name: str
    tasks: tuple[int, ...]
    hosts: tuple[int, ...]
    regimes: tuple[Regime, ...]
    memories: tuple[Memory, ...]
    seconds: float

    def instances(self, seeds: int) -> Iterator[Instance]:
        """So many of each combination."""
        shapes: tuple[Shape, ...] = ("layered", "jobs")
        for tasks, hosts, regime, shape, memory, seed in product(
            self.tasks, self.hosts, self.regimes, shapes, self.memories, range(seeds)
        ):
            yield random_instance(seed, tasks, hosts, regime=regime, shape=shape, memory=memory)


BOTH: tuple[Regime, ...] = ("agent", "call")
BRIEF = (
    Family("<= 20 tasks", (10, 20), (1, 2), BOTH, ("tight",), 0.5),
    Family("tight 50, 1 host", (50,), (1,), BOTH, ("tight",), 2.0),
    Family("tight 50, 2 hosts", (50,), (2,), BOTH, ("tight",), 2.0),
)
FULL = (
    Family("<= 20 tasks", (10, 15, 20), (1, 2), BOTH, ("tight", "mixed"), 1.5),
    *(
        Family(f"tight {tasks}, {hosts} host", (tasks,), (hosts,), (regime,), ("tight",), 15.0)
        for tasks in (50, 100, 200)
        for hosts in (1, 2)
        for regime in BOTH
    ),
    Family("tight 1000", (1_000,), (1, 4, 8, 32), BOTH, ("tight",), 12.0),
)


def stages(instance: Instance, seconds: float) -> dict[str, int]:
    """The makespan of every rival and stage. Each plan is checked by the independent checker."""
    compiled = Compiled(instance)
    plans = {name: plan for name in RIVALS if (plan := rival(compiled, name)) is not None}
    plans["live"] = Run(compiled).go().plan("live")
    tried = best_setting(compiled, Until(seconds))
    plans["portfolio"] = tried.run.plan("portfolio")
    plans["pilot"] = pilot(compiled, tried.setting.params, Until(seconds)).plan("pilot")
    plans["search"] = make_plan(instance, "portfolio", Until(seconds), Random(1))
    for name, plan in plans.items():
        assert check_plan(instance, plan) == (), f"{name} breaks a rule on {instance.name}"
    return {name: plan.makespan_ms for name, plan in plans.items()}


def exact_ms(instance: Instance, hint_seconds: float, seconds: float) -> int:
    """The makespan of the exact solver, started from the planner's plan."""
    from ostler.planning.cpsat.solve import solve  # noqa: PLC0415 - the extra `plan` is needed only here

    hint = make_plan(instance, "portfolio", Until(hint_seconds), Random(1))
    solved = solve(instance, seconds=seconds, hint=hint, bound_ms=certify(instance).bound_ms)
    return solved.plan.makespan_ms if solved.plan is not None else hint.makespan_ms


def quality(families: Sequence[Family], seeds: int, exact_s: float, seconds: float | None) -> None:
    """The table of ratios."""
    names = (*RIVALS, *STAGES)
    print("ratio to the best known, mean / worst; `bound`: best known to the certified lower bound")
    print(f"{'family':<22}{'n':>4}  " + "".join(f"{name[:11]:>13}" for name in names) + f"{'bound':>13}")
    for family in families:
        allowed = family.seconds if seconds is None else seconds
        ratios: dict[str, list[float]] = {name: [] for name in (*names, "bound")}
        for instance in family.instances(seeds):
            found = stages(instance, allowed)
            best = min(found.values())
            if exact_s:
                best = min(best, exact_ms(instance, allowed, exact_s))
            for name in names:
                ratios[name].append(found[name] / best)
            ratios["bound"].append(best / certify(instance).bound_ms)
        cells = "".join(f"{statistics.mean(row):>7.3f}/{max(row):<5.2f}" for row in ratios.values())
        print(f"{family.name:<22}{len(ratios['live']):>4}  {cells}", flush=True)


def planner_ms(instance: Instance, seconds: float, seed: int) -> int:
    """The makespan of `ostler plan --strategy optimal`: a tenth of the time for search, the rest in turns."""
    from ostler.solver.alternation import alternating  # noqa: PLC0415 - the extra `plan` is needed only here
    from ostler.solver.messages import Request  # noqa: PLC0415

    start = make_plan(instance, "portfolio", Until(seconds * 0.1), Random(seed))
    bound_ms = certify(instance).bound_ms
    asked = Request(instance=instance, seconds=seconds * 0.9, hint=start, bound_ms=bound_ms, workers=3, seed=seed)
    plan = alternating(asked).plan
    assert plan is not None, "a hint that holds is never lost"
    assert check_plan(instance, plan) == (), f"a rule is broken on {instance.name}"
    return plan.makespan_ms


def tight(sizes: Sequence[int], seeds: int, seconds: float, runs: int) -> None:
    """The planner against the best known, by number of hosts."""
    print(f"\ntight: the planner in {seconds:g} s by the best of it and of {runs} runs of {2 * seconds:g} s")
    ratios: dict[int, list[float]] = {}
    shapes: tuple[Shape, ...] = ("layered", "jobs")
    for hosts, tasks, regime, shape, seed in product((1, 2), sizes, BOTH, shapes, range(seeds)):
        instance = random_instance(seed, tasks, hosts, regime=regime, shape=shape)
        found = planner_ms(instance, seconds, 1)
        best = min([found, *(planner_ms(instance, 2 * seconds, 2 + run) for run in range(runs))])
        ratios.setdefault(hosts, []).append(found / best)
        print(f"{instance.name:<32}{found:>12} ms  {found / best:.4f}", flush=True)
    for hosts, row in ratios.items():
        print(f"{hosts} host(s): n {len(row)}, mean {statistics.mean(row):.4f}, worst {max(row):.3f}")


def growth(sizes: Sequence[int], hosts: int) -> None:
    """The live policy at scale."""
    print(f"\nlive policy on {hosts} tight hosts: time of one simulation, gap to the bound, loads against least-loaded")
    print(f"{'family':<16}{'tasks':>7}{'ms':>10}{'growth':>8}{'gap':>8}{'loads':>7}{'router':>8}")
    for shape, regime in product(("layered", "jobs"), BOTH):
        before = 0.0
        for size in sizes:
            instance = random_instance(1, size, hosts, regime=regime, shape=cast("Shape", shape))
            compiled = Compiled(instance)
            begin = time.perf_counter()
            run = Run(compiled).go()
            ms = (time.perf_counter() - begin) * 1_000
            gap = certify(instance).gap(run.makespan_ms)
            router = rival(compiled, "least-loaded")
            times = f"x{ms / before:.1f}" if before else ""
            cells = f"{ms:>10.1f}{times:>8}{gap:>8.1%}{run.loads:>7}{router.loads if router else 0:>8}"
            print(f"{shape + ' ' + regime:<16}{size:>7}{cells}", flush=True)
            before = ms


def noise(seeds: int, sigmas: Sequence[float], scenarios: int) -> None:
    """Policies under durations that differ from their estimates."""
    print("\ndurations differ by a log-normal factor: makespan against the best of 120 settings, chosen with hindsight")
    print(f"{'sigma':>6}{'n':>4}{'affinity':>10}{'live':>8}{'portfolio':>11}{'re-planned':>12}{'s/run':>8}")
    cases: tuple[tuple[int, Regime, Shape], ...] = (
        (1, "agent", "layered"),
        (1, "call", "layered"),
        (2, "call", "jobs"),
        (2, "agent", "layered"),
        (2, "call", "layered"),
    )
    for sigma in sigmas:
        rows = [
            noisy(random_instance(place + 1, 50, hosts, regime=regime, shape=shape), sigma, seed, scenarios)
            for place, (hosts, regime, shape) in enumerate(cases)
            for seed in range(seeds)
        ]
        affinity, live, chosen, again, seconds = (statistics.mean(column) for column in zip(*rows, strict=True))
        print(f"{sigma:>6}{len(rows):>4}{affinity:>10.3f}{live:>8.3f}{chosen:>11.3f}{again:>12.3f}{seconds:>8.2f}")


def noisy(instance: Instance, sigma: float, seed: int, scenarios: int) -> tuple[float, ...]:
    """Ratios of the affinity router, the live policy, the setting chosen on estimates, and re-planning; its seconds."""
    dice = Random(f"{instance.name}/{sigma}/{seed}")
    compiled = Compiled(instance)
    actual = [drawn(dice, sigma, duration) for duration in compiled.shortest]
    happened = Compiled(with_durations(instance, actual))
    settings = [Setting(params) for params in islice(policies(), 120)]
    hindsight = best_setting(happened, Until(60), settings=settings).run.makespan_ms
    warm = rival(happened, "affinity")
    params = best_setting(compiled, Until(60), settings=settings).setting.params
    live = Run(compiled, actual=actual).go().makespan_ms
    chosen = Run(compiled, params, actual=actual).go().makespan_ms
    begin = time.perf_counter()
    run = Run(compiled, params, actual=actual)
    run.chooser = Replanner(futures(compiled, dice, sigma, scenarios), Until(60)).choose
    again = run.go().makespan_ms
    seconds = time.perf_counter() - begin
    return (
        (warm.makespan_ms if warm else math.nan) / hindsight,
        live / hindsight,
        chosen / hindsight,
        (again / hindsight),
        seconds,
    )


def futures(compiled: Compiled, dice: Random, sigma: float, count: int) -> Callable[[Run], list[list[int]]]:
    """Scenarios of the same noise; a running task lasts longer than it has."""

    def drawn_at(run: Run) -> list[list[int]]:
        rows = []
        for _ in range(count):
            row = []
            for task, duration in enumerate(compiled.shortest):
                passed = run.now_ms - run.starts[task] if run.starts[task] >= 0 else 0
                tries = (drawn(dice, sigma, duration) for _ in range(REDRAWS))
                row.append(next((ms for ms in tries if ms > passed), passed + 1))
            rows.append(row)
        return rows

    return drawn_at


def drawn(dice: Random, sigma: float, duration_ms: int) -> int:
    """A duration of that mean."""
    return max(1, round(duration_ms * dice.lognormvariate(-sigma * sigma / 2, sigma)))


def with_durations(instance: Instance, durations: Sequence[int]) -> Instance:
    """The instance with other durations."""
    tasks = [
        msgspec.structs.replace(task, choices=(msgspec.structs.replace(task.choices[0], duration_ms=duration),))
        for task, duration in zip(instance.tasks, durations, strict=True)
    ]
    return msgspec.structs.replace(instance, tasks=tuple(tasks))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all families, sizes to 10,000; takes an hour")
    parser.add_argument("--quick", action="store_true", help="the brief families (the default)")
    parser.add_argument("--exact", type=float, default=0.0, metavar="SECONDS", help="let CP-SAT improve the best known")
    parser.add_argument("--only", choices=("quality", "growth", "noise", "tight"), help="one table")
    parser.add_argument("--seconds", type=float, help="for each stage, instead of the family's own")
    parser.add_argument("--runs", type=int, default=2, help="long runs of the table `tight` for each instance")
    parser.add_argument("--tasks", type=int, nargs="*", default=(50, 100, 200), help="sizes of the table `tight`")
    parser.add_argument("--seeds", type=int, help="instances of each combination")
    args = parser.parse_args()
    full = args.full and not args.quick
    if args.only in {None, "quality"}:
        quality(FULL if full else BRIEF, args.seeds or (3 if full else 1), args.exact, args.seconds)
    if args.only in {None, "growth"}:
        growth((100, 1_000, 10_000) if full else (100, 1_000), 8)
    if args.only in {None, "noise"}:
        noise(args.seeds or (4 if full else 1), (0.3, 0.6), 4)
    if args.only == "tight":
        tight(args.tasks, args.seeds or 1, args.seconds or 60.0, args.runs)


if __name__ == "__main__":
    main()
