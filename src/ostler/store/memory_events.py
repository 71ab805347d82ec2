"""The events of `MemoryStore`: numbered, listed, pruned to sums; and the alerts that they tell of."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from ostler.domain.alerts import Alert
from ostler.domain.commands import PruneEvents, PutAlerts
from ostler.domain.event import Event
from ostler.domain.event_totals import EventTotal, TotalKey, added, key_of, totals_of


class MemoryEvents:
    """Events by number. A number is never given twice, not even when the newest event was pruned."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._totals: dict[TotalKey, EventTotal] = {}
        self._alerts: dict[tuple[str, str], Alert] = {}
        self.last_seq = 0

    def record(self, events: Sequence[Event]) -> int:
        """Number events and keep them; the number of the newest, 0 without any."""
        for event in events:
            self.last_seq += 1
            self._events.append(msgspec.structs.replace(event, seq=self.last_seq))
        return self.last_seq if events else 0

    def above(self, after_seq: int, task_id: str | None = None) -> Iterator[Event]:
        """Events numbered above, oldest first."""
        first = bisect_right(self._events, after_seq, key=lambda event: event.seq)
        return (event for event in islice(self._events, first, None) if task_id is None or event.task_id == task_id)

    def change(self, command: PutAlerts | PruneEvents, ended_ms: Callable[[str], int | None]) -> None:
        """Apply one of these commands."""
        if isinstance(command, PutAlerts):
            self._alerts.update(((one.rule, one.subject), one) for one in command.alerts)
        else:
            self.prune(command, ended_ms)

    def alerts(self) -> list[Alert]:
        """All alerts by name."""
        return [self._alerts[key] for key in sorted(self._alerts)]

    def prune(self, command: PruneEvents, ended_ms: Callable[[str], int | None]) -> None:
        """See `PruneEvents`. `ended_ms`: when a task ended, `None` for one that has not."""

        def may_go(event: Event) -> bool:
            inside = command.after_seq < event.seq <= command.to_seq and event.at_ms < command.before_ms
            if not inside or event.task_id is None:
                return inside
            ended = ended_ms(event.task_id)
            return ended is not None and ended < command.before_ms

        old = [event for event in self._events if may_go(event)]
        for total in totals_of(old):
            key = key_of(total)
            known = self._totals.get(key)
            self._totals[key] = total if known is None else added(known, total)
        gone = {event.seq for event in old}
        self._events = [event for event in self._events if event.seq not in gone]

    def totals(self, since_ms: int) -> list[EventTotal]:
        """What pruned events add up to, of days from an instant on, by key."""
        return [self._totals[key] for key in sorted(self._totals) if key.day_ms >= since_ms]
