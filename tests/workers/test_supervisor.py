"""Tests of the supervisor of a command, started as the program that it is, and of what its folder tells."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.workers import companion, reaper, supervision, supervisor
from ostler.workers.guard import ATTEMPT_TAG, WORKER_TAG
from ostler.workers.rules import Launch
from ostler.workers.supervision import Follower, Step, StepEnd
from tests.workers.tagged import BOUND_S, HIDE, PYTHON, Tagged, tagged

__all__ = ["tagged"]

CLOCK = time.CLOCK_MONOTONIC


def wait(step: Step, process: "subprocess.Popen[bytes]") -> StepEnd | None:
    """Its end, once the supervisor has gone."""
    process.wait(BOUND_S)
    return step.end


def until(step: Step, what: str) -> None:
    """Wait for a property of a step."""
    give_up = time.monotonic() + BOUND_S
    while not getattr(step, what):
        assert time.monotonic() < give_up, what
        time.sleep(0.01)


def is_whole(step: Step) -> bool:
    """Whether the attempt of which this is the only step could be taken up."""
    return companion.is_whole(f"{step.folder.parent}")


@contextmanager
def supervised(
    tagged: Tagged, step: Step, *argv: str, lease: Path | None = None, env: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command under a supervisor; both are gone at the end."""
    tags = {WORKER_TAG: tagged.identity, ATTEMPT_TAG: "t1.1"}
    environ = {"PATH": os.environ["PATH"], **(env or {}), **tags}
    launch = Launch(argv=argv, program=argv[0], cwd="/", env=environ)
    process = supervision.start(launch, f"/bin/{argv[0]}", step, tags, lease, CLOCK)
    try:
        yield process
    finally:
        reaper.sweep(tagged.target)
        process.wait(BOUND_S)


def output_of(step: Step) -> bytes:
    """All that can be read of its output; what is gone is shown as its length."""
    pieces: list[bytes] = []
    follower = Follower(step, pieces.append, lambda count: pieces.append(b"<%d>" % count))
    while follower.read(2**30):
        pass
    return b"".join(pieces)


def now_us() -> int:
    return time.clock_gettime_ns(CLOCK) // 1_000


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("echo one; echo two >&2; exit 3", StepEnd(code=3)),
        ("echo one; echo two; kill -9 $$", StepEnd(code=-signal.SIGKILL)),
        ("echo one; echo two; exec >&- 2>&-; sleep 0.2", StepEnd(code=0)),
    ],
)
def test_the_end_and_the_output_are_in_the_folder(tagged: Tagged, tmp_path: Path, script: str, end: StepEnd) -> None:
    """Exit code or signal, both streams in order, also of a command that closes them; and that it is over."""
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "sh", "-c", script) as process:
        assert wait(step, process) == end

    assert output_of(step) == b"one\ntwo\n"
    assert (step.is_begun, step.is_alive, is_whole(step)) == (True, False, True)


def test_a_command_sees_its_own_environment(tagged: Tagged, tmp_path: Path) -> None:
    """Nothing of the supervisor's: no variable, no ignored signal, no open file."""
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "sh", "-c", "env; grep SigIgn /proc/$$/status; ls /proc/$$/fd") as process:
        wait(step, process)

    lines = output_of(step).decode().splitlines()
    names = {line.partition("=")[0] for line in lines if "=" in line} - {"PWD", "SHLVL", "_", "OLDPWD"}
    assert names == {"PATH", WORKER_TAG, ATTEMPT_TAG}
    ignored = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    assert [number for number in range(1, 32) if ignored >> (number - 1) & 1] == []
    assert set(lines[-4:]) <= {"0", "1", "2", "10", "255", lines[-4]}


def test_what_cannot_be_started_is_told(tagged: Tagged, tmp_path: Path) -> None:
    """The number of the error is there, and nothing that could be taken up."""
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "no-such-program") as process:
        assert wait(step, process) == StepEnd(errno=2)

    assert not is_whole(step)


def test_its_life_is_told_by_a_lock(tagged: Tagged, tmp_path: Path) -> None:
    """It lives until it is killed, whatever number it has; a command without its supervisor cannot be taken up."""
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "sleep", "60") as process:
        until(step, "is_begun")
        assert step.pids == (process.pid, step.pids[1] if step.pids else 0)
        assert (step.is_alive, is_whole(step), step.end) == (True, True, None)
        process.kill()
        process.wait(BOUND_S)

        assert (step.is_alive, is_whole(step), step.end) == (False, False, None)
        assert tagged.count() == 1, "the command itself is left"


@pytest.mark.parametrize(
    ("rule", "by"),
    [("lease", supervisor.BY_LEASE), ("due", supervisor.BY_DUE), ("limit", supervisor.BY_LIMIT)],
)
def test_it_ends_a_command_by_itself(tagged: Tagged, tmp_path: Path, rule: str, by: str) -> None:
    """Without any daemon: when the right to run has passed, when its time is up, when it writes without end. Whatever
    it started in other sessions ends with it.
    """
    lease = tmp_path / "lease"
    lease.write_text(str(now_us() + (300_000 if rule == "lease" else 60_000_000)), encoding="ascii")
    step = Step(
        folder=tmp_path / "step",
        due_us=now_us() + 300_000 if rule == "due" else 0,
        limit_bytes=5_000_000 if rule == "limit" else 0,
    )
    script = "yes" if rule == "limit" else f'{PYTHON} -I -S -c "{HIDE}" & sleep 60'
    with supervised(tagged, step, "sh", "-c", script, lease=lease) as process:
        end = wait(step, process)
        left = tagged.count() if rule == "lease" else 0

    assert end == StepEnd(code=-signal.SIGKILL, by=by)
    assert left == 0
    assert not is_whole(step)


def test_without_the_right_to_run_nothing_begins(tagged: Tagged, tmp_path: Path) -> None:
    """A daemon that was frozen in the middle of starting goes on when others have its work: a short command would be
    over before anybody looks.
    """
    lease = tmp_path / "lease"
    lease.write_text(str(now_us() - 1_000), encoding="ascii")
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "touch", f"{tmp_path}/begun", lease=lease) as process:
        end = wait(step, process)

    assert end == StepEnd(code=-signal.SIGKILL, by=supervisor.BY_LEASE)
    assert not (tmp_path / "begun").exists()
    assert not is_whole(step)


def test_a_lease_that_is_renewed_is_good(tagged: Tagged, tmp_path: Path) -> None:
    """The instant in the file counts at each look; a file that cannot be read is no order to end."""
    lease = tmp_path / "lease"
    lease.write_text(str(now_us() + 1_200_000), encoding="ascii")
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "sleep", "2.5", lease=lease) as process:
        time.sleep(0.5)
        lease.write_text(str(now_us() + 60_000_000), encoding="ascii")
        time.sleep(1.0)
        lease.unlink()

        assert wait(step, process) == StepEnd(code=0)


def test_errors_may_have_a_file_and_count(tagged: Tagged, tmp_path: Path) -> None:
    """Of an agent: two files, whole; both together are limited."""
    step = Step(folder=tmp_path / "step", output=tmp_path / "out", errors=tmp_path / "err", limit_bytes=1_000_000)
    with supervised(tagged, step, "sh", "-c", "echo out; echo err >&2; yes >&2") as process:
        end = wait(step, process)

    assert end == StepEnd(code=-signal.SIGKILL, by=supervisor.BY_LIMIT)
    assert output_of(step) == b"out\n"
    assert (tmp_path / "err").read_bytes().startswith(b"err\ny\n")


def test_a_long_output_is_bounded_on_disk(tagged: Tagged, tmp_path: Path) -> None:
    """The first piece and the newest are kept, and how much is missing between them is known to the byte."""
    step = Step(folder=tmp_path / "step")
    code = "import sys; [sys.stdout.write(f'{number:07}\\n') for number in range(1_000_000)]"
    with supervised(tagged, step, "sh", "-c", f'{PYTHON} -I -S -c "{code}"') as process:
        wait(step, process)

    text = output_of(step)
    head, _, rest = text.partition(b"<")
    missing, _, tail = rest.partition(b">")
    assert len(head) == supervision.SEGMENT_BYTES
    assert len(head) + int(missing) + len(tail) == 8_000_000
    assert head.startswith(b"0000000\n0000001\n")
    assert tail.endswith(b"0999999\n")
    assert len(list(step.folder.glob("output.*"))) == 1 + supervisor.SEGMENTS_KEPT


@settings(max_examples=60)
@given(pieces=st.lists(st.binary(max_size=40), max_size=20), segment=st.integers(1, 16), fails=st.booleans())
def test_pieces_on_disk_are_those_of_the_output(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], segment: int, fails: bool
) -> None:
    """However it is cut, each piece holds the bytes of its place; a failing disk only stops the writing."""
    folder = tmp_path_factory.mktemp("output")
    output = supervisor.Output(f"{folder}/output", segment)
    for number, piece in enumerate(pieces):
        if fails and number == len(pieces) // 2:
            output._path = f"{folder}/no/such/folder"
        output.write(piece)
    whole = b"".join(pieces)

    found = {int(path.suffix[1:]): path.read_bytes() for path in folder.iterdir()}
    for index, raw in found.items():
        assert raw == whole[index * segment : index * segment + len(raw)], "a piece is in its place"
    assert len(found) <= 1 + supervisor.SEGMENTS_KEPT, "the disk is bounded"
    if not fails:
        assert output.total_bytes == len(whole), "all of it is counted"
        last = max(found, default=0)
        assert set(range(max(0, last - supervisor.SEGMENTS_KEPT + 1), last + 1)) | {0} == set(found) | {0}


def test_rubbish_in_a_folder_is_nothing(tmp_path: Path) -> None:
    """Half a file, as after a full disk, says neither that it lives nor how it ended."""
    step = Step(folder=tmp_path)
    assert (step.is_begun, step.is_alive, step.end) == (False, False, None)
    for text in ("", "12", "x y", "1 2 3"):
        (tmp_path / supervisor.ALIVE).write_text(text, encoding="ascii")
        assert not step.is_begun
    for text in ("", "status", "status=x\nby=", "by=", "\n"):
        (tmp_path / supervisor.EXIT).write_text(text, encoding="ascii")
        assert step.end is None


@pytest.mark.skipif(sys.platform != "linux", reason="the guarantee needs waitid and process handles")
def test_a_second_supervisor_in_a_folder_ends_at_once(tagged: Tagged, tmp_path: Path) -> None:
    """A command is begun once, however often it is asked for."""
    step = Step(folder=tmp_path / "step")
    with supervised(tagged, step, "sleep", "60"):
        until(step, "is_begun")
        first = step.pids
        with supervised(tagged, step, "sleep", "60") as second:
            assert second.wait(BOUND_S) != 0
            assert step.pids == first
