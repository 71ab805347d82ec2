"""Small makers of assignments and runs for the tests of workers."""

from collections.abc import Mapping

from msgspec.structs import replace

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.clock import Clock
from ostler.domain.fleet import WorkerOffer
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment, ModelRoute, Report
from ostler.workers.guard import ATTEMPT_TAG, WORKER_TAG
from ostler.workers.run import Run

ENDPOINT = EndpointSpec(
    name="den", kind=EndpointKind.OLLAMA, url="http://127.0.0.1:9", provider="ollama", host="den", local=True
)
CLOUD = EndpointSpec(
    name="cloud", kind=EndpointKind.OPENAI, url="http://127.0.0.1:9", provider="openai", host="cloud", local=False
)
OFFER = WorkerOffer(
    name="w1", host="den", slots={TaskKind.COMMAND: 2, TaskKind.CHAT: 1}, capabilities=frozenset({"linux"})
)


def command(
    *argv: str, task_id: str = "t1", generation: int = 1, deadline_ms: int | None = None, **spec: object
) -> Assignment:
    """An assignment to run `argv`."""
    return Assignment(
        task_id=task_id,
        generation=generation,
        spec=_spec(TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=argv), spec),
        tier="direct",
        deadline_ms=deadline_ms,
    )


def chat(
    prompt: str = "hello", *, route: ModelRoute | None = None, task_id: str = "t1", generation: int = 1, **spec: object
) -> Assignment:
    """An assignment to ask a model."""
    return Assignment(
        task_id=task_id,
        generation=generation,
        spec=_spec(TaskSpec(id=task_id, kind=TaskKind.CHAT, prompt=prompt), spec),
        tier="standard",
        route=route,
    )


def route(**changes: object) -> ModelRoute:
    """A route to the endpoint `den`."""
    return replace(ModelRoute(endpoint=ENDPOINT, model="small"), **changes)


def _spec(plain: TaskSpec, changes: Mapping[str, object]) -> TaskSpec:
    return replace(plain, **changes)


def tags_of(assignment: Assignment, identity: str) -> Mapping[str, str]:
    """The tags a pool would give the attempt, as far as the processes under test need them."""
    return {WORKER_TAG: identity, ATTEMPT_TAG: f"{assignment.task_id}.{assignment.generation}"}


def run_of(
    assignment: Assignment, *, clock: Clock, identity: str = "nobody", reports: list[Report] | None = None
) -> Run:
    """The run of an assignment; what it reports goes to `reports`."""
    sink = [] if reports is None else reports
    return Run(assignment, tags=tags_of(assignment, identity), clock=clock, emit=sink.append)
