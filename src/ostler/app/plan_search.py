"""Plans of one instance by any strategy, each made once; with their certificate.

The strategies, the search and the bounds are pure and are handed their time and their chance here; the exact solver
runs in a process of its own and never makes a plan worse than the one it starts from.
"""

import time

import msgspec

from ostler.app.loop import run
from ostler.app.options import Tell
from ostler.planning.bounds.certificates import certify
from ostler.planning.certificate import Certificate
from ostler.planning.cpsat.result import Solved, Status
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.strategies import planned

RULES = ("model-first", "dependency-first", "hybrid")
"""Strategies that need no search."""
OPTIMAL = "optimal"
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
        plans = [self.plan(name) for name in RULES]
        best = min(plans, key=lambda found: (found.makespan_ms, found.loads, found.strategy))
        return msgspec.structs.replace(best, strategy="portfolio", detail=f"{best.strategy}, the best of {len(plans)}")

    def _optimal(self) -> Plan:
        start = self.plan("portfolio")
        bound_ms = self.certificate.bound_ms
        if start.makespan_ms == bound_ms:
            detail = "the search already reached the bound; no solver was needed"
            return msgspec.structs.replace(start, strategy=OPTIMAL, detail=detail)
        from ostler.solver.process import solve_in_process

        asked = solve_in_process(self.instance, seconds=self.seconds, hint=start, bound_ms=bound_ms, seed=self.seed)
        solved = run(asked)
        if solved.bound_ms > bound_ms and not solved.restricted:
            said = "an exact solver excluded anything shorter"
            self._certificate = Certificate(bound_ms=solved.bound_ms, kind=SOLVER, said=said)
        return _better(start, solved)


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
