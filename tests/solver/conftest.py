"""The processes that a test has started: those of other tests may be running beside it."""

from collections.abc import Callable

import psutil
import pytest

Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def children() -> Children:
    """The processes below this one that were not there when the test began."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [child for child in psutil.Process().children(recursive=True) if child not in before]
