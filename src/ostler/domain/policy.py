"""Settings that the pure core obeys. Defaults are the documented ones; the profile overrides them.

`Policy.version` is a hash of the effective settings and is written into every decision, so that a stored decision can
be told from one made under other rules.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from ostler.domain.catalog import Catalog
from ostler.domain.limits import BudgetPolicy


class Unanswered(StrEnum):
    """What becomes of a question that nobody answered in time and that names no default. It is told in any case."""

    WAIT = "wait"
    """The task goes on waiting for its person."""
    FAIL = "fail"
    """The task fails."""


class FallbackDirection(StrEnum):
    """Where the one step of an outage goes."""

    UP = "up"
    DOWN = "down"
    NONE = "none"


class ScoreWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Factors of the capacity-weighted load score; all are products, 1.0 is neutral."""

    unknown_cpu_percent: float = 50.0
    capacity_unit_gib: float = 16.0
    capacity_max: float = 1.5
    vram_floor: float = 0.8
    vram_span: float = 0.2
    vram_unknown: float = 0.9
    warm: float = 1.15
    affinity: float = 1.05
    affinity_similarity: float = 0.10
    """Affinity acts only when the load factors differ by at most this share."""


class RoutingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` obeys."""

    fallback_wait_ms: int = 5_000
    fallback_direction: FallbackDirection = FallbackDirection.UP
    fallback_by_tier: Mapping[str, FallbackDirection] = {}
    max_availability_steps: int = 1
    max_quality_steps: int = 2
    repeated_error_threshold: int = 3
    unclassified_tier: str = ""
    """Tier of work nobody could classify; empty = the tier of `standard`."""
    complexity_tiers: Mapping[str, str] = {}
    """trivial | standard | complex -> tier name."""
    type_minimums: Mapping[str, str] = {}
    """Task type -> lowest tier that may take it."""
    task_overrides: Mapping[str, str] = {}
    """Task type -> minimum that replaces the one of `type_minimums` and of the complexity."""
    minute_price_usd: float = 0.05
    """What a minute of waiting is worth: joins seconds and dollars in one score."""
    default_output_tokens: int = 400
    """Expected length of an answer until it is learned."""
    report_stale_ms: int = 90_000
    health_stale_ms: int = 120_000
    max_recorded_candidates: int = 64
    weights: ScoreWeights = ScoreWeights()


class SchedulerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler obeys."""

    task_ttl_ms: int = 600_000
    """A queued task expires this long after it became eligible; 0 = never. `direct` work never expires."""
    max_attempts: int = 3
    retry_base_ms: int = 2_000
    retry_cap_ms: int = 60_000
    heartbeat_ms: int = 5_000
    session_dead_ms: int = 60_000
    """A worker that is silent for two heartbeats is suspect and gets nothing new; after this long it is lost, and what
    it held goes to others. The time between is its grace."""
    assign_timeout_ms: int = 60_000
    """An assignment nobody started by then goes back to the queue."""
    stuck_ms: int = 600_000
    """A running attempt without any sign of life for this long is told of; its own time or its worker ends it."""
    owner: str = ""
    """Who answers what needs a person, where the task names nobody."""
    answer_within_ms: int = 0
    """How long an answer of a person is waited for, where the task does not say; then a default that the question
    names is taken. 0 = for ever.
    """
    unanswered: Unanswered = Unanswered.WAIT
    """What becomes of a question without a default when nobody has answered in time."""
    tier_alert_ms: int = 60_000
    tier_alert_cooldown_ms: int = 300_000
    probe_interval_ms: int = 30_000
    probe_timeout_ms: int = 5_000
    failures_to_down: int = 2
    successes_to_up: int = 1
    breaker_failures: int = 3
    breaker_cooldown_ms: int = 30_000
    ramp_start: int = 1
    """Slots an endpoint gets right after it came back; doubles with each success until all are open again."""


class ResidencyPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which models are loaded on hosts whose memory is declared."""

    patience_ms: int = 180_000
    """Work of one model is served until none waits; when work for another one has waited this long without being
    served, it gets its turn all the same."""
    turn_per_change: float = 5.0
    """Patience is at least so many times what a change of models costs (a call that has to end, unload, load), so that
    lost patience never takes more than about one part in six of a host's time; 0 = patience as it is."""
    tool_hold_ms: int = 10_000
    """A model whose reply asked for a tool is kept this long: the agent will be back. Lost patience ends it."""
    min_residence_ms: int = 5_000
    """A model stays at least this long once it is loaded."""
    failed_wait_ms: int = 30_000
    """After a load that failed: how long this model is not loaded on this host."""
    prefetch: bool = True
    """Load ahead for tasks whose needs are all running."""


class ContextRule(StrEnum):
    """What becomes of a live call that needs more context than a model is loaded with."""

    RELOAD = "reload"
    """The engine loads the model anew, with room for it; where it cannot, as `reroute`."""
    REROUTE = "reroute"
    """It goes to another place that has the room."""
    TRIM = "trim"
    """It goes to another place that has the room; where there is none, its oldest turns are left out."""
    ERROR = "error"
    """It is denied, with both figures."""


class GatewayPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What live calls obey beside the rules for all work."""

    fallback_wait_ms: int = 0
    """How long a call waits for its tier before it takes the one step of an outage: nobody waits at a prompt."""
    context_rule: ContextRule = ContextRule.RELOAD


class HistoryRule(StrEnum):
    """What outcomes of the past may do to a decision."""

    OFF = "off"
    """Nothing; they are kept all the same."""
    OBSERVE = "observe"
    """They are shown beside the decision and change nothing."""
    RAW = "raw"
    """They act by the share of successes: above the rate with enough samples, below one quarter."""
    POSTERIOR = "posterior"
    """They act by bounds: the probability that the true rate is above, or below, what is asked."""


class LearningPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How outcomes of the past are read."""

    history: HistoryRule = HistoryRule.OBSERVE
    rate: Annotated[float, msgspec.Meta(ge=0.5, lt=1.0)] = 0.75
    """A tier is good enough for a type above this rate; poor below one half (by `raw`: below what is left to one)."""
    confidence: Annotated[float, msgspec.Meta(ge=0.5, lt=1.0)] = 0.9
    samples_min: Annotated[int, msgspec.Meta(ge=1)] = 3
    """So many outcomes of its own, before a tier is anything."""
    value_usd: Annotated[float, msgspec.Meta(ge=0.0)] = 0.25
    """What a success is worth: a dearer model is taken where what it gains is worth more than it costs more."""
    harm_usd: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """What bad work costs that a check lets pass."""
    explore: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.02
    """Share of the tasks that go where the outcomes would not send them, to find out."""
    explore_usd_day: Annotated[float, msgspec.Meta(ge=0.0)] = 1.0
    """What such tasks may cost on one day (UTC) where they cost more than the best choice."""
    seed: int = 0
    """Which tasks explore is a function of this and their ids."""
    read_types: bool = True
    """Tell types of work by what texts of known types teach; off = by the tables of words alone."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """A choice at one type of work: a tier with those of its models that nothing speaks against, or one model that is
    dominated. Beta(a, b) is what is believed of its success.
    """

    tier: str
    models: tuple[str, ...]
    a: float
    b: float
    trials: int = 0
    """Outcomes of its own at the type."""
    trusted: bool = False
    """Proven good enough, by the bound."""
    poor: bool = False
    """Proven to fail more often than not."""
    cost_micro_usd: int | None = None
    """What it took on average; `None` = nobody measured it."""
    later: tuple[float, float] = (0.0, 0.0)
    """Successes and failures of tries that came after a failed one, faded."""
    dominated_by: str = ""
    said: str = ""
    """The figures, in words."""

    @property
    def name(self) -> str:
        """The tier; of a dominated model, that model on it."""
        return f"{self.tier}/{self.models[0]}" if self.dominated_by else self.tier


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What outcomes say about one type of work."""

    enough: str = ""
    """The cheapest tier that is good enough; empty = none is known to be."""
    poor: tuple[str, ...] = ()
    """Tiers that are not."""
    evidence: Mapping[str, str] = {}
    """Tier -> the figures, in words."""
    arms: tuple[Arm, ...] = ()
    """What there is to choose from, the cheapest tier first; only by `posterior`."""
    false_accept: float = 0.05
    """P(a check accepts | the work is bad), as measured."""
    false_reject: float = 0.05
    """P(a check rejects | the work is good)."""


ANY_TYPE = ""
"""In `Policy.learned`: what outcomes of all types together say, for work of which nobody knows the type."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Catalogue and rules together: all of the profile that a decision depends on."""

    catalog: Catalog
    routing: RoutingPolicy = RoutingPolicy()
    scheduler: SchedulerPolicy = SchedulerPolicy()
    residency: ResidencyPolicy = ResidencyPolicy()
    gateway: GatewayPolicy = GatewayPolicy()
    learning: LearningPolicy = LearningPolicy()
    learned: Mapping[str, Learned] = {}
    """By type of work; set by the hub where history may act, never by the profile."""
    budget: BudgetPolicy = BudgetPolicy()
    version: str = ""
    profile: str = "default"
