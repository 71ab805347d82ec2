"""What the hub answers, as data: the JSON of the API and of every `--json`. Imports the domain, and plans to be drawn.

Durations and instants are milliseconds, money micro-dollars; a field that is not known is `null`, never 0.
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.decision import Decision
from ostler.domain.event import Event
from ostler.domain.fleet import EndpointView, HostReport, Session
from ostler.domain.hubs import Leader
from ostler.domain.states import Failure, TaskState, Wait
from ostler.domain.tasks import Attempt, Task, TaskKind, TaskSpec
from ostler.domain.tokens import KnownToken
from ostler.hub.gateway_views import CallTotals
from ostler.hub.plan_views import RunPlan


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted task. `duplicate`: it was there already, with the same content; `retried`: and was sent back to the
    queue, because it had ended badly and the run was to be resumed.
    """

    id: str
    state: TaskState
    duplicate: bool = False
    retried: bool = False


class SubmitAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that are durable now, in the order they were sent."""

    tasks: tuple[Submitted, ...]
    unplanned: str = ""
    """Why their run has no plan, although one was asked for; they start all the same."""


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks, newest first, with the wait reason of this moment."""

    tasks: tuple[Task, ...]
    now_ms: int
    output_tokens: Mapping[str, int] = {}
    """Of those that run: how much has come so far, as counted by their workers; 0 is left out."""


class ResultRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one task of a run came to."""

    id: str
    name: str
    """Its id in the file."""
    state: TaskState
    skipped: bool = False
    """It is optional and did not succeed: those that need it go on without it."""
    output: str | None = None
    model: str | None = None
    endpoint: str | None = None
    instead_of: str | None = None
    """The model it asked for, when another one ran it."""
    attempts: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    failure: Failure | None = None


class PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks of one depth in the graph of needs. `label`: the phases that they declare themselves."""

    depth: int
    label: str
    tasks: tuple[ResultRow, ...]
    started_ms: int | None = None
    finished_ms: int | None = None
    """Set when all of them have ended."""


class RunResults(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run by derived phase."""

    run: str
    phases: tuple[PhaseRow, ...]
    now_ms: int


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was watched to its end: its tasks, and how its phases went."""

    tasks: tuple[Task, ...]
    phases: tuple[PhaseRow, ...]
    now_ms: int
    plan: RunPlan | None = None
    """Its plan beside what happened, where it was planned."""


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one task, oldest first. `task.wait` is the reason of this moment."""

    task: Task
    spec: TaskSpec
    attempts: tuple[Attempt, ...]
    decisions: tuple[Decision, ...]
    events: tuple[Event, ...]
    output: str | None
    now_ms: int


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of a task or of a question: a headline, lines to read, and the record itself."""

    task_id: str
    headline: str
    lines: tuple[str, ...]
    decision: Decision | None = None
    wait: Wait | None = None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a sequence number, oldest first; go on with `last_seq`."""

    events: tuple[Event, ...]
    last_seq: int


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with what the hub itself counts."""

    view: EndpointView
    in_flight: int
    source: str
    """`profile`, `added` or `discovered`."""
    report: HostReport | None = None
    consecutive_failures: int = 0
    warnings: tuple[str, ...] = ()


class EndpointList(msgspec.Struct, frozen=True, kw_only=True):
    """All endpoints by name."""

    endpoints: tuple[EndpointRow, ...]
    now_ms: int


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A joined worker and what it does."""

    session: Session
    busy: Mapping[TaskKind, int]
    tasks: tuple[str, ...]
    report: HostReport | None = None
    lost_ms: int | None = None
    """Of a suspect worker: when its grace is over, and its tasks go to others."""


class WorkerList(msgspec.Struct, frozen=True, kw_only=True):
    """All joined workers."""

    workers: tuple[WorkerRow, ...]
    now_ms: int


class WaitGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Queued tasks that wait for the same thing."""

    wait: Wait
    count: int
    tier: str | None = None
    example: str = ""
    """One of the tasks."""


class TierRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the ladder as it stands. `available`: `None` when no registered endpoint could serve it."""

    name: str
    rank: int
    aliases: tuple[str, ...]
    models: tuple[str, ...]
    enabled: bool
    available: bool | None
    down_since_ms: int | None = None


class HubStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The hub at a glance."""

    version: str
    profile: str
    profile_path: str | None
    policy_version: str
    started_ms: int
    now_ms: int
    counts: Mapping[str, int]
    """Tasks that are not final, by state; and how many ended since the start, by final state."""
    in_flight: int
    """Attempts of tasks."""
    waiting: tuple[WaitGroup, ...]
    tiers: tuple[TierRow, ...]
    endpoints_up: int
    endpoints_total: int
    workers: int
    calls_running: int = 0
    """Live calls of the gateway that hold a slot."""
    calls_waiting: int = 0
    last_event_seq: int = 0
    """Number of the newest event, to follow from here."""
    calls: CallTotals = CallTotals()
    """Live calls of the gateway since the start."""
    idle_because: str = ""
    """When work waits and nothing runs: the binding reason in words."""
    leader: Leader | None = None
    """The hub that answers, which is the one that leads; `None` where there can be no other."""


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    """An effective setting and where its value comes from."""

    setting: str
    value: str
    origin: str


class SettingList(msgspec.Struct, frozen=True, kw_only=True):
    """All effective settings."""

    settings: tuple[SettingRow, ...]


class TokenMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; shown this once, only its hash is kept."""

    name: str
    scope: str
    token: str


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """All tokens that are valid, by name."""

    tokens: tuple[KnownToken, ...]
    now_ms: int


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error of the API: the four parts of every error of Ostler."""

    code: str
    message: str
    where: str = ""
    remedy: str = ""
    type: str | msgspec.UnsetType = msgspec.UNSET
    """`MODEL_SWAP_FAILED` where a model could not be put in the place of another one; else it is left out."""


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Body of every answer with a status from 400 up."""

    error: ErrorBody
