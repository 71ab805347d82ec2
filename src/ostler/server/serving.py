"""The server: a socket that listens, its connections, and a stop that lets answers end within a grace."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import structlog

from ostler.server.accepting import Doorman
from ostler.server.connection import Connection
from ostler.server.head import DateLine, header_lines
from ostler.server.request import BadBodyError, GoneError, Request

Handler = Callable[[Request], Awaitable[None]]
BACKLOG = 2_048
LOOK_S = 1.0
"""How often limits of time are looked at while there are connections."""
_TEXT = header_lines([("content-type", "text/plain; charset=utf-8")])


class Server:
    """Serves one handler. Belongs to the event loop in which it is started."""

    def __init__(self, handler: Handler) -> None:
        self.loop = asyncio.get_running_loop()
        self.date = DateLine()
        self.connections: set[Connection] = set()
        self.stopping = False
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._doorman: Doorman | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger("ostler.server")

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket, which is the server's from now on."""
        self._doorman = Doorman(listener, lambda: Connection(self), BACKLOG)
        self._look()

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let answers end within the grace, then end them. Safe to repeat."""
        self.stopping = True
        if self._looking is not None:
            self._looking.cancel()
        if self._doorman is not None:
            self._doorman.close()
        for connection in list(self.connections):
            connection.retire()
        until_s = self.loop.time() + grace_s
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=grace_s)
            late = self._end_late()
            await asyncio.gather(*late, return_exceptions=True)
            if self._doorman is not None:
                await self._doorman.empty()
            if self.connections:
                self._empty.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until_s):
                        await self._empty.wait()
        finally:  # also where the stop itself is broken off
            self._end_late()
            for connection in list(self.connections):
                connection.abort()

    def _end_late(self) -> list[asyncio.Task[None]]:
        late = list(self._tasks)
        for task in late:
            task.cancel()
        return late

    def serve(self, request: Request) -> None:
        """See `House.serve`."""
        task = self.loop.create_task(self._carry_out(request))
        self._tasks.add(task)

    def left(self, connection: Connection) -> None:
        """See `House.left`."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def _carry_out(self, request: Request) -> None:
        try:
            await self._handler(request)
        except GoneError:
            pass  # nobody is there to be told
        except BadBodyError as error:
            if not request.started:
                await request.answer(400, _TEXT, str(error).encode())
        except Exception as error:  # boundary: a handler that breaks must not leave its client without an answer
            self._log.exception("a request could not be answered", path=request.path, error=str(error))
            if not request.started:
                await request.answer(500, _TEXT, b"Internal Server Error")
        finally:
            request.abandon()
            self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _look(self) -> None:
        now_s = self.loop.time()
        for connection in list(self.connections):
            connection.look(now_s)
        self._looking = self.loop.call_later(LOOK_S, self._look)
