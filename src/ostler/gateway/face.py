"""The gateway's face: its paths answered, every other path handed on to the application behind it.

A small dispatcher instead of a framework: these paths are asked thousands of times a second, and each layer costs as
much as the decision. Nothing that goes wrong here leaves a client without an answer in its own format.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from ostler.domain.calls import CallError
from ostler.domain.errors import OstlerError
from ostler.gateway.faults import headers_of, of_call, of_ours
from ostler.gateway.inbound import Head
from ostler.gateway.line import Line
from ostler.gateway.listing import ROUTES, Listings
from ostler.gateway.outlet import answer_whole
from ostler.gateway.service import Gateway
from ostler.gateway.vectors import FACES, Vectors
from ostler.wire.codec import Fault, Format
from ostler.wire.formats import codec

Handler = Callable[[Head, Line], Awaitable[None]]

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


class Face:
    """Takes requests on the gateway's own paths."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        listings, vectors = Listings(gateway), Vectors(gateway)
        self._others: Mapping[tuple[str, str], tuple[Format, Handler]] = {
            **{key: (route.face, getattr(listings, route.handler)) for key, route in ROUTES.items()},
            **{("POST", path): (face, vectors.answer) for path, (_, face) in FACES.items()},
        }
        asked = sorted({*self._others, *(("POST", path) for path in TALKS)})
        # `/` is the hub's own page for everything but `HEAD`.
        paths = {path for _, path in asked if path != "/"}
        self._methods = {path: tuple(method for method, one in asked if one == path) for path in paths}

    def take(self, line: Line) -> Awaitable[None] | None:
        """What answers a request; `None` = it is on a path of somebody else."""
        method, path = line.method, line.path
        asked = TALKS.get(path)
        if asked is not None and method == "POST":
            return self._answer(asked, None, line)
        other = self._others.get((method, path)) or self._below(method, path)
        if other is not None:
            return self._answer(other[0], other[1], line)
        allowed = self._methods.get(path)
        return self._wrong_method(line, allowed) if allowed is not None else None

    async def _wrong_method(self, line: Line, allowed: tuple[str, ...]) -> None:
        """The path is ours, and is asked in another way."""
        method, path = line.method, line.path
        face = TALKS.get(path) or next(face for (_, one), (face, _) in self._others.items() if one == path)
        names = " or ".join(allowed)
        error = MethodError(f"{path} is asked with {names}, not with {method}", where="method", remedy=f"send {names}")
        await self._refuse(face, of_ours(error), line, {"allow": ", ".join(allowed)})

    def _below(self, method: str, path: str) -> tuple[Format, Handler] | None:
        """Routes whose path goes on with the name of a model."""
        return self._others.get((method, "/v1/models/*")) if path.startswith("/v1/models/") else None

    async def _answer(self, asked: Format, handler: Handler | None, line: Line) -> None:
        head: Head | None = None
        try:
            head = self._gateway.door.head(line)
            if handler is None:
                await self._gateway.talk(asked, head, line)
            else:
                await handler(head, line)
        except OstlerError as error:
            if handler is None or line.path in FACES:
                self._gateway.refused(line.path, head, error)
            await self._refuse(asked, of_ours(error), line)
        except CallError as error:
            await self._refuse(asked, of_call(error, ()), line)

    async def _refuse(
        self, asked: Format, fault: Fault, line: Line, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        headers = {"content-type": "application/json", **headers_of(fault), **more}
        await answer_whole(line, fault.status, headers, codec(asked).encode_fault(fault))
