"""The hub's API as typed calls. Each method is one route; what is answered is decoded strictly."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec

from ostler.client.transport import Transport, with_query
from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import Verdict
from ostler.domain.errors import UnreachableError
from ostler.domain.event import Event
from ostler.domain.fleet import Probe
from ostler.domain.hubs import HubList
from ostler.domain.observations import Observation
from ostler.domain.ports import CallQuery
from ostler.domain.tasks import Task, TaskSpec
from ostler.hub.alert_views import AlertList, DeliveryTest
from ostler.hub.batch_views import BatchAnswer, BatchList, BatchRow
from ostler.hub.fleet_views import HostList, HostRow, ModelChange, ModelList
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow, KeyWish
from ostler.hub.late_views import LateAnswer, LateList
from ostler.hub.loop_views import RECENT_SHOWN, LoopAnswer, LoopHistory, LoopList, LoopWish, ScheduleChange
from ostler.hub.pattern_views import ObservationList, PatternChange, PatternReport
from ostler.hub.people_views import QuestionList
from ostler.hub.plan_views import RunPlan
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

T = TypeVar("T")

SILENCE_S = 45.0
"""Three missed heartbeats of the event stream: the connection is counted as dead."""
TEST_S = 30.0
"""More time for an answer that waits for other servers."""
RECONNECT_S = (0.5, 1.0, 2.0, 5.0)


class RouteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to a task now."""

    verdict: Verdict
    why: Why


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It is done; there is nothing more to say."""


def _nothing() -> None:
    """For who does not want to be told."""


class HubClient:
    """The hub at one address."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def url(self) -> str:
        """Where the hub is."""
        return self._transport.url

    def status(self) -> HubStatus:
        """The hub at a glance."""
        return self._get("/hub/status", HubStatus)

    def submit(self, specs: Sequence[TaskSpec], *, resume: bool = False, plan_s: float | None = None) -> SubmitAnswer:
        """Hand in tasks; repeated once when the answer is lost, which their ids make safe.

        `resume`: those that are known and ended badly are sent back to the queue. `plan_s`: their run is planned
        before they may start, by a search of so many seconds; the answer comes after that.
        """
        wishes: dict[str, object] = ({"resume": True} if resume else {}) | (
            {"plan": {"seconds": plan_s}} if plan_s is not None else {}
        )
        body = msgspec.json.encode({"tasks": specs} | wishes)
        return self._decoded(
            self._transport.ask("POST", "/hub/tasks", body, repeat=True, more_s=plan_s or 0.0), SubmitAnswer
        )

    def tasks(
        self, states: Sequence[str] = (), batch: str | None = None, limit: int = 100, before: int | None = None
    ) -> TaskList:
        """Tasks, newest first."""
        state = ",".join(states) or None
        return self._get(with_query("/hub/tasks", state=state, batch=batch, limit=limit, before=before), TaskList)

    def task(self, task_id: str) -> TaskAnswer:
        """Everything about one task."""
        return self._get(f"/hub/tasks/{_part(task_id)}", TaskAnswer)

    def results(self, run: str, phase: int | None = None) -> RunResults:
        """The results of a run by derived phase."""
        return self._get(with_query(f"/hub/runs/{_part(run)}/results", phase=phase), RunResults)

    def make_plan(self, run: str, *, strategy: str = "portfolio", seconds: float = 2.0) -> RunPlan:
        """Plan what is left of a run and follow the plan; answers after about that time."""
        body = {"strategy": strategy, "seconds": seconds}
        return self._post(f"/hub/runs/{_part(run)}/plan", body, RunPlan, more_s=seconds)

    def run_plan(self, run: str) -> RunPlan:
        """The plan of a run beside what happened."""
        return self._get(f"/hub/runs/{_part(run)}/plan", RunPlan)

    def drop_plan(self, run: str) -> None:
        """Follow the plan of a run no longer."""
        self._transport.ask("DELETE", f"/hub/runs/{_part(run)}/plan", None)

    def act(self, task_id: str, verb: str) -> Task:
        """Retry, pause or resume a task."""
        return self._post(f"/hub/tasks/{_part(task_id)}/{verb}", None, Task)

    def cancel(self, task_id: str, reason: str = "") -> Task:
        """Cancel a task."""
        return self._post(f"/hub/tasks/{_part(task_id)}/cancel", {"reason": reason}, Task)

    def why(self, task_id: str) -> Why:
        """Why a task runs where it runs, or does not run."""
        return self._get(f"/hub/tasks/{_part(task_id)}/why", Why)

    def route(self, spec: TaskSpec) -> RouteAnswer:
        """What would happen to a task now."""
        return self._post("/hub/route", spec, RouteAnswer)

    def events(self, after: int = 0, limit: int = 500, task_id: str | None = None) -> EventPage:
        """Events after a sequence number."""
        return self._get(with_query("/hub/events", after=after, limit=limit, task=task_id), EventPage)

    def endpoints(self) -> EndpointList:
        """All endpoints."""
        return self._get("/hub/endpoints", EndpointList)

    def add_endpoint(self, endpoint: EndpointSpec) -> None:
        """Register an endpoint."""
        self._post("/hub/endpoints", endpoint, Done)

    def remove_endpoint(self, name: str) -> None:
        """Remove a registered endpoint."""
        self._decoded(self._transport.ask("DELETE", f"/hub/endpoints/{_part(name)}"), Done)

    def check_endpoint(self, name: str) -> Probe:
        """List an endpoint now."""
        return self._post(f"/hub/endpoints/{_part(name)}/check", None, Probe)

    def reset_endpoint(self, name: str) -> None:
        """Close its breaker and forget its rate limit."""
        self._post(f"/hub/endpoints/{_part(name)}/reset", None, Done)

    def hosts(self, *, saved: bool = True) -> HostList:
        """All hosts; `saved`: with the simulated comparison of the last hour."""
        return self._get(with_query("/hub/hosts", saved="true" if saved else "false"), HostList)

    def models(self) -> ModelList:
        """All models."""
        return self._get("/hub/models", ModelList)

    def load_model(self, host: str, model: str, *, wait_s: float = 0.0, **order: object) -> ModelChange:
        """Load a model on a host. `order`: further fields of the body (`evict`, `drain`, `endpoint`)."""
        body = {"model": model, "wait_s": wait_s, **order}
        return self._post(f"/hub/hosts/{_part(host)}/load", body, ModelChange, more_s=wait_s)

    def unload_model(self, host: str, model: str, *, wait_s: float = 0.0, **order: object) -> ModelChange:
        """Unload a model from a host. `order`: further fields of the body (`drain`, `endpoint`)."""
        body = {"model": model, "wait_s": wait_s, **order}
        return self._post(f"/hub/hosts/{_part(host)}/unload", body, ModelChange, more_s=wait_s)

    def pin_model(self, host: str, model: str, *, pinned: bool = True) -> HostRow:
        """Never evict a model from a host, or allow it again."""
        return self._post(f"/hub/hosts/{_part(host)}/pin", {"model": model, "pinned": pinned}, HostRow)

    def hubs(self) -> HubList:
        """The hubs that share the work."""
        return self._get("/hub/hubs", HubList)

    def workers(self) -> WorkerList:
        """All joined workers."""
        return self._get("/hub/workers", WorkerList)

    def settings(self) -> SettingList:
        """All effective settings of the running hub."""
        return self._get("/hub/config", SettingList)

    def make_token(self, name: str, scope: str) -> TokenMade:
        """Make a token."""
        return self._post("/hub/tokens", {"name": name, "scope": scope}, TokenMade)

    def tokens(self) -> TokenList:
        """All tokens that are valid, by name."""
        return self._get("/hub/tokens", TokenList)

    def revoke_token(self, name: str) -> None:
        """Revoke a token."""
        self._decoded(self._transport.ask("DELETE", f"/hub/tokens/{_part(name)}"), Done)

    def make_key(self, wish: KeyWish) -> KeyMade:
        """Make a key of the gateway."""
        return self._post("/hub/keys", wish, KeyMade)

    def keys(self) -> KeyList:
        """All keys of the gateway."""
        return self._get("/hub/keys", KeyList)

    def revoke_key(self, name: str) -> KeyRow:
        """Revoke a key of the gateway."""
        return self._decoded(self._transport.ask("DELETE", f"/hub/keys/{_part(name)}", repeat=True), KeyRow)

    def record_spending(self, spending: Spending) -> SpendingNoted:
        """Charge a call that was made elsewhere."""
        amount, scopes = spending.amount, spending.scopes
        body = {
            "id": spending.attempt,
            "cost_micro_usd": amount.micro_usd,
            "covered_micro_usd": amount.covered_micro_usd,
            "basis": spending.basis.value,
            "input_tokens": amount.input_tokens,
            "output_tokens": amount.output_tokens,
            "asked_tier": spending.asked_tier,
        }
        body |= {name: getattr(scopes, name) for name in ("provider", "model", "tier", "task", "session")}
        body["tick"] = scopes.tick.removeprefix(f"{scopes.session}/")
        return self._post("/hub/spending", body, SpendingNoted)

    def patterns(self, task_type: str = "", model: str = "", tier: str = "", version: str = "") -> PatternReport:
        """Standings of models by type of work."""
        return self._get(_patterns("/hub/patterns", task_type, model, tier, version), PatternReport)

    def outcomes(self, task_type: str = "", model: str = "", tier: str = "", version: str = "") -> ObservationList:
        """Outcomes as they were kept."""
        return self._get(_patterns("/hub/patterns/outcomes", task_type, model, tier, version), ObservationList)

    def add_outcomes(self, observations: Sequence[Observation]) -> PatternChange:
        """Keep outcomes; their ids make it safe to repeat."""
        return self._post("/hub/patterns", {"observations": observations}, PatternChange)

    def forget_outcomes(self, task_type: str = "", model: str = "", tier: str = "", version: str = "") -> PatternChange:
        """Forget outcomes; without any name all of them."""
        path = _patterns("/hub/patterns", task_type, model, tier, version)
        return self._decoded(self._transport.ask("DELETE", path), PatternChange)

    def questions(self, owner: str | None = None) -> QuestionList:
        """What needs a person, the most urgent first."""
        return self._get(with_query("/hub/questions", owner=owner), QuestionList)

    def answer(self, task_id: str, text: str, *, other: bool = False) -> Task:
        """Let a task that needs a person go on with an answer."""
        return self._post(f"/hub/tasks/{_part(task_id)}/answer", {"text": text, "other": other}, Task)

    def make_batch(self, name: str, tasks: Sequence[str] = (), concurrency: int | None = None) -> BatchRow:
        """Put tasks into a batch, or change how many of it run at once."""
        body = {"tasks": list(tasks), "concurrency": concurrency}
        return self._post(f"/hub/batches/{_part(name)}", body, BatchRow)

    def batches(self) -> BatchList:
        """All batches."""
        return self._get("/hub/batches", BatchList)

    def batch(self, name: str) -> BatchAnswer:
        """One batch with its tasks."""
        return self._get(f"/hub/batches/{_part(name)}", BatchAnswer)

    def act_on_batch(self, name: str, verb: str, reason: str = "") -> BatchRow:
        """`pause`, `resume` or `cancel` a batch."""
        body = {"reason": reason} if verb == "cancel" else None
        return self._post(f"/hub/batches/{_part(name)}/{verb}", body, BatchRow)

    def pulse(self, batch: str | None = None, *, look: bool = False) -> PulseReport:
        """Take a step and say how things are; `look`: without the step."""
        path = with_query("/hub/pulse", batch=batch)
        return self._get(path, PulseReport) if look else self._post(path, None, PulseReport)

    def why_idle(self, batch: str | None = None) -> Idle:
        """What keeps work from running."""
        return self._get(with_query("/hub/idle", batch=batch), Idle)

    def late(self) -> LateList:
        """Results that came too late."""
        return self._get("/hub/late", LateList)

    def late_result(self, task_id: str, attempt: int) -> LateAnswer:
        """One of them with its output."""
        return self._get(f"/hub/late/{_part(task_id)}/{attempt}", LateAnswer)

    def adopt_late(self, task_id: str, attempt: int) -> Task:
        """Take one for the result of its task."""
        return self._post(f"/hub/late/{_part(task_id)}/{attempt}/adopt", None, Task)

    def alerts(self, *, every: bool = False) -> AlertList:
        """What is raised; `every`: what was cleared, too."""
        return self._get(with_query("/hub/alerts", all="true" if every else None), AlertList)

    def acknowledge(self, alert_id: str, *, by: str = "", note: str = "") -> AlertList:
        """Say that a person knows of an alert; an empty id: of all that are active."""
        return self._post("/hub/alerts/ack", {"id": alert_id, "by": by, "note": note}, AlertList)

    def test_alerts(self) -> DeliveryTest:
        """Have a test told wherever alerts are told."""
        return self._post("/hub/alerts/test", None, DeliveryTest, more_s=TEST_S)

    def calls(self, query: CallQuery) -> CallList:
        """Calls of the gateway, newest first."""
        path = with_query(
            "/hub/calls",
            key=query.key or None,
            model=query.model,
            endpoint=query.endpoint,
            failed="true" if query.failed else None,
            limit=query.limit,
            before=query.before,
        )
        return self._get(path, CallList)

    def call(self, call_id: str) -> CallAnswer:
        """Everything about one call of the gateway."""
        return self._get(f"/hub/calls/{_part(call_id)}", CallAnswer)

    def loops(self) -> LoopList:
        """All loops by name."""
        return self._get("/hub/loops", LoopList)

    def create_loop(self, wish: LoopWish) -> LoopAnswer:
        """Make a loop."""
        return self._post("/hub/loops", wish, LoopAnswer)

    def loop(self, name: str) -> LoopAnswer:
        """One loop."""
        return self._get(f"/hub/loops/{_part(name)}", LoopAnswer)

    def steer_loop(self, name: str, verb: str) -> LoopAnswer:
        """Start, stop, pause or resume a loop."""
        return self._post(f"/hub/loops/{_part(name)}/{verb}", None, LoopAnswer)

    def change_loop(self, name: str, change: ScheduleChange) -> LoopAnswer:
        """Change the schedule of a loop, also while it runs."""
        return self._post(f"/hub/loops/{_part(name)}/change", change, LoopAnswer)

    def loop_history(self, name: str, limit: int = RECENT_SHOWN) -> LoopHistory:
        """Loops that are over, the newest first."""
        return self._get(with_query(f"/hub/loops/{_part(name)}/history", limit=limit), LoopHistory)

    def drop_loop(self, name: str) -> None:
        """Forget a loop that neither runs nor waits."""
        self._decoded(self._transport.ask("DELETE", f"/hub/loops/{_part(name)}"), Done)

    def follow(
        self, after: int | None, on_break: Callable[[str], None], on_connect: Callable[[], None] = _nothing
    ) -> Iterator[Event]:
        """Events as they happen, without end; a broken stream is taken up after the last event seen.

        `on_connect` is called when a connection stands, `on_break` is told why one broke. Raises `UnreachableError`
        when the first connection fails.
        """
        failures = 0
        connected = False

        def stands() -> None:
            nonlocal connected, failures
            connected, failures = True, 0
            on_connect()

        while True:
            reason = "the hub ended the stream"
            try:
                for event in self._stream(after, stands):
                    after = event.seq
                    yield event
            except OSError as error:
                reason = str(error) or type(error).__name__
            except UnreachableError as error:
                if not connected:
                    raise
                reason = error.what
            on_break(reason)
            time.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
            failures += 1

    def hang_up(self) -> None:
        """End the connection of `follow`, from another thread, and let none come after it; it counts as broken."""
        self._transport.hang_up()

    def _stream(self, after: int | None, on_connect: Callable[[], None]) -> Iterator[Event]:
        """Events of one connection."""
        path = with_query("/hub/events/stream", after=after)
        with self._transport.listen(path, {"Accept": "text/event-stream"}, SILENCE_S) as lines:
            on_connect()
            for line in lines:
                if line.startswith(b"data: "):
                    yield self._decoded(line.removeprefix(b"data: "), Event)

    def _get(self, path: str, kind: type[T]) -> T:
        return self._decoded(self._transport.ask("GET", path, repeat=True), kind)

    def _post(self, path: str, body: object, kind: type[T], *, more_s: float = 0.0) -> T:
        raw = None if body is None else msgspec.json.encode(body)
        return self._decoded(self._transport.ask("POST", path, raw, more_s=more_s), kind)

    def _decoded(self, raw: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._transport.not_a_hub(str(error)) from None


def _patterns(path: str, task_type: str, model: str, tier: str, version: str) -> str:
    return with_query(path, type=task_type or None, model=model or None, tier=tier or None, version=version or None)


def _part(name: str) -> str:
    return quote(name, safe="")
