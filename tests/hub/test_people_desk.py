"""Answers on a real hub: durable, told to the next attempt, refused where nobody asked."""

from collections.abc import AsyncIterator

import pytest

from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Answer, Task, TaskKind, TaskSpec
from ostler.domain.work import Finished
from ostler.hub.handing import hand_over
from tests.hub.house import House, house

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
