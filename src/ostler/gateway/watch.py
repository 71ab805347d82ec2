"""One call's watch: ends its task when the client goes, or when a limit of time is over, and says which.

The client's going is noticed from the moment its body is read, in the queue, before the first token, in mid-stream and
without streaming, because its connection says so by itself. Limits cost one timer for each call, not one for each
piece: `touch` writes down an instant, and the timer, when it rings, looks whether it was early.
"""

import asyncio
from enum import StrEnum

from ostler.gateway.line import Line

LOOK_S = 15.0
"""When the timer first looks: before most limits, so that it stays where it is while an attempt sets and lifts them."""


class Cause(StrEnum):
    """Why a watch ended its task."""

    GONE = "gone"
    FIRST_TOKEN = "first_token"  # noqa: S105 -- a limit of time, no secret
    STALLED = "stalled"
    DEADLINE = "deadline"
    STOPPED = "stopped"


class Watch:
    """Watches the task that makes it. Close it when the call is over."""

    def __init__(self, line: Line, deadline_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None, "a call is handled by a task"  # noqa: S101 -- ASGI servers run each request in one
        self._task = task
        self._loop = asyncio.get_running_loop()
        self.cause: Cause | None = None
        now = self._loop.time()
        self._deadline = now + deadline_s
        self._first: float | None = None
        self._stall_s: float | None = None
        self._touched = now
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.reading = True
        """Whether it is the endpoint that is waited for; while a client takes its time to read, nothing stalls."""
        self._line = line
        line.on_gone = self._gone
        self._set(min(self._deadline, now + LOOK_S))
        if line.gone:
            self._gone()

    def expect_first(self, seconds: float) -> None:
        """An attempt is sent: its first piece is to come within so many seconds."""
        self._first, self._stall_s = self._loop.time() + seconds, None
        self._set(min(self._first, self._deadline))

    def expect_more(self, seconds: float) -> None:
        """The first piece is there: each next one is to come within so many seconds of the one before."""
        self._first, self._stall_s = None, seconds
        self._touched = self._loop.time()
        self._set(min(self._touched + seconds, self._deadline))

    def touch(self) -> None:
        """A piece came."""
        self._touched = self._loop.time()

    def reads_on(self) -> None:
        """The client has taken what it was given: it is the endpoint's turn again."""
        self.reading = True
        self._touched = self._loop.time()

    def expect_nothing(self) -> None:
        """Nothing is under way: only the deadline counts."""
        self._first = self._stall_s = None

    def left_s(self) -> float:
        """Until the deadline."""
        return max(0.0, self._deadline - self._loop.time())

    def stop(self, cause: Cause) -> None:
        """End the task; the first cause is the one that counts."""
        if self.cause is None and not self._closed:
            self.cause = cause
            self._task.cancel()

    def caught(self) -> Cause | None:
        """For the task that caught its cancellation: the cause if it was ours, which is then over; else `None`."""
        cause = self.cause
        if cause is None:
            return None
        self._task.uncancel()
        if cause in (Cause.FIRST_TOKEN, Cause.STALLED):
            self.cause = None  # the attempt is over; the call may go on with another one
        return cause

    def let_go(self) -> None:
        """The last of the answer is about to leave: a client that goes now has all of it."""
        self._line.on_gone = None

    def close(self) -> None:
        """Watch no more. Safe to repeat."""
        self._closed = True
        self._line.on_gone = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _gone(self) -> None:
        self.stop(Cause.GONE)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= due:
                return  # rings early, and looks again
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        due = self._deadline
        if now >= due:
            self.stop(Cause.DEADLINE)
            return
        if self._first is not None:
            if now >= self._first:
                self._first = None
                self.stop(Cause.FIRST_TOKEN)
            else:
                due = min(due, self._first)
        elif self._stall_s is not None:
            quiet = (self._touched if self.reading else now) + self._stall_s
            if now >= quiet:
                self._stall_s = None
                self.stop(Cause.STALLED)
            else:
                due = min(due, quiet)
        if not self._closed:
            self._set(due)
