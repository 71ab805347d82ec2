"""The HTTP server of a hub inside the hub's event loop: started when it accepts, stopped without waiting for ever."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec

from ostler.domain.errors import InvalidInputError
from ostler.hub.api import HubApi
from ostler.server.asgi import App, serve_asgi
from ostler.server.request import Request
from ostler.server.serving import Handler, Server
from ostler.web.app import build_app

LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_S = 3


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in front of the hub's own routes."""

    take: Callable[[Request], Awaitable[None] | None]
    """What answers a request on a path of its own; `None` for any other."""
    paths: Mapping[str, dict[str, Any]]
    """Its OpenAPI path items."""


class Listener:
    """Serves a hub on an address. Beyond loopback every request needs a token."""

    def __init__(self, hub: HubApi, host: str, port: int, *, front: Front | None = None) -> None:
        self._hub = hub
        self._front = front
        self._host = host
        self._port = port
        self._server: Server | None = None
        self.url = ""

    async def start(self) -> None:
        """Bind and serve. Raises `InvalidInputError` when the address cannot be had."""
        listener = self._bind()
        host, port = listener.getsockname()[:2]
        shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
        self.url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        others = self._front.paths if self._front is not None else None
        app = build_app(self._hub, require_token=self._host not in LOOPBACK, others=others)
        self._server = Server(_handler(cast("App", app), self._front, (host, port)))
        await self._server.start(listener)

    async def stop(self) -> None:
        """Accept nothing more, end open answers within the grace. Safe to repeat."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(GRACE_S)

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


def _handler(app: App, front: Front | None, address: tuple[str, int]) -> Handler:
    """What is in front answers first; what it does not take is the application's."""
    if front is None:
        return lambda request: serve_asgi(app, request, address)
    take = front.take

    def handle(request: Request) -> Awaitable[None]:
        taken = take(request)
        return taken if taken is not None else serve_asgi(app, request, address)

    return handle
