"""Claims beyond this clone: pushed to the branch that all clones share, and told to GitHub where that is wanted.

A push is the lock: a commit of the one line on top of what the remote has is refused when somebody was faster; then the
claim is looked at again. GitHub is told as well as that goes, and never decides anything.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from ostler.domain.errors import ConflictError, OstlerError
from ostler.workers.claims import (
    FILE,
    LINE,
    Change,
    change_file,
    claimed_by,
    foreign,
    must,
    own_name,
    read_file,
    stamp,
    written,
)

_PUSH_TRIES = 5
_GIT_LIMIT_S = 60.0


def publish(repo: Path, task: str, who: str, *, release_it: bool = False, force: bool = False) -> Change:
    """Make the change on the branch that the remote has, too: a commit of this one line, pushed on top of it.

    The user's own files, index and branch are left alone. Raises `ConflictError` when the remote has somebody else's
    claim, `OstlerError` when git cannot.
    """
    for _ in range(_PUSH_TRIES):
        remote, branch = _upstream(repo)
        _git(repo, "fetch", "--quiet", remote, branch)
        base = _git(repo, "rev-parse", "FETCH_HEAD").strip()
        text = _git(repo, "show", f"{base}:{FILE}")
        found = must(text, task, repo)
        if found.assignee not in (None, who) and not force:
            raise foreign(found)
        wanted = None if release_it else who
        if found.assignee == wanted:
            return Change.FREE if release_it else Change.HELD
        verb = "Release" if release_it else "Claim"
        commit = _commit(repo, base, written(text, task, wanted, stamp()), f"{verb} {task}")
        if _pushed(repo, remote, commit, branch):
            return Change.RELEASED if release_it else Change.CLAIMED
    raise ConflictError(f"the remote moved {_PUSH_TRIES} times", where=FILE, remedy="try again in a moment")


def sync_issue(repo: Path, task: str, *, assign: bool, create: bool) -> str:
    """Tell GitHub, as well as that goes: what was done, or why nothing was. Never raises, never waits for long.

    `create`: make an issue where the line names none.
    """
    found = claimed_by(repo, task)
    if found is None:
        return f"no line for {task} in {FILE}"
    if found.issue is not None:
        flag = "--add-assignee" if assign else "--remove-assignee"
        done, said = _gh(repo, "issue", "edit", str(found.issue), flag, "@me")
        return f"issue #{found.issue} {'updated' if done else f'not updated: {said}'}"
    if not (create and assign):
        return f"the line of {task} names no issue (ref:GH#...)"
    title = next((line for line in read_file(repo / FILE).splitlines() if _is_of(line, task)), task)
    title = re.split(r"\s(?:#|~|assignee:|started:|ref:|logged:)", title.split("]", 1)[-1].strip(), maxsplit=1)[0]
    done, said = _gh(repo, "issue", "create", "--title", title, "--body", f"{FILE}: {task}", "--assignee", "@me")
    number = re.search(r"/issues/(\d+)\s*$", said)
    if not done or number is None:
        return f"no issue was made: {said}"

    def refer(text: str) -> tuple[str, Change]:
        lines = text.splitlines(keepends=True)
        return "".join(_with_ref(line, number[1]) if _is_of(line, task) else line for line in lines), Change.HELD

    change_file(repo, task, own_name(), refer, forced=False)
    return f"issue #{number[1]} made"


def _is_of(line: str, task: str) -> bool:
    match = LINE.match(line.rstrip("\r\n"))
    return match is not None and match["id"] == task


def _with_ref(line: str, number: str) -> str:
    body = line.rstrip("\r\n")
    return f"{body.rstrip()} ref:GH#{number}{line[len(body) :]}"


def _upstream(repo: Path) -> tuple[str, str]:
    name = _git(repo, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}").strip()
    remote, _, branch = name.partition("/")
    return remote, branch


def _commit(repo: Path, base: str, text: str, message: str) -> str:
    """A commit on top of `base` that changes the one file, made beside the user's index."""
    blob = _git(repo, "hash-object", "-w", "--stdin", given=text).strip()
    with tempfile.TemporaryDirectory(prefix="ostler-claim-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git(repo, "read-tree", base, env=index)
        _git(repo, "update-index", "--cacheinfo", f"100644,{blob},{FILE}", env=index)
        tree = _git(repo, "write-tree", env=index).strip()
    return _git(repo, "commit-tree", tree, "-p", base, "-m", message).strip()


def _pushed(repo: Path, remote: str, commit: str, branch: str) -> bool:
    try:
        _git(repo, "push", "--quiet", remote, f"{commit}:refs/heads/{branch}")
    except OstlerError as error:
        if "rejected" in error.what or "fetch first" in error.what or "non-fast-forward" in error.what:
            return False
        raise
    return True


def _git(repo: Path, *arguments: str, given: str | None = None, env: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), *arguments],  # noqa: S607 -- the user's own git
            input=given,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_GIT_LIMIT_S,
            check=False,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(env or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OstlerError(f"git {arguments[0]} cannot be run: {error}", where=str(repo)) from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or "no reason given"
        raise OstlerError(f"git {arguments[0]} failed: {said}", where=str(repo), remedy="the local claim stands")
    return done.stdout


def _gh(repo: Path, *arguments: str) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            ["gh", *arguments],  # noqa: S607 -- the user's own gh
            cwd=repo,
            capture_output=True,
            text=True,
            timeout=_GIT_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        return False, "there is no gh on this machine"
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    said = (done.stderr if done.returncode else done.stdout).strip()
    return done.returncode == 0, said.splitlines()[-1] if said else "it said nothing"
