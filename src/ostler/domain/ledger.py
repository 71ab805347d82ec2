"""The ledger as data: what one attempt is charged, to whom, and the entries that say so.

An attempt reserves an estimate before it is sent, and at its end settles what it took or releases what it held. Entries
are only ever added. A charge belongs to the instant of its reservation, whenever it is settled: a limit that let it
pass is the one that counts it.
"""

from enum import StrEnum

import msgspec

from ostler.domain.limits import ScopeKind, Unit


class Basis(StrEnum):
    """How an amount is known."""

    REPORTED = "reported"
    """The provider named a price."""
    PRICED = "priced"
    """Counted tokens at a known price."""
    ESTIMATED = "estimated"
    """Nobody counted, or nobody said how it ended."""
    SUBSCRIPTION = "subscription"
    """Paid by the period: it costs nothing more."""
    LOCAL = "local"
    UNKNOWN = "unknown"
    """No price is known: the conservative one was taken."""


class Amount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money and tokens. `input_tokens` are the fresh ones; `reasoning_tokens` are a part of the output."""

    micro_usd: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    requests: int = 1
    covered_micro_usd: int = 0
    """What a subscription covered, at list prices; it is no part of `micro_usd`."""

    @property
    def tokens(self) -> int:
        """All of them, each counted once."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens + self.output_tokens

    def in_unit(self, unit: Unit) -> int:
        """As a limit counts it."""
        if unit is Unit.USD:
            return self.micro_usd
        if unit is Unit.TOKENS:
            return self.tokens
        return self.requests if unit is Unit.REQUESTS else self.micro_usd + self.covered_micro_usd


NOTHING = Amount(requests=0)


class Scopes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose an attempt is; empty = of no such thing."""

    provider: str = ""
    tier: str = ""
    model: str = ""
    endpoint: str = ""
    batch: str = ""
    task: str = ""
    session: str = ""
    tick: str = ""
    key: str = ""

    def of(self, kind: ScopeKind) -> str:
        """The one it belongs to; empty where it belongs to none (and for `all`)."""
        value: str = "" if kind is ScopeKind.ALL else getattr(self, kind.value)
        return value

    def belongs_to(self, kind: ScopeKind, value: str) -> bool:
        """Whether a limit of this scope counts it."""
        return kind is ScopeKind.ALL or (bool(value) and self.of(kind) == value)


def tick_name(session: str, tick: str) -> str:
    """A tick as the ledger names it: each session has ticks of its own.

    >>> tick_name("night-watch", "7"), tick_name("", "7"), tick_name("night-watch", "")
    ('night-watch/7', '7', '')
    """
    return f"{session}/{tick}" if session and tick else tick


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A sum to be asked for: of one scope, from an instant to before another. Both are quarter-hours."""

    scope: ScopeKind
    value: str = ""
    start_ms: int
    end_ms: int

    def counts(self, scopes: Scopes, charged_ms: int) -> bool:
        """Whether a charge is part of the sum."""
        return self.start_ms <= charged_ms < self.end_ms and scopes.belongs_to(self.scope, self.value)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a span adds up to: settled, and held by attempts that have not ended."""

    used: Amount = NOTHING
    held: Amount = NOTHING

    def total(self, unit: Unit) -> int:
        """Both together, as a limit counts them."""
        return self.used.in_unit(unit) + self.held.in_unit(unit)


class Summed(msgspec.Struct, frozen=True, kw_only=True):
    """A sum that the store keeps (`ostler.budget.buckets`): of one scope, by quarter-hour, by day, or of all time."""

    scope: str
    value: str
    grain: int
    start_ms: int
    spent: Spent


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as it holds for one attempt at one instant: this sum must not pass this ceiling."""

    limit: str
    """Its name."""
    span: Span
    unit: Unit
    ceiling: int
    shared: bool = False
    """The ceiling is a part of what several pools have together."""


class EntryKind(StrEnum):
    """What an entry of the ledger says."""

    RESERVE = "reserve"
    SETTLE = "settle"
    RELEASE = "release"
    ADJUST = "adjust"


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. `amount` is what is held from now on (reserve), what it came to in the end (settle, adjust), nothing
    (release).
    """

    seq: int = 0
    """The store numbers them, without a gap."""
    attempt: str
    kind: EntryKind
    at_ms: int
    """When it was written."""
    charged_ms: int
    """Where it counts in time."""
    amount: Amount
    basis: Basis
    scopes: Scopes
    ref: str = ""
    """Of an adjustment: its own id, so that asking twice adjusts once."""
    ambiguous: bool = False
    """Nobody knows how the attempt ended: it is taken to have cost what it held, until somebody says."""
    equivalent_micro_usd: int = 0
    """What local or subscribed work would have cost."""
    equivalent_of: str = ""
    """Where: the counterfactual by name."""
    asked_tier: str = ""
    """The tier that was asked for; `scopes.tier` is where it ran."""
    task_type: str = ""
    """Type of work, for what the lengths of answers teach; empty = nobody said."""
    note: str = ""


class LedgerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to list, oldest first unless it says otherwise."""

    after_seq: int = 0
    attempt: str | None = None
    since_ms: int = 0
    """By the instant they are charged to."""
    newest_first: bool = False
    limit: int = 1_000
