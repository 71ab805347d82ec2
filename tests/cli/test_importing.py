"""`ostler config import`: to standard output or into a folder, never over a file, checked before it is written."""

import json
from pathlib import Path

import pytest

from ostler.cli.taskfile import load_task_file
from ostler.domain.errors import ExitCode
from tests.cli.conftest import Ostler
from tests.config.test_import import CCPROXY, ORCHESTRA


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "orchestra-config.json").write_text(ORCHESTRA, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CCPROXY, encoding="utf-8")
    return "orchestra-config.json", "config.yaml"


def test_a_profile_can_be_piped(ostler: Ostler, files: tuple[str, str], tmp_path: Path) -> None:
    """The result on standard output, the notes beside it; what is piped passes its check."""
    code, out, err = ostler("config", "import", files[1])
    (tmp_path / "piped.yaml").write_text(out, encoding="utf-8")

    assert code == ExitCode.OK
    assert "note: memory_management.swap_strategy 'lru': not taken over" in err
    assert ostler("config", "check", "piped.yaml").out.endswith("valid\n")


def test_both_files_can_be_written(ostler: Ostler, files: tuple[str, str], tmp_path: Path) -> None:
    """Profile and pipeline side by side; both pass, and the pipeline can be planned on the profile."""
    code, out, err = ostler("config", "import", *files, "--out", "new/folder")

    assert (code, out) == (ExitCode.OK, "")
    assert "wrote new/folder/ostler.yaml\nwrote new/folder/pipeline.yaml\n" in err
    assert ostler("config", "check", "new/folder/ostler.yaml").code == ExitCode.OK
    assert len(load_task_file("new/folder/pipeline.yaml").specs) == 14
    planned = ostler(
        "plan", "new/folder/pipeline.yaml", "--profile", "new/folder/ostler.yaml", "--strategy", "hybrid", "--json"
    )
    assert json.loads(planned.out)["claim"]["broken"] == []


def test_nothing_is_overwritten(ostler: Ostler, files: tuple[str, str], tmp_path: Path) -> None:
    """One file in the way keeps both from being written."""
    (tmp_path / "pipeline.yaml").write_text("mine", encoding="utf-8")
    code, _, err = ostler("config", "import", *files, "--out", ".")

    assert code == ExitCode.USAGE
    assert "ostler: pipeline.yaml: the file is there already; nothing was written (move it away" in err
    assert not (tmp_path / "ostler.yaml").exists()
    assert (tmp_path / "pipeline.yaml").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_a_file_is_told(ostler: Ostler, files: tuple[str, str], tmp_path: Path) -> None:
    """With the reason of the system."""
    (tmp_path / "taken").write_text("", encoding="utf-8")
    code, _, err = ostler("config", "import", files[1], "--out", "taken")

    assert code == ExitCode.USAGE
    assert "taken: cannot be written" in err


def test_json_holds_both_texts_and_the_notes(ostler: Ostler, files: tuple[str, str]) -> None:
    """For programs that write them elsewhere."""
    answer = json.loads(ostler("config", "import", *files, "--json").out)

    assert answer["profile"].startswith("# Model-aware pipeline execution system\n")
    assert answer["pipeline"].count("- id: ") == 14
    assert len(answer["notes"]) > 5


def test_standard_output_shows_both_documents(ostler: Ostler, files: tuple[str, str]) -> None:
    """Divided so that each can be copied out."""
    out = ostler("config", "import", files[0]).out

    assert "\n# pipeline.yaml, a file of its own:\n---\n" in out


def test_mistakes_end_with_2_and_their_places(ostler: Ostler, tmp_path: Path) -> None:
    """One line for each."""
    (tmp_path / "bad.yaml").write_text("models: {available: [{name: a, memory: x, context: y}]}\n", encoding="utf-8")
    code, out, err = ostler("config", "import", "bad.yaml")

    assert (code, out) == (ExitCode.USAGE, "")
    assert len(err.splitlines()) == 2
    assert err.startswith("ostler: bad.yaml:1 models.available[0].memory: expected a size")


def test_a_result_that_would_not_pass_is_refused(ostler: Ostler, tmp_path: Path) -> None:
    """What a profile does not allow is found before anything is written: here an address with a password."""
    text = ORCHESTRA.replace("https://coder", "https://me:secret@coder")
    (tmp_path / "o.json").write_text(text, encoding="utf-8")
    code, _, err = ostler("config", "import", "o.json", "--out", "x")

    assert code == ExitCode.USAGE
    assert "an address must not hold a name or password" in err
    assert not (tmp_path / "x").exists()


def test_the_environment_of_a_hub_does_not_leak_in(
    ostler: Ostler, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of this machine are not part of what was imported, and cannot spoil its check."""
    monkeypatch.setenv("OSTLER_HUB_PORT", "none")

    assert ostler("config", "import", files[1]).code == ExitCode.OK
