"""What the scheduler wants done. The shell executes effects in order; those of one `handle` go into one transaction."""

import msgspec

from ostler.domain.commands import Command, Reserve, UpdateTask
from ostler.domain.event import Event
from ostler.domain.fleet import ModelAt
from ostler.domain.live import Denial, Dispatch
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


class LoadModel(msgspec.Struct, frozen=True, kw_only=True):
    """Unload each of `evict` in order, then load the model; answered by exactly one `LoadEnded`, good or bad.

    At most one load or unload is under way on each host. What is evicted has no call of ours in flight. Memory counts
    from this effect on for the model, and until `LoadEnded` for what goes. When an unload fails, nothing is loaded.
    """

    host: str
    endpoint: str
    model: str
    context_tokens: int | None = None
    """Context size to load it with; `None` = what the engine chooses."""
    evict: tuple[ModelAt, ...] = ()
    """What has to go first; on any endpoint of the same host, as these share its memory. A model that is loaded with
    another context is in it too: it is loaded anew."""


class UnloadModel(msgspec.Struct, frozen=True, kw_only=True):
    """Unload a model; answered by exactly one `UnloadEnded`, good or bad. No call of ours is in flight on it."""

    host: str
    endpoint: str
    model: str


class RunCall(msgspec.Struct, frozen=True, kw_only=True):
    """Let a live call go to its place; answered by exactly one `CallEnded` or `CallWithdrawn`.

    Where it costs money it may be sent only when `money` is durable: what the store refuses is withdrawn. Of any other
    call nothing is stored.
    """

    dispatch: Dispatch
    money: Reserve | None = None


class DenyCall(msgspec.Struct, frozen=True, kw_only=True):
    """Tell a live call that it will not run; nothing is kept of it here. Stores nothing."""

    denial: Denial


class Replan(msgspec.Struct, frozen=True, kw_only=True):
    """Make a new plan for what is left of a batch, from how things are now.

    Answered by `PlanAdopted`; not at all while no plan can be made.
    """

    batch: str
    version: int
    """Of the new plan."""
    reason: str
    """What the plan in force did not foresee."""


Effect = Apply | Assign | Stop | Emit | ProbeNow | LoadModel | UnloadModel | Replan | RunCall | DenyCall
