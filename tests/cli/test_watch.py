"""Watching: pictures on changes, at least now and then, and honest when the hub is silent."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import cast

import pytest
from rich.console import Console

from ostler.cli import watch
from ostler.cli.progress import ROWS_MAX, LiveProgress, PlainProgress, live_table, progress, shown
from ostler.cli.watch import Bell, Picture, is_over, pictures
from ostler.client.hub_client import HubClient
from ostler.client.transport import NoHubError, Transport, UnavailableError
from ostler.domain.errors import ExitCode, NotFoundError, UnreachableError
from ostler.domain.event import Event
from ostler.domain.states import FINAL_STATES, TaskState, Wait, WaitCode
from ostler.domain.tasks import Task
from tests.cli.conftest import Ostler
from tests.cli.scripted import hangs_up, scripted, sends
from tests.web import samples
from tests.web.recording_hub import ServedHub, eventually

RUNNING = samples.task("t", TaskState.RUNNING, started_ms=samples.NOW_MS)
DONE = samples.task("t", TaskState.SUCCEEDED, started_ms=1, finished_ms=5)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 2000\n\n"


class HandBell:
    """Rings as told, one answer for each wait; counts starts and stops."""

    def __init__(self, *rings: bool) -> None:
        self._rings = iter(rings)
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")

    def stop(self) -> None:
        self.log.append("stop")

    def wait(self, timeout_s: float) -> bool:
        return next(self._rings)


def watched(answers: list[Task | Exception], *rings: bool) -> tuple[Iterator[Picture], HandBell]:
    """Pictures from scripted answers of the hub."""
    left = iter(answers)

    def ask() -> tuple[tuple[Task, ...], int]:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return (answer,), samples.NOW_MS

    bell = HandBell(*rings)
    return pictures(ask, cast("Bell", bell)), bell


def states(found: Iterator[Picture]) -> list[tuple[TaskState, bool]]:
    """State of the one task, and whether the picture is stale."""
    return [(picture.tasks[0].state, picture.stale) for picture in found]


def test_a_change_brings_a_new_picture() -> None:
    """When the bell rings the hub is asked again, until all is over; then nobody listens any more."""
    found, bell = watched([RUNNING, RUNNING, DONE], True, True)

    assert states(found) == [(TaskState.RUNNING, False), (TaskState.RUNNING, False), (TaskState.SUCCEEDED, False)]
    assert bell.log == ["start", "stop"]


def test_silence_repeats_the_picture_without_asking() -> None:
    """A live table goes on counting down; the hub is left alone."""
    found, _ = watched([RUNNING], False, False)

    assert states(islice(found, 3)) == [(TaskState.RUNNING, False)] * 3


def test_long_silence_asks_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost event delays a picture and can never make it wrong for good."""
    monkeypatch.setattr(watch, "STALE_S", 0.0)
    found, _ = watched([RUNNING, DONE], False)

    assert states(found) == [(TaskState.RUNNING, False), (TaskState.SUCCEEDED, False)]


def test_a_hub_that_is_gone_leaves_the_last_picture_marked() -> None:
    """What is shown is said to be old, and it goes on when the hub is back."""
    found, _ = watched([RUNNING, UnreachableError("gone"), DONE], True, True)

    assert states(found) == [(TaskState.RUNNING, False), (TaskState.RUNNING, True), (TaskState.SUCCEEDED, False)]


@pytest.mark.parametrize("error", [NoHubError("nobody leads"), UnavailableError("the database is away")])
def test_a_hub_that_cannot_tell_for_a_while_is_waited_for(error: UnreachableError) -> None:
    """One that lost the lead or its database answers, and what was handed in goes on all the same."""
    found, _ = watched([RUNNING, error, DONE], True, True)

    assert states(found) == [(TaskState.RUNNING, False), (TaskState.RUNNING, True), (TaskState.SUCCEEDED, False)]


def test_what_cannot_be_mended_ends_the_watching() -> None:
    """The first question and a real refusal are errors; the bell is stopped."""
    first, _ = watched([UnreachableError("gone")])
    with pytest.raises(UnreachableError):
        next(first)

    later, bell = watched([RUNNING, NotFoundError("no such task")], True)
    with pytest.raises(NotFoundError):
        list(later)
    assert bell.log == ["start", "stop"]


DEPS = Wait(code=WaitCode.DEPS, since_ms=0)
BUSY = Wait(code=WaitCode.CAPACITY, since_ms=0)


@pytest.mark.parametrize(
    ("tasks", "over"),
    [
        ([DONE], True),
        ([DONE, RUNNING], False),
        ([samples.task("h", TaskState.NEEDS_HUMAN)], True),
        ([samples.task("h", TaskState.NEEDS_HUMAN), RUNNING], False),
        ([samples.task("h", TaskState.NEEDS_HUMAN), samples.task("d", wait=DEPS)], True),
        ([samples.task("h", TaskState.NEEDS_HUMAN), samples.task("q", wait=BUSY)], False),
        ([samples.task("d", wait=DEPS)], False),
    ],
)
def test_it_is_over_when_nothing_moves_without_a_person(tasks: list[Task], over: bool) -> None:
    """All ended, or what is left needs a person or waits for what does."""
    assert is_over(tasks) is over


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("optional", [False, True])
def test_only_success_is_success(state: TaskState, optional: bool) -> None:
    """Every other end fails the run, unless the task was optional."""
    task = samples.task("t", state, finished_ms=5, optional=optional)
    picture = Picture(tasks=(task,), now_ms=9, taken_s=0.0)

    good = state is TaskState.SUCCEEDED or optional
    assert picture.exit_code == (ExitCode.OK if good else ExitCode.FAILED)


def test_the_bell_rings_for_its_tasks_only(served: ServedHub) -> None:
    """When the stream stands, and for events of ours; other tasks do not wake anybody."""
    bell = Bell(HubClient(Transport(served.url)), lambda task_id: task_id == "t-mine")
    bell.start()
    try:
        assert bell.wait(5)
        eventually(lambda: served.hub.followers == 1, "the bell listens")
        served.hub.emit(Event(name="x", at_ms=1, task_id="t-other", seq=50))
        assert not bell.wait(0.05)
        served.hub.emit(Event(name="x", at_ms=1, task_id="t-mine", seq=51))
        assert bell.wait(5)
    finally:
        bell.stop()
        bell.stop()

    eventually(lambda: served.hub.followers == 0, "nobody listens any more")


def test_a_bell_without_a_hub_stays_silent() -> None:
    """The thread ends by itself; asking says what is wrong."""
    bell = Bell(HubClient(Transport("http://127.0.0.1:9")), lambda _task_id: True)
    bell.start()

    assert not bell.wait(0.05)
    bell.stop()


def test_a_bell_that_never_rang_can_be_stopped(served: ServedHub) -> None:
    """Stopping without a start is allowed."""
    Bell(HubClient(Transport(served.url)), lambda _task_id: True).stop()


def test_a_cut_stream_is_taken_up_after_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event is missed or seen twice: the next connection begins behind the last one seen."""
    monkeypatch.setattr("ostler.client.hub_client.RECONNECT_S", (0.0,))
    broken: list[str] = []
    first = sends(STREAM, b'id: 4\ndata: {"name":"a","at_ms":1,"seq":4}\n\n', b"id: 5\ndata: {")
    second = sends(STREAM, b": still here\n\n", b'id: 5\ndata: {"name":"b","at_ms":1,"seq":5}\n\n')

    with scripted(first, second) as server:
        found = HubClient(Transport(server.url)).follow(3, broken.append)
        assert [event.seq for event in islice(found, 2)] == [4, 5]

    assert [request.split()[1] for request in server.requests] == [
        "/hub/events/stream?after=3",
        "/hub/events/stream?after=4",
    ]
    assert broken == ["the hub ended the stream"]


def test_following_a_hub_that_is_not_there_says_so(ostler: Ostler, no_hub: str) -> None:
    """Only a connection that once stood is waited for."""
    code, out, err = ostler("events", "--follow")

    assert (code, out) == (ExitCode.UNREACHABLE, "")
    assert "ostler up" in err


def test_a_broken_connection_is_told_while_following(
    ostler: Ostler, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events go to standard output as JSON lines, the break to standard error."""
    waits: list[float] = []

    def interrupted(seconds: float) -> None:
        waits.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr("ostler.client.hub_client.time.sleep", interrupted)
    with scripted(sends(STREAM, b'id: 4\ndata: {"name":"a","at_ms":1,"task_id":"t","seq":4}\n\n')) as server:
        code, out, err = ostler("events", "--follow", "--json", "--task", "t", "--hub", server.url)

    assert code == ExitCode.INTERRUPTED
    assert [line[:26] for line in out.splitlines()] == ['{"name":"a","at_ms":1,"tas']
    assert "connection lost (the hub ended the stream); waiting for the hub" in err
    assert waits == [0.5]


def test_the_live_table_shows_states_places_and_countdowns() -> None:
    """One row for each task, counts below, and a note when the hub is silent."""
    picture = Picture(
        tasks=(samples.task("r-1.web", batch="r-1"), samples.SUCCEEDED),
        now_ms=samples.NOW_MS,
        taken_s=time.monotonic(),
        stale=True,
    )
    console = Console(width=240, color_system=None)

    with console.capture() as captured:
        console.print(live_table(picture))

    text = captured.get()
    rows = text.splitlines()
    assert rows[1].split()[:3] == ["0", "web", "queued"]
    assert "next look in 2 s" in text or "next look in 3 s" in text
    assert "verified after 10 s" in rows[2]
    assert "1 queued, 1 succeeded; the hub does not answer" in rows[3]


def test_of_very_many_tasks_the_open_ones_are_shown() -> None:
    """A table never grows beyond a screen, and what has ended gives way first."""
    ended = tuple(samples.task(f"e{n}", TaskState.SUCCEEDED, finished_ms=5) for n in range(ROWS_MAX))
    running = tuple(samples.task(f"r{n}", TaskState.RUNNING) for n in range(3))

    found = list(shown((*ended, *running)))

    assert len(found) == ROWS_MAX
    assert {task.id for task in running} <= {task.id for task in found}


def test_the_way_of_showing_fits_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines where there is no terminal, a table that is redrawn where there is one."""
    picture = Picture(tasks=(DONE,), now_ms=samples.NOW_MS, taken_s=0.0)
    with progress(live=False) as plain:
        assert isinstance(plain, PlainProgress)
    with progress(live=True) as live:
        assert isinstance(live, LiveProgress)
        live.show(picture)

    assert "succeeded" in capsys.readouterr().out


def test_a_silent_hub_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Not with each picture again."""
    plain = PlainProgress()
    for stale in (False, True, True, False, True):
        plain.show(Picture(tasks=(RUNNING,), now_ms=samples.NOW_MS, taken_s=0.0, stale=stale))

    captured = capsys.readouterr()
    assert captured.err.count("the hub does not answer") == 2
    assert len(captured.out.splitlines()) == 1


def test_a_hub_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a connection stood, a hub that refuses connections is asked again with growing patience."""
    waits: list[float] = []
    monkeypatch.setattr("ostler.client.hub_client.time.sleep", waits.append)
    reasons: list[str] = []

    class GivenUpError(Exception):
        pass

    def broken(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 6:
            raise GivenUpError

    with scripted(sends(STREAM)) as server:
        found = HubClient(Transport(server.url)).follow(None, broken)
        with pytest.raises(GivenUpError):
            next(found)

    assert waits == [0.5, 1.0, 2.0, 5.0, 5.0]
    assert reasons[0] == "the hub ended the stream"
    assert all("no hub answers" in reason for reason in reasons[1:])


def test_an_outage_is_told_once_and_its_end_too(
    ostler: Ostler, monkeypatch: pytest.MonkeyPatch, served: ServedHub
) -> None:
    """Not with every try to connect."""
    waits: list[float] = []

    def interrupted(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("ostler.client.hub_client.time.sleep", interrupted)
    with scripted(sends(STREAM), hangs_up, sends(STREAM)) as server:
        _, _, err = ostler("events", "--follow", "--hub", server.url)

    assert [line.partition(" (")[0] for line in err.strip().splitlines()] == [
        "ostler: connection lost",
        "ostler: connected again",
        "ostler: connection lost",
    ]


def test_a_phase_of_a_run_is_told_once_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    """With its time and tasks; the run's only phase is not, its end says enough."""
    first = samples.task("r-1.a", TaskState.SUCCEEDED, batch="r-1", seq=1, started_ms=1_000, finished_ms=4_000)
    waiting = samples.task("r-1.b", TaskState.QUEUED, batch="r-1", seq=2, needs=("r-1.a",))
    after = samples.task(
        "r-1.b", TaskState.SUCCEEDED, batch="r-1", seq=2, needs=("r-1.a",), started_ms=4_000, finished_ms=9_000
    )
    plain = PlainProgress()
    for tasks in ((first, waiting), (first, waiting), (first, after)):
        plain.show(Picture(tasks=tasks, now_ms=samples.NOW_MS, taken_s=0.0))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("(over)")]
    assert lines == ["phase 0, 3 s: a (over)", "phase 1, 5 s: b (over)"]

    PlainProgress().show(Picture(tasks=(first,), now_ms=samples.NOW_MS, taken_s=0.0))
    assert "(over)" not in capsys.readouterr().out
