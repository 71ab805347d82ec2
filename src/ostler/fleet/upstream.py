"""Requests of the gateway handed to endpoints as they are: address, key, connection; failures classified.

Servers on plain HTTP that need no proxy are reached by the small client (`fleet.http1`), all others by the general one
(`fleet.transport`); both look alike from here on.
"""

import asyncio

from ostler.domain.calls import CallError, UpstreamRequest
from ostler.domain.catalog import EndpointSpec
from ostler.domain.ports import UpstreamAnswer
from ostler.domain.states import FailureClass
from ostler.fleet.driver import WireDriver
from ostler.fleet.drivers import DriverSet
from ostler.fleet.http1 import PlainAnswer, Pool
from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import (
    MAX_ERROR_BODY_BYTES,
    HttpReply,
    HttpRequest,
    HttpStream,
    Transport,
    TransportError,
    is_loopback,
    origin,
)
from ostler.wire.classify import classify_problem, redact
from ostler.wire.sse import malformed

_GOOD = range(200, 300)
ERROR_BODY_S = 10.0
"""How long the body of an error may take; its status is enough to go on."""


class UpstreamSet:
    """Satisfies `domain.ports.Upstream` for every kind of endpoint. Belongs to one event loop; close it."""

    def __init__(self, drivers: DriverSet, settings: DriverSettings | None = None) -> None:
        self._drivers = drivers
        self._settings = settings or DriverSettings()
        self._pool = Pool(self._settings)
        self._transport = Transport(self._settings)

    async def send(self, spec: EndpointSpec, request: UpstreamRequest) -> UpstreamAnswer:
        """See `Upstream.send`."""
        driver = self._drivers.of(spec.kind)
        base, headers = driver.address(spec)
        headers |= request.headers
        try:
            answer: PlainAnswer | GeneralAnswer
            if self._is_plain(spec):
                answer = await self._pool.post(base, request.path, headers, request.body)
            else:
                answer = await GeneralAnswer.open(self._transport, _general(spec, base, headers, request))
        except TransportError as error:
            raise _broken(spec, error) from error
        if answer.status in _GOOD and not answer.headers.get("content-type", "").startswith("text/html"):
            return _Guarded(spec, answer)
        try:
            raise await _refusal(driver, spec, answer)
        finally:
            answer.close()

    def _is_plain(self, spec: EndpointSpec) -> bool:
        if not spec.url.startswith("http://"):
            return False
        return spec.local or self._settings.proxy_url is None or is_loopback(spec.url)

    async def close(self) -> None:
        """See `Upstream.close`."""
        self._pool.close()
        await self._transport.close()


class GeneralAnswer:
    """An answer by the general client."""

    def __init__(self, stream: HttpStream) -> None:
        self._stream = stream
        self.status = stream.status
        self.headers = stream.headers

    @classmethod
    async def open(cls, transport: Transport, request: HttpRequest) -> "GeneralAnswer":
        """Send and wait for the head. Raises `TransportError`."""
        return cls(await transport.open(request))

    async def read(self) -> bytes:
        """What has arrived; `b""` at the end. Raises `TransportError`."""
        return await self._stream.read()

    def close(self) -> None:
        """See `UpstreamAnswer.close`."""
        self._stream.close()


class _Guarded:
    """A good answer whose breaking off is told in the words of the domain."""

    __slots__ = ("_answer", "_spec", "headers", "status")

    def __init__(self, spec: EndpointSpec, answer: "PlainAnswer | GeneralAnswer") -> None:
        self._spec = spec
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers

    async def read(self) -> bytes:
        try:
            return await self._answer.read()
        except TransportError as error:
            raise _broken(self._spec, error) from error

    def close(self) -> None:
        self._answer.close()


def _general(spec: EndpointSpec, base: str, headers: dict[str, str], request: UpstreamRequest) -> HttpRequest:
    json = {"Content-Type": "application/json"}
    return HttpRequest(
        method="POST", url=base + request.path, headers=headers | json, body=request.body, proxied=not spec.local
    )


def _broken(spec: EndpointSpec, error: TransportError) -> CallError:
    fault = classify_problem(error.problem, origin(spec.url), error.detail)
    return CallError(fault.kind, fault.message)


async def _refusal(driver: WireDriver, spec: EndpointSpec, answer: "PlainAnswer | GeneralAnswer") -> CallError:
    """The error for an answer that is none."""
    if answer.status in _GOOD:
        page = malformed("the endpoint answered an HTML page", b"")
        page.unworked = True
        return page
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            while size < MAX_ERROR_BODY_BYTES and (chunk := await answer.read()):
                parts.append(chunk)
                size += len(chunk)
    except (TransportError, TimeoutError):
        pass  # the status says enough
    body = b"".join(parts)[:MAX_ERROR_BODY_BYTES]
    error = driver.failed(spec, HttpReply(status=answer.status, headers=answer.headers, body=body))
    error.status = answer.status
    if error.kind is not FailureClass.AUTH:
        error.body = redact(body.decode("utf-8", "replace"), driver.secret(spec)).encode()
    return error
