"""A relay in front of a real engine that sees every call: which model, how many at once, when the first piece came.

The engine itself works on one call at a time behind a lock of its own, so only somebody in front of it can tell whether
callers queue there. Bytes pass unchanged and as they come; a caller that hangs up is hung up on at the engine, too.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp import web

CHAT = "/v1/chat/completions"
LISTING = "/v1/models"


@dataclass
class Seen:
    """One request. `model` is empty when it named none."""

    path: str
    model: str
    began_s: float
    status: int | None = None
    """What the engine answered with."""
    ended_s: float | None = None


@dataclass
class Tap:
    """What was seen since the last `reset`."""

    url: str = ""
    requests: list[Seen] = field(default_factory=list)
    most_at_once: int = 0
    """Chat calls that were open at the same moment."""

    def reset(self) -> None:
        """Forget what was seen."""
        self.requests, self.most_at_once = [], 0

    def paths(self) -> set[str]:
        """Everything that was asked for."""
        return {seen.path for seen in self.requests}

    def chats(self) -> list[str]:
        """The models of the chat calls, in the order of their beginning."""
        return [seen.model for seen in self.requests if seen.path == CHAT]

    def answered(self) -> list[str]:
        """The models of the chat calls that the engine took."""
        return [seen.model for seen in self.requests if seen.path == CHAT and seen.status == HTTPStatus.OK]

    def begin(self, path: str, body: bytes) -> Seen:
        """Note a request."""
        model = str(json.loads(body)["model"]) if path == CHAT else ""
        seen = Seen(path, model, time.monotonic())
        self.requests.append(seen)
        open_chats = sum(other.path == CHAT and other.ended_s is None for other in self.requests)
        self.most_at_once = max(self.most_at_once, open_chats)
        return seen


@asynccontextmanager
async def tapped(engine_url: str) -> AsyncIterator[Tap]:
    """A relay on a free port in front of the engine."""
    tap = Tap()
    # A connection for each call: the engine closes idle ones as it likes, and a POST on such a one would be lost.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(engine_url, auto_decompress=False, connector=connector) as session:

        async def relay(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            seen = tap.begin(request.path, body)
            try:
                headers = {"Content-Type": request.content_type}
                async with session.request(request.method, request.path, data=body, headers=headers) as upstream:
                    seen.status = upstream.status
                    answer = web.StreamResponse(
                        status=upstream.status, headers={"Content-Type": upstream.headers["Content-Type"]}
                    )
                    await answer.prepare(request)
                    async for piece in upstream.content.iter_any():
                        await answer.write(piece)
                    await answer.write_eof()
                    return answer
            except aiohttp.ClientError:
                # What breaks off behind the relay breaks off in front of it.
                if request.transport is not None:
                    request.transport.abort()
                raise
            finally:
                seen.ended_s = time.monotonic()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", relay)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            tap.url = f"http://127.0.0.1:{port}"
            yield tap
        finally:
            await runner.cleanup()
