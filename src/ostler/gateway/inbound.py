"""The head and the body of a request, read once; what may not come in is refused here.

A hub on loopback asks for no key, so a web page in the same person's browser must be kept out: a `Host` that is no name
of ours was rebound, an `Origin` of another site is a foreign page. Programs send neither. A content type is not asked
for: clients of Ollama send none, and a page of another site cannot hide its origin when it posts.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from ostler.config.settings import GatewaySettings
from ostler.config.units import size_text
from ostler.domain.errors import InvalidInputError, NotAllowedError, OstlerError
from ostler.domain.sites import host_name, is_loopback, is_same_site
from ostler.gateway.line import Line
from ostler.server.request import BadBodyError, SlowBodyError, TooLargeError

KEY_PREFIX = "ost-"
"""Keys of ours begin so. On loopback any other one is what a client had to be given, and means nothing."""


class BodyTooLargeError(OstlerError):
    """The body is larger than the gateway reads."""

    http_status = 413
    code = "too_large"


class BodyTooSlowError(OstlerError):
    """The body did not come in time."""

    http_status = 408
    code = "body_timeout"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway reads of a request's head."""

    method: str
    path: str
    query: str = ""
    key: str = ""
    """As sent in `Authorization` or `x-api-key`, without the scheme; empty = none."""
    client: str = ""
    address: str = ""
    """Where it comes from."""
    length: int | None = None
    passed: Mapping[str, str] = {}
    """Headers for the endpoint, where it speaks the caller's format."""
    traceparent: str = ""
    """As sent; it may be broken."""
    own: Mapping[str, str] = {}
    """`x-ostler-...` headers by the rest of their name."""


_PASSED = frozenset({b"anthropic-beta", b"anthropic-version", b"openai-beta"})
_OURS = b"x-ostler-"
_NONE: Mapping[str, str] = MappingProxyType({})


class Door:
    """Admits requests by their heads. `hosts` = further names of this hub; `None` = any (then a key is needed)."""

    def __init__(self, hosts: Collection[str] | None = ()) -> None:
        self._hosts = None if hosts is None else frozenset(host.lower().rstrip(".") for host in hosts)
        self._known: set[str] = set()

    def head(self, line: Line) -> Head:
        """The head of a request. Raises `NotAllowedError` for one that a foreign page sends."""
        fields = line.fields
        host, origin = _text(fields, b"host"), _text(fields, b"origin")
        length = fields.get(b"content-length", b"")
        self._check(host, origin)
        return Head(
            method=line.method,
            path=line.path,
            query=line.query.decode("latin-1"),
            key=_bearer(_text(fields, b"authorization")) or _text(fields, b"x-api-key").strip(),
            client=_text(fields, b"user-agent")[:120],
            address=line.client[0] if line.client is not None else "",
            length=int(length) if length.isdigit() else None,
            passed=_passed(fields) if not _PASSED.isdisjoint(fields) else _NONE,
            traceparent=_text(fields, b"traceparent"),
            own=_own(fields),
        )

    def _check(self, host: str, origin: str) -> None:
        if host not in self._known:
            name = host_name(host)
            if self._hosts is not None and not (is_loopback(name) or name in self._hosts):
                raise NotAllowedError(
                    f"this hub does not go by the name '{host}'",
                    where="Host header",
                    remedy="use http://127.0.0.1 with its port, or name this host when the hub is started",
                )
            if len(self._known) < 64:  # noqa: PLR2004 -- names differ by port alone; a bound against made-up ones
                self._known.add(host)
        if origin and not is_same_site(origin, host):
            raise NotAllowedError(
                f"a page of '{origin}' may not call models here",
                where="Origin header",
                remedy="call from a program, or from the hub's own pages",
            )


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode("latin-1")


def _passed(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in fields.items() if name in _PASSED}


def _own(fields: Mapping[bytes, bytes]) -> Mapping[str, str]:
    found = [name for name in fields if name.startswith(_OURS)]
    return {name[len(_OURS) :].decode("latin-1"): _text(fields, name) for name in found} if found else _NONE


def _bearer(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


async def read_body(line: Line, head: Head, settings: GatewaySettings) -> bytes:
    """The whole body. Raises `BodyTooLargeError`, `BodyTooSlowError`, `InvalidInputError`, and `GoneError`."""
    limit_bytes, limit_s = settings.max_body_bytes, settings.body_ms / 1_000
    if head.length is not None and head.length > limit_bytes:
        raise _too_large(limit_bytes)
    try:
        return await line.body(limit_bytes, limit_s)
    except TooLargeError:
        raise _too_large(limit_bytes) from None
    except SlowBodyError:
        remedy = "send faster, or raise gateway.body in the profile"
        message = f"the body had not come whole after {limit_s:g} s"
        raise BodyTooSlowError(message, where="body", remedy=remedy) from None
    except BadBodyError:
        raise InvalidInputError(
            "its framing is broken", where="body", remedy="send it by length or in chunks"
        ) from None


def _too_large(limit_bytes: int) -> BodyTooLargeError:
    remedy = "send less, or raise gateway.max_body in the profile"
    return BodyTooLargeError(f"the body is larger than {size_text(limit_bytes)}", where="body", remedy=remedy)


def own_number(head: Head, name: str) -> float | None:
    """A number in one of our own headers. Raises `InvalidInputError`."""
    text = head.own.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:  # noqa: PLR2004 -- nan and infinity are refused with it
        raise InvalidInputError(f"'{text}' is no number above 0", where=f"x-ostler-{name} header", remedy="say seconds")
    return number


def own_flag(head: Head, name: str) -> bool:
    """A yes or no in one of our own headers; absent = no. Raises `InvalidInputError`."""
    text = head.own.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidInputError(f"'{text}' is neither true nor false", where=f"x-ostler-{name} header", remedy="true")
    return text in ("true", "1")
