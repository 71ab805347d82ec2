"""The companion of a daemon, a program of its own: kills what one that is dead or hangs has left, and tells the hub.

Started once by each daemon (see `guard`), it reads one JSON list per line from standard input:

    ["session", id]   a session began; sweep processes with its tag, too
    ["add", group]    a process group runs           ["remove", group]  it is gone
    ["beat", ms]      the daemon lives; kill everything unless another beat comes within `ms`
    ["rest"]          the session is over: nothing runs that would have to be killed; no beat is expected
    ["keep", ...]     when the daemon dies, how long what it ran may outlive it, and where that is seen (`Keep`)
    ["farewell", ...] whom to tell when the daemon dies within a session (`Farewell`)

It kills everything when a beat is overdue (the daemon is frozen or hangs) and when its input ends (the daemon is dead,
or closed it), then exits. When the daemon is dead it waits before that, as long as the next one could take up something
of what it ran, and never beyond the window of the last beat. The next daemon dismisses it by a kill.

When the daemon died within a session, and nothing that it ran lives or could be taken up any more, it tells the hub,
which need not wait then until the lease is over. It keeps silent where ends of attempts are still on the disk, because
the next daemon goes on with those. Its exit is a fence: a frozen daemon that wakes up again cannot register a process
any more.

Like `reaper` it needs nothing but the standard library, and runs isolated (`python -I -S`).
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

if __name__ == "__main__":  # the file alone, without the package
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 -- a path object costs an import
    import reaper  # type: ignore[import-not-found]
else:
    from ostler.workers import reaper

FAREWELL_PATIENCE_S = 5.0
FAREWELL_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Before each try to tell the hub."""
DYING_S = 2.0
HUB_FAILED = 500
"""From this status on an answer says that the hub could not do it now."""
_READ_BYTES = 65536
_SUSPEND_LOOK_S = 1.0
"""A wait does not count the time of a suspended machine, so it is looked at the clock that often."""
_KEEP_LOOK_S = 0.25
"""So often it is looked whether anything can be taken up still: not before the hub is told that nothing can."""


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


class Keep(NamedTuple):
    """What of a daemon that dies may be taken up by the next one."""

    ms: int = 0
    """How long it is kept; 0 = it is not."""
    book: str = ""
    """Folder with what is under way; empty = there is none."""
    daemon: int = 0
    """Its process, the parent of this one."""


def can_be_taken_up(book: str) -> bool:
    """Whether an attempt of a book is whole; one of a book that cannot be read could not be taken up either."""
    try:
        with os.scandir(book) as entries:
            return bool(book) and any(is_whole(entry.path) for entry in entries)
    except OSError:
        return False


def is_whole(attempt: str) -> bool:
    """Whether each command that an attempt began goes on, or has ended by itself. One that began none is not whole."""
    try:
        with os.scandir(attempt) as entries:
            steps = [step.path for step in entries if os.path.exists(f"{step.path}/alive")]  # noqa: PTH110 -- as in `reaper.read`
    except OSError:
        return False
    return bool(steps) and all(_goes_on_or_ended(step) for step in steps)


def _goes_on_or_ended(step: str) -> bool:
    goes_on = is_locked(f"{step}/alive")  # first: its end is there before it lets go
    try:
        is_begun = len(reaper.read(f"{step}/alive").split()) == 2  # noqa: PLR2004 -- of the supervisor and of its command
        if not os.path.exists(f"{step}/exit"):  # noqa: PTH110 -- as above
            return is_begun and goes_on
        said = dict(line.split(b"=", 1) for line in reaper.read(f"{step}/exit").splitlines())
    except (OSError, ValueError):
        return False
    return is_begun and not said.get(b"by")


def is_locked(path: str) -> bool:
    """Whether a process that lives holds a lock on a file."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


class Orders:
    """What the daemon has said so far: what to kill, and until when it must have spoken again."""

    def __init__(self) -> None:
        self.session = ""
        """The one that is open; empty = none."""
        self.farewell: Farewell | None = None
        self.sessions: set[str] = set()
        self.groups: set[int] = set()
        self.due_s: float | None = None
        self.keep = Keep()

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
                case ["keep", int(keep_ms), str(book), int(daemon)]:
                    self.keep = Keep(keep_ms, book, daemon)
                case ["farewell", str(url), str(authorization), str(life), str(spool), int(daemon)]:
                    self.farewell = Farewell(url, authorization, life, spool, daemon)
                case _:
                    pass
        except ValueError:
            pass

    def target(self, tag_name: str) -> reaper.Target:
        """Everything this daemon may have left."""
        tags = frozenset(frozenset({f"{tag_name}={session}"}) for session in self.sessions)
        return reaper.Target(tags=tags, groups=frozenset(self.groups))


def listen(source: int, orders: Orders, now_s: Callable[[], float] = time.monotonic) -> bool:
    """Read orders until the input ends or a beat is overdue; whether it ended."""
    rest = b""
    while True:
        left_s = None if orders.due_s is None else max(0.0, orders.due_s - now_s())
        readable, _, _ = select.select([source], [], [], None if left_s is None else min(left_s, _SUSPEND_LOOK_S))
        if not readable:
            if left_s == 0.0:
                return False
            continue
        piece = os.read(source, _READ_BYTES)
        if not piece:
            return True
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            orders.take(line, now_s())


def is_dead(daemon: int) -> bool:
    """Whether our parent is gone: one that lives may have closed the pipe of a companion that it holds for hung, and
    goes on under the same session. A dying one closes its files a little before it is dead.
    """
    until_s = time.monotonic() + DYING_S
    while os.getppid() == daemon:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True


def await_successor(orders: Orders, now_s: Callable[[], float] = time.monotonic) -> None:
    """The daemon is dead: keep what it ran until the time for that is over, or nothing is left that could be taken up.
    A successor ends this program by a kill.
    """
    if orders.due_s is None or not orders.keep.ms or not is_dead(orders.keep.daemon):
        return
    until_s = min(orders.due_s, now_s() + orders.keep.ms / 1000)
    while (left_s := until_s - now_s()) > 0 and can_be_taken_up(orders.keep.book):
        time.sleep(min(left_s, _KEEP_LOOK_S))


def main(tag_name: str, clock_id: int) -> None:
    """Be the companion. A stop of the whole service must not take it away before the daemon: it ends by itself."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def now_s() -> float:
        return time.clock_gettime(clock_id)

    orders = Orders()
    source = sys.stdin.fileno()
    has_ended = listen(source, orders, now_s)
    # The fence: from here on a write of the daemon fails. (Closing `sys.stdin` would leave the descriptor open.)
    os.close(source)
    if has_ended:
        await_successor(orders, now_s)
    is_clean = reaper.sweep(orders.target(tag_name), quiet_looks=2, pause_s=0.05)
    if is_clean and has_ended and orders.session and orders.farewell and not can_be_taken_up(orders.keep.book):
        orders.farewell.say_if_due(orders.session)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
