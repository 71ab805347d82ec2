"""`ostler claim`, `unclaim`, `cron`, `mem-check`, `respawn-history`: verbs that need no hub."""

import json
import os
from pathlib import Path

import pytest

from ostler.app.footprint import Footprint, write_history
from ostler.domain.errors import ExitCode
from tests.cli.conftest import Ostler
from tests.workers.timing_by_hand import HandTiming

TODO = "- [ ] t001 Fix it\n- [ ] t002 Test it assignee:maria@studio\n"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file of tasks; the command line is called in a folder below."""
    (tmp_path / "shop" / "src").mkdir(parents=True)
    (tmp_path / "shop" / "TODO.md").write_text(TODO)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OSTLER_ASSIGNEE", "me here")
    monkeypatch.chdir(tmp_path / "shop" / "src")
    return tmp_path / "shop"


def test_a_claim_comes_and_goes(ostler: Ostler, repo: Path) -> None:
    """From anywhere in the repository; a name with blanks is one word in the file."""
    assert ostler("claim", "t001").out == "t001 is claimed by me-here\n"
    assert "assignee:me-here" in (repo / "TODO.md").read_text()
    assert ostler("claim", "t001").out == "t001 was claimed by me-here already\n"
    assert ostler("unclaim", "t001").out == "t001 is free again\n"
    assert ostler("unclaim", "t001").out == "t001 was not claimed\n"

    assert (repo / "TODO.md").read_text() == TODO


@pytest.mark.parametrize("verb", ["claim", "unclaim"])
def test_a_foreign_claim_is_refused_without_force(ostler: Ostler, repo: Path, verb: str) -> None:
    """Exit code 4, whose it is, and the file as it was; with force it is done."""
    code, _, err = ostler(verb, "t002")
    assert code == ExitCode.REFUSED
    assert "maria@studio" in err
    assert (repo / "TODO.md").read_text() == TODO

    assert ostler(verb, "t002", "--force").code == 0
    assert "maria@studio" not in (repo / "TODO.md").read_text()


def test_a_claim_speaks_json(ostler: Ostler, repo: Path) -> None:
    """For somebody else, too."""
    answer = json.loads(ostler("claim", "t001", "--as", "ben@box2", "--json").out)

    assert answer == {"task": "t001", "assignee": "ben@box2", "change": "claimed", "pushed": None, "issue": ""}


def test_what_github_was_not_told_is_said(ostler: Ostler, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim stands all the same."""
    monkeypatch.setenv("PATH", str(repo))
    code, out, _ = ostler("claim", "t001", "--with-issue")

    assert code == 0
    assert "no issue was made: there is no gh on this machine" in out


def test_a_task_without_a_line_is_not_found(ostler: Ostler, repo: Path) -> None:
    """With the line to write."""
    code, _, err = ostler("claim", "t999")

    assert code == ExitCode.REFUSED
    assert "- [ ] t999" in err


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose `crontab` is a script."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "crontab"
    program.write_text('#!/bin/sh\ncase "$1" in -l) cat "$STORE" 2>/dev/null;; -) cat > "$STORE";; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STORE", str(tmp_path / "crontab.txt"))
    return tmp_path / "crontab.txt"


def test_a_pulse_is_installed_told_and_removed(ostler: Ostler, crontab: Path) -> None:
    """The exit code of `status` tells whether it is there."""
    told = ("--with", "crontab")
    assert ostler("cron", "status", *told).code == ExitCode.FAILED
    assert ostler("cron", "install", "--every", "5m", *told).out == "a pulse every 5 min by crontab (crontab -l)\n"
    code, out, _ = ostler("cron", "status", "--json", *told)
    assert (code, json.loads(out)["every_s"]) == (0, 300)
    assert " pulse " in crontab.read_text()
    assert ostler("cron", "remove", *told).out == "removed\n"
    assert ostler("cron", "remove", *told).out == "no pulse was installed for this folder\n"
    assert crontab.read_text() == ""


@pytest.mark.parametrize("every", ["30s", "90s", "2h", "soon"])
def test_a_period_that_is_none_is_refused(ostler: Ostler, crontab: Path, every: str) -> None:
    """Before anything is installed."""
    assert ostler("cron", "install", "--with", "crontab", "--every", every).code == ExitCode.USAGE
    assert not crontab.exists()


def test_the_memory_of_the_hub_is_shown(ostler: Ostler, tmp_path: Path) -> None:
    """Below the limit 0, above it 1, no hub 3."""
    assert ostler("mem-check").code == ExitCode.UNREACHABLE
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hub.json").write_text(json.dumps({"url": "http://x", "pid": os.getpid()}))
    code, out, _ = ostler("mem-check", "--limit", "100000")
    assert (code, "below the limit of 100000 MB" in out) == (0, True)
    code, out, _ = ostler("mem-check", "--limit", "1", "--json")

    assert code == ExitCode.FAILED
    assert json.loads(out)["is_above"] is True


def test_a_history_is_listed(ostler: Ostler, tmp_path: Path) -> None:
    """Empty, it says what would be in it."""
    (tmp_path / "data").mkdir()
    assert ostler("respawn-history").out == "no hub has ended for its memory\n"
    found = Footprint(pid=7, bytes=9 * 1024**3, children=2, limit_bytes=8 * 1024**3)
    write_history(tmp_path / "data", found, HandTiming(), batch="nightly", ended=12)
    out = ostler("respawn-history").out

    for word in ("9216 MB", "8192 MB", "nightly", "12"):
        assert word in out
    assert json.loads(ostler("respawn-history", "--json").out)[0]["pid"] == 7
