"""A live call of the gateway: somebody waits for its answer, so it is never stored before it runs, and never outlives
the connection it came by. For the decision it is a task like any other (`TaskFacts`); this is what it has beyond that.
"""

import re
from collections.abc import Mapping

import msgspec

from ostler.domain.allowances import Reported
from ostler.domain.decision import Decision
from ostler.domain.errors import OstlerError
from ostler.domain.ledger import Scopes
from ostler.domain.limits import Limit
from ostler.domain.states import Failure, FailureClass, Wait
from ostler.domain.tasks import Priority, TaskFacts, Usage
from ostler.domain.trace import Trace

_CALL_ID = re.compile(r"c-[2-7a-z]{26}")


def is_call_id(text: str) -> bool:
    """Whether a text has the shape of the id of a live call, which no id of a task has that we gave.

    >>> is_call_id("c-3dqsw5k2ha7pm4tzv6yr2nbxce"), is_call_id("c-my-task")
    (True, False)
    """
    return _CALL_ID.fullmatch(text) is not None


class LiveCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it is offered to the scheduler: at first, and again (`attempt` one higher) after an attempt failed."""

    id: str
    facts: TaskFacts
    priority: Priority = Priority.HIGH
    offered_ms: int
    """When it first came in; it keeps its place in the queue over all attempts."""
    deadline_ms: int
    """When it is to have begun at the latest; still waiting then, it is denied with the reason of its wait."""
    attempt: int = 1
    key: str = ""
    """Name of the key it came with."""
    task: str = ""
    """Task that it is charged to, by its key."""
    charged: Scopes = Scopes()
    """Whose it is in all, filled in when it is offered: its key and task, and what that task belongs to."""
    limits: tuple[Limit, ...] = ()
    """Limits that hold for it beside those of the profile: its key's own."""
    excluded: tuple[str, ...] = ()
    """Endpoints (or `endpoint/model`) that earlier attempts failed on. They are not tried again: when nothing else of
    the tier is left, it is as if the tier were down."""


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """The call runs now, there: its slot is taken until `LiveEnded` or a withdrawal frees it."""

    call_id: str
    attempt: int
    endpoint: str
    model: str
    tier: str
    decision: Decision
    """The very same record for all calls that ask the same at the same state of the fleet: its `task_id` names the
    question, not a call, and it is up to a second old."""
    decided_us: int = 0
    wait_ms: int = 0
    """From the offer to now."""
    context_tokens: int | None = None
    """Context size to ask the engine for; `None` = as loaded."""
    keep_alive_s: int | None = None


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """The call will not run: nothing can take it (at once), or its deadline came while it waited."""

    call_id: str
    attempt: int
    wait: Wait
    """Why it waited, or why it cannot run (`no_route`)."""
    decision: Decision | None = None
    retry_after_ms: int | None = None
    """When it makes sense to ask again, where that is known."""
    wait_ms: int = 0


class DeniedError(OstlerError):
    """A live call is not run; `denial` says why, and when it makes sense to ask again."""

    http_status = 503
    code = "denied"

    def __init__(self, denial: Denial) -> None:
        super().__init__(f"{denial.wait.code.value}: {denial.wait.detail or 'it cannot run now'}")
        self.denial = denial


class LiveEnded(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt of a call ended; frees its slot exactly once."""

    call_id: str
    attempt: int
    failure: Failure | None = None
    """`None` = good. A client that hung up is `cancelled`: neither good nor bad for the endpoint."""
    usage: Usage | None = None
    cache_write_tokens: int = 0
    """Of the input, those that the endpoint wrote into its cache."""
    wants_tool: bool = False
    """The answer asked for a tool: its caller will be back soon."""
    allowances: tuple[Reported, ...] = ()
    """What the answer said of the windows of a subscription."""
    unworked: bool = False
    """It is certain that no model worked on it."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a waiting call stands."""

    wait: Wait
    ahead: int
    """Work of its class before it."""


class CallAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as it is kept: where, how it ended, what it took. Money in micro-dollars; `None` = no price known."""

    endpoint: str
    model: str
    tier: str
    started_ms: int
    duration_ms: int
    failure: FailureClass | None = None
    message: str = ""
    status: int | None = None
    """HTTP status of the endpoint, where it gave one."""
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    """Nobody counted the tokens: they are estimated."""
    cost_micro_usd: int | None = None
    cost_basis: str = "unknown"
    """`priced`, `local`, `subscription` or `unknown`."""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A finished call as it is kept and shown. Prompt and answer are in it only when the profile says so."""

    id: str
    at_ms: int
    """When it came in."""
    key: str = ""
    """Name of the gateway key it came with; empty = none was needed."""
    task: str = ""
    """Task it belongs to, by its key."""
    client: str = ""
    """What the client calls itself."""
    format: str
    path: str
    asked_model: str
    stream: bool
    status: int
    """HTTP status the client was given; 499 = it had hung up."""
    failure: FailureClass | None = None
    message: str = ""
    tier: str = ""
    model: str = ""
    endpoint: str = ""
    fallback: str = ""
    """Why another place than the first one answered; empty = the first one did."""
    attempts: tuple[CallAttempt, ...] = ()
    decision_key: str = ""
    """Calls that ask the same at the same state of the fleet share one stored decision."""
    wait_ms: int = 0
    first_token_ms: int | None = None
    duration_ms: int = 0
    overhead_us: int = 0
    """Our own time in it: neither waiting in the queue nor for the endpoint."""
    cost_micro_usd: int | None = None
    cost_basis: str = "unknown"
    dropped: tuple[str, ...] = ()
    """Fields of the request that the endpoint's format cannot say."""
    trace: Trace | None = None
    """The trace that it is part of, by its caller or its task; `None` = it has one of its own."""
    prompt: str | None = None
    answer: str | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A request that never became a call. Nothing of what it sent is in it."""

    reason: str
    """Code of the error that its client was told."""
    path: str
    key: str = ""
    """Name of the key it came with, where that is one of ours."""


class GatewayKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the gateway as it is kept: never the key itself, only its hash. Empty `models` and `tiers` = any."""

    name: str
    key_hash: str
    created_ms: int
    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    task: str = ""
    """Task (or what else the caller names) that calls with this key are charged to."""
    priority: Priority = Priority.HIGH
    limit_micro_usd: int | None = None
    """Spent so much in its window, it is refused until the window is over; `None` = no limit."""
    limit_window: str = "total"
    """`day`, `month` or `total`."""
    local_only: bool = False
    revoked_ms: int | None = None


class KeySpend(msgspec.Struct, frozen=True, kw_only=True):
    """What calls with each key have cost since an instant, by key name; unknown prices count as nothing here.

    Calls that are no longer kept count from the day (UTC) on that begins at or after the instant.
    """

    since_ms: int
    micro_usd: Mapping[str, int] = {}
    calls: Mapping[str, int] = {}
    last_ms: Mapping[str, int] = {}
    """When the newest of them came in."""


class CallDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that calls share, by the key they name it with."""

    key: str
    used_ms: int
    """When a call last used it, to about a day; with the calls of that time it is forgotten."""
    decision: Decision
