"""Where a task is, in words: a headline for every state, every reason of a wait, every end of an attempt."""

import msgspec
import pytest

from ostler.domain.decision import Hold, Route, RouteRequest, Verdict
from ostler.domain.fleet import EndpointView, FleetSnapshot, Health
from ostler.domain.ports import TaskDetail
from ostler.domain.states import FINAL_STATES, LEASED_STATES, Failure, FailureClass, Outcome, TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Complexity, Task, TaskSpec
from ostler.hub.accept import new_tasks
from ostler.hub.explaining import headline, seconds, verdict_why, wait_text, why_lines
from ostler.routing.decide import decide
from tests.scheduling.rig import local, three_tiers

NOW_MS = 1_000_000
SPEC = TaskSpec(id="t", prompt="say something", complexity=Complexity.STANDARD)
FAILURE = Failure(kind=FailureClass.COMMAND, message="exit code 1", at_ms=NOW_MS)


def task(state: TaskState, **fields: object) -> Task:
    """A row in a state, as the store would have it."""
    (row,) = new_tasks([SPEC], three_tiers(), first_seq=1, now_ms=NOW_MS - 12_000, settled={})
    wait = Wait(code=WaitCode.CAPACITY, since_ms=NOW_MS - 12_000, detail="all slots are taken")
    base = msgspec.structs.replace(
        row.task,
        state=state,
        wait=wait if state is TaskState.QUEUED else None,
        finished_ms=NOW_MS if state in FINAL_STATES else None,
        session="s" if state in LEASED_STATES else None,
        worker="w",
        endpoint="gpu",
        model="qwen",
        tier="standard",
    )
    return msgspec.structs.replace(base, **fields)


def verdict(*, up: bool) -> Verdict:
    view = EndpointView(
        spec=local("gpu"), health=Health.UP if up else Health.DOWN, models=frozenset({"qwen"}), residents=()
    )
    fleet = FleetSnapshot(endpoints={"gpu": view}, by_model={"qwen": ("gpu",)}, taken_ms=NOW_MS)
    facts = task(TaskState.QUEUED).facts
    return decide(RouteRequest(facts=facts, now_ms=NOW_MS, queued_ms=NOW_MS - 9_000), fleet, three_tiers())


def detail(row: Task, *attempts: Attempt, decided: bool = False) -> TaskDetail:
    decisions = (verdict(up=True).decision,) if decided else ()
    return TaskDetail(task=row, spec=SPEC, attempts=attempts, decisions=decisions, events=(), output=None)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0.0 s"),
        (449, "0.4 s"),
        (9_900, "9.9 s"),
        (9_999, "10.0 s"),
        (10_000, "10 s"),
        (599_999, "599 s"),
        (600_000, "10 min"),
        (3_900_000, "65 min"),
    ],
)
def test_durations_are_short_and_fit_their_size(duration_ms: int, text: str) -> None:
    """Tenths where they matter, minutes where seconds do not."""
    assert seconds(duration_ms) == text


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (Wait(code=WaitCode.READY, since_ms=NOW_MS - 300), "ready; for 0.3 s now"),
        (
            Wait(code=WaitCode.NO_WORKER, since_ms=NOW_MS - 61_000, detail="none joined"),
            "no worker: none joined; for 61 s now",
        ),
        (
            Wait(code=WaitCode.FALLBACK_WAIT, since_ms=NOW_MS - 1_000, next_check_ms=NOW_MS + 4_000),
            "fallback wait; for 1.0 s now, next look in 4.0 s",
        ),
        (Wait(code=WaitCode.QUOTA_UNTIL, since_ms=NOW_MS, next_check_ms=NOW_MS), "quota until; for 0.0 s now"),
        (Wait(code=WaitCode.READY, since_ms=NOW_MS + 5_000), "ready; for 0.0 s now"),
    ],
)
def test_a_wait_says_why_how_long_and_until_when(wait: Wait, text: str) -> None:
    """An instant that has passed is not promised; a clock that differs gives no negative times."""
    assert wait_text(wait, NOW_MS) == text


ON = " on gpu with qwen"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (task(TaskState.QUEUED), "t waits (capacity: all slots are taken; for 12 s now)"),
        (task(TaskState.SCHEDULED, not_before_ms=NOW_MS + 30_000), "t starts in 30 s"),
        (task(TaskState.ASSIGNED), f"t is assigned at worker w{ON}, tier standard"),
        (task(TaskState.RUNNING), f"t is running at worker w{ON}, tier standard"),
        (
            task(TaskState.EVALUATING, fallback_used=True),
            f"t is evaluating at worker w{ON}, tier standard, by fallback",
        ),
        (
            task(TaskState.RETRY_WAIT, not_before_ms=NOW_MS + 4_000, failure=FAILURE),
            "t failed and is tried again in 4.0 s: exit code 1 [command]",
        ),
        (task(TaskState.NEEDS_HUMAN, failure=FAILURE), "t needs a person: exit code 1 [command]"),
        (task(TaskState.SUCCEEDED), f"t succeeded (reported){ON}, tier standard"),
        (task(TaskState.SUCCEEDED, outcome=Outcome.VERIFIED, endpoint=None), "t succeeded (verified), tier standard"),
        (task(TaskState.FAILED, failure=FAILURE), "t failed: exit code 1 [command]"),
        (task(TaskState.EXPIRED), "t expired: no reason is known"),
        (task(TaskState.CANCELLED, failure=FAILURE), "t was cancelled: exit code 1 [command]"),
        (task(TaskState.DEAD_LETTER, failure=FAILURE), "t was given up: exit code 1 [command]"),
    ],
    ids=lambda cell: cell.state.value if isinstance(cell, Task) else "",
)
def test_a_headline_says_where_a_task_is_and_why(row: Task, text: str) -> None:
    """One sentence."""
    assert headline(row, NOW_MS) == text


@pytest.mark.parametrize("state", list(TaskState))
def test_every_state_has_a_headline_of_one_line(state: TaskState) -> None:
    """With the name of the task first, and no state's own spelling with underscores."""
    text = headline(task(state), NOW_MS)

    assert text.startswith("t ")
    assert "\n" not in text
    assert "_" not in text


def attempt(**fields: object) -> Attempt:
    base = Attempt(task_id="t", generation=1, session="s", worker="w", tier="standard", assigned_ms=NOW_MS - 9_000)
    return msgspec.structs.replace(base, **fields)


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (attempt(), "  1. standard on no model, worker w: under way"),
        (
            attempt(endpoint="gpu", model="qwen", started_ms=NOW_MS - 8_000, finished_ms=NOW_MS, ok=True),
            "  1. standard on gpu/qwen, worker w, 8.0 s: good",
        ),
        (
            attempt(finished_ms=NOW_MS, ok=False, failure=FAILURE, counted=False),
            "  1. standard on no model, worker w, 9.0 s: failed: exit code 1 [command] (does not count)",
        ),
    ],
)
def test_each_attempt_has_its_line(one: Attempt, line: str) -> None:
    """Place, worker, how long, how it ended, and whether it counts."""
    lines = why_lines(task(TaskState.RUNNING), detail(task(TaskState.RUNNING), one), None, NOW_MS)

    assert lines[:2] == ("Attempts", line)


def test_what_holds_a_task_now_comes_before_what_was_decided_earlier() -> None:
    """The decision of this moment when there is one, else the newest stored one, else that there is none."""
    row = task(TaskState.QUEUED, failure=FAILURE)
    hold = verdict(up=False)
    assert isinstance(hold, Hold)
    now = why_lines(row, detail(row, decided=True), hold, NOW_MS)
    stored = why_lines(row, detail(row, decided=True), None, NOW_MS + 30_000)
    none = why_lines(row, detail(row), None, NOW_MS)

    assert now[0] == "Decision of this moment"
    assert any("gpu is down" in line for line in now)
    assert now[-1] == "The last attempt failed: exit code 1 [command]"
    assert stored[0] == "Decision of attempt 0, 30 s ago"
    assert none[0] == "No decision has been made yet."


def test_a_question_is_answered_by_what_would_happen() -> None:
    """Run now, with the summary; or wait, with the reason. Never "is"."""
    route, hold = verdict(up=True), verdict(up=False)
    runs, waits = verdict_why("q", route, NOW_MS), verdict_why("q", hold, NOW_MS)

    assert isinstance(route, Route)
    assert runs.headline == f"q would run now: {route.decision.summary}"
    assert runs.wait is None
    assert waits.headline.startswith("q would wait (")
    assert isinstance(hold, Hold)
    assert waits.wait == hold.wait
    assert waits.lines[0] == hold.decision.summary
    assert runs.decision == route.decision
