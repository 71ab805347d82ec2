"""Served hubs for the tests of the web package."""

from collections.abc import Iterator

import pytest

from tests.web.recording_hub import ServedHub, served_hub


@pytest.fixture(scope="session")
def _served() -> Iterator[ServedHub]:
    with served_hub() as served:
        yield served


@pytest.fixture(scope="session")
def _guarded() -> Iterator[ServedHub]:
    with served_hub(require_token=True) as served:
        yield served


@pytest.fixture
def served(_served: ServedHub) -> ServedHub:
    """A hub on loopback that asks people for no token."""
    _served.fresh()
    return _served


@pytest.fixture
def guarded(_guarded: ServedHub) -> ServedHub:
    """A hub that other machines can reach: every route but the open ones needs a token."""
    _guarded.fresh()
    return _guarded
