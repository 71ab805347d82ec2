"""Tasks and commands as the tests of the store need them: small, valid, and easy to bend out of shape."""

import msgspec

from ostler.domain.catalog import CostClass, EndpointKind, EndpointSpec
from ostler.domain.commands import NewTask, SubmitTasks, UpdateTask
from ostler.domain.decision import Candidate, Decision, TargetType
from ostler.domain.event import Event
from ostler.domain.fleet import Session, WorkerOffer
from ostler.domain.live import CallAttempt, CallDecision, CallRecord, GatewayKey
from ostler.domain.loops import Loop, LoopRun, LoopStatus
from ostler.domain.measured import Measured, Measurement, Quantity
from ostler.domain.observations import Observation
from ostler.domain.plans import StoredPlan
from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Classification, Complexity, Task, TaskFacts, TaskKind, TaskSpec

NOW_MS = 1_700_000_000_000
READY = Wait(code=WaitCode.READY, since_ms=NOW_MS)
CLASSIFICATION = Classification(
    complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="bugfix", source="heuristic"
)


def make_task(task_id: str = "t1", seq: int = 1, state: TaskState = TaskState.QUEUED, **changes: object) -> Task:
    """A task that may be stored, in any state; `changes` are fields."""
    task = Task(
        id=task_id,
        seq=seq,
        state=state,
        facts=TaskFacts(id=task_id, kind=TaskKind.CHAT, classification=CLASSIFICATION),
        created_ms=NOW_MS,
        updated_ms=NOW_MS,
        **needed_by(state),  # type: ignore[arg-type]
    )
    return msgspec.structs.replace(task, **changes)


def needed_by(state: TaskState) -> dict[str, object]:
    """The fields that belong to a state and to no other."""
    return {
        "wait": READY if state is TaskState.QUEUED else None,
        "finished_ms": NOW_MS if state in FINAL_STATES else None,
        "session": "s1" if state in LEASED_STATES else None,
    }


def make_spec(task_id: str = "t1", prompt: str = "hello") -> TaskSpec:
    """A spec; another prompt is another content."""
    return TaskSpec(id=task_id, prompt=prompt)


def make_event(task_id: str | None = "t1", name: str = "task.queued", **metadata: str | int | None) -> Event:
    """An event as a caller hands it over: without a number."""
    return Event(name=name, at_ms=NOW_MS, task_id=task_id, metadata=metadata)


def make_new(task_id: str = "t1", seq: int = 1, prompt: str = "hello", **changes: object) -> NewTask:
    """A task to submit."""
    return NewTask(
        task=make_task(task_id, seq, **changes),  # type: ignore[arg-type]
        spec=make_spec(task_id, prompt),
        event=make_event(task_id, "task.submitted"),
    )


def make_submit(*task_ids: str, first_seq: int = 1) -> SubmitTasks:
    """Submit tasks with these ids, numbered upwards."""
    return SubmitTasks(tasks=tuple(make_new(task_id, first_seq + n) for n, task_id in enumerate(task_ids)))


def moved(task: Task, state: TaskState, **changes: object) -> Task:
    """The row after a transition, as a hub makes it; an assignment is a new generation."""
    generation = task.generation + (state is TaskState.ASSIGNED)
    row = {"state": state, "prev_state": task.state, "generation": generation, **needed_by(state)}
    return msgspec.structs.replace(task, **(row | changes))


def make_update(before: Task, state: TaskState, **changes: object) -> UpdateTask:
    """A guarded transition; `changes` are fields of the new row."""
    after = moved(before, state, **changes)
    return UpdateTask(
        task=after,
        expect_generation=before.generation,
        expect_states=(before.state,),
        events=(make_event(before.id, f"task.{state}"),),
    )


def make_attempt(task_id: str = "t1", generation: int = 1, **changes: object) -> Attempt:
    """An attempt on one route."""
    attempt = Attempt(
        task_id=task_id, generation=generation, session="s1", worker="box", tier="standard", assigned_ms=NOW_MS
    )
    return msgspec.structs.replace(attempt, **changes)


def make_decision(task_id: str = "t1", generation: int = 1, summary: str = "the only one") -> Decision:
    """A decision with one candidate."""
    return Decision(
        task_id=task_id,
        generation=generation,
        decided_ms=NOW_MS,
        classification=CLASSIFICATION,
        classification_reason=CLASSIFICATION.reason,
        requested_tier="standard",
        minimum_tier="standard",
        effective_tier="standard",
        target_type=TargetType.LOCAL,
        estimated_cost_tier=CostClass.LOCAL,
        candidates=(Candidate(endpoint="box", model="m", tier="standard", score=0.1, terms={"load": 0.1}),),
        candidate_count=1,
        summary=summary,
    )


def make_session(session_id: str = "s1", joined_ms: int = NOW_MS, renewed_ms: int = NOW_MS) -> Session:
    """A joined worker."""
    offer = WorkerOffer(
        name=f"worker of {session_id}",
        host="box",
        slots={TaskKind.CHAT: 4, TaskKind.COMMAND: 1},
        capabilities=frozenset({"git", "python"}),
    )
    return Session(id=session_id, offer=offer, joined_ms=joined_ms, renewed_ms=renewed_ms)


def make_observation(
    name: str = "o", task_type: str = "docs", model: str = "m", *, success: bool = True
) -> Observation:
    return Observation(
        id=name, at_ms=NOW_MS, task_type=task_type, model=model, success=success, tier="simple", duration_ms=5
    )


def make_loop(name: str = "l", version: int = 1, said: str = "") -> Loop:
    """A loop at a version, under way."""
    run = LoopRun(number=version, due_ms=NOW_MS, started_ms=NOW_MS, said=said)
    return Loop(name=name, version=version, created_ms=NOW_MS, status=LoopStatus.RUNNING, run=run)


def make_measurement(host: str = "box", model: str = "m", samples: int = 1) -> Measurement:
    """How fast a model was seen to load."""
    seen = Measured(weight=float(samples), total=9.5, squares=90.0, samples=samples, updated_ms=NOW_MS)
    return Measurement(host=host, model=model, context_tokens=8192, quantity=Quantity.LOAD_MS, seen=seen)


def make_plan(batch: str = "r1", version: int = 1, body: str = "{}") -> StoredPlan:
    """A version of a plan."""
    return StoredPlan(batch=batch, version=version, at_ms=NOW_MS, after_seq=7, body=body)


def make_endpoint(name: str = "box", url: str = "http://box:11434") -> EndpointSpec:
    """A registered endpoint."""
    return EndpointSpec(
        name=name,
        kind=EndpointKind.OLLAMA,
        url=url,
        provider="ollama",
        host="box",
        local=True,
        slots_per_model={"m": 2},
    )


def make_key(name: str = "laptop", key_hash: str = "h1", **changes: object) -> GatewayKey:
    """A key of the gateway without restrictions; `changes` are fields."""
    return msgspec.structs.replace(GatewayKey(name=name, key_hash=key_hash, created_ms=NOW_MS), **changes)


def make_call(call_id: str = "c-1", at_ms: int = NOW_MS, **changes: object) -> CallRecord:
    """A call that went well; `changes` are fields."""
    record = CallRecord(
        id=call_id, at_ms=at_ms, format="openai_chat", path="/v1/chat/completions", asked_model="m", stream=False,
        status=200, model="m", endpoint="box",
    )  # fmt: skip
    return msgspec.structs.replace(record, **changes)


def make_call_attempt(**changes: object) -> CallAttempt:
    """An attempt of a call; `changes` are fields."""
    attempt = CallAttempt(endpoint="box", model="m", tier="standard", started_ms=NOW_MS, duration_ms=40)
    return msgspec.structs.replace(attempt, **changes)


def make_call_decision(key: str = "d1", used_ms: int = NOW_MS) -> CallDecision:
    """A decision that calls share."""
    return CallDecision(key=key, used_ms=used_ms, decision=make_decision())
