"""The ledger of a hub, read beside it: in its file, or in its pool of a database server."""

from pathlib import Path

from ostler.config.settings import HubSettings
from ostler.domain.errors import InvalidInputError
from ostler.domain.limits import BudgetPolicy, PartOf
from ostler.store.ledger_file import PATIENCE_S, LedgerFile
from ostler.store.ledger_reader import LedgerReader


def parts_beside(ledger: LedgerReader, policy: BudgetPolicy) -> PartOf | None:
    """What other pools of the database say of limits that they have together with this one; `None` where there are
    none.
    """
    if isinstance(ledger, LedgerFile) or not policy.over_pools:
        return None
    from ostler.store.ledger_pool import LedgerPool

    look = ledger.shared() if isinstance(ledger, LedgerPool) else None
    if look is None or not isinstance(ledger, LedgerPool):
        return None
    from ostler.app.purses import parts_said

    return parts_said(look, ledger.place.pool)


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
