"""A run of the real scheduler: signals in, effects out, at virtual instants.

The shell below does what the hub does, in the same order: it hands a signal to the actor and carries the effects out,
at once and without refusals, against rows in memory. One worker stands for all: it takes any number of calls (the
endpoints' slots bind) and as many commands as the profile gives it. It is never silent, so heartbeats are left out.

Listings come at the profile's interval. One that would tell the scheduler nothing (it shows what the last one showed,
and nothing has changed since in what the scheduler has the endpoint for) is left out: over a week nearly all of them.
Each is also an occasion to decide again, which the scheduler does not rely on but may use: a task that runs longer than
it was thought to can make another load worth while a little later. So a run is near, not equal, to one with all of
them (`every_listing`); `test_scheduled` holds how near.

A plan may be followed (`Setting.plan`): it is adopted when its jobs arrive. When the scheduler asks for a new one it
gets none, and goes on by its own rule.

The run is over when every job ended, or when nothing can happen any more but listings: what still waits then is
explained by its wait reason.
"""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from ostler.domain.commands import UpdateTask
from ostler.domain.fleet import EndpointView, Health, Probe, ProbeStatus, Resident, Session, WorkerOffer
from ostler.domain.policy import Policy
from ostler.domain.states import FINAL_STATES, Failure, FailureClass, TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from ostler.hub.accept import new_tasks
from ostler.planning.guide import guide_of
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Apply, Assign, Effect, Emit, LoadModel, ProbeNow, Replan, Stop, UnloadModel
from ostler.scheduling.intake import need_is_met
from ostler.simulate.virtual.fleet import Fleet, on_fleet
from ostler.simulate.virtual.ground import Ground, check_outages
from ostler.simulate.virtual.jobs import Job, Workload, told_of
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.sites import Order
from ostler.simulate.virtual.swaps import Swaps

SESSION = "simulated"
ANY_NUMBER = 1_000_000
NEVER_MS = 10**15
"""Heartbeats are as far apart as this: nothing waits for them."""


class Attempt(msgspec.Struct, kw_only=True):
    """An attempt under way."""

    task_id: str
    generation: int
    endpoint: str | None = None


def run_scheduled(
    workload: Workload, fleet: Fleet, policy: Policy, setting: Setting | None = None, *, name: str = ""
) -> Run:
    """Run a workload under the scheduler with a policy on a fleet. Raises `InvalidInputError` as the hub would."""
    setting = setting or Setting()
    check_outages(setting.outages, fleet)
    ground = Ground(fleet, on_fleet(policy, fleet), setting)
    hall = _Hall(ground, workload.jobs, every_listing=setting.every_listing, plan=setting.plan)
    ground.furnish(hall)
    hall.open(setting.outages, setting.command_slots)
    hall.play()
    return ground.run(name or policy.profile, rival=False)


class _Hall:
    """The scheduler with its shell, its worker and its prober."""

    def __init__(
        self, ground: Ground, jobs: Sequence[Job], *, every_listing: bool, plan: tuple[Instance, Plan] | None
    ) -> None:
        self._ground = ground
        self._timeline = ground.timeline
        rules = ground.policy.scheduler
        quiet = msgspec.structs.replace(rules, heartbeat_ms=NEVER_MS, session_dead_ms=2 * NEVER_MS)
        self._policy = msgspec.structs.replace(ground.policy, scheduler=quiet)
        self._scheduler = Scheduler(self._policy, self._timeline)
        self._jobs = {job.id: job for job in jobs}
        self._rows: dict[str, Task] = {}
        self._attempts: dict[int, Attempt] = {}
        self._numbers: dict[tuple[str, int], int] = {}
        self._signals: deque[sig.Signal] = deque()
        self._handling = False
        self._alarm_ms: int | None = None
        self._count = 0
        self._swaps = Swaps(ground, self._tell, self._next_number)
        self._pending = 0
        """Things in the timeline that may still move a job: arrivals, outages, ends of commands."""
        self._plan = plan
        self._every_listing = every_listing
        self._listed: dict[str, tuple[EndpointView, tuple[Resident, ...] | bool | None] | None] = {}
        """What the scheduler had each endpoint for after its last listing, and what that one showed."""
        self._idle_listings = 0

    # The day

    def open(self, outages: Sequence[Outage], command_slots: int) -> None:
        """Register the fleet, have the worker join, and enter what will come."""
        jobs = list(self._jobs.values())
        self._ground.enter(jobs)
        requires = frozenset[str]().union(*(job.spec.requires for job in jobs))
        offer = WorkerOffer(
            name=SESSION,
            host=SESSION,
            slots={TaskKind.COMMAND: command_slots, TaskKind.CHAT: ANY_NUMBER, TaskKind.AGENT: ANY_NUMBER},
            capabilities=requires,
            builtin=True,
        )
        now_ms = self._timeline.time_ms
        self._tell(sig.WorkerJoined(session=Session(id=SESSION, offer=offer, joined_ms=now_ms, renewed_ms=now_ms)))
        for endpoint in sorted(self._ground.fleet.offers):
            self._tell(sig.EndpointAdded(spec=self._ground.fleet.endpoint(endpoint)))
            self._list(endpoint)
        for outage in outages:
            self._enter(outage.from_ms, lambda site=outage.site: self._fail(site))  # type: ignore[misc]
            if outage.until_ms is not None:
                self._enter(outage.until_ms, lambda site=outage.site: self._recover(site))  # type: ignore[misc]
        by_instant: dict[int, list[Job]] = {}
        for job in jobs:
            by_instant.setdefault(job.arrival_ms, []).append(job)
        for offset_ms, together in sorted(by_instant.items()):
            self._enter(offset_ms, lambda jobs=together: self._arrive(jobs))  # type: ignore[misc]
        self._next_listings()

    def play(self) -> None:
        """Let time pass until nothing more can happen."""
        while not self._ground.all_ended and not self._is_stuck() and self._timeline.step():
            pass
        for job_id, ending in self._ground.endings.items():
            if ending.ended_ms is None:
                wait = self._scheduler.wait_of(job_id)
                row = self._rows.get(job_id)
                ending.state = "waiting" if row is None or row.state is TaskState.QUEUED else row.state.value
                ending.reason = f"{wait.code.value}: {wait.detail}" if wait is not None else ""

    def _is_stuck(self) -> bool:
        """Whether only listings are left, and they have had the chance to change something."""
        busy = self._pending or self._attempts or len(self._swaps) or self._alarm_ms is not None
        busy = busy or any(machine.is_changing for machine in self._ground.machines().values())
        if busy:
            self._idle_listings = 0
        return self._idle_listings > 2 + self._policy.scheduler.failures_to_down

    def _enter(self, offset_ms: int, action: Callable[[], None]) -> None:
        self._pending += 1

        def act() -> None:
            self._pending -= 1
            action()

        self._timeline.at(self._ground.instant(offset_ms), act)

    def _arrive(self, jobs: Sequence[Job]) -> None:
        first, now_ms = len(self._rows) + 1, self._timeline.time_ms
        settled = self._settled(jobs)
        # A plan must be in force before its tasks are eligible: they begin a millisecond after they came.
        not_before_ms = now_ms + 1 if self._plan is not None else None
        specs = [_freed(job, not_before_ms) for job in jobs]
        rows = new_tasks(specs, self._policy, first_seq=first, now_ms=now_ms, settled=settled)
        tasks = []
        for job, row in zip(jobs, rows, strict=True):
            task = msgspec.structs.replace(row.task, facts=told_of(job, row.task.facts, self._policy))
            self._rows[job.id] = task
            tasks.append(task)
            if task.eligible_ms is not None:
                self._ground.endings[job.id].eligible_ms = self._ground.offset_ms
        self._tell(sig.TasksAccepted(tasks=tuple(tasks), settled=settled))
        if self._plan is not None:
            self._adopt(jobs[0].spec.batch or "", *self._plan)
            self._plan = None

    def _adopt(self, batch: str, instance: Instance, plan: Plan) -> None:
        now_ms = self._timeline.time_ms
        guide = guide_of(plan, instance, batch=batch, version=1, started_ms=now_ms, reason="start")
        self._tell(sig.PlanAdopted(guide=guide))

    def _settled(self, jobs: Sequence[Job]) -> dict[str, bool]:
        """Needs of arriving tasks on tasks that have ended, and whether they are met."""
        ended = (row for job in jobs for need in job.spec.needs if (row := self._rows.get(need)) is not None)
        return {row.id: need_is_met(row.state, optional=row.optional) for row in ended if row.state in FINAL_STATES}

    # Listings and outages

    def _next_listings(self) -> None:
        self._timeline.at(self._timeline.time_ms + self._policy.scheduler.probe_interval_ms, self._listings)

    def _listings(self) -> None:
        self._idle_listings += 1
        for endpoint in sorted(self._ground.fleet.offers):
            if self._every_listing or not self._is_known(endpoint):
                self._list(endpoint)
        self._next_listings()

    def _is_known(self, endpoint: str) -> bool:
        """Whether a listing would tell the scheduler nothing: the same as the last one, and nothing has changed since
        in what the scheduler has the endpoint for.
        """
        view = self._scheduler.books.endpoints.views[endpoint]
        return self._listed.get(endpoint) == (view, self._shown(endpoint)) and view.health is not Health.UNKNOWN

    def _shown(self, endpoint: str) -> tuple[Resident, ...] | bool | None:
        """What a listing would show of memory; `False` = it would fail."""
        site = self._ground.site_of(endpoint)
        return site.residents() if site.up else False

    def _list(self, endpoint: str) -> None:
        site = self._ground.site_of(endpoint)
        now_ms = self._timeline.time_ms
        if not site.up:
            probe = Probe(endpoint=endpoint, status=ProbeStatus.UNAVAILABLE, at_ms=now_ms, message="simulated outage")
        else:
            probe = Probe(
                endpoint=endpoint,
                status=ProbeStatus.AVAILABLE,
                at_ms=now_ms,
                models=self._ground.fleet.offers[endpoint],
                residents=site.residents(),
            )
        self._tell(sig.Probed(probe=probe))
        view = self._scheduler.books.endpoints.views[endpoint]
        settled = view.health is (Health.UP if site.up else Health.DOWN)
        self._listed[endpoint] = (view, self._shown(endpoint)) if settled else None

    def _fail(self, site: str) -> None:
        self._ground.sites[site].fail()
        self._swaps.lost(site)

    def _recover(self, site: str) -> None:
        self._ground.sites[site].recover()

    # The scheduler

    def _tell(self, signal: sig.Signal) -> None:
        """Hand a signal over, and all that follow from it, one after the other."""
        self._signals.append(signal)
        if self._handling:
            return
        self._handling = True
        while self._signals:
            for effect in self._scheduler.handle(self._signals.popleft(), self._timeline.time_ms):
                self._carry_out(effect)
        self._handling = False
        self._set_alarm()

    def _set_alarm(self) -> None:
        due_ms = self._scheduler.next_wake_ms()
        if due_ms is None or due_ms > self._timeline.start_ms + NEVER_MS // 2:
            self._alarm_ms = None
        elif due_ms != self._alarm_ms:
            self._alarm_ms = due_ms
            self._timeline.at(due_ms, self._ring)

    def _ring(self) -> None:
        if self._alarm_ms is not None and self._alarm_ms <= self._timeline.time_ms:
            self._alarm_ms = None
            self._tell(sig.Wake())

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Apply(command=UpdateTask() as command):
                self._update(command.task)
            case Assign():
                self._update(effect.command.task)
                self._assign(effect)
            case Stop():
                self._stop(effect)
            case ProbeNow():
                endpoint = effect.endpoint
                self._timeline.at(self._timeline.time_ms, lambda: self._list(endpoint))
            case LoadModel() | UnloadModel():
                self._swaps.begin(effect)
            case Replan():
                self._signals.append(sig.PlanDropped(batch=effect.batch, reason=effect.reason))
            case Emit() | Apply():
                pass

    def _update(self, task: Task) -> None:
        self._rows[task.id] = task
        if task.state in FINAL_STATES:
            self._ground.end(task.id, task.state.value, task.failure.message if task.failure is not None else "")
        elif task.state is TaskState.QUEUED and task.eligible_ms is not None:
            ending = self._ground.endings[task.id]
            if ending.eligible_ms is None:
                ending.eligible_ms = self._ground.offset_ms

    # The worker

    def _assign(self, effect: Assign) -> None:
        task = effect.command.task
        job = self._jobs[task.id]
        ending = self._ground.endings[task.id]
        ending.attempts, ending.endpoint, ending.model = task.generation, task.endpoint, task.model
        number = self._next_number()
        self._attempts[number] = Attempt(task_id=task.id, generation=task.generation, endpoint=task.endpoint)
        self._numbers[task.id, task.generation] = number
        now_ms = self._timeline.time_ms
        self._signals.append(
            sig.Reported(session_id=SESSION, report=Started(task_id=task.id, generation=task.generation, at_ms=now_ms))
        )
        duration_ms = self._ground.service_ms(job, task.facts, task.model)
        if task.endpoint is None or task.model is None:
            self.began(number)
            self._timeline.at(now_ms + duration_ms, lambda: self.ended(number))
            return
        order = Order(number=number, model=task.model, duration_ms=duration_ms, prompt_tokens=task.facts.prompt_tokens)
        self._ground.site_of(task.endpoint).call(order)

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    def _stop(self, effect: Stop) -> None:
        number = self._numbers.get((effect.task_id, effect.generation))
        if number is None or number not in self._attempts:
            return
        endpoint = self._attempts[number].endpoint
        if endpoint is not None:
            self._ground.site_of(endpoint).hang_up(number)
        self.failed(number, FailureClass.CANCELLED, "stopped", None)

    def began(self, number: int) -> None:
        """A call has its slot."""
        self._ground.endings[self._attempts[number].task_id].began_ms = self._ground.offset_ms

    def ended(self, number: int) -> None:
        """A call is done."""
        if self._swaps.ended(number):
            return
        attempt = self._close(number)
        if attempt is None:
            return
        row = self._rows[attempt.task_id]
        if attempt.endpoint is not None and row.model is not None:
            self._ground.charge(self._jobs[attempt.task_id], row.facts, attempt.endpoint, row.model)
        self._finish(attempt, None)

    def failed(self, number: int, kind: FailureClass, message: str, retry_after_ms: int | None) -> None:
        """A call came to nothing."""
        if self._swaps.failed(number, message):
            return
        attempt = self._close(number)
        if attempt is not None:
            now_ms = self._timeline.time_ms
            self._finish(attempt, Failure(kind=kind, message=message, at_ms=now_ms, retry_after_ms=retry_after_ms))

    def unloaded(self, site: str, model: str) -> None:
        """A model has left the memory of a machine; but for its own swaps, the scheduler hears of it by listings."""
        self._swaps.unloaded(site, model)

    def _close(self, number: int) -> Attempt | None:
        attempt = self._attempts.pop(number, None)
        if attempt is not None:
            del self._numbers[attempt.task_id, attempt.generation]
        return attempt

    def _finish(self, attempt: Attempt, failure: Failure | None) -> None:
        report = Finished(
            task_id=attempt.task_id,
            generation=attempt.generation,
            at_ms=self._timeline.time_ms,
            ok=failure is None,
            failure=failure,
        )
        self._tell(sig.Reported(session_id=SESSION, report=report))


def _freed(job: Job, not_before_ms: int | None) -> TaskSpec:
    """The task without what binds it to machines that are not simulated."""
    return msgspec.structs.replace(job.spec, worker=None, repo=None, not_before_ms=not_before_ms)
