"""From what a user asked for to the rows that are stored: pure, so that `route` and `submit` cannot differ.

All or none: one bad task refuses the whole batch, with the task named, before anything is written.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from ostler.domain.commands import NewTask
from ostler.domain.errors import InvalidInputError, LimitReachedError, nearest
from ostler.domain.event import Event
from ostler.domain.policy import Policy
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Task, TaskFacts, TaskKind, TaskSpec
from ostler.domain.trace import Trace
from ostler.learning.kinds import Reader
from ostler.routing.aim import find_aim
from ostler.routing.facts import describe
from ostler.routing.handing import handed_needs
from ostler.routing.ladder import ladder_of
from ostler.scheduling.dependencies import check_cycle
from ostler.scheduling.intake import Settled


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at this moment: what is registered, and what texts of known types teach. `all_listed`: every
    endpoint has answered a listing at least once.
    """

    endpoints: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    all_listed: bool = False
    reader: Reader | None = None
    """Tells the type of a text; `None` = the tables of words alone."""


NO_FLEET = Fleet()
MAX_ID_LENGTH = 128
MAX_BATCH = 10_000
MAX_TITLE_LENGTH = 80
OPEN_TASKS_MAX = 1_000_000
FULL_MS = 60_000
"""After which one may ask again whether there is room."""
HELD = "held; put into a batch (`ostler batch`) or resumed, it goes on"


def check_batch(specs: Sequence[TaskSpec], known: Mapping[str, object]) -> None:
    """Refuse double ids, needs that nobody knows, and rings. `known`: needed tasks outside the batch that exist."""
    if not specs:
        raise InvalidInputError("no tasks were given", where="tasks", remedy="send at least one")
    if len(specs) > MAX_BATCH:
        raise InvalidInputError(f"{len(specs)} tasks at once", where="tasks", remedy=f"send at most {MAX_BATCH}")
    ids: set[str] = set()
    for spec in specs:
        if not spec.id or len(spec.id) > MAX_ID_LENGTH or not spec.id.isprintable() or " " in spec.id:
            remedy = f"1 to {MAX_ID_LENGTH} printable characters without spaces"
            raise InvalidInputError(f"{spec.id!r} is no task id", where="tasks.id", remedy=remedy)
        if spec.id in ids:
            raise InvalidInputError(f"two tasks have the id {spec.id}", where="tasks.id", remedy="rename one")
        ids.add(spec.id)
    for spec in specs:
        for need in spec.needs:
            if need not in ids and need not in known:
                where = f"task {spec.id}, needs"
                others = ids - {spec.id}
                remedy = nearest(need, others) if others else "'ostler tasks list' shows what there is"
                raise InvalidInputError(f"there is no task {need}", where=where, remedy=remedy)
    check_cycle({spec.id: spec.needs for spec in specs})


def check_room(specs: Sequence[TaskSpec], open_tasks: Container[str], count: int, most: int) -> None:
    """Refuse tasks beyond `most` open ones. Those that are open are not counted again: a submit may be repeated.

    `count`: open tasks. 0 = any number.
    """
    new = sum(spec.id not in open_tasks for spec in specs) if most else 0
    if new and count + new > most:
        what = f"{count} tasks have not ended, and no more than {most} may be open"
        remedy = "hand them in when some have ended, or raise hub.max_open_tasks"
        raise LimitReachedError(what, where="tasks", remedy=remedy, retry_after_ms=FULL_MS)


def outside_needs(specs: Sequence[TaskSpec]) -> list[str]:
    """Needed tasks that are not in the batch."""
    ids = {spec.id for spec in specs}
    return sorted({need for spec in specs for need in spec.needs} - ids)


def new_tasks(
    specs: Sequence[TaskSpec],
    policy: Policy,
    *,
    first_seq: int,
    now_ms: int,
    settled: Mapping[str, bool],
    lengths: Mapping[str, int] = MappingProxyType({}),
    fleet: Fleet = NO_FLEET,
    local: Collection[str] = (),
) -> list[NewTask]:
    """Rows for a checked batch. `settled` and `lengths`: needed tasks that ended before (see `signals.TasksAccepted`);
    `local`: needed tasks outside of the batch that are local only.

    Raises `InvalidInputError` for what neither profile nor fleet can resolve.
    """
    described = [as_it_runs(spec, policy, fleet) for spec in specs]
    private = _private(specs, local)
    described = [
        (spec, msgspec.structs.replace(facts, local_only=True) if spec.id in private else facts)
        for spec, facts in described
    ]
    return [
        _new_task(spec, facts, policy, seq=first_seq + offset, now_ms=now_ms, settled=Settled(settled, lengths))
        for offset, (spec, facts) in enumerate(described)
    ]


def traced(rows: Iterable[NewTask], trace: Trace | None) -> list[NewTask]:
    """The same rows as parts of a trace. It is no part of what was asked for, so a repeated submit is a duplicate
    whatever trace it comes with.
    """
    if trace is None:
        return list(rows)
    return [msgspec.structs.replace(row, task=msgspec.structs.replace(row.task, trace=trace)) for row in rows]


def _private(specs: Sequence[TaskSpec], local: Collection[str]) -> frozenset[str]:
    """Tasks that are local only, by their own word or because they are handed what came out of one that is."""
    takers: dict[str, list[str]] = {}
    for spec in specs:
        for need in handed_needs(spec):
            takers.setdefault(need, []).append(spec.id)
    todo = [*local, *(spec.id for spec in specs if spec.local_only)]
    found: set[str] = set()
    while todo:
        task_id = todo.pop()
        if task_id not in found:
            found.add(task_id)
            todo += takers.get(task_id, ())
    return frozenset(found)


def as_it_runs(spec: TaskSpec, policy: Policy, fleet: Fleet) -> tuple[TaskSpec, TaskFacts]:
    """A task and its facts, as it will be run: trivial work that carries a command is that command.

    What is wrong with it is told with its id.
    """
    try:
        facts = describe(spec, policy, endpoints=fleet.endpoints, reader=fleet.reader)
        _check_model(facts, policy, fleet)
    except InvalidInputError as error:
        where = f"task {spec.id}, {error.where}" if error.where else f"task {spec.id}"
        raise InvalidInputError(error.what, where=where, remedy=error.remedy) from None
    if facts.kind is TaskKind.COMMAND or not spec.argv:
        return spec, facts
    if not find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=ladder_of(policy.catalog)).direct:
        return spec, facts
    kind = TaskKind.COMMAND
    return msgspec.structs.replace(spec, kind=kind), msgspec.structs.replace(facts, kind=kind)


def _check_model(facts: TaskFacts, policy: Policy, fleet: Fleet) -> None:
    """Refuse a model that nobody knows. As long as an endpoint has not been listed, it may be the one that does."""
    if not fleet.all_listed:
        return
    known = {*policy.catalog.models, *fleet.models}
    own = [("model", facts.model), *(("fallback_models", model) for model in facts.fallback_models)]
    for where, model in own:
        if model is not None and model not in known:
            what = f"neither the profile nor any endpoint has a model '{model}'"
            raise InvalidInputError(what, where=where, remedy=nearest(model, known))


def _new_task(spec: TaskSpec, facts: TaskFacts, policy: Policy, *, seq: int, now_ms: int, settled: Settled) -> NewTask:
    state, wait = _first_state(spec, now_ms, settled.met)
    ready = wait is not None and wait.code is WaitCode.READY
    rules = policy.scheduler
    task = Task(
        id=spec.id,
        seq=seq,
        state=state,
        facts=facts,
        priority=spec.priority,
        needs=spec.needs,
        optional=spec.optional,
        paused=spec.held,
        wait=wait,
        max_attempts=spec.max_attempts if spec.max_attempts is not None else rules.max_attempts,
        ttl_ms=spec.ttl_ms if spec.ttl_ms is not None else rules.task_ttl_ms,
        not_before_ms=spec.not_before_ms,
        created_ms=now_ms,
        eligible_ms=now_ms if ready else None,
        queued_ms=now_ms,
        updated_ms=now_ms,
        batch=spec.batch,
        title=spec.title or _title(spec),
        phase=spec.phase,
        handed_tokens=sum(settled.lengths.get(need, 0) for need in facts.takes) if ready else 0,
    )
    event = Event(
        name="task.submitted",
        at_ms=now_ms,
        task_id=spec.id,
        metadata={
            "state": state.value,
            "prev_state": None,
            "generation": 0,
            "kind": spec.kind.value,
            "priority": spec.priority.name.lower(),
            "wait": wait.code.value if wait is not None else None,
        },
    )
    return NewTask(task=task, spec=spec, event=event)


def _first_state(spec: TaskSpec, now_ms: int, settled: Mapping[str, bool]) -> tuple[TaskState, Wait | None]:
    open_needs = [need for need in spec.needs if not settled.get(need, False)]
    if open_needs:
        detail = "needs " + ", ".join(sorted(open_needs))
        return TaskState.QUEUED, Wait(code=WaitCode.DEPS, since_ms=now_ms, detail=detail)
    if spec.not_before_ms is not None and spec.not_before_ms > now_ms:
        return TaskState.SCHEDULED, None
    if spec.held:
        return TaskState.QUEUED, Wait(code=WaitCode.PAUSED, since_ms=now_ms, detail=HELD)
    return TaskState.QUEUED, Wait(code=WaitCode.READY, since_ms=now_ms)


def _title(spec: TaskSpec) -> str:
    text = " ".join(spec.argv) if spec.argv else spec.prompt
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= MAX_TITLE_LENGTH else line[: MAX_TITLE_LENGTH - 1] + "…"


def disagreement(facts: TaskFacts, now_ms: int) -> Event | None:
    """The event for an explicit complexity that the heuristic contradicts."""
    found = facts.classification
    if not found.disagrees:
        return None
    return Event(
        name="scheduler.classification_disagreement",
        at_ms=now_ms,
        task_id=facts.id,
        measurements={"confidence": found.confidence},
        metadata={
            "task_id": facts.id,
            "explicit_tier": found.complexity.value,
            "inferred_tier": found.inferred_complexity.value,
        },
    )
