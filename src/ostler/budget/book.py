"""A ledger in memory: accounts, entries and sums, kept step by step. One command after the other, on one thread.

The same arithmetic that a database does in a transaction (`ledger.judge`, `buckets`), for the store that lasts as long
as its process, for tests and for what is only tried out. O(limits) for a reservation: a sum walks 200 rows at most.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ostler.budget.buckets import BucketKey, Grain, Piece, buckets, pieces
from ostler.budget.ledger import Account, Judged, change, follow, judge, plus
from ostler.budget.windows import DAY_MS, QUARTER_MS
from ostler.domain.commands import LedgerCommand
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent, Summed
from ostler.domain.limits import ScopeKind

_STEP_MS = {Grain.ALL: 1, Grain.QUARTER: QUARTER_MS, Grain.DAY: DAY_MS}
_NONE = Spent()


class LedgerBook:
    """What was reserved and spent."""

    def __init__(self, entries: Iterable[LedgerEntry] = ()) -> None:
        self.entries: list[LedgerEntry] = []
        self._accounts: dict[str, Account] = {}
        self._sums: dict[BucketKey, Spent] = {}
        self._starts: dict[tuple[str, str, int], list[int]] = {}
        for entry in entries:
            self._add(entry)

    def apply(self, command: LedgerCommand) -> Judged:
        """Judge a command and write what it adds."""
        judged = judge(command, self._accounts.get(command.attempt), self.spent)
        if judged.entry is not None:
            self._add(judged.entry)
        return judged

    def spent(self, span: Span) -> Spent:
        """What a span adds up to."""
        total = _NONE
        for piece in pieces(span):
            for row in self._rows(span, piece):
                total = Spent(used=plus(total.used, row.used), held=plus(total.held, row.held))
        return total

    def summed(self, kinds: Iterable[ScopeKind], since_ms: int) -> list[Summed]:
        """See the port of the store."""
        wanted = {kind.value for kind in kinds}
        return [
            Summed(scope=key.scope, value=key.value, grain=key.grain, start_ms=key.start_ms, spent=self._sums[key])
            for key in sorted(self._sums)
            if key.scope in wanted and (key.grain == Grain.ALL or key.start_ms >= since_ms)
        ]

    def listed(self, query: LedgerQuery) -> list[LedgerEntry]:
        """See the port of the store."""
        entries = self.entries[max(0, query.after_seq) :]
        found = (
            entry
            for entry in (reversed(entries) if query.newest_first else entries)
            if (query.attempt is None or entry.attempt == query.attempt) and entry.charged_ms >= query.since_ms
        )
        return [entry for entry, _ in zip(found, range(max(0, query.limit)), strict=False)]

    def open_reservations(self) -> list[LedgerEntry]:
        """Reservations that nobody has ended, oldest first."""
        accounts = (account for account in self._accounts.values() if account.is_open)
        found = [account.reserved for account in accounts if account.reserved is not None]
        return sorted(found, key=lambda entry: entry.seq)

    def values(self, kind: ScopeKind) -> list[str]:
        """Every provider, session, ... that was ever charged, by name."""
        return sorted({key.value for key in self._sums if key.scope == kind.value})

    def _rows(self, span: Span, piece: Piece) -> Sequence[Spent]:
        scope, value, grain = span.scope.value, span.value, int(piece.grain)
        starts: Sequence[int] = self._starts.get((scope, value, grain), ())
        if len(starts) * _STEP_MS[piece.grain] > piece.high_ms - piece.low_ms:
            starts = range(piece.low_ms, piece.high_ms, _STEP_MS[piece.grain])
        keys = (BucketKey(scope, value, grain, start) for start in starts if piece.low_ms <= start < piece.high_ms)
        return [self._sums[key] for key in keys if key in self._sums]

    def _add(self, entry: LedgerEntry) -> None:
        entry = msgspec.structs.replace(entry, seq=len(self.entries) + 1)
        before = self._accounts.get(entry.attempt)
        after = self._accounts[entry.attempt] = follow(before, entry)
        self.entries.append(entry)
        step = change(before, after)
        for key in buckets(after.scopes, after.charged_ms):
            if key not in self._sums:
                self._starts.setdefault(key[:3], []).append(key.start_ms)
            was = self._sums.get(key, _NONE)
            self._sums[key] = Spent(used=plus(was.used, step.used), held=plus(was.held, step.held))
