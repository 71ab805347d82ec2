"""Claims in a repository's own file: nobody's is touched, none can be left locked, and a push is what decides."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment, Finished
from ostler.workers import claim_sharing, claims
from ostler.workers.claiming import ClaimingRunner
from ostler.workers.claims import Change
from ostler.workers.run import Run
from tests.workers.timing_by_hand import HandTiming
from tests.workers.work_made import run_of

TODO = """\
# Tasks

- [ ] t001 Fix the login form #auth ~2h ref:GH#12
- [ ] t002 Add a test assignee:maria@studio started:2026-02-01T09:00:00Z
- [x] t003 Was done
  - [ ] t001.1 A part of it
* [ ] t004 Another list\r
"""
ME = "me@here"


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "Test")
        monkeypatch.setenv(f"{name}_EMAIL", "test@localhost")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A folder with a file of tasks."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "TODO.md").write_bytes(TODO.encode())
    return folder


def text(repo: Path) -> str:
    return (repo / "TODO.md").read_bytes().decode()


def test_a_claim_is_written_into_the_line_and_nothing_else_changes(repo: Path) -> None:
    """Every other byte stays, also the ends of lines."""
    assert claims.claim(repo, "t001", ME) is Change.CLAIMED
    found = claims.claimed_by(repo, "t001")

    assert found is not None
    assert (found.assignee, found.issue, found.done) == (ME, 12, False)
    assert found.started is not None
    others = [line for line in text(repo).splitlines(keepends=True) if "t001 " not in line]
    assert others == [line for line in TODO.splitlines(keepends=True) if "t001 " not in line]


@pytest.mark.parametrize("task", ["t001", "t001.1", "t004"])
def test_a_released_claim_leaves_the_file_as_it_was(repo: Path, task: str) -> None:
    """To the byte."""
    claims.claim(repo, task, ME)
    assert text(repo) != TODO
    assert claims.release(repo, task, ME) is Change.RELEASED

    assert text(repo) == TODO


def test_a_claim_of_ones_own_is_taken_again(repo: Path) -> None:
    """Whoever was killed and comes back is not kept out by himself; the start stays."""
    claims.claim(repo, "t001", ME)
    before = text(repo)

    assert claims.claim(repo, "t001", ME) is Change.HELD
    assert text(repo) == before


def test_somebody_elses_claim_is_left_alone(repo: Path) -> None:
    """Neither taken nor released; who has it, and since when, is said."""
    for change in (claims.claim, claims.release):
        with pytest.raises(ConflictError, match=r"claimed by maria@studio since 2026-02-01T09:00:00Z"):
            change(repo, "t002", ME)

    assert text(repo) == TODO


def test_force_takes_it_and_is_recorded(repo: Path, tmp_path: Path) -> None:
    """Who, from whom, what: on the disk before the file changes."""
    assert claims.release(repo, "t002", ME, force=True) is Change.RELEASED
    (line,) = (tmp_path / "state" / "ostler" / "claims" / "forced.jsonl").read_text().splitlines()
    record = json.loads(line)

    assert (record["task"], record["by"], record["was"], record["became"]) == ("t002", ME, "maria@studio", "released")
    found = claims.claimed_by(repo, "t002")
    assert found is not None
    assert found.assignee is None


def test_force_on_ones_own_is_no_force(repo: Path, tmp_path: Path) -> None:
    """Nothing to record."""
    claims.claim(repo, "t001", ME)
    claims.release(repo, "t001", ME, force=True)

    assert not (tmp_path / "state" / "ostler" / "claims" / "forced.jsonl").exists()


def test_a_user_without_a_name_has_one_in_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a bare number; what is told goes before."""

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.delenv("OSTLER_ASSIGNEE", raising=False)
    monkeypatch.setattr("getpass.getuser", nameless)
    assert claims.own_name().startswith(f"user-{os.getuid()}@")
    monkeypatch.setenv("OSTLER_ASSIGNEE", " maria at studio ")

    assert claims.own_name() == "maria-at-studio"


def test_what_is_done_is_not_claimed(repo: Path) -> None:
    """Nobody works on it any more."""
    with pytest.raises(ConflictError, match="t003 is done"):
        claims.claim(repo, "t003", ME)


@pytest.mark.parametrize("task", ["t999", "t00", "Fix"])
def test_a_task_without_a_line_is_not_found(repo: Path, task: str) -> None:
    """Ids are whole words."""
    assert claims.claimed_by(repo, task) is None
    with pytest.raises(NotFoundError):
        claims.claim(repo, task, ME)


def test_a_repository_without_the_file_has_no_claims(tmp_path: Path) -> None:
    """It says so."""
    assert claims.claimed_by(tmp_path, "t001") is None
    with pytest.raises(NotFoundError, match=r"no TODO\.md"):
        claims.claim(tmp_path, "t001", ME)


def test_releasing_what_nobody_has_is_no_mistake(repo: Path) -> None:
    """Safe to repeat."""
    assert claims.release(repo, "t001", ME) is Change.FREE


def test_of_many_at_once_one_has_it(repo: Path) -> None:
    """Processes that all want the same task: one claims it, the others are told whose it is."""
    script = (
        "import sys; from pathlib import Path; from ostler.workers import claims\n"
        "try: print(claims.claim(Path(sys.argv[1]), 't001', sys.argv[2]).value)\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(repo), f"w{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    said = sorted(process.communicate(timeout=30)[0].strip() for process in running)

    assert said == ["ConflictError"] * 3 + ["claimed"]


def test_a_lock_of_a_process_that_was_killed_holds_nobody_up(repo: Path) -> None:
    """It ends with the process."""
    script = (
        "import os, sys; from pathlib import Path; from ostler.workers import claims\n"
        "with claims._locked(Path(sys.argv[1]) / 'TODO.md'): os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(repo)], check=False, timeout=30)

    assert claims.claim(repo, "t001", ME) is Change.CLAIMED


@given(
    rest=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    who=st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}", fullmatch=True),
)
def test_whatever_a_line_says_a_claim_comes_and_goes(rest: str, who: str) -> None:
    """What was written is what is read, and its own words stay."""
    line = f"- [ ] t1 {rest.strip()}"
    before = claims.read(line, "t1")
    assert before is not None
    taken = claims.written(line, "t1", who, "now")
    found = claims.read(taken, "t1")

    assert found is not None
    assert (found.assignee, found.started) == (who, "now")
    again = claims.read(claims.written(taken, "t1", None), "t1")
    assert again is not None
    assert again.assignee is None


# -- shared by a push ------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "init.defaultBranch=main", *arguments],  # noqa: S607 -- the developer's own git
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    return done.stdout


@pytest.fixture
def clones(tmp_path: Path, repo: Path) -> tuple[Path, Path]:
    """Two clones of one remote."""
    git(repo, "init", "--quiet")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "-m", "begin")
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "remote.git")
    for name in ("one", "two"):
        git(tmp_path, "clone", "--quiet", "remote.git", name)
    return tmp_path / "one", tmp_path / "two"


def test_a_pushed_claim_keeps_the_other_clone_out(clones: tuple[Path, Path]) -> None:
    """Whoever pushed first has it; the other's files, index and branch are left alone."""
    one, two = clones
    (two / "TODO.md").write_text("being edited\n")
    assert claim_sharing.publish(one, "t001", "a@one") is Change.CLAIMED
    with pytest.raises(ConflictError, match="claimed by a@one"):
        claim_sharing.publish(two, "t001", "b@two")

    assert (two / "TODO.md").read_text() == "being edited\n"
    assert git(two, "status", "--porcelain").strip() == "M TODO.md"
    assert claim_sharing.publish(one, "t001", "a@one") is Change.HELD
    assert claim_sharing.publish(one, "t001", "a@one", release_it=True) is Change.RELEASED
    assert claim_sharing.publish(two, "t001", "b@two") is Change.CLAIMED
    assert git(one, "log", "--oneline", "main").count("\n") == 1, "the local branch did not move"


def test_a_push_that_lost_the_race_looks_again(clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pushed another claim between the look and the push: it is tried again on top of that."""
    one, two = clones
    real = claim_sharing._commit
    raced: list[bool] = []

    def racing(repo: Path, base: str, text: str, message: str) -> str:
        commit = real(repo, base, text, message)
        if not raced:
            raced.append(True)
            claim_sharing.publish(two, "t004", "b@two")
        return commit

    monkeypatch.setattr(claim_sharing, "_commit", racing)

    assert claim_sharing.publish(one, "t001", "a@one") is Change.CLAIMED
    git(two, "fetch", "--quiet")
    shared = git(two, "show", "origin/main:TODO.md")
    assert "assignee:a@one" in shared
    assert "assignee:b@two" in shared


# -- told to GitHub ----------------------------------------------------------------------------------------------------


def fake_gh(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A `gh` of our own on the PATH; what it was asked goes to a file."""
    asked = folder / "asked"
    program = folder / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return asked


def test_an_issue_is_assigned_where_the_line_names_one(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its number; released as well."""
    asked = fake_gh(tmp_path, monkeypatch, "exit 0")
    assert claim_sharing.sync_issue(repo, "t001", assign=True, create=True) == "issue #12 updated"
    claim_sharing.sync_issue(repo, "t001", assign=False, create=True)

    assert asked.read_text().splitlines() == ["issue edit 12 --add-assignee @me", "issue edit 12 --remove-assignee @me"]


def test_an_issue_is_made_only_where_that_is_wanted(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the words of the line as its title; the line refers to it from then on."""
    asked = fake_gh(tmp_path, monkeypatch, "echo https://github.com/o/r/issues/77")
    assert "names no issue" in claim_sharing.sync_issue(repo, "t004", assign=True, create=False)
    assert claim_sharing.sync_issue(repo, "t004", assign=True, create=True) == "issue #77 made"
    found = claims.claimed_by(repo, "t004")

    assert found is not None
    assert found.issue == 77
    assert "--title t004 Another list" in asked.read_text()


@pytest.mark.parametrize("script", ["echo no login >&2; exit 4", None])
def test_github_never_decides_anything(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    """A `gh` that fails, or none at all: the claim stands, and what was not done is said."""
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        fake_gh(tmp_path, monkeypatch, script)
    claims.claim(repo, "t001", ME)

    assert "not updated" in claim_sharing.sync_issue(repo, "t001", assign=True, create=False)
    found = claims.claimed_by(repo, "t001")
    assert found is not None
    assert found.assignee == ME


# -- claimed by dispatch ---------------------------------------------------------------------------------------------


class Inner:
    """A runner that notes the claim at its start and ends as told."""

    def __init__(self, repo: Path, *, ok: bool) -> None:
        self.repo = repo
        self.ok = ok
        self.seen: list[str | None] = []

    async def run(self, run: Run) -> Finished:
        found = claims.claimed_by(self.repo, "t001")
        self.seen.append(found.assignee if found is not None else None)
        return run.succeeded() if self.ok else run.failed(FailureClass.VERIFICATION, "no")


def agent_run(task_id: str = "t001", metadata: Mapping[str, str] | None = None) -> Run:
    spec = TaskSpec(id=task_id, kind=TaskKind.AGENT, prompt="work", repo="shop", metadata=metadata or {})
    assignment = Assignment(task_id=task_id, generation=1, spec=spec, tier="standard")
    return run_of(assignment, clock=HandTiming())


@pytest.mark.parametrize("ok", [True, False])
async def test_a_run_claims_by_itself_and_gives_back_what_it_did_not_do(repo: Path, ok: bool) -> None:
    """Work that was done keeps its claim: it waits to be looked at."""
    inner = Inner(repo, ok=ok)
    finished = await ClaimingRunner(inner, lambda _name: repo, ME).run(agent_run())
    found = claims.claimed_by(repo, "t001")

    assert finished.ok is ok
    assert inner.seen == [ME]
    assert found is not None
    assert found.assignee == (ME if ok else None)


async def test_a_run_stops_at_a_foreign_claim(repo: Path) -> None:
    """Nothing is started; a person is asked."""
    claims.claim(repo, "t001", "maria@studio")
    inner = Inner(repo, ok=True)
    finished = await ClaimingRunner(inner, lambda _name: repo, ME).run(agent_run())

    assert inner.seen == []
    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.POLICY
    assert "claimed by maria@studio" in finished.failure.message


async def test_a_claim_that_was_there_before_stays(repo: Path) -> None:
    """The user's own, or that of a run whose worker was killed: it is not given back for them."""
    claims.claim(repo, "t001", ME)
    await ClaimingRunner(Inner(repo, ok=False), lambda _name: repo, ME).run(agent_run())
    found = claims.claimed_by(repo, "t001")

    assert found is not None
    assert found.assignee == ME


async def test_a_task_without_a_line_is_run_without_a_claim(repo: Path) -> None:
    """Nobody has to keep such a file; and a label may name another line."""
    inner = Inner(repo, ok=True)
    runner = ClaimingRunner(inner, lambda _name: repo, ME)
    assert (await runner.run(agent_run("t-random"))).ok
    assert text(repo) == TODO
    assert (await runner.run(agent_run("t-other", metadata={"claim": "t001"}))).ok

    assert inner.seen == [None, ME]
