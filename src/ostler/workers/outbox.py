"""Reports that the hub does not have yet, coalesced and in order.

Invariants, for each attempt: Started comes before Progress, Progress before Finished; of several Progress only the
newest is kept; a Finished is kept until it was handed over and is the last report. Attempts take their turns in the
order in which they first had something to say. A report is removed only by `done`, so a failed hand-over loses nothing.
O(1) for a report, O(batch) for a batch.
"""

from collections.abc import Iterable

from ostler.domain.work import Finished, Progress, Report
from ostler.workers.run import Key

BATCH_REPORTS_MAX = 256
BATCH_CHARACTERS_MAX = 1024 * 1024
"""Of output and tails; one report alone may be larger."""


def key_of(report: Report) -> Key:
    """The attempt a report is about."""
    return report.task_id, report.generation


class Outbox:
    """What is to be reported."""

    def __init__(self) -> None:
        self._waiting: dict[Key, list[Report]] = {}

    def __len__(self) -> int:
        return sum(len(reports) for reports in self._waiting.values())

    @property
    def has_urgent(self) -> bool:
        """Whether something other than progress waits."""
        return any(not isinstance(report, Progress) for reports in self._waiting.values() for report in reports)

    def ended(self) -> frozenset[Key]:
        """Attempts whose end waits to be handed over."""
        return frozenset(key for key, reports in self._waiting.items() if isinstance(reports[-1], Finished))

    def add(self, report: Report) -> None:
        """Queue a report. What comes after the end of an attempt is dropped."""
        reports = self._waiting.setdefault(key_of(report), [])
        if reports and isinstance(reports[-1], Finished):
            return
        if reports and isinstance(reports[-1], Progress):
            reports.pop()
        reports.append(report)

    def batch(self) -> tuple[Report, ...]:
        """The next reports to hand over, at least one if any waits."""
        taken: list[Report] = []
        characters = 0
        for reports in self._waiting.values():
            for report in reports:
                characters += _characters(report)
                if taken and (characters > BATCH_CHARACTERS_MAX or len(taken) == BATCH_REPORTS_MAX):
                    return tuple(taken)
                taken.append(report)
        return tuple(taken)

    def done(self, batch: Iterable[Report]) -> None:
        """Forget reports that the hub has; one that was replaced meanwhile stays."""
        for report in batch:
            reports = self._waiting.get(key_of(report), [])
            reports[:] = [kept for kept in reports if kept is not report]
            if not reports:
                self._waiting.pop(key_of(report), None)


def _characters(report: Report) -> int:
    if isinstance(report, Finished):
        return len(report.output)
    return len(report.tail) if isinstance(report, Progress) else 0
