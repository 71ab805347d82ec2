"""The reads about money, like those of `reads`: sums of spans, entries, what is open, who was ever charged."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

from ostler.budget.buckets import Grain, pieces
from ostler.domain.allowances import Reported
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent, Summed
from ostler.domain.limits import ScopeKind
from ostler.store import rows, schema
from ostler.store.ledger import spent_of
from ostler.store.rows import Run
from ostler.store.statements import at_most, spending_sums


class LedgerQueries(NamedTuple):
    """Text of every read; parameters by position."""

    sums: str
    """See `statements.spending_sums`."""
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


def compile_ledger_queries(dialect: Dialect) -> LedgerQueries:
    """Every read for one engine."""

    def text(query: sa.ClauseElement) -> str:
        return str(query.compile(dialect=dialect))

    entry, spending = schema.ledger, schema.spending
    end = entry.alias("ended")
    ended = sa.exists().where(end.c.attempt == entry.c.attempt, end.c.kind != sa.literal_column("'reserve'"))
    listed = sa.select(entry.c.body).where(
        entry.c.seq > sa.bindparam("after"),
        entry.c.charged_ms >= sa.bindparam("since"),
    )
    upward, downward = entry.c.seq, entry.c.seq.desc()
    of_attempt = listed.where(entry.c.attempt == sa.bindparam("attempt"))
    is_open = (entry.c.kind == sa.literal_column("'reserve'"), ~ended)
    all_time = spending.c.grain == sa.literal_column(str(int(Grain.ALL)))
    counts = [spending.c[f"{part}_{name}"] for part in ("used", "held") for name in schema.COUNTS]
    rows_since = (
        sa.select(spending.c.scope, spending.c.value, spending.c.grain, spending.c.start_ms, *counts)
        .where(
            spending.c.scope == sa.bindparam("scope"), sa.or_(all_time, spending.c.start_ms >= sa.bindparam("since"))
        )
        .order_by(spending.c.value, spending.c.grain, spending.c.start_ms)
    )
    values = sa.select(spending.c.value).where(spending.c.scope == sa.bindparam("scope"), all_time)
    return LedgerQueries(
        sums=text(spending_sums()),
        rows=text(rows_since),
        entries=text(at_most(listed.order_by(upward))),
        entries_of_attempt=text(at_most(of_attempt.order_by(upward))),
        newest_entries=text(at_most(listed.order_by(downward))),
        newest_of_attempt=text(at_most(of_attempt.order_by(downward))),
        open_reservations=text(sa.select(entry.c.body).where(*is_open).order_by(entry.c.seq)),
        values=text(values.order_by(spending.c.value)),
        allowances=text(sa.select(schema.allowance.c.body).order_by(*schema.allowance.primary_key)),
    )


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
