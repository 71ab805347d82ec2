"""A server on a free port of this machine, and clients that send what they like, byte by byte."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ostler.server.head import header_lines
from ostler.server.request import Request
from ostler.server.serving import Server

SOON_S = 20.0
TEXT = header_lines([("content-type", "text/plain")])
CRLF2 = b"\r\n\r\n"


async def echo(request: Request) -> None:
    """Say what was asked: method, path, query, body."""
    body = await request.body(10_000_000, 2.0)
    await request.answer(200, TEXT, f"{request.method} {request.path} {request.query.decode()} ".encode() + body)


class Answer:
    """What came back for one request."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Caller:
    """A client that sees the bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, data: bytes, *, head: bool = False) -> Answer:
        self.send(data)
        return await self.answer(head=head)

    async def answer(self, *, head: bool = False) -> Answer:
        """The next answer, by its own framing."""
        async with asyncio.timeout(SOON_S):
            raw = (await self.reader.readuntil(CRLF2)).decode("latin-1")
            first, *lines = raw.removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            assert len(headers) == len(lines), f"a header stands twice: {lines}"
            status = int(first.split(" ")[1])
            if head or status in (100, 204, 304):
                return Answer(status, headers, b"")
            if "content-length" in headers:
                return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))
            if headers.get("transfer-encoding") == "chunked":
                return Answer(status, headers, await self._chunks())
            return Answer(status, headers, await self.reader.read())

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readline()).strip(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readline() == b"\r\n"
        return body

    async def is_closed(self) -> bool:
        """Whether the server ends the connection, and says nothing more before it does."""
        async with asyncio.timeout(SOON_S):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    async def is_open(self) -> bool:
        """Whether another request is answered on it."""
        return (await self.ask(b"GET /open HTTP/1.1\r\nhost: x\r\n\r\n")).status == 200

    def leave(self) -> None:
        """Close without a word."""
        self.writer.transport.abort()


class Served:
    """A server and its callers."""

    def __init__(self, server: Server, address: tuple[str, int]) -> None:
        self.server = server
        self.address = address
        self.callers: list[Caller] = []

    async def call(self, buffer_bytes: int | None = None) -> Caller:
        """A new connection; `buffer_bytes` bounds what its own socket takes in unread."""
        raw = socket.socket()
        raw.setblocking(False)
        if buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(raw, self.address)
        except OSError:
            raw.close()
            raise
        caller = Caller(*await asyncio.open_connection(sock=raw, limit=buffer_bytes or 2**16))
        self.callers.append(caller)
        return caller


@asynccontextmanager
async def served(handler: Callable[[Request], Awaitable[None]] = echo) -> AsyncIterator[Served]:
    """A server that runs; its connections are closed at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(handler)
    await server.start(listener)
    made = Served(server, listener.getsockname()[:2])
    try:
        yield made
    finally:
        await server.stop(0.2)
        for caller in made.callers:
            caller.leave()
        assert not server.connections


async def soon(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is true, which it is about to be."""
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 -- a test looks from outside
            await asyncio.sleep(0.002)
    assert condition(), what
