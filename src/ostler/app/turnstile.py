"""How often, and how often at once, one client may ask the hub's own API and pages. Calls of the gateway do not pass
here: they have their slots, their line and the limits of their keys.

A client is a token that was valid when it came from its address before; for what a worker asks, the session it asks
for; for everything else an address. Refused requests cost no look-up, no decoding and none of the application: they are
answered with 429 and `Retry-After`. `/healthz` always passes. Two dictionaries and one hash for each request.
"""

import math
from collections.abc import Awaitable, Callable

import msgspec

from ostler.config.settings import HubSettings
from ostler.domain.rates import Buckets
from ostler.hub.sign_ins import SignIns, TooOftenError, client_of
from ostler.server.head import header_lines
from ostler.server.request import Request
from ostler.web.errors import JSON, error_answer

BURST_S = 10
"""A client that rested may ask at once what it may ask in so many seconds."""
_WORKERS = "/hub/workers/"
_ALWAYS = "/healthz"


class Turnstile:
    """Counts requests of each client. `refused` is told of each one that does not pass."""

    def __init__(
        self, settings: HubSettings, sign_ins: SignIns, now_s: Callable[[], float], refused: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._sign_ins = sign_ins
        self._now_s = now_s
        self._refused = refused
        self._buckets = Buckets(settings.requests_per_second, settings.requests_per_second * BURST_S)
        self._open: dict[str, int] = {}
        """Requests under way, by client."""

    async def serve(self, request: Request, go: Callable[[], Awaitable[None]]) -> None:
        """Let a request through, or refuse it."""
        if request.path == _ALWAYS:
            await go()
            return
        client = self._client(request)
        refusal = self._refusal(client)
        if refusal is not None:
            await self._refuse(request, refusal)
            return
        self._open[client] = self._open.get(client, 0) + 1
        try:
            await go()
        finally:
            left = self._open[client] - 1
            if left:
                self._open[client] = left
            else:
                del self._open[client]

    def _refusal(self, client: str) -> TooOftenError | None:
        most = self._settings.max_open_requests
        if most and self._open.get(client, 0) >= most:
            return self._told(
                "open_requests",
                f"{most} requests of this client are under way, as many as may be",
                remedy="end some of them, or raise hub.max_open_requests",
                wait_s=1.0,
            )
        wait_s = self._buckets.take(client, self._now_s())
        if wait_s:
            return self._told(
                "rate",
                f"more than {self._settings.requests_per_second} requests a second of one client",
                remedy=f"try again in {math.ceil(wait_s)} s, send more at once, or raise hub.requests_per_second",
                wait_s=wait_s,
            )
        return None

    def _told(self, reason: str, what: str, *, remedy: str, wait_s: float) -> TooOftenError:
        self._refused(reason)
        return TooOftenError(what, where="client", remedy=remedy, wait_s=wait_s)

    async def _refuse(self, request: Request, error: TooOftenError) -> None:
        wait_s = str(error.retry_after_ms // 1_000)
        lines = header_lines([("content-type", JSON), ("retry-after", wait_s)])
        await request.answer(error.http_status, lines, msgspec.json.encode(error_answer(error)))

    def _client(self, request: Request) -> str:
        """Whose request it is. What a client may choose freely is no part of it."""
        address = request.client[0] if request.client is not None else ""
        said = request.fields.get(b"authorization")
        if said is not None:
            token = said.decode("latin-1").partition(" ")[2].strip()
            if self._sign_ins.knows(address, token):
                path = request.path
                session = path[len(_WORKERS) :].partition("/")[0] if path.startswith(_WORKERS) else ""
                return f"{hash(token)} {hash(session)}"
        return client_of(address)
