"""The desks of the recording hub: each records what it is asked at its hub, and answers with the samples."""

from typing import TYPE_CHECKING

from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe
from ostler.domain.ports import CallQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.alert_views import AlertList, AlertNote, DeliveryTest
from ostler.hub.batch_views import BatchAnswer, BatchList, BatchRow, BatchWish
from ostler.hub.fleet_views import HostList, HostRow, LoadOrder, ModelChange, ModelList, SwapOrder, UnloadOrder
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow, KeyWish
from ostler.hub.late_views import LateAnswer, LateList
from ostler.hub.people_views import QuestionList
from ostler.hub.plan_views import RunPlan
from ostler.hub.pulse_views import Idle, PulseReport
from ostler.hub.views import (
    EndpointList,
    TokenList,
    TokenMade,
)
from tests.web import alert_samples, call_samples, host_samples, hub_samples, samples

if TYPE_CHECKING:
    from tests.web.recording_hub import RecordingHub

TOKENS = {"worker-token": {"worker"}, "viewer-token": {"viewer"}, "admin-token": {"worker", "viewer", "admin"}}


class Desk:
    """A group of verbs of the recording hub; what it is asked is recorded there."""

    def __init__(self, hub: "RecordingHub") -> None:
        self._hub = hub


class RecordingEndpoints(Desk):
    def rows(self) -> EndpointList:
        self._hub.record("endpoints")
        return samples.ENDPOINTS

    async def add(self, spec: EndpointSpec) -> None:
        self._hub.record("add_endpoint", spec)

    async def remove(self, name: str) -> None:
        self._hub.record("remove_endpoint", name)

    async def check(self, name: str) -> Probe:
        self._hub.record("check_endpoint", name)
        return samples.PROBE

    async def reset(self, name: str) -> None:
        self._hub.record("reset_endpoint", name)


class RecordingBatches(Desk):
    async def make(self, name: str, wish: BatchWish) -> BatchRow:
        self._hub.record("make_batch", name, wish)
        return host_samples.BATCH

    async def rows(self) -> BatchList:
        self._hub.record("batches")
        return host_samples.BATCHES

    async def show(self, name: str) -> BatchAnswer:
        self._hub.record("batch", name)
        return host_samples.BATCH_ANSWER

    async def pause(self, name: str) -> BatchRow:
        self._hub.record("pause_batch", name)
        return host_samples.BATCH

    async def resume(self, name: str) -> BatchRow:
        self._hub.record("resume_batch", name)
        return host_samples.BATCH

    async def cancel(self, name: str, reason: str = "") -> BatchRow:
        self._hub.record("cancel_batch", name, reason)
        return host_samples.BATCH


class RecordingPulse(Desk):
    async def why_idle(self, batch: str | None = None) -> Idle:
        self._hub.record("why_idle", batch)
        return host_samples.IDLE

    async def look(self, batch: str | None = None) -> PulseReport:
        self._hub.record("look", batch)
        return host_samples.PULSE

    async def step(self, batch: str | None = None) -> PulseReport:
        self._hub.record("step", batch)
        return host_samples.PULSE


class RecordingLate(Desk):
    async def rows(self) -> LateList:
        self._hub.record("late")
        return host_samples.LATE

    async def show(self, task_id: str, generation: int) -> LateAnswer:
        self._hub.record("late_result", task_id, generation)
        return host_samples.LATE_ANSWER

    async def adopt(self, task_id: str, generation: int) -> Task:
        self._hub.record("adopt_late", task_id, generation)
        return samples.task(task_id, TaskState.SUCCEEDED)


class RecordingPeople(Desk):
    async def questions(self, owner: str | None = None) -> QuestionList:
        self._hub.record("questions", owner)
        return host_samples.QUESTIONS

    async def answer(self, task_id: str, text: str, *, other: bool = False) -> Task:
        self._hub.record("answer", task_id, text, *(["other"] if other else []))
        return samples.task(task_id, TaskState.QUEUED)


class RecordingResidency(Desk):
    async def hosts(self, *, saved: bool) -> HostList:
        self._hub.record("hosts", saved)
        return self._hub.host_list

    async def models(self) -> ModelList:
        self._hub.record("models")
        return samples.MODELS

    async def load(self, host: str, order: LoadOrder) -> ModelChange:
        self._hub.record("load_model", host, order)
        return self._hub.change

    async def unload(self, host: str, order: UnloadOrder) -> ModelChange:
        self._hub.record("unload_model", host, order)
        return self._hub.change

    async def pin(self, host: str, model: str, *, pinned: bool) -> HostRow:
        self._hub.record("pin_model", host, model, pinned)
        return samples.HOSTS.hosts[0]

    async def swap(self, order: SwapOrder) -> ModelChange:
        self._hub.record("swap_model", order)
        return self._hub.change


class RecordingPlans(Desk):
    async def make(self, run: str, *, strategy: str, seconds: float) -> RunPlan:
        self._hub.record("make_plan", run, strategy, seconds)
        return samples.run_plan(run)

    async def show(self, run: str) -> RunPlan:
        self._hub.record("run_plan", run)
        return samples.run_plan(run)

    async def drop(self, run: str) -> None:
        self._hub.record("drop_plan", run)


class RecordingGateway(Desk):
    async def make_key(self, wish: KeyWish) -> KeyMade:
        self._hub.record("make_key", wish)
        return call_samples.made(wish)

    async def keys(self) -> KeyList:
        self._hub.record("keys")
        return call_samples.KEYS

    async def revoke_key(self, name: str) -> KeyRow:
        self._hub.record("revoke_key", name)
        return call_samples.GONE

    async def calls(self, query: CallQuery) -> CallList:
        self._hub.record("live_calls", query)
        return CallList(calls=(), now_ms=samples.NOW_MS) if query.key == "nobody" else call_samples.CALLS

    async def call(self, call_id: str) -> CallAnswer:
        self._hub.record("live_call", call_id)
        return call_samples.CALL


class RecordingTokens(Desk):
    async def make(self, name: str, scope: str) -> TokenMade:
        self._hub.record("make_token", name, scope)
        return TokenMade(name=name, scope=scope, token="ostler-secret")

    async def tokens(self) -> TokenList:
        self._hub.record("tokens")
        return hub_samples.TOKENS

    async def revoke(self, name: str) -> None:
        self._hub.record("revoke_token", name)

    async def allowed(self, token: str, scope: str) -> bool:
        return scope in TOKENS.get(token, set())


class RecordingAlerts(Desk):
    async def alerts(self, *, every: bool = False) -> AlertList:
        self._hub.record("alerts", every)
        return alert_samples.ALERTS

    async def acknowledge(self, note: AlertNote) -> AlertList:
        self._hub.record("acknowledge", note)
        return alert_samples.ALERTS

    async def test(self) -> DeliveryTest:
        self._hub.record("test_alerts")
        return alert_samples.DELIVERY_TEST


class RecordingMetrics(Desk):
    answer = "# TYPE ostler_workers gauge\nostler_workers 1\n"

    async def text(self) -> str:
        self._hub.record("metrics")
        return self.answer
