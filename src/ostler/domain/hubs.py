"""Hubs that share the work of a pool, and the pools that share a database."""

import msgspec


class HubRow(msgspec.Struct, frozen=True, kw_only=True):
    """One hub. Exactly one of those that are up leads: it decides; the others pass on to it what they are asked."""

    name: str
    url: str
    """Where the others reach it."""
    version: str
    started_ms: int
    pool: str = "default"
    leads: bool = False
    up_ms: int = 0
    """Since it was started, when it last said that it is there."""
    seen_ago_ms: int = 0
    """Since it last said that it is there."""
    silent_after_ms: int = 10_000
    """When it has not said so for as long, something is wrong: it says so much more often."""
    open_tasks: int | None = None
    """Of one that leads, when it last said that it is there: tasks that are not final, those that run among them."""
    running: int | None = None
    """Of one that leads: tasks and live calls that run."""

    @property
    def role(self) -> str:
        """In words. One that stopped in good order is not listed, so one that is silent died, or is cut off.

        >>> HubRow(name="den", url="", version="1", started_ms=0, seen_ago_ms=10_000).role
        'silent'
        """
        if self.leads:
            return "leads"
        return "silent" if self.seen_ago_ms >= self.silent_after_ms else "stands by"


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The hub of a pool that leads, as the others know it."""

    name: str
    url: str


class HubList(msgspec.Struct, frozen=True, kw_only=True):
    """All hubs of a pool that were seen lately, by name; and those of the other pools of its database."""

    hubs: tuple[HubRow, ...]
    pool: str = "default"
    others: tuple[HubRow, ...] = ()
    """By pool and name."""
