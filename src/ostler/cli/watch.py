"""Waiting for tasks of the hub: told of changes by the event stream, sure of them by asking.

The stream only says *when* to ask; what is shown always comes from an answer about the tasks themselves, at least every
`STALE_S` seconds. So a lost event or a broken stream delays a picture, and can never make it wrong.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ostler.domain.errors import ExitCode, UnreachableError
from ostler.domain.states import FINAL_STATES, TaskState, WaitCode
from ostler.domain.tasks import Task

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient

STALE_S = 5.0
STOP_S = 1.0
MIN_INTERVAL_S = 0.1
"""At most ten questions a second, however much happens."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The watched tasks at one moment of the hub's clock. `taken_s` is the local stopwatch at that moment."""

    tasks: tuple[Task, ...]
    now_ms: int
    taken_s: float
    stale: bool = False
    """The hub could not be asked; this is what it said before."""

    def hub_ms(self) -> int:
        """The hub's clock now, for countdowns between two pictures."""
        return self.now_ms + int((time.monotonic() - self.taken_s) * 1000)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen without a person: all ended, or what is left needs one."""
        return is_over(self.tasks)

    @property
    def exit_code(self) -> ExitCode:
        """Success when every task that is not optional succeeded."""
        return ExitCode.OK if all(has_succeeded(task) or task.optional for task in self.tasks) else ExitCode.FAILED


def has_succeeded(task: Task) -> bool:
    """Whether it ended well."""
    return task.state is TaskState.SUCCEEDED


def is_over(tasks: Collection[Task]) -> bool:
    """Whether all have ended, or those left need a person or wait for one that does."""
    left = [task for task in tasks if task.state not in FINAL_STATES]
    if not left:
        return True
    stuck = [task for task in left if task.state is TaskState.NEEDS_HUMAN]
    waiting = [task for task in left if task.wait is not None and task.wait.code is WaitCode.DEPS]
    return bool(stuck) and len(stuck) + len(waiting) == len(left)


class _Stopped(Exception):
    """The bell is not needed any more."""


class Bell:
    """Rings when something happened to one of the tasks: a thread that listens to the event stream.

    `start` and `stop` belong to the same thread; `stop` may come twice or without a start.
    """

    def __init__(self, client: "HubClient", is_ours: Callable[[str], bool]) -> None:
        self._client = client
        self._is_ours = is_ours
        self._rung = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._listen, name="ostler-events", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more. A thread that is just about to connect again is left to end by itself."""
        self._stopped = True
        self._client.hang_up()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it rings, at most so long; whether it rang."""
        rang = self._rung.wait(timeout_s)
        self._rung.clear()
        return rang

    def _listen(self) -> None:
        # Without a stream, asking goes on all the same and says what is wrong.
        with suppress(_Stopped, UnreachableError):
            for event in self._client.follow(None, lambda _reason: self._check(), self._connected):
                if event.task_id is not None and self._is_ours(event.task_id):
                    self._rung.set()

    def _connected(self) -> None:
        """It rings when a connection stands, too: what happened before it did would not come over it."""
        self._check()
        self._rung.set()

    def _check(self) -> None:
        if self._stopped:
            raise _Stopped


def pictures(ask: Callable[[], tuple[tuple[Task, ...], int]], bell: Bell, tick_s: float = STALE_S) -> Iterator[Picture]:
    """Pictures of the tasks until it is over, a new one on each change and the last one again every `tick_s`.

    `ask` gives the tasks and the hub's time. A hub that does not answer leaves the last picture, marked stale; the
    first question raises.
    """
    tasks, now_ms = ask()
    picture = Picture(tasks=tasks, now_ms=now_ms, taken_s=time.monotonic())
    asked_s = picture.taken_s
    bell.start()
    try:
        while True:
            yield picture
            if picture.is_over and not picture.stale:
                return
            rang = bell.wait(tick_s)
            since_s = time.monotonic() - asked_s
            if not rang and since_s < STALE_S:
                continue
            time.sleep(max(0.0, MIN_INTERVAL_S - since_s))
            asked_s = time.monotonic()
            try:
                tasks, now_ms = ask()
                picture = Picture(tasks=tasks, now_ms=now_ms, taken_s=time.monotonic())
            except UnreachableError:
                picture = msgspec.structs.replace(picture, stale=True)
    finally:
        bell.stop()


def wait_for_one(client: "HubClient", task_id: str, *, as_json: bool) -> int:
    """Wait for the end of one task and print its output (or everything as JSON); the exit code tells success."""
    import click

    from ostler.cli import render
    from ostler.cli.progress import PlainProgress

    def ask() -> tuple[tuple[Task, ...], int]:
        answer = client.task(task_id)
        return (answer.task,), answer.now_ms

    display = PlainProgress(aside=True)
    try:
        for picture in pictures(ask, Bell(client, lambda changed: changed == task_id)):
            if not as_json:
                display.show(picture)
    except KeyboardInterrupt:
        click.echo(f"\n{task_id} goes on; see `ostler tasks show {task_id}`, or cancel it", err=True)
        raise
    answer = client.task(task_id)
    if as_json:
        render.print_json(answer)
    elif answer.output:
        click.echo(render.clean(answer.output).rstrip("\n"))
    return ExitCode.OK if has_succeeded(answer.task) else ExitCode.FAILED
