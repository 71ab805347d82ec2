"""Words, tables and pages: what people read."""

import doctest
import re
from types import ModuleType

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostler.cli import endpoint_spec, render, task_view, words
from ostler.cli.endpoints import probe_line
from ostler.cli.status import availability
from ostler.client import transport
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.states import FINAL_STATES, TaskState, Wait, WaitCode
from ostler.hub.views import TierRow
from tests.web import samples

DAY_MS = 86_400_000


@pytest.mark.parametrize("module", [words, render, transport, endpoint_spec], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    """What a docstring shows is what happens."""
    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0


CELL = st.lists(st.text("abc:/.1", min_size=1, max_size=14), max_size=4).map(" ".join)


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=2, max_size=5)))
@example([["hub", "role", "address"], ["den", "stands by", "http://den.lan:7433"]])
def test_a_table_wider_than_its_terminal_keeps_what_is_copied_whole(table: list[list[str]]) -> None:
    """It fits, no word is cut, addresses and ids are whole; where that cannot be, nothing is promised."""
    columns, *rows = table
    least = 0
    for index in range(len(columns)):
        cells = [row[index] for row in table]
        single = index == 0 or all(" " not in row[index] for row in rows)
        least += max(len(cell) if single else max(map(len, cell.split()), default=0) for cell in cells)
    least += 2 * (len(columns) - 1)
    natural = sum(max(len(row[index]) for row in table) for index in range(len(columns))) + 2 * (len(columns) - 1)

    assert render.fitted(columns, rows, least - 1) == []
    for width in (least, (least + natural) // 2, natural + 5):
        widths = render.fitted(columns, rows, width)
        assert sum(widths) + 2 * (len(columns) - 1) == min(width, natural)
    for index, size in enumerate(render.fitted(columns, rows, least)):
        assert all(len(word) <= size for row in table for word in row[index].split())


@given(st.integers(0, 1000 * DAY_MS))
def test_a_duration_names_at_most_two_units(ms: int) -> None:
    """Short enough for a column, and never negative or empty."""
    text = words.duration(ms)

    assert 1 <= len([part for part in text.split() if part.isalpha()]) <= 2
    assert not text.startswith("-")


@given(st.integers(0, 100 * DAY_MS), st.integers(0, 100 * DAY_MS))
def test_longer_is_never_shown_as_shorter(one: int, other: int) -> None:
    """Rounding goes down, so that the order of durations is kept."""
    assert (one <= other) or seconds(words.duration(one)) >= seconds(words.duration(other))


def seconds(text: str) -> float:
    """What a shown duration says."""
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400}
    parts = text.split()
    return sum(float(number) * units[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True))


@given(st.text())
def test_text_from_outside_cannot_steer_the_terminal(text: str) -> None:
    """No escape, bell, backspace or C1 control survives, whatever a model wrote."""
    shown = render.clean(text)

    assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in shown)
    assert not any(0x7F <= ord(sign) <= 0x9F for sign in shown)


@given(st.text(), st.integers(4, 80))
def test_a_cell_is_one_line_of_bounded_width(text: str, width: int) -> None:
    """A cell never breaks the table it stands in."""
    cell = render.line(text, width)

    assert len(cell) <= width
    assert len(cell.splitlines()) <= 1


def test_on_a_terminal_tables_are_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same cells stand in a table drawn for a terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")

    render.print_table(("id", "state"), [("t-1", "queued"), ("t-2", "running")], empty="")

    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert [line.split() for line in out.splitlines()] == [["ID", "STATE"], ["t-1", "queued"], ["t-2", "running"]]


def test_markup_in_a_cell_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A title such as `[red]` is text, not a colour."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    render.print_table(("title",), [("[red]alert[/red]",)], empty="")

    assert "[red]alert[/red]" in capsys.readouterr().out


def test_every_wait_code_has_words() -> None:
    """No task waits for a reason that is not explained."""
    assert set(task_view.WAITS) == set(WaitCode)


@pytest.mark.parametrize("code", WaitCode)
def test_a_wait_says_detail_and_next_look(code: WaitCode) -> None:
    """What, about what, and when it is looked at again."""
    wait = Wait(code=code, since_ms=0, detail="the detail", next_check_ms=8_000)

    text = task_view.wait_text(wait, 5_000)

    assert text == f"{task_view.WAITS[code]}: the detail (next look in 3 s)"


@pytest.mark.parametrize("state", TaskState)
def test_every_state_has_a_note_that_fits_it(state: TaskState) -> None:
    """A list entry can be written for a task in any state."""
    ended = {"finished_ms": 9_000, "started_ms": 4_000} if state in FINAL_STATES else {}

    note = task_view.note_text(samples.task("t", state, **ended), 10_000)

    assert ("after 5 s" in note) == (state in FINAL_STATES)
    assert ("next look" in note) == (state is TaskState.QUEUED)


def test_an_attempt_is_told_in_one_line() -> None:
    """When, where, by whom, how long, what came of it, and whether it counts."""
    (line,) = task_view.timeline(samples.ANSWER)

    assert line.startswith("1. 29 s ago, qwen2.5:7b on stable by box-worker, for 17 s: bad, cut: the stream was cut")
    assert line.endswith(" (120 tokens in, 45 out) [not counted]")


def test_a_decision_names_every_candidate_when_asked() -> None:
    """The refused candidate is told with its reason, the chosen one with its terms."""
    lines = list(task_view.decision_lines(samples.DECISION, every_candidate=True))

    assert lines == [
        "qwen2.5:7b on stable, because standard is down.",
        "  availability: standard -> strong (standard is down)",
        "  qwen2.5:7b on stable (loaded): score 1.25, done in 4.1 s, cost $0.00 [load 0.9, warm 1.15]",
        "  big on cloud: rate_limited, for 30 s",
    ]


def test_the_head_of_a_page_leaves_nothing_unsaid() -> None:
    """State, reason of waiting, class and attempts are there."""
    facts = dict(task_view.facts(samples.ANSWER))

    assert facts["task"] == "t-one  parser"
    assert facts["state"] == "queued"
    assert "no endpoint of tier standard is up" in facts["waits"]
    assert facts["class"].startswith("heuristic:standard")
    assert facts["attempts"] == "0 of 3"


def test_the_head_of_a_page_says_which_model_stands_in_and_what_was_handed() -> None:
    """With how the models before it failed; nothing of it where there is nothing to say."""
    asked = msgspec.structs.replace(samples.ANSWER.task.facts, model="m0")
    row = msgspec.structs.replace(
        samples.ANSWER.task, facts=asked, model="m1", tried=("attempt 1 on m0 failed (verification)",), handed_tokens=90
    )
    facts = dict(task_view.facts(msgspec.structs.replace(samples.ANSWER, task=row)))

    assert facts["instead of"] == "m0 (attempt 1 on m0 failed (verification))"
    assert facts["results"] == "about 90 tokens handed to it"
    plain = dict(task_view.facts(samples.ANSWER))
    assert (plain["instead of"], plain["results"]) == ("", "")


TIERS = [
    ({"enabled": False, "available": True}, "disabled"),
    ({"available": True}, "up"),
    ({"available": False}, "down"),
    ({"available": False, "down_since_ms": samples.NOW_MS - 75_000}, "down since 1 min 15 s"),
    ({"available": None}, "no endpoint registered"),
    ({"available": None, "rank": 0}, "no endpoint needed"),
]


@pytest.mark.parametrize(("fields", "text"), TIERS, ids=[row[1] for row in TIERS])
def test_a_tier_is_told_as_it_stands(fields: dict[str, object], text: str) -> None:
    """Disabled, up, down and since when, or without any endpoint that could serve it."""
    told: dict[str, object] = {"name": "t", "rank": 1, "aliases": (), "models": (), "enabled": True, **fields}

    assert availability(TierRow(**told), samples.NOW_MS) == text  # type: ignore[arg-type]


PROBES = [
    ({"status": ProbeStatus.AVAILABLE, "models": ("a", "b")}, "stable: available in 8 ms, 2 models (a, b)"),
    ({"status": ProbeStatus.RATE_LIMITED, "retry_after_ms": 30_000}, "stable: rate_limited in 8 ms, again in 30 s"),
    ({"status": ProbeStatus.UNAVAILABLE, "message": "refused\nby it"}, "stable: unavailable in 8 ms: refused by it"),
]


@pytest.mark.parametrize(("fields", "text"), PROBES, ids=[row[1] for row in PROBES])
def test_a_check_is_told_in_one_line(fields: dict[str, object], text: str) -> None:
    """Status and time, then what helps: models, when to come back, or why not."""
    told: dict[str, object] = {"endpoint": "stable", "at_ms": 0, "latency_ms": 8, **fields}

    assert probe_line(Probe(**told)) == text  # type: ignore[arg-type]


def test_an_attempt_under_way_is_told_as_such() -> None:
    """Handed out, running, or good: the three ways it can stand without a failure."""
    base = msgspec.structs.replace(
        samples.ATTEMPTS[0], started_ms=None, finished_ms=None, ok=None, failure=None, usage=None, counted=True
    )
    running = msgspec.structs.replace(base, started_ms=samples.NOW_MS - 5_000)
    good = msgspec.structs.replace(running, finished_ms=samples.NOW_MS, ok=True)
    answer = msgspec.structs.replace(samples.ANSWER, attempts=(base, running, good))

    assert [line.rpartition(": ")[2] for line in task_view.timeline(answer)] == ["handed to the worker", "runs", "good"]


def test_candidates_that_were_not_recorded_are_counted() -> None:
    """The list never looks complete when it is not."""
    decision = msgspec.structs.replace(samples.DECISION, candidates_omitted=40)

    *_, last = task_view.decision_lines(decision, every_candidate=True)

    assert last == "  and 40 candidates more that were not recorded"


def test_a_paused_task_says_so_beside_its_reason() -> None:
    """Pausing hides no other reason."""
    note = task_view.note_text(samples.task(paused=True), samples.NOW_MS)

    assert note.startswith("paused; waits for its tier")


@given(st.lists(st.tuples(st.text("ab ", max_size=9), st.text("xy", max_size=9)), min_size=1, max_size=5))
def test_columns_stand_under_their_headings(rows: list[tuple[str, str]]) -> None:
    """Every second cell begins at the same place, so that `cut` and eyes find it."""
    heading, *lines = render.aligned(("one", "two"), rows)

    start = heading.index("TWO")
    assert [line[start:] for line in lines] == [second for _, second in rows]


def test_a_task_that_runs_again_is_not_told_by_its_last_failure() -> None:
    """While it runs, how long and which attempt it is matter; the failure is told again when it ends."""
    failure = samples.ATTEMPTS[0].failure
    running = samples.task(state=TaskState.RUNNING, failure=failure, generation=2, started_ms=samples.NOW_MS - 3_000)
    waiting = samples.task(state=TaskState.RETRY_WAIT, failure=failure, generation=2)

    assert task_view.note_text(running, samples.NOW_MS) == "for 3 s, attempt 2"
    assert task_view.note_text(waiting, samples.NOW_MS) == "cut: the stream was cut"
