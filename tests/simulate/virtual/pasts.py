"""Histories made by hand or from a simulated run: tasks as a hub remembers them."""

from collections.abc import Sequence

from ostler.domain.policy import Policy
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec, Usage
from ostler.simulate.virtual.fleet import Fleet
from ostler.simulate.virtual.history import Past
from ostler.simulate.virtual.jobs import Workload, facts_of
from ostler.simulate.virtual.records import Run
from tests.simulate.virtual.worlds import job, policy

NOW_MS = 1_700_000_000_000
RULES = policy(cloud=True)


def past(name: str, *, at_ms: int = 0, began_ms: int = 0, work_ms: int = 60_000, **fields: object) -> Past:
    """A task that succeeded on `big`: eligible on arrival, its model at work from `began_ms` on for `work_ms`."""
    plain: dict[str, object] = {
        "model": "big",
        "endpoint": "box-ollama",
        "state": TaskState.SUCCEEDED,
        "load_ms": 0,
        "needs": (),
        "input_tokens": 100,
        "output_tokens": 50,
        "failure": None,
    }
    wish = {**plain, **fields}
    piece = job(name, str(wish["model"]), needs=wish["needs"])
    load_ms = int(str(wish["load_ms"]))
    attempt = Attempt(
        task_id=name,
        generation=1,
        session="s",
        worker="w",
        tier="local",
        endpoint=str(wish["endpoint"]),
        model=str(wish["model"]),
        assigned_ms=NOW_MS + began_ms - load_ms,
        started_ms=NOW_MS + began_ms - load_ms,
        finished_ms=NOW_MS + began_ms + work_ms,
        ok=True,
        usage=Usage(
            input_tokens=int(str(wish["input_tokens"])),
            output_tokens=int(str(wish["output_tokens"])),
            load_ms=load_ms,
        ),
    )
    state = TaskState(str(wish["state"]))
    row = Task(
        id=name,
        seq=at_ms,
        state=state,
        facts=facts_of(piece, RULES),
        needs=piece.spec.needs,
        created_ms=NOW_MS + at_ms,
        eligible_ms=NOW_MS + at_ms,
        updated_ms=NOW_MS + began_ms + work_ms,
        started_ms=attempt.started_ms,
        finished_ms=attempt.finished_ms,
        endpoint=attempt.endpoint,
        model=attempt.model,
        failure=wish["failure"],  # type: ignore[arg-type]
    )
    return Past(task=row, spec=piece.spec, attempt=attempt)


def cancelled(name: str, *, by_hand: bool) -> Past:
    """A task that was cancelled before it ran."""
    kind = FailureClass.CANCELLED if by_hand else FailureClass.DEPENDENCY
    failure = Failure(kind=kind, message="needs x, which ended as failed", at_ms=NOW_MS)
    found = past(name, state=TaskState.CANCELLED, failure=failure)
    return Past(task=found.task, spec=found.spec)


def pasts_of(run: Run, workload: Workload, fleet: Fleet, rules: Policy) -> list[Past]:
    """What a hub would remember of a simulated run."""
    found = []
    for piece in workload.jobs:
        ending = run.endings[piece.id]
        if ending.state != "succeeded" or ending.began_ms is None or ending.ended_ms is None:
            continue
        made = past(
            piece.id,
            at_ms=piece.arrival_ms,
            began_ms=ending.began_ms,
            work_ms=ending.ended_ms - ending.began_ms,
            model=ending.model or "big",
            input_tokens=facts_of(piece, rules).prompt_tokens,
        )
        found.append(made)
    return found


def spec_ids(pasts: Sequence[Past]) -> list[str]:
    """Ids in order."""
    return [one.task.id for one in pasts]


def plain_spec(name: str) -> TaskSpec:
    """A task as handed in."""
    return job(name).spec
