"""Whose endpoints: what is known of the usual providers, and which addresses belong to the user.

Data locality is decided conservatively: an endpoint is local only when its provider is known to run models itself *and*
its address is on the user's own network. A proxy on localhost that forwards to a cloud is not local; neither is Ollama
at a public address. `local: true` overrides both, by a person who knows.

For the same reason the usual key of a provider goes to the provider's own machine only; for another address a person
names the key.
"""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import msgspec

from ostler.domain.catalog import EndpointKind, EndpointSpec

OWN_DOMAINS = (".local", ".lan", ".internal", ".home.arpa", ".localhost")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LOCAL_SLOTS = 1
CLOUD_SLOTS = 4


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What the endpoints of a provider have in common."""

    name: str
    kind: EndpointKind
    base_url: str | None = None
    api_key_env: str | None = None
    local: bool = False
    """Runs models itself, on the machine of its address."""
    local_is_stated: bool = False
    """A person said so, whatever the address."""
    key_host: str | None = None
    """The only machine that the key of `api_key_env` is sent to; `None` = a person named the key, it goes anywhere."""
    slots: int | None = None


def known_providers() -> dict[str, Provider]:
    """The providers that need no declaration, by name."""
    rows = (
        ("ollama", EndpointKind.OLLAMA, "http://localhost:11434", None),
        ("llamacpp", EndpointKind.OPENAI, "http://localhost:8080/v1", None),
        ("vllm", EndpointKind.OPENAI, "http://localhost:8000/v1", None),
        ("anthropic", EndpointKind.ANTHROPIC, "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        ("openai", EndpointKind.OPENAI, "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("google", EndpointKind.OPENAI, "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
        ("deepseek", EndpointKind.OPENAI, "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        ("openrouter", EndpointKind.OPENAI, "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ("groq", EndpointKind.OPENAI, "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    )
    return {
        name: Provider(
            name=name, kind=kind, base_url=url, api_key_env=key, local=key is None, key_host=key and host_of(url)
        )
        for name, kind, url, key in rows
    }


def split_url(url: str) -> SplitResult | None:
    """The parts of an http(s) address with a host, else `None`.

    >>> split_url("https://example.org/hook") is None, split_url("example.org"), split_url("http://a b/hook")
    (False, None, None)
    """
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and len(url.split()) == 1
        usable = named and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, a bracket that is not closed
        return None
    return parts if usable else None


def normal_url(url: str) -> str:
    """One spelling of an address: no slash at the end.

    >>> normal_url("http://box:11434/")
    'http://box:11434'
    """
    return url.strip().rstrip("/")


def same_server(url: str) -> str:
    """A key under which two addresses of one server are equal: names of this machine are one.

    >>> same_server("http://127.0.0.1:11434/") == same_server("http://LOCALHOST:11434")
    True
    """
    parts = urlsplit(normal_url(url))
    default_port = 443 if parts.scheme == "https" else 80
    return f"{host_of(url)}:{parts.port or default_port}{parts.path}"


def host_of(url: str) -> str:
    """The machine of an address; every name of this machine is `localhost`.

    >>> host_of("http://[::1]:8080/v1"), host_of("https://api.example.com")
    ('localhost', 'api.example.com')
    """
    name = urlsplit(url).hostname or ""
    return "localhost" if name in LOOPBACK_NAMES else name


def endpoint_name(provider: str, url: str) -> str:
    """The name of an endpoint that nobody named.

    >>> endpoint_name("ollama", "http://localhost:11434")
    'ollama@localhost:11434'
    """
    return f"{provider}@{urlsplit(url).netloc.lower()}"


def is_own_address(url: str) -> bool:
    """Whether an address is on the user's own machine or network.

    >>> is_own_address("http://gpu-box:11434"), is_own_address("http://10.0.0.4:8000"), is_own_address("https://ollama.com")
    (True, True, False)
    """
    host = host_of(url)
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(OWN_DOMAINS))
    return address.is_private or address.is_loopback or address.is_link_local


def is_local(provider: Provider, url: str) -> bool:
    """Whether data sent to a provider's endpoint at this address stays on machines of the user."""
    if provider.local_is_stated:
        return provider.local
    return provider.local and is_own_address(url)


def endpoint_spec(name: str, provider: Provider, url: str) -> EndpointSpec:
    """An endpoint as its provider makes it."""
    local = is_local(provider, url)
    return EndpointSpec(
        name=name,
        kind=provider.kind,
        url=normal_url(url),
        provider=provider.name,
        host=host_of(url),
        local=local,
        slots=provider.slots or (LOCAL_SLOTS if local else CLOUD_SLOTS),
        api_key_env=provider.api_key_env if provider.key_host in (None, host_of(url)) else None,
    )
