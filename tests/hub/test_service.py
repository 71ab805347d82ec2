"""The hub's verbs over a store in memory: what is accepted, refused, explained, followed."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from ostler.domain.catalog import EndpointKind
from ostler.domain.commands import Command, Result, SubmitTasks
from ostler.domain.decision import Hold, Route
from ostler.domain.errors import ConflictError, CycleError, InvalidInputError, NotFoundError
from ostler.domain.event import Event
from ostler.domain.fleet import WorkerOffer
from ostler.domain.ports import TaskQuery
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import local

WORKER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 4, TaskKind.CHAT: 4})


def command(task_id: str, **fields: object) -> TaskSpec:
    """A command task."""
    return msgspec.convert({"id": task_id, "kind": "command", "argv": ["true"]} | fields, TaskSpec)


async def work(built: House, *, ok: bool = True) -> list[str]:
    """Join as a worker, do everything there is, leave; returns what was done in order."""
    link, done = built.hub.link, []
    session = await link.join(WORKER)
    while True:
        poll = await link.poll(session.id, 20)
        if not poll.assignments:
            break
        for item in poll.assignments:
            started = Started(task_id=item.task_id, generation=item.generation, at_ms=built.clock.now_ms())
            failure = None if ok else Failure(kind=FailureClass.REFUSAL, message="no", at_ms=built.clock.now_ms())
            finished = Finished(
                task_id=item.task_id,
                generation=item.generation,
                at_ms=built.clock.now_ms(),
                ok=ok,
                failure=failure,
                output=f"output of {item.task_id}",
            )
            await link.report(session.id, [started, finished])
            done.append(item.task_id)
    await link.leave(session.id)
    return done


async def test_a_task_is_durable_when_it_is_accepted_and_runs_when_a_worker_joins() -> None:
    """The whole way once."""
    async with house() as built:
        answer = await built.hub.submit([command("a")])
        assert [(task.id, task.state, task.duplicate) for task in answer.tasks] == [("a", TaskState.QUEUED, False)]
        assert (await built.store.states(["a"])) == {"a": TaskState.QUEUED}
        assert await work(built) == ["a"]
        shown = await built.hub.task("a")

        assert shown.task.state is TaskState.SUCCEEDED
        assert shown.output == "output of a"
        assert len(shown.attempts) == len(shown.decisions) == 1
        assert [event.name for event in shown.events][-1] == "task.succeeded"


async def test_a_repeated_submit_is_a_duplicate_and_another_content_a_conflict() -> None:
    """So that "outcome unknown" is answered by asking again."""
    async with house() as built:
        await built.hub.submit([command("a")])
        again = await built.hub.submit([command("a")])
        assert again.tasks[0].duplicate
        with pytest.raises(ConflictError):
            await built.hub.submit([command("b"), command("a", argv=["false"])])
        assert await built.store.states(["b"]) == {}
        assert await work(built) == ["a"]


class ForgetfulStore(MemoryStore):
    """Commits, and says once that it did not: the answer got lost."""

    forgets = 1

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        results = await super().apply(commands)
        if self.forgets and any(isinstance(command, SubmitTasks) for command in commands):
            self.forgets -= 1
            raise StoreError("the answer of a commit was lost")
        return results


async def test_a_submit_whose_answer_was_lost_runs_once_it_is_sent_again() -> None:
    """It is a duplicate for the store and news for the scheduler: the task runs, once, and so does what needs it."""
    async with house(store=ForgetfulStore()) as built:
        with pytest.raises(StoreError):
            await built.hub.submit([command("a"), command("b", needs=["a"])])
        again = await built.hub.submit([command("a"), command("b", needs=["a"])])

        assert [task.duplicate for task in again.tasks] == [True, True]
        assert await work(built) == ["a", "b"]
        await built.hub.submit([command("a")])
        assert await work(built) == []


@pytest.mark.parametrize(
    ("specs", "error", "text"),
    [
        ([], InvalidInputError, "no tasks"),
        ([command("a"), command("a")], InvalidInputError, "two tasks"),
        ([command("a", needs=["x"])], InvalidInputError, "there is no task x"),
        ([command("a", needs=["b"]), command("b", needs=["a"])], CycleError, "a -> b -> a"),
        ([command("has space")], InvalidInputError, "no task id"),
        ([TaskSpec(id="a", prompt="x", tier="standart")], InvalidInputError, "did you mean 'standard'"),
    ],
)
async def test_bad_batches_are_refused_whole(specs: list[TaskSpec], error: type[Exception], text: str) -> None:
    """With what is wrong, and nothing stored."""
    async with house() as built:
        with pytest.raises(error, match=text):
            await built.hub.submit(specs)
        assert (await built.hub.tasks(TaskQuery())).tasks == ()


async def test_needs_may_be_tasks_that_ended_before() -> None:
    """Met when they succeeded, else the new task ends at once with the reason."""
    async with house() as built:
        await built.hub.submit([command("good")])
        await work(built)
        await built.hub.submit([command("bad")])
        await work(built, ok=False)
        await built.hub.submit([command("x", needs=["good"]), command("y", needs=["bad"])])
        assert await work(built) == ["x"]
        shown = await built.hub.task("y")

        assert shown.task.state is TaskState.CANCELLED
        assert shown.task.failure is not None
        assert "needs bad" in shown.task.failure.message


async def test_retrying_brings_back_what_fell_with_it() -> None:
    """The dependents of a dead task come back with it, and run after it."""
    async with house() as built:
        await built.hub.submit([command("a", batch="b"), command("c", needs=["a"], batch="b")])
        await work(built, ok=False)
        assert (await built.hub.task("c")).task.state is TaskState.CANCELLED
        await built.hub.retry("a")

        assert await work(built) == ["a", "c"]


async def test_wishes_about_ended_and_unknown_tasks_are_refused_with_what_to_do() -> None:
    """Never silently."""
    async with house() as built:
        with pytest.raises(NotFoundError, match="no task nobody"):
            await built.hub.cancel("nobody")
        await built.hub.submit([command("a")])
        await work(built)
        for wish in (built.hub.cancel, built.hub.pause, built.hub.resume, built.hub.retry):
            with pytest.raises(ConflictError):
                await wish("a")


async def test_a_listed_task_shows_the_reason_of_this_moment() -> None:
    """Not the one it was stored with."""
    async with house() as built:
        await built.hub.submit([TaskSpec(id="t", prompt="x", complexity=Complexity.STANDARD)])
        await built.hub.endpoints.add(local("gpu"))
        (task,) = (await built.hub.tasks(TaskQuery())).tasks

        assert task.wait is not None
        assert task.wait.code.value == "no_worker"
        why = await built.hub.why("t")
        assert "no worker" in why.headline
        assert why.wait is not None


async def test_a_question_changes_nothing() -> None:
    """`route` decides on the fleet of this moment and stores nothing."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        before = (await built.hub.events(0, 1000)).last_seq
        spec = TaskSpec(id="q", prompt="x", complexity=Complexity.STANDARD)
        verdict, why = await built.hub.route(spec)
        assert isinstance(verdict, Route)
        assert verdict.decision.selected_endpoint == "gpu"
        assert "gpu" in why.headline
        held, _ = await built.hub.route(msgspec.structs.replace(spec, complexity=Complexity.COMPLEX))

        assert isinstance(held, Hold)
        assert (await built.hub.events(0, 1000)).last_seq == before


async def test_followers_see_every_event_in_order_and_end_when_the_hub_closes() -> None:
    """From any place in the log."""
    async with house() as built:
        seen: list[Event] = []
        complete = asyncio.Event()

        async def follow() -> None:
            async for event in built.hub.follow(0):
                seen.append(event)
                if event.name == "worker.left":
                    complete.set()

        following = asyncio.create_task(follow())
        await built.hub.submit([command("a"), command("b")])
        await work(built)
        stored = (await built.hub.events(0, 1000)).events
        await asyncio.wait_for(complete.wait(), 5)
        await built.pump.close_followers()
        await asyncio.wait_for(following, 5)

        assert [event.seq for event in seen] == [event.seq for event in stored]
        assert [event.seq for event in seen] == sorted({event.seq for event in seen})


async def test_endpoints_are_added_once_and_those_of_the_profile_stay() -> None:
    """By name; a wrong address is refused before anything is stored."""
    async with house() as built:
        await built.desk.start(local("declared"), "profile")
        await built.hub.endpoints.add(local("gpu"))
        with pytest.raises(ConflictError):
            await built.hub.endpoints.add(local("gpu"))
        with pytest.raises(InvalidInputError):
            await built.hub.endpoints.add(msgspec.structs.replace(local("x"), url="gpu:11434"))
        with pytest.raises(ConflictError, match="profile"):
            await built.hub.endpoints.remove("declared")
        with pytest.raises(NotFoundError, match="gpu"):
            await built.hub.endpoints.remove("gpuu")
        await built.hub.endpoints.remove("gpu")

        assert [row.view.spec.name for row in built.hub.endpoints.rows().endpoints] == ["declared"]
        assert (await built.store.open_work()).endpoints == ()


async def test_a_provider_is_checked_by_its_first_endpoint() -> None:
    """`endpoints check anthropic` needs no endpoint name."""
    async with house() as built:
        spec = msgspec.structs.replace(local("a1"), kind=EndpointKind.ANTHROPIC, provider="anthropic")
        await built.hub.endpoints.add(spec)
        probe = await built.hub.endpoints.check("anthropic")

        assert probe.endpoint == "a1"
        with pytest.raises(NotFoundError):
            await built.hub.endpoints.check("nobody")


async def test_tokens_open_their_scope_and_only_until_they_are_revoked() -> None:
    """Stored as hashes; admin includes worker."""
    async with house() as built:
        made = await built.hub.tokens.make("w", "worker")
        admin = await built.hub.tokens.make("me", "admin")
        assert await built.hub.tokens.allowed(made.token, "worker")
        assert not await built.hub.tokens.allowed(made.token, "admin")
        assert await built.hub.tokens.allowed(admin.token, "worker")
        assert not await built.hub.tokens.allowed("guess", "worker")
        with pytest.raises(ConflictError):
            await built.hub.tokens.make("w", "worker")
        with pytest.raises(InvalidInputError):
            await built.hub.tokens.make("x", "wrker")
        await built.hub.tokens.revoke("w")
        assert not await built.hub.tokens.allowed(made.token, "worker")
        with pytest.raises(NotFoundError):
            await built.hub.tokens.revoke("w")


async def test_the_status_names_the_binding_reason_when_nothing_runs() -> None:
    """Grouped by reason, the largest first."""
    async with house() as built:
        await built.hub.submit([command("a"), command("b"), command("c", needs=["a"])])
        status = await built.hub.status()

        assert status.counts == {"queued": 3}
        assert [(group.wait.code.value, group.count) for group in status.waiting] == [("no_worker", 2), ("deps", 1)]
        assert "no worker has joined" in status.idle_because
        await work(built)
        assert (await built.hub.status()).counts == {"succeeded": 3}


async def test_a_model_nobody_has_is_refused_with_the_nearest_one() -> None:
    """Once every endpoint has been listed; before that it may be the one that has it."""
    async with house() as built:
        early = TaskSpec(id="early", prompt="x", model="qwem")
        await built.hub.submit([early])
        await built.hub.endpoints.add(local("gpu"))
        with pytest.raises(InvalidInputError, match="did you mean 'qwen'") as caught:
            await built.hub.submit([TaskSpec(id="late", prompt="x", model="qwem")])

        assert "task late" in caught.value.where


async def test_trivial_work_that_carries_a_command_is_that_command() -> None:
    """Whatever kind it was handed in as; anything harder asks a model."""
    async with house() as built:
        spec = TaskSpec(id="t", prompt="fix the typo", argv=("true",), complexity=Complexity.TRIVIAL)
        await built.hub.submit([spec])
        await built.hub.submit([msgspec.structs.replace(spec, id="u", complexity=Complexity.STANDARD)])
        assert (await built.hub.submit([spec])).tasks[0].duplicate
        assert (await built.hub.task("t")).spec.kind is TaskKind.COMMAND
        assert (await built.hub.task("u")).spec.kind is TaskKind.CHAT
        session = await built.hub.link.join(WORKER)
        poll = await built.hub.link.poll(session.id, 100)

        assert "t" in [item.task_id for item in poll.assignments if item.route is None]


async def test_an_endpoint_added_by_hand_may_be_named() -> None:
    """Not only those of the profile."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        await built.hub.submit([TaskSpec(id="t", prompt="x", endpoint="gpu")])
        with pytest.raises(InvalidInputError, match="did you mean 'gpu'"):
            await built.hub.submit([TaskSpec(id="u", prompt="x", endpoint="gpuu")])


async def test_a_worker_is_shown_with_its_last_heartbeat() -> None:
    """Not with the moment it joined."""
    async with house() as built:
        session = await built.hub.link.join(WORKER)
        await built.hub.link.heartbeat(session.id, None)
        (row,) = (await built.hub.workers()).workers

        assert row.session.renewed_ms > session.renewed_ms
