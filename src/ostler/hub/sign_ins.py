"""Failed sign-ins by address, so that nobody tries tokens and keys by the thousand.

An address may fail `burst` times at once and so many times a minute. After that whatever token comes from it is refused
without being looked up, with one exception: a token that was valid when it came from there before. So one who guesses
behind the same proxy locks nobody out who works already; one who signs in there for the first time has to wait.

No token is kept: those that were valid are remembered as this process's own keyed hash. O(1) for each request.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import structlog

from ostler.domain.errors import OstlerError
from ostler.domain.rates import Buckets

KNOWN_MAX = 10_000
"""Pairs of address and token that are remembered as valid; the one that was not used for longest gives way."""
IPV6_SITE_BITS = 64
"""So many bits of an address of IPv6 are one client: the rest each machine chooses for itself."""


class TooOftenError(OstlerError):
    """A client asks too often. `retry_after_ms`: when it may ask again."""

    http_status = 429
    code = "too_many_requests"

    def __init__(self, what: str, *, where: str, remedy: str, wait_s: float) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.retry_after_ms = max(1, math.ceil(wait_s)) * 1_000


def client_of(address: str) -> str:
    """Who counts as one client: an address, of IPv6 its network.

    >>> client_of("10.0.0.7"), client_of("2001:db8:1:2:3:4:5:6"), client_of("")
    ('10.0.0.7', '2001:db8:1:2::', '')
    """
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> IPV6_SITE_BITS << IPV6_SITE_BITS))


class SignIns:
    """What is known of who tried. `per_min` of 0 = no limit. `refused` is told of each that was not even looked up."""

    def __init__(
        self, per_min: int, now_s: Callable[[], float], refused: Callable[[str], None] = lambda _reason: None
    ) -> None:
        self._failures = Buckets(per_min / 60, per_min)
        self._now_s = now_s
        self._refused = refused
        self._known: OrderedDict[int, None] = OrderedDict()
        self._log = structlog.get_logger("ostler.hub")

    def check(self, address: str, token: str) -> None:
        """Before a token is looked up. Raises `TooOftenError`."""
        if not len(self._failures):
            return
        wait_s = self._failures.wait_s(client_of(address), self._now_s())
        if wait_s > 0 and not self.knows(address, token):
            self._refused("sign_in")
            raise TooOftenError(
                "too many sign-ins from this address have failed",
                where="token",
                remedy=f"try again in {math.ceil(wait_s)} s; hub.sign_in_failures_per_minute says how many may",
                wait_s=wait_s,
            )

    def knows(self, address: str, token: str) -> bool:
        """Whether a token was valid when it came from there before."""
        return hash((address, token)) in self._known

    def passed(self, address: str, token: str) -> None:
        """The token is valid."""
        pair = hash((address, token))
        known = self._known
        known[pair] = None
        known.move_to_end(pair)
        if len(known) > KNOWN_MAX:
            known.popitem(last=False)

    def failed(self, address: str, token: str) -> None:
        """It is not, or not any more."""
        self._known.pop(hash((address, token)), None)
        client, now_s = client_of(address), self._now_s()
        self._failures.take(client, now_s)
        if self._failures.wait_s(client, now_s) > 0:
            self._log.warning("sign-ins from an address fail too often", address=client)


def no_limit() -> SignIns:
    """For who stands before no door of the hub: nothing is ever refused."""
    return SignIns(0, lambda: 0.0)
