"""Small state in a file: whoever is killed when, a reader sees one whole state, and no acknowledged change is lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import ConflictError
from ostler.store import state_file
from ostler.store.errors import StoreError
from ostler.store.state_file import StateFile
from tests.e2e.process import until

KIND = "test/1"
WRITER = """
import json, sys
from ostler.store.state_file import StateFile

file = StateFile(sys.argv[1], "test/1")
while True:
    stored = file.change(lambda body: json.dumps(json.loads(body or b"[]") + [sys.argv[2]] ).encode())
    print(stored.version, flush=True)  # acknowledged
"""


def added(file: StateFile, word: str) -> int:
    return file.change(lambda body: json.dumps([*json.loads(body or b"[]"), word]).encode()).version


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "state.json"


def test_a_change_builds_on_the_one_before(path: Path) -> None:
    """Versions rise by one; the text is what was written."""
    file = StateFile(path, KIND)
    assert (file.read().version, file.read().body) == (0, None)
    assert [added(file, word) for word in ("a", "b", "c")] == [1, 2, 3]
    found = StateFile(path, KIND).read()
    assert (found.version, found.body, found.recovered) == (3, b'["a", "b", "c"]', False)


def test_a_change_that_raises_changes_nothing(path: Path) -> None:
    """And lets the next one in."""
    file = StateFile(path, KIND)
    added(file, "a")

    def broken(body: bytes | None) -> bytes:
        raise LookupError(body)

    with pytest.raises(LookupError):
        file.change(broken)
    assert added(file, "b") == 2


def test_nobody_else_can_read_it(path: Path) -> None:
    """It may hold what an agent thinks about private things."""
    added(StateFile(path, KIND), "a")
    assert path.stat().st_mode & 0o077 == 0


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_whatever_happens_to_the_newest_text_a_whole_state_is_read_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int
) -> None:
    """Cut off anywhere, overwritten anywhere: the newest state, the one before it, or an error; never another one."""
    path = tmp_path_factory.mktemp("torn") / "state.json"
    file = StateFile(path, KIND)
    for word in ("a", "b"):
        added(file, word)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + noise)
    try:
        found = file.read()
    except StoreError:
        return
    assert (found.version, found.body) in {(2, b'["a", "b"]'), (1, b'["a"]')}
    assert found.recovered == (found.version == 1)


def test_writers_that_are_killed_again_and_again_lose_no_acknowledged_change(path: Path) -> None:
    """Two at once, killed at any instant: what they were told is durable is there, and nobody else's is missing."""
    dice = random.Random(3)
    acknowledged = 0
    for _ in range(6):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(path), who], stdout=subprocess.PIPE, text=True)
            for who in "xy"
        ]
        enough = acknowledged + 4
        until(lambda enough=enough: StateFile(path, KIND).read().version > enough, "they write")  # type: ignore[misc]
        time.sleep(dice.random() * 0.02)
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        told = [line for writer in writers for line in writer.communicate()[0].split()]
        found = StateFile(path, KIND).read()
        assert not found.recovered
        assert found.version >= max(map(int, told), default=0), "a change that was acknowledged is gone"
        assert len(json.loads(found.body or b"[]")) == found.version, "a change was lost or doubled"
        acknowledged = found.version


def test_a_lock_that_nobody_gives_back_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, instead of waiting for ever."""
    monkeypatch.setattr(state_file, "LOCK_WAIT_S", 0.05)
    file, other = StateFile(path, KIND), StateFile(path, KIND)

    def meanwhile(body: bytes | None) -> bytes:
        with pytest.raises(ConflictError, match="kept its lock"):
            added(other, "b")
        return body or b"[]"

    file.change(meanwhile)
    assert added(other, "b") == 2


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        added(StateFile(tmp_path / "file" / "state.json", KIND), "a")
