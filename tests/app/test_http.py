"""The HTTP face of a hub: bound before it says so, closed to strangers beyond loopback, stopped within its grace."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ostler.app import http as http_module
from ostler.app.http import Door, Listener
from ostler.domain.errors import InvalidInputError
from tests.hub.house import House, house

EVERYWHERE = "0.0.0.0"  # noqa: S104 - on a free port, for the length of a test


@pytest.fixture
async def built() -> AsyncIterator[House]:
    """A hub to serve."""
    async with house() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who asks."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def asked(client: aiohttp.ClientSession, url: str, token: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with client.get(url, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_it_answers_as_soon_as_it_has_started(built: House, client: aiohttp.ClientSession) -> None:
    """On a free port, whose address it tells; and no more once it has stopped."""
    listener = Listener(built.hub, Door("127.0.0.1", 0))
    assert listener.url == ""
    await listener.start()
    assert listener.url.startswith("http://127.0.0.1:")
    assert not listener.url.endswith(":0")
    assert await asked(client, f"{listener.url}/hub/status") == 200
    await listener.stop()
    await listener.stop()

    with pytest.raises(aiohttp.ClientConnectorError):
        await asked(client, f"{listener.url}/healthz")


async def test_a_listener_that_never_started_can_be_stopped(built: House) -> None:
    """The way out of a failed start."""
    await Listener(built.hub, Door("127.0.0.1", 0)).stop()


async def test_a_port_that_is_taken_is_refused_with_what_to_do(built: House) -> None:
    """One line: the address, the reason, the flag; the socket is given back."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError) as caught:
            await Listener(built.hub, Door("127.0.0.1", port)).start()
    text = str(caught.value)

    assert f"cannot listen on 127.0.0.1:{port}: " in text
    assert "in use" in text
    assert "--port" in text
    assert caught.value.where == "hub.host, hub.port"
    freed = Listener(built.hub, Door("127.0.0.1", port))
    await freed.start()
    await freed.stop()


@pytest.mark.parametrize("host", ["203.0.113.7", "no such name"])
async def test_an_address_that_is_not_of_this_machine_is_refused(built: House, host: str) -> None:
    """Not a traceback from the depths of the loop."""
    with pytest.raises(InvalidInputError, match="cannot listen on"):
        await Listener(built.hub, Door(host, 0)).start()


async def test_two_hubs_cannot_share_a_port(built: House) -> None:
    """The second one is told, although the address may be bound again after a crash."""
    first = Listener(built.hub, Door("127.0.0.1", 0))
    await first.start()
    port = int(first.url.rsplit(":", 1)[1])
    with pytest.raises(InvalidInputError, match="in use"):
        await Listener(built.hub, Door("127.0.0.1", port)).start()
    await first.stop()


async def test_beyond_loopback_a_token_is_needed(built: House, client: aiohttp.ClientSession) -> None:
    """For everything but the sign of life; the address that is told can be used on this machine."""
    listener = Listener(built.hub, Door(EVERYWHERE, 0))
    await listener.start()
    assert listener.url.startswith("http://127.0.0.1:")
    made = await built.hub.tokens.make("me", "admin")
    worker = await built.hub.tokens.make("w", "worker")
    status = f"{listener.url}/hub/status"
    found = [await asked(client, status, token) for token in (None, "guess", worker.token, made.token)]

    assert found == [401, 401, 403, 200]
    assert await asked(client, f"{listener.url}/healthz") == 200
    await listener.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_on_loopback_none_is(built: House, client: aiohttp.ClientSession, host: str) -> None:
    """Whoever is on this machine may use its hub."""
    listener = Listener(built.hub, Door(host, 0))
    await listener.start()

    assert await asked(client, f"{listener.url}/hub/status") == 200
    await listener.stop()


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_an_ipv6_address_is_written_in_brackets(built: House, client: aiohttp.ClientSession) -> None:
    """As addresses are."""
    listener = Listener(built.hub, Door("::1", 0))
    try:
        await listener.start()
    except InvalidInputError:
        pytest.skip("IPv6 is switched off here")
    assert listener.url.startswith("http://[::1]:")
    assert await asked(client, f"{listener.url}/hub/status") == 200
    await listener.stop()


async def test_it_stops_within_its_grace_although_somebody_listens(
    built: House, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream without end does not hold up the machine's shutdown."""
    monkeypatch.setattr(http_module, "GRACE_S", 1)
    listener = Listener(built.hub, Door("127.0.0.1", 0))
    await listener.start()
    async with client.get(f"{listener.url}/hub/events/stream") as stream:
        assert stream.status == 200
        begun = time.monotonic()
        await asyncio.wait_for(listener.stop(), 8)

        assert time.monotonic() - begun < 4


async def test_followers_that_were_told_to_end_cost_no_grace(built: House, client: aiohttp.ClientSession) -> None:
    """The usual way down: they end by themselves, whole."""
    listener = Listener(built.hub, Door("127.0.0.1", 0))
    await listener.start()
    async with client.get(f"{listener.url}/hub/events/stream") as stream:
        begun = time.monotonic()
        await built.pump.close_followers()
        rest = await asyncio.wait_for(stream.read(), 8)
        await asyncio.wait_for(listener.stop(), 8)

        assert isinstance(rest, bytes)
        assert time.monotonic() - begun < http_module.GRACE_S
