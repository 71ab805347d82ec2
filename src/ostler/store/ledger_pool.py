"""The ledger of a pool in a PostgreSQL database, read beside its hubs: for the command line and the page of money.

Each call opens a connection, reads one snapshot and closes it. Only the hub that leads writes. Needs the extra
`postgres`.
"""

from contextlib import closing

import msgspec
import psycopg

from ostler.store.ledger_reader import LedgerReader, Read, T, checked
from ostler.store.local_use import POSTGRES_USE, KeptUse, kept_use
from ostler.store.postgres_engine import Place, connect, explained, queries, snapshot
from ostler.store.rows import Run
from ostler.store.shares import Look, look_beside


class LedgerPool(LedgerReader):
    """Reads of the ledger of a pool."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def use(self, run: Run) -> KeptUse:
        """See `LedgerReader`."""
        return kept_use(run, POSTGRES_USE)

    def shared(self) -> Look | None:
        """What the pools of the database say of what they have in common; `None` where nobody says anything. Raises
        `StoreError`.
        """
        try:
            with closing(connect(self.place)) as connection:
                return look_beside(connection)
        except (psycopg.Error, msgspec.MsgspecError) as error:
            raise explained(error, self.place) from error

    def read(self, read: Read[T], empty: T) -> T:
        """See `LedgerReader`."""
        try:
            with closing(connect(self.place)) as connection, snapshot(connection, self.place) as run:
                return read(checked(run, self.place.shown), queries().ledger)
        except psycopg.errors.UndefinedTable:
            return empty  # no hub has been here yet
        except (psycopg.Error, msgspec.MsgspecError) as error:
            raise explained(error, self.place) from error
