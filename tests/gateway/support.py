"""Hand-made parts around the gateway: a client that can go away, a desk, an upstream that plays a script."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointSpec
from ostler.server.request import TooLargeError

Piece = bytes | CallError | float
"""Bytes to give, an error to raise, or seconds of silence."""


class Line:
    """The connection of a client, as the gateway has it."""

    def __init__(self, client: "Client", path: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self.method = "POST"
        self.path = path
        self.query = b""
        self.client: tuple[str, int] | None = None
        self.fields = {name.lower().encode(): value.encode() for name, value in headers.items()}
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.flaw: Exception | None = None
        """What becomes of reading the body."""

    async def body(self, limit_bytes: int, limit_s: float) -> bytes:
        assert limit_s > 0
        if self.flaw is not None:
            raise self.flaw
        if len(self._client.sent) > limit_bytes:
            raise TooLargeError
        return self._client.sent

    async def answer(self, status: int, lines: bytes, body: bytes = b"") -> None:
        await self.start(status, lines)
        await self.finish(body)

    async def start(self, status: int, lines: bytes) -> None:
        client = self._client
        await client.reading.wait()
        assert client.status is None, "an answer begins once"
        client.status = status
        assert lines.endswith(b"\r\n")
        pairs = [line.partition(": ") for line in lines.decode("latin-1").split("\r\n")[:-1]]
        client.headers = {name: value for name, _, value in pairs}

    async def write(self, data: bytes) -> None:
        client = self._client
        await client.reading.wait()
        assert client.status is not None, "a body comes after its head"
        assert not client.complete, "nothing comes after the end"
        client.chunks.append(data)

    async def finish(self, data: bytes = b"") -> None:
        await self.write(data)
        self._client.complete = True


class Client:
    """The other side of a gateway: sends one request, reads the answer, may hang up or stop reading."""

    def __init__(
        self, body: bytes, path: str = "/v1/chat/completions", headers: Mapping[str, str] | None = None
    ) -> None:
        given = {"host": "127.0.0.1:7433", "content-length": str(len(body)), **(headers or {})}
        self.line = Line(self, path, given)
        self.sent = body
        self.reading = asyncio.Event()
        self.reading.set()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.complete = False

    def hang_up(self) -> None:
        """Go away."""
        self.line.gone = True
        if self.line.on_gone is not None:
            self.line.on_gone()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:  # noqa: ANN401 -- foreign JSON
        return msgspec.json.decode(self.body)


class Answer:
    """An answer that an upstream plays."""

    def __init__(self, chunks: Sequence[Piece], status: int = 200) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": "application/json"}
        self._chunks = list(chunks)
        self.closed = 0
        self.left = 0
        """Pieces that nobody had read when it was closed."""

    async def read(self) -> bytes:
        while self._chunks:
            chunk = self._chunks.pop(0)
            if isinstance(chunk, CallError):
                raise chunk
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
                continue
            return chunk
        return b""

    def close(self) -> None:
        self.closed += 1
        self.left = len(self._chunks)


class Upstream:
    """Plays one answer after the other, whatever it is sent."""

    def __init__(self, *script: Answer | CallError | float) -> None:
        self._script = list(script)
        self.sent: list[tuple[str, UpstreamRequest]] = []

    async def send(self, spec: EndpointSpec, request: UpstreamRequest) -> Answer:
        self.sent.append((spec.name, request))
        while self._script:
            step = self._script.pop(0)
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            if isinstance(step, CallError):
                raise step
            return step
        raise AssertionError("the script has no further answer")

    async def close(self) -> None:
        pass


class Clock:
    """A clock that moves with the event loop's."""

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(asyncio.get_running_loop().time() * 1_000)

    def stopwatch_us(self) -> int:
        return round(asyncio.get_running_loop().time() * 1_000_000)


def ids() -> Callable[[], str]:
    """Ids in order."""
    numbers = itertools.count(1)
    return lambda: f"c-{next(numbers):06d}"
