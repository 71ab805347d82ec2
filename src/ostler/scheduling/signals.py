"""What the scheduler can be told. Each signal is a fact, not a wish; wishes of people are at the end."""

from collections.abc import Mapping

import msgspec

from ostler.domain.catalog import EndpointSpec
from ostler.domain.commands import Refused, Settle
from ostler.domain.fleet import HostReport, Probe, Resident, Session, SharedSlots, Unloaded
from ostler.domain.limits import PartKey, PoolPart
from ostler.domain.live import LiveCall, LiveEnded
from ostler.domain.measured import Measurement
from ostler.domain.policy import Policy
from ostler.domain.states import Failure
from ostler.domain.tasks import Attempt, Task
from ostler.domain.work import Finished, Report
from ostler.planning.guide import Guide


class TasksAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """New tasks are durable. `settled`: needed tasks that ended before, and whether that need is met; `lengths`: tokens
    of the results of those that are.
    """

    tasks: tuple[Task, ...]
    settled: Mapping[str, bool] = {}
    lengths: Mapping[str, int] = {}
    plan_by_ms: int | None = None
    """They wait for the plan of their run, until then at the latest: what starts before it could spoil it."""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """The hub starts over a store that has work. Sessions of the old process are listed; built-in ones are dead where
    the hub is `alone`: else the process before may be frozen, and what its worker ran may go on for its lease.
    """

    tasks: tuple[Task, ...]
    sessions: tuple[Session, ...]
    measurements: tuple[Measurement, ...] = ()
    """Speeds as they were measured before."""
    settled: Mapping[str, bool] = {}
    lengths: Mapping[str, int] = {}
    alone: bool = True


class WorkerJoined(msgspec.Struct, frozen=True, kw_only=True):
    """A worker has a session."""

    session: Session


class WorkerRenewed(msgspec.Struct, frozen=True, kw_only=True):
    """A heartbeat came."""

    session_id: str
    report: HostReport | None = None


class WorkerLeft(msgspec.Struct, frozen=True, kw_only=True):
    """A worker said goodbye; what it still held is taken back."""

    session_id: str
    died: bool = False
    """It was killed and its companion says goodbye: nothing that it ran lives."""


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A worker reports about an attempt."""

    session_id: str
    report: Report


class ReportsCame(msgspec.Struct, frozen=True, kw_only=True):
    """A worker reports about several attempts at once: one round serves all the slots that become free."""

    session_id: str
    reports: tuple[Report, ...]


class CallOffered(msgspec.Struct, frozen=True, kw_only=True):
    """A live call is to run, or to run again elsewhere (`attempt` one higher); answered by `RunCall` or `DenyCall`."""

    call: LiveCall


class CallWithdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody waits for a live call any more, whether it waits or runs."""

    call_id: str


class CallEnded(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of a live call came to its end; one of an older attempt changes nothing."""

    end: LiveEnded


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """A listing of an endpoint came back."""

    probe: Probe


class EndpointAdded(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint is registered (or its spec replaced)."""

    spec: EndpointSpec


class EndpointRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint is no longer registered; calls in flight there may finish."""

    name: str


class SlotsShared(msgspec.Struct, frozen=True, kw_only=True):
    """What is this pool's of slots that pools share, for every endpoint that was looked at; `None` for one that is this
    pool's alone. Endpoints that were not looked at are not called. No mapping: nobody counts over pools.
    """

    shares: Mapping[str, SharedSlots | None] | None


class PartsTold(msgspec.Struct, frozen=True, kw_only=True):
    """What is this pool's of limits that pools have together. Of a limit that is not named nothing may be spent. No
    mapping: nothing is counted over pools.
    """

    parts: Mapping[PartKey, PoolPart] | None


class EndpointReset(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants its breaker closed and its rate limit forgotten."""

    name: str


class LoadEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A `LoadModel` came to its end. Durations are measured from outside, in milliseconds."""

    endpoint: str
    model: str
    context_tokens: int | None = None
    """As in the effect."""
    started_ms: int
    at_ms: int
    load_ms: int = 0
    """Time of the load alone; 0 when it was not reached."""
    unloaded: tuple[Unloaded, ...] = ()
    """What has left the memory on the way, also when the load failed afterwards."""
    resident: Resident | None = None
    """The model as the engine lists it after the load, with its size and context; `None` = it did not say."""
    failure: Failure | None = None
    """Why it failed; `None` = the model is loaded."""

    @property
    def ok(self) -> bool:
        """Whether the model is loaded."""
        return self.failure is None


class UnloadEnded(msgspec.Struct, frozen=True, kw_only=True):
    """An `UnloadModel` came to its end."""

    endpoint: str
    model: str
    started_ms: int
    at_ms: int
    unload_ms: int = 0
    failure: Failure | None = None
    """Why it failed; `None` = the model is out of the memory."""

    @property
    def ok(self) -> bool:
        """Whether the model has left."""
        return self.failure is None


class PolicyChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A changed profile is in force."""

    policy: Policy


class CommandRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The store refused an update of a task; `result.task` is the row as it is."""

    task_id: str
    generation: int
    result: Refused


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """Time has passed; `Scheduler.next_wake_ms` says when this is wanted."""


class WantLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants a model loaded. Refused (`ConflictError`) when it cannot be made to fit without stopping work."""

    endpoint: str
    model: str
    evict: tuple[str, ...] = ()
    """Models that shall go for it on the same endpoint, even if they are preferred otherwise; never busy ones."""
    drain: bool = False
    """Of those, busy ones take no more calls and go when their last one has ended, instead of being a refusal."""


class WantUnload(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants a model out of the memory. Refused (`ConflictError`) while it is busy or pinned."""

    endpoint: str
    model: str
    drain: bool = False
    """When it is busy, it takes no more calls and goes when the last one has ended, instead of a refusal."""


class PinModel(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants a model never to be evicted from a host, or allows it again. Holds until the hub stops."""

    host: str
    model: str
    pinned: bool = True


class PlanAdopted(msgspec.Struct, frozen=True, kw_only=True):
    """A plan for tasks of a batch is durable and in force; it replaces the one before."""

    guide: Guide


class PlanDropped(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a batch is in force no longer: nobody can make a new one, or a person wants none."""

    batch: str
    reason: str


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """A person cancels a task."""

    task_id: str
    reason: str = ""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A person pauses a task: it does not start (again); a running attempt goes on."""

    task_id: str


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """A person resumes a paused task."""

    task_id: str


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A person sends a task that ended badly, or needs a person, back to the queue with a fresh budget."""

    task: Task
    settled: Mapping[str, bool] = {}
    lengths: Mapping[str, int] = {}


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A person answers a task that needs one: it goes on in a new attempt that is told."""

    task: Task
    text: str
    other: bool = False
    """It is meant to be none of the choices."""
    settled: Mapping[str, bool] = {}
    lengths: Mapping[str, int] = {}


class Gather(msgspec.Struct, frozen=True, kw_only=True):
    """A person puts open tasks into a batch, or changes how many of it run at once. Held ones are free to run then.

    Refused whole (`ConflictError`) when one is in another batch, or runs already outside of this one.
    """

    batch: str
    task_ids: tuple[str, ...]
    limit: int | None = None
    """At most so many of the batch run at once; `None` = as many as can."""


class AdoptLate(msgspec.Struct, frozen=True, kw_only=True):
    """A person takes a late result for that of its task. `task` is its row, `attempt` the record of the attempt."""

    task: Task
    attempt: Attempt
    report: Finished


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was made elsewhere is to be charged."""

    command: Settle


Signal = (
    TasksAccepted
    | Restored
    | WorkerJoined
    | WorkerRenewed
    | WorkerLeft
    | Reported
    | ReportsCame
    | CallOffered
    | CallWithdrawn
    | CallEnded
    | Probed
    | EndpointAdded
    | EndpointRemoved
    | EndpointReset
    | SlotsShared
    | PartsTold
    | LoadEnded
    | UnloadEnded
    | PolicyChanged
    | CommandRefused
    | Charged
    | Wake
    | WantLoad
    | WantUnload
    | PinModel
    | PlanAdopted
    | PlanDropped
    | Cancel
    | Pause
    | Resume
    | Retry
    | Answered
    | AdoptLate
    | Gather
)
