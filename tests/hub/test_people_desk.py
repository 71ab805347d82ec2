"""Answers on a real hub: durable, told to the next attempt, refused where nobody asked."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.fleet import WorkerOffer
from ostler.domain.policy import Policy
from ostler.domain.states import Failure, FailureClass, Question, TaskState
from ostler.domain.tasks import Answer, Task, TaskKind, TaskSpec
from ostler.domain.work import Finished
from ostler.hub.handing import hand_over
from ostler.scheduling.signals import Restored, Wake
from tests.hub.house import House, house
from tests.scheduling.rig import three_tiers

QUESTION = Failure(kind=FailureClass.QUESTION, message="Which one? [red | green]", at_ms=5)


@pytest.fixture
async def built() -> AsyncIterator[House]:
    """A hub in memory."""
    async with house() as made:
        yield made


async def asking(built: House) -> Task:
    """A task whose attempt asked."""
    session = await built.hub.link.join(WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 2}))
    await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
    await built.hub.link.report(session.id, [Finished(task_id="t", generation=1, at_ms=5, ok=False, failure=QUESTION)])
    return (await built.hub.task("t")).task


async def test_an_answer_is_stored_with_what_was_asked(built: House) -> None:
    """And the task goes on; the event says that it did."""
    assert (await asking(built)).state is TaskState.NEEDS_HUMAN

    row = await built.hub.people.answer("t", "  the green one ")

    assert [(one.asked, one.text) for one in row.answers] == [("Which one? [red | green]", "the green one")]
    found = await built.hub.task("t")
    assert found.task.state is TaskState.ASSIGNED
    assert found.task.generation == 2
    assert "task.answered" in [event.name for event in found.events]


@pytest.mark.parametrize(("text", "told"), [(" ", "the answer is empty"), ("x" * 20_001, "has 20001 characters")])
async def test_an_answer_that_says_nothing_or_too_much_is_refused(built: House, text: str, told: str) -> None:
    """The task still asks."""
    await asking(built)

    with pytest.raises(InvalidInputError, match=told):
        await built.hub.people.answer("t", text)

    assert (await built.hub.task("t")).task.state is TaskState.NEEDS_HUMAN


async def test_nobody_is_answered_who_did_not_ask(built: House) -> None:
    """No such task, or one that is answered already."""
    with pytest.raises(NotFoundError):
        await built.hub.people.answer("moon", "green")
    await asking(built)
    await built.hub.people.answer("t", "green")
    with pytest.raises(ConflictError, match="only tasks that need a person"):
        await built.hub.people.answer("t", "green")


async def test_a_chat_is_told_in_its_prompt(built: House) -> None:
    """An agent is told in its notes; a command is told nothing."""
    await asking(built)
    row = await built.hub.people.answer("t", "green")
    policy = built.hub._pump.scheduler.books.policy
    chat = TaskSpec(id="t", kind=TaskKind.CHAT, prompt="Paint it.")
    agent = TaskSpec(id="t", kind=TaskKind.AGENT, prompt="Paint it.")

    told = hand_over(row, chat, (), None, policy, 0).spec.prompt

    assert told == "Paint it.\n\nA person was asked:\n- asked: Which one? [red | green]\n  answered: green"
    assert hand_over(row, agent, (), None, policy, 0).spec.prompt == "Paint it."
    assert row.answers == (Answer(asked=QUESTION.message, text="green", at_ms=row.answers[0].at_ms),)


# -- questions with choices, an owner and a deadline -------------------------------------------------------------------

HOUR_MS = 3_600_000
SIDES = Question(choices=("red", "green"), default="green")


def policy_of(**rules: object) -> Policy:
    """A scheduler with these rules."""
    policy = three_tiers()
    return replace(policy, scheduler=replace(policy.scheduler, session_dead_ms=10**9, **rules))


async def ask(built: House, name: str, question: Question | None = None, **fields: object) -> None:
    """A task that asks."""
    worker = WorkerOffer(name=f"w-{name}", host="w", slots={TaskKind.COMMAND: 1})
    session = await built.hub.link.join(worker)
    spec = TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), worker=worker.name)
    await built.hub.submit([replace(spec, **fields)])
    failure = replace(QUESTION, message=f"{name}?", question=question)
    await built.hub.link.report(session.id, [Finished(task_id=name, generation=1, at_ms=5, ok=False, failure=failure)])


async def test_questions_are_listed_the_most_urgent_first() -> None:
    """The nearest deadline before the later, both before what waits for ever; of equals the oldest."""
    async with house(policy=policy_of(owner="ada")) as built:
        for name, within_ms in (("old", 0), ("later", 2 * HOUR_MS), ("soon", HOUR_MS), ("new", 0)):
            await ask(built, name, answer_within_ms=within_ms)
            built.clock.pass_ms(1_000)

        found = await built.hub.people.questions()

        assert [one.task for one in found.questions] == ["soon", "later", "old", "new"]
        assert {one.owner for one in found.questions} == {"ada"}


async def test_whose_questions_they_are_can_be_asked() -> None:
    """Theirs and anybody's; what is for another is left out."""
    async with house(policy=policy_of()) as built:
        for name, owner in (("a", "ada"), ("b", "grace"), ("c", None)):
            await ask(built, name, SIDES, owner=owner)

        async def seen(owner: str | None) -> list[str]:
            return [one.task for one in (await built.hub.people.questions(owner)).questions]

        assert [await seen(None), await seen("ada"), await seen("grace")] == [["a", "b", "c"], ["a", "c"], ["b", "c"]]
        (first, *_) = (await built.hub.people.questions("ada")).questions
        assert (first.asked, first.choices, first.default, first.kind) == (
            "a?",
            ("red", "green"),
            "green",
            FailureClass.QUESTION,
        )


async def test_a_wrong_choice_is_refused_and_nothing_is_stored() -> None:
    """Unless it is meant to be another."""
    async with house(policy=policy_of()) as built:
        await ask(built, "t", SIDES)
        with pytest.raises(InvalidInputError, match=r"did you mean 'green'\?"):
            await built.hub.people.answer("t", "grene")
        assert (await built.hub.task("t")).task.answers == ()

        await built.hub.people.answer("t", "blue", other=True)

        assert [one.text for one in (await built.hub.task("t")).task.answers] == ["blue"]
        assert (await built.hub.people.questions()).questions == ()


async def test_a_question_is_as_durable_as_its_task() -> None:
    """A hub that takes up what another stored lists the same, and takes the default when its time has come."""
    async with house(policy=policy_of(owner="ada", answer_within_ms=HOUR_MS)) as built:
        await ask(built, "t", SIDES)
        (before,) = (await built.hub.people.questions()).questions
        work = await built.store.open_work()

        again = House(built.store, policy_of())
        again.clock.pass_ms(10_000)
        again.pump.start()
        await again.pump.post(Restored(tasks=work.tasks, sessions=()))
        assert (await again.hub.people.questions()).questions == (before,)
        again.clock.pass_ms(HOUR_MS)
        await again.pump.post(Wake())

        found = await again.hub.task("t")
        await again.pump.stop()
        assert [(one.text, one.by_default) for one in found.task.answers] == [("green", True)]
        assert found.task.state is TaskState.QUEUED
        assert "task.answered" in [event.name for event in found.events]


async def test_a_chat_is_told_that_nobody_answered(built: House) -> None:
    """In words that leave no doubt whose decision it was."""
    await asking(built)
    row = await built.hub.people.answer("t", "yes")
    row = replace(row, answers=(Answer(asked="Which?", text="green", at_ms=1, by_default=True), *row.answers))
    chat = TaskSpec(id="t", kind=TaskKind.CHAT, prompt="Paint it.")

    told = hand_over(row, chat, (), None, three_tiers(), 0).spec.prompt

    assert "- asked: Which?\n  nobody answered in time, the default is: green" in told
    assert "- asked: Which one? [red | green]\n  answered: yes" in told
