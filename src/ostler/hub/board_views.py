"""What people look at first, as data: what needs them, what runs, what waits and why, and what it all costs.

As in `views`: durations and instants are milliseconds, money is micro-dollars, and what is not known is `None`.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ostler.budget.burn import Burn
from ostler.budget.limits import Standing
from ostler.budget.subscriptions import SubscriptionStanding
from ostler.domain.event import Event
from ostler.domain.states import Question, TaskState, Wait
from ostler.domain.tasks import Task, TaskKind
from ostler.hub.views import HubStatus


class NeedKind(StrEnum):
    """What kind of thing waits for a person."""

    TASK = "task"
    """A task that cannot go on by itself."""
    GIVEN_UP = "given_up"
    """Tasks that ended badly lately."""
    KEY = "key"
    """An endpoint refuses our key."""
    TIER = "tier"
    """A step of the ladder has no endpoint that can be used."""
    BUDGET = "budget"
    """A limit is reached."""
    LOAD = "load"
    """A model could not be loaded."""
    NO_ROUTE = "no_route"
    """Tasks that nothing in the profile can take."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that waits for a person. `name`: of the task, endpoint, tier, limit, host or model it is about."""

    kind: NeedKind
    name: str
    title: str
    detail: str = ""
    since_ms: int | None = None
    count: int = 1
    question: Question | None = None
    """Of a task: who is to answer, until when, and what."""
    where: str = ""
    """Of a load: the host. Of a tier: an endpoint of it to look at."""


class RunningRow(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is under way."""

    id: str
    title: str
    kind: TaskKind
    state: TaskState
    tier: str
    model: str | None
    endpoint: str | None
    host: str
    worker: str
    batch: str | None
    generation: int
    assigned_ms: int
    started_ms: int | None
    fallback_used: bool
    stopping: bool
    """It was cancelled and is being stopped."""
    tokens: int | None
    """That its task was charged so far; `None` = nothing was charged yet."""
    cost_micro_usd: int | None
    """Spent and held so far; `None` = nobody knows."""
    basis: str
    """`local`, `held` (an estimate is reserved), `charged` (of calls that ended) or `unknown`."""


class WaitingRow(msgspec.Struct, frozen=True, kw_only=True):
    """Queued tasks that wait for the same thing. `due_ms`: when that is looked at again or expected to change, `None` =
    on an event; `due`: how sure that is: `at`, `about`, or `latest` (their patience ends then).
    """

    wait: Wait
    count: int
    tier: str | None = None
    example: str = ""
    due_ms: int | None = None
    due: str = ""
    oldest_ms: int | None = None


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """The three bands. Rows are bounded; the counts are of everything."""

    status: HubStatus
    needs: tuple[Need, ...]
    running: tuple[RunningRow, ...]
    waiting: tuple[WaitingRow, ...]
    running_count: int
    waiting_count: int
    paused_count: int
    now_ms: int


class Find(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to look for. Every word of `text` must be found in one of the fields that a row shows."""

    text: str = ""
    states: tuple[TaskState, ...] = ()
    batch: str | None = None
    limit: int = 50
    before_seq: int | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks, newest first. `next_before`: to go on below; `None` = there is no more."""

    tasks: tuple[Task, ...]
    next_before: int | None
    looked_at: int
    """So many tasks were looked at for the words."""
    now_ms: int


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of tasks as far as the newest tasks show it."""

    name: str
    states: Mapping[TaskState, int]
    tasks: int
    first_ms: int
    updated_ms: int
    planned: bool
    """A plan of it is in force."""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt came to. `open`: it is only held."""

    micro_usd: int
    basis: str
    open: bool
    ambiguous: bool = False


class SpentRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider, a tier or a model came to."""

    name: str
    today_micro_usd: int
    month_micro_usd: int
    held_micro_usd: int
    tokens: int
    requests: int


class DaySpent(msgspec.Struct, frozen=True, kw_only=True):
    """One day (UTC). `fallback_micro_usd`: of it, what ran somewhere else than on its preferred tier or model."""

    start_ms: int
    micro_usd: int
    fallback_micro_usd: int = 0


class UnknownRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls whose price nobody knows, by where they went; charged at the conservative price."""

    provider: str
    model: str
    calls: int
    micro_usd: int


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """What work on the user's own machines would have cost in a cloud, and in which model."""

    micro_usd: int
    of: str
    attempts: int = 0


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Spent, held, and what limits it."""

    now_ms: int
    today: Burn
    month_micro_usd: int
    held_micro_usd: int
    limits: tuple[Standing, ...]
    limits_left_out: int
    """Further scopes that limits count (sessions, tasks), not shown."""
    subscriptions: tuple[SubscriptionStanding, ...]
    providers: tuple[SpentRow, ...]
    tiers: tuple[SpentRow, ...]
    models: tuple[SpentRow, ...]
    days: tuple[DaySpent, ...]
    """The oldest first."""
    unknown: tuple[UnknownRow, ...]
    entries: int
    """So many of the newest entries of the ledger were looked at for unknown prices and fallbacks."""
    savings: Savings | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of decisions that outcomes brought about."""

    event: Event


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first."""

    changes: tuple[Change, ...]
    events: int
    """So many of the newest events were looked at."""
