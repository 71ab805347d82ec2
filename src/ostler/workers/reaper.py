"""Kills what an attempt, a session or a whole daemon left running; also a program, the daemon's companion.

A process counts as left behind when its environment carries all of a set of tags, when it belongs to a registered
process group or to the session that group leads, or when its parent counts as left behind. So neither `setsid` nor an
emptied environment alone escapes; both together do only when the parent has ended before anyone looked.

As a program (started once by each daemon, see `guard`) it reads one JSON list per line from standard input:

    ["session", id]   a session began; sweep processes with its tag, too
    ["add", group]    a process group runs           ["remove", group]  it is gone
    ["beat", ms]      the daemon lives; kill everything unless another beat comes within `ms`
    ["rest"]          the session is over: nothing runs that would have to be killed; no beat is expected
    ["farewell", ...] whom to tell when the daemon dies within a session (`Farewell`)

It kills everything when a beat is overdue (the daemon is frozen or hangs) and when its input ends (the daemon is dead,
or closed it), then exits. When the daemon died within a session, and nothing that it ran lives any more, it tells the
hub, which need not wait then until the lease is over. It keeps silent where ends of attempts are still on the disk,
because the next daemon goes on with those. Its exit is a fence: a frozen daemon that wakes up again cannot register a
process any more.

Between the start of a process and its registration nothing is lost, because the tags are in its environment from its
first instruction; the sweep goes on until twice in a row nothing was found, which also covers a child that had not yet
reached that instruction when its parent died. A "die with your parent" flag is therefore not used; it is cleared by
programs that change privileges and does not reach grandchildren.

It imports the standard library only and nothing of Ostler, because it runs isolated (`python -I -S`), small and early.
Cost of a look: one or two small files per process of the machine on Linux; elsewhere what `psutil` takes.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

PROC = "/proc"
SWEEP_LIMIT_S = 5.0
FAREWELL_PATIENCE_S = 5.0
FAREWELL_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Before each try to tell the hub."""
DYING_S = 2.0
HUB_FAILED = 500
"""From this status on an answer says that the hub could not do it now."""
_READ_BYTES = 65536
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
            elif answer:
                marked.add(proc.pid)
    _add_descendants(marked, procs)
    return [proc for proc in procs if proc.pid in marked], unsure <= marked


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
    names = os.listdir(PROC)  # noqa: PTH208 -- as in `_read`
    found = (_proc_linux(name) for name in names if name.isdigit())
    return [proc for proc in found if proc is not None]


def _has_proc() -> bool:
    return sys.platform == "linux"


def _proc_linux(pid: str) -> Proc | None:
    try:
        raw = _read(f"{PROC}/{pid}/stat")
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
        raw = _read(f"{PROC}/{proc.pid}/environ")
    except OSError:
        return False
    if not raw:
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(proc.start) / os.sysconf("SC_CLK_TCK")
        is_kernel_thread = proc.session == 0
        return None if age_s < _YOUNG_S and not is_kernel_thread else False
    environ = set(raw.split(b"\0"))
    return any(environ.issuperset(os.fsencode(tag) for tag in tag_set) for tag_set in tags)


def _read(path: str) -> bytes:
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


class Farewell(NamedTuple):
    """How to tell a hub that a daemon is dead. The authorization comes over the pipe and is shown nowhere."""

    url: str
    authorization: str
    life: str
    spool: str
    """Folder with ends that the hub does not have yet; empty = there is none."""
    daemon: int
    """Its process, the parent of this one."""

    def say_if_due(self, session: str) -> None:
        """Tell the hub that a session is over, if nobody can go on with it."""
        if is_dead(self.daemon) and not self.has_ends:
            self.say(session)

    def say(self, session: str) -> None:
        """Tell the hub, with some patience: one that does not hear it waits until the lease is over."""
        for pause_s in FAREWELL_PAUSES_S:
            time.sleep(pause_s)
            with contextlib.suppress(OSError, ValueError):
                if self._say(session) < HUB_FAILED:
                    return

    @property
    def has_ends(self) -> bool:
        """Whether the next daemon may have something to tell of this session."""
        if not self.spool:
            return False
        try:
            with os.scandir(self.spool) as entries:
                return any(entry.stat().st_size for entry in entries)
        except OSError:
            return True

    def _say(self, session: str) -> int:
        import http.client  # noqa: PLC0415 -- only when a daemon has died
        from urllib.parse import quote, urlsplit  # noqa: PLC0415 -- as above

        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=FAREWELL_PATIENCE_S)
        try:
            headers = {"Content-Type": "application/json", "Authorization": self.authorization}
            path = f"{parts.path}/hub/workers/{quote(session, safe='')}/leave"
            body = json.dumps({"life": self.life, "died": True})
            connection.request("POST", path, body, {name: value for name, value in headers.items() if value})
            return connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(str(error)) from None
        finally:
            connection.close()


class Orders:
    """What the daemon has said so far: what to kill, and until when it must have spoken again."""

    def __init__(self) -> None:
        self.session = ""
        """The one that is open; empty = none."""
        self.farewell: Farewell | None = None
        self.sessions: set[str] = set()
        self.groups: set[int] = set()
        self.due_s: float | None = None

    def take(self, line: bytes, now_s: float) -> None:
        """Obey one line; one that makes no sense is skipped, because dying here would leave no one to kill."""
        try:
            match json.loads(line):
                case ["session", str(session)]:
                    self.sessions.add(session)
                    self.session = session
                case ["add", int(group)]:
                    self.groups.add(group)
                case ["remove", int(group)]:
                    self.groups.discard(group)
                case ["beat", int(window_ms)]:
                    self.due_s = now_s + window_ms / 1000
                case ["rest"]:
                    self.due_s = None
                    self.session = ""
                case ["farewell", str(url), str(authorization), str(life), str(spool), int(daemon)]:
                    self.farewell = Farewell(url, authorization, life, spool, daemon)
                case _:
                    pass
        except ValueError:
            pass

    def target(self, tag_name: str) -> Target:
        """Everything this daemon may have left."""
        tags = frozenset(frozenset({f"{tag_name}={session}"}) for session in self.sessions)
        return Target(tags=tags, groups=frozenset(self.groups))


def listen(source: int, orders: Orders) -> bool:
    """Read orders until the input ends or a beat is overdue; whether it ended."""
    rest = b""
    while True:
        wait_s = None if orders.due_s is None else max(0.0, orders.due_s - time.monotonic())
        readable, _, _ = select.select([source], [], [], wait_s)
        if not readable:
            return False
        piece = os.read(source, _READ_BYTES)
        if not piece:
            return True
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            orders.take(line, time.monotonic())


def is_dead(daemon: int) -> bool:
    """Whether our parent is gone: a daemon that lives may have closed the pipe of a companion that
    it holds for hung, and goes on under the same session. A dying one closes its files a little before it is dead.
    """
    until_s = time.monotonic() + DYING_S
    while os.getppid() == daemon:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def main(tag_name: str) -> None:
    """Be the companion. A stop of the whole service must not take it away before the daemon: it ends by itself."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders = Orders()
    source = sys.stdin.fileno()
    has_ended = listen(source, orders)
    # The fence: from here on a write of the daemon fails. (Closing `sys.stdin` would leave the descriptor open.)
    os.close(source)
    is_clean = sweep(orders.target(tag_name), quiet_looks=2, pause_s=0.05)
    if is_clean and has_ended and orders.session and orders.farewell is not None:
        orders.farewell.say_if_due(orders.session)


if __name__ == "__main__":
    main(sys.argv[1])
