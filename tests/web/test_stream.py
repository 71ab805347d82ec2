"""The event stream: order, resuming, heartbeats, and clients that leave."""

import json
import logging
from collections.abc import Iterator

import pytest

from ostler.domain.errors import OstlerError
from ostler.domain.event import Event
from ostler.web.serve import ServeSettings
from ostler.web.stream import event_text
from tests.web.asking import ask, blocks, listening
from tests.web.recording_hub import ServedHub, eventually, served_hub

LATER = Event(name="task.succeeded", at_ms=9, task_id="t-one", seq=3, metadata={"text": "two\nlines"})


def seqs(found: list[str]) -> list[int]:
    """The sequence numbers of event blocks, from their `id`, which must agree with their data."""
    numbers = []
    for block in found:
        first, second = block.split("\n")
        number = int(first.removeprefix("id: "))
        assert json.loads(second.removeprefix("data: "))["seq"] == number
        numbers.append(number)
    return numbers


@pytest.mark.parametrize(
    ("path", "headers", "after"),
    [
        ("/hub/events/stream", {}, None),
        ("/hub/events/stream?after=0", {}, 0),
        ("/hub/events/stream?after=1", {}, 1),
        ("/hub/events/stream?after=0", {"Last-Event-ID": "1"}, 1),
        ("/hub/events/stream", {"Last-Event-ID": "2"}, 2),
    ],
)
def test_a_stream_goes_on_where_it_was_left(
    served: ServedHub, path: str, headers: dict[str, str], after: int | None
) -> None:
    """Events come from the asked place on, old and new, each once and in order; a reconnect's header wins."""
    with listening(served, path, headers) as answer:
        eventually(lambda: served.hub.followers == 1, "the hub is followed")
        served.hub.emit(LATER)
        first, *found = blocks(answer, 1 + len(range(2 if after is None else after, 3)))

    assert first == "retry: 2000"
    assert served.asked("follow") == [(after,)]
    assert seqs(found) == list(range(3 if after is None else after + 1, 4))


def test_an_id_that_is_no_number_is_refused(served: ServedHub) -> None:
    """A broken `Last-Event-ID` is an error, not a silent start from now."""
    got = ask(served, "GET", "/hub/events/stream", headers={"Last-Event-ID": "x9"})

    assert (got.status, got.error["where"]) == (400, "Last-Event-ID header")


def test_a_client_that_hangs_up_is_followed_no_more(served: ServedHub) -> None:
    """The hub's iterator is closed when the connection is, without another event being needed."""
    with listening(served, "/hub/events/stream") as answer:
        blocks(answer, 1)
        eventually(lambda: served.hub.followers == 1, "the hub is followed")

    eventually(lambda: served.hub.followers == 0, "the hub is followed no more")


def test_the_stream_ends_with_the_hub(served: ServedHub) -> None:
    """When the hub stops following, the answer is completed, so that a client reconnects elsewhere."""
    with listening(served, "/hub/events/stream") as answer:
        blocks(answer, 1)
        served.hub.stop_following = True

        assert answer.read() == b""


def test_a_stream_whose_hub_fails_ends_without_a_word_in_the_log(
    served: ServedHub, caplog: pytest.LogCaptureFixture
) -> None:
    """What was sent stays; the end is no mistake of ours, and whoever connects again hears why."""
    with listening(served, "/hub/events/stream?after=0") as answer:
        blocks(answer, 3)
        served.hub.follow_fails = OstlerError("the database is away")

        assert answer.read() == b""

    eventually(lambda: served.hub.followers == 0, "the hub is followed no more")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_events_hold_no_raw_line_break() -> None:
    """A line break inside an event cannot end its block early."""
    assert event_text(LATER).count(b"\n") == 3
    assert json.loads(event_text(LATER).split(b"data: ")[1])["metadata"] == {"text": "two\nlines"}


@pytest.fixture
def lively() -> Iterator[ServedHub]:
    """A hub whose heartbeats come fast."""
    with served_hub(settings=ServeSettings(require_token=False, heartbeat_s=0.01)) as served:
        yield served


def test_silence_is_filled_with_comments(lively: ServedHub) -> None:
    """While nothing happens comments come, and an event after them is not lost."""
    with listening(lively, "/hub/events/stream") as answer:
        assert blocks(answer, 4)[1:] == [": still here"] * 3
        lively.hub.emit(LATER)
        while (block := blocks(answer, 1)[0]).startswith(":"):
            pass

    assert seqs([block]) == [3]
