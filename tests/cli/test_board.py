"""The board of `ostler top`: the right things in the right band, each with what may be done with it."""

from msgspec.structs import replace

from ostler.cli.board import Act, Answers, Board, Kind, board_of
from ostler.cli.top import text_of
from ostler.domain.alerts import AlertState
from ostler.domain.states import Failure, FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Task
from ostler.hub.alert_views import AlertList
from ostler.hub.views import TaskList, WaitGroup
from tests.web import alert_samples, samples
from tests.web.samples import NOW_MS

FULL = Wait(code=WaitCode.CAPACITY, since_ms=NOW_MS - 90_000, detail="gpu-2", next_check_ms=NOW_MS + 240_000)
GROUP = WaitGroup(wait=FULL, count=12, tier="standard", example="t-9")
QUIET = replace(samples.STATUS, waiting=(), idle_because="")


def task(name: str, state: TaskState, seq: int = 1, **changes: object) -> Task:
    return replace(samples.task(name, state), seq=seq, wait=None, **changes)


def board(*tasks: Task, waiting: tuple[Task, ...] | None = None, **changes: object) -> Board:
    answers = Answers(
        status=replace(QUIET, **changes),
        tasks=TaskList(tasks=tasks, now_ms=NOW_MS, output_tokens={"r-1": 42}),
        alerts=AlertList(now_ms=NOW_MS),
        waiting=None if waiting is None else TaskList(tasks=waiting, now_ms=NOW_MS),
    )
    return board_of(answers, NOW_MS)


ASKING = task(
    "a-1",
    TaskState.NEEDS_HUMAN,
    updated_ms=NOW_MS - 60_000,
    failure=Failure(kind=FailureClass.POLICY, message="may I push?", at_ms=1),
)
RUNNING = task(
    "r-1",
    TaskState.RUNNING,
    seq=5,
    model="qwen",
    endpoint="stable",
    tier="standard",
    started_ms=NOW_MS - 75_000,
    fallback_used=True,
)


def test_an_empty_hub_says_what_to_do_next() -> None:
    """Three bands, each with a word; no row, so no key."""
    made = board()

    assert [band.title for band in made.bands] == ["NEEDS YOU", "RUNNING", "WAITING"]
    assert made.rows == ()
    assert "ostler submit" in made.running.empty


def test_what_needs_a_person_says_why_and_since_when() -> None:
    """An answer, another try or its end are what it takes."""
    (row,) = board(ASKING).needs.rows

    assert (row.kind, row.id) == (Kind.TASK, "a-1")
    assert row.cells[1:] == ("1 min ago", "may I push?")
    assert row.acts == (Act.ANSWER, Act.RETRY, Act.CANCEL)


def test_active_alerts_need_a_person_and_come_first() -> None:
    """One that is acknowledged does not."""
    answers = Answers(status=QUIET, tasks=TaskList(tasks=(ASKING,), now_ms=NOW_MS), alerts=alert_samples.ALERTS)
    assert [row.id for row in board_of(answers, NOW_MS).needs.rows] == ["tier_down:standard", "a-1"]

    (row,) = alert_samples.ALERTS.alerts
    known = replace(row, alert=replace(row.alert, state=AlertState.ACKNOWLEDGED))
    quiet = replace(answers, alerts=replace(alert_samples.ALERTS, alerts=(known,)))
    assert [row.id for row in board_of(quiet, NOW_MS).needs.rows] == ["a-1"]


def test_what_runs_is_shown_with_where_and_how_much_has_come() -> None:
    """The oldest first; a fallback is marked; tokens as the worker counted them."""
    younger = task("r-2", TaskState.ASSIGNED, seq=9, model=None, endpoint=None, worker="mac", tier="direct")
    first, second = board(younger, RUNNING).running.rows

    assert first.id == "r-1"
    assert first.cells[1:] == ("qwen", "stable (fallback)", "standard", "1 min 15 s", "42")
    assert (second.cells[2], second.cells[5]) == ("mac", "-")
    assert first.acts == (Act.CANCEL,)


def test_what_waits_is_grouped_by_reason_with_a_countdown() -> None:
    """Twelve tasks are one line, and say when it is looked at again."""
    answers = Answers(
        status=replace(QUIET, waiting=(GROUP,)),
        tasks=TaskList(tasks=(), now_ms=NOW_MS),
        alerts=AlertList(now_ms=NOW_MS),
    )
    (row,) = board_of(answers, NOW_MS).waiting.rows

    assert row.cells[:3] == ("12", "standard", "1 min 30 s")
    assert "gpu-2" in row.cells[3]
    assert "in 4 min" in row.cells[3]
    assert row.acts == ()


def test_what_waits_can_be_shown_one_by_one() -> None:
    """Then each may be paused, resumed or cancelled; one that is tried again says when."""
    queued = replace(samples.task("q-1"), seq=1, wait=FULL, queued_ms=NOW_MS - 5_000)
    paused = task("q-2", TaskState.SCHEDULED, seq=2, paused=True)
    again = task("q-3", TaskState.RETRY_WAIT, seq=3, not_before_ms=NOW_MS + 30_000)

    rows = board(waiting=(again, paused, queued)).waiting.rows

    assert [row.id for row in rows] == ["q-1", "q-2", "q-3"]
    assert [row.acts[0] for row in rows] == [Act.PAUSE, Act.RESUME, Act.PAUSE]
    assert rows[1].cells[3] == "paused"
    assert rows[2].cells[3] == "tried again in 30 s"


def test_the_head_counts_and_says_why_nothing_runs() -> None:
    """Everything that matters in the first eighty columns."""
    made = board(in_flight=3, workers=1, endpoints_up=2, endpoints_total=4, idle_because="1 wait: budget")

    assert made.head.startswith("3 running | 0 waiting")
    assert "2/4 endpoints" in made.head[:80]
    assert made.idle == "1 wait: budget"


def test_as_text_it_is_the_same_board() -> None:
    """Every row, whole, with headings."""
    lines = text_of(board(ASKING, RUNNING, idle_because="x"))

    text = "\n".join(lines)
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "nothing runs: x",
        "NEEDS YOU 1",
        "RUNNING 1",
        "WAITING",
    ]
    assert "may I push?" in text
    assert "TASK" in text


def test_words_of_a_task_stay_on_their_line() -> None:
    """A failure with line breaks is one row."""
    odd = replace(ASKING, failure=Failure(kind=FailureClass.POLICY, message="one\ntwo\x1b[2J", at_ms=1))

    (row,) = board(odd).needs.rows
    assert row.cells[2] == "one two[2J"
