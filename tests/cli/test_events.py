"""`ostler events`: where it begins."""

import re
import time

import msgspec
import pytest

from ostler.cli.events import EventLines
from ostler.domain.errors import ExitCode
from ostler.domain.event import Event
from ostler.hub.views import EventPage
from tests.cli.conftest import Ostler
from tests.web import samples
from tests.web.recording_hub import ServedHub


@pytest.mark.parametrize(
    ("words", "seqs"),
    [
        (("--last", "3"), [28, 29, 30]),
        (("--last", "1000"), list(range(1, 31))),
        (("--last", "2", "--task", "t-odd"), [27, 29]),
        (("--last", "100", "--task", "t-odd"), list(range(3, 31, 2))),
        (("--last", "5", "--task", "t-none"), []),
    ],
)
def test_the_newest_events_are_had_without_counting(
    ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], seqs: list[int]
) -> None:
    """Of all, or of one task; a hub that has run for a month has too many to begin at the first."""
    for seq in range(3, 31):
        served.hub.emit(Event(name="task.queued", at_ms=seq, task_id="t-odd" if seq % 2 else "t-even", seq=seq))
    monkeypatch.setattr(samples, "STATUS", msgspec.structs.replace(samples.STATUS, last_event_seq=30))

    code, out, err = ostler("events", *words, "--json")

    assert (code, err) == (ExitCode.OK, "")
    assert [event.seq for event in msgspec.json.decode(out, type=EventPage).events] == seqs


def test_two_places_to_begin_at_are_refused(ostler: Ostler, served: ServedHub) -> None:
    """And a whole page of the newest has no more after it."""
    code, _, err = ostler("events", "--last", "1", "--after", "4")
    assert (code, err) == (ExitCode.USAGE, "ostler: --last: --last and --after both say where to begin (give one)\n")

    assert ostler("events", "--last", "2").err == ""


def at(text: str) -> float:
    """A moment of this machine's time zone, in seconds."""
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def happened(*moments: str) -> list[Event]:
    """An event at each moment."""
    return [
        Event(name="task.queued", at_ms=round(at(moment) * 1000) + 7, task_id="t-1", seq=seq)
        for seq, moment in enumerate(moments, 1)
    ]


NOON = "2026-11-30 12:00:00"


@pytest.mark.parametrize(
    ("moments", "clocks"),
    [
        (("2026-11-30 00:00:00", "2026-11-30 23:59:59"), ["00:00:00.007", "23:59:59.007"]),
        (("2026-11-29 23:59:59", "2026-11-30 00:00:00"), ["11-29 23:59:59.007", "11-30 00:00:00.007"]),
        (("2026-11-30 11:00:00", "2026-12-01 00:00:00"), ["11-30 11:00:00.007", "12-01 00:00:00.007"]),
        (("2025-11-30 12:00:00", NOON), ["2025-11-30 12:00:00.007", "2026-11-30 12:00:00.007"]),
        ((), []),
    ],
)
def test_events_that_are_shown_together_have_the_date_where_they_need_it(
    moments: tuple[str, ...], clocks: list[str]
) -> None:
    """All of today: the time alone. Else all of them have the date, and the year only where one is of another year."""
    events = happened(*moments)
    lines = EventLines(at(NOON), events)

    assert [lines.line(event) for event in events] == [
        f"{seq:>6} {clock} task.queued t-1" for seq, clock in enumerate(clocks, 1)
    ]


def test_events_that_are_followed_have_the_date_from_the_change_of_the_day_on() -> None:
    """Those before it were of the day on which somebody began to look; nobody knows what comes."""
    lines = EventLines(at(NOON))

    told = [lines.line(event).split(" task")[0][7:] for event in happened(NOON, "2026-12-01 00:00:00", NOON)]

    assert told == ["12:00:00.007", "12-01 00:00:00.007", "11-30 12:00:00.007"]


def test_the_dates_of_old_events_are_shown_by_the_verbs(ostler: Ostler, served: ServedHub) -> None:
    """`ostler events` and `ostler tasks show --all`: what happened last year is not taken for what happened today."""
    for words in (("events",), ("tasks", "show", "t-one", "--all")):
        lines = [line for line in ostler(*words).out.splitlines() if "task.submitted t-one" in line]

        assert [re.search(r"\d 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} task", line) is not None for line in lines] == [
            True
        ]


def test_the_date_leaves_a_line_room_for_what_happened() -> None:
    """With the date, number, name and task of an event of another day are within a narrow terminal."""
    (event,) = happened("2026-11-29 12:00:00")
    event = msgspec.structs.replace(event, seq=123_456, task_id="t-k3v5q7aymz", metadata={"state": "queued"})

    assert len(EventLines(at(NOON), [event]).line(event)) <= 80
