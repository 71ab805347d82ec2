"""Where an agent works: its own branch and tree, work kept by name, nothing else left, whatever happened in between."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import FailureClass
from ostler.workers.processes import StartError
from ostler.workers.runners.agents.workspace import Workspace, branch_name, sweep
from tests.agents.barn import git, new_repo


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return new_repo(tmp_path / "barn")


def made(tmp_path: Path, repo: Path | None, name: str = "ostler/t.1", start: str | None = None) -> Workspace:
    return Workspace.make(tmp_path / "work" / name.replace("/", "-"), name, repo=repo, start=start, cwd=None)


def test_work_that_was_not_committed_is_kept_on_the_branch(tmp_path: Path, repo: Path) -> None:
    """The branch has it, the person's own checkout has not, and the tree is gone."""
    place = made(tmp_path, repo)
    (place.tree / "note.txt").write_text("Oats.", encoding="utf-8")

    work = place.keep_work("Write a note")
    place.close(keep=False, has_work=work.branch is not None)

    assert (work.branch, work.commits, work.files_changed) == ("ostler/t.1", 1, 1)
    assert git(repo, "show", "ostler/t.1:note.txt") == "Oats."
    assert git(repo, "log", "-1", "--format=%s", "ostler/t.1").strip() == "Write a note"
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "worktree", "list").count("\n") == 1
    assert not place.folder.exists()


def test_commits_of_the_agent_itself_are_counted(tmp_path: Path, repo: Path) -> None:
    """Its own commits and what it left, from the base on; also when it went to a branch of its own."""
    place = made(tmp_path, repo)
    git(place.tree, "checkout", "--quiet", "-b", "mine")
    (place.tree / "one").write_text("1", encoding="utf-8")
    git(place.tree, "add", "one")
    git(place.tree, "commit", "--quiet", "-m", "One")
    (place.tree / "two").write_text("2", encoding="utf-8")

    work = place.keep_work("Two")
    place.close(keep=False, has_work=True)

    assert (work.branch, work.commits, work.files_changed) == ("ostler/t.1", 2, 2)
    assert git(repo, "ls-tree", "--name-only", "ostler/t.1").split() == ["README", "one", "two"]


def test_what_a_program_keeps_for_itself_is_no_work(tmp_path: Path, repo: Path) -> None:
    """Litter is never committed: beside work it is left out, and alone it is no work at all."""
    folder = tmp_path / "work" / "a"
    place = Workspace.make(folder, "ostler/a.1", repo=repo, start=None, cwd=None, litter=(".aider*",))
    (place.tree / ".aider.tags.cache.v4").mkdir()
    (place.tree / ".aider.tags.cache.v4" / "cache.db").write_text("x", encoding="utf-8")

    assert place.keep_work("Nothing yet").branch is None

    (place.tree / "note.txt").write_text("Oats.", encoding="utf-8")
    assert place.keep_work("Note").files_changed == 1
    assert git(repo, "ls-tree", "--name-only", "ostler/a.1").split() == ["README", "note.txt"]


def test_a_run_that_changed_nothing_leaves_nothing(tmp_path: Path, repo: Path) -> None:
    """No branch, no folder."""
    place = made(tmp_path, repo)

    work = place.keep_work("Nothing")
    place.close(keep=False, has_work=work.branch is not None)

    assert work.branch is None
    assert git(repo, "branch", "--list", "ostler/*") == ""
    assert not place.folder.exists()


def test_a_branch_is_never_used_twice(tmp_path: Path, repo: Path) -> None:
    """An earlier attempt's work of the same name stays what it was."""
    git(repo, "branch", "ostler/t.1")

    place = made(tmp_path, repo)
    (place.tree / "x").write_text("x", encoding="utf-8")

    assert place.keep_work("x").branch == "ostler/t.1-2"
    assert git(repo, "rev-parse", "ostler/t.1") == git(repo, "rev-parse", "main")


def test_work_begins_where_the_task_says(tmp_path: Path, repo: Path) -> None:
    """A branch of the repository instead of what is checked out; one that is not there is told."""
    git(repo, "checkout", "--quiet", "-b", "old")
    (repo / "old.txt").write_text("old", encoding="utf-8")
    git(repo, "add", "old.txt")
    git(repo, "commit", "--quiet", "-m", "Old")
    git(repo, "checkout", "--quiet", "main")

    assert (made(tmp_path, repo, "ostler/a.1", "old").tree / "old.txt").exists()
    assert not (made(tmp_path, repo, "ostler/b.1").tree / "old.txt").exists()
    with pytest.raises(StartError, match="git rev-parse failed") as caught:
        made(tmp_path, repo, "ostler/c.1", "moon")
    assert caught.value.kind is FailureClass.ENVIRONMENT


def test_a_name_of_a_branch_is_no_option(tmp_path: Path, repo: Path) -> None:
    """What a task says is never taken for an option of git."""
    with pytest.raises(StartError):
        made(tmp_path, repo, start="--output=/tmp/x")


def test_a_repository_that_is_not_there_is_said(tmp_path: Path) -> None:
    """As a matter of this machine: another worker may have it."""
    with pytest.raises(StartError, match="not on this machine"):
        made(tmp_path, tmp_path / "moon")


def test_hooks_of_the_repository_do_not_run(tmp_path: Path, repo: Path) -> None:
    """Keeping the work must not start programs, nor be refused by one."""
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    place = made(tmp_path, repo)
    (place.tree / "x").write_text("x", encoding="utf-8")

    assert place.keep_work("x").files_changed == 1


def test_without_a_repository_there_is_an_empty_folder(tmp_path: Path) -> None:
    """Or the folder that the task names, which is never removed."""
    place = made(tmp_path, None)
    assert list(place.tree.iterdir()) == []
    assert place.keep_work("x").branch is None
    place.close(keep=False, has_work=False)
    assert not place.folder.exists()

    own = tmp_path / "own"
    own.mkdir()
    named = Workspace.make(tmp_path / "work" / "n", "ostler/n.1", repo=None, start=None, cwd=str(own))
    assert named.tree == own
    named.close(keep=False, has_work=False)
    assert own.is_dir()


def test_a_run_may_be_kept_to_be_looked_at(tmp_path: Path, repo: Path) -> None:
    """Home, logs and tree stay."""
    place = made(tmp_path, repo)
    place.close(keep=True, has_work=False)

    assert place.home.is_dir()
    assert place.tree.is_dir()


def test_what_a_killed_daemon_left_is_cleared_and_its_work_kept(tmp_path: Path, repo: Path) -> None:
    """The next one finds folders of runs that are dead: what was not committed goes to the branch, the rest goes."""
    with_work, without = made(tmp_path, repo, "ostler/a.1"), made(tmp_path, None, "ostler/b.1")
    (with_work.tree / "half.txt").write_text("half", encoding="utf-8")

    kept = sweep(tmp_path / "work")

    assert kept == ["ostler/a.1"]
    assert git(repo, "show", "ostler/a.1:half.txt") == "half"
    assert not with_work.folder.exists()
    assert not without.folder.exists()
    assert git(repo, "worktree", "list").count("\n") == 1
    assert sweep(tmp_path / "nowhere") == []


@given(st.text(min_size=1, max_size=60), st.integers(1, 99))
def test_any_task_has_a_branch_that_git_takes(task_id: str, generation: int) -> None:
    """Whatever its id: no part begins or ends with a dot, no blank, nothing that git gives a meaning."""
    name = branch_name(task_id, generation)

    assert name.startswith("ostler/")
    assert name.endswith(f".{generation}")
    assert ".." not in name
    assert "//" not in name
    assert not set(name) & set(" ~^:?*[\\\n\0@{")
    assert all(part and not part.startswith((".", "-")) for part in name.split("/"))
