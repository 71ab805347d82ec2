"""Running simulated servers for the tests of their wire protocols."""

from collections.abc import AsyncIterator

import pytest

from tests.simulate.support import Client, cloud_client, host_client


@pytest.fixture
async def host() -> AsyncIterator[Client]:
    """A client of a fresh small host."""
    async with host_client() as client:
        yield client


@pytest.fixture
async def cloud() -> AsyncIterator[Client]:
    """A client of a fresh small cloud."""
    async with cloud_client() as client:
        yield client
