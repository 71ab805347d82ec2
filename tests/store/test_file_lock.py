"""One process for one database: the second is told who has it, and a dead holder holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostler.domain.errors import ConflictError
from ostler.store.file_lock import FileLock
from ostler.store.sqlite import SqliteStore

HOLDER = """
import asyncio, sys
from ostler.store.sqlite import SqliteStore
async def hold():
    store = await SqliteStore.open(sys.argv[1])
    print("held", flush=True)
    await asyncio.sleep(60)
asyncio.run(hold())
"""

# The child says its number when it runs, which is after it was decided what it inherits.
PARENT = """
import subprocess, sys
from pathlib import Path
from ostler.store.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-c", child], close_fds=False)
"""


@pytest.fixture
def holder(database: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the database open."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(database)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


async def test_the_second_process_is_told_who_has_it(holder: "subprocess.Popen[str]", database: Path) -> None:
    """The error names the process, the file and the way out, and opening changes nothing."""
    with pytest.raises(ConflictError) as caught:
        await SqliteStore.open(database)

    assert f"process {holder.pid}" in caught.value.what
    assert caught.value.where == str(database)
    assert "stop that hub" in caught.value.remedy


async def test_a_killed_process_lets_go(holder: "subprocess.Popen[str]", database: Path) -> None:
    """However the holder died, nobody has to remove a file by hand."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)

    await (await SqliteStore.open(database)).close()


def test_a_lock_can_be_taken_again_after_release(tmp_path: Path) -> None:
    """Released once or twice, it is free; while held, it is not, in the same process neither."""
    path = tmp_path / "x.db"
    first = FileLock(path)
    with pytest.raises(ConflictError, match=f"process {os.getpid()}"):
        FileLock(path)
    first.release()
    first.release()

    second = FileLock(path)
    assert (tmp_path / "x.db.lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
    second.release()


def test_a_program_that_outlives_the_hub_holds_nothing(tmp_path: Path) -> None:
    """What a hub started does not inherit its lock, even when the hub is killed and the program lives on."""
    path = tmp_path / "x.db"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        with pytest.raises(ConflictError, match=f"process {parent.pid}"):
            FileLock(path)
        parent.kill()
        parent.wait(10)
        try:
            FileLock(path).release()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_file_that_says_nothing_is_no_mystery(tmp_path: Path) -> None:
    """When the holder has not written its number yet, the error says what is known."""
    path = tmp_path / "x.db"
    lock = FileLock(path)
    os.truncate(tmp_path / "x.db.lock", 0)

    with pytest.raises(ConflictError, match="in use by another process"):
        FileLock(path)

    lock.release()
