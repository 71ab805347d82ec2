"""Batches as people see them."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from ostler.domain.tasks import Task
from ostler.hub.views import WaitGroup


class BatchWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks to put into a batch, and how many of it may run at once."""

    tasks: tuple[str, ...] = ()
    concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """`None`: as many as can; of a batch that is there, without tasks to add: leave it as it is."""


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One batch in figures."""

    name: str
    total: int
    counts: Mapping[str, int]
    """Tasks by state."""
    concurrency: int | None = None
    paused: int = 0
    """Of its open tasks, so many are paused."""
    created_ms: int
    """Of its first task."""
    finished_ms: int | None = None
    """Of its last one; `None`: it is not over."""
    cost_micro_usd: int = 0

    @property
    def state(self) -> str:
        """`complete`, `paused` (nothing of it can start), `active`."""
        if self.finished_ms is not None:
            return "complete"
        final = ("succeeded", "failed", "expired", "cancelled", "dead_letter")
        still_open = self.total - sum(self.counts.get(state, 0) for state in final)
        return "paused" if self.paused == still_open else "active"


class BatchList(msgspec.Struct, frozen=True, kw_only=True):
    """Batches, the newest first."""

    batches: tuple[BatchRow, ...]
    now_ms: int


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One batch with its tasks, in the order in which they came, and what they wait for."""

    row: BatchRow
    tasks: tuple[Task, ...]
    waiting: tuple[WaitGroup, ...] = ()
    now_ms: int
