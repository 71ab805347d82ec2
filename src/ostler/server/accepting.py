"""Takes in the connections that wait at a listening socket: all of them at once, so far as `AT_ONCE` lets.

The event loop's own server takes one in each of its turns. A turn of a hub that is busy is long, and a thousand workers
that come at once would stand at the door for a thousand of them, and whoever looks at a page behind them.

Where the system has no file left for a connection, nobody is taken in for `PAUSE_S`: they wait at the door.
"""

import asyncio
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Callable

import structlog

AT_ONCE = 256
"""Connections that are taken in before anything else has its turn."""
PAUSE_S = 1.0


class Doorman:
    """Belongs to the event loop in which it is started."""

    def __init__(self, listener: socket.socket, made: Callable[[], asyncio.Protocol], backlog: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._made = made
        self._coming: dict[asyncio.Task[None], socket.socket] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger("ostler.server")
        listener.settimeout(0)
        listener.listen(backlog)
        self._open()

    def close(self) -> None:
        """Take nobody in any more. Safe to repeat."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def empty(self) -> None:
        """Wait until whoever was taken in is with their protocol."""
        if self._coming:
            await asyncio.wait(self._coming)

    def _open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.fileno(), self._take_in)

    def _take_in(self) -> None:
        for _ in range(AT_ONCE):
            try:
                came, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._log.warning("no connection can be taken in", error=str(error), again_in_s=PAUSE_S)
                self._loop.remove_reader(self._listener.fileno())
                self._pause = self._loop.call_later(PAUSE_S, self._open)
                return
            came.settimeout(0)
            task = self._loop.create_task(self._begin(came))
            self._coming[task] = came
            task.add_done_callback(self._begun)

    def _begun(self, task: asyncio.Task[None]) -> None:
        came = self._coming.pop(task)
        if task.cancelled():  # maybe before its first step, in which it would have been given a transport
            came.close()

    async def _begin(self, came: socket.socket) -> None:
        try:
            came.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await self._loop.connect_accepted_socket(self._made, came)
            if not isinstance(transport.get_extra_info("socket"), TransportSocket):
                # The transport has the file itself, not by the socket. A socket that has it, too, would close it once
                # more where both are collected together, and by then it may be the file of another thread.
                came.detach()
        except OSError:
            came.close()  # it has gone already
