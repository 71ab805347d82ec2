"""The immutable record of why a task runs where it runs, or why it does not run yet.

The record alone must answer "why": every change of tier with its cause, every candidate with every term of its score,
every rejected one with a reason. Equal inputs give equal records; nothing in it is measured by a clock.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ostler.domain.catalog import CostClass
from ostler.domain.ledger import Scopes
from ostler.domain.limits import Limit
from ostler.domain.states import Wait
from ostler.domain.tasks import Classification, ErrorCount, TaskFacts


class RouteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The question put to `decide`: the task's facts and what its life so far adds to them."""

    facts: TaskFacts
    now_ms: int
    queued_ms: int
    """When it last entered the queue; the fallback wait counts from here or from the outage, whichever is later."""
    generation: int = 0
    quality_steps: int = 0
    errors: tuple[ErrorCount, ...] = ()
    excluded: tuple[str, ...] = ()
    """Endpoint names, or `endpoint/model`, that the last attempt failed on."""
    model_step: int = 0
    """So many of its models (the pinned one, then `fallback_models`) have failed."""
    tried: tuple[str, ...] = ()
    """How they failed, in words, the newest last."""
    handed_tokens: int = 0
    """Estimated length of the results that become part of its prompt."""
    full_models: tuple[str, ...] = ()
    """Models that as many tasks of its batch use as may: no place of theirs is free for it."""
    unreached: frozenset[str] = frozenset()
    """Endpoints at an address that only workers of their own machine reach, none of which could run it now."""
    planned: tuple[str, ...] = ()
    """Endpoints of the host where a plan in force has it: others are looked at only while none of these can be used."""
    charged: Scopes | None = None
    """Whose a live call is: its key, and the task that its key belongs to with its batch, session and tick; `None` = as
    the facts say.
    """
    limits: tuple[Limit, ...] = ()
    """Limits that hold for it beside those of the profile: its key's own."""
    live: bool = False
    """Somebody waits at the other end: where it failed is not tried again, the wait for a fallback is that of the
    gateway, and no worker's own access is a way out."""


class TargetType(StrEnum):
    """What kind of place runs it."""

    DIRECT = "direct"
    """A worker runs the command; no model."""
    LOCAL = "local"
    """A model on a machine of the user."""
    CLOUD = "cloud"
    WORKER = "worker"
    """No endpoint is registered: any capable worker, with the model access of its own."""


class Cause(StrEnum):
    """Why the tier was changed on the way; in the order in which the steps apply."""

    EXPLICIT = "explicit"
    CLASSIFICATION = "classification"
    OVERRIDE = "override"
    HISTORY = "history"
    REPEATED_ERROR = "repeated_error"
    QUALITY = "quality"
    DISABLED = "disabled"
    CONTEXT = "context"
    CAPABILITY = "capability"
    LOCALITY = "locality"
    NOT_ALLOWED = "not_allowed"
    """Whoever asks may not use what is there."""
    MODEL = "model"
    """Another of the models that the task itself names; the tier may stay the same."""
    AVAILABILITY = "availability"
    BUDGET = "budget"
    RESIDENCY = "residency"
    NO_COMMAND = "no_command"


class Rejection(StrEnum):
    """Why a candidate or a model lost before scoring; says what would have to change."""

    NOT_CHOSEN = "not_chosen"
    """It was possible, another one was better."""
    DOWN = "down"
    UNCHECKED = "unchecked"
    KEY_INVALID = "key_invalid"
    BREAKER_OPEN = "breaker_open"
    RATE_LIMITED = "rate_limited"
    NO_SLOT = "no_slot"
    BATCH_SLOT = "batch_slot"
    """As many tasks of its batch use the model as may."""
    NO_WORKER = "no_worker"
    """Only workers of its own machine reach it, and none of them could run the task now."""
    NOT_SERVED = "not_served"
    """No registered endpoint offers the model."""
    CONTEXT = "context"
    """Its window is too small, or for a live call: the context that is loaded there."""
    CAPABILITY = "capability"
    NOT_ALLOWED = "not_allowed"
    """The key of the call may not use it."""
    NOT_LOCAL = "not_local"
    PROVIDER = "provider"
    EXCLUDED = "excluded"
    """It failed there in the last attempt."""
    PLANNED = "planned"
    """A plan in force has it on another host, which can be used."""
    MEMORY = "memory"
    """It can never fit into the host's memory."""
    LEARNED = "learned"
    """Outcomes speak against it, or another's turn to be tried is it: used where nothing else of the tier can be."""
    PINNED = "pinned"
    """The task asked for another endpoint or model."""
    DISABLED = "disabled"
    COLD = "cold"
    """The best one, but its model has to be loaded first."""
    LOAD_FAILED = "load_failed"
    """Its model could not be loaded there a moment ago."""
    BUDGET = "budget"
    """A limit of the budget is reached, or it would be passed."""
    UNREACHABLE = "unreachable"
    """Only workers on its machine reach it, and this work calls models through the hub."""
    NO_ROOM = "no_room"
    """Its model cannot be loaded there: what is pinned leaves no room."""


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """One choice among tiers, with the figures that speak for it."""

    name: str
    models: tuple[str, ...]
    chance: float
    """Expected rate of success."""
    trials: int
    """Outcomes of its own at the type."""
    cost_micro_usd: int
    worth_micro_usd: int
    """Value of a success x chance - cost."""
    gain_per_usd: float | None = None
    """Success gained over the cheapest one per dollar more; `None` for those that cost no more than it."""
    propensity: float = 0.0
    dominated_by: str = ""
    barred: str = ""
    """Why it could not be chosen for its figures; empty = it could."""


class Weighing(msgspec.Struct, frozen=True, kw_only=True):
    """How outcomes chose among tiers: `history: posterior`."""

    options: tuple[Weighed, ...]
    """The best first."""
    chosen: str
    propensity: float
    """How likely this choice was."""
    explored: bool = False
    spared: tuple[str, ...] = ()
    """Models that are left out while another one of their tier can be used."""


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the trace: the tier before and after, why, in words."""

    cause: Cause
    from_tier: str
    to_tier: str
    reason: str


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a route is expected to take. Milliseconds and micro-dollars."""

    queue_ms: int = 0
    load_ms: int = 0
    prefill_ms: int = 0
    decode_ms: int = 0
    cost_micro_usd: int | None = None
    """`None` = no price is known; never read as free."""

    @property
    def finish_ms(self) -> int:
        """Expected time from now to the last token."""
        return self.queue_ms + self.load_ms + self.prefill_ms + self.decode_ms


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One (endpoint, model) that was looked at."""

    endpoint: str
    model: str
    tier: str
    host: str = ""
    warm: bool = False
    score: float | None = None
    terms: Mapping[str, float] = {}
    """Every factor and addend of the score by name."""
    estimate: Estimate | None = None
    rejection: Rejection | None = None
    detail: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Why this route. Stored with the task, sent to the worker, shown on request, replayable."""

    task_id: str
    generation: int = 0
    """The attempt it was made for; 0 while it is only a question (`ostler route`)."""
    decided_ms: int
    policy_version: str = ""
    profile: str = ""
    classification: Classification
    classification_reason: str
    requested_tier: str
    minimum_tier: str
    effective_tier: str
    target_type: TargetType
    estimated_cost_tier: CostClass
    selected_endpoint: str | None = None
    selected_model: str | None = None
    selected_host: str | None = None
    provider: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    candidate_count: int = 0
    """How many could have taken it."""
    candidates_omitted: int = 0
    """Looked at but not recorded, because there were more than the policy records."""
    fallback_used: bool = False
    fallback_reason: str | None = None
    fallback_from_tier: str | None = None
    fallback_from_model: str | None = None
    """Set when another of the task's own models stands in for this one."""
    handed_tokens: int = 0
    """Estimated length of the results of needed tasks in its prompt."""
    results_trimmed: bool = False
    """They are cut, because no model that may take it has room for all of them."""
    fallback_wait_ms: int = 0
    quality_steps: int = 0
    weighing: Weighing | None = None
    """How outcomes chose the tier, where they may."""
    estimate: Estimate | None = None
    swap_needed: bool = False
    """The model is not loaded there; `estimate.load_ms` has the time of it, with what must go before."""
    health_age_ms: int | None = None
    load_age_ms: int | None = None
    budget: str = ""
    """The limit that mattered most for where it runs or why it does not, with what is left of it; empty = none did."""
    summary: str = ""
    """One plain sentence."""


class Short(msgspec.Struct, frozen=True):
    """A part of a limit, and what was asked for beyond it."""

    limit: str
    value: str
    """Whose; empty for all work."""
    asked: int
    """In the limit's unit."""


class Route(msgspec.Struct, frozen=True, kw_only=True, tag="route"):
    """It can run now, there."""

    decision: Decision
    places: tuple[str, ...] = ()
    """All endpoints that could take it, by name: those without a free slot and those that may come back too."""
    short: tuple[Short, ...] = ()
    """Limits that kept it from other places because this pool's part did not suffice."""


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A place on a managed host that would take the task, were its model usable there or a slot of it free."""

    endpoint: str
    model: str
    host: str
    call_ms: int = 0
    """Expected time of the call itself."""
    swap_ms: int = 0
    """Expected time until the model is usable; 0 = it is, only its slots are taken."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, tag="hold"):
    """It cannot run now. `wait` says why and what happens next; `decision` is the record as far as it went.

    `fallback_tier` is set when the wait is for the fallback: the tier it will use at `wait.next_check_ms`;
    `fallback_model`, when that is another of the task's own models.
    `blocked_on` names the endpoints whose change could end the wait, so that nothing else makes us look again.
    `limited`: room below a limit of the budget could end it too; `alone`: that is about this task's own estimate, and
    says nothing about others of its class.
    """

    wait: Wait
    decision: Decision
    fallback_tier: str | None = None
    fallback_model: str | None = None
    blocked_on: tuple[str, ...] = ()
    limited: bool = False
    alone: bool = False
    short: tuple[Short, ...] = ()
    """Limits of which this pool's part did not suffice."""
    wishes: tuple[Wish, ...] = ()
    """Places on managed hosts, the best first: what the class of the task would like to have loaded."""
    places: tuple[str, ...] = ()
    """Of a task that waits for a worker at a place: the endpoints that could take it, each a reason to look again only
    with a worker who reaches it. Empty = not known, or none is needed.
    """


Verdict = Route | Hold
