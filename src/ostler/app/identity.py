"""One daemon for each (hub, worker name) on a machine: a starting worker kills what carries its identity.

So a second daemon under the same identity must be refused before it starts, or the two would kill each other's
commands. The lock is a file that the system releases with the process, however it ends.
"""

import fcntl
import os
import uuid
from pathlib import Path
from typing import IO

from ostler.domain.errors import ConflictError


def lock_identity(identity: str, name: str) -> IO[bytes]:
    """Hold the returned file as long as the worker runs. Raises `ConflictError` when another process holds it."""
    path = _folder() / f"{identity}.lock"
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip()
        file.close()
        what = f"a worker named {name} for this hub runs here already" + (f" (pid {holder})" if holder else "")
        raise ConflictError(what, where="--name", remedy="give this one another name") from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def lasting_name(identity: str) -> str:
    """What the daemon of an identity goes by over its restarts, made once; asked for under its lock.

    Two machines never share one, even when their workers have one name.
    """
    path = _folder() / f"{identity}.instance"
    known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not known:
        known = uuid.uuid4().hex
        partial = path.with_suffix(".partial")
        partial.write_text(known + "\n", encoding="utf-8")
        partial.replace(path)
    return known


def count_start(identity: str) -> int:
    """How often the daemon of an identity has been started, this time included; asked for under its lock. What cannot
    be read is counted anew.
    """
    path = _folder() / f"{identity}.starts"
    known = path.read_bytes().strip() if path.is_file() else b""
    starts = int(known[:18]) + 1 if known.isdigit() else 1
    partial = path.with_suffix(".starts-partial")
    partial.write_text(f"{starts}\n", encoding="utf-8")
    partial.replace(path)
    return starts


def book_folder(identity: str) -> Path:
    """Where its daemon keeps what is under way."""
    return _folder() / f"{identity}.runs"


def guard_folder(identity: str) -> Path:
    """Where those who guard what it runs find each other."""
    return _folder() / f"{identity}.guard"


def spool_folder(identity: str) -> Path:
    """Where its daemon keeps what it could not report yet."""
    return _folder() / f"{identity}.ended"


def _folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    folder = (Path(base) if base else Path.home() / ".local" / "state") / "ostler" / "workers"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
