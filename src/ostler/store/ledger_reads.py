"""The reads about money, like those of `reads`: sums of spans, entries, what is open, who was ever charged."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from ostler.budget.buckets import pieces
from ostler.domain.allowances import Reported
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent, Summed
from ostler.domain.limits import ScopeKind
from ostler.store import rows
from ostler.store.ledger import spent_of
from ostler.store.rows import Run


class LedgerQueries(NamedTuple):
    """Text of every read; parameters by position."""

    sums: str
    """See `compose_statements.spending_sums`."""
    rows: str
    """scope, value, grain, start, then the counts as in `sums`: of a scope, from an instant on."""
    entries: str
    """body: above seq, charged since, at most so many."""
    entries_of_attempt: str
    """The same, of an attempt."""
    newest_entries: str
    """As `entries`, the newest first."""
    newest_of_attempt: str
    open_reservations: str
    values: str
    """By scope."""
    allowances: str


def spent(run: Run, queries: LedgerQueries, spans: Sequence[Span]) -> list[Spent]:
    """What each span adds up to; O(spans), whatever was charged."""
    return [
        spent_of(
            chain.from_iterable(run(queries.sums, (span.scope.value, span.value, *piece)) for piece in pieces(span))
        )
        for span in spans
    ]


def summed(run: Run, queries: LedgerQueries, kinds: Sequence[ScopeKind], since_ms: int) -> list[Summed]:
    """Rows of sums. O(rows): for the start of a hub."""
    return [
        Summed(scope=scope, value=value, grain=grain, start_ms=start_ms, spent=spent_of([tuple(counts)]))
        for kind in kinds
        for scope, value, grain, start_ms, *counts in run(queries.rows, (kind.value, since_ms))
    ]


def entries(run: Run, queries: LedgerQueries, query: LedgerQuery) -> list[LedgerEntry]:
    """Entries in the order that is asked for."""
    limit = max(0, query.limit)
    if query.attempt is None:
        text = queries.newest_entries if query.newest_first else queries.entries
        found = run(text, (query.after_seq, query.since_ms, limit))
    else:
        text = queries.newest_of_attempt if query.newest_first else queries.entries_of_attempt
        found = run(text, (query.after_seq, query.since_ms, query.attempt, limit))
    return [rows.decode_entry(text) for (text,) in found]


def open_reservations(run: Run, queries: LedgerQueries) -> list[LedgerEntry]:
    """Reservations that nobody has ended. O(reservations): for the start of a hub."""
    return [rows.decode_entry(text) for (text,) in run(queries.open_reservations, ())]


def values(run: Run, queries: LedgerQueries, kind: ScopeKind) -> list[str]:
    """Who was ever charged, by name."""
    return [value for (value,) in run(queries.values, (kind.value,))]


def allowances(run: Run, queries: LedgerQueries) -> list[Reported]:
    """What providers last reported of subscriptions, by provider and window."""
    return [rows.decode_allowance(text) for (text,) in run(queries.allowances, ())]
