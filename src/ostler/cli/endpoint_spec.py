"""An endpoint as the options of `endpoints add` describe it; what is not said follows from its address."""

import ipaddress
import re
from urllib.parse import urlsplit

from ostler.domain.catalog import EndpointKind, EndpointSpec, normal_model
from ostler.domain.errors import InvalidInputError

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCAL_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa", ".localhost")


def declared(  # noqa: PLR0913 -- one argument for each option
    name: str,
    *,
    kind: str,
    url: str,
    provider: str | None,
    host: str | None,
    local: bool | None,
    slots: int,
    models: tuple[str, ...],
    key_env: str | None,
) -> EndpointSpec:
    """The endpoint. Raises `InvalidInputError` for an address or a variable name that cannot be one."""
    if key_env is not None and not _ENVIRONMENT_NAME.fullmatch(key_env):
        raise InvalidInputError(
            "this is no name of an environment variable",  # it may be the key itself: never repeat it
            where="--key-env",
            remedy="name the variable, such as OPENAI_API_KEY; keep the key itself in the environment",
        )
    machine = host_of(url)
    return EndpointSpec(
        name=name,
        kind=EndpointKind(kind),
        url=url.rstrip("/"),
        provider=provider or kind,
        host=host or machine,
        local=is_own_machine(machine) if local is None else local,
        slots=slots,
        models=tuple(normal_model(model) for model in models),
        api_key_env=key_env,
    )


def host_of(url: str) -> str:
    """The machine in an address. Raises `InvalidInputError`."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise InvalidInputError(f"'{url}' is no address", where="--url", remedy="write it like http://mac-mini:11434")
    if parts.username or parts.password:
        raise InvalidInputError("an address must not hold a key", where="--url", remedy="use --key-env")
    return parts.hostname or ""


def is_own_machine(host: str) -> bool:
    """Whether a host is one of the user's own: loopback, a private network, or a name without a public domain.

    >>> is_own_machine("mac-mini"), is_own_machine("192.168.1.7"), is_own_machine("api.openai.com")
    (True, True, False)
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_SUFFIXES)
    return address.is_private or address.is_loopback
