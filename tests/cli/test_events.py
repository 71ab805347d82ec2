"""`ostler events`: where it begins."""

import msgspec
import pytest

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
