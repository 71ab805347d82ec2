"""What became of each job of a run, and what the machines did: all that figures are computed from."""

from collections.abc import Callable, Mapping

import msgspec

from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.simulate.virtual.jobs import Lengths
from ostler.simulate.virtual.sites import SiteFigures, Stay

Progress = Callable[[int, int], None]
"""Told (jobs that ended, jobs in all) now and then."""

WAITING = "waiting"
"""State of a job that nothing can move any more."""


class Ending(msgspec.Struct, kw_only=True):
    """The fate of one job. Instants count from the start of the workload, in milliseconds."""

    job: str
    arrived_ms: int
    state: str = WAITING
    """Final state of the task, or `waiting`."""
    eligible_ms: int | None = None
    """When it arrived, or its last need was met, whichever is later; `None` = a need was never met."""
    began_ms: int | None = None
    """When its last attempt got a slot of a loaded model (or of a worker)."""
    ended_ms: int | None = None
    endpoint: str | None = None
    model: str | None = None
    attempts: int = 0
    cost_micro_usd: int | None = 0
    """Of all attempts; `None` = a price is not known."""
    reason: str = ""
    """Why it ended otherwise than well, or what it waits for."""

    @property
    def wait_ms(self) -> int | None:
        """From eligible until it began, or until it was given up; `None` = it was never eligible."""
        if self.eligible_ms is None:
            return None
        until_ms = self.began_ms if self.began_ms is not None and self.state == "succeeded" else self.ended_ms
        return None if until_ms is None else max(0, until_ms - self.eligible_ms)


class Run(msgspec.Struct, kw_only=True):
    """One workload under one policy."""

    policy: str
    fleet: str
    rival: bool
    """Whether a simple router ran it instead of the scheduler."""
    endings: dict[str, Ending]
    sites: Mapping[str, SiteFigures]
    stays: Mapping[str, tuple[Stay, ...]] = {}
    """What was in the memory of each machine when, counted from the start of the workload."""
    ended_ms: int = 0
    """When nothing more happened."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A host (or a provider's endpoint) that is away for a while. Instants count from the start of the workload."""

    site: str
    from_ms: int
    until_ms: int | None = None
    """`None` = it never comes back."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is told beside workload, fleet and policy."""

    lengths: Lengths = Lengths()
    outages: tuple[Outage, ...] = ()
    command_slots: int = 2
    """Commands that run at once, over all workers."""
    every_listing: bool = False
    """Whether listings that tell nothing new are made all the same (see `scheduled`)."""
    plan: tuple[Instance, Plan] | None = None
    """A plan that the scheduler is to follow, made for the jobs of one batch; rivals follow none."""
    progress: Progress | None = None
