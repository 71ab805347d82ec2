"""Names of sites in `Host` and `Origin` headers: what keeps pages of other sites away from a hub on loopback."""

import ipaddress
from functools import lru_cache


def host_name(host: str) -> str:
    """The name in a `Host` header: without port, lower case, without brackets.

    >>> host_name("LocalHost:7433"), host_name("[::1]:80"), host_name("10.0.0.2")
    ('localhost', '::1', '10.0.0.2')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    """Whether a name or address means this machine.

    >>> is_loopback("localhost"), is_loopback("127.8.0.1"), is_loopback("localhost.evil.example"), is_loopback("")
    (True, True, False, False)
    """
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_same_site(origin: str, host: str) -> bool:
    """Whether an `Origin` is the site that was asked: same name and port. `null` never is.

    >>> is_same_site("http://localhost:7433", "localhost:7433"), is_same_site("http://localhost:3000", "localhost:7433")
    (True, False)
    """
    scheme, separator, site = origin.lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and bool(site) and site == host.lower()
