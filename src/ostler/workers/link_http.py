"""A worker's link to a hub on another machine: `HubLink` over HTTP, JSON of the domain's own types.

The hub refuses in its own words, as an error document; anything else that is not the expected answer (no connection, a
cut answer, another server, another version) means that the hub cannot be reached, and is worth another try. The token
is sent and never shown: not in messages, not in `repr`. Redirects are not followed, because the token would follow.
"""

import os
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from ostler.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
    OstlerError,
    UnreachableError,
)
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.work import Poll, Report
from ostler.workers.guard import Farewell

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

CALL_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_OK = 200
_ERROR_BY_CODE = MappingProxyType({kind.code: kind for kind in (NotFoundError, ConflictError)})
_ERROR_BY_STATUS = MappingProxyType(
    {
        400: InvalidInputError,
        401: NotAllowedError,
        403: NotAllowedError,
        409: ConflictError,
        413: InvalidInputError,
        415: InvalidInputError,
        422: InvalidInputError,
    }
)


class _Lease(msgspec.Struct, frozen=True):
    lease_ms: int


class _ErrorBody(msgspec.Struct, frozen=True):
    code: str
    message: str
    where: str = ""
    remedy: str = ""


class _ErrorAnswer(msgspec.Struct, frozen=True):
    error: _ErrorBody


class _Nothing(msgspec.Struct, frozen=True):
    pass


class HttpLink:
    """Speaks to the hub at `base_url` (`http://host:port`, perhaps with a path in front of its routes).

    Raises `InvalidInputError` at once for an address or a token that cannot be one. The methods raise
    `NotFoundError`, `ConflictError`, `NotAllowedError` or `InvalidInputError` when the hub says so, and
    `UnreachableError` for all else.
    """

    def __init__(self, base_url: str, *, token: str = "") -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidInputError(
                f"'{base_url}' is not the address of a hub", where="hub", remedy="give it as http://host:port"
            )
        if not token.isascii() or (token and not token.isprintable()):
            raise InvalidInputError(
                "the token holds characters that no token has", where="token", remedy="copy it again"
            )
        self._base_url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._client: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def farewell(self) -> Farewell:
        """For the companion of a daemon on this link."""
        return Farewell(self._base_url, self._headers.get("Authorization", ""))

    def __repr__(self) -> str:
        return f"HttpLink({self._base_url!r})"

    async def join(self, offer: WorkerOffer) -> Session:
        """Join, or go on with the session that this very daemon has."""
        return await self._post("/hub/workers/join", offer, Session)

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        """Renew the session; returns the lease in milliseconds."""
        lease = await self._post(_route(session_id, "heartbeat"), report, _Lease)
        return lease.lease_ms

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        """Work to start and to stop; the hub holds the request for up to `wait_ms`."""
        timeout_s = wait_ms / 1000 + CALL_TIMEOUT_S
        return await self._post(_route(session_id, "poll"), {"wait_ms": wait_ms}, Poll, timeout_s=timeout_s)

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        """Hand over reports; returns when the hub has them for good."""
        await self._post(_route(session_id, "reports"), list(reports), _Nothing)

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        """End the session."""
        said = ({"life": life} if life else {}) | ({"died": True} if died else {})
        await self._post(_route(session_id, "leave"), said or None, _Nothing)

    async def close(self) -> None:
        """Give back the connections. Safe to repeat; no call can be made after it."""
        self._is_closed = True
        if self._client is not None:
            await self._client.close()

    async def _post(self, path: str, body: object, kind: type[T], *, timeout_s: float = CALL_TIMEOUT_S) -> T:
        import aiohttp  # noqa: PLC0415 -- heavy, and not needed by a worker inside its hub

        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        request = self._session().post(
            self._base_url + path, data=msgspec.json.encode(body), timeout=timeout, allow_redirects=False
        )
        try:
            async with request as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(f"no answer from the hub: {_said(error)}", "is it running there?") from None
        if status != _OK:
            raise self._refusal(status, raw)
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            remedy = "do the hub and this worker have the same version?"
            raise self._unreachable(f"the answer is not what a hub says: {error}", remedy) from None

    def _session(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 -- as above

        if self._is_closed:
            raise UnreachableError("the link was closed", where=self._base_url)
        if self._client is None:
            self._client = aiohttp.ClientSession(headers=self._headers)
        return self._client

    def _refusal(self, status: int, raw: bytes) -> OstlerError:
        try:
            error = msgspec.json.decode(raw, type=_ErrorAnswer).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._unreachable(f"the answer was HTTP {status}, not one of a hub", "check address and port")
        kind = _ERROR_BY_CODE.get(error.code) or _ERROR_BY_STATUS.get(status)
        if kind is None:
            return self._unreachable(f"HTTP {status}: {error.message}", error.remedy)
        return kind(error.message, where=error.where, remedy=error.remedy)

    def _unreachable(self, what: str, remedy: str) -> UnreachableError:
        return UnreachableError(what, where=self._base_url, remedy=remedy)


def _said(error: Exception) -> str:
    """The system's words for what is wrong, which the library has among its own."""
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number > 0:
        return os.strerror(number)
    return str(error) or type(error).__name__


def _route(session_id: str, verb: str) -> str:
    return f"/hub/workers/{quote(session_id, safe='')}/{verb}"
