"""What the scheduler wants done. The shell executes effects in order; those of one `handle` go into one transaction."""

import msgspec

from ostler.domain.commands import Command, UpdateTask
from ostler.domain.event import Event
from ostler.domain.work import ModelRoute


class Apply(msgspec.Struct, frozen=True, kw_only=True):
    """Store this."""

    command: Command


class Assign(msgspec.Struct, frozen=True, kw_only=True):
    """Store the assignment (row, attempt, decision, events: one command); when it is durable, hand it to the worker."""

    command: UpdateTask
    session_id: str
    tier: str
    route: ModelRoute | None


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Tell the worker to kill this attempt."""

    session_id: str
    task_id: str
    generation: int


class Emit(msgspec.Struct, frozen=True, kw_only=True):
    """Store and publish an event that changes no task."""

    event: Event


class ProbeNow(msgspec.Struct, frozen=True, kw_only=True):
    """List this endpoint now instead of at its next turn."""

    endpoint: str


Effect = Apply | Assign | Stop | Emit | ProbeNow
