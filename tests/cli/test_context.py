"""`ostler context`: working sets from a shell, without a hub."""

import json
from pathlib import Path

from ostler import WorkingSet
from tests.cli.conftest import Ostler


def test_nothing_is_said_to_be_nothing(ostler: Ostler) -> None:
    """No file is no mistake."""
    code, out, err = ostler("context", "show")
    assert (code, out) == (0, "nothing is kept in mind\n")
    assert "version 0 of data/default/working_set.json" in err


def test_a_working_set_is_shown_to_people_and_programs(ostler: Ostler) -> None:
    """The four lists, by name; JSON has path and version too."""
    WorkingSet.of("night").add_objective("mend the roof")
    WorkingSet.of("night").add_error("ladder broke")
    _, out, _ = ostler("context", "show", "night")
    _, told, _ = ostler("context", "show", "night", "--json")
    assert out == "Objectives:\n- mend the roof\n\nErrors:\n- ladder broke\n"
    assert json.loads(told) == {
        "path": "data/night/working_set.json",
        "version": 2,
        "objectives": ["mend the roof"],
        "decisions": [],
        "errors": ["ladder broke"],
        "summaries": [],
    }


def test_an_export_is_what_a_program_reads(ostler: Ostler, tmp_path: Path) -> None:
    """To standard output or a file, from a folder or a file that is named."""
    working = WorkingSet.of("default", tmp_path / "agents")
    working.add_decision("slate")
    _, out, _ = ostler("context", "export", "--data-dir", str(tmp_path / "agents"))
    code, said, _ = ostler("context", "export", "--file", str(working.path), "--to", "out.json")
    assert json.loads(out) == json.loads((tmp_path / "out.json").read_text())
    assert json.loads(out)["decisions"] == ["slate"]
    assert (code, said) == (0, "")
    assert ostler("context", "export", "--to", "no/such/folder.json").code == 2


def test_clearing_takes_one_list_or_all(ostler: Ostler) -> None:
    """And says which."""
    working = WorkingSet.of("default")
    working.add_error("e")
    working.add_decision("d")
    _, out, _ = ostler("context", "clear", "--only", "errors")
    assert "cleared errors of" in out
    assert (working.errors, working.decisions) == ((), ("d",))
    _, told, _ = ostler("context", "clear", "--json")
    assert json.loads(told)["decisions"] == []


def test_a_torn_file_is_told_and_left_alone(ostler: Ostler) -> None:
    """With what to do, not with a traceback; a name that leads elsewhere is refused."""
    path = WorkingSet.of("default").path
    path.parent.mkdir(parents=True)
    path.write_text("{")
    code, _, err = ostler("context", "show")
    assert code == 1
    assert "torn" in err
    assert "move it away" in err
    assert ostler("context", "show", "../up").code == 2
