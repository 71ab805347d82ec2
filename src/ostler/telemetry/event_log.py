"""Every event as a line of the log, where the profile asks for it: name, task, and what it carries.

All but the messages of failed tasks: the last words of a program may be those of a prompt. `ostler why` has them.
"""

from collections.abc import Iterable

import structlog

from ostler.domain.event import Event

_LOUD = frozenset(
    {"task.failed", "task.dead_letter", "task.needs_human", "worker.lost", "endpoint.down", "alert.raised"}
)


class EventLog:
    """Writes events; the word `event` is the line's own, so what happened is its text."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("ostler.events")

    def write(self, events: Iterable[Event]) -> None:
        """One line for each."""
        for event in events:
            fields = {name: value for name, value in event.metadata.items() if value is not None}
            if event.name.startswith("task."):
                fields.pop("message", None)
            fields |= event.measurements
            if event.task_id is not None:
                fields["task"] = event.task_id
            say = self._log.warning if event.name in _LOUD else self._log.info
            say(event.name, at_ms=event.at_ms, **{_name(name): value for name, value in fields.items()})


def _name(field: str) -> str:
    """A field that would be taken for a word of the log itself."""
    return f"{field}_" if field in ("event", "level", "timestamp", "at_ms") else field
