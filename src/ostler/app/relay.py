"""What a hub that does not lead does with those who call it: it passes their connections on to the hub that leads.

Bytes go both ways as they come, so every face works as at the leader, streams too, and nothing is read twice. A
connection that comes while nobody leads waits up to `PATIENCE_S` for the next leader, then gets one answer that says
so. A connection ends with the leader that it was made to: who waits for an answer on it is told so in the same words.
A leader that is silent for too long is taken for gone.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import msgspec

from ostler.server.accepting import Doorman

PIECE_BYTES = 64 * 1024
BACKLOG = 100
PATIENCE_S = 10.0
CONNECT_S = 2.0
LOOK_S = 0.05
TELL_S = 1.0
"""How long who does not read is waited for, when it is told why there will be no answer."""
SILENT_S = 6
_KEEPALIVE = {"TCP_KEEPIDLE": SILENT_S - 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": SILENT_S * 1000}
NO_LEADER = "no hub leads this pool at the moment"
NOT_REACHED = "the hub that leads this pool is not reached from here"
SOON = "try again in a few seconds; 'ostler hubs' shows who is up"
ONCE_BACK = "see that the database runs; this hub goes on by itself once it answers"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Passes connections of one bound socket on. `leader` says where to (host, port); `None` while nobody leads.
    `no_way`: why nobody need wait for one; empty: wait.
    """

    def __init__(self, leader: Callable[[], tuple[str, int] | None], no_way: Callable[[], str] = lambda: "") -> None:
        self._leader = leader
        self._no_way = no_way
        self._doorman: Doorman | None = None
        self._over = False
        self._open: set[asyncio.Task[None]] = set()
        self._passing: set[asyncio.Task[None]] = set()
        """Those of them whose leader was reached."""

    async def start(self, listener: socket.socket) -> None:
        """Accept on a bound socket, which is the relay's from now on."""
        self._doorman = Doorman(listener, self._made, BACKLOG)

    async def stop(self, *, for_good: bool = True) -> None:
        """Accept nothing more and cut what is passed on: its leader is gone, or this hub is. Safe to repeat.

        Unless `for_good`, those who wait for a leader go on waiting for it, which may be this very hub.
        """
        self._over = self._over or for_good
        if self._doorman is not None:
            self._doorman.close()
            await self._doorman.empty()
        await (_ended(self._open) if for_good else self.cut())

    async def cut(self) -> None:
        """End every connection that is passed on, and wait until that is done."""
        await _ended(self._passing)

    def _made(self) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(PIECE_BYTES, loop), self._accepted, loop)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._over:  # it came with the end, and nobody would end it
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve((reader, writer)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it was cut before it began

    async def _serve(self, client: Streams) -> None:
        try:
            leader = await self._reached()
            if leader is None:
                await client[0].read(PIECE_BYTES)
                blind = self._no_way()
                if blind:
                    await _refuse(client[1], blind, ONCE_BACK)
                else:
                    await _refuse(client[1], NO_LEADER if self._leader() is None else NOT_REACHED)
                return
            passage = _Passage(client, leader)
            task = asyncio.current_task()
            if task is not None:
                self._passing.add(task)
                task.add_done_callback(self._passing.discard)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(passage.up())
                    both.create_task(passage.down())
            except asyncio.CancelledError:
                await passage.explain()
                raise
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
                        reached = await asyncio.open_connection(*address, limit=PIECE_BYTES)
                    if self._leader() == address:
                        _watch(reached[1])
                        return reached
                    reached[1].close()  # it was replaced meanwhile, and what goes to it would not be cut any more
            if self._no_way() or asyncio.get_running_loop().time() >= until_s:
                return None
            await asyncio.sleep(LOOK_S)


async def _ended(tasks: "set[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Passage:
    """One connection of a client and that of the leader which it is passed on to."""

    def __init__(self, client: Streams, leader: Streams) -> None:
        self._client = client
        self._leader = leader
        self._asked = False
        """Whether the client was the last to say something: then it waits, and nothing of an answer has come."""

    async def up(self) -> None:
        """All that the client says, no faster than the leader takes it."""
        target = self._leader[1]
        while piece := await self._client[0].read(PIECE_BYTES):
            self._asked = True
            target.write(piece)
            await target.drain()
        self._asked = False  # it has gone
        if target.can_write_eof():
            target.write_eof()

    async def down(self) -> None:
        """All that the leader says; a leader that goes is told of to a client that waits."""
        target = self._client[1]
        try:
            while piece := await self._leader[0].read(PIECE_BYTES):
                self._asked = False
                target.write(piece)
                await target.drain()
        except OSError:
            await self.explain()
            raise
        await self.explain()
        if target.can_write_eof():
            target.write_eof()

    async def explain(self) -> None:
        """Tell a client that waits for an answer why there will be none."""
        if self._asked:
            self._asked = False
            await _refuse(self._client[1], "the hub that leads went away before it answered")


def _watch(writer: asyncio.StreamWriter) -> None:
    """Have the system notice within `SILENT_S` that the other machine is gone, where it can."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _refuse(writer: asyncio.StreamWriter, message: str, remedy: str = SOON) -> None:
    """One answer that any client understands, after its request has begun to come."""
    error = {"code": "no_leader", "type": "NO_LEADER", "message": message, "remedy": remedy}
    if writer.is_closing():
        return
    body = msgspec.json.encode({"error": error})
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 3\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    try:
        async with asyncio.timeout(TELL_S):
            await writer.drain()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        return
