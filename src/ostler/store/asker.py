"""Short questions to a database from an event loop, each answered in time or not at all.

Nothing is waited for longer than `limit_s`: a wire that was cut tells nobody, and who leads must know in time that it
no longer does. What was asked in vain is left behind with its connection; whether it happened, the next look says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

import psycopg

from ostler.store.postgres_engine import CONNECT, Place, explained

T = TypeVar("T")
Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]
LEFT_BEHIND_S = 10.0
"""Beyond what a wire that was cut takes to be noticed: a question that is given up ends by that, or now."""
ENOUGH_CANCELS = 2
"""The driver answers the first by asking the server to end the question too; the second one it obeys."""


class Asker:
    """One connection of one event loop, opened when it is needed. Questions take turns."""

    def __init__(self, place: Place, limit_s: float, name: str) -> None:
        self.place = place
        self.limit_s = limit_s
        self._name = name
        self._behind: set[asyncio.Task[Any]] = set()
        self._connection: Connection | None = None
        self._is_closed = False
        self._lock = asyncio.Lock()

    async def ask(self, text: str, values: tuple[object, ...] = ()) -> list[Row]:
        """The rows of one statement, which may be repeated when the wire breaks. Raises `StoreError`."""
        async with self._lock:
            try:
                answer = await self.in_time(lambda: self._asked(text, values), _close_asked)
            except (psycopg.Error, OSError) as error:
                raise explained(error, self.place) from error
            self._connection, found = answer
            if self._is_closed:
                await self._let_go()
            return found

    async def in_time(self, asking: Callable[[], Coroutine[Any, Any, T]], close: Callable[[T], Awaitable[None]]) -> T:
        """The answer, in time. Raises `psycopg.OperationalError` when there is none; one that comes later is closed."""
        question = _Question(close)
        task = asyncio.ensure_future(question.answered(asking))
        try:
            done, _ = await asyncio.wait({task}, timeout=self.limit_s)
        except asyncio.CancelledError:
            await self._leave_behind(question, task)
            raise
        if not done:
            await self._leave_behind(question, task)
            raise psycopg.OperationalError(f"no answer within {self.limit_s:g} s")
        return task.result()

    async def close(self) -> None:
        """Close the connection, also that of a question that is still to be answered, and end what was left behind.
        Safe to repeat.
        """
        self._is_closed = True
        await self._let_go()
        behind = tuple(self._behind)
        for task in behind:
            _end(task)
        await asyncio.gather(*behind, return_exceptions=True)

    async def _let_go(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _asked(self, text: str, values: tuple[object, ...]) -> tuple[Connection, list[Row]]:
        """An answer, on the connection that is open, or on a new one if that turns out to be broken. Without an answer
        no connection is left open. It is taken here, so that it is the asker's until the question begins.
        """
        connection, self._connection = self._connection, None
        if connection is not None and not connection.closed:
            with suppress(psycopg.OperationalError):
                return connection, await rows(connection, text, values)
        connection = await connected(self.place, self._name)
        return connection, await rows(connection, text, values)

    async def _leave_behind(self, question: "_Question[T]", task: asyncio.Task[T]) -> None:
        """Nobody waits for it any more: it closes its answer itself, and ends by `LEFT_BEHIND_S`."""
        question.is_given_up = True
        if task.done():
            if not task.cancelled() and task.exception() is None:
                await question.close(task.result())
            return
        timer = asyncio.get_running_loop().call_later(LEFT_BEHIND_S, _end, task)
        self._behind.add(task)

        def forget(task: asyncio.Task[T]) -> None:
            self._behind.discard(task)
            timer.cancel()
            if not task.cancelled():
                task.exception()  # is nobody's concern now

        task.add_done_callback(forget)


def _end(task: asyncio.Task[Any], cancels: int = ENOUGH_CANCELS) -> None:
    """In as many turns of the loop as there are cancels: two in one turn are one."""
    task.cancel()
    if cancels > 1:
        asyncio.get_running_loop().call_soon(_end, task, cancels - 1)


class _Question(Generic[T]):
    """One that may be given up while it is asked. What it opened is then closed by the task that opened it, and by
    none that would first have to begin: one that is cancelled before never does.
    """

    def __init__(self, close: Callable[[T], Awaitable[None]]) -> None:
        self.close = close
        self.is_given_up = False

    async def answered(self, asking: Callable[[], Coroutine[Any, Any, T]]) -> T:
        answer = await asking()
        if self.is_given_up:
            await self.close(answer)
        return answer


async def _close_asked(answer: tuple[Connection, list[Row]]) -> None:
    await answer[0].close()


async def connected(place: Place, name: str) -> Connection:
    """A new connection. Raises `psycopg.Error`."""
    return await psycopg.AsyncConnection.connect(place.url, **CONNECT, application_name=f"ostler {name}")


async def rows(connection: Connection, text: str, values: tuple[object, ...]) -> list[Row]:
    """The rows of one statement. Raises `psycopg.Error` with the connection closed."""
    try:
        cursor = await connection.execute(text.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []
    except BaseException:
        await connection.close()
        raise
