"""The sums of the ledger beside the scheduler, so that a choice can ask what is left without waiting for the store.

It is taken up from the store once, and then told of every command that goes there, in the order in which they go: it
says what the store will say when they are durable. What another program writes into the same ledger it does not see;
the store does, and has the last word when it reserves. For the same reason it may forget: what single tasks and ticks
have come to is kept of the newest `KEPT_SINGLE` of them, and of those that hold something; there is no end to them.

Cost: a question that was asked before is a look-up; a new one adds up at most 190 quarters and the days between. A
command changes the sums it is counted in, and the answers that are kept of them.
"""

from collections import OrderedDict
from collections.abc import Iterable

from ostler.budget.buckets import TIMELESS, BucketKey, Grain, Piece, buckets, pieces
from ostler.budget.ledger import Account, Change, change, entry_for, follow, plus
from ostler.budget.windows import DAY_MS, EARLIEST_MS, QUARTER_MS, extent
from ostler.domain.commands import LedgerCommand, Reserve
from ostler.domain.ledger import Amount, EntryKind, LedgerEntry, Scopes, Span, Spent, Summed
from ostler.domain.limits import Limit, ScopeKind, Unit

KEPT_ANSWERS = 4_096
KEPT_UNSURE = 4_096
KEPT_SINGLE = 2_000
"""So many tasks and ticks."""
QUARTERS_KEPT_MS = 70 * DAY_MS
"""Longer than a month in any time zone: what is older is counted by the day."""
_STEP_MS = {Grain.ALL: 1, Grain.QUARTER: QUARTER_MS, Grain.DAY: DAY_MS}
_NONE = Spent()
_SINGLE = frozenset(kind.value for kind in TIMELESS)


class Mirror:
    """What is used and held, as of the last command."""

    def __init__(self) -> None:
        self._sums: dict[BucketKey, Spent] = {}
        self._single: OrderedDict[BucketKey, None] = OrderedDict()
        """Sums of tasks and ticks, those that were charged last at the end."""
        self._open: dict[str, Account] = {}
        self._unsure: dict[str, Account] = {}
        """Attempts whose end nobody told: a late report of it is still charged. The oldest are forgotten."""
        self._answers: dict[tuple[ScopeKind, str], dict[Span, Spent]] = {}
        self._kept = 0
        self._day_ms = 0

    def __len__(self) -> int:
        """How many sums are kept."""
        return len(self._sums)

    def restore(
        self, sums: Iterable[Summed], reserved: Iterable[LedgerEntry], lately: Iterable[LedgerEntry] = ()
    ) -> None:
        """Take up what the store holds. `lately`: its newest entries, the newest first."""
        for row in sums:
            self._keep(BucketKey(row.scope, row.value, row.grain, row.start_ms), row.spent)
        for entry in reserved:
            self._open[entry.attempt] = follow(None, entry)
        ended: set[str] = set()
        for entry in lately:
            # The newest word on an attempt is what stands.
            if entry.attempt not in ended and (entry.ambiguous or entry.kind is EntryKind.RELEASE):
                self._unsure[entry.attempt] = follow(None, entry)
            ended.add(entry.attempt)
        self._unsure = dict(reversed(self._unsure.items()))
        self._forget_answers()

    def take(self, command: LedgerCommand) -> bool:
        """A command goes to the store; whether it makes room: whether what is used or held got less anywhere."""
        before = self._open.get(command.attempt) or self._unsure.get(command.attempt)
        entry = entry_for(command, before)
        if entry is None:
            return False
        after = follow(before, entry)
        if after.is_open:
            self._open[command.attempt] = after
        else:
            self._open.pop(command.attempt, None)
            self._unsure.pop(command.attempt, None)
            if not after.is_final:
                self._unsure[command.attempt] = after
                if len(self._unsure) > KEPT_UNSURE:
                    del self._unsure[next(iter(self._unsure))]
        step = change(before, after)
        self._add(after.scopes, after.charged_ms, step)
        return not isinstance(command, Reserve) and _makes_room(step)

    def scopes_of(self, attempt: str) -> Scopes | None:
        """Whose an attempt is that has money reserved."""
        account = self._open.get(attempt)
        return account.scopes if account is not None else None

    def unsure(self, attempt: str) -> Scopes | None:
        """Whose an attempt is of which nobody knows what it cost: of any other there is nothing to be told late."""
        account = self._unsure.get(attempt)
        return account.scopes if account is not None else None

    def holds(self, attempt: str) -> bool:
        """Whether an attempt has money reserved."""
        return attempt in self._open

    def values(self, kind: ScopeKind) -> list[str]:
        """Every provider, session, ... that was ever charged, by name."""
        return sorted({key.value for key in self._sums if key.scope == kind.value and key.grain == Grain.ALL})

    def spent(self, span: Span) -> Spent:
        """What a span adds up to."""
        answers = self._answers.setdefault((span.scope, span.value), {})
        known = answers.get(span)
        if known is not None:
            return known
        if self._kept >= KEPT_ANSWERS:
            self._forget_answers()
            answers = self._answers.setdefault((span.scope, span.value), {})
        total = _NONE
        for piece in pieces(span):
            total = self._added_up(span, piece, total)
        answers[span] = total
        self._kept += 1
        return total

    def _added_up(self, span: Span, piece: Piece, total: Spent) -> Spent:
        scope, value, grain = span.scope.value, span.value, int(piece.grain)
        # The open end of a rolling window is far away; nothing is charged later than the newest day that is known.
        high_ms = min(piece.high_ms, self._day_ms + 2 * DAY_MS) if piece.grain is not Grain.ALL else piece.high_ms
        for start_ms in range(piece.low_ms, high_ms, _STEP_MS[piece.grain]):
            row = self._sums.get(BucketKey(scope, value, grain, start_ms))
            if row is not None:
                total = _sum(total, row.used, row.held)
        return total

    def _add(self, scopes: Scopes, charged_ms: int, step: Change) -> None:
        if charged_ms - self._day_ms >= DAY_MS:
            self._next_day(charged_ms - charged_ms % DAY_MS)
        for key in buckets(scopes, charged_ms):
            self._keep(key, _sum(self._sums.get(key, _NONE), step.used, step.held))
        for kind in ScopeKind:
            answers = self._answers.get((kind, scopes.of(kind)), {})
            for span, known in answers.items():
                if span.counts(scopes, charged_ms):
                    answers[span] = _sum(known, step.used, step.held)

    def _keep(self, key: BucketKey, spent: Spent) -> None:
        self._sums[key] = spent
        if key.scope not in _SINGLE:
            return
        self._single[key] = None
        self._single.move_to_end(key)
        for _ in range(2):  # twice, so that what was passed by for being held is made up for
            if len(self._single) > KEPT_SINGLE:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._single))
        if self._sums[oldest].held.requests:  # it still runs
            self._single.move_to_end(oldest)
            return
        del self._single[oldest], self._sums[oldest]
        gone = self._answers.pop((ScopeKind(oldest.scope), oldest.value), {})
        self._kept -= len(gone)

    def _next_day(self, day_ms: int) -> None:
        """Forget quarters that no window begins or ends in any more. Once a day."""
        self._day_ms = day_ms
        oldest_ms = day_ms - QUARTERS_KEPT_MS
        old = [key for key in self._sums if key.grain == Grain.QUARTER and key.start_ms < oldest_ms]
        for key in old:
            del self._sums[key]
        self._forget_answers()

    def _forget_answers(self) -> None:
        self._answers.clear()
        self._kept = 0
        newest = max((key.start_ms for key in self._sums), default=0)
        self._day_ms = max(self._day_ms, newest - newest % DAY_MS)


def since_needed(limits: Iterable[Limit], now_ms: int) -> int:
    """From when on sums by the hour and day are needed: the start of the longest window, and of a month at least."""
    starts = (found.start_ms for limit in limits if (found := extent(limit.window, now_ms)) is not None)
    bounded = (start_ms for start_ms in starts if start_ms > EARLIEST_MS)
    return max(EARLIEST_MS, min([*bounded, now_ms - QUARTERS_KEPT_MS]) - DAY_MS)


def _sum(spent: Spent, used: Amount, held: Amount) -> Spent:
    return Spent(used=plus(spent.used, used), held=plus(spent.held, held))


def _makes_room(step: Change) -> bool:
    less = plus(step.used, step.held)
    return any(less.in_unit(unit) < 0 for unit in Unit)
