"""What may be asked of a ledger from outside of its hub, without an event loop; a file and a pool are asked alike.

Each question is one snapshot, and is answered only from a ledger that is whole at first sight. Where nothing was ever
written the answers are empty.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from ostler.domain.allowances import Reported
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent
from ostler.domain.limits import ScopeKind
from ostler.store import ledger_reads
from ostler.store.errors import StoreError
from ostler.store.ledger_check import NEWEST, SUMMED, torn
from ostler.store.ledger_reads import LedgerQueries
from ostler.store.local_use import NO_USE, KeptUse
from ostler.store.rows import Run

T = TypeVar("T")
Read = Callable[[Run, LedgerQueries], T]


class LedgerReader(ABC):
    """Reads of a ledger, each by itself."""

    @abstractmethod
    def read(self, read: Read[T], empty: T) -> T:
        """Read one snapshot; `empty` where there is none. Raises `StoreError` when it cannot be read."""

    @abstractmethod
    def use(self, run: Run) -> KeptUse:
        """What was answered by attempts and calls, in a snapshot."""

    def spent(self, spans: Sequence[Span]) -> list[Spent]:
        """What each span adds up to."""
        return self.read(lambda run, texts: ledger_reads.spent(run, texts, spans), [Spent()] * len(spans))

    def entries(self, query: LedgerQuery) -> list[LedgerEntry]:
        """Entries, oldest first."""
        return self.read(lambda run, texts: ledger_reads.entries(run, texts, query), [])

    def charged(self, kind: ScopeKind) -> list[str]:
        """Who was ever charged, by name."""
        return self.read(lambda run, texts: ledger_reads.values(run, texts, kind), [])

    def reported(self) -> list[Reported]:
        """What providers last reported of subscriptions."""
        return self.read(ledger_reads.allowances, [])

    def kept_use(self) -> KeptUse:
        """What was answered by attempts and calls whose records are kept beside the ledger."""
        return self.read(lambda run, _: self.use(run), NO_USE)


def checked(run: Run, where: str) -> Run:
    """The same snapshot, if its ledger is whole at first sight. Raises `StoreError`."""
    ((newest_seq, entries),), ((summed,),) = run(NEWEST, ()), run(SUMMED, ())
    if (problem := torn(newest_seq, entries, summed)) is not None:
        raise StoreError(problem, where=where, remedy="restore a backup")
    return run
