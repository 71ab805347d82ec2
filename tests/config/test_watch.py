"""Watching a profile: every change is told once; a bad one is refused whole and the old profile stays."""

import asyncio
import os
from pathlib import Path

import pytest

from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.watch import ProfileWatcher
from tests.config.support import HOME, ONE_TIER


class Watched:
    """A profile in a file, a watcher on it, and what it told."""

    def __init__(self, folder: Path, *, interval_s: float = 2.0) -> None:
        self.path = folder / "ostler.yaml"
        self.write("first")
        self.told: list[str] = []
        self.heard = asyncio.Event()
        self.loads = 0
        self.watcher = ProfileWatcher(self.path, self.load, self.on_change, self.on_refused, interval_s=interval_s)

    def write(self, name: str, rest: str = ONE_TIER) -> None:
        self.path.write_text(f"name: {name}\n{rest}", encoding="utf-8")

    def age(self, seconds: int) -> None:
        """Make the file look as if it had last been changed long ago."""
        status = self.path.stat()
        os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 1_000_000_000))

    def load(self) -> LoadedProfile:
        self.loads += 1
        return load_profile(self.path, {"HOME": HOME})

    def on_change(self, profile: LoadedProfile) -> None:
        self.told.append(profile.policy.profile)
        self.heard.set()

    def on_refused(self, text: str) -> None:
        self.told.append(text)
        self.heard.set()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_a_change_is_told_once(watched: Watched) -> None:
    """The profile that is there at the start is no change; a new one is, one time."""
    await watched.watcher.poll()
    watched.write("second")
    await watched.watcher.poll()
    await watched.watcher.poll()

    assert watched.told == ["second"]


async def test_a_bad_profile_is_refused_whole_and_the_next_good_one_taken(watched: Watched) -> None:
    """The text names every mistake; while the file stays bad nothing more is said."""
    watched.write("second", "hub: {prot: 1, host: 5}\n")
    await watched.watcher.poll()
    await watched.watcher.poll()
    watched.write("third")
    await watched.watcher.poll()

    refusal, third = watched.told
    assert refusal.startswith("the profile was not taken over, the old one stays:\n")
    assert "hub.prot" in refusal
    assert "hub.host" in refusal
    assert third == "third"


async def test_a_file_that_only_looks_changed_is_no_change(watched: Watched) -> None:
    """Touching or rewriting the same content loads nothing."""
    watched.age(100)
    await watched.watcher.poll()
    watched.write("first")
    await watched.watcher.poll()

    assert (watched.told, watched.loads) == ([], 0)


async def test_a_change_within_one_tick_of_the_file_system_is_seen(watched: Watched) -> None:
    """Two writes of the same length with the same time stamp are told apart by their content."""
    stamp = watched.path.stat()
    await watched.watcher.poll()
    watched.write("later")
    assert watched.path.stat().st_size == stamp.st_size
    os.utime(watched.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    await watched.watcher.poll()

    assert watched.told == ["later"]


async def test_an_old_file_is_not_read_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a file has rested, a look costs one `stat`."""
    watched.age(100)
    await watched.watcher.poll()

    def never(self: Path) -> bytes:
        raise AssertionError("read")

    monkeypatch.setattr(Path, "read_bytes", never)
    await watched.watcher.poll()

    assert watched.told == []


async def test_a_lost_file_is_told_once_and_its_return_is_a_change(watched: Watched) -> None:
    """Editors replace files: a moment without one stops nothing."""
    watched.path.unlink()
    await watched.watcher.poll()
    await watched.watcher.poll()
    watched.write("back")
    await watched.watcher.poll()

    assert watched.told == [f"{watched.path}: No such file or directory; the settings in use stay", "back"]


async def test_it_runs_until_it_is_cancelled(tmp_path: Path) -> None:
    """The running watcher tells a change without being asked, and ends when its task is cancelled."""
    watched = Watched(tmp_path, interval_s=0.001)
    task = asyncio.create_task(watched.watcher.run())
    watched.write("second")
    await asyncio.wait_for(watched.heard.wait(), timeout=10)
    task.cancel()
    await asyncio.wait([task], timeout=10)

    assert (watched.told, task.cancelled()) == (["second"], True)
