"""What may be spent: limits, subscriptions and how unknown prices are treated, as plain data.

A limit is scope x window x unit with a soft and a hard value. The arithmetic is in `ostler.budget`.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec


class ScopeKind(StrEnum):
    """What a limit counts together."""

    ALL = "all"
    PROVIDER = "provider"
    TIER = "tier"
    MODEL = "model"
    BATCH = "batch"
    TASK = "task"
    SESSION = "session"
    TICK = "tick"
    KEY = "key"


class WindowKind(StrEnum):
    """Which span of time a limit counts together."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    PERIOD = "period"
    """From one instant to another."""
    ROLLING = "rolling"
    """The last so many hours."""
    NONE = "none"
    """All time."""


class Unit(StrEnum):
    """What a limit counts."""

    USD = "usd"
    """In micro-dollars, as everywhere."""
    WORTH = "worth"
    """As `usd`, with what a subscription covered at list prices."""
    TOKENS = "tokens"
    REQUESTS = "requests"


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time. Hours, days and months are those of `zone`; instants are quarter-hours, so that sums of quarters
    are exact.
    """

    kind: WindowKind = WindowKind.MONTH
    zone: str = "UTC"
    start_ms: int = 0
    """Of a period."""
    end_ms: int = 0
    """Of a period: the first instant that is not in it."""
    hours: int = 0
    """Of a rolling window."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. Reached means at or above: at `soft` work is degraded, at `hard` it stops."""

    name: str
    scope: ScopeKind = ScopeKind.ALL
    of: str = ""
    """The one provider, tier, ... it is about; empty = each one has a limit of its own."""
    window: Window = Window()
    unit: Unit = Unit.USD
    soft: int | None = None
    hard: int | None = None
    critical: int | None = None
    """The ceiling of critical work, which the soft value does not hold; `None` = the hard one."""
    degrade_to: str = ""
    """Tier that work goes down to at the soft value at most; empty = one tier down."""


OVER_POOLS = frozenset({ScopeKind.ALL, ScopeKind.PROVIDER, ScopeKind.TIER, ScopeKind.MODEL})
"""What pools of one database have in common; batches, tasks, sessions, ticks and keys are of one pool."""


class PartKey(NamedTuple):
    """A limit of one scope in one window, as pools divide it."""

    limit: str
    value: str
    """The provider, tier, ... it counts; empty for all work."""
    start_ms: int
    """Of its window; 0 where that rolls."""
    critical: bool = False
    """The ceiling of critical work, where that is another one."""


class PoolPart(msgspec.Struct, frozen=True, kw_only=True):
    """What is a pool's own of a limit that several pools have together. Amounts are in the limit's unit."""

    most: int | None = None
    """What this pool has spent and holds may come to so much; `None` = nothing is divided, as of a soft value."""
    total: int | None = None
    """What all pools together may come to: the smallest that one of them says."""
    spent: int = 0
    """What other pools have spent, and hold for what runs there."""
    kept: int = 0
    """What other pools keep beyond that, for what comes."""
    asleep: int = 0
    """So much of that by pools that do not run: their next leader gives it back, nobody before."""
    pools: tuple[str, ...] = ()
    """The others, by name."""


PartOf = Callable[[Limit, str, int, bool], PoolPart | None]
"""This pool's part of a limit: of whom, in the window that starts then, for critical work or not."""


class Pace(StrEnum):
    """How a subscription is used up."""

    EVEN = "even"
    """Spread over its window: what is ahead of time waits for later."""
    NONE = "none"
    """As it comes."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription allows in one of its windows. A subscription may have several, all of which hold."""

    name: str
    window: Window
    unit: Unit = Unit.REQUESTS
    amount: int | None = None
    """`None` = nobody says how much it is: what the provider reports of it is all that is known."""
    model: str = ""
    """Only for this model; empty = for all of them."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that is paid by the period: what is left of it costs nothing more."""

    provider: str
    allowances: tuple[Allowance, ...] = ()
    """Those the profile names; windows that the provider reports hold beside them."""
    priority: int = 0
    """The lower, the earlier it is recommended."""
    pace: Pace = Pace.EVEN
    reserve_percent: int = 5
    """Kept back for critical work."""
    warn_percent: int = 85
    """From this share of an allowance on, people are told."""


class LimitsOf(StrEnum):
    """Whose the limits of a profile are, where pools share a database."""

    TOGETHER = "together"
    """Of all pools that state them alike."""
    APART = "apart"
    """Of each pool for itself."""


class UnknownPrice(StrEnum):
    """What becomes of a call in a cloud whose price nobody knows. It is never free."""

    CONSERVATIVE = "conservative"
    """It is charged at the conservative price."""
    REFUSE = "refuse"


class LongPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Prices from a length of the prompt on; `None` = as below it. USD for a million tokens."""

    above_tokens: int
    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs, in USD for a million tokens; `None` = not priced apart: as `input` (caches), as `output`
    (reasoning).
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    request_usd: float = 0.0
    """For each call beside its tokens."""
    batch_percent: int = 100
    """What work handed in as a batch costs of this."""
    long: tuple[LongPrice, ...] = ()
    """By `above_tokens`, rising."""


class BudgetPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All that the ledger obeys."""

    limits: tuple[Limit, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    prices: Mapping[str, Price] = {}
    """The user's own, by normalised model name; they go before the table that comes with us."""
    unknown_price: UnknownPrice = UnknownPrice.CONSERVATIVE
    conservative_price: Price = Price(input=15.0, output=75.0)
    provider_priority: tuple[str, ...] = ()
    """Order in which providers are recommended, the first one first; others follow by name."""
    equivalent: str = ""
    """Model whose price says what local work would have cost in a cloud; empty = the cheapest cloud model of the
    profile."""
    over_pools: bool = True
    """Pools of one database that state a limit alike have it together; else each for itself."""
    output_quantile_percent: int = 90
    """A reservation expects an answer no longer than this share of those that were seen."""
