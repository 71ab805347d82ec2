"""When a running attempt was last heard of and how much it has written: for who watches, and the alert about silence.

Kept in memory only, one row for each task that runs; what an attempt writes is never kept here.
"""

from collections.abc import Container

import msgspec

from ostler.domain.work import Finished, Progress, Report


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """The newest word of an attempt."""

    generation: int
    heard_ms: int
    output_tokens: int = 0


class LifeSigns:
    """The newest sign of each task that runs."""

    def __init__(self) -> None:
        self._signs: dict[str, Sign] = {}

    def heard(self, report: Report, now_ms: int) -> None:
        """A worker said something about an attempt. What comes late, of an older one, is no sign of the newer."""
        known = self._signs.get(report.task_id)
        if known is not None and known.generation > report.generation:
            return
        if isinstance(report, Finished):
            self._signs.pop(report.task_id, None)
            return
        tokens = report.output_tokens if isinstance(report, Progress) else 0
        self._signs[report.task_id] = Sign(generation=report.generation, heard_ms=now_ms, output_tokens=tokens)

    def of(self, task_id: str, generation: int) -> Sign | None:
        """The newest sign of an attempt; `None` when it was not heard of."""
        sign = self._signs.get(task_id)
        return sign if sign is not None and sign.generation == generation else None

    def keep(self, task_ids: Container[str]) -> None:
        """Forget all others: they were taken back, and nobody will say that they ended."""
        for gone in [task_id for task_id in self._signs if task_id not in task_ids]:
            del self._signs[gone]
