"""Runs a simulated server on uvicorn: as a program, or inside the event loop of a test.

A simulated server stops as a machine does that is switched off: connections are closed at once, nothing is drained.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from uvicorn.server import HANDLED_SIGNALS

OnReady = Callable[[str], None]
"""Called once with the base URL, as soon as the server answers."""
CLOSE_WITHIN_S = 5.0


class _Server(uvicorn.Server):
    """uvicorn without its waiting: it reacts to `stop` at once and closes what is open."""

    def __init__(self, app: Starlette, on_ready: Callable[[], None], *, takes_signals: bool) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, http="httptools", ws="none", lifespan="on", server_header=False
            )
        )
        self._on_ready = on_ready
        self._takes_signals = takes_signals
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as error:  # uvicorn's answer to an application that fails to start; we are not the program
            raise RuntimeError("the simulated server did not start") from error
        self._on_ready()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 -- uvicorn has no event
                    await asyncio.sleep(0)
        await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let a signal end `serve`, which then returns: unlike uvicorn it is not raised a second time."""
        if not self._takes_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


async def serve(app: Starlette, host: str, port: int, on_ready: OnReady | None = None) -> None:
    """Serve until a signal ends it, then return. Port 0 = any free one, told to `on_ready`.

    Raises `OSError` if the port is taken.
    """
    listener = _listen(host, port)
    base_url = _base_url(listener)
    server = _Server(app, lambda: on_ready(base_url) if on_ready else None, takes_signals=True)
    await server.serve(sockets=[listener])


@asynccontextmanager
async def running(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve in the current event loop while the context is open; gives the base URL.

    Leaving closes every connection and waits until all of the server's tasks have ended.
    """
    listener = _listen(host, port)
    base_url = _base_url(listener)
    ready = asyncio.Event()
    server = _Server(app, ready.set, takes_signals=False)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    started = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            yield base_url
    finally:
        started.cancel()
        server.stop()
        try:
            await serving
        finally:
            listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be named: asyncio sets TCP_NODELAY only on sockets that say they are TCP, and without it every
    # second small write waits 40 ms for a delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
