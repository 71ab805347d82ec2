"""What a process compiles of the tests is what pytest finds, and all is compiled by somebody."""

import shutil
from pathlib import Path

import pytest
from _pytest.assertion import rewrite
from hypothesis import given
from hypothesis import strategies as st

from tests.compiled import compile_file, files_of, kept, part_of

ROOT = Path(__file__).resolve().parents[2]


@given(st.integers(0, 40), st.integers(1, 9))
def test_each_file_is_in_one_part(count: int, parts: int) -> None:
    """However many processes there are."""
    files = [Path(f"test_{number}.py") for number in range(count)]

    assert sorted(file for part in range(parts) for file in part_of(files, part, parts)) == sorted(files)


def test_files_are_named_by_themselves_by_a_test_and_by_their_folder() -> None:
    """Only what is to run is compiled."""
    (this,) = files_of(["tests/repo/test_compiled.py::test_x"], ROOT)
    assert this == Path(__file__).resolve()
    assert files_of(["test_compiled.py"], ROOT / "tests" / "repo") == [this]
    repo, every = files_of(["tests/repo"], ROOT), files_of(["tests"], ROOT)
    assert this in repo
    assert {file.parent for file in repo} == {this.parent}
    assert len(every) > len(repo)


def test_what_was_compiled_is_found_until_the_file_changes(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """And tells more of a failure than that something was not so: its assertions are rewritten."""
    file = Path(shutil.copy(Path(__file__), tmp_path / "test_some.py"))
    assert rewrite._read_pyc(file, kept(file)) is None
    compile_file(file, pytestconfig)
    code = rewrite._read_pyc(file, kept(file))
    assert code is not None
    assert "@pytest_ar" in code.co_names

    file.write_text("assert 1 == 2\n", encoding="utf-8")
    assert rewrite._read_pyc(file, kept(file)) is None
    compile_file(file, pytestconfig)
    assert rewrite._read_pyc(file, kept(file)) is not None
