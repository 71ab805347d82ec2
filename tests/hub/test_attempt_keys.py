"""Keys for attempts of agents: made when an attempt is handed out, worthless when it ends, in no record."""

from collections.abc import Sequence

import pytest

from ostler.domain.commands import Command, PutKey, Result
from ostler.domain.fleet import Session, WorkerOffer
from ostler.domain.ports import CallQuery
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Evidence, TaskKind, TaskSpec
from ostler.domain.work import Assignment, Finished, Started
from ostler.hub import committer as committing
from ostler.hub.attempt_keys import name_of
from ostler.hub.gateway_views import KeyMade, KeyRow, KeyWish
from ostler.hub.handing import Equipment
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import local
from tests.store.rows_made import make_call

OFFER = WorkerOffer(name="w", host="den", slots={TaskKind.AGENT: 2}, repos=("barn",))


async def joined(built: House) -> Session:
    """A worker for agents, and an endpoint with a model."""
    await built.hub.endpoints.add(local("den"))
    return await built.hub.link.join(OFFER)


async def handed_out(built: House, session: Session, *, generation: int = 1, task_id: str | None = None) -> Assignment:
    """The assignment that the worker gets; those that it has not begun are told again."""
    for _ in range(200):
        poll = await built.hub.link.poll(session.id, 20)
        for assignment in poll.assignments:
            if assignment.generation == generation and task_id in (None, assignment.task_id):
                return assignment
    raise AssertionError("nothing was handed out")


def agent(task_id: str = "t1", **changes: object) -> TaskSpec:
    plain: dict[str, object] = {"kind": TaskKind.AGENT, "prompt": "Write a note.", "repo": "barn", "model": "qwen"}
    return TaskSpec(id=task_id, **(plain | changes))  # type: ignore[arg-type]


def ended(assignment: Assignment, *, ok: bool = True, kind: FailureClass = FailureClass.VERIFICATION) -> Finished:
    failure = None if ok else Failure(kind=kind, message="the check failed", at_ms=1_000_500)
    return Finished(
        task_id=assignment.task_id,
        generation=assignment.generation,
        at_ms=1_000_500,
        ok=ok,
        failure=failure,
        output="I did what I could.",
        evidence=Evidence(agent="opencode", repo="barn", branch="ostler/t1.1", files_changed=1),
    )


async def reported(built: House, session: Session, assignment: Assignment, report: Finished) -> None:
    started = Started(task_id=assignment.task_id, generation=assignment.generation, at_ms=1_000_400)
    await built.hub.link.report(session.id, (started, report))
    await built.hub.attempt_keys.stop()


async def open_keys(built: House) -> list[KeyRow]:
    return [row for row in (await built.hub.gateway.keys()).keys if row.revoked_ms is None]


async def test_an_attempt_gets_a_key_for_its_model_and_its_task() -> None:
    """It opens the decided model alone, is charged to the task, and keeps its data where the task says."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent(local_only=True)])

        assignment = await handed_out(built, session)

        assert assignment.key is not None
        key = built.hub.gateway.ring.find(assignment.key)
        assert key is not None
        assert (key.name, key.models, key.task, key.local_only) == (name_of("t1", 1), ("qwen",), "t1", True)


async def test_the_key_is_worthless_when_its_attempt_ends() -> None:
    """At once, and for good: the revocation is stored."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        assignment = await handed_out(built, session)

        await reported(built, session, assignment, ended(assignment))

        assert built.hub.gateway.ring.find(assignment.key or "") is None
        (key,) = await built.store.keys()
        assert key.revoked_ms is not None
        assert (await built.hub.task("t1")).task.state is TaskState.SUCCEEDED


async def test_the_key_is_in_no_record() -> None:
    """Neither events nor rows nor answers have it, and nothing prints it."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        assignment = await handed_out(built, session)
        await reported(built, session, assignment, ended(assignment))

        key = assignment.key or ""
        said = f"{await built.store.events()}{await built.hub.task('t1')}{await built.hub.why('t1')}{assignment}"
        assert key
        assert key not in said
        assert key not in repr(Equipment(key=key))


async def test_a_session_that_leaves_takes_its_keys_with_it() -> None:
    """The attempt is taken back; the next one has a key of its own."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        first = await handed_out(built, session)

        await built.hub.link.leave(session.id)
        await built.hub.attempt_keys.stop()

        assert built.hub.gateway.ring.find(first.key or "") is None
        other = await built.hub.link.join(OFFER)
        second = await handed_out(built, other, generation=2)
        assert second.key not in (None, first.key)
        assert [row.name for row in await open_keys(built)] == [name_of("t1", 2)]


class UnheardKeys(MemoryStore):
    """Stores a key, and its answer is lost."""

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        results = await super().apply(commands)
        if any(isinstance(command, PutKey) for command in commands):
            raise StoreError("the answer was lost")
        return results


@pytest.mark.parametrize("ends_meanwhile", [False, True])
async def test_a_key_of_which_nobody_heard_is_worthless_when_its_attempt_ends(
    monkeypatch: pytest.MonkeyPatch, ends_meanwhile: bool
) -> None:
    """The attempt cannot be handed out without one and is taken back; what may have been stored is closed with it. The
    simulated world saw it open models until the hub was started again.
    """
    monkeypatch.setattr(committing, "RETRY_DELAYS_S", (0.0,))
    async with house(UnheardKeys()) as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        if not ends_meanwhile:
            assert (await built.hub.link.poll(session.id, 50)).assignments == ()
        await built.hub.link.leave(session.id)
        await built.hub.submit([TaskSpec(id="t2", kind=TaskKind.COMMAND, argv=("true",))])
        await built.hub.attempt_keys.stop()

        (key,) = await built.store.keys()
        assert (key.name, key.revoked_ms is not None) == (name_of("t1", 1), True)


async def test_an_attempt_whose_key_was_never_stored_ends_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to close, and nothing is said about it."""

    async def failing(_: KeyWish) -> KeyMade:
        raise StoreError("the disk is full")

    async with house() as built:
        monkeypatch.setattr(built.hub.gateway, "make_key", failing)
        session = await joined(built)
        await built.hub.submit([agent()])
        await built.hub.link.leave(session.id)
        await built.hub.attempt_keys.stop()

        assert await built.store.keys() == []
        assert (await built.hub.task("t1")).task.state is TaskState.QUEUED


async def test_the_next_attempt_is_told_what_the_last_one_came_to() -> None:
    """Model, failure, branch and last words; in the assignment, not in the stored task."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        first = await handed_out(built, session)
        assert first.notes == ()
        await reported(built, session, first, ended(first, ok=False, kind=FailureClass.ENVIRONMENT))

        second = await handed_out(built, session, generation=2)

        (note,) = second.notes
        for word in ("Attempt 1", "qwen", "environment", "ostler/t1.1", "I did what I could."):
            assert word in note
        assert (await built.hub.task("t1")).spec.prompt == "Write a note."


async def test_a_hub_that_starts_closes_what_a_crash_left() -> None:
    """Keys of attempts that are not under way; keys of people stay."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        await handed_out(built, session)
        await built.hub.gateway.make_key(KeyWish(name=name_of("gone", 3), task="gone"))
        await built.hub.gateway.make_key(KeyWish(name="laptop"))

        await built.hub.attempt_keys.take_up(built.pump.scheduler.books.tasks.values())

        assert [row.name for row in await open_keys(built)] == [name_of("t1", 1), "laptop"]


async def test_without_a_gateway_there_is_no_key() -> None:
    """The worker then refuses the attempt: there is nothing a key could open."""
    async with house() as built:
        built.hub.attempt_keys.enabled = False
        session = await joined(built)
        await built.hub.submit([agent()])

        assert (await handed_out(built, session)).key is None
        assert await built.store.keys() == []


async def test_why_lists_the_calls_of_a_tasks_agent() -> None:
    """How many, what they took and cost, which failed; of all attempts, in order."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        assignment = await handed_out(built, session)
        calls = (
            make_call("c-1", key=name_of("t1", 1), cost_micro_usd=1_500, model="qwen"),
            make_call("c-2", key=name_of("t1", 1), cost_micro_usd=None, model="qwen"),
            make_call("c-3", key="laptop", cost_micro_usd=9),
        )
        for call in calls:
            built.hub.gateway.book.add(call)
        await reported(built, session, assignment, ended(assignment))

        lines = (await built.hub.why("t1")).lines

        (total,) = [line for line in lines if line.startswith("Calls of its agent")]
        assert total.startswith("Calls of its agent: 2;")
        assert "1 of unknown price" in total
        assert sum("c-3" in line for line in lines) == 0
        assert len((await built.hub.gateway.calls(CallQuery(key=name_of("t1", 1)))).calls) == 2


async def test_an_agent_holds_no_slot_of_its_endpoint() -> None:
    """Its calls take them one by one: with one slot for all, an agent that held it would wait for itself for ever."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent("t1"), agent("t2")])
        first, second = await handed_out(built, session), await handed_out(built, session)

        assert built.pump.scheduler.books.in_flight == {}
        for assignment in (first, second):
            await reported(built, session, assignment, ended(assignment))
        assert built.pump.scheduler.books.in_flight == {}


async def test_calls_of_an_agent_are_blamed_once() -> None:
    """They were counted against the endpoint when they failed at the gateway; the attempt's end adds nothing."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent()])
        assignment = await handed_out(built, session)

        await reported(built, session, assignment, ended(assignment, ok=False, kind=FailureClass.SERVER))

        (row,) = built.hub.endpoints.rows().endpoints
        assert row.consecutive_failures == 0


async def test_a_judge_may_use_the_key_of_the_attempt() -> None:
    """It opens the models of the judge's tier beside the decided one; the worker is told the tier. Off by default."""
    async with house() as built:
        session = await joined(built)
        await built.hub.submit([agent("plain")])
        assert (await handed_out(built, session, task_id="plain")).judge == ""

        built.hub.attempt_keys.judge = "standard"
        await built.hub.submit([agent("judged")])
        assignment = await handed_out(built, session, task_id="judged")

        assert assignment.judge == "standard"
        assert assignment.key is not None
        key = built.hub.gateway.ring.find(assignment.key)
        assert key is not None
        assert set(key.models) >= {"qwen"}


@pytest.mark.parametrize("kind", [FailureClass.QUOTA, FailureClass.RATE_LIMIT, FailureClass.STUCK])
async def test_a_run_that_has_cost_all_it_may_needs_a_person(kind: FailureClass) -> None:
    """Whatever its program made of the refusal: it would cost as much again. What it did is kept."""
    async with house() as built:
        built.hub.attempt_keys.max_cost_micro_usd = 100
        session = await joined(built)
        await built.hub.submit([agent()])
        assignment = await handed_out(built, session)
        key = built.hub.gateway.ring.named(name_of("t1", 1))
        assert key is not None
        assert key.limit_micro_usd == 100
        built.hub.gateway.ring.use(key).micro_usd = 120

        await reported(built, session, assignment, ended(assignment, ok=False, kind=kind))

        found = await built.hub.task("t1")
        assert found.task.state is TaskState.NEEDS_HUMAN
        assert found.task.failure is not None
        assert found.task.failure.kind is FailureClass.POLICY
        assert "the run has cost $0.00012, and one may cost $0.0001" in found.task.failure.message
        assert found.attempts[0].evidence is not None
        assert found.attempts[0].evidence.branch == "ostler/t1.1"


async def test_a_run_below_its_limit_fails_as_it_did() -> None:
    """And good work is good, whatever it cost."""
    async with house() as built:
        built.hub.attempt_keys.max_cost_micro_usd = 100
        session = await joined(built)
        await built.hub.submit([agent("cheap"), agent("dear")])
        one = await handed_out(built, session, task_id="cheap")
        other = await handed_out(built, session, task_id="dear")
        key = built.hub.gateway.ring.named(name_of(other.task_id, 1))
        assert key is not None
        built.hub.gateway.ring.use(key).micro_usd = 500

        await reported(built, session, one, ended(one, ok=False, kind=FailureClass.AUTH))
        await reported(built, session, other, ended(other))

        assert (await built.hub.task(one.task_id)).task.failure is not None
        assert (await built.hub.task(other.task_id)).task.state is TaskState.SUCCEEDED
