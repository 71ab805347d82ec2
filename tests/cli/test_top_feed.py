"""What `ostler top` shows is kept new beside it: by news, by time, and told when the hub is away."""

import select
import threading
import time
from collections.abc import Iterator

import pytest

from ostler.cli import top_feed
from ostler.cli.board import ASKED_STATES, WAITING_STATES, Answers
from ostler.cli.deck import Wish
from ostler.cli.top_feed import Feed, ask
from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.errors import ConflictError, OstlerError, UnreachableError
from ostler.domain.event import Event
from tests.web import samples
from tests.web.recording_hub import PATIENCE_S, ServedHub, eventually


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_feed, "REST_S", 0.01)
    monkeypatch.setattr(top_feed, "EVERY_S", 60.0)


@pytest.fixture
def feed(served: ServedHub) -> Iterator[Feed]:
    made = Feed(lambda: HubClient(Transport(served.url)))
    made.start()
    yield made
    assert made.stop(PATIENCE_S), "it asks on"


def woken(feed: Feed, within_s: float = 5.0) -> bool:
    return bool(select.select([feed.wake], [], [], within_s)[0])


def asked(served: ServedHub) -> int:
    return len(served.asked("status"))


def said(feed: Feed) -> tuple[Wish, tuple[str, ...]]:
    return feed.said.get(timeout=5)


def test_a_picture_is_four_questions_and_five_with_the_queue(served: ServedHub) -> None:
    """The queue is asked for one by one only where it is shown so."""
    client = HubClient(Transport(served.url))

    assert ask(client).waiting is None
    assert ask(client, expand=True).waiting is not None
    states = [tuple(state.value for state in query.states) for (query,) in served.asked("tasks")]
    assert states == [ASKED_STATES, ASKED_STATES, WAITING_STATES]


def test_the_first_picture_is_there_when_it_starts(feed: Feed) -> None:
    """And whoever waits is woken for it; its clock is the hub's, and goes on."""
    assert feed.answers is not None
    assert woken(feed)
    assert feed.stop(PATIENCE_S), "no other picture comes, from a hub whose clock stands still"
    first = feed.hub_ms()
    time.sleep(0.02)
    assert first >= samples.STATUS.now_ms
    assert feed.hub_ms() > first


def test_an_event_has_it_asked_again(feed: Feed, served: ServedHub) -> None:
    """Long before the regular time."""
    eventually(lambda: served.asked("follow"), "the stream is followed")
    before = asked(served)
    served.hub.emit(Event(name="task.queued", at_ms=1, seq=99))

    eventually(lambda: asked(served) > before, "asked again")


def test_a_hub_that_is_away_is_shown_and_so_is_its_return(feed: Feed, served: ServedHub) -> None:
    """The last picture stays."""
    served.fails_with(UnreachableError("gone"))
    feed.hurry()
    eventually(lambda: feed.stale, "it is told to be old")
    assert feed.answers is not None

    served.hub.raises = None
    feed.hurry()
    eventually(lambda: not feed.stale, "it is new again")


def test_a_wish_is_done_once_and_the_picture_is_asked_for_after_it(feed: Feed, served: ServedHub) -> None:
    """In the order in which they were made."""
    before = asked(served)
    feed.do(Wish(verb="pause", id="t-1"))
    feed.do(Wish(verb="cancel", id="t-2"))

    assert [said(feed)[0].verb for _ in range(2)] == ["pause", "cancel"]
    assert (served.asked("pause"), served.asked("cancel")) == ([("t-1",)], [("t-2", "")])
    eventually(lambda: asked(served) > before, "asked again")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConflictError("it has ended", remedy="it is done"), "it has ended; it is done"),
        (OstlerError("no"), "no"),
    ],
)
def test_a_refusal_is_words_and_no_end(feed: Feed, served: ServedHub, error: OstlerError, words: str) -> None:
    """The next wish is carried out as ever."""
    served.fails_with(error)
    feed.do(Wish(verb="pause", id="t-1"))
    assert said(feed)[1] == (words,)

    served.hub.raises = None
    feed.do(Wish(verb="resume", id="t-1"))
    assert said(feed)[1] == ("resume: t-1 done",)


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.05])
def test_stopping_ends_the_questions(served: ServedHub, monkeypatch: pytest.MonkeyPatch, after_s: float) -> None:
    """A stopped feed asks nothing more, however busy it was and however often it is hurried; nobody is left behind."""
    monkeypatch.setattr(top_feed, "EVERY_S", 0.001)
    monkeypatch.setattr(top_feed, "REST_S", 0.0)
    made = Feed(lambda: HubClient(Transport(served.url)))
    made.start()
    made.do(Wish(verb="pause", id="t-1"))
    time.sleep(after_s)

    assert made.stop(PATIENCE_S)
    for _ in range(2):  # what was on its way is with the hub by then: it listens to what came before first
        HubClient(Transport(served.url)).status()
    before = list(served.hub.calls)
    for _ in range(5):
        made.hurry()
        time.sleep(0.005)
    # The question for the stream may have been on its way when its connection was hung up: the hub hears it late.
    assert served.hub.calls[len(before) :] in ([], [("follow", None)])


def test_who_leaves_does_not_wait_for_a_slow_hub(served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way then ends by itself, and is told not to have ended."""
    asking, answer = threading.Event(), threading.Event()

    def slow(client: HubClient, *, expand: bool = False) -> Answers:
        asking.set()
        answer.wait(PATIENCE_S)
        return ask(client, expand=expand)

    made = Feed(lambda: HubClient(Transport(served.url)))
    made.start()
    monkeypatch.setattr(top_feed, "ask", slow)
    made.hurry()
    assert asking.wait(PATIENCE_S)
    began_s = time.monotonic()

    assert not made.stop(0.1)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    answer.set()
    assert made.stop(PATIENCE_S)


def test_a_hub_that_is_not_there_is_told_at_the_start() -> None:
    """Not shown as an empty screen."""
    made = Feed(lambda: HubClient(Transport("http://127.0.0.1:9")))

    with pytest.raises(UnreachableError):
        made.start()
