"""Agents in the scheduler: slots, blame, moves and matches differ where an agent makes its calls itself."""

import pytest

from ostler.domain.fleet import Session, WorkerOffer
from ostler.domain.states import FailureClass, TaskState, WaitCode
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind, TaskSpec
from ostler.scheduling.workers import Workers
from tests.scheduling.rig import Rig, cloud, local

FOUND = Classification(
    complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="general", source="heuristic"
)


def busy(slots: int = 1) -> Rig:
    """One local endpoint with one slot, one cloud, one worker."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=slots))
    rig.up(cloud(), models=("claude",))
    return rig


def agent(rig: Rig, task_id: str = "t", **fields: object) -> str:
    spec: dict[str, object] = {"id": task_id, "kind": TaskKind.AGENT, "prompt": "work", "tier": "standard"}
    (name,) = rig.submit(TaskSpec(**(spec | fields)))  # type: ignore[arg-type]
    return name


def test_agents_and_their_calls_do_not_wait_for_each_other() -> None:
    """Three agents on an endpoint with one slot, and a call goes through: the slot is the call's."""
    rig = busy()
    for name in ("a", "b", "c"):
        agent(rig, name)

    assert {rig.state(name) for name in ("a", "b", "c")} == {TaskState.ASSIGNED}
    assert rig.scheduler.books.in_flight == {}
    rig.chat("call", tier="standard", complexity=None)
    assert rig.state("call") is TaskState.ASSIGNED
    assert rig.scheduler.books.in_flight == {"gpu": 1}
    for name in ("a", "b", "c", "call"):
        rig.finish(name)
    assert rig.scheduler.books.in_flight == {}


@pytest.mark.parametrize(
    "kind", [FailureClass.RATE_LIMIT, FailureClass.SERVER, FailureClass.TIMEOUT, FailureClass.AUTH]
)
def test_the_end_of_an_agent_is_no_failure_of_its_endpoint(kind: FailureClass) -> None:
    """What its calls did wrong was counted with each call, at the gateway."""
    rig = busy()
    agent(rig)
    before = rig.scheduler.books.endpoints.views["gpu"]

    rig.finish("t", kind)

    after = rig.scheduler.books.endpoints.views["gpu"]
    assert (after.breaker, after.blocked_until_ms, after.health) == (
        before.breaker,
        before.blocked_until_ms,
        before.health,
    )


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [
        (FailureClass.CUT, ()),
        (FailureClass.TIMEOUT, ()),
        (FailureClass.STALLED, ()),
        (FailureClass.SERVER, ("gpu",)),
        (FailureClass.CONTEXT_TOO_LONG, ("gpu/qwen",)),
    ],
)
def test_how_its_program_ended_says_nothing_of_the_endpoint(kind: FailureClass, left_out: tuple[str, ...]) -> None:
    """A program that broke off or took too long may go on where it was; what its calls met there is another thing."""
    rig = busy()
    agent(rig)

    rig.finish("t", kind)

    assert rig.rows["t"].excluded == left_out


def test_a_failing_check_is_repeated_once_and_then_goes_up() -> None:
    """Two equal failures, not three: an attempt of an agent is a whole piece of work."""
    rig = busy()
    agent(rig)
    rig.finish("t", FailureClass.VERIFICATION, "check 1 of 1 failed")
    rig.pass_ms(5_000)
    first = rig.rows["t"]
    rig.finish("t", FailureClass.VERIFICATION, "check 1 of 1 failed")
    rig.pass_ms(1)

    second = rig.rows["t"]
    assert (first.quality_steps, second.quality_steps) == (0, 1)
    assert second.tier != first.tier


@pytest.mark.parametrize(
    ("kind", "state", "counted"),
    [
        (FailureClass.RATE_LIMIT, TaskState.ASSIGNED, 0),
        (FailureClass.ENVIRONMENT, TaskState.ASSIGNED, 0),
        (FailureClass.AUTH, TaskState.NEEDS_HUMAN, 0),
        (FailureClass.POLICY, TaskState.NEEDS_HUMAN, 0),
        (FailureClass.CAPABILITY, TaskState.ASSIGNED, 0),
        (FailureClass.STUCK, TaskState.RETRY_WAIT, 1),
    ],
)
def test_the_class_decides_the_move(kind: FailureClass, state: TaskState, counted: int) -> None:
    """Availability elsewhere and not counted, capability up with a fresh budget, auth and policy to a person."""
    rig = busy()
    agent(rig)

    rig.finish("t", kind)

    row = rig.rows["t"]
    assert row.state is state
    assert row.attempts_used == counted
    assert (row.quality_steps == 1) is (kind is FailureClass.CAPABILITY)


def facts(**fields: object) -> TaskFacts:
    return TaskFacts(id="t", kind=TaskKind.AGENT, classification=FOUND, **fields)  # type: ignore[arg-type]


def test_an_agent_works_where_its_repository_was_named() -> None:
    """For other work a worker that names none may have any; an agent changes it, so it must be among those named. An
    endpoint at a loopback address is no obstacle: the calls go to the hub.
    """
    workers = Workers()
    for name, repos in (("any", ()), ("barn", ("barn",))):
        offer = WorkerOffer(name=name, host=name, slots={TaskKind.AGENT: 1, TaskKind.CHAT: 1}, repos=repos)
        workers.join(Session(id=name, offer=offer, joined_ms=0, renewed_ms=0), 0)

    assert workers.match(facts(repo="barn"), None, None) == "barn"
    assert workers.match(facts(repo="moon"), None, None) is None
    assert workers.match(facts(), local("gpu", host="elsewhere"), None) is not None


def test_an_agent_that_names_its_program_waits_for_a_worker_that_has_it() -> None:
    """And says so."""
    rig = busy()
    agent(rig, runner="claude")

    wait = rig.scheduler.wait_of("t")
    assert wait is not None
    assert wait.code is WaitCode.NO_WORKER
    assert "agent:claude" in wait.detail

    rig.worker("w2", capabilities=("agent:claude",))
    assert rig.rows["t"].worker == "w2"
