"""Every store: a transition is applied whole or refused with the row as it is."""

import itertools

import msgspec
import pytest

from ostler.domain.commands import Applied, RefusalReason, Refused, Result, UpdateTask
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import Failure, FailureClass, TaskState, Wait, WaitCode, may_move
from ostler.domain.tasks import Task, Usage
from tests.store.rows_made import (
    NOW_MS,
    make_attempt,
    make_decision,
    make_event,
    make_spec,
    make_submit,
    make_task,
    make_update,
    moved,
)

S = TaskState
PATHS: dict[TaskState, tuple[TaskState, ...]] = {
    S.SCHEDULED: (),
    S.QUEUED: (),
    S.ASSIGNED: (S.ASSIGNED,),
    S.RUNNING: (S.ASSIGNED, S.RUNNING),
    S.EVALUATING: (S.ASSIGNED, S.RUNNING, S.EVALUATING),
    S.RETRY_WAIT: (S.ASSIGNED, S.RETRY_WAIT),
    S.NEEDS_HUMAN: (S.NEEDS_HUMAN,),
    S.SUCCEEDED: (S.ASSIGNED, S.RUNNING, S.EVALUATING, S.SUCCEEDED),
    S.FAILED: (S.FAILED,),
    S.EXPIRED: (S.EXPIRED,),
    S.CANCELLED: (S.CANCELLED,),
    S.DEAD_LETTER: (S.DEAD_LETTER,),
}


async def brought_to(store: Store, state: TaskState, task_id: str = "t1", seq: int = 1) -> Task:
    """A stored task in a state, by the shortest way."""
    first = S.SCHEDULED if state is S.SCHEDULED else S.QUEUED
    submit = make_submit(task_id, first_seq=seq)
    task = make_task(task_id, seq, first)
    submit = msgspec.structs.replace(submit, tasks=(msgspec.structs.replace(submit.tasks[0], task=task),))
    commands = []
    for step in PATHS[state]:
        commands.append(make_update(task, step))
        task = commands[-1].task
    answers = await store.apply([submit, *commands])
    assert all(isinstance(answer, Applied) for answer in answers), answers
    return task


async def only_answer(store: Store, command: UpdateTask) -> Result:
    (answer,) = await store.apply([command])
    return answer


@pytest.mark.parametrize("state", list(TaskState))
async def test_the_table_of_transitions_is_the_law(store: Store, state: TaskState) -> None:
    """From each state exactly the moves of the domain's table are applied; any other is refused as illegal."""
    for number, target in enumerate(TaskState, 1):
        before = await brought_to(store, state, f"t{number}", number)

        answer = await only_answer(store, make_update(before, target))

        detail = await store.task(before.id)
        assert detail is not None
        if may_move(state, target):
            assert isinstance(answer, Applied), (state, target, answer)
            assert detail.task == moved(before, target)
        else:
            assert isinstance(answer, Refused), (state, target)
            assert (answer.reason, answer.task) == (RefusalReason.ILLEGAL, before)
            assert detail.task == before


async def test_a_refused_transition_leaves_nothing_behind(store: Store) -> None:
    """No row, event, attempt, decision or output of a refused command is kept."""
    before = await brought_to(store, S.ASSIGNED)
    stored = await store.task("t1")
    stale = msgspec.structs.replace(
        make_update(before, S.RUNNING),
        expect_generation=0,
        attempt=make_attempt(),
        decision=make_decision(),
        output="text",
    )

    answer = await only_answer(store, stale)

    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.STALE_GENERATION
    assert await store.task("t1") == stored
    assert (await store.open_work()).last_event_seq == 2


async def test_an_update_that_is_there_already_is_applied_once(store: Store) -> None:
    """Whoever has not heard of its commit asks again, word for word, and is answered as the first time: with the spec,
    and without a second event. One that differs in anything is refused as too late.
    """
    before = await brought_to(store, S.QUEUED)
    assign = msgspec.structs.replace(make_update(before, S.ASSIGNED), attempt=make_attempt(), want_spec=True)
    first = await only_answer(store, assign)
    stored = await store.task("t1")

    again = await only_answer(store, assign)
    other = msgspec.structs.replace(assign, task=msgspec.structs.replace(assign.task, title="another"))

    assert isinstance(first, Applied)
    assert isinstance(again, Applied)
    assert again.spec == first.spec is not None
    assert await store.task("t1") == stored
    refused = await only_answer(store, other)
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.STALE_GENERATION


async def test_a_stale_generation_is_named_before_a_wrong_state(store: Store) -> None:
    """A worker of an old attempt is told that it is old, whatever state the task is in now."""
    before = await brought_to(store, S.ASSIGNED)
    stale = msgspec.structs.replace(make_update(before, S.RUNNING), expect_generation=0, expect_states=(S.RUNNING,))

    answer = await only_answer(store, stale)

    assert answer == Refused(
        reason=RefusalReason.STALE_GENERATION, message="task t1 is at generation 1, not 0", task=before
    )


async def test_an_unexpected_state_is_refused(store: Store) -> None:
    """The caller names the states it knows of; the row as it is tells it what it missed."""
    before = await brought_to(store, S.CANCELLED)
    hopeful = msgspec.structs.replace(
        make_update(before, S.QUEUED), expect_states=(S.FAILED, S.EXPIRED), expect_generation=0
    )

    answer = await only_answer(store, hopeful)

    assert answer == Refused(
        reason=RefusalReason.WRONG_STATE, message="task t1 is cancelled, not failed or expired", task=before
    )


async def test_no_expected_state_matches_nothing(store: Store) -> None:
    """An empty list of states is a condition that never holds."""
    before = await brought_to(store, S.QUEUED)

    answer = await only_answer(store, msgspec.structs.replace(make_update(before, S.ASSIGNED), expect_states=()))

    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.WRONG_STATE


async def test_an_unknown_task_is_not_found(store: Store) -> None:
    """There is no row to show."""
    answer = await only_answer(store, make_update(make_task("nobody"), S.ASSIGNED))

    assert answer == Refused(reason=RefusalReason.NOT_FOUND, message="there is no task nobody", task=None)


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (S.ASSIGNED, {"session": None}, "assigned needs a session"),
        (S.ASSIGNED, {"wait": Wait(code=WaitCode.DEPS, since_ms=1)}, "assigned allows no wait reason"),
        (S.ASSIGNED, {"finished_ms": 1}, "assigned has not finished"),
        (S.QUEUED, {"wait": None}, "queued needs a wait reason"),
        (S.CANCELLED, {"finished_ms": None}, "cancelled needs finished_ms"),
        (S.CANCELLED, {"session": "s1"}, "cancelled allows no session"),
        (S.ASSIGNED, {"seq": 99}, "its sequence number is 1"),
        (S.ASSIGNED, {"generation": -1}, "never falls"),
    ],
)
async def test_a_row_that_contradicts_itself_is_refused(
    store: Store, state: TaskState, changes: dict[str, object], words: str
) -> None:
    """Wait, end and session belong to their states; the number never changes; the generation never falls."""
    before = await brought_to(store, S.QUEUED)

    answer = await only_answer(store, make_update(before, state, **changes))

    assert isinstance(answer, Refused)
    assert (answer.reason, answer.task) == (RefusalReason.ILLEGAL, before)
    assert words in answer.message


@pytest.mark.parametrize(("task_id", "generation"), [("t2", 1), ("t1", 2)])
async def test_an_attempt_of_something_else_is_refused(store: Store, task_id: str, generation: int) -> None:
    """An attempt is one of this task, and no newer than its row says."""
    before = await brought_to(store, S.QUEUED)
    command = msgspec.structs.replace(make_update(before, S.ASSIGNED), attempt=make_attempt(task_id, generation))

    answer = await only_answer(store, command)

    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.ILLEGAL


async def test_the_state_before_is_what_the_store_found(store: Store) -> None:
    """A caller that allows several states need not know which one it was; the stored row does."""
    before = await brought_to(store, S.RUNNING)
    command = make_update(before, S.CANCELLED, prev_state=S.QUEUED)

    answer = await only_answer(store, msgspec.structs.replace(command, expect_states=(S.QUEUED, S.ASSIGNED, S.RUNNING)))

    detail = await store.task("t1")
    assert isinstance(answer, Applied)
    assert detail is not None
    assert detail.task.prev_state is S.RUNNING


async def test_of_two_writers_with_the_same_expectation_one_wins(store: Store) -> None:
    """In one batch too, the second of two equal claims sees what the first did."""
    before = await brought_to(store, S.QUEUED)
    first, second = (make_update(before, S.ASSIGNED, worker=worker) for worker in ("a", "b"))

    answers = await store.apply([first, second])

    assert isinstance(answers[0], Applied)
    assert isinstance(answers[1], Refused)
    assert (answers[1].reason, answers[1].task) == (RefusalReason.STALE_GENERATION, first.task)
    detail = await store.task("t1")
    assert detail is not None
    assert detail.task.worker == "a"


async def test_the_others_of_a_batch_go_on(store: Store) -> None:
    """A refusal in the middle changes nothing for the commands around it, and answers keep their order."""
    tasks = [await brought_to(store, S.QUEUED, f"t{n}", n) for n in (1, 2, 3)]
    wrong = msgspec.structs.replace(make_update(tasks[1], S.ASSIGNED), expect_generation=4)

    answers = await store.apply([make_update(tasks[0], S.ASSIGNED), wrong, make_update(tasks[2], S.ASSIGNED)])

    assert [type(answer) for answer in answers] == [Applied, Refused, Applied]
    assert await store.states(["t1", "t2", "t3"]) == {"t1": S.ASSIGNED, "t2": S.QUEUED, "t3": S.ASSIGNED}


async def test_another_wait_reason_is_a_transition(store: Store) -> None:
    """Queued to queued stores why a task waits now."""
    before = await brought_to(store, S.QUEUED)
    wait = Wait(code=WaitCode.FALLBACK_WAIT, since_ms=NOW_MS, detail="tier down", next_check_ms=NOW_MS + 5_000)

    await store.apply([make_update(before, S.QUEUED, wait=wait)])

    detail = await store.task("t1")
    assert detail is not None
    assert (detail.task.wait, detail.task.prev_state) == (wait, S.QUEUED)


async def test_attempts_decisions_and_output_are_kept_by_generation(store: Store) -> None:
    """Each attempt keeps its own; a later write of the same attempt replaces it; the newest output is shown."""
    task = await brought_to(store, S.QUEUED)
    usage = Usage(input_tokens=3, output_tokens=4)
    for generation in (1, 2):
        assign = make_update(task, S.ASSIGNED)
        attempt = make_attempt(generation=generation)
        decision = make_decision(generation=generation, summary=f"choice {generation}")
        await store.apply([msgspec.structs.replace(assign, attempt=attempt, decision=decision)])
        failure = Failure(kind=FailureClass.NETWORK, message="cut", at_ms=NOW_MS, retry_after_ms=5)
        ended = msgspec.structs.replace(attempt, finished_ms=NOW_MS, ok=False, failure=failure, usage=usage)
        back = make_update(assign.task, S.QUEUED)
        await store.apply([msgspec.structs.replace(back, attempt=ended, output=f"output {generation}")])
        task = back.task

    detail = await store.task("t1")

    assert detail is not None
    assert [(attempt.generation, attempt.ok) for attempt in detail.attempts] == [(1, False), (2, False)]
    assert detail.attempts[1].usage == usage
    assert [decision.summary for decision in detail.decisions] == ["choice 1", "choice 2"]
    assert detail.output == "output 2"


async def test_output_without_an_attempt_belongs_to_the_newest(store: Store) -> None:
    """A decision or output that comes alone is kept under the task's own generation."""
    before = await brought_to(store, S.RUNNING)
    command = msgspec.structs.replace(make_update(before, S.EVALUATING), output="", decision=make_decision())

    await store.apply([command])

    detail = await store.task("t1")
    assert detail is not None
    assert detail.output == ""
    assert detail.decisions == (make_decision(),)


async def test_what_comes_with_an_attempt_is_kept_with_it(store: Store) -> None:
    """Output and decision that come with an older attempt are that attempt's, and hide nothing newer."""
    task = await brought_to(store, S.RETRY_WAIT)
    queued = make_update(task, S.QUEUED)
    second = make_update(queued.task, S.ASSIGNED)
    waiting = make_update(second.task, S.QUEUED)
    older = msgspec.structs.replace(
        waiting, attempt=make_attempt(generation=1), output="of the first", decision=make_decision(summary="first")
    )

    await store.apply([queued, msgspec.structs.replace(second, output="of the second"), older])

    detail = await store.task("t1")
    assert detail is not None
    assert detail.output == "of the second"
    assert [attempt.generation for attempt in detail.attempts] == [1]
    assert [decision.summary for decision in detail.decisions] == ["first"]


async def test_an_assignment_gets_the_spec_it_asks_for(store: Store) -> None:
    """`want_spec` answers with the spec, of a task stored before or in the same batch; otherwise there is none."""
    before = await brought_to(store, S.QUEUED)
    fresh = make_task("t2", 2)

    answers = await store.apply(
        [
            msgspec.structs.replace(make_update(before, S.ASSIGNED), want_spec=True),
            make_submit("t2", first_seq=2),
            msgspec.structs.replace(make_update(fresh, S.ASSIGNED), want_spec=True),
            make_update(moved(fresh, S.ASSIGNED), S.RUNNING),
        ]
    )

    specs = [answer.spec for answer in answers if isinstance(answer, Applied)]
    assert specs == [make_spec("t1"), None, make_spec("t2"), None]


async def test_the_newest_event_of_a_command_is_named(store: Store) -> None:
    """`last_seq` is the number of the command's own newest event, and 0 when it has none."""
    before = await brought_to(store, S.QUEUED)
    two = msgspec.structs.replace(make_update(before, S.ASSIGNED), events=(make_event(), make_event()))
    none = msgspec.structs.replace(make_update(two.task, S.RUNNING), events=())

    answers = await store.apply([two, none])

    assert [answer.last_seq for answer in answers if isinstance(answer, Applied)] == [3, 0]


async def test_a_task_sent_back_by_hand_is_open_again(store: Store) -> None:
    """From a bad end a task goes back to the queue and is part of the open work again."""
    for number, state in enumerate((S.FAILED, S.EXPIRED, S.CANCELLED, S.DEAD_LETTER), 1):
        ended = await brought_to(store, state, f"t{number}", number)
        assert (await store.open_work()).tasks[number - 1 :] == ()

        await store.apply([make_update(ended, S.QUEUED)])

        assert (await store.open_work()).tasks[number - 1].id == ended.id


async def test_a_batch_name_may_change(store: Store) -> None:
    """The row is replaced whole: what is asked for by batch follows it."""
    before = await brought_to(store, S.QUEUED)
    joined = make_update(before, S.QUEUED, batch="b1")
    left = make_update(joined.task, S.QUEUED, batch=None)

    found = []
    for command in (joined, left):
        await store.apply([command])
        found.append([task.id for task in await store.tasks(TaskQuery(batch="b1"))])

    assert found == [["t1"], []]


async def test_many_tasks_move_in_one_batch(store: Store) -> None:
    """Hundreds of transitions in one batch are each guarded: every third one is stale, and only it is refused."""
    ids = [f"t{n:03}" for n in range(700)]
    await store.apply([make_submit(*ids)])
    commands = [make_update(make_task(task_id, seq), S.ASSIGNED) for seq, task_id in enumerate(ids, 1)]
    commands = [
        msgspec.structs.replace(command, expect_generation=1) if number % 3 == 0 else command
        for number, command in enumerate(commands)
    ]

    answers = await store.apply(commands)

    assert [isinstance(answer, Refused) for answer in answers] == [n % 3 == 0 for n in range(700)]
    refused = [answer.task for answer in itertools.islice(answers, 0, None, 3) if isinstance(answer, Refused)]
    assert refused == [make_task(task_id, seq) for seq, task_id in enumerate(ids, 1) if (seq - 1) % 3 == 0]
