"""The two sides of HTTP on raw bytes: what clients send to the server, what servers answer to our clients.

The server is driven without a socket: a connection is fed in pieces and its handler answers at once. Beside not
crashing, it must never hand a request on that another server in front might not have seen: bytes of a body are none.
"""

import asyncio
import socket
from collections.abc import Sequence

from ostler.client.http1 import NotHttpError, exchange
from ostler.domain.calls import CallError
from ostler.fleet.http1 import Connection as UpstreamConnection
from ostler.fleet.http1 import LostBeforeAnswerError
from ostler.fleet.transport import TransportError
from ostler.server.connection import Connection
from ostler.server.head import DateLine, header_lines
from ostler.server.request import BadBodyError, GoneError, Request, SlowBodyError, TooLargeError
from tests.fuzz.mutate import HTTP_JUNK, of_bytes
from tests.fuzz.play import Target

HTTP = of_bytes(HTTP_JUNK)
REQUESTS_MAX = 2_000
REQUESTS = (
    b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nhost: x\r\n\r\n",
    (
        b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nt: u\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    ),
    (
        b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
        b"content-length: 2\r\n\r\nokGET / HTTP/1.1\r\n\r\n"
    ),
    b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nok",
    b"HEAD /%41%00 HTTP/1.0\r\n\r\n",
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    (
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nt: u\r\n\r\n"
    ),
    b"HTTP/1.0 500 No\r\ncontent-type: text/plain\r\n\r\nto the end\nof it\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n",
)


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and counts what is held back."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("10.0.0.1", 1) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.sent += b""

    def pause_reading(self) -> None:
        assert not self.closed

    def resume_reading(self) -> None:
        assert isinstance(self.closed, bool)

    def get_write_buffer_size(self) -> int:
        return 0


class House:
    """A server without a socket."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.date = DateLine()
        self.connections: set[Connection] = set()
        self.stopping = False
        self.tasks: list[asyncio.Task[None]] = []

    def serve(self, request: Request) -> None:
        self.tasks.append(self.loop.create_task(self._handle(request)))

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)

    async def _handle(self, request: Request) -> None:
        assert "\r" not in request.path or "%0D" in request.target.decode("latin-1").upper()
        try:
            body = await request.body(100_000, 1.0)
        except (BadBodyError, GoneError, TooLargeError, SlowBodyError):
            request.abandon()
            return
        await request.answer(200, header_lines([("x", "y")]), b"%d" % len(body))


async def _serve(data: bytes) -> bytes:
    house, wire = House(), Wire()
    connection = Connection(house)
    connection.connection_made(wire)
    step = 1 + sum(data[:64]) % 1_009
    for at in range(0, len(data), step):
        if wire.closed:
            break
        connection.data_received(data[at : at + step])
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.gather(*house.tasks)
    assert len(house.tasks) <= REQUESTS_MAX + len(data) // 16, "more requests than can be in so many bytes"
    assert not house.connections
    return bytes(wire.sent)


def server(data: bytes) -> object:
    sent = asyncio.run(_serve(data))
    assert not sent or sent.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), sent[:40]
    return sent


async def _ask(data: bytes) -> bytes:
    connection = UpstreamConnection()
    connection.connection_made(Wire())
    asking = asyncio.ensure_future(connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b""))
    await asyncio.sleep(0)
    step = 1 + sum(data[:64]) % 1_009
    for at in range(0, len(data), step):
        connection.data_received(data[at : at + step])
    connection.connection_lost(None)
    await asyncio.wait_for(asking, 1)
    found = b""
    while piece := await asyncio.wait_for(connection.read(), 1):
        found += piece
    return found


def upstream(data: bytes) -> object:
    """The gateway's own client: an answer of an endpoint."""
    found = asyncio.run(_ask(data))
    assert len(found) <= len(data), "more body than bytes"
    return found


def client(data: bytes) -> object:
    """The command line's own client, which may have been sent to anything that answers."""
    ours, theirs = socket.socketpair()
    ours.settimeout(2)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with theirs:
        theirs.setblocking(False)
        sent = theirs.send(data) if data else 0
        theirs.shutdown(socket.SHUT_WR)
        with exchange(ours, b"GET / HTTP/1.1\r\n\r\n") as answer:
            found = answer.read() if sum(data[:64]) % 2 else b"\n".join(answer.lines())
    assert len(found) <= sent, "more body than bytes"
    return found


def targets() -> Sequence[Target]:
    """Server and clients."""
    lost = (TransportError, LostBeforeAnswerError, CallError)
    return (
        Target(name="http server", read=server, seeds=lambda: REQUESTS, mutate=HTTP),
        Target(name="http upstream", read=upstream, seeds=lambda: ANSWERS, mutate=HTTP, errors=lost),
        Target(
            name="http client", read=client, seeds=lambda: ANSWERS, mutate=HTTP, errors=(NotHttpError, ConnectionError)
        ),
    )
