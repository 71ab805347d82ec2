"""Results for a command: files in a private folder, named in its environment, gone afterwards."""

import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from ostler.domain.states import TaskState
from ostler.domain.work import NeedResult
from ostler.workers.results import FOLDER_ENV, MISSING_ENV, file_name, result_files, variable
from tests.workers.tagged import Tagged, tagged
from tests.workers.test_command_runner import folder_of, ran
from tests.workers.work_made import command

__all__ = ["tagged"]


def result(name: str, output: str | None = "text") -> NeedResult:
    state = TaskState.SUCCEEDED if output is not None else TaskState.FAILED
    return NeedResult(name=name, task_id=f"r.{name}", state=state, output=output)


def test_each_result_is_a_file_that_only_its_owner_reads() -> None:
    """And the folder is gone when the command is."""
    with result_files([result("build", "built\n"), result("notes.v2", "ünï")]) as env:
        folder = Path(env[FOLDER_ENV])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert Path(env["OSTLER_RESULT_BUILD"]).read_text(encoding="utf-8") == "built\n"
        assert Path(env["OSTLER_RESULT_NOTES_V2"]) == folder / "notes.v2"
        assert (folder / "notes.v2").read_text(encoding="utf-8") == "ünï"
        assert MISSING_ENV not in env
    assert not folder.exists()


def test_without_results_there_is_no_folder() -> None:
    """A command that is handed nothing sees no variable of this kind."""
    with result_files([]) as env:
        assert env == {}


def test_a_missing_result_is_named_and_has_no_file() -> None:
    """So that a script tells it from an empty one."""
    with result_files([result("a", None), result("b", ""), result("c", None)]) as env:
        assert env[MISSING_ENV] == "a,c"
        assert "OSTLER_RESULT_A" not in env
        assert Path(env["OSTLER_RESULT_B"]).read_text(encoding="utf-8") == ""


def test_two_ids_of_one_spelling_get_no_variable() -> None:
    """Neither is guessed; both files are there."""
    with result_files([result("a-b", "1"), result("a.b", "2"), result("c")]) as env:
        assert set(env) == {FOLDER_ENV, "OSTLER_RESULT_C"}
        assert {path.name for path in Path(env[FOLDER_ENV]).iterdir()} == {"a-b", "a.b", "c"}


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "x" * 100, "a\\b", "-rf"])
def test_no_id_leads_out_of_the_folder(name: str) -> None:
    """Ids of the API may hold any printable character."""
    with result_files([result(name, "kept")]) as env:
        folder = Path(env[FOLDER_ENV])
        (path,) = folder.iterdir()
        assert path.parent == folder
        assert path.read_text(encoding="utf-8") == "kept"
    assert "/" not in file_name(name)
    assert variable(name).isidentifier()


async def test_a_command_reads_what_it_is_handed(tagged: Tagged) -> None:
    """By the variable, by the folder; and nothing of it stands in its arguments or environment."""
    script = (
        'cat "$OSTLER_RESULT_BUILD"; ls "$OSTLER_RESULTS"; echo "missing $OSTLER_RESULTS_MISSING"; env | grep -c 4711'
    )
    work = replace(command("sh", "-c", script), results=(result("build", "no 4711\n"), result("lint", None)))
    finished = await ran(tagged, work)
    assert finished.output.splitlines() == ["no 4711", "build", "missing lint", "0"]


async def test_the_folder_is_gone_after_a_command_that_failed(tagged: Tagged) -> None:
    """However it ends."""
    work = replace(command("sh", "-c", 'echo "$OSTLER_RESULTS"; exit 3'), results=(result("a"),))
    finished = await ran(tagged, work)
    assert finished.exit_code == 3
    assert folder_of(Path(finished.output.strip())) == []
