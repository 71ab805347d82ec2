"""What the drivers of all wire protocols share: keys, addresses, and probing as a template.

A subclass says how to list (`_listing`), how to put a call on the wire (`_exchange`) and which headers carry the key.
A probe lists and never generates, takes at most `probe_timeout_ms`, and never raises for anything an endpoint does.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import TypeVar

import msgspec

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.domain.states import FailureClass
from ostler.fleet.exchange import HTTP_OK, Exchange, Link, stream_answer
from ostler.fleet.transport import HttpReply, HttpRequest, TransportError, always, origin
from ostler.wire.allowances import reported
from ostler.wire.classify import classify_answer, classify_problem, one_line, redact
from ostler.wire.error_body import looks_like_html

T = TypeVar("T")

_PROBE_STATUS: Mapping[FailureClass, ProbeStatus] = {
    FailureClass.AUTH: ProbeStatus.KEY_INVALID,
    FailureClass.RATE_LIMIT: ProbeStatus.RATE_LIMITED,
    FailureClass.QUOTA: ProbeStatus.RATE_LIMITED,
}
_JSON = {"Content-Type": "application/json"}


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's listings brought. Models are normalised names."""

    models: tuple[str, ...]
    residents: tuple[Resident, ...] | None = None
    context_tokens: Mapping[str, int] = {}
    versions: Mapping[str, str] = {}
    version: str = ""
    message: str = ""


class WireDriver(ABC):
    """A driver over HTTP. Satisfies `EndpointDriver`; `load` and `unload` say by default that it cannot."""

    protocol = ""
    """What messages call a server of this kind."""
    hint = ""
    """What to try when the server is not of this kind."""

    def __init__(self, link: Link, env: Mapping[str, str]) -> None:
        self._link = link
        self._env = env

    @abstractmethod
    def _base(self, url: str) -> str:
        """The address that paths are appended to."""

    @abstractmethod
    def _key_headers(self, key: str) -> dict[str, str]:
        """Headers of every request; `key` is empty when none is configured."""

    @abstractmethod
    async def _listing(self, spec: EndpointSpec) -> Listing:
        """List models. Raises `CallError`."""

    @abstractmethod
    def _exchange(self, spec: EndpointSpec, call: ModelCall) -> Exchange:
        """A call ready to send. Raises `CallError`."""

    async def probe(self, spec: EndpointSpec) -> Probe:
        """See `EndpointDriver.probe`."""
        clock = self._link.clock
        started_us = clock.stopwatch_us()
        timeout_s = self._link.settings.probe_timeout_ms / 1_000
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._listing(spec)
        except CallError as error:
            status = _PROBE_STATUS.get(error.kind, ProbeStatus.UNAVAILABLE)
            return self._probe(spec, status, started_us, message=error.message, retry_after_ms=error.retry_after_ms)
        except TimeoutError:
            late = f"no answer from {origin(spec.url)} within {timeout_s:g} s"
            late_probe = self._probe(spec, ProbeStatus.UNAVAILABLE, started_us, message=late)
            return msgspec.structs.replace(late_probe, timed_out=True)
        return self._probe(spec, ProbeStatus.AVAILABLE, started_us, found, message=found.message)

    def chat(
        self, spec: EndpointSpec, call: ModelCall, may_send: Callable[[], bool] = always
    ) -> AsyncGenerator[Delta | Completion, None]:
        """See `EndpointDriver.chat`."""
        return stream_answer(self._link, lambda: self._exchange(spec, call), may_send)

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:  # noqa: ARG002 -- the port's signature
        """See `EndpointDriver.load`: this kind cannot."""
        return None

    async def unload(self, spec: EndpointSpec, model: str) -> bool:  # noqa: ARG002 -- the port's signature
        """See `EndpointDriver.unload`: this kind cannot."""
        return False

    def _probe(
        self,
        spec: EndpointSpec,
        status: ProbeStatus,
        started_us: int,
        found: Listing | None = None,
        *,
        message: str = "",
        retry_after_ms: int | None = None,
    ) -> Probe:
        clock = self._link.clock
        return Probe(
            endpoint=spec.name,
            status=status,
            at_ms=clock.now_ms(),
            latency_ms=(clock.stopwatch_us() - started_us) // 1_000,
            models=found.models if found else (),
            residents=found.residents if found else None,
            context_tokens=found.context_tokens if found else {},
            versions=found.versions if found else {},
            version=found.version if found else "",
            message=message,
            retry_after_ms=retry_after_ms,
        )

    def _key(self, spec: EndpointSpec) -> str:
        """The key of an endpoint, empty when none is configured. Raises `CallError` that names the variable."""
        name = spec.api_key_env
        if name is None:
            return ""
        key = self._env.get(name, "").strip()
        if not key:
            raise CallError(FailureClass.AUTH, f"no key: the environment variable {name} is not set")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise CallError(
                FailureClass.AUTH, f"the key in {name} has characters that no key has: was it pasted whole?"
            )
        return key

    def address(self, spec: EndpointSpec) -> tuple[str, dict[str, str]]:
        """The address that paths are appended to, and the headers with the key. Raises `CallError` without a key."""
        return self._base(spec.url), self._key_headers(self._key(spec))

    def failed(self, spec: EndpointSpec, reply: HttpReply) -> CallError:
        """The error for an answer other than success, in words that fit the endpoint."""
        return self._failed(spec, reply)

    def secret(self, spec: EndpointSpec) -> str:
        """The key of an endpoint, for keeping it out of texts; empty when none is configured."""
        return self._key(spec)

    def _request(
        self, spec: EndpointSpec, path: str, body: object = None, *, traceparent: str = "", base: str = ""
    ) -> HttpRequest:
        """A request to `path` below `base`, or below the usual one; with a body a POST. Raises `CallError` without a
        key.
        """
        traced = {"traceparent": traceparent} if traceparent else {}
        return HttpRequest(
            method="GET" if body is None else "POST",
            url=(base or self._base(spec.url)) + path,
            headers=self._key_headers(self._key(spec)) | (_JSON if body is not None else {}) | traced,
            body=None if body is None else msgspec.json.encode(body),
            proxied=not spec.local,
        )

    async def _fetch(self, spec: EndpointSpec, path: str, body: object = None, *, base: str = "") -> HttpReply:
        """A whole good answer. Raises `CallError`. The caller bounds the waiting."""
        request = self._request(spec, path, body, base=base)
        try:
            reply = await self._link.transport.fetch(request)
        except TransportError as error:
            fault = classify_problem(error.problem, origin(spec.url), error.detail)
            raise CallError(fault.kind, fault.message) from error
        if reply.status != HTTP_OK:
            raise self._failed(spec, reply)
        return reply

    def _failed(self, spec: EndpointSpec, reply: HttpReply) -> CallError:
        """The error for an answer other than success."""
        now_ms = self._link.clock.now_ms()
        fault = classify_answer(reply.status, reply.headers, reply.body, now_ms)
        message = redact(fault.message, self._key(spec))
        if fault.kind is FailureClass.AUTH:
            message = self._key_refused(spec, message)
        elif fault.kind is FailureClass.MALFORMED:
            message = f"{message}: {self._stranger(spec)}"
        error = CallError(fault.kind, one_line(message), retry_after_ms=fault.retry_after_ms)
        error.allowances = reported(reply.headers, now_ms)
        return error

    async def _json(self, spec: EndpointSpec, path: str, shape: type[T], body: object = None) -> T:
        """A whole good answer decoded. Raises `CallError`, `MALFORMED` for another shape."""
        reply = await self._fetch(spec, path, body)
        try:
            return msgspec.json.decode(reply.body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            page = looks_like_html(reply.body[:200].decode("utf-8", "replace"))
            what = "an HTML page" if page else "something else than expected"
            raise CallError(
                FailureClass.MALFORMED, one_line(f"{path} answered {what}: {self._stranger(spec)}")
            ) from error

    def _stranger(self, spec: EndpointSpec) -> str:
        return f"{origin(spec.url)} does not look like {self.protocol}; {self.hint}"

    def _key_refused(self, spec: EndpointSpec, said: str) -> str:
        if spec.api_key_env is None:
            return f"{origin(spec.url)} wants a key and none is configured (set api_key_env): {said}"
        return f"the key in {spec.api_key_env} was refused: {said}"


@contextlib.asynccontextmanager
async def bounded(timeout_ms: int, late: str) -> AsyncIterator[None]:
    """A block that fails with `TIMEOUT` when it takes too long."""
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            yield
    except TimeoutError:
        raise CallError(FailureClass.TIMEOUT, late) from None
