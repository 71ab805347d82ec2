"""Errors of the store: the machine, not the caller, is in the way."""

from ostler.domain.errors import OstlerError


class StoreError(OstlerError):
    """The database could not be opened, read or written. What was acknowledged before stays durable."""

    http_status = 503
    code = "store"


class CannotBeginError(Exception):
    """No transaction could be begun: nobody's batch is to blame, and trying one by one would only fail slower. Its
    cause says why.
    """


class FencedError(StoreError):
    """Another hub has taken over the pool: this one may write no more, and need not try again."""

    for_good = True
    code = "no_leader"  # as whoever asks anew would be told

    def __init__(self, where: str, what: str = "another hub has taken over") -> None:
        super().__init__(what, where=where, remedy="this one goes on as a stand-by")


def changed_meanwhile(where: str = "") -> StoreError:
    """What one is told whose change met another task than it was thought for, though nobody else should write."""
    what = "a task changed between a look and a write"
    return StoreError(what, where=where, remedy="something else writes to this database; stop it")


def of_the_driver(error: Exception) -> Exception:
    """The driver's error; that of a migration comes in a wrapper of SQLAlchemy's."""
    wrapped = getattr(error, "orig", None)
    return wrapped if isinstance(wrapped, Exception) else error
