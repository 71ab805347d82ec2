"""The part of a flush about money: commands are judged on the sums as the commands before them left them.

What a flush must know is read at its start: the entries of the attempts that are named, and one sum for each span that
a reservation is bound by. Reservations of one flush see each other, so nobody slips in between a look and a write. The
sums that change are written once each, with all that the flush adds to them.

Cost: O(commands x scopes), and for each span of a limit three range reads of at most about 200 rows in all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from ostler.budget.buckets import BucketKey, buckets
from ostler.budget.ledger import Account, change, follow, judge, plus
from ostler.domain.commands import Applied, LedgerCommand, Refused
from ostler.domain.ledger import Amount, LedgerEntry, Span, Spent
from ostler.store import rows
from ostler.store.schema import COUNTS

_APPLIED = Applied()
_ZEROS = (0,) * (1 + 2 * len(COUNTS))


class LedgerPlan:
    """What a flush writes to the ledger."""

    def __init__(self, accounts: dict[str, Account], spent: dict[Span, Spent], last_seq: int) -> None:
        self._accounts = accounts
        self._spent = spent
        self._spans: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for span in spent:
            self._spans[span.scope.value, span.value].append(span)
        self._sums: dict[BucketKey, list[int]] = {}
        self.last_seq = last_seq
        self.entries: list[rows.Row] = []

    def add(self, command: LedgerCommand) -> Applied | Refused:
        """Judge one command and note what it writes."""
        before = self._accounts.get(command.attempt)
        judged = judge(command, before, self._spent.__getitem__)
        if judged.reason is not None:
            return Refused(reason=judged.reason, message=judged.message, limit=judged.limit)
        if judged.entry is not None:
            self._write(judged.entry, before)
        return _APPLIED

    def sum_rows(self) -> tuple[list[rows.Row], list[rows.Row]]:
        """Keys with zeros, to be there; then what is added, each with its key."""
        return [(*key, *_ZEROS) for key in self._sums], [(*added, *key) for key, added in self._sums.items()]

    def _write(self, entry: LedgerEntry, before: Account | None) -> None:
        self.last_seq += 1
        entry = msgspec.structs.replace(entry, seq=self.last_seq)
        self.entries.append(rows.ledger_row(entry))
        after = self._accounts[entry.attempt] = follow(before, entry)
        step = change(before, after)
        added = (1, *_fields(step.used), *_fields(step.held))
        for key in buckets(after.scopes, after.charged_ms):
            known = self._sums.get(key)
            self._sums[key] = list(added) if known is None else [a + b for a, b in zip(known, added, strict=True)]
            for span in self._spans.get((key.scope, key.value), ()) if key.grain == 0 else ():
                if span.counts(after.scopes, after.charged_ms):
                    was = self._spent[span]
                    self._spent[span] = Spent(used=plus(was.used, step.used), held=plus(was.held, step.held))


def spent_of(sums: Iterable[rows.Row]) -> Spent:
    """The total of rows of used and held counts, in the order of `schema.COUNTS`."""
    totals = [sum(column) for column in zip(*sums, strict=True)]
    half = len(COUNTS)
    if not totals:
        return Spent()
    return Spent(used=Amount(**_named(totals[:half])), held=Amount(**_named(totals[half:])))


def _fields(amount: Amount) -> tuple[int, ...]:
    return tuple(getattr(amount, name) for name in COUNTS)


def _named(values: list[int]) -> Mapping[str, int]:
    return dict(zip(COUNTS, values, strict=True))
