"""The HTTP server of a hub inside the hub's event loop: started when it accepts, stopped without waiting for ever."""

import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec

from ostler.app.turnstile import Turnstile
from ostler.config.settings import HubSettings
from ostler.domain.errors import InvalidInputError
from ostler.hub.api import HubApi
from ostler.hub.sign_ins import SignIns
from ostler.server.asgi import App, serve_asgi
from ostler.server.head import header_lines
from ostler.server.request import Request
from ostler.server.serving import Handler, Server
from ostler.web.app import build_app
from ostler.web.serve import Door as WebDoor

LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_S = 3


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in front of the hub's own routes."""

    take: Callable[[Request], Awaitable[None] | None]
    """What answers a request on a path of its own; `None` for any other."""
    paths: Mapping[str, dict[str, Any]]
    """Its OpenAPI path items."""


class Guards(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps one client from taking the hub from all others."""

    sign_ins: SignIns
    turnstile: Turnstile

    @classmethod
    def of(cls, settings: HubSettings, refused: Callable[[str], None] = lambda _reason: None) -> "Guards":
        """Those that a profile wants. `refused` is told of each request that is refused, with the reason."""
        sign_ins = SignIns(settings.sign_in_failures_per_minute, time.monotonic, refused)
        return cls(sign_ins=sign_ins, turnstile=Turnstile(settings, sign_ins, time.monotonic, refused))


class Door:
    """The address of a hub. Its socket is bound once and can be served by one after the other without a gap: whoever
    comes in between waits in the socket's line.
    """

    def __init__(self, host: str, port: int, *, kept: bool = False) -> None:
        self._host = host
        self._port = port
        self.kept = kept
        """Whether it stays open when one of those who serve it stops."""
        self._socket: socket.socket | None = None
        self.url = ""
        """Where it is reached, once it is bound."""
        self.closed_because: Callable[[], str] | None = None
        """Asked before each request, where a hub may have lost the right to answer; empty = it may."""

    @property
    def public(self) -> bool:
        """Whether other machines may come."""
        return self._host not in LOOPBACK

    @property
    def port(self) -> int:
        """The port, once it is bound."""
        return self._port

    def open(self) -> socket.socket:
        """A socket that listens here, the caller's own. Raises `InvalidInputError` when the address cannot be had."""
        if self._socket is None:
            self._socket = self._bind()
            host, self._port = self._socket.getsockname()[:2]
            shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
            self.url = f"http://[{shown}]:{self._port}" if ":" in shown else f"http://{shown}:{self._port}"
        return self._socket.dup()

    def close(self) -> None:
        """Give the address back. Safe to repeat."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named because asyncio turns off Nagle's delay only for sockets that say they are TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            remedy = "stop what listens there, or choose another with --port (0 = any free one)"
            what = f"cannot listen on {self._host}:{self._port}: {error.strerror}"
            raise InvalidInputError(what, where="hub.host, hub.port", remedy=remedy) from None
        return listener


class Listener:
    """Serves a hub on an address. Beyond loopback every request needs a token."""

    def __init__(self, hub: HubApi, door: Door, *, front: Front | None = None, guards: "Guards | None" = None) -> None:
        self._hub = hub
        self._guards = guards or Guards.of(HubSettings())
        self._front = front
        self._door = door
        self._server: Server | None = None
        self.url = ""

    async def start(self) -> None:
        """Bind and serve. Raises `InvalidInputError` when the address cannot be had."""
        listener = self._door.open()
        host, port = listener.getsockname()[:2]
        self.url = self._door.url
        others = self._front.paths if self._front is not None else None
        door = WebDoor(self._guards.sign_ins)
        app = build_app(self._hub, require_token=self._door.public, others=others, door=door)
        handler = _handler(cast("App", app), self._front, (host, port), self._guards.turnstile)
        self._server = Server(_gated(handler, self._door.closed_because))
        await self._server.start(listener)

    async def stop(self) -> None:
        """Accept nothing more, end open answers within the grace. Safe to repeat."""
        if not self._door.kept:
            self._door.close()
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(GRACE_S)


def _handler(app: App, front: Front | None, address: tuple[str, int], turnstile: Turnstile) -> Handler:
    """What is in front answers first; what it does not take is the application's."""

    def own(request: Request) -> Awaitable[None]:
        return turnstile.serve(request, lambda: serve_asgi(app, request, address))

    if front is None:
        return own
    take = front.take

    def handle(request: Request) -> Awaitable[None]:
        taken = take(request)
        return taken if taken is not None else own(request)

    return handle


def _gated(handler: Handler, closed_because: Callable[[], str] | None) -> Handler:
    """Nothing is answered by a hub that another one may have replaced."""
    if closed_because is None:
        return handler
    ask = closed_because

    async def handle(request: Request) -> None:
        reason = ask()
        if reason:
            error = {"code": "no_leader", "type": "NO_LEADER", "message": reason, "remedy": "send it again"}
            lines = header_lines([("content-type", "application/json"), ("retry-after", "1"), ("connection", "close")])
            await request.answer(503, lines, msgspec.json.encode({"error": error}))
            return
        await handler(request)

    return handle
