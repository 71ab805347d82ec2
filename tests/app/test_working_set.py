"""`from ostler import WorkingSet`: changes are whole, durable and never lost, whoever makes them at once."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler import WorkingSet
from ostler.domain.errors import InvalidInputError
from ostler.domain.working_set import CHARS_MAX, ENTRIES_MAX, Kind, WorkingState
from ostler.store.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "default" / "working_set.json"


def add_many(path: Path, who: str) -> None:
    for number in range(12):
        WorkingSet(path).add_decision(f"{who} {number}")


def test_nothing_is_there_at_first_and_asking_makes_no_file(path: Path) -> None:
    """Version 0, four empty lists, no folder."""
    fresh = WorkingSet(path)
    assert (fresh.version, fresh.state, fresh.text()) == (0, WorkingState(), "")
    assert not path.parent.exists()


def test_entries_are_kept_in_their_lists_and_each_change_is_a_version(path: Path) -> None:
    """Another object on the same file sees them, in order."""
    mine = WorkingSet(path)
    mine.add_objective("mend the roof")
    mine.add_decision("slate")
    mine.add_error("ladder broke")
    mine.add_summary("it rained")
    other = WorkingSet(path)
    assert (other.objectives, other.decisions) == (("mend the roof",), ("slate",))
    assert (other.errors, other.summaries) == (("ladder broke",), ("it rained",))
    assert other.version == 4
    other.remove("objectives", "mend the roof")
    assert mine.objectives == ()


def test_a_change_that_changes_nothing_is_no_version(path: Path) -> None:
    """Blank text, and what is not there."""
    working = WorkingSet(path)
    working.add_error("e")
    working.add_error("  ")
    working.remove("errors", "nothing")
    assert working.version == 1


def test_of_a_name_is_a_file_below_data(tmp_path: Path) -> None:
    """One file for each profile, and no name leads elsewhere."""
    assert WorkingSet.of("night", tmp_path).path == tmp_path / "night" / "working_set.json"
    for name in ("", "..", "a/b", "a\0"):
        with pytest.raises(InvalidInputError):
            WorkingSet.of(name, tmp_path)


def test_threads_lose_no_change(path: Path) -> None:
    """Four threads that add at once: all entries are there."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda who: add_many(path, who), "abcd"))
    assert set(WorkingSet(path).decisions) == {f"{who} {number}" for who in "abcd" for number in range(12)}
    assert WorkingSet(path).version == 48


def test_processes_lose_no_change(path: Path) -> None:
    """The same for programs."""
    context = multiprocessing.get_context("spawn")
    programs = [context.Process(target=add_many, args=(path, who)) for who in "ab"]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
    assert len(WorkingSet(path).decisions) == 24


@pytest.mark.parametrize("torn", [b"", b"{", b'{"format": "ostler.working_set/1"}', b"\xff\xfe", None])
def test_a_torn_file_gives_the_state_before_it(path: Path, torn: bytes | None) -> None:
    """However it is torn; the next change builds on that state."""
    working = WorkingSet(path)
    working.add_objective("one")
    working.add_objective("two")
    path.write_bytes(path.read_bytes()[:-20] if torn is None else torn)
    assert working.state.text() == "Objectives:\n- one"
    working.add_objective("three")
    assert working.objectives == ("one", "three")


def test_an_edited_file_is_not_believed(path: Path) -> None:
    """The checksum is of what is in it."""
    working = WorkingSet(path)
    working.add_objective("one")
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(StoreError, match="checksum"):
        _ = working.objectives


def test_torn_state_is_never_taken_for_an_empty_one(path: Path) -> None:
    """With no good copy there is an error that says what to do, and nothing is written over it."""
    working = WorkingSet(path)
    working.add_objective("one")
    path.write_bytes(b"{")
    with pytest.raises(StoreError, match="torn") as caught:
        working.add_objective("two")
    assert "move it away" in str(caught.value)
    assert path.read_bytes() == b"{"


def test_another_programs_file_is_left_alone(path: Path) -> None:
    """A file that says it is something else is not taken over."""
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode({"format": "other/1", "version": 1, "sha256": "", "body": {}}))
    with pytest.raises(StoreError, match="other/1"):
        WorkingSet(path).clear()


def test_nothing_half_written_is_left_lying_about(path: Path) -> None:
    """The file, the one before, and the lock."""
    working = WorkingSet(path)
    for number in range(3):
        working.add_summary(str(number))
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"working_set.json", "working_set.json.previous", "working_set.json.lock"}


def test_a_list_or_all_of_it_can_be_cleared(path: Path) -> None:
    """And an unknown list is told with the nearest name."""
    working = WorkingSet(path)
    working.add_error("e")
    working.add_decision("d")
    working.clear("errors")
    assert (working.errors, working.decisions) == ((), ("d",))
    working.clear()
    assert working.state == WorkingState()
    with pytest.raises(InvalidInputError, match="did you mean 'errors'"):
        working.add("error", "x")


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.text(max_size=CHARS_MAX + 10)), max_size=80))
def test_lists_are_bounded_and_hold_no_entry_twice(changes: list[tuple[Kind, str]]) -> None:
    """The newest entries are kept, each once, none too long, and the text for a model names each."""
    state = WorkingState()
    for kind, text in changes:
        state = state.added(kind, text)
    for kind in Kind:
        entries = state.of(kind)
        assert len(entries) <= ENTRIES_MAX[kind.value]
        assert len(set(entries)) == len(entries)
        assert all(entry and len(entry) <= CHARS_MAX for entry in entries)
        assert all(f"- {entry}" in state.text() for entry in entries)
