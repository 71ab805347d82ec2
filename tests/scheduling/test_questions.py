"""Who is asked until when, what can be answered, and what becomes of a question that nobody answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.domain.policy import SchedulerPolicy, Unanswered
from ostler.domain.states import Failure, FailureClass, Question, TaskState
from ostler.domain.work import Finished
from ostler.scheduling import signals as sig
from ostler.scheduling.people import chosen
from ostler.scheduling.timers import TimerKind
from tests.scheduling.rig import Rig, cloud, local, three_tiers

HOUR_MS = 3_600_000
SIDES = Question(choices=("left", "right"), default="left")
NO_DEFAULT = Question(choices=("left", "right"))


def rig_of(**rules: object) -> Rig:
    """A rig whose scheduler has these rules, with room for everything and a worker that is never missed."""
    patient = SchedulerPolicy(heartbeat_ms=10**9, session_dead_ms=10**10)
    policy = replace(three_tiers(), scheduler=replace(patient, **rules))
    made = Rig(policy)
    made.worker()
    made.up(local("gpu", slots=4))
    return made


def ask(
    rig: Rig, question: Question | None = SIDES, *, owner: str | None = None, answer_within_ms: int | None = None
) -> Question | None:
    """A task whose attempt asks; answers what is stored of the question."""
    rig.chat("t", owner=owner, answer_within_ms=answer_within_ms)
    again(rig, question)
    failure = rig.rows["t"].failure
    assert failure is not None
    return failure.question


def again(rig: Rig, question: Question | None = SIDES) -> None:
    """The running attempt asks."""
    rig.start("t")
    row = rig.rows["t"]
    failure = Failure(kind=FailureClass.QUESTION, message="Which way?", at_ms=rig.now_ms, question=question)
    report = Finished(task_id="t", generation=row.generation, at_ms=rig.now_ms, ok=False, failure=failure)
    rig.tell(sig.Reported(session_id=row.session or "", report=report))
    assert rig.state("t") is TaskState.NEEDS_HUMAN


def answer(rig: Rig, text: str, *, other: bool = False) -> None:
    """A person answers."""
    rig.tell(sig.Answered(task=rig.rows["t"], text=text, other=other))


def restarted(rig: Rig) -> Rig:
    """The rig after a restart of its hub: what was stored is all that is known."""
    made = Rig(rig.policy)
    made.now_ms, made.rows, made.ledger = rig.now_ms, rig.rows, rig.ledger
    met = {need: True for row in rig.rows.values() for need in row.needs}
    made.tell(sig.Restored(tasks=tuple(rig.rows.values()), sessions=(), settled=met))
    return made


# -- who, and until when -----------------------------------------------------------------------------------------------


def test_a_question_is_stored_with_all_that_belongs_to_it() -> None:
    """Choices and default from who asks, owner and deadline from the profile. The event says the same."""
    rig = rig_of(owner="ada", answer_within_ms=HOUR_MS)

    found = ask(rig)

    until_ms = rig.now_ms + HOUR_MS
    assert found == Question(choices=("left", "right"), default="left", owner="ada", deadline_ms=until_ms)
    told = rig.named("task.needs_human")[-1].metadata
    named = ("owner", "choices", "default", "deadline_ms", "message")
    assert [told[name] for name in named] == ["ada", "left | right", "left", until_ms, "Which way?"]


def test_the_task_goes_before_the_profile() -> None:
    """In whom it asks and in how long it waits; zero is for ever."""
    rig = rig_of(owner="ada", answer_within_ms=HOUR_MS)

    found = ask(rig, owner="grace", answer_within_ms=0)

    assert found == Question(choices=("left", "right"), default="left", owner="grace")


def test_what_a_worker_says_of_owner_and_deadline_is_not_believed() -> None:
    """Whoever asks says what can be answered, not of whom, and not how long the hub waits."""
    assert ask(rig_of(), Question(choices=("a", "b"), owner="mallory", deadline_ms=1)) == Question(choices=("a", "b"))


@pytest.mark.parametrize("kind", [FailureClass.AUTH, FailureClass.POLICY])
def test_whatever_needs_a_person_has_an_owner_and_a_deadline(kind: FailureClass) -> None:
    """Not only questions of an agent."""
    rig = rig_of(owner="ada", answer_within_ms=HOUR_MS)
    rig.up(cloud("far"))
    rig.chat("t")
    rig.finish("t", kind)

    failure = rig.rows["t"].failure
    assert failure is not None
    assert failure.question == Question(owner="ada", deadline_ms=rig.now_ms + HOUR_MS)


def test_where_nothing_is_said_nothing_is_stored() -> None:
    """No owner, no deadline, no choices: only the words."""
    assert ask(rig_of(), None) is None


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["right", " Right ", "RIGHT"])
def test_a_choice_is_meant_whatever_its_case(text: str) -> None:
    """The next attempt is told it as it was offered."""
    rig = rig_of()
    ask(rig)

    answer(rig, text)

    assert [one.text for one in rig.rows["t"].answers] == ["right"]
    assert rig.named("task.answered")[-1].metadata["by_default"] is False


def test_an_answer_that_is_none_of_the_choices_is_refused_with_the_nearest() -> None:
    """The task asks on."""
    rig = rig_of()
    ask(rig)

    with pytest.raises(InvalidInputError) as told:
        answer(rig, "rigth")

    assert str(told.value) == "answer: 'rigth' is none of the choices (did you mean 'right'?)"
    assert rig.state("t") is TaskState.NEEDS_HUMAN
    assert rig.rows["t"].answers == ()


def test_another_answer_is_taken_from_who_means_it() -> None:
    """The asker may not have thought of everything."""
    rig = rig_of()
    ask(rig)

    answer(rig, "neither, turn back", other=True)

    assert rig.rows["t"].answers[-1].text == "neither, turn back"


@given(st.lists(st.text(min_size=1).map(str.strip).filter(bool), max_size=5), st.text(), st.booleans())
def test_an_answer_is_a_choice_or_meant_to_be_another(choices: list[str], text: str, other: bool) -> None:
    """Whatever the choices are called; without choices everything is an answer."""
    question = Question(choices=tuple(choices))
    try:
        got = chosen(question, text, other=other)
    except InvalidInputError:
        assert choices, "refused without choices"
        assert not other, "refused though it is meant to be another"
        assert text.strip() not in choices, "a choice was refused"
    else:
        assert got in choices or (got == text.strip() and (other or not choices)), "taken, and neither"


# -- when nobody answers -----------------------------------------------------------------------------------------------


def test_the_default_is_taken_when_the_time_is_over_and_not_before() -> None:
    """The next attempt begins by itself; that nobody answered is stored, and in the event."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    ask(rig)

    rig.pass_ms(HOUR_MS - 1)
    assert rig.state("t") is TaskState.NEEDS_HUMAN
    rig.pass_ms(1)

    row = rig.rows["t"]
    assert (row.state, row.generation, row.failure) == (TaskState.ASSIGNED, 2, None)
    assert [(one.asked, one.text, one.by_default) for one in row.answers] == [("Which way?", "left", True)]
    assert rig.named("task.answered")[-1].metadata["by_default"] is True
    assert (row.attempts_used, row.attempts_lost) == (0, 0)


def test_an_answer_in_time_leaves_no_default_to_take() -> None:
    """And a later question of the same task has a time of its own."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    ask(rig)
    rig.pass_ms(HOUR_MS - 1)
    answer(rig, "right")
    again(rig)
    rig.pass_ms(HOUR_MS - 1)
    assert [one.text for one in rig.rows["t"].answers] == ["right"]
    assert rig.state("t") is TaskState.NEEDS_HUMAN

    rig.pass_ms(1)

    assert [one.text for one in rig.rows["t"].answers] == ["right", "left"]


def test_without_a_default_it_waits_on_and_that_is_told_once() -> None:
    """A deadline is no reason to guess."""
    rig = rig_of(owner="ada", answer_within_ms=HOUR_MS)
    ask(rig, NO_DEFAULT)

    rig.pass_ms(30 * HOUR_MS)

    assert rig.state("t") is TaskState.NEEDS_HUMAN
    (told,) = rig.named("task.unanswered")
    assert (told.metadata["owner"], told.metadata["action"], told.metadata["state"]) == ("ada", "wait", "needs_human")
    answer(rig, "right")
    assert rig.state("t") is TaskState.ASSIGNED


@pytest.mark.parametrize(("owner", "who"), [("ada", "ada has not"), ("", "nobody has")])
def test_without_a_default_it_fails_where_the_profile_says_so(owner: str, who: str) -> None:
    """With what was asked, and of whom; what needs it ends as with any failure."""
    rig = rig_of(owner=owner, answer_within_ms=HOUR_MS, unanswered=Unanswered.FAIL)
    ask(rig, NO_DEFAULT)
    rig.chat("after", needs=["t"])

    rig.pass_ms(HOUR_MS)

    row = rig.rows["t"]
    assert row.state is TaskState.FAILED
    assert row.failure is not None
    assert (row.failure.kind, row.failure.message) == (
        FailureClass.QUESTION,
        f"{who} answered in time: Which way?",
    )
    assert rig.state("after") is TaskState.CANCELLED
    assert [event.metadata["action"] for event in rig.named("task.unanswered")] == ["fail"]


def test_a_default_is_taken_even_where_questions_fail() -> None:
    """That rule is for those without one."""
    rig = rig_of(answer_within_ms=HOUR_MS, unanswered=Unanswered.FAIL)
    ask(rig)

    rig.pass_ms(HOUR_MS)

    assert rig.rows["t"].answers[-1].text == "left"
    assert rig.named("task.unanswered") == []


@pytest.mark.parametrize("way", ["cancel", "retry"])
def test_a_question_that_is_over_has_no_deadline(way: str) -> None:
    """Cancelled or sent back by a person: nothing is answered later."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    ask(rig)
    if way == "cancel":
        rig.tell(sig.Cancel(task_id="t", reason="enough"))
    else:
        rig.tell(sig.Retry(task=rig.rows["t"]))

    rig.pass_ms(2 * HOUR_MS)

    assert rig.rows["t"].answers == ()
    assert rig.named("task.answered") == []


def test_a_task_that_is_paused_takes_its_default_and_starts_when_it_may() -> None:
    """The answer is for the task; whether it may run is another question."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    ask(rig)
    rig.tell(sig.Pause(task_id="t"))

    rig.pass_ms(HOUR_MS)

    assert rig.state("t") is TaskState.QUEUED
    assert rig.wait_code("t") == "paused"
    rig.tell(sig.Resume(task_id="t"))
    assert rig.state("t") is TaskState.ASSIGNED


# -- over a restart ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away_ms", [0, HOUR_MS // 2, 3 * HOUR_MS])
def test_a_deadline_outlives_the_hub(away_ms: int) -> None:
    """Whether it passes while the hub is away or after it is back: the default is taken then, once."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    ask(rig)
    due_ms = rig.now_ms + HOUR_MS
    rig.now_ms += away_ms

    back = restarted(rig)
    back.pass_ms(max(0, due_ms - back.now_ms - 1))
    if away_ms < HOUR_MS:
        assert back.state("t") is TaskState.NEEDS_HUMAN
    back.pass_ms(1)

    assert [(one.text, one.by_default) for one in back.rows["t"].answers] == [("left", True)]
    assert back.state("t") is TaskState.QUEUED
    back.pass_ms(5 * HOUR_MS)
    assert len(back.rows["t"].answers) == 1


def test_a_deadline_that_passed_without_a_default_is_told_again_after_a_restart() -> None:
    """Whoever follows the events from then on has to know of it, too."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    ask(rig, NO_DEFAULT)
    rig.pass_ms(2 * HOUR_MS)

    back = restarted(rig)
    back.pass_ms(HOUR_MS)

    assert len(back.named("task.unanswered")) == 1
    assert back.state("t") is TaskState.NEEDS_HUMAN


def test_other_rules_after_a_restart_change_no_deadline_that_was_told() -> None:
    """What a person was promised holds; the rule for questions without a default is the one of the day."""
    rig = rig_of(owner="ada", answer_within_ms=HOUR_MS)
    ask(rig, NO_DEFAULT)
    rig.policy = rig_of(answer_within_ms=0, unanswered=Unanswered.FAIL).policy

    back = restarted(rig)
    back.pass_ms(HOUR_MS - 1)
    assert back.state("t") is TaskState.NEEDS_HUMAN
    back.pass_ms(1)

    assert back.state("t") is TaskState.FAILED


def test_needs_of_a_task_that_goes_on_by_default_are_as_they_were() -> None:
    """It has run before, so they were met; after a restart nobody holds them any more."""
    rig = rig_of(answer_within_ms=HOUR_MS)
    rig.chat("first")
    rig.chat("t", needs=["first"])
    rig.finish("first")
    again(rig)
    rig.rows = {"t": rig.rows["t"]}

    back = restarted(rig)
    back.worker()
    back.up(local("gpu", slots=4))
    back.pass_ms(HOUR_MS)

    assert back.state("t") is TaskState.ASSIGNED


def test_no_timer_is_kept_for_what_has_no_deadline() -> None:
    """A hub with a thousand open questions is not woken for them."""
    rig = rig_of()
    ask(rig)

    assert rig.scheduler.books.timers.due_ms(TimerKind.ANSWER, "t") is None
