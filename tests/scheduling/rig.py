"""A bench for the actor: signals by hand, a recording store that checks every guard, a clock moved by hand.

The store part is strict: an update whose guard does not hold fails the test at once, unless a refusal was asked for.
So every test here also proves that the actor never writes with a stale generation or from a wrong state.
"""

from collections.abc import Iterable
from itertools import count

import msgspec

from ostler.budget.book import LedgerBook
from ostler.domain.allowances import Reported
from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, ModelSpec, TierSpec
from ostler.domain.commands import LateReport, RefusalReason, Refused, Release, Reserve, Settle, UpdateTask
from ostler.domain.event import CATALOGUE, Event
from ostler.domain.fleet import HeldPhase, ModelAt, Probe, ProbeStatus, Resident, Session, Unloaded, WorkerOffer
from ostler.domain.policy import Policy, RoutingPolicy, SchedulerPolicy
from ostler.domain.states import FINAL_STATES, LEASED_STATES, Failure, FailureClass, TaskState, may_move
from ostler.domain.tasks import Complexity, Task, TaskKind, TaskSpec, Usage
from ostler.domain.work import Finished, Started
from ostler.hub.accept import new_tasks
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Apply, Assign, Effect, Emit, LoadModel, ProbeNow, Stop, UnloadModel

START_MS = 1_000_000


class HandClock:
    """A stopwatch that moves by one microsecond with each look."""

    def __init__(self) -> None:
        self._ticks = count()

    def now_ms(self) -> int:
        return START_MS

    def stopwatch_us(self) -> int:
        return next(self._ticks)


def three_tiers(**routing: object) -> Policy:
    """Trivial runs directly, standard on local hosts, complex in a cloud."""
    catalog = Catalog(
        tiers=(
            TierSpec(name="direct", rank=0, aliases=("trivial",), cost=CostClass.FREE),
            TierSpec(name="standard", rank=1, models=("qwen",), cost=CostClass.LOCAL),
            TierSpec(name="complex", rank=2, models=("claude",), cost=CostClass.METERED),
        ),
        models={
            "qwen": ModelSpec(name="qwen", context_tokens=32_768),
            "claude": ModelSpec(name="claude", context_tokens=200_000, input_usd_per_mtok=3, output_usd_per_mtok=15),
        },
        tier_aliases={"trivial": "direct"},
    )
    mapping = {"trivial": "direct", "standard": "standard", "complex": "complex"}
    return Policy(
        catalog=catalog,
        routing=RoutingPolicy(complexity_tiers=mapping, **routing),  # type: ignore[arg-type]
        scheduler=SchedulerPolicy(session_dead_ms=15_000),
        version="test",
    )


def local(name: str, *, slots: int = 1, host: str | None = None) -> EndpointSpec:
    """An Ollama endpoint on a host of its own name."""
    return EndpointSpec(
        name=name,
        kind=EndpointKind.OLLAMA,
        url=f"http://{name}:11434",
        provider="ollama",
        host=host or name,
        local=True,
        slots=slots,
    )


def cloud(name: str = "anthropic", *, slots: int = 4) -> EndpointSpec:
    """A cloud endpoint."""
    return EndpointSpec(
        name=name,
        kind=EndpointKind.ANTHROPIC,
        url="https://api.example",
        provider=name,
        host=name,
        local=False,
        slots=slots,
        models=("claude",),
    )


class Rig:
    """A scheduler with everything around it played by hand."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or three_tiers()
        self.scheduler = Scheduler(self.policy, HandClock())
        self.now_ms = START_MS
        self.effects: list[Effect] = []
        self.events: list[Event] = []
        self.rows: dict[str, Task] = {}
        self.sent: list[Assign] = []
        self.stops: list[Stop] = []
        self.probes: list[str] = []
        self.loading: list[LoadModel | UnloadModel] = []
        """Loads and unloads that were asked for and have not ended."""
        self.loads: list[LoadModel | UnloadModel] = []
        """All that were ever asked for."""
        self.late: list[LateReport] = []
        self.refuse_next: set[str] = set()
        self.ledger = LedgerBook()
        self._seq = count(1)
        self._sessions = count(1)

    # -- driving ---------------------------------------------------------------------------------------------------

    def tell(self, signal: sig.Signal) -> list[Effect]:
        """Hand a signal over and carry its effects out."""
        effects = self.scheduler.handle(signal, self.now_ms)
        for effect in effects:
            self.carry_out(effect)
        return effects

    def carry_out(self, effect: Effect) -> None:
        """Play the shell for one effect."""
        self.effects.append(effect)
        match effect:
            case Emit():
                self._event(effect.event)
            case Stop():
                self.stops.append(effect)
            case ProbeNow():
                self.probes.append(effect.endpoint)
            case LoadModel() | UnloadModel():
                self._asked_to_load(effect)
            case Assign():
                self._only_to_what_is_loaded(effect)
                if self._update(effect.command):
                    self.sent.append(effect)
            case Apply(command=UpdateTask() as command):
                self._update(command)
            case Apply(command=LateReport() as command):
                self.late.append(command)
                self._event(command.event)
            case Apply(command=Reserve() | Settle() | Release() as command):
                assert self.ledger.apply(command).reason is None
            case _:
                pass

    def _asked_to_load(self, effect: LoadModel | UnloadModel) -> None:
        going = effect.evict if isinstance(effect, LoadModel) else (ModelAt(effect.endpoint, effect.model),)
        for at in going:
            running = [
                row.id
                for row in self.rows.values()
                if row.state in LEASED_STATES and (row.endpoint, row.model) == (at.endpoint, at.model)
            ]
            running += self.also_on(at)
            assert not running, f"{at} is to be unloaded while {running} run on it"
        assert effect.host not in {other.host for other in self.loading}, f"two changes at once on {effect.host}"
        self.loading.append(effect)
        self.loads.append(effect)

    def also_on(self, at: ModelAt) -> list[str]:
        """What else runs on a model: nothing, but see `LiveRig`."""
        return []

    def _only_to_what_is_loaded(self, effect: Assign) -> None:
        task = effect.command.task
        if task.endpoint is not None and task.model is not None:
            self.is_loaded(task.id, task.endpoint, task.model)

    def is_loaded(self, name: str, endpoint: str, model: str) -> None:
        """Fail when a call goes to a managed place that does not have its model."""
        book = self.scheduler.books.hosts.of_endpoint(endpoint)
        if book is None:
            return
        held = book.held.get(ModelAt(endpoint, model))
        assert held is not None, f"{name} was sent to {endpoint}, where {model} is not loaded"
        # Leaving may be decided right after the assignment, in the same turn; the call is waited for then.
        assert held.phase in {HeldPhase.READY, HeldPhase.LEAVING}, f"{name} was sent to a model that is {held.phase}"

    def _update(self, command: UpdateTask) -> bool:
        row = self.rows[command.task.id]
        if command.task.id in self.refuse_next:
            self.refuse_next.discard(command.task.id)
            refused = Refused(reason=RefusalReason.STALE_GENERATION, message="told to refuse", task=row)
            self.tell(sig.CommandRefused(task_id=row.id, generation=command.task.generation, result=refused))
            return False
        judged = self.ledger.apply(command.money) if command.money is not None else None
        if judged is not None and judged.reason is not None:
            refused = Refused(reason=judged.reason, message=judged.message, task=row, limit=judged.limit)
            self.tell(sig.CommandRefused(task_id=row.id, generation=command.task.generation, result=refused))
            return False
        assert row.generation == command.expect_generation, f"stale write: {command}"
        assert row.state in command.expect_states, f"{row.id} is {row.state}, expected {command.expect_states}"
        task = command.task
        assert may_move(row.state, task.state), f"{row.id}: {row.state} -> {task.state}"
        assert task.prev_state is row.state
        assert (task.state is TaskState.QUEUED) == (task.wait is not None), task
        assert (task.state in FINAL_STATES) == (task.finished_ms is not None), task
        assert (task.state in LEASED_STATES) == (task.session is not None), task
        assert command.events, "a change of state without an event"
        self.rows[task.id] = task
        for event in command.events:
            self._event(event)
        return True

    def _event(self, event: Event) -> None:
        kind = CATALOGUE[event.name]
        assert set(event.measurements) <= set(kind.measurements), (event.name, dict(event.measurements))
        assert set(event.metadata) <= set(kind.metadata), (event.name, dict(event.metadata))
        self.events.append(event)

    def pass_ms(self, duration_ms: int) -> None:
        """Let time pass; the scheduler is woken exactly when it asked to be."""
        end_ms = self.now_ms + duration_ms
        for _ in range(100_000):
            due_ms = self.scheduler.next_wake_ms()
            if due_ms is None or due_ms > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = max(self.now_ms, due_ms)
            self.tell(sig.Wake())
        raise AssertionError("the scheduler wants to be woken for ever without time passing")

    # -- the world -------------------------------------------------------------------------------------------------

    def submit(self, *specs: TaskSpec) -> list[str]:
        """Accept tasks as the hub does."""
        rows = new_tasks(specs, self.policy, first_seq=next(self._seq) * 1000, now_ms=self.now_ms, settled={})
        for row in rows:
            self.rows[row.task.id] = row.task
            self._event(row.event)
        self.tell(sig.TasksAccepted(tasks=tuple(row.task for row in rows)))
        return [row.task.id for row in rows]

    def chat(self, task_id: str, complexity: Complexity | None = Complexity.STANDARD, **fields: object) -> str:
        """Submit a chat task."""
        spec = {"id": task_id, "kind": "chat", "prompt": "say something", "complexity": complexity} | fields
        (name,) = self.submit(msgspec.convert(spec, TaskSpec))
        return name

    def command(self, task_id: str, **fields: object) -> str:
        """Submit a command task."""
        (name,) = self.submit(msgspec.convert({"id": task_id, "kind": "command", "argv": ["true"]} | fields, TaskSpec))
        return name

    def worker(
        self,
        name: str = "w1",
        *,
        chat: int = 16,
        command: int = 4,
        capabilities: Iterable[str] = (),
        host: str | None = None,
    ) -> str:
        """Have a worker join; returns its session."""
        offer = WorkerOffer(
            name=name,
            host=host or name,
            slots={TaskKind.CHAT: chat, TaskKind.COMMAND: command, TaskKind.AGENT: chat},
            capabilities=frozenset(capabilities),
        )
        session_id = f"s{next(self._sessions)}"
        session = Session(id=session_id, offer=offer, joined_ms=self.now_ms, renewed_ms=self.now_ms)
        self.tell(sig.WorkerJoined(session=session))
        return session_id

    def up(self, spec: EndpointSpec, *, models: tuple[str, ...] = ("qwen",), residents: tuple[str, ...] = ()) -> None:
        """Register an endpoint if need be and have it listed successfully."""
        if spec.name not in self.scheduler.books.endpoints:
            self.tell(sig.EndpointAdded(spec=spec))
        self.probe(spec.name, ProbeStatus.AVAILABLE, models=models, residents=residents)

    def probe(
        self,
        name: str,
        status: ProbeStatus,
        *,
        models: tuple[str, ...] = (),
        residents: tuple[str, ...] = (),
        retry_after_ms: int | None = None,
    ) -> None:
        """Have one listing come back."""
        listed = tuple(Resident(model=model) for model in residents)
        self.tell(
            sig.Probed(
                probe=Probe(
                    endpoint=name,
                    status=status,
                    at_ms=self.now_ms,
                    models=models,
                    residents=listed,
                    message=status.value,
                    retry_after_ms=retry_after_ms,
                )
            )
        )

    def load_ends(
        self, failure: str = "", *, load_ms: int = 20_000, unload_ms: int = 10_000, size_bytes: int | None = None
    ) -> None:
        """The oldest load or unload ends, `load_ms` (and `unload_ms` for each that goes) later than now."""
        effect = self.loading[0]
        self.pass_ms(load_ms + unload_ms * len(effect.evict) if isinstance(effect, LoadModel) else unload_ms)
        self.load_ended(effect, failure, load_ms=load_ms, unload_ms=unload_ms, size_bytes=size_bytes)

    def load_ended(
        self,
        effect: LoadModel | UnloadModel,
        failure: str = "",
        *,
        load_ms: int = 20_000,
        unload_ms: int = 10_000,
        size_bytes: int | None = None,
    ) -> None:
        """A load or unload has just ended, having taken these times."""
        self.loading.remove(effect)
        problem = Failure(kind=FailureClass.SERVER, message=failure, at_ms=self.now_ms) if failure else None
        if isinstance(effect, UnloadModel):
            self.tell(
                sig.UnloadEnded(
                    endpoint=effect.endpoint,
                    model=effect.model,
                    started_ms=self.now_ms - unload_ms,
                    at_ms=self.now_ms,
                    unload_ms=unload_ms,
                    failure=problem,
                )
            )
            return
        gone = tuple(Unloaded(endpoint=at.endpoint, model=at.model, unload_ms=unload_ms) for at in effect.evict)
        resident = Resident(model=effect.model, context_tokens=effect.context_tokens, size_bytes=size_bytes)
        self.tell(
            sig.LoadEnded(
                endpoint=effect.endpoint,
                model=effect.model,
                context_tokens=effect.context_tokens,
                started_ms=self.now_ms - load_ms - unload_ms * len(gone),
                at_ms=self.now_ms,
                load_ms=0 if failure else load_ms,
                unloaded=gone,
                resident=None if failure else resident,
                failure=problem,
            )
        )

    def down(self, name: str) -> None:
        """Have as many failed listings come back as it takes."""
        for _ in range(self.policy.scheduler.failures_to_down):
            self.probe(name, ProbeStatus.UNAVAILABLE)

    def start(self, task_id: str) -> None:
        """The worker starts the newest attempt."""
        row = self.rows[task_id]
        report = Started(task_id=task_id, generation=row.generation, at_ms=self.now_ms)
        self.tell(sig.Reported(session_id=row.session or "", report=report))

    def finish(
        self,
        task_id: str,
        failure: FailureClass | None = None,
        message: str = "it broke",
        *,
        retry_after_ms: int | None = None,
        output: str = "",
        wants_tool: bool = False,
        usage: Usage | None = None,
        allowances: tuple[Reported, ...] = (),
    ) -> None:
        """The worker starts (if it has not) and finishes the newest attempt."""
        row = self.rows[task_id]
        if row.state is TaskState.ASSIGNED:
            self.start(task_id)
        if failure is None:
            answer = Finished(
                task_id=task_id,
                generation=row.generation,
                at_ms=self.now_ms,
                ok=True,
                output=output,
                wants_tool=wants_tool,
                allowances=allowances,
                usage=usage,
            )
            self.tell(sig.Reported(session_id=row.session or "", report=answer))
        else:
            self.report_finished(task_id, row.generation, row.session or "", failure, message, retry_after_ms, output)

    def report_finished(
        self,
        task_id: str,
        generation: int,
        session: str,
        failure: FailureClass | None = None,
        message: str = "it broke",
        retry_after_ms: int | None = None,
        output: str = "",
    ) -> None:
        """Any worker reports the end of any attempt."""
        problem = (
            None
            if failure is None
            else Failure(kind=failure, message=message, at_ms=self.now_ms, retry_after_ms=retry_after_ms)
        )
        report = Finished(
            task_id=task_id,
            generation=generation,
            at_ms=self.now_ms,
            ok=failure is None,
            failure=problem,
            output=output,
        )
        self.tell(sig.Reported(session_id=session, report=report))

    # -- looking ---------------------------------------------------------------------------------------------------

    def state(self, task_id: str) -> TaskState:
        """Stored state."""
        return self.rows[task_id].state

    def wait_code(self, task_id: str) -> str:
        """Wait reason of this moment."""
        wait = self.scheduler.wait_of(task_id)
        assert wait is not None, f"{task_id} waits without a reason"
        return wait.code.value

    def named(self, name: str) -> list[Event]:
        """Events of one kind, in order."""
        return [event for event in self.events if event.name == name]

    def assignment(self, task_id: str) -> Assign:
        """The newest assignment of a task."""
        return next(effect for effect in reversed(self.sent) if effect.command.task.id == task_id)
