"""A fake endpoint for each wire format, and drivers with short limits."""

from collections.abc import AsyncIterator

import pytest

from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from tests.fleet.fakes import KEY, KEY_ENV, WIRES, FakeServer, WallClock, Wire, serving

FAST = DriverSettings(
    connect_timeout_ms=1_000,
    probe_timeout_ms=1_000,
    first_token_timeout_ms=2_000,
    idle_timeout_ms=2_000,
    load_timeout_ms=2_000,
    unload_timeout_ms=2_000,
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
    made = DriverSet({KEY_ENV: KEY}, WallClock(), FAST)
    yield made
    await made.close()
