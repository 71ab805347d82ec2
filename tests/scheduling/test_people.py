"""What a person answers: the task goes on where it was, and is told."""

import pytest

from ostler.domain.errors import ConflictError
from ostler.domain.states import FailureClass, TaskState
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, cloud, local


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.worker()
    made.up(local("gpu", slots=4))
    return made


def asked(rig: Rig, kind: FailureClass = FailureClass.QUESTION) -> None:
    """A task whose attempt needs a person."""
    rig.chat("t", max_attempts=2)
    rig.finish("t", kind)
    assert rig.rows["t"].state is TaskState.NEEDS_HUMAN


def answer(rig: Rig, text: str) -> None:
    """A person answers."""
    rig.tell(sig.Answered(task=rig.rows["t"], text=text))


def test_a_question_uses_up_no_attempt(rig: Rig) -> None:
    """Whoever asks instead of guessing is not punished for it, however often."""
    rig.chat("t", max_attempts=2)
    for number in range(4):
        rig.finish("t", FailureClass.QUESTION)
        answer(rig, f"answer {number}")

    row = rig.rows["t"]
    assert (row.attempts_used, row.attempts_lost, row.generation) == (0, 0, 5)
    assert [one.text for one in row.answers] == [f"answer {number}" for number in range(4)]


def test_an_answered_task_goes_on_in_a_new_attempt_that_is_told(rig: Rig) -> None:
    """With what it had asked beside the answer; the failure is over."""
    asked(rig)

    answer(rig, "the green one")

    row = rig.rows["t"]
    assert (row.state, row.generation, row.failure) == (TaskState.ASSIGNED, 2, None)
    assert [one.text for one in row.answers] == ["the green one"]
    assert row.answers[0].asked
    rig.finish("t")
    assert rig.rows["t"].state is TaskState.SUCCEEDED
    assert rig.rows["t"].answers == row.answers


def test_an_answer_keeps_tier_and_counts(rig: Rig) -> None:
    """It is no retry: what failed before still counts, and a tier that it had to climb stays climbed."""
    rig.up(cloud("far"), models=("claude",))
    rig.chat("t", max_attempts=3)
    rig.finish("t", FailureClass.CAPABILITY)
    climbed = rig.rows["t"]
    rig.finish("t", FailureClass.QUESTION)

    answer(rig, "yes")

    row = rig.rows["t"]
    assert (row.quality_steps, row.attempts_used, row.tier) == (
        climbed.quality_steps,
        climbed.attempts_used,
        climbed.tier,
    )


@pytest.mark.parametrize("kind", [FailureClass.AUTH, FailureClass.POLICY])
def test_whatever_needs_a_person_takes_an_answer(rig: Rig, kind: FailureClass) -> None:
    """Not only questions."""
    asked(rig, kind)

    answer(rig, "the key is renewed")

    assert rig.rows["t"].answers[-1].text == "the key is renewed"


def test_a_task_that_asks_nobody_takes_no_answer(rig: Rig) -> None:
    """Neither one that runs nor one that is done."""
    rig.chat("t")
    with pytest.raises(ConflictError, match="only tasks that need a person"):
        answer(rig, "green")
    rig.finish("t")
    with pytest.raises(ConflictError, match="is succeeded"):
        answer(rig, "green")
