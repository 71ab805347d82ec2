"""Settings beside the policy: how the hub listens, what a worker may run, budget, context and loop.

Each is a section of the profile, written with the keys that `ostler.config.units.key_of` gives. Defaults are the
documented ones; paths are absolute once a profile is loaded.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ostler.config.observing import AlertSettings, TelemetrySettings
from ostler.domain.alert_rules import Rule
from ostler.domain.limits import LimitsOf, Pace, ScopeKind, UnknownPrice, WindowKind
from ostler.domain.limits import Unit as BudgetUnit
from ostler.domain.loops import ScheduleConfig
from ostler.domain.policy import ContextRule, Policy
from ostler.domain.tasks import TaskKind

AtLeastOne = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Quantile = Annotated[int, Meta(ge=50, le=99)]
Milliseconds = Annotated[int, Meta(ge=1)]
VERSION_CHARS = 12

Port = Annotated[int, Meta(ge=0, le=65_535)]


class HubSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the hub listens and keeps its data."""

    host: str = "127.0.0.1"
    port: Port = 7433
    """0 = any free one."""
    data_dir: str = ""
    """Folder of the hub's own files; empty in a file = the user's data folder."""
    database: str = ""
    """A file (relative to `data_dir`) or the URL of a PostgreSQL database; empty in a file = `ostler.db`."""
    pool: str = "default"
    """Hubs that name the same pool of one PostgreSQL database share its work; others know nothing of it."""
    name: str = ""
    """What this hub is called among those of its pool; empty = its address."""
    advertise: str = ""
    """Where the other hubs of the pool reach this one; empty = where it listens."""
    direct_database: str = ""
    """The same database past a connection pooler, to hear at once when another hub gives up the lead."""
    lease_ms: Annotated[int, Meta(ge=1_000)] = 6_000
    """How long the hub that leads may be silent before another one takes over."""
    requests_per_second: Count = 1_000
    """What one client may ask of the API and the pages, ten seconds of it at once; 0 = any number."""
    max_open_requests: Count = 1_000
    """So many requests of one client may be under way, streams and polls among them; 0 = any number."""
    max_open_tasks: Count = 1_000_000
    """So many tasks may not have ended; 0 = any number."""
    sign_in_failures_per_minute: Count = 10
    """So often an address may present a token that is not valid; 0 = any number of times."""
    keep_tasks_ms: Milliseconds = 90 * 86_400_000
    """How long tasks are kept after they ended, and their batch with them."""


class WorkerSlots(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many attempts of each kind a worker runs at once, where it allows the kind."""

    command: AtLeastOne = 2
    chat: AtLeastOne = 8
    agent: AtLeastOne = 1


class AgentLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a worker ends a run of an agent."""

    first_event_ms: Milliseconds = 420_000
    """Until its first word; the gateway may wait for a turn and load a model before it."""
    silent_ms: Milliseconds = 900_000
    """Without output, without a changed file, without work of the processor."""
    linger_ms: Milliseconds = 20_000
    """How long it may stay after its last word."""
    wall_ms: Milliseconds = 3_600_000
    """A whole run, where the task sets no timeout."""
    output_bytes: AtLeastOne = 512 * 1024 * 1024
    """What it may print."""
    repeats: Annotated[int, Meta(ge=2)] = 8
    """So often in a row the very same action with the very same answer is going round in circles."""
    steps: AtLeastOne | None = None
    """Answers of the model that it may take; `None` = any number."""


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker offers and what it lets a task do. Commands run only where a person allowed them."""

    name: str | None = None
    """`None` = the name of its machine."""
    allow: tuple[TaskKind, ...] = (TaskKind.CHAT,)
    slots: WorkerSlots = WorkerSlots()
    capabilities: tuple[str, ...] = ()
    repos: tuple[str, ...] = ()
    """Repositories it has, by the name that tasks give; `NAME=PATH` says where, which agents need."""
    agents: tuple[str, ...] = ("opencode",)
    """Agent command lines that may run where agents are allowed; the first is for tasks that name none."""
    agent_limits: AgentLimits = AgentLimits()
    adopt_within_ms: int = 30_000
    """How long what a worker runs may outlive its daemon, for the next one to take it up; never longer than the hub
    waits for the worker (`scheduler.session_dead`). 0 = it ends with its daemon."""
    keep_agent_runs: bool = False
    """Keep home, logs and working tree of every agent run that has ended."""
    commands: tuple[str, ...] = ()
    """Patterns of programs a task may start: a bare name, or a path when the pattern has a `/`; `*` = any."""
    cwd_roots: tuple[str, ...] = ()
    """Folders that a command may run in, with all below them; empty = any folder."""
    env: tuple[str, ...] = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR")
    """Patterns of the worker's own variables that a task gets to see."""
    task_env: tuple[str, ...] = ("*",)
    """Patterns of the variables that a task may set for itself."""

    def repo_names(self) -> tuple[str, ...]:
        """Names of the repositories."""
        return tuple(repo.partition("=")[0] for repo in self.repos)

    def repo_paths(self) -> Mapping[str, str]:
        """Where those are of which it is said."""
        said = (repo.partition("=") for repo in self.repos)
        return {name: path or name for name, _, path in said if path or "/" in name}

    def slots_by_kind(self) -> Mapping[TaskKind, int]:
        """Slots of the kinds that are allowed; a kind that is absent is not."""
        every = {
            TaskKind.COMMAND: self.slots.command,
            TaskKind.CHAT: self.slots.chat,
            TaskKind.AGENT: self.slots.agent,
        }
        return {kind: every[kind] for kind in self.allow}


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Agents that tasks may name, and what the hub makes of their runs."""

    folders: tuple[str, ...] = ()
    """Folders with Markdown files, those in them too; the first file of a name counts."""
    max_cost_micro_usd: int | None = None
    """What one run of an agent may cost; `None` = any sum that the budget allows."""
    judge: str | None = None
    """Tier that is asked for its opinion of a run that nothing else can tell of; `None` = nobody is asked."""


class KeyRule(StrEnum):
    """Whether calls of the gateway need a key of ours."""

    AUTO = "auto"
    """Only when the hub listens beyond loopback."""
    ALWAYS = "always"


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How live calls of clients are taken in. Limits bound one call; a caller may ask for shorter ones."""

    enabled: bool = True
    require_key: KeyRule = KeyRule.AUTO
    deadline_ms: Milliseconds = 600_000
    """A whole call, from its coming in to the last byte: what is not done by then is an error."""
    queue_ms: Milliseconds = 120_000
    """How long a call waits for its turn, before it is refused with the reason of its wait."""
    first_token_ms: Milliseconds = 120_000
    """From sending an attempt to the first piece of its answer; loading the model is in it."""
    stall_ms: Milliseconds = 60_000
    """Between two pieces of a streamed answer."""
    whole_ms: Milliseconds = 300_000
    """An answer that is not streamed shows no first piece: from sending an attempt to its end."""
    attempts: AtLeastOne = 3
    """At most so many attempts for one call, on all endpoints together."""
    max_waiting: AtLeastOne = 1_000
    """So many calls may wait at once; the next one is refused at once."""
    max_body_bytes: AtLeastOne = 32 * 1024 * 1024
    body_ms: Milliseconds = 60_000
    """From the head of a request to the end of its body; who sends more slowly is told so, with status 408."""
    store_prompts: bool = False
    """Keep prompts and answers with the records of calls."""
    fallback_wait_ms: int = 0
    """How long a call waits for its tier before it takes the one step of an outage."""
    context_rule: ContextRule = ContextRule.RELOAD
    """What becomes of a call that needs more context than its model is loaded with."""
    keep_calls_ms: Milliseconds = 30 * 86_400_000
    """How long records of calls are kept; what they have cost is kept for good, by key and day."""
    drain_ms: Milliseconds = 30_000
    """When the hub stops: how long answers that have begun may go on."""


class BillingType(StrEnum):
    """How a provider is paid."""

    TOKEN = "token"  # noqa: S105 - a word of the profile, no secret
    SUBSCRIPTION = "subscription"


class LimitSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of its own. Values are in its unit: dollars, tokens or requests."""

    scope: ScopeKind = ScopeKind.ALL
    only: str = ""
    """Empty = each provider, session, ... has the limit for itself."""
    window: WindowKind = WindowKind.MONTH
    time_zone: str | None = None
    """`None` = that of the budget."""
    start: str | None = None
    """First day of a period, `2026-02-01`."""
    end: str | None = None
    """First day that is not in it any more."""
    hours: AtLeastOne | None = None
    """Of a rolling window."""
    unit: BudgetUnit = BudgetUnit.USD
    soft: float | None = None
    hard: float | None = None
    critical: float | None = None
    """Ceiling of critical work; `None` = the hard value."""
    degrade_to: str | None = None


class AllowanceSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a subscription allows in one of its windows."""

    window: WindowKind = WindowKind.MONTH
    time_zone: str | None = None
    start: str | None = None
    end: str | None = None
    hours: AtLeastOne | None = None
    unit: BudgetUnit = BudgetUnit.REQUESTS
    amount: float | None = None
    """`None` = nobody knows: what the provider reports of it counts."""
    model: str | None = None


class ProviderBudgetSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider: a day's budget when it is paid by the token, allowances when it is subscribed to."""

    billing: BillingType = BillingType.TOKEN
    daily_budget_micro_usd: int | None = None
    degrade_percent: Percent = 80
    exhaust_percent: Percent = 95
    priority: int = 100
    """The lower, the earlier it is recommended."""
    pace: Pace = Pace.EVEN
    reserve_percent: Percent = 5
    warn_percent: Percent = 85
    allowances: Mapping[str, AllowanceSection] = {}


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spending limits in micro-dollars; `None` = no such limit, 0 = nothing may be spent."""

    monthly_hard_cap_micro_usd: int | None = 20_000_000
    monthly_soft_cap_micro_usd: int | None = 16_000_000
    """When a file does not say: 80 % of the hard cap."""
    per_session_cap_micro_usd: int | None = 2_000_000
    per_tick_cap_micro_usd: int | None = 100_000
    time_zone: str = "UTC"
    """Whose hours, days and months count."""
    limits: Mapping[str, LimitSection] = {}
    providers: Mapping[str, ProviderBudgetSection] = {}
    unknown_price: UnknownPrice = UnknownPrice.CONSERVATIVE
    conservative_input_usd_per_mtok: float = 15.0
    conservative_output_usd_per_mtok: float = 75.0
    equivalent_model: str | None = None
    """What local work is compared with; `None` = the cheapest cloud model of the profile."""
    output_quantile_percent: Quantile = 90
    pools: LimitsOf = LimitsOf.TOGETHER
    """Whose the limits are, where pools share a database."""


class ContextBudgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompt budgets that tiers refer to by name."""

    small_tokens: AtLeastOne = msgspec.field(default=4_000, name="small")
    moderate_tokens: AtLeastOne = msgspec.field(default=16_000, name="moderate")
    large_tokens: AtLeastOne = msgspec.field(default=64_000, name="large")


class ContextSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a long conversation is kept inside its budget."""

    window_size: AtLeastOne = 30
    """Messages kept besides the system message."""
    compaction_interval: AtLeastOne = 10
    """Older messages are summarised every so many ticks."""
    budget: ContextBudgetSettings = ContextBudgetSettings()


class LoopSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The repeated schedule of an autonomous agent."""

    interval_hours: float = 0
    interval_minutes: float = 30
    max_loops: int = 0
    """0 = without end."""
    ticks_per_loop: AtLeastOne = 15
    max_steps_per_tick: AtLeastOne = 3
    stimulus: str = ""
    auto_pause_on_budget: bool = True
    auto_pause_on_error_streak: int = 5
    """Errors in a row; 0 = never."""
    cron: str = ""
    """When a loop is due; goes before the interval."""
    time_zone: str = "UTC"
    """Whose clock `cron` reads."""
    identical_ticks: int = 2
    """So many equal answers in a row end a loop before its time; 0 = never."""
    catch_up: bool = False
    """Whether loops that fell due while none could run are run late, or counted as skipped."""
    wait_first: bool = False
    """Whether the first loop waits an interval after the start."""

    @property
    def schedule(self) -> ScheduleConfig:
        """What a new loop begins with; the fields are the same."""
        return ScheduleConfig(**msgspec.structs.asdict(self))


class LoadedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that was read, checked whole and resolved."""

    policy: Policy
    worker: WorkerSettings
    agents: AgentSettings = AgentSettings()
    hub: HubSettings
    gateway: GatewaySettings = GatewaySettings()
    alerts: AlertSettings = AlertSettings()
    alert_rules: Mapping[str, Rule] = {}
    """The rules in force, by name."""
    telemetry: TelemetrySettings = TelemetrySettings()
    budget: BudgetSettings
    context: ContextSettings
    agi_loop: LoopSettings
    path: Path
    """The file it was read from; for a built-in profile, the one inside the package."""
    origins: Mapping[str, str]
    """Every effective setting -> `default`, `ostler.yaml:12`, `environment OSTLER_HUB_PORT`, or what implied it."""


def policy_version(policy: Policy) -> str:
    """A short hash of all settings a decision depends on: equal for equal settings, however they are written."""
    bare = msgspec.structs.replace(policy, version="", profile="")
    return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()[:VERSION_CHARS]
