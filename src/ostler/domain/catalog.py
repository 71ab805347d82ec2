"""What the profile says exists: tiers (the ladder), models, endpoints and hosts.

Names are normalised here and nowhere else: `x` and `x:latest` are one model. A `Catalog` is valid by construction of
the profile loader: every alias is unambiguous, every tier but `direct` has models, every reference resolves.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ostler.domain.limits import LongPrice, Price

DIRECT = "direct"
"""Rank 0 of every ladder: no model, an explicit command on a worker."""

LATEST = ":latest"


def normal_model(name: str) -> str:
    """The one spelling of a model name.

    >>> normal_model("llama3:latest"), normal_model("qwen2.5:7b"), normal_model(" Mixed/Case ")
    ('llama3', 'qwen2.5:7b', 'Mixed/Case')
    """
    return name.strip().removesuffix(LATEST)


class CostClass(StrEnum):
    """How a tier is paid for."""

    FREE = "free"
    LOCAL = "local"
    METERED = "metered"
    SUBSCRIPTION = "subscription"


class ChoiceRule(StrEnum):
    """How a tier picks among its models."""

    FIRST = "first"
    """In the order given; a later one only when no earlier one can take the task now."""
    BEST = "best"
    """The best score over all of them; they are interchangeable."""


class Capability(StrEnum):
    """What a model can take."""

    TOOLS = "tools"
    VISION = "vision"
    THINKING = "thinking"
    EMBEDDING = "embedding"


class Speeds(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of a model; configured guesses until measured ones replace them."""

    prefill_tokens_per_s: float = 500.0
    decode_tokens_per_s: float = 30.0
    load_s: float = 20.0
    unload_s: float = 10.0
    first_token_ms: int = 0
    """Fixed latency before the first token, the network's share for a cloud."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model by its normalised name."""

    name: str
    aliases: tuple[str, ...] = ()
    context_tokens: int | None = None
    """Window; `None` = unknown, which no context filter refuses but the record says so."""
    memory_bytes: int | None = None
    capabilities: frozenset[Capability] | None = None
    """`None` = unknown: accepted, and the record says so."""
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cache_read_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    reasoning_usd_per_mtok: float | None = None
    request_usd: float = 0.0
    batch_percent: int = 100
    """What work handed in as a batch costs of this."""
    long_above_tokens: int | None = None
    """Prompts above this length are at the next two prices as a whole."""
    long_input_usd_per_mtok: float | None = None
    long_output_usd_per_mtok: float | None = None
    speeds: Speeds = Speeds()

    @property
    def price(self) -> Price | None:
        """What it costs; `None` = nobody said, which is not the same as nothing."""
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        long: tuple[LongPrice, ...] = ()
        if self.long_above_tokens is not None:
            step = LongPrice(
                above_tokens=self.long_above_tokens,
                input=self.long_input_usd_per_mtok,
                output=self.long_output_usd_per_mtok,
            )
            long = (step,)
        return Price(
            input=self.input_usd_per_mtok,
            output=self.output_usd_per_mtok,
            cache_read=self.cache_read_usd_per_mtok,
            cache_write=self.cache_write_usd_per_mtok,
            reasoning=self.reasoning_usd_per_mtok,
            request_usd=self.request_usd,
            batch_percent=self.batch_percent,
            long=long,
        )


class EndpointKind(StrEnum):
    """The wire protocol an endpoint speaks."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Reach(StrEnum):
    """Who can call an endpoint."""

    HUB = "hub"
    """The hub, and so everybody through its gateway."""
    WORKER = "worker"
    """Only workers on its machine, as when it listens on loopback there: for tasks that a worker calls a model for."""


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A place that serves models. `host` joins it with the host reports of a worker on that machine."""

    name: str
    kind: EndpointKind
    url: str
    provider: str
    """Whose it is: `ollama`, `anthropic`, `openai`, `deepseek`...; budgets and `endpoints check` go by it."""
    host: str
    local: bool
    """Data stays on machines of the user: the only kind a `local_only` task may use."""
    slots: int = 1
    """Calls it works on at once; what is beyond waits with us, never in its hidden queue."""
    slots_per_model: Mapping[str, int] = {}
    models: tuple[str, ...] = ()
    """Models it serves as declared; empty = what its listing says."""
    api_key_env: str | None = None
    """Name of the environment variable with its key; the key itself is never stored."""
    enabled: bool = True
    reached_by: Reach = Reach.HUB


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that holds models in memory."""

    name: str
    memory_bytes: int | None = None
    reserve_bytes: int = 0
    max_resident_models: int | None = None
    pinned: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()


class TierSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the ladder. Models are normalised names in order of preference."""

    name: str
    rank: int
    aliases: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    cost: CostClass = CostClass.LOCAL
    choose: ChoiceRule = ChoiceRule.BEST
    providers: tuple[str, ...] = ()
    """Only endpoints of these providers; empty = any."""
    context_tokens: int | None = None
    """Budget of the prompt on this tier (for trimming); not the model's window."""
    max_output_tokens: int = 2048
    max_iterations: int = 8
    enabled: bool = True


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """All that exists by name. `tiers` is the ladder in rank order, `direct` first, disabled ones included."""

    tiers: tuple[TierSpec, ...]
    models: Mapping[str, ModelSpec] = {}
    endpoints: Mapping[str, EndpointSpec] = {}
    hosts: Mapping[str, HostSpec] = {}
    model_aliases: Mapping[str, str] = {}
    """Alias or other spelling -> normalised model name."""
    tier_aliases: Mapping[str, str] = {}
    """Alias -> tier name."""
