"""The hub's routes for workers over real HTTP, in front of a `FakeHub`, as the wire format has them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from ostler.domain.errors import InvalidInputError, NotAllowedError, OstlerError
from ostler.domain.fleet import HostReport, WorkerOffer
from ostler.domain.work import Report
from tests.workers.fake_hub import FakeHub, FakeLink

TOKEN = "tok-3n"


class HttpHub:
    """Answers for a fake hub; `url` is set while it serves."""

    def __init__(self, hub: FakeHub, *, prefix: str = "") -> None:
        self.hub = hub
        self.link = FakeLink(hub)
        self.url = ""
        self.paths: list[str] = []
        self._prefix = prefix

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["HttpHub"]:
        """Serve on a free port of the loopback."""
        application = web.Application(middlewares=[self._errors])
        base = f"{self._prefix}/hub/workers"
        application.router.add_post(f"{base}/join", self._join)
        for verb, handler in {
            "heartbeat": self._heartbeat,
            "poll": self._poll,
            "reports": self._reports,
            "leave": self._leave,
        }.items():
            application.router.add_post(f"{base}/{{session}}/{verb}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}{self._prefix}"
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _errors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.paths.append(request.path)
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise NotAllowedError("this token is not for workers", where="token", remedy="ask for one")
            if request.content_type != "application/json":
                raise InvalidInputError("not JSON")
            return await handler(request)
        except OstlerError as error:
            body = {"code": error.code, "message": error.what, "where": error.where, "remedy": error.remedy}
            return _answer({"error": body}, status=error.http_status)

    async def _join(self, request: web.Request) -> web.Response:
        return _answer(await self.link.join(msgspec.json.decode(await request.read(), type=WorkerOffer)))

    async def _heartbeat(self, request: web.Request) -> web.Response:
        report = msgspec.json.decode(await request.read(), type=HostReport | None)
        return _answer({"lease_ms": await self.link.heartbeat(request.match_info["session"], report)})

    async def _poll(self, request: web.Request) -> web.Response:
        wait_ms = msgspec.json.decode(await request.read(), type=dict[str, int])["wait_ms"]
        return _answer(await self.link.poll(request.match_info["session"], wait_ms))

    async def _reports(self, request: web.Request) -> web.Response:
        reports = msgspec.json.decode(await request.read(), type=list[Report])
        await self.link.report(request.match_info["session"], reports)
        return _answer({})

    async def _leave(self, request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read(), type=dict[str, str] | None) or {}
        await self.link.leave(request.match_info["session"], **body)
        return _answer({})


def _answer(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
