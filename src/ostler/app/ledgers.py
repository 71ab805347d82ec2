"""The ledger of a hub, read beside it: in its file, or in its pool of a database server."""

from pathlib import Path

from ostler.config.settings import HubSettings
from ostler.domain.errors import InvalidInputError
from ostler.store.ledger_file import PATIENCE_S, LedgerFile
from ostler.store.ledger_reader import LedgerReader


def ledger_of(hub: HubSettings, *, patience_s: float = PATIENCE_S) -> LedgerReader:
    """The ledger that the settings name. Raises `InvalidInputError` for an address that is none, or whose extra is not
    there. `patience_s`: how long a writer of a file waits for its turn.
    """
    if "://" not in hub.database:
        return LedgerFile(Path(hub.data_dir) / hub.database, patience_s=patience_s)
    try:
        from ostler.store.ledger_pool import LedgerPool
        from ostler.store.postgres_engine import place_of
    except ImportError:
        what, remedy = "PostgreSQL needs the extra 'postgres'", "pip install 'ostler[postgres]'"
        raise InvalidInputError(what, where="hub.database", remedy=remedy) from None
    return LedgerPool(place_of(hub.database, hub.pool))
