"""What a run in virtual time came to, as data: the JSON of `ostler simulate` and `ostler replay`.

Durations are milliseconds, money micro-dollars; a figure that is not known is `null`, never 0. Everything here is
simulated but a column that says it is the hub's own history.
"""

from collections.abc import Mapping

import msgspec

from ostler.learning.offline import Answer


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Of many durations: mean, percentiles (nearest rank) and the longest."""

    mean_ms: int = 0
    p50_ms: int = 0
    p95_ms: int = 0
    p99_ms: int = 0
    max_ms: int = 0


class HostResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a host (or a cloud endpoint) did."""

    name: str
    calls: int
    loads: int
    swaps: int
    """Loads for which another model had to go."""
    load_ms: int
    unload_ms: int
    busy_permille: int
    """Share of the makespan during which at least one call ran."""


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A task that did not succeed, and why."""

    task: str
    state: str
    reason: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A workload under one policy."""

    policy: str
    kind: str
    """`policy`: the real scheduler, simulated. `rival`: a simple router, simulated. `history`: as it happened."""
    fleet: str
    """Whose machines ran it."""
    tasks: int
    succeeded: int
    makespan_ms: int
    """From the first arrival to the end of the last task."""
    wait: Spread
    """From eligible (arrived, needs met) until a loaded model took the task, or until it was given up."""
    turnaround: Spread
    """From arrival to the end, of tasks that succeeded."""
    loads: int | None
    swaps: int | None
    swap_ms: int | None
    """Time that machines spent loading and unloading."""
    cost_micro_usd: int
    """Of calls whose price is known."""
    unpriced: int
    """Tasks with a call whose price is not known."""
    missed: Mapping[str, int] = {}
    """Tasks that did not succeed, by state; `waiting` = nothing could move them any more."""
    misses: tuple[Miss, ...] = ()
    """The first of them, with reasons."""
    hosts: tuple[HostResult, ...] = ()
    by_model: Mapping[str, int] = {}
    """Tasks that succeeded, by model; those without one under an empty name."""

    @property
    def swaps_per_100(self) -> float | None:
        """Swaps for each hundred tasks."""
        return None if self.swaps is None else 100 * self.swaps / max(1, self.tasks)


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What logged decisions and their outcomes say of another policy. Nothing of it is simulated."""

    policy: str
    success: Answer
    """Rate of success at first tries, from 0 to 1."""
    cost_usd: Answer
    """Mean cost of a first try."""
    happened_success: float = 0.0
    happened_cost_usd: float = 0.0
    left_out: int = 0
    """Decisions about tasks that the policy cannot run as they are written."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One workload under one or more policies. The first is what the others are compared with."""

    workload: str
    seed: int
    rules: tuple[str, ...]
    """How workload and machines were made, in sentences."""
    results: tuple[Result, ...]
    logged: tuple[OffPolicy, ...] = ()
    """What the log itself says of each policy that is a profile."""
    simulated: bool = True


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler saved against first-in-first-out over a stretch of history."""

    tasks: int
    minutes: float
    """Waiting of all tasks together that first-in-first-out would have added; negative = it would have been better."""
    happened_wait_ms: int
    fifo_wait_ms: int
    fifo_swaps: int
    said: str
    """The same in words."""
