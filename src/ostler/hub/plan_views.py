"""What the hub answers about the plan of a run: what was planned, what happened, both as plans that can be drawn."""

import msgspec

from ostler.planning.actual import Actual
from ostler.planning.figures import Figures
from ostler.planning.guide import Versus

PLAN_GRACE_MS = 15_000


class PlanWish(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is to be planned before its tasks may start."""

    strategy: str = "portfolio"
    seconds: float = 2.0

    @property
    def longest_ms(self) -> int:
        """How long the tasks wait for the plan at the most: they start without it rather than not at all."""
        return round(self.seconds * 1000) + PLAN_GRACE_MS


class PlanVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One plan of a run."""

    version: int
    made_ms: int
    strategy: str
    reason: str
    """`start`, or what the version before did not foresee."""
    makespan_ms: int
    """From when it was made to its end."""
    bound_ms: int
    """No plan for the work that was left then is shorter; 0 = not computed."""


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a run beside what happened. Instants of plans and rows count from when the first one was made."""

    run: str
    started_ms: int
    now_ms: int
    following: bool
    """Whether it is in force: some of its tasks have not ended, and it was not dropped."""
    versions: tuple[PlanVersion, ...]
    rows: tuple[Versus, ...]
    """Every task of the first version."""
    planned: Actual
    """The first version."""
    actual: Actual
    planned_figures: Figures
    actual_figures: Figures
