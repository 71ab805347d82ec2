"""What the hub answers about the plan of a run: what was planned, what happened, both as plans that can be drawn."""

import msgspec

from ostler.planning.actual import Actual
from ostler.planning.figures import Figures
from ostler.planning.guide import Versus


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
