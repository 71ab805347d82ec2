"""What a hub that does not lead does with those who call it: it passes their connections on to the hub that leads.

Bytes go both ways as they come, so every face works as at the leader, streams too, and nothing is read twice. A
connection that comes while nobody leads waits up to `PATIENCE_S` for the next leader, then gets one answer that says
so. A connection ends with the leader that it was made to; its client makes a new one.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import msgspec

PIECE_BYTES = 64 * 1024
PATIENCE_S = 10.0
CONNECT_S = 2.0
LOOK_S = 0.05

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Passes connections of one bound socket on. `leader` says where to (host, port); `None` while nobody leads."""

    def __init__(self, leader: Callable[[], tuple[str, int] | None]) -> None:
        self._leader = leader
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Accept on a bound socket, which is the relay's from now on."""
        self._server = await asyncio.start_server(self._accepted, sock=listener, limit=PIECE_BYTES)

    async def stop(self) -> None:
        """Accept nothing more and cut what is open: its leader is gone, or this hub is. Safe to repeat."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        await self.cut()

    async def cut(self) -> None:
        """End every connection, and wait until that is done."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve((reader, writer)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, client: Streams) -> None:
        try:
            leader = await self._reached()
            if leader is None:
                await _refuse(client)
                return
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(client[0], leader[1]))
                    both.create_task(_pump(leader[0], client[1]))
            finally:
                leader[1].close()
        except* (OSError, asyncio.IncompleteReadError):
            pass  # one side went away; closing the other tells it
        finally:
            client[1].close()

    async def _reached(self) -> Streams | None:
        """A connection to the leader, as soon as there is one; `None` when there is none in time."""
        until_s = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            address = self._leader()
            if address is not None:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(CONNECT_S):
                        return await asyncio.open_connection(*address, limit=PIECE_BYTES)
            if asyncio.get_running_loop().time() >= until_s:
                return None
            await asyncio.sleep(LOOK_S)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Everything from one side to the other, no faster than that takes it."""
    while piece := await source.read(PIECE_BYTES):
        target.write(piece)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


async def _refuse(client: Streams) -> None:
    """One answer that any client understands, after its request has begun to come."""
    reader, writer = client
    await reader.read(PIECE_BYTES)
    message = "no hub leads this pool at the moment"
    remedy = "try again in a few seconds; 'ostler hubs' shows who is up"
    error = {"code": "no_leader", "type": "NO_LEADER", "message": message, "remedy": remedy}
    body = msgspec.json.encode({"error": error})
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 3\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    with contextlib.suppress(OSError):
        await writer.drain()
