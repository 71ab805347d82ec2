"""`ostler top` on a real terminal: live, steered by keys, and gone without a trace."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ostler.cli.deck import Span, Wish
from ostler.cli.screen import painted
from ostler.cli.top_feed import carried_out
from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport
from ostler.domain.errors import ConflictError, ExitCode
from ostler.domain.event import Event
from ostler.domain.states import TaskState
from ostler.hub.views import TaskList
from tests.cli.conftest import NOWHERE, Ostler
from tests.cli.terminal import Terminal
from tests.web import samples
from tests.web.recording_hub import RecordingHub, ServedHub

RUNNING = replace(samples.task("t-run", TaskState.RUNNING), seq=1, wait=None, model="qwen", endpoint="stable")
ASKING = replace(samples.task("t-ask", TaskState.NEEDS_HUMAN), seq=2, wait=None)
QUEUED = replace(samples.task("t-wait"), seq=3)


@pytest.fixture
def busy(served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> ServedHub:
    """A hub with a task of each band; asked for states, it answers those."""

    async def tasks(hub: RecordingHub, query: object) -> TaskList:
        hub.record("tasks", query)
        states = getattr(query, "states", ())
        every = (RUNNING, ASKING, QUEUED)
        return TaskList(tasks=tuple(one for one in every if one.state in states), now_ms=samples.NOW_MS)

    monkeypatch.setattr(RecordingHub, "tasks", tasks)
    return served


@pytest.fixture
def terminal(busy: ServedHub, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path, "top", "--hub", busy.url) as made:
        made.shows("NEEDS YOU 2", "RUNNING 1", "WAITING 1")
        yield made


def test_three_bands_fit_a_small_terminal_and_leave_it_as_it_was(terminal: Terminal) -> None:
    """80 columns and 24 lines; afterwards screen, cursor and keyboard are as before."""
    text = terminal.text
    assert len(text.splitlines()) == 24
    assert all(word in text for word in ("tier_down:standard", "t-ask", "t-run", "qwen", "stable"))
    assert terminal.mode() != list(terminal.before)

    terminal.type("q")

    assert terminal.ended() == ExitCode.OK
    assert terminal.mode() == list(terminal.before)
    assert terminal.written.endswith(b"\x1b[?25h\x1b[?1049l")


def test_keys_reach_the_hub_after_a_yes(terminal: Terminal, busy: ServedHub) -> None:
    """Acknowledge, answer, cancel: each asked again, each told."""
    terminal.type("x")
    terminal.shows("acknowledge tier_down:standard? y does it")
    terminal.type("y")
    terminal.shows("acknowledge: tier_down:standard done")
    terminal.type("ja")
    terminal.type("go on\r")
    terminal.shows("answer t-ask 'go on'?")
    terminal.type("y")
    terminal.shows("answer: t-ask done")
    terminal.type("jc")
    terminal.shows("cancel t-run?")
    terminal.type("n")
    terminal.shows("nothing was done")

    assert [note.id for (note,) in busy.asked("acknowledge")] == ["tier_down:standard"]
    assert busy.asked("answer") == [("t-ask", "go on")]
    assert busy.asked("cancel") == []


def test_arrows_move_and_enter_explains(terminal: Terminal, busy: ServedHub) -> None:
    """The explanation of the hub, until another key."""
    terminal.type("\x1b[B")
    terminal.until(lambda text: "> t-ask" in text, "the cursor on the task")
    terminal.type("\r")
    terminal.shows(samples.WHY.headline, "any key goes back")
    assert busy.asked("why") == [("t-ask",)]

    terminal.type("z")
    terminal.shows("NEEDS YOU 2")


def test_what_waits_is_shown_one_by_one_and_may_be_paused(terminal: Terminal, busy: ServedHub) -> None:
    """Grouped at first; `w` opens the groups."""
    assert "t-wait" not in terminal.text
    terminal.type("w")
    terminal.shows("t-wait")
    terminal.type("\x1b[F")
    terminal.until(lambda text: "> t-wait" in text, "the cursor at the end")
    terminal.type("py")
    terminal.shows("pause: t-wait done")

    assert busy.asked("pause") == [("t-wait",)]


def test_news_are_shown_without_a_key(terminal: Terminal, busy: ServedHub) -> None:
    """An event of the stream is enough; nobody waits for the next regular question."""
    before = len(busy.asked("status"))
    busy.hub.emit(Event(name="task.queued", at_ms=1, seq=99))
    terminal.until(lambda _text: len(busy.asked("status")) > before, "the hub is asked again")


def test_another_size_of_the_window_is_another_screen(terminal: Terminal) -> None:
    """Larger, smaller, and too small; and back."""
    terminal.resize(120, 40)
    terminal.until(lambda text: "q leave" in text.splitlines()[-1], "the last line is the last one")
    terminal.resize(50, 12)
    terminal.until(lambda text: "NEEDS YOU 2" in text and len(text.splitlines()) == 12, "it fits")
    terminal.resize(20, 5)
    terminal.shows("too small")
    terminal.resize(80, 24)
    terminal.shows("NEEDS YOU 2", "RUNNING 1", "WAITING 1")


def test_a_refusal_of_the_hub_is_told_on_the_last_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the hub's own words, and the screen goes on."""

    async def refuse(_hub: RecordingHub, _task_id: str, _reason: str = "") -> None:
        raise ConflictError("task t-run has ended", remedy="it is done")

    terminal.type("jj")
    terminal.until(lambda text: "> t-run" in text, "the cursor on the task")
    monkeypatch.setattr(RecordingHub, "cancel", refuse)
    terminal.type("cy")
    terminal.shows("task t-run has ended; it is done")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)])
def test_however_it_is_ended_the_terminal_is_given_back(terminal: Terminal, number: signal.Signals, code: int) -> None:
    """By a signal as by a key."""
    terminal.process.send_signal(number)

    assert terminal.ended() == code
    assert terminal.mode() == list(terminal.before)
    assert b"\x1b[?1049l" in terminal.written


def test_a_hub_that_is_not_there_is_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    """As by any other verb."""
    with Terminal(tmp_path, "top", "--hub", NOWHERE) as terminal:
        assert terminal.ended() == ExitCode.UNREACHABLE
        assert "no hub answers" in terminal.text
        assert b"\x1b[?1049h" not in terminal.written


def test_without_a_terminal_the_picture_of_this_moment_is_printed(ostler: Ostler, busy: ServedHub) -> None:
    """Once, as text; `--json` is what the hub said."""
    code, out, _ = ostler("top")
    assert code == ExitCode.OK
    assert [line for line in out.splitlines() if line.startswith(("NEEDS", "RUNNING", "WAITING"))] == [
        "NEEDS YOU 2",
        "RUNNING 1",
        "WAITING 1",
    ]
    assert ostler("top", "--once").out == out

    code, out, _ = ostler("top", "--json")
    document = json.loads(out)
    assert code == ExitCode.OK
    assert {task["id"] for task in document["tasks"]["tasks"]} == {"t-run", "t-ask"}
    assert document["alerts"]["alerts"][0]["id"] == "tier_down:standard"


@pytest.mark.parametrize(
    ("wish", "asked", "words"),
    [
        (Wish(verb="retry", id="t-1"), ("retry", "t-1"), "retry: t-1 done"),
        (Wish(verb="resume", id="t-1"), ("resume", "t-1"), "resume: t-1 done"),
        (Wish(verb="load", text="qwen box"), ("load_model", "box"), "load of qwen on box has begun"),
        (Wish(verb="unload", text="qwen box"), ("unload_model", "box"), "unload of qwen on box has begun"),
        (Wish(verb="load", text="qwen"), None, "say model and host, such as: qwen2.5:7b box-1"),
    ],
)
def test_a_wish_asks_the_hub_one_thing(
    served: ServedHub, wish: Wish, asked: tuple[str, ...] | None, words: str
) -> None:
    """And says what came of it."""
    said = carried_out(HubClient(Transport(served.url)), wish)

    assert said == (words,)
    assert [call[: len(asked or ())] for call in served.hub.calls] == ([asked] if asked else [])


def test_a_line_is_cut_to_the_width_and_cannot_steer_the_terminal() -> None:
    """Wide characters count two; a mark shows that there is more."""
    assert painted((Span("abcdef"),), 4) == "abc~"
    assert painted((Span("a\x1b[2Jb"),), 10) == "a[2Jb"
    assert painted((Span("馬馬馬"),), 5) == "馬馬~"
    assert painted((Span("one\ntwo", "bold"), Span("!")), 20) == "\x1b[1mone two\x1b[0m!"
    assert painted((Span("x", "mark:failed:here"),), 5) == "\x1b[31;7mx\x1b[0m"
