"""One HTTP exchange whose work stops the moment its client hangs up, queued, loading or streaming.

Answering is left to the work, byte by byte, because faults need what a web framework forbids: a response that is never
started, never completed or not what its headers promise. A response that the work leaves incomplete is cut: the server
closes the connection without a proper end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

JSON = "application/json"


class Sender:
    """The way back to the client."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Status line and headers."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """A part of the body; waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """The proper end of the body."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def json(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer."""
        body = msgspec.json.encode(content)
        await self.start(status, {"content-type": JSON, "content-length": str(len(body)), **(headers or {})})
        await self.write(body)
        await self.end()


class Exchange:
    """An ASGI response that runs `work` and cancels it when the client hangs up."""

    def __init__(self, work: Callable[[Sender], Coroutine[Any, Any, None]]) -> None:
        self._work = work

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work, or as much of it as the client waits for."""
        work = asyncio.ensure_future(self._work(Sender(send)))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.wait({work, gone})
        if not work.cancelled():
            work.result()


def json_exchange(status: int, content: object, headers: Mapping[str, str] | None = None) -> Exchange:
    """A whole JSON answer."""
    return Exchange(lambda sender: sender.json(status, content, headers))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
