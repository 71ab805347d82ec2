"""One worker for each hub and name on a machine: a second one is refused before it could kill the first one's work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ostler.app.identity import book_folder, count_start, guard_folder, lasting_name, lock_identity, spool_folder
from ostler.domain.errors import ConflictError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "ostler" / "workers"


def test_a_second_worker_is_refused_while_the_first_one_runs(state: Path) -> None:
    """With who holds it and what to do; free again as soon as the first one ends."""
    held = lock_identity("abc", "studio")
    with pytest.raises(ConflictError) as caught:
        lock_identity("abc", "studio")
    assert str(caught.value) == (
        f"--name: a worker named studio for this hub runs here already (pid {os.getpid()}) (give this one another name)"
    )
    held.close()
    lock_identity("abc", "studio").close()
    assert (state / "abc.lock").read_text(encoding="ascii") == str(os.getpid())


def test_another_identity_is_another_lock() -> None:
    """Workers for two hubs live side by side."""
    first, second = lock_identity("abc", "studio"), lock_identity("abd", "studio")
    first.close()
    second.close()


def test_the_lock_ends_with_its_process_however_that_ends(state: Path) -> None:
    """A killed worker leaves its file, not its lock; the pid in it is the next one's."""
    program = (
        "import sys; from ostler.app.identity import lasting_name, lock_identity; held = lock_identity('abc', 'x');"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConflictError, match=f"pid {other.pid}"):
            lock_identity("abc", "x")
        other.kill()
        other.wait(10)
        lock_identity("abc", "x").close()

    assert (state / "abc.lock").read_text(encoding="ascii") == str(os.getpid())


def test_without_a_state_folder_the_home_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual place; for its user alone."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    lock_identity("abc", "x").close()
    folder = tmp_path / ".local" / "state" / "ostler" / "workers"

    assert (folder / "abc.lock").exists()
    assert folder.stat().st_mode & 0o077 == 0


def test_a_daemon_keeps_its_lasting_name_over_restarts(state: Path) -> None:
    """Made once for each identity; two identities never share one."""
    first = lasting_name("abc")

    assert lasting_name("abc") == first
    assert lasting_name("other") != first
    assert (state / "abc.instance").read_text(encoding="utf-8").strip() == first


def test_each_identity_has_folders_of_its_own(state: Path) -> None:
    """What is under way, what has ended, and who guards are apart: one is cleared without the others."""
    made = {folder(name) for folder in (book_folder, guard_folder, spool_folder) for name in ("abc", "abd")}

    assert len(made) == 6
    assert {folder.parent for folder in made} == {state}


def test_starts_are_counted_over_restarts(state: Path) -> None:
    """Of each identity; a count that cannot be read begins anew."""
    assert [count_start("abc") for _ in range(3)] == [1, 2, 3]
    assert count_start("abd") == 1
    (state / "abc.starts").write_text("torn", encoding="ascii")
    assert [count_start("abc"), count_start("abc")] == [1, 2]
    assert not list(state.glob("*partial"))
