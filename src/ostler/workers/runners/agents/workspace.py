"""Where one run of an agent happens: a folder with a home, logs and, for a repository, a working tree on a new branch.

    <work>/<attempt>/home   home and data folders of the program, gone afterwards
                    /logs   both streams, raw
                    /tree   git worktree, or an empty folder

Invariants: a branch is never reused or overwritten, so work of an earlier attempt stays where it was. What the agent
left without committing is committed before the tree goes, also after a failure: partial work is kept, by name. A run
that changed nothing leaves no branch. Git runs without the hooks of the repository and without the user's settings.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ostler.domain.states import FailureClass
from ostler.wire.classify import one_line
from ostler.workers.processes import StartError

BRANCHES = "ostler/"
_GIT_LIMIT_S = 120.0
_NAME_TRIES = 100
_REPO_FILE = "repo"
_PLACE_FILE = "place.json"
_RUN_FILE = "run"
_LITTER_FILE = "litter"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a run left in its repository. `branch` `None`: nothing."""

    branch: str | None = None
    base: str | None = None
    commits: int = 0
    files_changed: int = 0
    summary: str = ""


class _Place(msgspec.Struct, frozen=True):
    """What a daemon that takes a run up has to know of its folder."""

    tree: str
    repo: str | None
    branch: str
    base: str


class Workspace:
    """The folder of one run."""

    def __init__(self, folder: Path, tree: Path, repo: Path | None, branch: str, base: str) -> None:
        self.folder = folder
        self.tree = tree
        self.home = folder / "home"
        self.logs = folder / "logs"
        self._repo = repo
        self._branch = branch
        self._base = base

    @classmethod
    def make(
        cls,
        folder: Path,
        name: str,
        *,
        repo: Path | None,
        start: str | None,
        cwd: str | None,
        litter: Sequence[str] = (),
    ) -> "Workspace":
        """Make the folders, and the tree on a new branch from `start`. Raises `StartError`.

        `litter`: patterns of files in the tree that are no part of the work, so that they are never committed.
        """
        for part in ("home", "logs", "tmp"):
            (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / _LITTER_FILE).write_text("".join(f"{pattern}\n" for pattern in litter), encoding="utf-8")
        if repo is None:
            tree = Path(cwd) if cwd is not None else folder / "tree"
            if cwd is None:
                tree.mkdir(exist_ok=True)
            return cls(folder, tree, None, "", "")
        if not repo.is_dir():
            raise StartError(FailureClass.ENVIRONMENT, f"the repository '{repo}' is not on this machine")
        (folder / _REPO_FILE).write_text(str(repo), encoding="utf-8")
        base = _git(repo, "rev-parse", "--verify", "--end-of-options", f"{start or 'HEAD'}^{{commit}}").strip()
        branch = _free_branch(repo, name)
        _git(repo, "worktree", "add", "--quiet", "-b", branch, str(folder / "tree"), base)
        return cls(folder, folder / "tree", repo, branch, base)

    def remember(self, run: Path) -> None:
        """Note what `reopen` needs. As long as the folder `run` is there, the run is in somebody's hands."""
        place = _Place(str(self.tree), str(self._repo) if self._repo is not None else None, self._branch, self._base)
        (self.folder / _RUN_FILE).write_text(str(run), encoding="utf-8")
        partial = self.folder / f"{_PLACE_FILE}.partial"
        partial.write_bytes(msgspec.json.encode(place))
        partial.replace(self.folder / _PLACE_FILE)

    @classmethod
    def reopen(cls, folder: Path) -> "Workspace":
        """The folder of a run that an earlier daemon began. Raises `StartError`."""
        try:
            place = msgspec.json.decode((folder / _PLACE_FILE).read_bytes(), type=_Place)
        except (OSError, msgspec.DecodeError) as error:
            raise StartError(FailureClass.WORKER_LOST, f"the folder of its run cannot be read: {error}") from None
        return cls(folder, Path(place.tree), Path(place.repo) if place.repo else None, place.branch, place.base)

    def keep_work(self, title: str) -> Work:
        """Commit what is left uncommitted; what the branch has now. Raises `StartError` when git cannot."""
        if self._repo is None:
            return Work()
        _commit_all(self.folder, one_line(title, 200) or "Work of an agent")
        head = _git(self.tree, "rev-parse", "HEAD").strip()
        if head == self._base:
            return Work(base=self._base)
        _git(self.tree, "branch", "--force", self._branch, head, may_fail=True)  # it may have left its branch
        changed = [line for line in _git(self.tree, "diff", "--name-only", self._base, head).splitlines() if line]
        return Work(
            branch=self._branch,
            base=self._base,
            commits=int(_git(self.tree, "rev-list", "--count", f"{self._base}..{head}")),
            files_changed=len(changed),
            summary=_git(self.tree, "diff", "--shortstat", self._base, head).strip(),
        )

    def diff(self) -> str:
        """What its branch changed, as a patch; empty without a repository."""
        if self._repo is None:
            return ""
        return _git(self.tree, "diff", "--no-ext-diff", "--no-textconv", self._base, "HEAD", may_fail=True)

    def abandon(self, *, keep: bool) -> None:
        """Keep what work there is and remove the rest, for a run that was broken off."""
        has_work = True  # where git cannot tell, nothing is thrown away
        with contextlib.suppress(StartError):
            has_work = self.keep_work("Unfinished work of an agent").branch is not None
        self.close(keep=keep, has_work=has_work)

    def close(self, *, keep: bool, has_work: bool) -> None:
        """Remove the folders, and the branch when there is nothing on it. Safe to repeat."""
        if keep:
            return
        if self._repo is not None:
            with contextlib.suppress(StartError):
                _git(self._repo, "worktree", "remove", "--force", "--force", str(self.tree))
            if not has_work:
                with contextlib.suppress(StartError):
                    _git(self._repo, "branch", "--delete", "--force", self._branch)
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep(work: Path) -> list[str]:
    """Clear what a daemon that was killed left: its runs are dead. Uncommitted work is committed to its branch.

    Returns the branches with such work. The caller makes sure that nothing runs in `work` but what is remembered.
    """
    kept = []
    for folder in sorted(work.iterdir()) if work.is_dir() else []:
        if _is_in_hand(folder):
            continue
        told = folder / _REPO_FILE
        repo = Path(told.read_text(encoding="utf-8")) if told.is_file() else None
        if repo is not None and (folder / "tree").is_dir():
            with contextlib.suppress(StartError):
                branch = _git(folder / "tree", "branch", "--show-current").strip()
                if _commit_all(folder, "Unfinished work of an agent"):
                    kept.append(branch)
            with contextlib.suppress(StartError):
                _git(repo, "worktree", "remove", "--force", "--force", str(folder / "tree"))
        shutil.rmtree(folder, ignore_errors=True)
        if repo is not None:
            with contextlib.suppress(StartError):
                _git(repo, "worktree", "prune")
    return kept


def _is_in_hand(folder: Path) -> bool:
    run = folder / _RUN_FILE
    return run.is_file() and Path(run.read_text(encoding="utf-8")).is_dir()


def _commit_all(folder: Path, message: str) -> bool:
    """Commit what the tree of a run has beyond its last commit, litter aside; whether there was anything."""
    tree, litter = folder / "tree", folder / _LITTER_FILE
    if not _git(tree, "status", "--porcelain", litter=litter).strip():
        return False
    _git(tree, "add", "--all", litter=litter)
    _git(tree, "commit", "--quiet", "--no-verify", "--message", message)
    return True


def branch_name(task_id: str, generation: int) -> str:
    """The branch of an attempt; what git does not take in a name is written as `-`.

    >>> branch_name("fix login", 2), branch_name("run/a..b.lock", 1)
    ('ostler/fix-login.2', 'ostler/run/a-b-lock.1')
    """
    plain = re.sub(r"[^\w/-]+", "-", task_id, flags=re.ASCII)
    plain = "/".join(part for piece in plain.split("/") if (part := piece.strip("-"))) or "task"
    return f"{BRANCHES}{plain}.{generation}"


def _free_branch(repo: Path, name: str) -> str:
    for number in range(1, _NAME_TRIES):
        branch = name if number == 1 else f"{name}-{number}"
        if not _git(repo, "branch", "--list", branch).strip():
            return branch
    raise StartError(FailureClass.ENVIRONMENT, f"all branches named like '{name}' are taken in '{repo}'")


def _git(folder: Path, *arguments: str, may_fail: bool = False, litter: Path = Path(os.devnull)) -> str:
    """Run git; its output. `litter`: file of patterns to pass over. Raises `StartError` with its last word."""
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "core.fsmonitor=false"]
    command += ["-c", "user.name=Ostler", "-c", "user.email=ostler@localhost"]
    command += ["-c", f"core.excludesFile={litter}", *arguments]
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": "/nonexistent",
    }
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(FailureClass.ENVIRONMENT, f"git {arguments[0]} cannot be run: {error}") from None
    if done.returncode and not may_fail:
        last = one_line(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given")
        raise StartError(FailureClass.ENVIRONMENT, f"git {arguments[0]} failed in '{folder}': {last}")
    return done.stdout
