"""What `ostler plan` is told: plain data, so that the command line prints it and programs read it."""

from collections.abc import Mapping

import msgspec

from ostler.domain.errors import ProfileError
from ostler.planning.audit import Finding
from ostler.planning.certificate import Certificate
from ostler.planning.figures import Figures
from ostler.planning.instance import Instance
from ostler.planning.pipeline import DerivedPhase
from ostler.planning.plan import Plan


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a comparison."""

    name: str
    makespan_ms: int | None = None
    """`None` = there is no such plan; `detail` says why."""
    loads: int = 0
    swap_ms: int = 0
    idle_ms: int = 0
    cost_micro_usd: int = 0
    bound_ms: int | None = None
    detail: str = ""
    broken: tuple[str, ...] = ()
    """Needs that it would break, pair by pair; such a plan is never made."""

    @property
    def gap(self) -> float | None:
        """How much longer than the bound: 0.05 = five percent."""
        if self.makespan_ms is None or not self.bound_ms:
            return None
        return (self.makespan_ms - self.bound_ms) / self.bound_ms


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say about the phases that the file declares."""

    phases: tuple[str, ...]
    broken: tuple[str, ...] = ()
    """Needs that the declared order breaks, pair by pair."""
    left_out: tuple[str, ...] = ()
    """Tasks in no phase: what is claimed for the order does not count them."""
    mended: Row | None = None
    """The plan that follows the order as far as the needs allow."""


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """A plan and all that was found out about it."""

    name: str
    instance: Instance
    plan: Plan
    figures: Figures
    certificate: Certificate | None = None
    names: Mapping[str, str] = {}
    """Model -> the name that the pipeline uses for it."""
    phases: tuple[DerivedPhase, ...] = ()
    claim: Claim | None = None
    comparison: tuple[Row, ...] = ()
    what_if: tuple[Row, ...] = ()
    frontier: tuple[Row, ...] = ()
    """Plans by money: none of them is both shorter and cheaper than another."""
    notes: tuple[str, ...] = ()
    """What had to be assumed."""
    findings: tuple[Finding, ...] | None = None
    """What cannot be true of the claims that were handed in; `None` = none were."""

    @property
    def gap(self) -> float | None:
        """How much longer than the bound the plan is at most."""
        return None if self.certificate is None else self.certificate.gap(self.plan.makespan_ms)


class PlanError(ProfileError):
    """The pipeline cannot be planned on these machines; `problems` has every mistake."""

    code = "invalid_plan"
