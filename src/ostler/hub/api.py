"""What the hub offers to its faces (HTTP, command line, tests): one interface, no wire format.

Every method raises a subclass of `OstlerError` for what a caller may get wrong; nothing else is expected to be raised.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import Verdict
from ostler.domain.event import Event
from ostler.domain.fleet import Probe
from ostler.domain.hubs import HubList
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.ports import CallQuery, HubLink, TaskQuery
from ostler.domain.tasks import Task, TaskSpec
from ostler.domain.trace import Trace
from ostler.hub.alert_views import AlertList, AlertNote, DeliveryTest
from ostler.hub.batch_views import BatchAnswer, BatchList, BatchRow, BatchWish
from ostler.hub.board_api import BoardOffered
from ostler.hub.fleet_views import HostList, HostRow, LoadOrder, ModelChange, ModelList, SwapOrder, UnloadOrder
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow, KeyWish
from ostler.hub.late_views import LateAnswer, LateList
from ostler.hub.loop_views import LoopAnswer, LoopHistory, LoopList, LoopWish, ScheduleChange
from ostler.hub.pattern_views import ObservationList, PatternChange, PatternReport
from ostler.hub.people_api import PeopleApi
from ostler.hub.plan_views import PlanWish, RunPlan
from ostler.hub.pulse_views import Idle, PulseReport
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.hub.views import (
    EndpointList,
    EventPage,
    HubStatus,
    RunResults,
    SettingList,
    SubmitAnswer,
    TaskAnswer,
    TaskList,
    TokenList,
    TokenMade,
    Why,
    WorkerList,
)


class PatternApi(Protocol):
    """Outcomes of attempts, and what is learned of them."""

    async def report(self, query: ObservationQuery) -> PatternReport:
        """Standings of models by type, and what they change."""
        ...

    async def observations(self, query: ObservationQuery) -> ObservationList:
        """Outcomes as they were kept."""
        ...

    async def add(self, observations: Sequence[Observation]) -> PatternChange:
        """Keep outcomes; those whose id is known are left alone."""
        ...

    async def forget(self, query: ObservationQuery) -> PatternChange:
        """Forget outcomes, and with them what they changed."""
        ...


class BatchApi(Protocol):
    """Batches: tasks that belong together."""

    async def make(self, name: str, wish: BatchWish) -> BatchRow:
        """Put tasks into a batch and start it, or change how many of it run at once. All or none."""
        ...

    async def rows(self) -> BatchList:
        """All batches with open tasks, and those that were over lately."""
        ...

    async def show(self, name: str) -> BatchAnswer:
        """One batch with its tasks."""
        ...

    async def pause(self, name: str) -> BatchRow:
        """Keep what has not started from starting."""
        ...

    async def resume(self, name: str) -> BatchRow:
        """Let it go on."""
        ...

    async def cancel(self, name: str, reason: str = "") -> BatchRow:
        """Cancel what has not ended."""
        ...


class PulseApi(Protocol):
    """One step of the engine on demand, and why nothing runs."""

    async def why_idle(self, batch: str | None = None) -> Idle:
        """The binding constraint in one sentence."""
        ...

    async def look(self, batch: str | None = None) -> PulseReport:
        """What runs, waits, is stuck; changes nothing."""
        ...

    async def step(self, batch: str | None = None) -> PulseReport:
        """Take a step, then look."""
        ...


class LateApi(Protocol):
    """Results of attempts that had been given up when they were reported."""

    async def rows(self) -> LateList:
        """The newest of them."""
        ...

    async def show(self, task_id: str, generation: int) -> LateAnswer:
        """One with its output."""
        ...

    async def adopt(self, task_id: str, generation: int) -> Task:
        """Take it for the result of its task. Refused when that has one, or another attempt is under way."""
        ...


class AlertApi(Protocol):
    """Alerts: what a person should know of."""

    async def alerts(self, *, every: bool = False) -> AlertList:
        """What is raised, the worst first, and the rules; `every`: what was cleared too."""
        ...

    async def acknowledge(self, note: AlertNote) -> AlertList:
        """A person knows of an alert, or of all that are active: silent until it is cleared. Answers what is raised."""
        ...

    async def test(self) -> DeliveryTest:
        """Tell a test everywhere, and say how that went."""
        ...


class MetricsApi(Protocol):
    """Metrics for who scrapes."""

    async def text(self) -> str:
        """All metrics in the text format of Prometheus; empty where they are off."""
        ...


class LoopApi(Protocol):
    """Loops of autonomous agents."""

    async def create(self, wish: LoopWish) -> LoopAnswer:
        """Make a loop, and start it where that is wished."""
        ...

    async def act(self, name: str, verb: str) -> LoopAnswer:
        """`start`, `stop`, `pause` or `resume`."""
        ...

    async def change(self, name: str, change: ScheduleChange) -> LoopAnswer:
        """Change the schedule, also while it runs."""
        ...

    async def drop(self, name: str) -> None:
        """Forget a loop that neither runs nor waits."""
        ...

    async def listed(self) -> LoopList:
        """All loops by name."""
        ...

    async def show(self, name: str) -> LoopAnswer:
        """One loop."""
        ...

    async def history(self, name: str, limit: int) -> LoopHistory:
        """Loops that are over, the newest first."""
        ...


class EndpointApi(Protocol):
    """Endpoints: who they are, how they are."""

    def rows(self) -> EndpointList:
        """All endpoints by name."""
        ...

    async def add(self, spec: EndpointSpec) -> None:
        """Register an endpoint; it is durable when this returns, and checked at once."""
        ...

    async def remove(self, name: str) -> None:
        """Remove an endpoint that was added by hand."""
        ...

    async def check(self, name: str) -> Probe:
        """List it now. `name` may be an endpoint or a provider (then its first endpoint)."""
        ...

    async def reset(self, name: str) -> None:
        """Close its breaker, forget its rate limit, probe it at once."""
        ...


class ResidencyApi(Protocol):
    """Hosts and models: what is in memory where, and what people want there."""

    async def hosts(self, *, saved: bool) -> HostList:
        """All hosts and what is in their memory; `saved`: with the simulated comparison of the last hour."""
        ...

    async def models(self) -> ModelList:
        """All models: where they are, what they take, what waits for them."""
        ...

    async def load(self, host: str, order: LoadOrder) -> ModelChange:
        """Load a model on a managed host."""
        ...

    async def unload(self, host: str, order: UnloadOrder) -> ModelChange:
        """Unload a model from a managed host."""
        ...

    async def pin(self, host: str, model: str, *, pinned: bool) -> HostRow:
        """Never evict a model from a host, or allow it again."""
        ...

    async def swap(self, order: SwapOrder) -> ModelChange:
        """Put a model in the place of another one, where that one is loaded."""
        ...


class PlanApi(Protocol):
    """Plans of runs."""

    async def make(self, run: str, *, strategy: str, seconds: float) -> RunPlan:
        """Plan what is left of a run, and follow the plan."""
        ...

    async def show(self, run: str) -> RunPlan:
        """The plan of a run beside what happened."""
        ...

    async def drop(self, run: str) -> None:
        """Follow the plan of a run no longer."""
        ...


class GatewayApi(Protocol):
    """The gateway's keys and calls."""

    async def make_key(self, wish: KeyWish) -> KeyMade:
        """A new key of the gateway; shown this once. Refuses models and tiers that nobody knows."""
        ...

    async def keys(self) -> KeyList:
        """All keys of the gateway with what they have spent."""
        ...

    async def revoke_key(self, name: str) -> KeyRow:
        """Make a key of the gateway worthless."""
        ...

    async def calls(self, query: CallQuery) -> CallList:
        """Calls of the gateway, newest first."""
        ...

    async def call(self, call_id: str) -> CallAnswer:
        """Everything about one call of the gateway, explained."""
        ...


class TokenApi(Protocol):
    """Bearer tokens of the hub itself."""

    async def make(self, name: str, scope: str) -> TokenMade:
        """A new token; shown this once."""
        ...

    async def tokens(self) -> TokenList:
        """All tokens that are valid; never what opens anything."""
        ...

    async def revoke(self, name: str) -> None:
        """Make a token worthless."""
        ...

    async def allowed(self, token: str, scope: str) -> bool:
        """Whether a bearer token is valid for a scope (`worker`, `viewer` or `admin`, which includes the others)."""
        ...


class HubApi(BoardOffered, Protocol):
    """The hub for its faces: verbs of tasks, and a desk for each other group of verbs."""

    @property
    def link(self) -> HubLink:
        """The side for workers."""
        ...

    @property
    def endpoints(self) -> EndpointApi:
        """Endpoints."""
        ...

    @property
    def residency(self) -> ResidencyApi:
        """Hosts and models."""
        ...

    @property
    def plans(self) -> PlanApi:
        """Plans of runs."""
        ...

    @property
    def gateway(self) -> GatewayApi:
        """The gateway's keys and calls."""
        ...

    @property
    def tokens(self) -> TokenApi:
        """Bearer tokens."""
        ...

    @property
    def alerts(self) -> AlertApi:
        """What a person should know of."""
        ...

    @property
    def metrics(self) -> MetricsApi:
        """Metrics for who scrapes."""
        ...

    @property
    def patterns(self) -> PatternApi:
        """Outcomes, and what is learned of them."""
        ...

    @property
    def people(self) -> PeopleApi:
        """What people answer."""
        ...

    @property
    def batches(self) -> BatchApi:
        """Batches."""
        ...

    @property
    def pulse(self) -> PulseApi:
        """Steps on demand, and why nothing runs."""
        ...

    @property
    def late(self) -> LateApi:
        """Results that came too late."""
        ...

    @property
    def loops(self) -> LoopApi:
        """Loops of autonomous agents."""
        ...

    async def status(self) -> HubStatus:
        """The hub at a glance."""
        ...

    async def submit(
        self,
        specs: Sequence[TaskSpec],
        *,
        resume: bool = False,
        plan: PlanWish | None = None,
        trace: Trace | None = None,
    ) -> SubmitAnswer:
        """Accept tasks, all or none; returns when they are durable. Refuses cycles, unknown needs, unknown tiers.

        `resume`: those that are known and ended badly are sent back to the queue. `plan`: their run is planned before
        they may start, and the answer comes after that. `trace`: what they are part of for who hands them in.
        """
        ...

    async def tasks(self, query: TaskQuery) -> TaskList:
        """Tasks, newest first, with the wait reason of this moment."""
        ...

    async def task(self, task_id: str) -> TaskAnswer:
        """Everything about one task."""
        ...

    async def results(self, run: str, phase: int | None = None) -> RunResults:
        """The results of a run (a batch of tasks) by derived phase, or those of one phase."""
        ...

    async def cancel(self, task_id: str, reason: str = "") -> Task:
        """Cancel a task; one that runs is being stopped when this returns."""
        ...

    async def retry(self, task_id: str) -> Task:
        """Send a task that ended badly back to the queue, with those that fell with it."""
        ...

    async def pause(self, task_id: str) -> Task:
        """Keep a task from starting."""
        ...

    async def resume(self, task_id: str) -> Task:
        """Let a paused task go on."""
        ...

    async def why(self, task_id: str) -> Why:
        """Why a task is where it is."""
        ...

    async def route(self, spec: TaskSpec) -> tuple[Verdict, Why]:
        """What would happen to this task now; stores nothing, calls nothing."""
        ...

    async def events(self, after_seq: int, limit: int, task_id: str | None = None) -> EventPage:
        """Events after a sequence number, oldest first."""
        ...

    def follow(self, after_seq: int | None = None) -> AsyncIterator[Event]:
        """Events as they happen, from `after_seq` on (`None`: from now on)."""
        ...

    async def hubs(self) -> HubList:
        """The hubs that share the work, the one that leads among them."""
        ...

    async def workers(self) -> WorkerList:
        """All joined workers."""
        ...

    async def settings(self) -> SettingList:
        """All effective settings."""
        ...

    async def record_spending(self, spending: Spending) -> SpendingNoted:
        """Charge a call that was made elsewhere, once for each name."""
        ...
