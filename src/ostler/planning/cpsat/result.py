"""What is asked of the exact solver and what it answers. Knows nothing of the solver itself."""

from enum import StrEnum

import msgspec

from ostler.planning.plan import Plan


class Status(StrEnum):
    """How far a solve came."""

    PROVEN = "proven"
    """The plan is the best that there is for the goal."""
    FEASIBLE = "feasible"
    """There is a plan; whether a better one exists is open."""
    INFEASIBLE = "infeasible"
    """No plan exists at all."""
    UNKNOWN = "unknown"
    """The time was over before a plan was found."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be small. By default the makespan, then the number of loads."""

    minimise_loads: bool = True
    """Among the plans of the best makespan found, look for one with the fewest loads."""
    priced: bool = False
    """Add the cost of the choices to the makespan, a minute of which has the price that the instance gives."""
    budget_micro_usd: int | None = None
    """All choices together cost at most this."""
    keep_optional: bool = True
    """Plan optional tasks too, wherever a host can run them; otherwise they are dropped when that is shorter."""
    episodes_max: int | None = None
    """At most so many stays of a model on a host. `None` = as many as can be useful, unless that makes it too large."""


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a solve."""

    status: Status
    plan: Plan | None = None
    bound_ms: int = 0
    """No plan (within the budget, with the tasks of the goal) is shorter. 0 where the goal is priced."""
    restricted: bool = False
    """Stays were limited below what could be useful, so that the solver's own bound says nothing and is left out."""
    fewest_loads: bool = False
    """No plan of this makespan has fewer loads, within the stays that were allowed."""
    value_micro_usd: int = 0
    """Of a priced goal: makespan and choices of the plan in money."""
    value_bound_micro_usd: int = 0
    """Of a priced goal: no plan has a smaller value."""
    seconds: float = 0.0
    """Time that the solver took."""
    reason: str = ""
    """Why there is no plan, or why the one given is only the hint."""
