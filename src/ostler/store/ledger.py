"""The part of a flush about money: commands are judged on the sums as the commands before them left them.

What a flush must know is read at its start: the entries of the attempts that are named, and one sum for each span that
a reservation is bound by. Reservations of one flush see each other, so nobody slips in between a look and a write. The
sums that change are written once each, with all that the flush adds to them.

Cost: O(commands x scopes), and for each span of a limit three range reads of at most about 200 rows in all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from ostler.budget.buckets import BucketKey, Place, places, rows_of
from ostler.budget.ledger import Account, Change, change, follow, judge, plus
from ostler.budget.windows import QUARTER_MS
from ostler.domain.commands import Applied, LedgerCommand, Refused
from ostler.domain.ledger import NOTHING, Amount, LedgerEntry, Span, Spent
from ostler.store import rows

_APPLIED = Applied()
_ZEROS = (0,) * (1 + 2 * len(rows.COUNTS))


class LedgerPlan:
    """What a flush writes to the ledger."""

    def __init__(self, accounts: dict[str, Account], spent: dict[Span, Spent], last_seq: int) -> None:
        self._accounts = accounts
        self._spent = spent
        self._spans: dict[tuple[str, str], list[Span]] = defaultdict(list)
        for span in spent:
            self._spans[span.scope.value, span.value].append(span)
        self._cells: dict[int, dict[Place, list[int]]] = {}
        """By start of the quarter-hour and scope: what is added, as a row has it after its key."""
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
        sums: dict[BucketKey, list[int]] = {}
        for quarter_ms, cells in self._cells.items():
            for place, cell in cells.items():
                for key in rows_of(place, quarter_ms):
                    known = sums.get(key)
                    sums[key] = cell if known is None else [a + b for a, b in zip(known, cell, strict=True)]
        return [(*key, *_ZEROS) for key in sums], [(*added, *key) for key, added in sums.items()]

    def _write(self, entry: LedgerEntry, before: Account | None) -> None:
        self.last_seq += 1
        entry = msgspec.structs.replace(entry, seq=self.last_seq)
        self.entries.append(rows.ledger_row(entry))
        after = self._accounts[entry.attempt] = follow(before, entry)
        step, charged_ms = change(before, after), after.charged_ms
        added = [1, *_fields(step.used), *_fields(step.held)]
        moved = [(index, count) for index, count in enumerate(added) if count]
        cells = self._cells.setdefault(charged_ms - charged_ms % QUARTER_MS, {})
        for place in places(after.scopes):
            cell = cells.get(place)
            if cell is None:
                cells[place] = added.copy()
            else:
                for index, count in moved:
                    cell[index] += count
            for span in self._spans.get((place.scope, place.value), ()):
                if span.start_ms <= charged_ms < span.end_ms:
                    self._spent[span] = _sum(self._spent[span], step)


def _sum(spent: Spent, step: Change) -> Spent:
    used = spent.used if step.used is NOTHING else plus(spent.used, step.used)
    return Spent(used=used, held=spent.held if step.held is NOTHING else plus(spent.held, step.held))


def spent_of(sums: Iterable[rows.Row]) -> Spent:
    """The total of rows of used and held counts, in the order of `rows.COUNTS`."""
    totals = [sum(column) for column in zip(*sums, strict=True)]
    half = len(rows.COUNTS)
    if not totals:
        return Spent()
    return Spent(used=Amount(**_named(totals[:half])), held=Amount(**_named(totals[half:])))


def _fields(amount: Amount) -> tuple[int, ...]:
    fields: tuple[int, ...] = msgspec.structs.astuple(amount)  # in the order of `rows.COUNTS`
    return fields


def _named(values: list[int]) -> Mapping[str, int]:
    return dict(zip(rows.COUNTS, values, strict=True))
