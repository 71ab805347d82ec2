"""The HTTP server of a hub inside the hub's event loop: started when it accepts, stopped without waiting for ever."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp

from ostler.domain.errors import InvalidInputError
from ostler.hub.api import HubApi
from ostler.web.app import build_app

LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_S = 3


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in front of the hub's own routes."""

    wrap: Callable[[ASGIApp], ASGIApp]
    paths: Mapping[str, dict[str, Any]]
    """Its OpenAPI path items."""


class Listener:
    """Serves a hub on an address. Beyond loopback every request needs a token."""

    def __init__(self, hub: HubApi, host: str, port: int, *, front: Front | None = None) -> None:
        self._hub = hub
        self._front = front
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        """Bind and serve. Raises `InvalidInputError` when the address cannot be had."""
        listener = self._bind()
        host, port = listener.getsockname()[:2]
        shown = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
        self.url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        others = self._front.paths if self._front is not None else None
        app: ASGIApp = build_app(self._hub, require_token=self._host not in LOOPBACK, others=others)
        if self._front is not None:
            app = self._front.wrap(app)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            # Nobody asks who a proxy says it is, and each header of an answer costs as much as a step of the decision.
            proxy_headers=False,
            server_header=False,
            http="httptools",
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Accept nothing more, end open answers within the grace. Safe to repeat."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await self._serving
        self._server = self._serving = None

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


class _Server(uvicorn.Server):
    """uvicorn inside somebody else's loop: it takes no signals and says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
