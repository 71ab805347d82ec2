"""The table of failures, line by line, and the arithmetic of attempts, delays and tiers."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.policy import SchedulerPolicy
from ostler.domain.states import FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Classification, Complexity, ErrorCount, Task, TaskFacts, TaskKind
from ostler.scheduling.failures import (
    DEFAULT_BLOCK_MS,
    LOST_DELAYS_MS,
    MAX_LOST_ATTEMPTS,
    RULES,
    Move,
    NextStep,
    count_error,
    exclusion,
    next_step,
)

F = FailureClass
FOUND = Classification(
    complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="general", source="heuristic"
)
POLICY = SchedulerPolicy()


def task(kind: TaskKind = TaskKind.CHAT, **fields: object) -> Task:
    """A task in its first attempt, unless told otherwise."""
    base = Task(
        id="t",
        seq=1,
        state=TaskState.QUEUED,
        facts=TaskFacts(id="t", kind=kind, classification=FOUND),
        wait=Wait(code=WaitCode.READY, since_ms=0),
        created_ms=0,
        updated_ms=0,
    )
    return msgspec.structs.replace(base, **fields)


def step(one: Task, kind: FailureClass, signature: str = "boom", *, can_rise: bool = True) -> NextStep:
    return next_step(one, kind, signature, POLICY, repeats=3, can_rise=can_rise)


HERE, ON_IT = ("gpu",), ("gpu/qwen",)
TABLE = [
    # failure, move, counted, delay after the first, what the next choice leaves out, blocks, breaks, lists at once
    (F.RATE_LIMIT, Move.ELSEWHERE, False, 0, (), True, False, False),
    (F.QUOTA, Move.ELSEWHERE, False, 0, (), True, False, False),
    (F.OVERLOADED, Move.ELSEWHERE, False, 0, HERE, False, True, False),
    (F.NETWORK, Move.ELSEWHERE, False, 0, HERE, False, True, True),
    (F.SERVER, Move.ELSEWHERE, False, 0, HERE, False, True, False),
    (F.ENDPOINT_DOWN, Move.ELSEWHERE, False, 0, HERE, False, True, True),
    (F.CUT, Move.ELSEWHERE, False, 0, HERE, False, True, False),
    (F.STALLED, Move.ELSEWHERE, False, 0, HERE, False, True, False),
    (F.TIMEOUT, Move.AGAIN, True, 2_000, HERE, False, True, False),
    (F.MALFORMED, Move.AGAIN, True, 2_000, HERE, False, True, False),
    (F.MODEL_MISSING, Move.ELSEWHERE, False, 0, ON_IT, False, False, False),
    (F.CONTEXT_TOO_LONG, Move.ELSEWHERE, False, 0, ON_IT, False, False, False),
    (F.OUT_OF_MEMORY, Move.ELSEWHERE, False, 0, ON_IT, False, False, False),
    (F.AUTH, Move.HUMAN, True, 0, (), False, False, False),
    (F.POLICY, Move.HUMAN, True, 0, (), False, False, False),
    (F.QUESTION, Move.HUMAN, False, 0, (), False, False, False),
    (F.REFUSAL, Move.FAIL, True, 0, (), False, False, False),
    (F.CAPABILITY, Move.UP, True, 0, (), False, False, False),
    (F.COMMAND, Move.AGAIN, True, 2_000, (), False, False, False),
    (F.VERIFICATION, Move.AGAIN, True, 2_000, (), False, False, False),
    (F.ENVIRONMENT, Move.ELSEWHERE, False, 0, (), False, False, False),
    (F.WORKER_LOST, Move.ELSEWHERE, False, 0, (), False, False, False),
    (F.NO_ENDPOINT, Move.FAIL, True, 0, (), False, False, False),
    (F.STUCK, Move.AGAIN, True, 2_000, (), False, False, False),
    (F.CANCELLED, Move.CANCEL, False, 0, (), False, False, False),
    (F.DEPENDENCY, Move.CANCEL, False, 0, (), False, False, False),
    (F.TTL, Move.FAIL, True, 0, (), False, False, False),
]


@pytest.mark.parametrize(
    ("kind", "move", "counted", "delay_ms", "left_out", "blocks", "breaks", "probe"), TABLE, ids=str
)
def test_the_table(
    kind: FailureClass,
    move: Move,
    counted: bool,
    delay_ms: int,
    left_out: tuple[str, ...],
    blocks: bool,
    breaks: bool,
    probe: bool,
) -> None:
    """What each class of failure means on a first attempt."""
    found, rule = step(task(), kind), RULES[kind]

    assert (found.move, found.counted, found.delay_ms, found.exhausted) == (move, counted, delay_ms, "")
    assert exclusion(kind, "gpu", "qwen") == left_out
    assert (rule.blocks, rule.breaks, rule.probe) == (blocks, breaks, probe)


def test_the_table_is_complete_and_consistent() -> None:
    """Every class has its line; what is blocked has a default time; a blocked endpoint is not broken as well."""
    assert {line[0] for line in TABLE} == set(RULES) == set(FailureClass)
    assert {kind for kind, rule in RULES.items() if rule.blocks} == set(DEFAULT_BLOCK_MS)
    for rule in RULES.values():
        assert not (rule.blocks and rule.breaks)
        assert not rule.model_only or (rule.excludes and not rule.breaks)
        assert not rule.probe or rule.breaks


@pytest.mark.parametrize("kind", list(FailureClass))
def test_without_an_endpoint_there_is_nothing_to_leave_out(kind: FailureClass) -> None:
    """A command runs on a worker."""
    assert exclusion(kind, None, None) == ()


def test_counted_delays_double_up_to_the_cap() -> None:
    """2, 4, 8, 16, 32, 60, 60 seconds."""
    delays = [step(task(attempts_used=used, max_attempts=99), F.COMMAND, str(used)).delay_ms for used in range(7)]

    assert delays == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


def test_lost_delays_grow_and_their_number_is_bounded() -> None:
    """At once, then 5, 15, 30 seconds; the tenth is the last one. A named time replaces the delay."""
    delays = [step(task(attempts_lost=lost), F.SERVER).delay_ms for lost in range(6)]
    assert delays == [*LOST_DELAYS_MS, 30_000, 30_000]
    assert {step(task(attempts_lost=lost), F.RATE_LIMIT).delay_ms for lost in range(6)} == {0}
    assert step(task(attempts_lost=MAX_LOST_ATTEMPTS - 2), F.SERVER).exhausted == ""
    last = step(task(attempts_lost=MAX_LOST_ATTEMPTS - 1), F.SERVER)

    assert last.exhausted == "10 attempts were lost to outages or environment"
    assert last.attempts_lost == MAX_LOST_ATTEMPTS


def test_no_delay_is_longer_than_the_cap() -> None:
    """`retry_cap` is the longest wait between two attempts, also after those that do not count."""
    rules = SchedulerPolicy(retry_base_ms=100, retry_cap_ms=7_000)
    lost = [next_step(task(attempts_lost=n), F.SERVER, "x", rules, repeats=3, can_rise=True) for n in range(4)]

    assert [one.delay_ms for one in lost] == [0, 5_000, 7_000, 7_000]


@pytest.mark.parametrize(("used", "limit", "words"), [(0, 1, "1 of 1"), (1, 2, "2 of 2"), (2, 3, "3 of 3")])
def test_the_last_counted_attempt_says_so(used: int, limit: int, words: str) -> None:
    """And the one before does not."""
    assert step(task(attempts_used=used, max_attempts=limit), F.COMMAND).exhausted == f"{words} attempts failed"
    assert step(task(attempts_used=used, max_attempts=limit + 1), F.COMMAND).exhausted == ""


def test_the_same_error_three_times_rises_and_another_does_not() -> None:
    """Counted by signature, over other errors in between."""
    seen = (ErrorCount("other", 5), ErrorCount("boom", 2))
    risen = step(task(errors=seen, attempts_used=2), F.VERIFICATION)

    assert (risen.move, risen.attempts_used, risen.quality_steps, risen.exhausted) == (Move.UP, 0, 1, "")
    assert risen.errors == (ErrorCount("boom", 3), ErrorCount("other", 5))
    assert step(task(errors=(ErrorCount("boom", 1),)), F.VERIFICATION).move is Move.AGAIN
    assert step(task(errors=seen), F.VERIFICATION, can_rise=False).move is Move.AGAIN


def test_after_a_rise_the_error_must_come_as_often_again() -> None:
    """The fourth and fifth are tries of the new tier; the sixth raises once more."""
    moves = [step(task(errors=(ErrorCount("boom", count),)), F.VERIFICATION).move for count in range(6)]

    assert moves == [Move.AGAIN, Move.AGAIN, Move.UP, Move.AGAIN, Move.AGAIN, Move.UP]


def test_a_command_never_rises() -> None:
    """There is no more capable way to run a program."""
    seen = (ErrorCount("boom", 2),)

    assert step(task(TaskKind.COMMAND, errors=seen), F.COMMAND).move is Move.AGAIN


def test_lack_of_capability_without_a_higher_tier_is_one_more_failed_attempt() -> None:
    """With the delay and the limit of one."""
    found = step(task(attempts_used=2), F.CAPABILITY, can_rise=False)

    assert (found.move, found.delay_ms) == (Move.AGAIN, 8_000)
    assert found.exhausted == "3 of 3 attempts failed"


COUNTS = st.lists(st.builds(ErrorCount, st.sampled_from("abcdefghijkl"), st.integers(1, 9)), max_size=8).map(
    lambda errors: tuple({error.signature: error for error in errors}.values())
)


@given(
    kind=st.sampled_from(list(FailureClass)),
    shape=st.sampled_from(list(TaskKind)),
    used=st.integers(0, 5),
    lost=st.integers(0, 12),
    steps=st.integers(0, 3),
    errors=COUNTS,
    signature=st.sampled_from("abcxyz"),
    can_rise=st.booleans(),
)
def test_every_step_counts_exactly_one_attempt_in_exactly_one_book(
    kind: FailureClass,
    shape: TaskKind,
    used: int,
    lost: int,
    steps: int,
    errors: tuple[ErrorCount, ...],
    signature: str,
    can_rise: bool,
) -> None:
    """Used or lost or neither; a tier is gained only by UP; no delay is negative or above the cap."""
    before = task(shape, attempts_used=used, attempts_lost=lost, quality_steps=steps, errors=errors)
    after = step(before, kind, signature, can_rise=can_rise)

    assert after.attempts_lost - lost == (1 if after.move is Move.ELSEWHERE else 0)
    assert after.quality_steps - steps == (1 if after.move is Move.UP else 0)
    if after.move is Move.UP:
        assert can_rise
        assert after.attempts_used == 0
    else:
        assert after.attempts_used - used == (1 if after.counted else 0)
    assert 0 <= after.delay_ms <= POLICY.retry_cap_ms
    assert not after.exhausted or after.move in (Move.AGAIN, Move.ELSEWHERE)
    assert len(after.errors) <= 8
    counts = {error.signature: error.count for error in errors}
    if after.errors != errors:
        assert after.errors[0] == ErrorCount(signature, counts.get(signature, 0) + 1)


@given(COUNTS, st.sampled_from("abcxyz"), st.integers(1, 8))
def test_the_newest_errors_are_remembered_first(errors: tuple[ErrorCount, ...], signature: str, keep: int) -> None:
    """One line for each signature, at most `keep`, the others in their order."""
    found = count_error(errors, signature, keep=keep)
    others = [error for error in errors if error.signature != signature]

    assert found[0].signature == signature
    assert list(found[1:]) == others[: keep - 1]
