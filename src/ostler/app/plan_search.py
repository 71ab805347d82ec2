"""Plans of one instance by any strategy, each made once; with their certificate.

The strategies, the search and the bounds are pure and are handed their time and their chance here; the exact solver
runs in a process of its own and never makes a plan worse than the one it starts from.
"""

import time
from random import Random

import msgspec

from ostler.app.loop import run
from ostler.app.options import Tell
from ostler.planning.bounds.certificates import certify
from ostler.planning.certificate import Certificate
from ostler.planning.compiled import Compiled
from ostler.planning.cpsat.result import Goal, Solved, Status
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.planner import make_plan
from ostler.planning.rivals import RIVALS, rival
from ostler.planning.strategies import planned
from ostler.planning.value import Value, plan_value

RULES = ("model-first", "dependency-first", "hybrid")
"""Strategies that need no search."""
LIVE, PORTFOLIO, OPTIMAL = "live", "portfolio", "optimal"
FIRST_SHARE, QUICK_SHARE = 0.1, 0.03
"""Of the time for one plan: the first search, and a plan among many."""
RULES_MAX = 2_000
"""Beyond so many tasks one long search is all, the rules among its candidates; before it a short one is worth it."""
FEWEST_LOADS_MAX = 100
"""Up to so many tasks the exact solver is asked for the fewest loads, too, where the search has reached the bound."""
PROOF_WORKERS, PRICED_WORKERS = 3, 4
"""Strategies of the solver side by side, on two cores, too: one alone often never proves what another does at once.
With prices its linear relaxation takes part. What is proven repeats, which of equal plans is found does not; for that
`solve` has one worker and a limit of work."""
SOLVER = "solver"
"""Kind of a bound that the exact solver proved; it has no witness that could be checked."""


class Until:
    """Effort by the clock."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def spent(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until


class Search:
    """Everything that is known about one instance. `seconds`: for one plan; `seed`: of all chance."""

    def __init__(self, instance: Instance, *, seconds: float, seed: int, tell: Tell) -> None:
        self.instance = instance
        self.seconds = seconds
        self.seed = seed
        self.tell = tell
        self._plans: dict[str, Plan] = {}
        self._certificate: Certificate | None = None

    def another(self, instance: Instance) -> "Search":
        """The same effort for another instance."""
        return Search(instance, seconds=self.seconds, seed=self.seed, tell=self.tell)

    @property
    def certificate(self) -> Certificate:
        """The best bound so far."""
        if self._certificate is None:
            self.tell(f"bounding {len(self.instance.tasks)} tasks")
            self._certificate = certify(self.instance)
        return self._certificate

    def plan(self, strategy: str) -> Plan:
        """The plan of a strategy."""
        if strategy not in self._plans:
            self.tell(f"planning {len(self.instance.tasks)} tasks: {strategy}")
            self._plans[strategy] = self._made(strategy)
        return self._plans[strategy]

    def solved(self, strategy: str) -> tuple[Plan, Certificate]:
        """The plan of a strategy and the bound it is measured by, which making it may have raised."""
        return self.plan(strategy), self.certificate

    def _made(self, strategy: str) -> Plan:
        if strategy in RULES:
            return planned(self.instance, strategy)
        if strategy == OPTIMAL:
            return self._optimal()
        if strategy == LIVE:
            return make_plan(self.instance, LIVE, Until(self.seconds), self._dice())
        return self._searched(FIRST_SHARE, 1 - FIRST_SHARE)

    def _searched(self, *shares: float) -> Plan:
        """The best of the rules and of searches, each a share of the time. Often a short one reaches the bound."""
        if len(self.instance.tasks) > RULES_MAX:
            self.tell(f"searching {len(self.instance.tasks)} tasks")
            return make_plan(self.instance, PORTFOLIO, Until(self.seconds * sum(shares)), self._dice())
        found = [msgspec.structs.replace(self.plan(name), strategy=PORTFOLIO, detail=f"as {name}") for name in RULES]
        best = min(found, key=self._value)
        for seconds in [self.seconds * share for share in shares]:
            if self._is_best(best):
                break
            self.tell(f"searching {len(self.instance.tasks)} tasks: {best.makespan_ms / 60_000:.2f} min so far")
            best = min(best, make_plan(self.instance, PORTFOLIO, Until(seconds), self._dice()), key=self._value)
        return best

    def quick(self) -> Plan:
        """A plan in a small part of the time, for callers that need many."""
        return make_plan(self.instance, PORTFOLIO, Until(self.seconds * QUICK_SHARE), self._dice())

    def rivals(self) -> dict[str, Plan]:
        """What others would do with the work, simulated; those that cannot do it are left out."""
        compiled = Compiled(self.instance)
        found = {name: rival(compiled, name) for name in RIVALS} if compiled.plain else {}
        return {name: made for name, made in found.items() if made is not None}

    def _dice(self) -> Random:
        return Random(self.seed)  # noqa: S311 -- a search that can be repeated

    def _value(self, plan: Plan) -> Value:
        return plan_value(self.instance, plan)

    def _is_best(self, plan: Plan) -> bool:
        return plan.makespan_ms == self.certificate.bound_ms and not self.buys()

    def buys(self) -> bool:
        """Whether some task can be done for one price or for another, so that time is not all that counts."""
        return any(len({choice.cost_micro_usd for choice in task.choices}) > 1 for task in self.instance.tasks)

    def _optimal(self) -> Plan:
        start = self._plans.get(PORTFOLIO) or self._searched(FIRST_SHARE)
        if self._is_best(start) and len(self.instance.tasks) > FEWEST_LOADS_MAX:
            detail = f"{start.detail}; it reaches the bound, no solver was needed"
            return msgspec.structs.replace(start, strategy=OPTIMAL, detail=detail)
        from ostler.solver.process import solve_in_process

        self.tell(f"proving {len(self.instance.tasks)} tasks: {start.makespan_ms / 60_000:.2f} min so far")
        bound_ms = self.certificate.bound_ms
        if self.buys():
            return self._priced(start)
        solved = run(
            solve_in_process(
                self.instance,
                seconds=self.seconds,
                hint=start,
                bound_ms=bound_ms,
                workers=PROOF_WORKERS,
                seed=self.seed,
            )
        )
        if solved.bound_ms > bound_ms and not solved.restricted:
            said = "an exact solver excluded anything shorter"
            self._certificate = Certificate(bound_ms=solved.bound_ms, kind=SOLVER, said=said)
        return _better(start, solved)

    def _priced(self, start: Plan) -> Plan:
        """Time and money together, by the price of a minute."""
        from ostler.solver.process import solve_in_process

        goal = Goal(priced=True)
        solved = run(
            solve_in_process(
                self.instance,
                seconds=self.seconds,
                hint=start,
                workers=PRICED_WORKERS,
                seed=self.seed,
                goal=goal,
            )
        )
        best = start if solved.plan is None else min(start, solved.plan, key=self._value)
        proven = solved.status is Status.PROVEN and not solved.restricted
        how = "no plan is better in time and money together" if proven else solved.reason or "not proven"
        return msgspec.structs.replace(best, strategy=OPTIMAL, proven=False, detail=f"{how}, {solved.seconds:.1f} s")


def _better(start: Plan, solved: Solved) -> Plan:
    """What came of it: the solver's plan, or the one it started from with the reason."""
    if solved.plan is None or solved.plan.makespan_ms > start.makespan_ms:
        reason = solved.reason or "the exact solver found nothing better in its time"
        return msgspec.structs.replace(start, strategy=OPTIMAL, detail=f"not proven: {reason}")
    proven = solved.status is Status.PROVEN and not solved.restricted
    how = "proven by an exact solver" if proven else "improved by an exact solver, not proven"
    if solved.plan.makespan_ms == start.makespan_ms and not proven:
        how = "the exact solver found nothing shorter, and did not prove that there is nothing"
    return msgspec.structs.replace(
        solved.plan, strategy=OPTIMAL, proven=proven, detail=f"{how}, {solved.seconds:.1f} s"
    )
