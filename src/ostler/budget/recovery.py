"""After a crash, or when an attempt is taken back: what becomes of the money it held, by rule.

* it was certainly never sent: released, it cost nothing
* it may have been sent, and nobody knows how it ended: it is taken to have cost what it held, and the entry says that
  this is not known (`ambiguous`). A late report replaces it by what it was

So a crash can make the books too high until a report comes, never too low, and nothing stays held for ever.
"""

from collections.abc import Collection, Iterable

from ostler.domain.commands import Release, Settle
from ostler.domain.ledger import NOTHING, Basis, LedgerEntry

NEVER_SENT = "it was never sent"
UNKNOWN_END = "nobody knows how it ended: it is taken to have cost what it held"


def taken_back(attempt: str, at_ms: int, *, may_have_run: bool) -> Release | Settle:
    """What ends one attempt that nobody will end."""
    if not may_have_run:
        return Release(attempt=attempt, at_ms=at_ms, note=NEVER_SENT)
    return Settle(attempt=attempt, at_ms=at_ms, amount=NOTHING, basis=Basis.ESTIMATED, ambiguous=True, note=UNKNOWN_END)


def recovered(
    reservations: Iterable[LedgerEntry], at_ms: int, *, alive: Collection[str], never_sent: Collection[str] = ()
) -> list[Release | Settle]:
    """What a hub that has just started writes about the reservations it finds open. Attempts that still run somewhere
    (`alive`) keep theirs.
    """
    return [
        taken_back(entry.attempt, at_ms, may_have_run=entry.attempt not in never_sent)
        for entry in reservations
        if entry.attempt not in alive
    ]
