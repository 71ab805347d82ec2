"""Hand-made parts around the gateway: an ASGI client that can go away, a desk, an upstream that plays a script."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointSpec
from ostler.gateway.inbound import Message, Scope

Piece = bytes | CallError | float
"""Bytes to give, an error to raise, or seconds of silence."""


class Client:
    """The other side of an ASGI application: sends one request, reads the answer, may hang up or stop reading."""

    def __init__(
        self, body: bytes, path: str = "/v1/chat/completions", headers: Mapping[str, str] | None = None
    ) -> None:
        given = {"host": "127.0.0.1:7433", "content-length": str(len(body)), **(headers or {})}
        self.scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        }
        self._body: bytes | None = body
        self.gone = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.complete = False

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.start":
            assert self.status is None, "an answer begins once"
            self.status = message["status"]
            self.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            return
        assert self.status is not None, "a body comes after its head"
        assert not self.complete, "nothing comes after the end"
        self.chunks.append(message.get("body", b""))
        self.complete = not message.get("more_body", False)

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
