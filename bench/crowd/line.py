"""One connection that is kept, one request at a time: HTTP as the hub speaks it, without what a library costs for it.

A thousand workers in one process must cost less than the hub that they are to load.
"""

import asyncio
import re
from typing import TypeVar

import msgspec

T = TypeVar("T")
OK = range(200, 300)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PIECE = 1 << 20
PATIENCE_S = 60.0


class RefusedError(Exception):
    """The hub answered, and not with what was asked for."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"HTTP {status}: {body[:300].decode(errors='replace')}")
        self.status = status


class Line:
    """A connection to one port of this machine, made when it is first needed and again when it broke."""

    def __init__(self, port: int, *, key: str = "") -> None:
        self._port = port
        self._key = f"authorization: Bearer {key}\r\n" if key else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: object, kind: type[T], *, patience_s: float = PATIENCE_S) -> T:
        """Send JSON, read JSON. Raises `RefusedError`, and `OSError` when the connection broke."""
        return msgspec.json.decode(await self.send("POST", path, msgspec.json.encode(body), patience_s), type=kind)

    async def get(self, path: str) -> bytes:
        """Read. Raises as `post`."""
        return await self.send("GET", path, b"", PATIENCE_S)

    async def send(self, verb: str, path: str, body: bytes, patience_s: float) -> bytes:
        """One exchange. Raises as `post`."""
        try:
            async with asyncio.timeout(patience_s):
                return await self._exchange(verb, path, body)
        except BaseException as error:
            if not isinstance(error, RefusedError):
                self.close()
            if isinstance(error, asyncio.IncompleteReadError | asyncio.LimitOverrunError):
                raise ConnectionResetError(str(error)) from None
            raise

    async def _exchange(self, verb: str, path: str, body: bytes) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE)
        reader, writer = self._streams
        head = (
            f"{verb} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n{self._key}content-type: application/json\r\n"
        )
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        found = _LENGTH.search(answer)
        if found is None:
            raise ConnectionResetError(f"an answer without a length: {answer[:200]!r}")
        content = await reader.readexactly(int(found[1]))
        status = int(answer[9:12])
        if status not in OK:
            raise RefusedError(status, content)
        return content

    def close(self) -> None:
        """Hang up. Safe to repeat; the next request makes a new connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
