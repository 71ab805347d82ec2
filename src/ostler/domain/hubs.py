"""Hubs that share the work of one pool."""

import msgspec


class HubRow(msgspec.Struct, frozen=True, kw_only=True):
    """One hub. Exactly one of those that are up leads: it decides; the others pass on to it what they are asked."""

    name: str
    url: str
    """Where the others reach it."""
    version: str
    started_ms: int
    leads: bool = False
    up_ms: int = 0
    """Since it was started, when it last said that it is there."""
    seen_ago_ms: int = 0
    """Since it last said that it is there."""


class HubList(msgspec.Struct, frozen=True, kw_only=True):
    """All hubs of a pool that were seen lately, by name."""

    hubs: tuple[HubRow, ...]
    pool: str = "default"
