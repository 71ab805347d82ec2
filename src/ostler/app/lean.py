"""A hub that starts lean: packages that others would use if they were there, and that it has no use for."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(package: str) -> Iterator[None]:
    """While it lasts, an import of a package finds nothing; afterwards it is found as always.

    For what is taken in at the first line of another package, if it is installed: structlog takes rich for drawing
    tracebacks, three megabytes that a process which draws none keeps for good.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # the language's own word for "not there"
    try:
        yield
    finally:
        del sys.modules[package]
