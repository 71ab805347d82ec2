"""Tests of what happens between the reapers and guards of two daemons that follow each other."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ostler.workers import companion
from ostler.workers.book import FolderBook
from ostler.workers.guard import ATTEMPT_TAG, SESSION_TAG, WORKER_TAG, GuardLostError, ReaperGuard, Spared
from tests.workers.tagged import Tagged, tagged, until
from tests.workers.test_book import ended, entry
from tests.workers.test_reaper import SLEEP, _lives, program

__all__ = ["tagged"]

NOBODY = -1
"""No process is the parent of this one's number: a daemon that is dead."""


@pytest.mark.parametrize(("keep_ms", "window_ms", "waits_s"), [(0, 60_000, 0), (400, 60_000, 0.4), (60_000, 400, 0.4)])
def test_a_dead_daemons_work_is_kept_for_a_while(tmp_path: Path, keep_ms: int, window_ms: int, waits_s: float) -> None:
    """As long as was asked for, and never beyond the window of the last beat."""
    ended(FolderBook(tmp_path).begin(entry()))
    orders = companion.Orders()
    now_s = 100.0

    def clock() -> float:
        return now_s

    orders.take(json.dumps(["keep", keep_ms, str(tmp_path), NOBODY]).encode(), now_s)
    orders.take(b'["beat", %d]' % window_ms, now_s)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        slept.append(seconds)
        now_s += seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", sleep)
        companion.await_successor(orders, clock)

    assert sum(slept) == pytest.approx(waits_s)


@pytest.mark.parametrize("steps", [{}, {"work": False}, {"work": True, "check-1": False}])
def test_nothing_is_waited_for_that_nobody_could_take_up(tmp_path: Path, steps: dict[str, bool]) -> None:
    """An empty book, one with a command of which nobody can tell how it ended, and none at all."""
    folder = FolderBook(tmp_path).begin(entry())
    for name, told in steps.items():
        ended(folder, name, told=told)
    for place in (str(tmp_path), str(tmp_path / "none"), ""):
        orders = companion.Orders()
        orders.take(json.dumps(["keep", 60_000, place, NOBODY]).encode(), 0.0)
        orders.take(b'["beat", 60000]', 0.0)
        begun_s = time.monotonic()
        companion.await_successor(orders)
        assert time.monotonic() - begun_s < 5
        assert not companion.can_be_taken_up(place)


def test_a_daemon_that_lives_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gave this companion up, ends what runs, and goes on under the same session: a sweep later would hit that."""
    monkeypatch.setattr(companion, "DYING_S", 0.0)
    ended(FolderBook(tmp_path).begin(entry()))
    orders = companion.Orders()
    orders.take(json.dumps(["keep", 60_000, str(tmp_path), os.getppid()]).encode(), 0.0)
    orders.take(b'["beat", 60000]', 0.0)

    companion.await_successor(orders, lambda: pytest.fail("it does not wait"))


def test_nothing_is_kept_without_a_beat() -> None:
    """Before the first one, and at rest, there is no right to run that could go on."""
    orders = companion.Orders()
    orders.take(b'["keep", 60000, "", -1]', 0.0)

    companion.await_successor(orders, lambda: pytest.fail("it looks at no clock"))


async def test_the_next_guard_dismisses_the_reaper_before(tagged: Tagged, tmp_path: Path) -> None:
    """What is spared goes on under a reaper of its own, within the window that the last daemon had; that of the last
    daemon does not fire any more.
    """
    first = ReaperGuard(tagged.identity, folder=tmp_path, keep_ms=60_000)
    first.open("s1")
    first.beat(5_000)
    old, process = first.pid, first._reaper
    assert old is not None
    assert process is not None
    with program(SLEEP, {WORKER_TAG: tagged.identity, SESSION_TAG: "s1", ATTEMPT_TAG: "t1.1"}) as kept:
        assert process.stdin is not None
        process.stdin.close()  # the daemon is dead
        second = ReaperGuard(tagged.identity, folder=tmp_path, keep_ms=60_000)
        assert 3_000 < second.left_ms() <= 5_000

        await second.clean(Spared(sessions=frozenset({"s1"}), attempts=frozenset({"t1.1"})))

        assert process.wait(5) == -signal.SIGKILL
        assert kept.poll() is None
        assert sum(name.startswith("reaper.") for name in os.listdir(tmp_path)) == 1  # noqa: PTH208 -- in async code
        await second.end("t1.2")
        assert kept.poll() is None
        await second.end("t1.1")
        assert kept.wait(5) == -signal.SIGKILL
    await second.close()


async def test_a_lease_is_the_same_for_every_daemon(tagged: Tagged, tmp_path: Path) -> None:
    """Each beat moves it on, one that the reaper does not hear does not, and a torn file gives no right."""
    guard = ReaperGuard(tagged.identity, folder=tmp_path)
    assert guard.left_ms() == 0
    guard.open("s1")
    guard.beat(2_000)
    guard.beat(9_000)
    other = ReaperGuard(tagged.identity, folder=tmp_path)
    assert 7_000 < other.left_ms() <= 9_000
    assert guard.pid is not None
    os.kill(guard.pid, signal.SIGKILL)
    await until(lambda: not _lives(guard.pid or 0))
    with pytest.raises(GuardLostError):
        guard.beat(60_000)
    assert other.left_ms() <= 9_000
    (tmp_path / "lease").write_text("rubbish", encoding="ascii")
    assert other.left_ms() == 0
    await guard.close()
    await other.close()


@pytest.mark.parametrize("has_folder", [True, False])
async def test_the_right_to_run_is_over_when_the_window_is(tagged: Tagged, tmp_path: Path, has_folder: bool) -> None:
    """Of the last beat that was heard, whether it is in a file or not; before the first of a daemon, that of the one
    before counts, which its supervisors know.
    """
    guard = ReaperGuard(tagged.identity, folder=tmp_path if has_folder else None)
    guard.open("s1")
    guard.check()
    guard.beat(9_000)
    guard.check()
    guard.beat(0)
    with pytest.raises(GuardLostError):
        guard.check()
    guard.open("s2")
    guard.beat(9_000)
    guard.check()
    await guard.close()


async def test_a_companion_that_is_just_about_to_end_is_no_hindrance(
    tagged: Tagged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has fired, closed its ears and is still there: the next session has one of its own."""
    guard = ReaperGuard(tagged.identity, folder=tmp_path)
    guard.open("s1")
    ending = guard._reaper
    assert ending is not None
    ending.kill()
    ending.wait()
    monkeypatch.setattr(ending, "poll", lambda: None)

    guard.open("s2")

    assert guard._reaper is not ending
    guard.beat(9_000)
    guard.check()
    await guard.close()


async def test_an_orderly_close_keeps_nothing(tagged: Tagged, tmp_path: Path) -> None:
    """A daemon that was asked to end leaves nobody waiting for the next one."""
    guard = ReaperGuard(tagged.identity, folder=tmp_path, keep_ms=60_000)
    guard.open("s1")
    guard.beat(60_000)
    with program(SLEEP, {SESSION_TAG: "s1", WORKER_TAG: tagged.identity}) as marked:
        begun = time.monotonic()
        await guard.close()

        assert marked.wait(5) == -signal.SIGKILL
        assert time.monotonic() - begun < 8
