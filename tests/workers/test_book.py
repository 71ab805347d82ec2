"""Tests of what a worker has under way on disk, and of what can be taken up."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.workers import book as book_module
from ostler.workers import supervisor
from ostler.workers.book import Entry, FolderBook, boot_name
from tests.workers.work_made import command


def entry(task_id: str = "t1", generation: int = 1, begun_us: int = 5) -> Entry:
    assignment = replace(command("true", task_id=task_id, generation=generation), key="ost-secret")
    return Entry(assignment=assignment, session_id="s1", begun_ms=7, begun_us=begun_us)


def ended(folder: Path | None, name: str = "work", by: str = "", *, told: bool = True) -> None:
    """A step that was begun and has ended by a rule, or of which nobody can tell."""
    assert folder is not None
    (folder / name).mkdir()
    (folder / name / supervisor.ALIVE).write_text("1 2\n", encoding="ascii")
    if told:
        (folder / name / supervisor.EXIT).write_text(f"status=0\nby={by}\nbytes=0\n", encoding="ascii")


def test_what_is_under_way_is_found_by_the_next_daemon(tmp_path: Path) -> None:
    """With its assignment, its session and when it began, the oldest first; its end strikes it out."""
    book = FolderBook(tmp_path)
    for one in (entry("late", 2, 9), entry("early", 1, 3)):
        ended(book.begin(one))

    found = FolderBook(tmp_path).load()
    assert found == (
        replace(entry("early", 1, 3), boot=boot_name()),
        replace(entry("late", 2, 9), boot=boot_name()),
    )
    book.end(("early", 1))
    assert [one.key for one in book.load()] == [("late", 2)]
    book.clear([])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("steps", "whole"),
    [
        ([], False),
        ([("work", "", True)], True),
        ([("work", "", True), ("check-1", "", True)], True),
        ([("work", "", False)], False),
        ([("work", supervisor.BY_LEASE, True)], False),
        ([("work", supervisor.BY_DUE, True)], False),
        ([("work", "", True), ("check-1", "", False)], False),
    ],
)
def test_only_what_is_whole_is_taken_up(tmp_path: Path, steps: list[tuple[str, str, bool]], whole: bool) -> None:
    """Something was begun, and all of it goes on or has ended by itself and told so."""
    book = FolderBook(tmp_path)
    folder = book.begin(entry())
    for name, by, told in steps:
        ended(folder, name, by, told=told)

    assert book.can_be_taken_up(("t1", 1)) is whole
    assert len(book.load()) == whole


def test_nothing_is_taken_up_over_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes, instants and numbers of another boot mean nothing."""
    ended(FolderBook(tmp_path).begin(entry()))
    monkeypatch.setattr(book_module, "boot_name", lambda: "another")

    assert FolderBook(tmp_path).load() == ()


def test_a_boot_has_a_name_without_proc_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time at which the machine was started."""
    monkeypatch.setattr(book_module, "_BOOT_FILE", Path("/no/such/file"))

    assert boot_name() == boot_name()
    assert boot_name().isdigit()


def test_an_assignment_is_for_its_user_only(tmp_path: Path) -> None:
    """It holds the key of the attempt."""
    FolderBook(tmp_path / "runs").begin(entry())

    (file,) = (tmp_path / "runs").glob("*/attempt.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == 0o700


def test_rubbish_is_cleared(tmp_path: Path) -> None:
    """What cannot be read is not taken up, and goes; what is kept stays."""
    book = FolderBook(tmp_path)
    kept = book.begin(entry())
    ended(kept)
    torn = book.begin(entry("torn"))
    assert torn is not None
    (torn / "attempt.json").write_bytes(b'{"assignment": ')
    (tmp_path / "stray").mkdir()

    assert [one.key for one in book.load()] == [("t1", 1)]
    book.clear([("t1", 1)])
    assert list(tmp_path.iterdir()) == [kept]


def test_a_disk_that_is_full_keeps_nothing_from_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the attempt cannot be taken up later; that is all."""
    book = FolderBook(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)

    assert book.begin(entry()) is None
    assert book.load() == ()


@given(task_id=st.text(min_size=1, max_size=300), generation=st.integers(1, 2**40))
@settings(max_examples=40)
def test_whatever_a_task_is_called_it_has_a_folder(
    tmp_path_factory: pytest.TempPathFactory, task_id: str, generation: int
) -> None:
    """No name is too long, leads out of the folder, or is another's."""
    root = tmp_path_factory.mktemp("book")
    book = FolderBook(root)
    ended(book.begin(entry(task_id, generation)))

    assert [one.key for one in book.load()] == [(task_id, generation)]
    assert [path.parent for path in root.iterdir()] == [root]
    assert not book.can_be_taken_up((task_id, generation + 1))
