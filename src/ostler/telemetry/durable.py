"""What commands that are durable say: their events, in order. For who counts and watches, not for who decides."""

from collections.abc import Iterable, Iterator

from ostler.domain.commands import (
    AppendEvents,
    Applied,
    Command,
    LateReport,
    PutKey,
    RevokeKey,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.event import Event

_SAY_EVENTS = (UpdateTask, AppendEvents)
_SAY_WHEN_NUMBERED = (PutKey, RevokeKey)
"""As tuples made once: this is asked with each command."""


def events_of(applied: Iterable[tuple[Command, Applied]]) -> Iterator[Event]:
    """The events of commands, without their numbers. Of a submit, those of tasks that were not there already."""
    for command, result in applied:
        if isinstance(command, _SAY_EVENTS):
            yield from command.events
        elif isinstance(command, SubmitTasks):
            yield from (new.event for new in command.tasks if new.task.id not in result.duplicates)
        elif isinstance(command, LateReport) or (isinstance(command, _SAY_WHEN_NUMBERED) and result.last_seq):
            yield command.event
