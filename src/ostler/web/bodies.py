"""What the routes take and give beside the views of the hub: bodies, queries and small answers.

Bodies a person or a script writes refuse unknown fields. Bodies of workers ignore them, so that a newer worker can
speak to an older hub.
"""

from typing import Annotated, Literal

import msgspec

from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import Verdict
from ostler.domain.ledger import Amount, Basis, Scopes, tick_name
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Priority, TaskSpec
from ostler.hub.fleet_views import LoadOrder, SwapOrder, UnloadOrder
from ostler.hub.gateway_views import KeyWish
from ostler.hub.loop_views import RECENT_SHOWN
from ostler.hub.spending_views import Spending
from ostler.hub.views import Why

MAX_PAGE = 1000
MAX_WAIT_MS = 60_000
MAX_CHANGE_S = 600
MAX_LIMIT_MICRO_USD = 10**15

PageLimit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
Seq = Annotated[int, msgspec.Meta(ge=0)]
ChangeSeconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_CHANGE_S)]
LimitMicroUsd = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT_MICRO_USD)]


class PlanBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to plan what is left of a run."""

    strategy: Literal["portfolio", "live"] = "portfolio"
    """`portfolio` searches; `live` is the scheduler's own rule, foreseen."""
    seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    """Time for the search; work goes on meanwhile."""


class SubmitBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks to accept, all or none. The same body may be sent again: ids make it safe."""

    tasks: Annotated[tuple[TaskSpec, ...], msgspec.Meta(min_length=1)]
    resume: bool = False
    """Send those that are known and ended badly back to the queue."""
    plan: PlanBody | None = None
    """Plan their run before they may start; all must have the same `batch`."""


class CancelBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a task is cancelled; shown with it."""

    reason: str = ""


class LeaveBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which process of a daemon leaves."""

    life: str = ""
    died: bool = False
    """It was killed, and all that it ran is dead: its companion says so."""


class AnswerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person answers to a task."""

    text: str
    other: bool = False
    """It is meant to be none of the choices."""


class QuestionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose questions; none: all."""

    owner: str | None = None


class BatchQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which batch; none: all work."""

    batch: str | None = None


class EndpointBody(EndpointSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to register; a misspelt field is refused, not ignored."""

    def spec(self) -> EndpointSpec:
        """The endpoint as the domain knows it."""
        return EndpointSpec(**{field: getattr(self, field) for field in EndpointSpec.__struct_fields__})


class TokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to make. `admin` includes the others; `viewer` may only look."""

    name: str
    scope: Literal["worker", "viewer", "admin"] = "worker"


class KeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key of the gateway to make. Empty `models` and `tiers` allow any; names may be aliases."""

    name: str
    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    task: str = ""
    """What its calls are charged to."""
    priority: Priority = Priority.HIGH
    limit_micro_usd: LimitMicroUsd | None = None
    """Spent so much in the window, it is refused until the window is over."""
    limit_window: Literal["day", "month", "total"] = "total"
    """Days and months are those of UTC."""
    local_only: bool = False
    """Its calls stay on machines of the user."""

    def wish(self) -> KeyWish:
        """The wish as the hub knows it."""
        return KeyWish(**{field: getattr(self, field) for field in KeyWish.__struct_fields__})


class SpendingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call that was made elsewhere."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """Its name: the same one is charged once."""
    cost_micro_usd: Annotated[int, msgspec.Meta(ge=0, le=10**12)]
    covered_micro_usd: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0
    """What a subscription covered, at list prices; it costs nothing more."""
    basis: Literal["reported", "priced", "estimated", "subscription", "unknown"] = "reported"
    """How the cost is known."""
    input_tokens: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0
    output_tokens: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0
    provider: str = ""
    model: str = ""
    tier: str = ""
    task: str = ""
    session: str = ""
    tick: str = ""
    """Step of the session."""
    asked_tier: str = ""
    """The tier that was asked for; `tier` is the one it ran on."""

    def spending(self) -> Spending:
        """The call as the hub knows it."""
        return Spending(
            attempt=self.id,
            amount=Amount(
                micro_usd=self.cost_micro_usd,
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                covered_micro_usd=self.covered_micro_usd,
            ),
            basis=Basis(self.basis),
            scopes=Scopes(
                provider=self.provider,
                model=self.model,
                tier=self.tier,
                task=self.task,
                session=self.session,
                tick=tick_name(self.session, self.tick),
            ),
            asked_tier=self.asked_tier,
        )


class LoadBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model to load on a host."""

    model: str
    endpoint: str | None = None
    """One of the host; without it the first that has the model."""
    evict: tuple[str, ...] = ()
    """Models that shall go for it, even if others would cost less."""
    drain: bool = False
    """Let calls on those end first, instead of being refused."""
    wait_s: ChangeSeconds = 0.0
    """How long to hold the answer until the model is loaded."""

    def order(self) -> LoadOrder:
        """The order as the hub knows it."""
        return LoadOrder(
            model=self.model,
            endpoint=self.endpoint,
            evict=self.evict,
            drain=self.drain,
            wait_ms=int(self.wait_s * 1000),
        )


class UnloadBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model to unload from a host."""

    model: str
    endpoint: str | None = None
    drain: bool = False
    wait_s: ChangeSeconds = 0.0

    def order(self) -> UnloadOrder:
        """The order as the hub knows it."""
        wait_ms = int(self.wait_s * 1000)
        return UnloadOrder(model=self.model, endpoint=self.endpoint, drain=self.drain, wait_ms=wait_ms)


class PinBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model never to evict from a host, or (`pinned` false) to allow it again."""

    model: str
    pinned: bool = True


class SwapBody(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"old": "from", "new": "to"}
):
    """One model in the place of another: `from` and `to`, names or aliases."""

    old: str
    new: str
    host: str | None = None
    """Where; without it wherever `from` is loaded."""
    drain: bool = False
    """Let calls on `from` end first, instead of being refused."""
    wait: bool = True
    """Answer when the model is loaded, else at once."""
    limit_s: ChangeSeconds = 300.0
    """How long to wait at most."""

    def order(self) -> SwapOrder:
        """The order as the hub knows it."""
        wait_ms = int(self.limit_s * 1000) if self.wait else 0
        return SwapOrder(old=self.old, new=self.new, host=self.host, drain=self.drain, wait_ms=wait_ms)


class HostQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the last hour is compared with first-in-first-out."""

    saved: bool = True


class PollBody(msgspec.Struct, frozen=True, kw_only=True):
    """How long the hub may hold the answer while there is no work."""

    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_MS)] = 0


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameter is taken."""


class TaskListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks: of some states (`state=queued,running`), of a batch, before a sequence number."""

    state: tuple[TaskState, ...] = ()
    batch: str | None = None
    limit: PageLimit = 100
    before: Seq | None = None


class CallListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls: with a key, of a model (that answered or was asked for), of an endpoint, only failed ones, before
    the call with this id.
    """

    key: str = ""
    model: str | None = None
    endpoint: str | None = None
    failed: bool = False
    limit: PageLimit = 100
    before: str | None = None


class PatternQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which outcomes: of a type of work, a model, a tier, a version of a model."""

    type: str = ""
    model: str = ""
    tier: str = ""
    version: str = ""

    def which(self) -> ObservationQuery:
        """The query as the hub knows it."""
        return ObservationQuery(task_type=self.type, model=self.model, tier=self.tier, version=self.version)


class LoopHistoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of the loops that are over."""

    limit: PageLimit = RECENT_SHOWN


class OutcomesBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outcomes to keep."""

    observations: tuple[Observation, ...]


class AlertQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts: those that are raised; `all`: what was cleared, too."""

    all: bool = False


class AlertNoteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alert a person knows of, and what is to be kept with it. Without an id: all that are active."""

    id: Annotated[str, msgspec.Meta(max_length=500)] = ""
    by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    note: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class ResultsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which phase of a run; without it all."""

    phase: Annotated[int, msgspec.Meta(ge=0)] | None = None


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events: after a sequence number, of one task."""

    after: Seq = 0
    limit: PageLimit = 500
    task: str | None = None


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which event on; without it from now on. A `Last-Event-ID` header wins over it."""

    after: Seq | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It is done; there is nothing more to say."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """How long, from now, the worker may act without another answer."""

    lease_ms: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The hub answers."""

    ok: bool
    version: str


class RouteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to a task now."""

    verdict: Verdict
    why: Why
