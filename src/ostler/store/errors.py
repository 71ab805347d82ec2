"""Errors of the store: the machine, not the caller, is in the way."""

from ostler.domain.errors import OstlerError


class StoreError(OstlerError):
    """The database could not be opened, read or written. What was acknowledged before stays durable."""

    http_status = 503
    code = "store"
