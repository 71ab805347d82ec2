"""What every driver promises about probing, run against a fake server of each wire format."""

import asyncio

import msgspec
import pytest
from aiohttp import web

from ostler.domain.fleet import ProbeStatus
from ostler.fleet.drivers import DriverSet
from tests.fleet.conftest import PLENTY
from tests.fleet.fakes import KEY, KEY_ENV, FakeServer, WallClock, Wire

BOUND_S = 3.0


async def test_a_probe_lists_and_never_generates(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """Names are normalised; nothing is asked that a model would have to answer."""
    probe = await drivers.probe(wire.spec(server))

    assert probe.status is ProbeStatus.AVAILABLE
    assert (probe.endpoint, probe.models) == ("box", ("small:1b", "big"))
    assert probe.status.exit_code == 0
    assert {seen.path for seen in server.seen}.isdisjoint({wire.chat_path, "/api/generate"})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ProbeStatus.KEY_INVALID),
        (403, ProbeStatus.KEY_INVALID),
        (429, ProbeStatus.RATE_LIMITED),
        (500, ProbeStatus.UNAVAILABLE),
        (503, ProbeStatus.UNAVAILABLE),
    ],
)
async def test_a_probe_tells_refusals_apart(
    wire: Wire, server: FakeServer, drivers: DriverSet, status: int, expected: ProbeStatus
) -> None:
    """A bad key needs a person, a rate limit needs time, the rest needs another look."""
    server.routes[wire.listing_path] = web.Response(
        status=status, text=wire.error_body("no"), headers={"Retry-After": "5"}
    )

    probe = await drivers.probe(wire.spec(server))

    assert probe.status is expected
    assert probe.retry_after_ms == (None if expected is ProbeStatus.KEY_INVALID else 5_000)
    assert "\n" not in probe.message
    assert KEY not in probe.message


@pytest.mark.parametrize("page", ["<!DOCTYPE html><html></html>", '{"hello": "world"}', "", "OK"])
async def test_a_probe_of_something_else_says_so(wire: Wire, server: FakeServer, drivers: DriverSet, page: str) -> None:
    """Any program may answer on a port; the message says what was expected and what to try."""
    server.routes[wire.listing_path] = web.Response(text=page)

    probe = await drivers.probe(wire.spec(server))

    assert probe.status is ProbeStatus.UNAVAILABLE
    assert "does not look like" in probe.message
    assert "kind:" in probe.message


async def test_a_probe_of_an_unknown_path_says_so(wire: Wire, server: FakeServer, drivers: DriverSet) -> None:
    """A 404 on the listing means another protocol."""
    del server.routes[wire.listing_path]

    probe = await drivers.probe(wire.spec(server))

    assert probe.status is ProbeStatus.UNAVAILABLE
    assert "does not look like" in probe.message


async def test_a_probe_ends_in_time(wire: Wire, server: FakeServer) -> None:
    """An endpoint that accepts and says nothing is unavailable, not waited for."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    del server.routes[wire.listing_path]
    server.handlers[wire.listing_path] = hang
    drivers = DriverSet({KEY_ENV: KEY}, WallClock(), msgspec.structs.replace(PLENTY, probe_timeout_ms=100))

    probe = await asyncio.wait_for(drivers.probe(wire.spec(server)), BOUND_S)

    assert probe.status is ProbeStatus.UNAVAILABLE
    assert "within 0.1 s" in probe.message
    await drivers.close()
