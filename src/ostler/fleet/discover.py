"""What `ostler up` finds without a profile: model servers on this machine, and keys in the environment.

Looks at Ollama (`OLLAMA_HOST`, else its default port), llama.cpp (8080) and vLLM (8000), all at once and for half a
second at most. Cloud providers are never contacted: a key in the environment is no permission to spend, so they are
listed apart, for the user to take into a profile. Every place looked at gives one plain line, found or not.
"""

import asyncio
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.clock import Clock
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import is_loopback, origin

TIMEOUT_MS = 500
SHOWN_MODELS = 5
CLOUD_SLOTS = 8
VLLM_SLOTS = 8
"""vLLM answers many calls in one batch; one at a time would waste it."""
_OWN_SUFFIXES = (".local", ".lan", ".home.arpa", ".internal", ".ts.net")
_ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- recognised, never bound


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the servers listen unless told otherwise."""

    ollama: int = 11_434
    llamacpp: int = 8_080
    vllm: int = 8_000


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `endpoints` answered and can be used; `cloud` have a key and were not contacted."""

    endpoints: tuple[EndpointSpec, ...]
    cloud: tuple[EndpointSpec, ...]
    probes: Mapping[str, Probe]
    """By endpoint name, of everything that was looked at."""
    lines: tuple[str, ...]
    """One for each place, readable as they are."""

    @property
    def models(self) -> tuple[str, ...]:
        """Models that can be used now, each once, in the order found."""
        return tuple(dict.fromkeys(model for spec in self.endpoints for model in self.probes[spec.name].models))


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    spec: EndpointSpec
    title: str
    start: str
    """How to get one running there."""
    empty: str
    """What to do when it offers no model."""
    key_env: str


class _Cloud(msgspec.Struct, frozen=True):
    key_env: str
    provider: str
    title: str
    url: str
    kind: EndpointKind = EndpointKind.OPENAI


_CLOUDS = (
    _Cloud("ANTHROPIC_API_KEY", "anthropic", "Anthropic", "https://api.anthropic.com", EndpointKind.ANTHROPIC),
    _Cloud("OPENAI_API_KEY", "openai", "OpenAI", "https://api.openai.com/v1"),
    _Cloud("DEEPSEEK_API_KEY", "deepseek", "DeepSeek", "https://api.deepseek.com/v1"),
    _Cloud("OPENROUTER_API_KEY", "openrouter", "OpenRouter", "https://openrouter.ai/api/v1"),
    _Cloud("GEMINI_API_KEY", "google", "Google Gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
    _Cloud("GROQ_API_KEY", "groq", "Groq", "https://api.groq.com/openai/v1"),
    _Cloud("MISTRAL_API_KEY", "mistral", "Mistral", "https://api.mistral.ai/v1"),
    _Cloud("OPENCODE_API_KEY", "opencode", "OpenCode Zen", "https://opencode.ai/zen/v1"),
)


async def discover(
    env: Mapping[str, str], clock: Clock, *, host: str, ports: Ports | None = None, timeout_ms: int = TIMEOUT_MS
) -> Discovery:
    """Look around, within `timeout_ms` for all places together. `host` is the name of this machine."""
    places = _places(env, host, ports or Ports())
    limits = DriverSettings(connect_timeout_ms=timeout_ms, probe_timeout_ms=timeout_ms)
    drivers = DriverSet(env, clock, limits)
    try:
        probes = await asyncio.gather(*(drivers.probe(place.spec) for place in places))
    finally:
        await drivers.close()
    found: list[EndpointSpec] = []
    lines: list[str] = []
    for place, result in zip(places, probes, strict=True):
        # Ollama speaks the compatible protocol too: one server is one endpoint.
        taken = next((spec for spec in found if origin(spec.url) == origin(place.spec.url)), None)
        if taken is not None:
            continue
        if result.status is ProbeStatus.AVAILABLE:
            found.append(place.spec)
        lines.append(_line(place, result))
    cloud = tuple(_cloud_spec(entry) for entry in _CLOUDS if env.get(entry.key_env, "").strip())
    return Discovery(
        endpoints=tuple(found),
        cloud=cloud,
        probes={place.spec.name: result for place, result in zip(places, probes, strict=True)},
        lines=(*lines, *_cloud_lines(env)),
    )


def ollama_url(setting: str, default_port: int = 11_434) -> str:
    """The address in `OLLAMA_HOST`, read as Ollama's own client reads it.

    >>> ollama_url(""), ollama_url("box"), ollama_url("0.0.0.0:9999"), ollama_url("https://box.example")
    ('http://127.0.0.1:11434', 'http://box:11434', 'http://127.0.0.1:9999', 'https://box.example:443')
    """
    text = setting.strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    port = {"http": 80, "https": 443}.get(scheme, default_port) if separator else default_port
    address = rest.rstrip("/").split("/", 1)[0]
    name, given = _split_port(address)
    if given is not None and 0 < given < 65_536:  # noqa: PLR2004 -- a port
        port = given
    # The server may be told to listen on every address; a client cannot connect to that.
    name = "127.0.0.1" if name in _ANY_ADDRESS else name
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"


def is_own_network(url: str) -> bool:
    """Whether an address is in the user's own network, as far as it tells. A name that could be public is not.

    >>> is_own_network("http://10.0.0.7:11434"), is_own_network("http://box:11434"), is_own_network("https://ollama.com")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_OWN_SUFFIXES))


def _split_port(address: str) -> tuple[str, int | None]:
    """Host and port, if a port is given; IPv6 addresses with or without brackets."""
    if address.startswith("["):
        name, _, tail = address[1:].partition("]")
        return name, _port(tail.removeprefix(":"))
    name, separator, port = address.rpartition(":")
    if not separator or ":" in name:
        return address, None
    return name, _port(port)


def _port(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _places(env: Mapping[str, str], host: str, ports: Ports) -> tuple[_Place, ...]:
    url = ollama_url(env.get("OLLAMA_HOST", ""), ports.ollama)
    slots = env.get("OLLAMA_NUM_PARALLEL", "")
    ollama = EndpointSpec(
        name="ollama",
        kind=EndpointKind.OLLAMA,
        url=url,
        provider="ollama",
        host=host if is_loopback(url) else urlsplit(url).hostname or host,
        local=is_own_network(url),
        slots=int(slots) if slots.isdecimal() and int(slots) > 0 else 1,
        api_key_env=_set_key(env, "OLLAMA_API_KEY"),
    )
    return (
        _Place(
            spec=ollama,
            title="Ollama",
            start="start it with 'ollama serve', or set OLLAMA_HOST if it runs elsewhere",
            empty="pull one, for example 'ollama pull qwen3:4b'",
            key_env="OLLAMA_API_KEY",
        ),
        _Place(
            spec=_compatible("llamacpp", ports.llamacpp, host, env, "LLAMA_API_KEY"),
            title="llama.cpp",
            start=f"start it with 'llama-server -m MODEL.gguf --port {ports.llamacpp}'",
            empty="start it with '-m MODEL.gguf'",
            key_env="LLAMA_API_KEY",
        ),
        _Place(
            spec=_compatible("vllm", ports.vllm, host, env, "VLLM_API_KEY", VLLM_SLOTS),
            title="vLLM",
            start=f"start it with 'vllm serve MODEL --port {ports.vllm}'",
            empty="start it with 'vllm serve MODEL'",
            key_env="VLLM_API_KEY",
        ),
    )


def _compatible(name: str, port: int, host: str, env: Mapping[str, str], key_env: str, slots: int = 1) -> EndpointSpec:
    return EndpointSpec(
        name=name,
        kind=EndpointKind.OPENAI,
        url=f"http://127.0.0.1:{port}",
        provider=name,
        host=host,
        local=True,
        slots=slots,
        api_key_env=_set_key(env, key_env),
    )


def _set_key(env: Mapping[str, str], name: str) -> str | None:
    return name if env.get(name, "").strip() else None


def _cloud_spec(entry: _Cloud) -> EndpointSpec:
    return EndpointSpec(
        name=entry.provider,
        kind=entry.kind,
        url=entry.url,
        provider=entry.provider,
        host=entry.provider,
        local=False,
        slots=CLOUD_SLOTS,
        api_key_env=entry.key_env,
    )


def _line(place: _Place, result: Probe) -> str:
    where = f"{place.title} at {origin(place.spec.url)}"
    if result.status is ProbeStatus.KEY_INVALID:
        return f"{where} wants a key: set {place.key_env} ({result.message})"
    if result.status is not ProbeStatus.AVAILABLE:
        return f"no {where}: {place.start} ({result.message})"
    if not result.models:
        return f"{where} offers no model: {place.empty}"
    names = ", ".join(result.models[:SHOWN_MODELS]) + (", ..." if len(result.models) > SHOWN_MODELS else "")
    loaded = "" if result.residents is None else f", {len(result.residents)} loaded"
    noun = "model" if len(result.models) == 1 else "models"
    return f"{where}: {len(result.models)} {noun}{loaded} ({names})"


def _cloud_lines(env: Mapping[str, str]) -> Iterable[str]:
    keys = [entry for entry in _CLOUDS if env.get(entry.key_env, "").strip()]
    for entry in keys:
        yield f"{entry.key_env} is set: {entry.title} was not contacted; it is used when a profile names it"
    if not keys:
        yield "no cloud key in the environment (looked for " + ", ".join(entry.key_env for entry in _CLOUDS) + ")"
