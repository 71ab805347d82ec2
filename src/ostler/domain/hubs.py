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
    open_tasks: int | None = None
    """Of one that leads, when it last said that it is there: tasks that are not final, those that run among them."""
    running: int | None = None
    """Of one that leads: tasks and live calls that run."""


class HubList(msgspec.Struct, frozen=True, kw_only=True):
    """All hubs of a pool that were seen lately, by name; and those of the other pools of its database."""

    hubs: tuple[HubRow, ...]
    pool: str = "default"
    others: tuple[HubRow, ...] = ()
    """By pool and name."""
