"""Who does what: every task, callback and timer belongs to the process in whose context it was begun.

So a process can be killed, which ends exactly what it would have done, at whatever await that is, or frozen, which
holds all of it back until it is thawed; everybody else goes on.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

Held = tuple[Callable[[], bool], asyncio.Handle]
"""Whether it was given up meanwhile, and what is held back."""


class Owner:
    """A process: its tasks by age, and what it would have done since it was frozen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.frozen = False
        self.held: list[Held] = []
        self.context = copy_context()
        self.context.run(MARK.set, self)

    def begin(self, coro: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - any coroutine
        """A task of this process."""
        return asyncio.get_running_loop().create_task(coro, context=self.context)


MARK: ContextVar[Owner | None] = ContextVar("owner", default=None)


def owner_in(context: Context | None) -> Owner | None:
    """Whose context it is; `None` = the world's own."""
    return MARK.get() if context is None else context.get(MARK)


def marked(loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None) -> asyncio.Task[Any]:  # noqa: ANN401 - the interface of a task factory
    """Makes tasks, and gives each to the process in whose context it begins."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
    owner = owner_in(context)
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task
