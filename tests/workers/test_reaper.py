"""Tests of finding and killing what was left behind, on real processes, and of the reaper's obedience."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.workers import companion, reaper
from ostler.workers.guard import ATTEMPT_TAG, SESSION_TAG, WORKER_TAG, GuardLostError, ReaperGuard
from tests.workers.tagged import PYTHON, Tagged, tagged, until

__all__ = ["tagged"]

OTHER = {"LC_ALL": "C"}
SLEEP = "import time; print('up', flush=True); time.sleep(60)"
# The leader hands its place to a grandchild that left group and session and then waits for it.
WITH_ESCAPEE = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'], start_new_session=True);"
    "print('up', flush=True); time.sleep(60)"
)
# As above, but the grandchild's environment is empty: only its parent tells whose it is.
WITH_BARE_ESCAPEE = WITH_ESCAPEE.replace("start_new_session=True", "start_new_session=True, env={}")


@contextmanager
def program(code: str, tags: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A real process in a session of its own that says when it is up; reaped at the end."""
    process = subprocess.Popen(
        [PYTHON, "-I", "-S", "-c", code], env=tags, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(params=["proc", "psutil"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Looks through /proc, and the way of systems that have none."""
    if request.param == "psutil":
        monkeypatch.setattr(reaper, "_has_proc", lambda: False)
    elif sys.platform != "linux":
        pytest.skip("no /proc here")
    return str(request.param)


def target_of(name: str, value: str) -> reaper.Target:
    return reaper.Target(tags=frozenset({frozenset({f"{name}={value}"})}))


async def test_a_tagged_process_is_found_and_killed(tagged: Tagged, both_ways: str) -> None:
    """A process with the tag is killed wherever it went, and the sweep says that nothing is left."""
    with program(WITH_ESCAPEE, {WORKER_TAG: tagged.identity}) as leader:
        await tagged.until_spread(2, 2)

        assert reaper.sweep(tagged.target)

        assert leader.wait(5) == -signal.SIGKILL
        assert reaper.left_behind(tagged.target) == []


def test_a_process_that_emptied_its_environment_is_found_by_its_parent(tagged: Tagged, both_ways: str) -> None:
    """A grandchild without tag, group and session in common is killed with its parent."""
    with program(WITH_BARE_ESCAPEE, {WORKER_TAG: tagged.identity}) as leader:
        victims = reaper.left_behind(tagged.target)
        assert leader.pid in {victim.pid for victim in victims}
        assert len(victims) == 2

        reaper.sweep(tagged.target)

        living = {process.pid for process in reaper.processes()}
        assert not living & {victim.pid for victim in victims}


def test_a_group_is_found_without_any_tag(both_ways: str) -> None:
    """All members of a registered group are killed, whatever their environment."""
    with program(SLEEP, OTHER) as leader:
        assert reaper.sweep(reaper.Target(groups=frozenset({leader.pid})))

        assert leader.wait(5) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="about /proc")
def test_a_process_between_two_programs_is_waited_for(tagged: Tagged, monkeypatch: pytest.MonkeyPatch) -> None:
    """A young process that shows no environment may get its tags any moment: the sweep looks until it can tell."""
    real = reaper.read
    blind_looks = 3
    looks = 0

    def read(path: str) -> bytes:
        nonlocal looks
        if path == f"{reaper.PROC}/{process.pid}/environ":
            looks += 1
            return b"" if looks <= blind_looks else real(path)
        return real(path)

    with program(SLEEP, {WORKER_TAG: tagged.identity}) as process:
        monkeypatch.setattr(reaper, "read", read)

        assert reaper.sweep(tagged.target)

        assert looks == blind_looks + 1
        assert process.wait(5) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="about /proc")
def test_a_process_without_any_environment_is_not_waited_for_long(tagged: Tagged) -> None:
    """A stranger that has emptied its environment for good holds a sweep up only while it is young."""
    with program(SLEEP, {}) as stranger:
        begun = time.monotonic()

        assert reaper.sweep(tagged.target)

        assert time.monotonic() - begun < reaper.SWEEP_LIMIT_S
        assert stranger.poll() is None


def test_all_tags_of_a_set_must_be_there(tagged: Tagged, both_ways: str) -> None:
    """An attempt of the same name under another worker is left alone, and so is a longer value that begins alike."""
    with program(SLEEP, {WORKER_TAG: tagged.identity, SESSION_TAG: "s12"}):
        other = frozenset({f"{WORKER_TAG}={tagged.identity}", f"{SESSION_TAG}=s1"})
        assert reaper.left_behind(reaper.Target(tags=frozenset({other}))) == []
        assert tagged.count() == 1

        reaper.sweep(tagged.target)


def test_a_stranger_is_left_alone(tagged: Tagged) -> None:
    """A sweep touches neither the caller nor a process without tag, group or parent among the marked."""
    with program(SLEEP, OTHER) as stranger, program(SLEEP, {WORKER_TAG: tagged.identity}):
        reaper.sweep(tagged.target)

        assert stranger.poll() is None


def test_a_process_that_took_over_an_id_is_left_alone(tagged: Tagged) -> None:
    """What was found is killed only while it is still the same process."""
    with program(SLEEP, {WORKER_TAG: tagged.identity}) as process:
        (found,) = reaper.left_behind(tagged.target)

        reaper._kill(found._replace(start="another"))

        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        reaper.sweep(tagged.target)


def test_a_process_that_ended_meanwhile_is_no_error(tagged: Tagged) -> None:
    """Killing what has just gone is not an error."""
    with program(SLEEP, {WORKER_TAG: tagged.identity}) as process:
        (found,) = reaper.left_behind(tagged.target)
        process.kill()
        process.wait()

        reaper._kill(found)


@pytest.mark.parametrize(
    "line", [b"", b"not json", b"[]", b"7", b'["add"]', b'["add", "x"]', b'["beat", null]', b'{"add": 1}', b"\xff"]
)
def test_a_line_that_makes_no_sense_is_skipped(line: bytes) -> None:
    """The reaper outlives rubbish and keeps what it was told before."""
    orders = companion.Orders()
    orders.take(b'["add", 7]', 0.0)

    orders.take(line, 0.0)

    assert orders.target("S").groups == {7}


@given(line=st.binary(max_size=30))
def test_no_line_ends_the_reaper(line: bytes) -> None:
    """No input at all makes the reaper fail."""
    companion.Orders().take(line, 0.0)


def test_orders_add_up() -> None:
    """Sessions gather, groups come and go, a beat sets the time."""
    orders = companion.Orders()
    for line in (b'["session", "a"]', b'["session", "b"]', b'["add", 5]', b'["add", 6]', b'["remove", 5]'):
        orders.take(line, 10.0)
    assert orders.target("S") == reaper.Target(
        tags=frozenset({frozenset({"S=a"}), frozenset({"S=b"})}), groups=frozenset({6})
    )

    orders.take(b'["beat", 1500]', 10.0)
    assert orders.due_s == 11.5


def test_rest_takes_the_time_away() -> None:
    """Before the first beat, and when nothing runs, no beat can be overdue."""
    orders = companion.Orders()
    before = orders.due_s

    orders.take(b'["beat", 1500]', 10.0)
    orders.take(b'["rest"]', 11.0)

    assert (before, orders.due_s) == (None, None)


def test_orders_are_read_across_pieces() -> None:
    """A line that arrives in two pieces is one line; the end of the input ends the listening."""
    source, sink = os.pipe()
    orders = companion.Orders()
    os.write(sink, b'["session", "a"]\n["ad')
    os.write(sink, b'd", 5]\n')
    os.close(sink)

    companion.listen(source, orders)

    os.close(source)
    assert (orders.sessions, orders.groups) == ({"a"}, {5})


async def test_the_end_of_its_daemon_is_the_end_of_all(tagged: Tagged) -> None:
    """When the pipe closes, the reaper kills registered groups and tagged processes, and ends."""
    guard = ReaperGuard(tagged.identity)
    guard.open(tagged.identity)
    with (
        program(WITH_ESCAPEE, {SESSION_TAG: tagged.identity, WORKER_TAG: tagged.identity}) as marked,
        program(SLEEP, OTHER) as registered,
    ):
        guard.add(registered.pid)

        await guard.close()

        assert marked.wait(5) == -signal.SIGKILL
        assert registered.wait(5) == -signal.SIGKILL
        assert guard.pid is None
        await tagged.until(lambda count: count == 0)


async def test_an_overdue_beat_kills_and_fences(tagged: Tagged) -> None:
    """Without a beat in time everything is killed, and the next word to the reaper is refused: what a frozen daemon
    starts after it woke up cannot be registered.
    """
    guard = ReaperGuard(tagged.identity)
    guard.open(tagged.identity)
    with program(SLEEP, OTHER) as registered:
        guard.add(registered.pid)
        guard.beat(200)

        assert registered.wait(5) == -signal.SIGKILL
        with pytest.raises(GuardLostError):
            guard.add(registered.pid)

    guard.rest()
    guard.remove(1)
    guard.open("next")
    guard.beat(5_000)
    await guard.close()
    await guard.close()


async def test_beats_and_rest_keep_the_reaper_quiet(tagged: Tagged) -> None:
    """A daemon that beats in time, or says that nothing runs, keeps its processes."""
    guard = ReaperGuard(tagged.identity)
    guard.open("s")
    with program(SLEEP, OTHER) as registered:
        guard.add(registered.pid)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.6:
            guard.beat(300)
            await until(lambda: True)
            time.sleep(0.05)  # noqa: ASYNC251 -- only the reaper's clock matters
        assert registered.poll() is None

        guard.rest()
        with pytest.raises(subprocess.TimeoutExpired):
            registered.wait(0.5)
        guard.remove(registered.pid)
        await guard.close()
        assert registered.poll() is None


async def test_a_stop_of_the_service_does_not_take_the_reaper_first(tagged: Tagged) -> None:
    """Signals that ask programs to end do not end the reaper: it must outlive its daemon."""
    guard = ReaperGuard(tagged.identity)
    guard.open("s")
    assert guard.pid is not None
    with program(SLEEP, OTHER) as registered:
        guard.add(registered.pid)
        guard.beat(10_000)
        await until(lambda: _ignores(guard.pid, signal.SIGTERM))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guard.pid, number)

        guard.beat(10_000)
        assert registered.poll() is None
        await guard.close()
        assert registered.wait(5) == -signal.SIGKILL


def _ignores(pid: int | None, number: signal.Signals) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123
        mask = next(line for line in file if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


async def test_a_new_reaper_takes_the_place_of_a_dead_one(tagged: Tagged) -> None:
    """A session begins under a living reaper, also when the one of the last session was killed."""
    guard = ReaperGuard(tagged.identity)
    guard.open("one")
    first = guard.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: not _lives(first))

    guard.open("two")

    assert guard.pid not in (None, first)
    guard.beat(1_000)
    await guard.close()


def _lives(pid: int) -> bool:
    return any(process.pid == pid for process in reaper.processes())


async def test_an_unopened_guard_refuses(tagged: Tagged) -> None:
    """Without a session nothing can be registered."""
    with pytest.raises(GuardLostError):
        ReaperGuard(tagged.identity).add(1)


async def test_a_close_that_is_broken_off_leaves_no_file_open(tagged: Tagged, tmp_path: Path) -> None:
    """The reaper ends by itself, as it hears nothing more; the file of the lease is closed."""
    guard = ReaperGuard(tagged.identity, folder=tmp_path)
    guard.open("s1")
    pid, file = guard.pid, guard._lease_file
    assert file is not None
    closing = asyncio.ensure_future(guard.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    await until(lambda: not _lives(pid or 0))
    await guard.close()


async def test_a_start_cleans_up_after_earlier_daemons(tagged: Tagged) -> None:
    """What carries the identity of this worker is killed before it joins."""
    with program(SLEEP, {WORKER_TAG: tagged.identity}) as leftover:
        await ReaperGuard(tagged.identity).clean()

        assert leftover.wait(5) == -signal.SIGKILL


def test_what_is_spared_is_left_alone(tagged: Tagged, both_ways: str) -> None:
    """Of one worker's processes those of some attempts, with all that they started, are passed over."""
    spared = frozenset({frozenset({f"{ATTEMPT_TAG}=t1.1"})})
    own = reaper.Target(tags=frozenset({next(iter(spared)) | next(iter(tagged.target.tags))}))
    with (
        program(WITH_BARE_ESCAPEE, {WORKER_TAG: tagged.identity, ATTEMPT_TAG: "t1.1"}) as kept,
        program(SLEEP, {WORKER_TAG: tagged.identity, ATTEMPT_TAG: "t1.11"}) as other,
    ):
        before = {proc.pid for proc in reaper.left_behind(own)}
        assert reaper.sweep(reaper.Target(tags=tagged.target.tags, spared=spared))

        assert other.wait(5) == -signal.SIGKILL
        assert kept.poll() is None
        assert {proc.pid for proc in reaper.left_behind(own)} == before
        assert len(before) == 2
        reaper.sweep(tagged.target)
