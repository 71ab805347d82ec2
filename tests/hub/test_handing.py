"""Results between tasks of a hub: read when an assignment is delivered, cut to the decided model's window."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import ResultsRule, TaskKind, TaskSpec
from ostler.domain.work import Assignment, Finished, ModelRoute, NeedResult
from ostler.hub import handing
from ostler.hub.accept import new_tasks
from ostler.hub.handing import hand_over
from ostler.routing.facts import estimate_tokens
from ostler.scheduling.timers import TimerKind
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import local, three_tiers

OFFER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 4, TaskKind.CHAT: 4})
ROUTE = ModelRoute(endpoint=local("gpu"), model="qwen")


def chat(task_id: str, prompt: str = "say something", **fields: object) -> TaskSpec:
    return TaskSpec(id=task_id, prompt=prompt, **fields)  # type: ignore[arg-type]


def command(task_id: str, **fields: object) -> TaskSpec:
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=("true",), **fields)  # type: ignore[arg-type]


class Hand:
    """A worker played by hand."""

    def __init__(self, built: House, session: str) -> None:
        self._built = built
        self._session = session

    async def work(self) -> dict[str, Assignment]:
        poll = await self._built.hub.link.poll(self._session, 1_000)
        return {assignment.task_id: assignment for assignment in poll.assignments}

    async def end(
        self, task_id: str, output: str = "", *, ok: bool = True, generation: int = 1, kind: FailureClass | None = None
    ) -> None:
        ok = ok and kind is None
        failure = None if ok else Failure(kind=kind or FailureClass.REFUSAL, message="no", at_ms=1)
        report = Finished(task_id=task_id, generation=generation, at_ms=2, ok=ok, failure=failure, output=output)
        await self._built.hub.link.report(self._session, [report])


async def hand_in(built: House, *specs: TaskSpec) -> Hand:
    session = await built.hub.link.join(OFFER)
    await built.hub.submit(specs)
    return Hand(built, session.id)


async def test_a_prompt_arrives_with_the_results_and_the_stored_one_stays() -> None:
    """In place of their names, or behind the prompt; the spec is what the user wrote."""
    async with house() as built:
        named = chat("r.c", "add {{ results.a }} to {{ results.b }}", needs=("r.a", "r.b"), batch="r")
        plain = chat("r.d", "sum up", needs=("r.a",), batch="r")
        hand = await hand_in(built, chat("r.a", batch="r"), chat("r.b", batch="r"), named, plain)
        await hand.work()
        await hand.end("r.a", "one")
        await hand.end("r.b", "two")
        work = await hand.work()
        assert work["r.c"].spec.prompt == "add one to two"
        assert "--- result of a ---\none\n" in work["r.d"].spec.prompt
        assert (await built.hub.task("r.c")).spec == named


async def test_a_command_is_handed_a_list_and_no_other_argument() -> None:
    """Its argument vector is the one that was asked for."""
    async with house() as built:
        hand = await hand_in(built, command("a"), command("b", optional=True), command("c", needs=("a", "b")))
        await hand.work()
        await hand.end("a", "one")
        await hand.end("b", "half", ok=False)
        work = (await hand.work())["c"]
        assert [(one.name, one.output) for one in work.results] == [("a", "one"), ("b", None)]
        assert work.spec.argv == ("true",)


async def test_the_newest_good_attempt_is_handed() -> None:
    """Not what an earlier, failed one put out."""
    async with house() as built:
        hand = await hand_in(built, command("a"), command("c", needs=("a",)))
        await hand.work()
        await hand.end("a", "first try", ok=False)
        await built.hub.retry("a")
        await hand.work()
        await hand.end("a", "second try", generation=2)
        assert (await hand.work())["c"].results[0].output == "second try"


async def test_needs_that_ended_before_the_submit_are_handed_too() -> None:
    """And counted for the window from the start."""
    async with house() as built:
        hand = await hand_in(built, chat("a"))
        await hand.work()
        await hand.end("a", "x" * 400)
        await built.hub.submit([chat("later", needs=("a",))])
        work = (await hand.work())["later"]
        assert "x" * 400 in work.spec.prompt
        assert (await built.hub.task("later")).task.handed_tokens == 100


async def test_a_task_that_wants_no_results_gets_none() -> None:
    """Its needs only order it."""
    async with house() as built:
        hand = await hand_in(built, chat("a"), chat("b", needs=("a",), results=ResultsRule.NONE))
        await hand.work()
        await hand.end("a", "one")
        assert (await hand.work())["b"].spec.prompt == "say something"


async def test_a_prompt_that_names_a_stranger_is_refused_at_the_door() -> None:
    """With the task, before anything is stored."""
    async with house() as built:
        with pytest.raises(InvalidInputError, match="does not need") as caught:
            await built.hub.submit([chat("a"), chat("b", "{{ results.z }}", needs=("a",))])
        assert "task b" in caught.value.where


def test_data_that_must_stay_local_takes_its_takers_along() -> None:
    """Through commands too; but not to those that only wait for it, nor against the arrows."""
    specs = [
        chat("far"),
        chat("secret", local_only=True, needs=("far",)),
        command("shell", needs=("secret",)),
        chat("tail", needs=("shell",)),
        chat("waits", needs=("secret",), results=ResultsRule.NONE),
        chat("names", "{{ results.far }}", needs=("secret", "far")),
        chat("outside", needs=("gone",)),
    ]
    rows = new_tasks(specs, three_tiers(), first_seq=1, now_ms=1, settled={}, local={"gone"})
    private = {row.task.id for row in rows if row.task.facts.local_only}
    assert private == {"secret", "shell", "tail", "outside"}
    assert {row.spec.id for row in rows if row.spec.local_only} == {"secret"}


async def test_a_worker_is_told_that_the_data_must_stay_local() -> None:
    """It checks once more where it asks."""
    async with house() as built:
        hand = await hand_in(built, command("a"), command("b", needs=("a",)), chat("s", local_only=True))
        await hand.work()
        await hand.end("a")
        assert not (await hand.work())["b"].spec.local_only


def given(spec: TaskSpec, *outputs: str, route: ModelRoute | None = ROUTE) -> handing.Handed:
    """What goes to the worker when the needs put out these texts."""
    needs = tuple(f"n{index}" for index in range(len(outputs)))
    spec = replace(spec, needs=needs)
    (row,) = new_tasks([spec], three_tiers(), first_seq=1, now_ms=1, settled={})
    results = [
        NeedResult(name=name, task_id=name, state=TaskState.SUCCEEDED, output=output)
        for name, output in zip(needs, outputs, strict=True)
    ]
    return hand_over(row.task, spec, results, route, three_tiers(), 5)


def test_results_are_cut_to_the_window_of_the_model_and_an_event_says_so() -> None:
    """The window of 32,768 tokens holds prompt, results and answer; the longest result is cut."""
    handed = given(chat("t", "p" * 400, max_output_tokens=1_000), "s" * 400, "l" * 400_000)
    assert estimate_tokens(handed.spec.prompt) + 1_000 <= 32_768
    assert estimate_tokens(handed.spec.prompt) > 32_768 * 3 // 4, "the room is used"
    assert "s" * 400 in handed.spec.prompt
    assert handed.event is not None
    assert handed.event.metadata["results"] == "n1"
    assert handed.event.measurements["left_out_characters"] > 200_000


def test_results_that_fit_are_whole() -> None:
    """To the last character of the window, and no event is made."""
    handed = given(chat("t", max_output_tokens=1_000), "l" * 120_000)
    assert "l" * 120_000 in handed.spec.prompt
    assert handed.event is None


@pytest.mark.parametrize("route", [None, ModelRoute(endpoint=local("gpu"), model="unknown")])
def test_an_unknown_window_takes_what_can_travel(route: ModelRoute | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded all the same."""
    monkeypatch.setattr(handing, "MAX_CHARACTERS", 1_000)
    assert len(given(chat("t"), "l" * 5_000, route=route).spec.prompt) < 1_200


def test_files_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest is cut first here too, and named in an event."""
    monkeypatch.setattr(handing, "MAX_CHARACTERS", 1_000)
    handed = given(command("t"), "s" * 100, "l" * 5_000)
    assert len(handed.results[0].output or "") == 100
    assert sum(len(one.output or "") for one in handed.results) <= 1_000
    assert handed.event is not None
    assert handed.event.name == "task.results_trimmed"


class Reading(MemoryStore):
    """Counts the reads of outputs, holds them back, or lets them fail."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, ...]] = []
        self.asked = asyncio.Event()
        self.held = asyncio.Event()
        self.held.set()
        self.broken = False

    async def outputs(self, ids: Sequence[str]) -> dict[str, str]:
        self.reads.append(tuple(ids))
        self.asked.set()
        await self.held.wait()
        if self.broken:
            raise StoreError("the disk is gone")
        return await super().outputs(ids)


async def test_the_results_of_all_that_starts_at_once_are_read_at_once() -> None:
    """Not one by one: a task may free a hundred others."""
    store = Reading()
    async with house(store) as built:
        hand = await hand_in(built, command("a"), *(command(f"t{n}", needs=("a",)) for n in range(3)))
        await hand.work()
        await hand.end("a", "one")
        work = await hand.work()
        assert {work[f"t{n}"].results[0].output for n in range(3)} == {"one"}
        assert store.reads == [("a",)]


async def test_what_is_cancelled_while_its_results_are_read_is_not_delivered() -> None:
    """The worker would be told to stop what it has not, and then to start it."""
    store = Reading()
    async with house(store) as built:
        hand = await hand_in(built, command("a"), command("b", needs=("a",)))
        await hand.work()
        store.held.clear()
        ending = asyncio.ensure_future(hand.end("a", "one"))
        await store.asked.wait()
        await built.hub.cancel("b", "changed my mind")
        store.held.set()
        await ending
        assert await hand.work() == {}


async def test_results_that_cannot_be_read_leave_the_attempt_to_its_timer() -> None:
    """The report that freed it is taken all the same; others are delivered, and nothing runs without its results."""
    store = Reading()
    async with house(store) as built:
        hand = await hand_in(built, command("a"), command("b", needs=("a",)))
        await hand.work()
        store.broken = True
        await hand.end("a", "one")
        assert (await built.hub.task("a")).task.state is TaskState.SUCCEEDED
        assert await hand.work() == {}
        assert built.pump.scheduler.books.timers.due_ms(TimerKind.ASSIGN, "b") is not None


async def test_a_cut_is_told_by_an_event_of_the_task() -> None:
    """So that whoever wonders about an answer finds out what the model did not see."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu", slots=4))
        hand = await hand_in(built, chat("a"), chat("b", needs=("a",), model="qwen"))
        await hand.work()
        await hand.end("a", "x" * 400_000)
        assert "characters left out" in (await hand.work())["b"].spec.prompt
        events = [event for event in (await built.hub.task("b")).events if event.name == "task.results_trimmed"]
        assert [event.metadata["results"] for event in events] == ["a"]
        why = await built.hub.why("b")
        assert any("so they are cut" in line for line in why.lines)


async def test_a_worker_with_its_own_access_is_told_the_decided_model() -> None:
    """No endpoint is registered; after a failed check it has to ask for the next of the task's models."""
    async with house() as built:
        hand = await hand_in(built, chat("a", model="m0", fallback_models=("m1",)))
        assert (await hand.work())["a"].spec.model == "m0"
        await hand.end("a", "nonsense", kind=FailureClass.VERIFICATION)
        work = (await hand.work())["a"]
        assert (work.generation, work.spec.model) == (2, "m1")
        why = await built.hub.why("a")
        assert any("attempt 1 on m0 failed (verification); next of its models: m1" in line for line in why.lines)
        assert "by fallback" in why.headline
