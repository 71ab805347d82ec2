"""The profile as it is written: one struct for each mapping of the YAML file.

A key is the attribute without its unit (see `ostler.config.units`). What is absent keeps its default here; what a
default depends on other settings (cost of a tier, endpoints a tier implies, ...) stays `None` and is filled in by
`ostler.config.resolve`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from ostler.config.observing import AlertSettings, TelemetrySettings
from ostler.config.settings import (
    AgentSettings,
    AtLeastOne,
    BudgetSettings,
    ContextSettings,
    GatewaySettings,
    HubSettings,
    LoopSettings,
    Percent,
    WorkerSettings,
)
from ostler.domain.catalog import Capability, ChoiceRule, CostClass, EndpointKind, Reach, Speeds
from ostler.domain.policy import FallbackDirection, LearningPolicy, ResidencyPolicy, SchedulerPolicy, ScoreWeights


class ContextSize(StrEnum):
    """A prompt budget of `context.budget`, by name."""

    SMALL = "small"
    MODERATE = "moderate"
    LARGE = "large"


class TierSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of the ladder. `provider`, `model` and `base_url` together imply a model and an endpoint."""

    aliases: tuple[str, ...] = ()
    rank: AtLeastOne | None = None
    provider: str | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    base_url: str | None = None
    providers: tuple[str, ...] = ()
    cost: CostClass | None = None
    choose: ChoiceRule = ChoiceRule.BEST
    context_tokens: AtLeastOne | ContextSize | None = None
    max_output_tokens: AtLeastOne = 2048
    max_iterations: AtLeastOne = 8
    enabled: bool = True


class ComplexitySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tier takes which complexity."""

    trivial: str | None = None
    standard: str | None = None
    complex: str | None = None


class FallbackSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when a tier is unavailable."""

    wait_ms: int = 5_000
    direction: FallbackDirection = FallbackDirection.UP
    by_tier: Mapping[str, FallbackDirection] = {}


class RoutingSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ladder and the rules on it."""

    enabled: bool = True
    tiers: Mapping[str, TierSection] = {}
    complexity: ComplexitySection = ComplexitySection()
    unclassified: str | None = None
    type_minimums: Mapping[str, str] = {}
    task_overrides: Mapping[str, str] = {}
    fallback: FallbackSection = FallbackSection()
    max_availability_steps: Annotated[int, Meta(ge=0, le=1)] = 1
    max_quality_steps: Annotated[int, Meta(ge=0, le=2)] = 2
    repeated_error_threshold: AtLeastOne = 3
    minute_price_usd: float = 0.05
    default_output_tokens: AtLeastOne = 400
    report_stale_ms: AtLeastOne = 90_000
    health_stale_ms: AtLeastOne = 120_000
    max_recorded_candidates: AtLeastOne = 64
    weights: ScoreWeights = ScoreWeights()


class ProviderSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose endpoints: what they have in common. A known provider needs none of this."""

    kind: EndpointKind | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    local: bool | None = None
    slots: AtLeastOne | None = None


class EndpointSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that serves models."""

    provider: str | None = None
    kind: EndpointKind | None = None
    url: str | None = None
    host: str | None = None
    local: bool | None = None
    slots: AtLeastOne | None = None
    slots_per_model: Mapping[str, AtLeastOne] = {}
    models: tuple[str, ...] = ()
    api_key_env: str | None = None
    enabled: bool = True
    reached_by: Reach = Reach.HUB


class ModelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a model."""

    provider: str | None = None
    aliases: tuple[str, ...] = ()
    context_tokens: AtLeastOne | None = None
    memory_bytes: AtLeastOne | None = None
    capabilities: frozenset[Capability] | None = None
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cache_read_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    reasoning_usd_per_mtok: float | None = None
    request_usd: float = 0.0
    batch_percent: Percent = 100
    """What work handed in as a batch costs of this."""
    long_above_tokens: AtLeastOne | None = None
    """Prompts above this length are at the next two prices as a whole."""
    long_input_usd_per_mtok: float | None = None
    long_output_usd_per_mtok: float | None = None
    speeds: Speeds = Speeds()


class HostSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that holds models in memory."""

    memory_bytes: AtLeastOne | None = None
    reserve_bytes: int = 0
    max_resident_models: AtLeastOne | None = None
    pinned: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()


class ProfileFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    name: str | None = None
    extends: str | None = None
    routing: RoutingSection = RoutingSection()
    providers: Mapping[str, ProviderSection] = {}
    endpoints: Mapping[str, EndpointSection] = {}
    models: Mapping[str, ModelSection] = {}
    hosts: Mapping[str, HostSection] = {}
    scheduler: SchedulerPolicy = SchedulerPolicy()
    residency: ResidencyPolicy = ResidencyPolicy()
    worker: WorkerSettings = WorkerSettings()
    agents: AgentSettings = AgentSettings()
    hub: HubSettings = HubSettings()
    gateway: GatewaySettings = GatewaySettings()
    learning: LearningPolicy = LearningPolicy()
    budget: BudgetSettings = BudgetSettings()
    alerts: AlertSettings = AlertSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    context: ContextSettings = ContextSettings()
    agi_loop: LoopSettings = LoopSettings()
