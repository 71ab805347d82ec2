"""A plan as a value: which model is in memory when, and which task runs where and when.

An *episode* is one stay of a model in a host's memory. A *placement* is one task on one host by one of its choices. The
plan of an instance is complete when every task that is not optional has a placement. `checker` says whether it holds.
"""

import msgspec


class Episode(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model in memory from `load_start_ms` to `unload_end_ms`; usable from `ready_ms` to `unload_start_ms`."""

    host: str
    model: str
    load_start_ms: int
    ready_ms: int
    unload_start_ms: int | None = None
    """`None` = it stays to the end."""
    unload_end_ms: int | None = None
    initial: bool = False
    """It was in memory at the start: no load is counted."""


class Placement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A task where and when it runs. `choice` is the index of the choice taken."""

    task: str
    host: str
    start_ms: int
    end_ms: int
    choice: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule. Episodes are in order of load start, placements in order of start, ties by name."""

    strategy: str
    """How it was made: `model-first`, `dependency-first`, `hybrid`, `portfolio`, `optimal`, ..."""
    episodes: tuple[Episode, ...]
    placements: tuple[Placement, ...]
    detail: str = ""
    """What made it in words: the setting that won, moves that improved it, whether a solver proved it."""
    proven: bool = False
    """Whether an exact solver proved that no plan has a shorter makespan."""

    @property
    def makespan_ms(self) -> int:
        """When the last task ends."""
        return max((placement.end_ms for placement in self.placements), default=0)

    @property
    def loads(self) -> int:
        """Loads, the first of each host included, models of a cloud and those in memory at the start not."""
        return sum(not episode.initial for episode in self.episodes)
