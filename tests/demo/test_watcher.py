"""What the story is told of the present."""

import msgspec
import pytest

from ostler.demo.watcher import Look, moment_of
from ostler.demo.workload import LONG_COMMAND
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.fleet import EndpointView, Health, Session, WorkerOffer
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskKind
from ostler.hub.views import EndpointRow, WorkerRow
from tests.demo import recorded

DOOMED = "sim-alpha"


def task(task_id: str, state: TaskState, **fields: object) -> Task:
    base = recorded.answer("contracts").task
    values = {"worker": None, "endpoint": None, "started_ms": None, "fallback_used": False, **fields}
    return msgspec.structs.replace(base, id=task_id, state=state, **values)


def endpoint(name: str, health: Health = Health.UP, in_flight: int = 0) -> EndpointRow:
    spec = EndpointSpec(
        name=name, kind=EndpointKind.OLLAMA, url="http://127.0.0.1:1", provider="ollama", host=name, local=True
    )
    return EndpointRow(view=EndpointView(spec=spec, health=health), in_flight=in_flight, source="profile")


def worker(name: str) -> WorkerRow:
    offer = WorkerOffer(name=name, host=name, slots={TaskKind.CHAT: 1})
    return WorkerRow(session=Session(id=f"s-{name}", offer=offer, joined_ms=0, renewed_ms=0), busy={}, tasks=())


def look(*tasks: Task, health: Health = Health.UP, in_flight: int = 0, joined: bool = True) -> Look:
    workers = [worker("sim-beta"), *([worker(DOOMED)] if joined else [])]
    endpoints = (endpoint("sim-beta"), endpoint(DOOMED, health, in_flight))
    return Look(elapsed_s=3.0, now_ms=0, tasks=tasks, endpoints=endpoints, workers=tuple(workers))


def test_what_has_ended_is_a_share_of_what_was_handed_in() -> None:
    """However a task ended; with nothing handed in, nothing has ended and nothing is over."""
    half = look(task("a", TaskState.SUCCEEDED), task("b", TaskState.QUEUED))

    assert moment_of(half, DOOMED).ended_share == 0.5
    assert moment_of(look(), DOOMED).ended_share == 0
    assert not moment_of(look(), DOOMED).all_over


@pytest.mark.parametrize(
    ("state", "is_over"),
    [
        (TaskState.SUCCEEDED, True),
        (TaskState.DEAD_LETTER, True),
        (TaskState.CANCELLED, True),
        (TaskState.NEEDS_HUMAN, True),
        (TaskState.QUEUED, False),
        (TaskState.RUNNING, False),
        (TaskState.RETRY_WAIT, False),
    ],
)
def test_over_means_that_nothing_happens_without_a_person(state: TaskState, is_over: bool) -> None:
    """One task that goes on is enough to wait for."""
    seen = look(task("a", TaskState.SUCCEEDED), task("b", state))

    assert moment_of(seen, DOOMED).all_over is is_over


@pytest.mark.parametrize(
    ("in_flight", "on", "started_ms", "is_busy"),
    [
        (1, DOOMED, 7, True),
        (0, DOOMED, 7, False),
        (1, "sim-beta", 7, False),
        (1, DOOMED, None, False),
    ],
)
def test_the_machine_is_busy_with_a_command_and_a_call(
    in_flight: int, on: str, started_ms: int | None, is_busy: bool
) -> None:
    """The command runs on its own worker and has begun, and its endpoint answers a call."""
    running = task(LONG_COMMAND, TaskState.RUNNING, worker=on, started_ms=started_ms)

    assert moment_of(look(running, in_flight=in_flight), DOOMED).doomed_is_busy is is_busy


@pytest.mark.parametrize(
    ("health", "joined", "noticed", "back"),
    [
        (Health.UP, True, False, True),
        (Health.DOWN, True, False, False),
        (Health.UP, False, False, False),
        (Health.DOWN, False, True, False),
    ],
)
def test_a_loss_is_noticed_when_both_halves_are_gone(health: Health, joined: bool, noticed: bool, back: bool) -> None:
    """Endpoint down and worker given up; it is back when both are there again."""
    moment = moment_of(look(health=health, joined=joined), DOOMED)

    assert (moment.loss_noticed, moment.is_back) == (noticed, back)


def test_one_fallback_is_enough() -> None:
    """The newest decision of a task says so."""
    assert moment_of(look(task("a", TaskState.RUNNING, fallback_used=True)), DOOMED).fell_back
    assert not moment_of(look(task("a", TaskState.RUNNING)), DOOMED).fell_back
