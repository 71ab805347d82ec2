"""Kills what an attempt, a session or a whole daemon left running.

A process counts as left behind when its environment carries all of a set of tags, when it belongs to a registered
process group or to the session that group leads, or when its parent counts as left behind. So neither `setsid` nor an
emptied environment alone escapes; both together do only when the parent has ended before anyone looked.

Between the start of a process and its registration nothing is lost, because the tags are in its environment from its
first instruction; the sweep goes on until twice in a row nothing was found, which also covers a child that had not yet
reached that instruction when its parent died. A "die with your parent" flag is therefore not used; it is cleared by
programs that change privileges and does not reach grandchildren.

It imports the standard library only and nothing of Ostler, because the companion of a daemon and the supervisor of a
command use it without the package (`python -I -S`), small and early. Cost of a look: one or two small files per process
of the machine on Linux; elsewhere what `psutil` takes.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

PROC = "/proc"
SWEEP_LIMIT_S = 5.0
_YOUNG_S = 0.5

TagSet = frozenset[str]
"""Entries `NAME=value` that all must be in a process's environment."""


class Proc(NamedTuple):
    """One living process. `start` tells two processes of one id apart."""

    pid: int
    parent: int
    group: int
    session: int
    start: str


class Target(NamedTuple):
    """What to kill."""

    tags: frozenset[TagSet] = frozenset()
    groups: frozenset[int] = frozenset()
    spared: frozenset[TagSet] = frozenset()
    """Who carries all of one of these is left alone, whatever else it carries."""


def sweep(target: Target, *, quiet_looks: int = 1, pause_s: float = 0.02) -> bool:
    """Kill every process of the target until `quiet_looks` times in a row none is found.

    Blocks. `False` when some are left after `SWEEP_LIMIT_S` (unkillable, or forking faster than we look).
    """
    quiet = 0
    give_up = time.monotonic() + SWEEP_LIMIT_S
    while True:
        found, is_sure = look(target)
        for proc in found:
            _kill(proc)
        quiet = quiet + 1 if is_sure and not found else 0
        if quiet >= quiet_looks:
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(pause_s)


def left_behind(target: Target) -> list[Proc]:
    """The living processes of a target, never the caller itself."""
    return look(target)[0]


def look(target: Target) -> tuple[list[Proc], bool]:
    """The living processes of a target, and whether that is sure to be all of them.

    It is not while a young process shows no environment at all: one that is just about to become another program
    (`exec`) has given up the old environment and not got its new one yet.
    """
    carries = _carries_linux if _has_proc() else _carries_psutil
    procs = [proc for proc in processes() if proc.pid not in (1, os.getpid())]
    marked: set[int] = set()
    unsure: set[int] = set()
    for proc in procs:
        if proc.group in target.groups or proc.session in target.groups:
            marked.add(proc.pid)
        elif target.tags:
            answer = carries(proc, target.tags)
            if answer is None:
                unsure.add(proc.pid)
            elif answer and not (target.spared and carries(proc, target.spared)):
                marked.add(proc.pid)
    _add_descendants(marked, procs)
    found = [proc for proc in procs if proc.pid in marked]
    # Who watches over others dies before them, and does not take their death for their own doing.
    return sorted(found, key=lambda proc: proc.parent in marked), unsure <= marked


def _add_descendants(marked: set[int], procs: Iterable[Proc]) -> None:
    children: dict[int, list[int]] = {}
    for proc in procs:
        children.setdefault(proc.parent, []).append(proc.pid)
    todo = list(marked)
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in marked:
                marked.add(child)
                todo.append(child)


def processes() -> list[Proc]:
    """All processes of the machine that have not ended; a zombie has."""
    if not _has_proc():
        return list(_processes_psutil())
    names = os.listdir(PROC)  # noqa: PTH208 -- as in `read`
    found = (_proc_linux(name) for name in names if name.isdigit())
    return [proc for proc in found if proc is not None]


def _has_proc() -> bool:
    return sys.platform == "linux"


def _proc_linux(pid: str) -> Proc | None:
    try:
        raw = read(f"{PROC}/{pid}/stat")
    except OSError:
        return None
    # The name in parentheses may hold anything, so fields are counted from the last one on.
    fields = raw[raw.rfind(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Proc(int(pid), int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode())


def _carries_linux(proc: Proc, tags: Iterable[TagSet]) -> bool | None:
    """Whether it has all of a set; `None`: it shows nothing, and is so young that it may be changing programs."""
    try:
        raw = read(f"{PROC}/{proc.pid}/environ")
    except OSError:
        return False
    if not raw:
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(proc.start) / os.sysconf("SC_CLK_TCK")
        is_kernel_thread = proc.session == 0
        return None if age_s < _YOUNG_S and not is_kernel_thread else False
    environ = set(raw.split(b"\0"))
    return any(environ.issuperset(os.fsencode(tag) for tag in tag_set) for tag_set in tags)


def read(path: str) -> bytes:
    """A small file."""
    with open(path, "rb") as file:  # noqa: PTH123 -- called for every process; a Path object costs as much again
        return file.read()


def _processes_psutil() -> Iterable[Proc]:
    import psutil  # noqa: PLC0415 -- not there, and not needed, in the isolated reaper on Linux

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE:
                pid = process.pid
                yield Proc(pid, process.ppid(), os.getpgid(pid), os.getsid(pid), repr(process.create_time()))


def _carries_psutil(proc: Proc, tags: Iterable[TagSet]) -> bool | None:
    import psutil  # noqa: PLC0415 -- as above

    try:
        environ = {f"{name}={value}" for name, value in psutil.Process(proc.pid).environ().items()}
    except (psutil.Error, OSError):
        return False
    return any(tag_set <= environ for tag_set in tags)


def _kill(proc: Proc) -> None:
    """Kill this very process, not one that took over its id meanwhile. One of another user is left alone."""
    if not _has_proc():
        _kill_psutil(proc)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            handle = os.pidfd_open(proc.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # an old system, or out of handles
            os.kill(proc.pid, signal.SIGKILL)
            return
        try:
            # The handle was taken first: if the process is the right one now, the handle is of the right one.
            now = _proc_linux(str(proc.pid))
            if now is not None and now.start == proc.start:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def _kill_psutil(proc: Proc) -> None:
    import psutil  # noqa: PLC0415 -- as above

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(proc.pid)
        if repr(process.create_time()) == proc.start:
            process.kill()
