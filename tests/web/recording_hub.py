"""A hub that records what it was asked, and the real web application in front of it on a real port."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from ostler.domain.decision import Verdict
from ostler.domain.errors import OstlerError
from ostler.domain.event import Event
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.hubs import HubList
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.policy import HistoryRule
from ostler.domain.ports import TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.domain.trace import Trace
from ostler.domain.work import Poll, Report
from ostler.hub.pattern_views import ObservationList, PatternChange, PatternReport
from ostler.hub.plan_views import PlanWish
from ostler.hub.results import run_results
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.hub.views import (
    EventPage,
    HubStatus,
    RunResults,
    SettingList,
    SubmitAnswer,
    Submitted,
    TaskAnswer,
    TaskList,
    Why,
    WorkerList,
)
from ostler.web.app import build_app
from ostler.web.serve import ServeSettings
from tests.web import hub_samples, samples
from tests.web.board_samples import SampleBoard
from tests.web.recording_desks import (
    RecordingAlerts,
    RecordingBatches,
    RecordingEndpoints,
    RecordingGateway,
    RecordingLate,
    RecordingMetrics,
    RecordingPeople,
    RecordingPlans,
    RecordingPulse,
    RecordingResidency,
    RecordingTokens,
)
from tests.web.recording_loops import RecordingLoops

PATIENCE_S = 20.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fail with `what` when it does not within `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.005)


class RecordingLink:
    """The side for workers."""

    def __init__(self, hub: "RecordingHub") -> None:
        self._hub = hub

    async def join(self, offer: WorkerOffer) -> Session:
        self._hub.record("join", offer)
        return samples.SESSION

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        self._hub.record("heartbeat", session_id, report)
        return 15_000

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        self._hub.record("poll", session_id, wait_ms)
        if wait_ms:
            try:
                await asyncio.sleep(wait_ms / 1000)
            except asyncio.CancelledError:
                self._hub.record("poll cancelled", session_id)
                raise
        return Poll(cancel=(("t-one", 2),))

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        self._hub.record("report", session_id, tuple(reports))

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        self._hub.record("leave", session_id, *([life] if life else []), *(["died"] if died else []))

    async def close(self) -> None:
        raise NotImplementedError


OUTCOME = Observation(id="o1", at_ms=5, task_type="docs", model="qwen", success=True)


class RecordingHub:
    """Records every call; answers with the samples. `raises` makes the next calls fail."""

    def __init__(self) -> None:
        self.link = RecordingLink(self)
        self.endpoints = RecordingEndpoints(self)
        self.residency = RecordingResidency(self)
        self.plans = RecordingPlans(self)
        self.gateway = RecordingGateway(self)
        self.tokens = RecordingTokens(self)
        self.late = RecordingLate(self)
        self.people = RecordingPeople(self)
        self.alerts = RecordingAlerts(self)
        self.metrics = RecordingMetrics(self)
        self.loops = RecordingLoops(self.record)
        self.batches = RecordingBatches(self)
        self.pulse = RecordingPulse(self)
        self.followers = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything, for the next test. Whoever follows is sent away first."""
        self.stop_following = True
        eventually(lambda: self.followers == 0, "all followers leave")
        self.stop_following = False
        self.calls: list[tuple[Any, ...]] = []
        self.raises: Exception | None = None
        self.follow_fails: OstlerError | None = None
        self.tasks_by_id: dict[str, Task] = {}
        self.on_submit: Callable[[TaskSpec], Task] = lambda spec: samples.task(spec.id, batch=spec.batch)
        self.log: list[Event] = list(samples.EVENTS)
        self.host_list = samples.HOSTS
        self.change = samples.CHANGE
        self.board = SampleBoard()

    def record(self, *call: Any) -> None:  # noqa: ANN401 -- whatever it was called with
        self.calls.append(call)
        if self.raises is not None:
            raise self.raises

    def emit(self, *events: Event) -> None:
        """Let followers see more events."""
        self.log.extend(events)

    async def status(self) -> HubStatus:
        self.record("status")
        return samples.STATUS

    unplanned = ""
    """Why no run can be planned."""

    async def submit(
        self,
        specs: Sequence[TaskSpec],
        *,
        resume: bool = False,
        plan: PlanWish | None = None,
        trace: Trace | None = None,
    ) -> SubmitAnswer:
        more = [*(["resume"] if resume else []), *([plan] if plan else []), *([trace] if trace else [])]
        self.record("submit", tuple(specs), *more)
        duplicates = {spec.id for spec in specs if spec.id in self.tasks_by_id}
        self.tasks_by_id.update({spec.id: self.on_submit(spec) for spec in specs if spec.id not in duplicates})
        return SubmitAnswer(
            unplanned=self.unplanned if plan is not None else "",
            tasks=tuple(
                Submitted(id=spec.id, state=self.tasks_by_id[spec.id].state, duplicate=spec.id in duplicates)
                for spec in specs
            ),
        )

    async def tasks(self, query: TaskQuery) -> TaskList:
        self.record("tasks", query)
        if query.batch is not None:
            found = [task for task in self.tasks_by_id.values() if task.batch == query.batch]
            found = [task for task in found if query.before_seq is None or task.seq < query.before_seq]
            newest_first = sorted(found, key=lambda task: task.seq, reverse=True)[: query.limit]
            return TaskList(tasks=tuple(newest_first), now_ms=samples.NOW_MS)
        return TaskList(tasks=(samples.task(), samples.SUCCEEDED), now_ms=samples.NOW_MS)

    async def results(self, run: str, phase: int | None = None) -> RunResults:
        self.record("results", run, phase)
        tasks = [task for task in self.tasks_by_id.values() if task.batch == run]
        outputs = {task.id: f"output of {task.id}" for task in tasks if task.state is TaskState.SUCCEEDED}
        return run_results(run, tasks, outputs, samples.NOW_MS, phase)

    async def task(self, task_id: str) -> TaskAnswer:
        self.record("task", task_id)
        if task_id in self.tasks_by_id:
            return TaskAnswer(
                task=self.tasks_by_id[task_id],
                spec=TaskSpec(id=task_id, prompt="write"),
                attempts=(),
                decisions=(),
                events=(),
                output="done: 42",
                now_ms=samples.NOW_MS,
            )
        return samples.ANSWER

    async def cancel(self, task_id: str, reason: str = "") -> Task:
        self.record("cancel", task_id, reason)
        return samples.task(task_id, TaskState.CANCELLED, finished_ms=samples.NOW_MS)

    async def retry(self, task_id: str) -> Task:
        self.record("retry", task_id)
        return samples.task(task_id)

    async def pause(self, task_id: str) -> Task:
        self.record("pause", task_id)
        return samples.task(task_id, paused=True)

    async def resume(self, task_id: str) -> Task:
        self.record("resume", task_id)
        return samples.task(task_id)

    async def why(self, task_id: str) -> Why:
        self.record("why", task_id)
        return samples.WHY

    async def route(self, spec: TaskSpec) -> tuple[Verdict, Why]:
        self.record("route", spec)
        return samples.ROUTE, samples.WHY

    async def events(self, after_seq: int, limit: int, task_id: str | None = None) -> EventPage:
        self.record("events", after_seq, limit, task_id)
        page = [event for event in self.log if event.seq > after_seq and task_id in (None, event.task_id)][:limit]
        return EventPage(events=tuple(page), last_seq=page[-1].seq if page else after_seq)

    async def follow(self, after_seq: int | None = None) -> AsyncIterator[Event]:
        self.record("follow", after_seq)
        self.followers += 1
        try:
            sent = self.log[-1].seq if after_seq is None else after_seq
            while not self.stop_following:
                for event in [event for event in self.log if event.seq > sent]:
                    yield event
                    sent = event.seq
                if self.follow_fails is not None:
                    raise self.follow_fails
                await asyncio.sleep(0.005)
        finally:
            self.followers -= 1

    async def hubs(self) -> HubList:
        self.record("hubs")
        return hub_samples.HUBS

    async def workers(self) -> WorkerList:
        self.record("workers")
        return samples.WORKERS

    async def settings(self) -> SettingList:
        self.record("settings")
        return samples.SETTINGS

    @property
    def patterns(self) -> "RecordingHub":
        return self

    async def report(self, query: ObservationQuery) -> PatternReport:
        self.record("report", query)
        return PatternReport(history=HistoryRule.OBSERVE, rate=0.75, confidence=0.9)

    async def observations(self, query: ObservationQuery) -> ObservationList:
        self.record("observations", query)
        return ObservationList(observations=(OUTCOME,))

    async def add(self, observations: Sequence[Observation]) -> PatternChange:
        self.record("add", tuple(observations))
        return PatternChange(count=len(observations), changed=("docs",))

    async def forget(self, query: ObservationQuery) -> PatternChange:
        self.record("forget", query)
        return PatternChange(count=2)

    async def record_spending(self, spending: Spending) -> SpendingNoted:
        self.record("record_spending", spending)
        return SpendingNoted(charged_micro_usd=spending.amount.micro_usd)


class ServedHub:
    """A recording hub and where it answers."""

    def __init__(self, hub: RecordingHub, port: int, server: uvicorn.Server) -> None:
        self.hub = hub
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._server = server

    def fresh(self) -> None:
        """For the next test: nothing that the one before has asked is still to be answered, and all is forgotten."""
        self.hub.reset()
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            # Connections are taken in their order: with this one all those before it are.
            last.sendall(b"GET /hub/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            while last.recv(65_536):
                pass
        eventually(lambda: not self._server.server_state.connections, "all connections are closed")
        self.hub.reset()

    def asked(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of a method."""
        return [call[1:] for call in self.hub.calls if call[0] == name]

    def fails_with(self, error: OstlerError | Exception) -> None:
        """Let every call fail from now on."""
        self.hub.raises = error


@contextmanager
def served_hub(
    *,
    require_token: bool = False,
    hosts: Collection[str] | None = None,
    settings: ServeSettings | None = None,
) -> Iterator[ServedHub]:
    """The web application over a fresh recording hub, served on loopback by a thread of its own."""
    hub = RecordingHub()
    app = build_app(hub, require_token=require_token, hosts=hosts, settings=settings)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, loop="asyncio", http="httptools", lifespan="off", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    eventually(lambda: server.started, "the server starts")
    try:
        yield ServedHub(hub, listener.getsockname()[1], server)
    finally:
        hub.stop_following = True
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server does not stop"
