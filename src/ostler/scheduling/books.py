"""The actor's state, and the one way to change a task in it.

`Books` holds everything the scheduler knows; `Turn` is one `handle`: it collects effects while the modules of this
package change the books. Invariant: a task's row in `Books.tasks` is always the row the store will have once all
effects so far are applied; a refusal replaces it by the stored one.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

import msgspec

from ostler.budget.alerts import Told
from ostler.budget.mirror import Mirror
from ostler.domain.clock import Clock
from ostler.domain.commands import UpdateTask
from ostler.domain.decision import Decision
from ostler.domain.event import Event, Scalar
from ostler.domain.fleet import FleetSnapshot, ModelAt, Session, SwapEstimate
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.policy import Policy
from ostler.domain.states import FINAL_STATES, TaskState, Wait, may_move
from ostler.domain.tasks import Attempt, Task
from ostler.scheduling.answers import AnswerLengths
from ostler.scheduling.aside import Aside
from ostler.scheduling.batches import Batches
from ostler.scheduling.calls import Calls
from ostler.scheduling.dependencies import Dependencies
from ostler.scheduling.effects import Apply, Effect, Emit
from ostler.scheduling.endpoints import Endpoints
from ostler.scheduling.exploring import Exploration
from ostler.scheduling.followed import Followed
from ostler.scheduling.hosts import Hosts
from ostler.scheduling.open_tasks import OpenTasks
from ostler.scheduling.parts import Parts
from ostler.scheduling.paths import Paths
from ostler.scheduling.queue import WaitingQueue
from ostler.scheduling.timers import Timers
from ostler.scheduling.verdicts import Verdicts
from ostler.scheduling.windows_told import WindowsTold
from ostler.scheduling.workers import Workers


class Heard:
    """What was heard of attempts themselves."""

    def __init__(self) -> None:
        self.at_ms: dict[str, int] = {}
        """Running tasks -> newest sign of life."""
        self.ends: OrderedDict[tuple[str, int], int] = OrderedDict()
        """Attempts whose end was taken in lately -> its instant: the same end again is no news."""


class Books:
    """All state of the scheduler."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self.policy = policy
        self.clock = clock
        """For the stopwatch only; instants come with each signal."""
        self.tasks, self.queue = OpenTasks(), WaitingQueue()
        """Every task that is not final."""
        self.attempts: dict[str, Attempt] = {}
        """The newest attempt of each leased task."""
        self.calls = Calls()
        self.verdicts = Verdicts()
        self.aside = Aside(self.tasks, self.queue)
        self.dependencies = Dependencies()
        self.workers = Workers()
        self.endpoints = Endpoints(policy.scheduler)
        self.timers = Timers()
        self.money = Mirror()
        self.parts = Parts()
        self.answers = AnswerLengths()
        self.exploration = Exploration()
        self.agent_paid: dict[str, int] = {}
        """What the calls of leased agents' tasks had cost when their attempt began."""
        self.crossed: dict[tuple[str, str], frozenset[Told]] = {}
        """What was told of limits, by limit and whose it is."""
        self.allowances = WindowsTold()
        self.batches = Batches()
        self.in_flight: dict[str, int] = {}
        self.in_flight_by_model: dict[tuple[str, str], int] = {}
        self.hosts = Hosts(self.in_flight_by_model)
        self.paths = Paths()
        self.following: dict[str, Followed] = {}
        """Plans in force, by batch."""
        self.unplanned: dict[str, int] = {}
        """Tasks that wait for the plan of their run -> until when at the latest."""
        self.listened_ms: int | None = None
        """Instant of the last signal, as the clock said then; it may have been put back since."""
        self.seen_ms = 0
        """Instant of the newest signal."""
        self.swap_costs: Callable[[int], Mapping[ModelAt, SwapEstimate]] = lambda _: {}
        """What loading would take, at an instant; given by the actor, for it looks at all of these books."""
        self.repo_hosts: dict[str, str] = {}
        self.cancelling: dict[str, str] = {}
        """Leased tasks that are being stopped, with the reason."""
        self.handed: dict[str, int] = {}
        """Waiting tasks -> tokens of the results that came in for them so far; goes into the row with the last one."""
        self.heard = Heard()
        self.fallback_emitted: set[str] = set()
        """Queued tasks whose fallback instant has been announced in this stay in the queue."""
        self.tier_down_since: dict[str, int] = {}
        self.tier_alerted: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        """Tasks that ended since the start, by final state."""

    def snapshot(self, now_ms: int) -> FleetSnapshot:
        """What a decision sees: views on these books, so it costs nothing to take and is valid for this turn only."""
        return FleetSnapshot(
            endpoints=self.endpoints.views,
            by_model=self.endpoints.by_model,
            reports=self.workers.reports,
            in_flight=self.in_flight,
            in_flight_by_model=self.in_flight_by_model,
            repo_hosts=self.repo_hosts,
            swaps=self.swap_costs(now_ms) if self.hosts else {},
            speeds=self.hosts.speeds.effective,
            spent=self.money.spent,
            parts=self.parts.of,
            outputs=self.answers.expected,
            explore=self.may_explore(now_ms),
            allowances=tuple(self.allowances.known.values()),
            taken_ms=now_ms,
        )

    def lease_ms(self, session: Session) -> int:
        """How long a worker may be silent before it is lost."""
        return session.lease_ms or self.policy.scheduler.session_dead_ms

    def may_explore(self, now_ms: int) -> bool:
        """Whether there is money left for exploring what costs more than the best choice."""
        limit = int(self.policy.learning.explore_usd_day * MICRO_USD_PER_USD)
        return self.exploration.left(now_ms, limit) > 0

    def reached_from(self, session_id: str) -> list[str]:
        """Of the endpoints tied to their machine, those that a worker reaches."""
        state = self.workers.states[session_id]
        return self.endpoints.reached_from(state.hosts(), by_hub=state.session.offer.builtin)

    def has_slot(self, name: str) -> bool:
        """Whether a call may go to an endpoint now."""
        view = self.endpoints.views.get(name)
        return view is not None and view.usable and self.in_flight.get(name, 0) < view.slots

    def take_slot(self, endpoint: str | None, model: str | None) -> None:
        """Count an attempt in flight."""
        if endpoint is None:
            return
        self.in_flight[endpoint] = self.in_flight.get(endpoint, 0) + 1
        if model is not None:
            key = (endpoint, model)
            self.in_flight_by_model[key] = self.in_flight_by_model.get(key, 0) + 1

    def free_slot(self, endpoint: str | None, model: str | None) -> None:
        """An attempt ended; its place is offered to what waits for its endpoint."""
        if endpoint is None:
            return
        self.in_flight[endpoint] -= 1
        if not self.in_flight[endpoint]:
            del self.in_flight[endpoint]
        if model is not None:
            key = (endpoint, model)
            self.in_flight_by_model[key] -= 1
            if not self.in_flight_by_model[key]:
                del self.in_flight_by_model[key]
        self.queue.free(endpoint)


class Turn:
    """One `handle`: the instant, the books and the effects so far."""

    def __init__(self, books: Books, now_ms: int) -> None:
        self.books = books
        self.now_ms = now_ms
        self.effects: list[Effect] = []
        self.settling: deque[Task] = deque()
        """Tasks that ended and whose dependents are not settled yet (see `intake.settle_dependents`)."""

    def emit(self, *events: Event) -> None:
        """Publish events that change no task."""
        self.effects.extend(Emit(event=event) for event in events)

    def moved(self, task: Task, to_state: TaskState, **changes: object) -> Task:
        """The row after a transition; everything that a state forbids is cleared here and nowhere else."""
        if not may_move(task.state, to_state):
            msg = f"{task.id}: {task.state} -> {to_state} is no legal transition"
            raise AssertionError(msg)
        cleared: dict[str, object] = {"state": to_state, "prev_state": task.state, "updated_ms": self.now_ms}
        if to_state is not TaskState.QUEUED:
            cleared["wait"] = None
        if to_state in FINAL_STATES:
            cleared["finished_ms"] = self.now_ms
        elif task.finished_ms is not None:
            cleared["finished_ms"] = None
        if to_state in (TaskState.QUEUED, TaskState.RETRY_WAIT, TaskState.NEEDS_HUMAN) or to_state in FINAL_STATES:
            cleared["session"] = None
        return msgspec.structs.replace(task, **(cleared | changes))

    def store(
        self,
        before: Task,
        after: Task,
        *events: Event,
        attempt: Attempt | None = None,
        decision: Decision | None = None,
        output: str | None = None,
    ) -> UpdateTask:
        """The command for a transition; `after` is the truth from now on."""
        if after.state in FINAL_STATES:
            self.books.tasks.drop(after.id)
            self.books.paths.drop(after.id)
            self.books.unplanned.pop(after.id, None)
            self.books.attempts.pop(after.id, None)
            self.books.heard.at_ms.pop(after.id, None)
            self.books.ended[after.state.value] = self.books.ended.get(after.state.value, 0) + 1
        else:
            self.books.tasks[after.id] = after
        return UpdateTask(
            task=after,
            expect_generation=before.generation,
            expect_states=(before.state,),
            events=events,
            attempt=attempt,
            decision=decision,
            output=output,
        )

    def apply(self, command: UpdateTask) -> None:
        """Have the shell store a transition."""
        self.effects.append(Apply(command=command))

    def task_event(
        self,
        name: str,
        task: Task,
        measurements: Mapping[str, int | float] | None = None,
        **metadata: Scalar,
    ) -> Event:
        """An event about a task in its new state."""
        meta: dict[str, Scalar] = {
            "state": task.state.value,
            "prev_state": task.prev_state.value if task.prev_state is not None else None,
            "generation": task.generation,
        }
        return Event(
            name=name,
            at_ms=self.now_ms,
            task_id=task.id,
            measurements=measurements or {},
            metadata=meta | metadata,
        )

    def route_meta(self, task: Task) -> dict[str, Scalar]:
        """Where the newest attempt of a task is, for events."""
        return {"worker": task.worker, "endpoint": task.endpoint, "model": task.model, "tier": task.tier}

    def wait(self, wait: Wait) -> str:
        """A wait reason in one line."""
        return f"{wait.code.value}: {wait.detail}" if wait.detail else wait.code.value
