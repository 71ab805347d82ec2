"""How a simulated server starts and stops."""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time

import aiohttp
import pytest

from ostler.simulate import cloud, host
from ostler.simulate.clock import ScaledClock
from ostler.simulate.host_events import FOREVER_MS
from ostler.simulate.presets import CLOUD, WORKSTATION
from ostler.simulate.server import _listen, running
from tests.simulate.support import HOST, host_client, messages

PROGRAM = """
import sys
from ostler.simulate.host import run_host
from ostler.simulate.presets import WORKSTATION
run_host(WORKSTATION, port=0, time_factor=100, on_ready=lambda url: print(url, flush=True))
"""


async def test_several_servers_run_in_one_loop() -> None:
    """Each on a free port of its own."""
    async with (
        running(host.build_app(WORKSTATION)) as first,
        running(host.build_app(WORKSTATION)) as second,
        running(cloud.build_app(CLOUD)) as third,
        aiohttp.ClientSession() as session,
    ):
        assert len({first, second, third}) == 3
        for url in (first, second):
            async with session.get(url + "/api/version") as response:
                assert response.status == 200


async def test_leaving_closes_open_streams_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """As a machine that is switched off: nothing is drained, nobody waits, nothing is complained about."""
    with caplog.at_level(logging.WARNING):
        async with aiohttp.ClientSession() as session:
            async with running(host.build_app(HOST, time_factor=500)) as url:
                asked = {"model": "slow", "messages": messages("[tokens:9000]")}
                response = await session.post(url + "/api/chat", json=asked)
                assert await response.content.readline()
                started = time.monotonic()

            assert time.monotonic() - started < 1
            with pytest.raises(aiohttp.ClientError):
                await response.read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url)
    assert caplog.records == []


async def test_nothing_is_left_behind() -> None:
    """No task of the server outlives it."""
    before = asyncio.all_tasks()
    async with host_client() as client:
        await client.post("/api/generate", {"model": "quick:1b"})

    assert asyncio.all_tasks() == before


async def test_a_taken_port_is_an_error_of_the_caller() -> None:
    """Told before anything is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            async with running(host.build_app(WORKSTATION), port=other.getsockname()[1]):
                pass


async def test_an_app_that_cannot_start_is_an_error() -> None:
    """Not a wait for ever."""
    app = host.build_app(WORKSTATION)

    def broken(_app: object) -> object:
        raise RuntimeError("no")

    app.router.lifespan_context = broken  # type: ignore[assignment]

    with pytest.raises(RuntimeError, match="did not start"):
        async with running(app):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_as_a_program_and_ends_on_a_signal(number: signal.Signals) -> None:
    """Telling its address as soon as it answers; ending is no error and leaves no traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        try:
            code = asyncio.run(_status(url + "/api/tags"))
        finally:
            process.send_signal(number)
        process.wait(timeout=10)
        complaints = process.stderr.read()

    assert (url.startswith("http://127.0.0.1:"), code) == (True, 200)
    assert (process.returncode, complaints) == (0, "")


def test_a_scaled_clock_runs_ahead_and_back() -> None:
    """Modelled durations shrink by the factor; "for ever" stays for ever."""
    clock = ScaledClock(1000)

    ahead_ms = clock.to_wall_ms(clock.now_ms() + 60_000) - clock.wall_ms()

    assert 50 <= ahead_ms <= 61
    assert clock.real_s(5000) == 0.005
    assert clock.to_wall_ms(clock.now_ms() + FOREVER_MS) - clock.wall_ms() > FOREVER_MS // 2
    with pytest.raises(ValueError, match="above 0"):
        ScaledClock(0)


async def _status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


def test_small_writes_are_not_held_back() -> None:
    """Asyncio switches the delay off only for sockets that say they are TCP; each chunk would wait 40 ms otherwise."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
