"""A fake endpoint for each wire format, and drivers with limits that only a test of a limit should meet."""

from collections.abc import AsyncIterator

import pytest

from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from tests.fleet.fakes import KEY, KEY_ENV, WIRES, FakeServer, WallClock, Wire, serving

PLENTY = DriverSettings(
    connect_timeout_ms=20_000,
    probe_timeout_ms=20_000,
    first_token_timeout_ms=20_000,
    idle_timeout_ms=20_000,
    load_timeout_ms=20_000,
    unload_timeout_ms=20_000,
)


@pytest.fixture(params=WIRES, ids=lambda wire: wire.kind.value)
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each wire format in turn."""
    chosen = request.param
    assert isinstance(chosen, Wire)
    return chosen


@pytest.fixture
async def server(wire: Wire) -> AsyncIterator[FakeServer]:
    """A running fake of that format."""
    async with serving(wire.server()) as running:
        yield running


@pytest.fixture
async def drivers() -> AsyncIterator[DriverSet]:
    """Drivers with a key in their environment."""
    made = DriverSet({KEY_ENV: KEY}, WallClock(), PLENTY)
    yield made
    await made.close()
