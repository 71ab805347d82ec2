"""The verdict over real processes can fail: what must not be is made up, and is noticed by a sentence of its own."""

from collections import Counter
from collections.abc import Callable
from math import inf

import msgspec
import pytest

from ostler.domain.ledger import Amount, Basis, EntryKind, LedgerEntry, Scopes
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Task
from ostler.domain.trace import attempt_span
from tests.crash.checks import problems, totals
from tests.crash.evidence import Database, Evidence, read_log
from tests.crash.upstream import Call, Play, Together
from tests.store.rows_made import make_task

BILLED = 10 + 2 * 7
HELD = 90


def row(name: str, generation: int, state: TaskState = TaskState.SUCCEEDED) -> Task:
    failure = Failure(kind=FailureClass.COMMAND, message="it broke", at_ms=1)
    return msgspec.structs.replace(
        make_task(name), state=state, generation=generation, failure=None if state is TaskState.SUCCEEDED else failure
    )


def call(task: str, generation: int, play: Play = Play.ANSWERED, began_s: float = 5.0, key: str = "w0") -> Call:
    return Call(
        task, attempt_span(task, generation), key, play, output_tokens=7, began_s=began_s, ended_s=began_s + 0.1
    )


def entry(attempt: str, kind: EntryKind, micro_usd: int, *, ambiguous: bool = False) -> LedgerEntry:
    basis = Basis.ESTIMATED if ambiguous or kind is EntryKind.RESERVE else Basis.PRICED
    amount = Amount(micro_usd=micro_usd)
    return LedgerEntry(
        attempt=attempt,
        kind=kind,
        at_ms=1,
        charged_ms=1,
        amount=amount,
        basis=basis,
        scopes=Scopes(),
        ambiguous=ambiguous,
    )


def entries(attempt: str, charged: int, *, ambiguous: bool = False) -> list[LedgerEntry]:
    settled = entry(attempt, EntryKind.SETTLE, charged, ambiguous=ambiguous)
    return [entry(attempt, EntryKind.RESERVE, HELD), settled]


def sound() -> Evidence:
    """Two commands and two calls; of each kind one that was tried twice, because its worker was killed."""
    ledger = {
        "t1/1": entries("t1/1", BILLED),
        "t3/1": entries("t3/1", HELD, ambiguous=True),
        "t3/2": entries("t3/2", BILLED),
    }
    rows = {name: row(name, generation) for name, generation in (("t0", 1), ("t1", 1), ("t2", 2), ("t3", 2))}
    events = Counter({(name, event): 1 for name in rows for event in ("task.submitted", "task.succeeded")})
    return Evidence(
        acknowledged=frozenset(rows),
        sent=frozenset({*rows, "t4"}),
        log=read_log("start t0.1 7\nstart t2.1 8\nend t0.1 7\nstart t2.2 9\nend t2.2 9\n"),
        calls=[call("t1", 1), call("t3", 1, Play.LOST), call("t3", 2)],
        together=[],
        frozen={},
        database=Database(rows, events, ledger),
    )


def with_rows(evidence: Evidence, **rows: Task | None) -> Evidence:
    kept = {name: task for name, task in (dict(evidence.database.tasks) | rows).items() if task is not None}
    return evidence._replace(database=evidence.database._replace(tasks=kept))


def with_ledger(evidence: Evidence, attempt: str, lines: list[LedgerEntry]) -> Evidence:
    return evidence._replace(
        database=evidence.database._replace(ledger=dict(evidence.database.ledger) | {attempt: lines})
    )


def with_events(evidence: Evidence, task: str, name: str, count: int) -> Evidence:
    return evidence._replace(
        database=evidence.database._replace(events=evidence.database.events | Counter({(task, name): count}))
    )


def test_a_sound_run_has_no_problem_and_its_sums_are_told() -> None:
    """Kills, second attempts and a charge of unknown end are no problem; the sums say what is known."""
    assert problems(sound()) == []
    assert totals(sound()) == {
        "billed_micro_usd": 3 * BILLED,
        "ledger_micro_usd": 2 * BILLED + HELD,
        "ambiguous_micro_usd": HELD,
        "ambiguous_attempts": 1,
    }


SPOILED: list[tuple[str, Callable[[Evidence], Evidence], str]] = [
    ("lost", lambda it: with_rows(it, t0=None), "t0 was acknowledged and is lost"),
    (
        "from nowhere",
        lambda it: with_events(
            with_events(with_rows(it, t8=row("t8", 1)), "t8", "task.submitted", 1), "t8", "task.succeeded", 1
        )._replace(log=[*it.log, *read_log("start t8.1 1\nend t8.1 1")]),
        "t8 was never handed in",
    ),
    ("not over", lambda it: with_rows(it, t2=row("t2", 2, TaskState.DEAD_LETTER)), "t2 is dead_letter in the end"),
    ("accepted twice", lambda it: with_events(it, "t0", "task.submitted", 2), "t0 has 2 times task.submitted"),
    ("succeeded twice", lambda it: with_events(it, "t1", "task.succeeded", 2), "t1 has 2 times task.succeeded"),
    (
        "locked out",
        lambda it: it._replace(log=[*it.log, ("twice", "t2", 3)]),
        "t2 ran beside another run of it, as its attempt 3",
    ),
    (
        "overlap in the log",
        lambda it: it._replace(
            log=read_log("start t0.1 7\nend t0.1 7\nstart t2.1 8\nstart t2.2 9\nend t2.1 8\nend t2.2 9")
        ),
        "t2 ended as its attempt 1 while attempt 2 was running",
    ),
    (
        "started twice",
        lambda it: it._replace(log=[*read_log("start t0.1 6"), *it.log]),
        "attempt 1 of t0 was started 2 times",
    ),
    (
        "success without an end",
        lambda it: it._replace(log=read_log("start t0.1 7\nend t0.1 7\nstart t2.1 8\nstart t2.2 8")),
        "t2 succeeded with attempt 2, which never came to its end",
    ),
    (
        "success without a question",
        lambda it: it._replace(calls=[one for one in it.calls if one.task != "t1"]),
        "t1 succeeded, and nobody was asked",
    ),
    (
        "asked beside itself",
        lambda it: it._replace(together=[Together(call("t3", 1, key="w1"), call("t3", 2, key="w0"))]),
        "t3 was asked by w0 while w1 was still asking",
    ),
    (
        "asked twice in one attempt",
        lambda it: it._replace(calls=[*it.calls, call("t1", 1, Play.LOST)]),
        "attempt t1/1 asked 2 times",
    ),
    (
        "billed twice",
        lambda it: with_ledger(it, "t1/1", [*entries("t1/1", BILLED), entry("t1/1", EntryKind.SETTLE, BILLED)]),
        "attempt t1/1 has",
    ),
    (
        "held for ever",
        lambda it: with_ledger(it, "t1/1", entries("t1/1", BILLED)[:1]),
        "attempt t1/1 has",
    ),
    ("too dear", lambda it: with_ledger(it, "t1/1", entries("t1/1", 2 * BILLED)), f"the provider billed {BILLED}"),
    (
        "for nothing",
        lambda it: with_ledger(
            it, "t3/1", [entry("t3/1", EntryKind.RESERVE, HELD), entry("t3/1", EntryKind.RELEASE, 0)]
        ),
        f"attempt t3/1 is charged nothing, the provider billed {BILLED}",
    ),
    (
        "unknown, and not what was held",
        lambda it: with_ledger(it, "t3/1", entries("t3/1", BILLED, ambiguous=True)),
        f"attempt t3/1 is charged {BILLED} though nobody knows its end, and it held {HELD}",
    ),
    (
        "charged for a refusal",
        lambda it: with_ledger(
            it._replace(calls=[*it.calls, call("t3", 3, Play.BUSY)]), "t3/3", entries("t3/3", BILLED)
        ),
        f"attempt t3/3 is charged {BILLED}, and the provider did not work",
    ),
    (
        "a success of unknown price",
        lambda it: with_ledger(it, "t1/1", entries("t1/1", HELD, ambiguous=True)),
        f"attempt t1/1 succeeded and is charged {HELD}, the provider billed {BILLED}",
    ),
    (
        "a success from half an answer",
        lambda it: it._replace(calls=[call("t1", 1, Play.HALF), *it.calls[1:]]),
        "attempt t1/1 succeeded without a whole answer",
    ),
    (
        "past the ledger",
        lambda it: it._replace(calls=[*it.calls, call("t1", 9)]),
        "a call for t1 was made without a reservation",
    ),
]


@pytest.mark.parametrize(("spoil", "said"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_what_must_not_be_is_noticed(spoil: Callable[[Evidence], Evidence], said: str) -> None:
    """One thing is wrong, and one of the sentences says so."""
    found = problems(spoil(sound()))

    assert [line for line in found if said in line], found


def test_who_is_frozen_in_the_middle_of_a_call_cannot_hang_up() -> None:
    """The call that replaces it meanwhile is no fault; a freeze at another time excuses nothing."""
    together = [Together(call("t3", 1, began_s=5.0, key="w1"), call("t3", 2, began_s=9.0, key="w0"))]
    evidence = sound()._replace(together=together)

    assert problems(evidence._replace(frozen={"w1": [(5.1, 9.5)]})) == []
    assert problems(evidence._replace(frozen={"w1": [(5.1, inf)]})) == []
    assert problems(evidence._replace(frozen={"w1": [(1.0, 2.0)], "w0": [(5.1, 9.5)]}))


def test_what_had_come_of_an_answer_that_was_stopped_is_charged_as_an_estimate() -> None:
    """The worker was told to stop while words came: neither nothing nor the whole."""
    evidence = sound()
    partial = msgspec.structs.replace(entry("t3/1", EntryKind.SETTLE, 14), basis=Basis.ESTIMATED)
    evidence = with_ledger(evidence, "t3/1", [entry("t3/1", EntryKind.RESERVE, HELD), partial])

    assert problems(evidence._replace(calls=[call("t1", 1), call("t3", 1, Play.SLOW), call("t3", 2)])) == []
