"""What the end of an attempt says about its model: kept as an observation, for learning.

A success counts, verified or reported. A failure counts only when it is the model's own: its work did not pass the
task's checks, it could not do what was asked, it would not, or what it said could not be read. Whatever an endpoint, a
worker, a limit or a person did says nothing about a model and is not kept; nor is a command without any model.
"""

from ostler.domain.commands import PutObservations
from ostler.domain.observations import Observation
from ostler.domain.states import Failure, FailureClass, Outcome
from ostler.domain.tasks import Attempt, Task
from ostler.scheduling import purse
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Apply

OWN_FAILURES = frozenset(
    {FailureClass.VERIFICATION, FailureClass.CAPABILITY, FailureClass.REFUSAL, FailureClass.MALFORMED}
)
"""What a model did itself."""


def note(
    turn: Turn,
    task: Task,
    attempt: Attempt | None,
    *,
    failure: Failure | None = None,
    proof: Outcome = Outcome.REPORTED,
    is_last: bool = False,
) -> None:
    """Keep what an attempt says about its model, if it says anything. `task`: the row before it counts the attempt;
    `is_last`: it failed, and nothing is tried any more.
    """
    cost = purse.cost_of(turn.books, attempt) if attempt is not None else None
    turn.books.agent_paid.pop(task.id, None)
    if attempt is not None and attempt.explored:
        turn.books.exploration.ended(purse.name_of(task.id, attempt.generation), cost, turn.now_ms)
    if task.model is None or (failure is not None and failure.kind not in OWN_FAILURES):
        return
    if failure is not None:
        proof = Outcome.VERIFIED if failure.kind is FailureClass.VERIFICATION else Outcome.REPORTED
    one = Observation(
        id=f"{task.id}:{task.generation}",
        at_ms=turn.now_ms,
        task_type=task.facts.classification.task_type,
        model=task.model,
        success=failure is None,
        tier=task.tier or "",
        endpoint=task.endpoint or "",
        task_id=task.id,
        attempt=task.attempts_used + task.quality_steps + 1,
        proof=proof,
        duration_ms=_duration_ms(turn, attempt),
        cost_micro_usd=cost,
        retries=max(0, task.generation - 1),
        propensity=attempt.propensity if attempt is not None else 1.0,
        explored=attempt is not None and attempt.explored,
        quality=_quality(task, failed=failure is not None, is_last=is_last),
        note=failure.kind.value if failure is not None else "",
        version=_version(turn, task),
    )
    turn.effects.append(Apply(command=PutObservations(observations=(one,))))


def _quality(task: Task, *, failed: bool, is_last: bool) -> str:
    """How good it is in words; of a failure that another try may still mend, nothing."""
    if failed:
        return "needs a person" if is_last else ""
    return "first try" if task.attempts_used == 0 and task.quality_steps == 0 else "after a fix"


def _version(turn: Turn, task: Task) -> str:
    """The version of the model, where its endpoint tells them apart."""
    view = turn.books.endpoints.views.get(task.endpoint) if task.endpoint is not None else None
    return view.versions.get(task.model or "", "") if view is not None else ""


def _duration_ms(turn: Turn, attempt: Attempt | None) -> int | None:
    if attempt is None:
        return None
    ended_ms = attempt.finished_ms if attempt.finished_ms is not None else turn.now_ms
    return max(0, ended_ms - (attempt.started_ms or attempt.assigned_ms))
