"""The gateway's face: its paths answered, every other path handed on to the application behind it.

A small dispatcher instead of a framework: these paths are asked thousands of times a second, and each layer costs as
much as the decision. Nothing that goes wrong here leaves a client without an answer in its own format.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import structlog

from ostler.domain.calls import CallError
from ostler.domain.errors import OstlerError
from ostler.gateway.faults import headers_of, of_call, of_ours
from ostler.gateway.inbound import ClientGoneError, Head, Receive, Scope, Send
from ostler.gateway.listing import ROUTES, Listings
from ostler.gateway.outlet import answer_whole
from ostler.gateway.service import Gateway
from ostler.gateway.vectors import FACES, Vectors
from ostler.wire.codec import Fault, Format
from ostler.wire.formats import codec

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[Head, Receive, Send], Awaitable[None]]

TALKS: Mapping[str, Format] = {
    "/v1/chat/completions": Format.OPENAI_CHAT,
    "/v1/responses": Format.OPENAI_RESPONSES,
    "/v1/messages": Format.ANTHROPIC,
    "/api/chat": Format.OLLAMA_CHAT,
    "/api/generate": Format.OLLAMA_GENERATE,
}


class MethodError(OstlerError):
    """A path of the gateway asked with a method that it does not have."""

    http_status = 405
    code = "wrong_method"


class GatewayApp:
    """ASGI application in front of another one."""

    def __init__(self, gateway: Gateway, behind: App) -> None:
        self._gateway = gateway
        self._behind = behind
        self._log = structlog.get_logger("ostler.gateway")
        listings, vectors = Listings(gateway), Vectors(gateway)
        self._others: Mapping[tuple[str, str], tuple[Format, Handler]] = {
            **{key: (route.face, getattr(listings, route.handler)) for key, route in ROUTES.items()},
            **{("POST", path): (face, vectors.answer) for path, (_, face) in FACES.items()},
        }
        asked = sorted({*self._others, *(("POST", path) for path in TALKS)})
        # `/` is the hub's own page for everything but `HEAD`.
        paths = {path for _, path in asked if path != "/"}
        self._methods = {path: tuple(method for method, one in asked if one == path) for path in paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        path = scope["path"]
        asked = TALKS.get(path)
        if asked is not None and scope["method"] == "POST":
            await self._answer(asked, None, scope, receive, send)
            return
        other = self._others.get((scope["method"], path)) or self._below(scope["method"], path)
        if other is not None:
            await self._answer(other[0], other[1], scope, receive, send)
        elif (allowed := self._methods.get(path)) is not None:
            await self._wrong_method(scope["method"], path, allowed, send)
        else:
            await self._behind(scope, receive, send)

    async def _wrong_method(self, method: str, path: str, allowed: tuple[str, ...], send: Send) -> None:
        """The path is ours, and is asked in another way."""
        face = TALKS.get(path) or next(face for (_, one), (face, _) in self._others.items() if one == path)
        names = " or ".join(allowed)
        error = MethodError(f"{path} is asked with {names}, not with {method}", where="method", remedy=f"send {names}")
        await self._refuse(face, of_ours(error), send, {"allow": ", ".join(allowed)})

    def _below(self, method: str, path: str) -> tuple[Format, Handler] | None:
        """Routes whose path goes on with the name of a model."""
        return self._others.get((method, "/v1/models/*")) if path.startswith("/v1/models/") else None

    async def _answer(self, asked: Format, handler: Handler | None, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            head = self._gateway.door.head(scope)
            if handler is None:
                await self._gateway.talk(asked, head, receive, send)
            else:
                await handler(head, receive, send)
        except ClientGoneError:
            return
        except OstlerError as error:
            await self._refuse(asked, of_ours(error), send)
        except CallError as error:
            await self._refuse(asked, of_call(error, ()), send)

    async def _refuse(
        self, asked: Format, fault: Fault, send: Send, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        headers = {"content-type": "application/json", **headers_of(fault), **more}
        await answer_whole(send, fault.status, headers, codec(asked).encode_fault(fault))
