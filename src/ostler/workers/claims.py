"""Who works on what, in the repository's own `TODO.md`: the `assignee:` of a task's line is the claim.

    - [ ] t001 Fix the login form #auth ~2h assignee:maria@studio started:2026-02-01T09:00:00Z ref:GH#12

It needs no network and no service, and everybody can read it. Invariants: nobody's claim is changed without force, and
every forced change is recorded; a change is made under a lock that ends with the process and put in place as a whole
file, so a kill at any moment leaves the old text or the new one, and no lock behind. A claim of one's own is taken
again without a word: whoever was killed and comes back is not kept out by himself.

How it is shared with others is in `claim_sharing`. O(lines).
"""

import contextlib
import datetime as dt
import fcntl
import getpass
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from ostler.domain.errors import ConflictError, NotFoundError

FILE = "TODO.md"
ASSIGNEE_ENV = "OSTLER_ASSIGNEE"
LINE = re.compile(r"^\s*[-*]\s+\[(?P<mark>[ xX~-])\]\s+(?P<id>\S+)(?P<rest>.*)$")
_FIELD = r"\s+{name}:(?P<value>\S+)"
_ISSUE = re.compile(r"\bref:GH#(?P<number>\d+)")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The line of a task."""

    task: str
    assignee: str | None = None
    started: str | None = None
    done: bool = False
    issue: int | None = None


class Change(StrEnum):
    """What became of a wish."""

    CLAIMED = "claimed"
    HELD = "held"
    """It was ours already."""
    RELEASED = "released"
    FREE = "free"
    """Nobody had it."""


def own_name() -> str:
    """What this user goes by in claims."""
    told = re.sub(r"\s+", "-", os.environ.get(ASSIGNEE_ENV, "").strip())
    if told:
        return told
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = f"user-{os.getuid()}"
    return f"{user}@{platform.node() or 'localhost'}"


def read(text: str, task: str) -> Claim | None:
    """The claim in a text; `None`: there is no line for the task."""
    for line in text.splitlines():
        match = LINE.match(line)
        if match and match["id"] == task:
            return Claim(
                task=task,
                assignee=_field(match["rest"], "assignee"),
                started=_field(match["rest"], "started"),
                done=match["mark"] in "xX",
                issue=int(issue["number"]) if (issue := _ISSUE.search(match["rest"])) else None,
            )
    return None


def written(text: str, task: str, assignee: str | None, started: str | None = None) -> str:
    """The text with another claim on a task; `None` = nobody's. Everything else stays to the byte."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        body = line.rstrip("\r\n")
        match = LINE.match(body)
        if match and match["id"] == task:
            for name in ("assignee", "started"):
                body = re.sub(_FIELD.format(name=name), "", body)
            if assignee is not None:
                body = f"{body.rstrip()} assignee:{assignee}" + (f" started:{started}" if started else "")
            lines[number] = body + line[len(line.rstrip("\r\n")) :]
            break
    return "".join(lines)


def stamp() -> str:
    """Now, as it stands in a line."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def claimed_by(repo: Path, task: str) -> Claim | None:
    """The claim as the file has it now."""
    path = repo / FILE
    return read(read_file(path), task) if path.is_file() else None


def claim(repo: Path, task: str, who: str, *, force: bool = False) -> Change:
    """Claim a task. Raises `NotFoundError` without a line for it, `ConflictError` when it is done or not ours."""
    started = stamp()

    def change(text: str) -> tuple[str, Change]:
        found = must(text, task, repo)
        if found.assignee == who:
            return text, Change.HELD
        if found.done:
            raise ConflictError(f"{task} is done", where=FILE, remedy="a task that is done is not claimed")
        if found.assignee is not None and not force:
            raise foreign(found)
        return written(text, task, who, started), Change.CLAIMED

    return change_file(repo, task, who, change, forced=force)


def release(repo: Path, task: str, who: str, *, force: bool = False) -> Change:
    """Give a claim back. Raises `NotFoundError` without a line, `ConflictError` when it is somebody else's."""

    def change(text: str) -> tuple[str, Change]:
        found = must(text, task, repo)
        if found.assignee is None:
            return text, Change.FREE
        if found.assignee != who and not force:
            raise foreign(found)
        return written(text, task, None), Change.RELEASED

    return change_file(repo, task, who, change, forced=force)


def foreign(found: Claim) -> ConflictError:
    """The refusal to touch somebody else's claim."""
    since = f" since {found.started}" if found.started else ""
    return ConflictError(
        f"{found.task} is claimed by {found.assignee}{since}",
        where=FILE,
        remedy=f"ask them; 'ostler unclaim {found.task} --force' takes it from them",
    )


def _field(rest: str, name: str) -> str | None:
    match = re.search(_FIELD.format(name=name), rest)
    return match["value"] if match else None


def must(text: str, task: str, repo: Path) -> Claim:
    """The claim in a text. Raises `NotFoundError`."""
    found = read(text, task)
    if found is None:
        raise NotFoundError(
            f"{FILE} has no line for {task}", where=str(repo), remedy=f"write one: '- [ ] {task} what is to be done'"
        )
    return found


def change_file(
    repo: Path, task: str, who: str, change: Callable[[str], tuple[str, Change]], *, forced: bool
) -> Change:
    """Change the file under its lock. `change`: text in, text out, and what became of the wish."""
    path = repo / FILE
    if not path.is_file():
        raise NotFoundError(f"there is no {FILE}", where=str(repo), remedy="name the repository with --repo")
    with _locked(path):
        before = read_file(path)
        after, what = change(before)
        if after != before:
            was = read(before, task)
            if forced and was is not None and was.assignee not in (None, who):
                _record(repo, task, who, was.assignee, what)
            _replace(path, after)
        return what


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One change at a time on this machine; the system lets go when the process ends, however it ends."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with (_state() / f"{name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _state() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    folder = (Path(base) if base else Path.home() / ".local" / "state") / "ostler" / "claims"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _record(repo: Path, task: str, who: str, was: str | None, what: Change) -> None:
    """A change of somebody else's claim is on record before it is made."""
    at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    line = {"at": at, "repo": str(repo), "task": task, "by": who, "was": was, "became": what.value}
    with (_state() / "forced.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")
        os.fsync(file.fileno())


def read_file(path: Path) -> str:
    """The text, to the byte."""
    return path.read_bytes().decode("utf-8", errors="surrogateescape")


def _replace(path: Path, text: str) -> None:
    target = path.resolve()  # a link stays a link
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{FILE}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8", errors="surrogateescape"))
            os.fsync(file.fileno())
        Path(partial).chmod(target.stat().st_mode & 0o777)
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
