"""ASGI applications behind the server: requests in, messages out."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ostler.server.head import header_lines
from ostler.server.request import BadBodyError, GoneError, Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
BODY_S = 60.0
"""How long a body may take to come."""
_TEXT = header_lines([("content-type", "text/plain; charset=utf-8")])


async def serve_asgi(app: App, request: Request, server: tuple[str, int]) -> None:
    """Have an application answer a request."""
    await _Exchange(request).run(app, server)


class _Exchange:
    """One request of an application."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._read = False
        self._refused = False
        self._until_s = asyncio.get_running_loop().time() + BODY_S
        self._pending: tuple[int, bytes, int] | None = None
        """The head of an answer of known length, until something of its body is there: both leave at once."""

    async def run(self, app: App, server: tuple[str, int]) -> None:
        request = self._request
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.version,
            "server": server,
            "client": request.client,
            "scheme": "http",
            "root_path": "",
            "method": request.method,
            "path": request.path,
            "raw_path": request.target.partition(b"?")[0],
            "query_string": request.query,
            "headers": request.headers,
            "state": {},
        }
        await app(scope, self._receive, self._send)

    async def _refuse(self, status: int, message: str) -> Message:
        """Answer in the application's place, to which the client is gone then."""
        self._refused = True
        if not self._request.started:
            self._request.keep = False
            await self._request.answer(status, _TEXT, message.encode())
        return {"type": "http.disconnect"}

    async def _receive(self) -> Message:
        request = self._request
        if not self._read:
            try:
                async with asyncio.timeout_at(self._until_s):
                    piece = await request.read()
            except GoneError:
                return {"type": "http.disconnect"}
            except BadBodyError as error:
                return await self._refuse(400, str(error))
            except TimeoutError:
                return await self._refuse(408, "the body of the request did not come in time")
            self._read = request.is_read
            return {"type": "http.request", "body": piece, "more_body": not self._read}
        await request.until_over()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        data, more = message.get("body", b""), message.get("more_body", False)
        if self._pending is not None:
            (status, lines, length), self._pending = self._pending, None
            if not more and length == len(data):
                await self._request.answer(status, lines, data)
                return
            await self._request.start(status, lines, length)
        if more:
            await self._request.write(data)
        else:
            await self._request.finish(data)

    async def _begin(self, message: Message) -> None:
        length = None
        pairs = []
        for name, value in message.get("headers", ()):
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"connection" and value.lower() == b"close":
                self._request.keep = False
            else:
                pairs.append((name.decode("latin-1"), value.decode("latin-1")))
        status, lines = message["status"], header_lines(pairs)
        if length is None:
            await self._request.start(status, lines)
        else:
            self._pending = status, lines, length
