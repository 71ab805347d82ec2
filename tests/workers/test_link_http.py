"""Tests of the link over HTTP, against real sockets on the loopback."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ostler.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
    OstlerError,
    UnreachableError,
)
from ostler.domain.work import Progress
from ostler.workers import link_http
from ostler.workers.link_http import HttpLink
from tests.workers.fake_hub import FakeHub, FakeHubBench
from tests.workers.http_hub import TOKEN, HttpHub
from tests.workers.link_conformance import OFFER, HubBench, LinkConformance
from tests.workers.tagged import until


class TestHttpLink(LinkConformance):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[HubBench]:
        bench = FakeHubBench()
        async with HttpHub(bench.hub).serving() as http:
            bench.link = HttpLink(http.url, token=TOKEN)
            yield bench
            await bench.link.close()


@pytest.fixture
async def http() -> AsyncIterator[HttpHub]:
    async with HttpHub(FakeHub()).serving() as serving:
        yield serving


@asynccontextmanager
async def linked(url: str, token: str = TOKEN) -> AsyncIterator[HttpLink]:
    link = HttpLink(url, token=token)
    try:
        yield link
    finally:
        await link.close()


async def test_a_hub_may_live_below_a_path() -> None:
    """An address with a path, with or without a slash at its end, is put in front of every route."""
    async with HttpHub(FakeHub(), prefix="/stable").serving() as http, linked(http.url + "/") as link:
        session = await link.join(OFFER)
        await link.heartbeat(session.id, None)

    assert http.paths == ["/stable/hub/workers/join", f"/stable/hub/workers/{session.id}/heartbeat"]


async def test_a_session_id_cannot_change_the_route(http: HttpHub) -> None:
    """Whatever characters an id has, they stay in their part of the path."""
    async with linked(http.url) as link:
        for session_id in ("with space", "ünicode", "question?mark", "#"):
            with pytest.raises(NotFoundError):
                await link.heartbeat(session_id, None)

    assert http.paths[0] == "/hub/workers/with space/heartbeat"


async def test_a_wrong_token_is_not_allowed(http: HttpHub) -> None:
    """The hub's refusal arrives in its own words, and without the token."""
    async with linked(http.url, token="wrong-one") as link:
        with pytest.raises(NotAllowedError, match="this token is not for workers") as caught:
            await link.join(OFFER)

    assert caught.value.remedy == "ask for one"
    assert "wrong-one" not in str(caught.value) + repr(link)


async def test_no_token_is_sent_when_there_is_none(http: HttpHub) -> None:
    """A link without a token is refused by a hub that wants one."""
    async with linked(http.url, token="") as link:
        with pytest.raises(NotAllowedError):
            await link.join(OFFER)


@pytest.mark.parametrize("kind", [ConflictError, InvalidInputError, NotFoundError, NotAllowedError])
async def test_a_refusal_keeps_its_kind_and_words(http: HttpHub, kind: type[OstlerError]) -> None:
    """Each refusal of the hub is raised as what it was there, with its place and remedy."""
    http.hub.refusals["join"] = [kind("it is so", where="offer.slots", remedy="do this")]
    async with linked(http.url) as link:
        with pytest.raises(kind) as caught:
            await link.join(OFFER)

    assert (caught.value.what, caught.value.where, caught.value.remedy) == ("it is so", "offer.slots", "do this")


async def test_a_mistake_of_the_hub_is_worth_another_try(http: HttpHub) -> None:
    """An error that is the hub's own is told as not reachable, which callers try again."""
    http.hub.refusals["join"] = [OstlerError("broken inside")]
    async with linked(http.url) as link:
        with pytest.raises(UnreachableError, match="HTTP 500: broken inside"):
            await link.join(OFFER)

        assert (await link.join(OFFER)).id


async def test_nobody_at_the_address_is_unreachable() -> None:
    """A refused connection names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with linked(url) as link:
            with pytest.raises(UnreachableError, match=url):
                await link.join(OFFER)


async def test_a_route_that_is_not_there_is_no_lost_session(http: HttpHub) -> None:
    """Another server's 404 is not taken for the hub's word that it gave the session up."""
    async with linked(f"{http.url}/elsewhere") as link:
        with pytest.raises(UnreachableError, match="check address and port"):
            await link.heartbeat("s1", None)


@asynccontextmanager
async def server_saying(answer: bytes) -> AsyncIterator[str]:
    """A server that answers every connection with these bytes and closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def http_answer(body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}Connection: close\r\n\r\n".encode() + body


async def test_a_redirect_is_not_followed(http: HttpHub) -> None:
    """The token does not go where another server says."""
    location = f"Location: {http.url}/hub/workers/join\r\n"
    moved = http_answer(b"", status="307 Temporary Redirect", headers=location)

    async with server_saying(moved) as url, linked(url) as link:
        with pytest.raises(UnreachableError):
            await link.join(OFFER)

    assert http.hub.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not http at all\r\n\r\n",
        http_answer(b"<html>hello</html>"),
        http_answer(b'{"id": "s1"}'),
        http_answer(b'{"id": "s1", "of', length=900),
        http_answer(b"\xff\xfe"),
        http_answer(b'{"error": "no"}', status="404 Not Found"),
        http_answer(b"busy", status="503 Service Unavailable"),
        http_answer(b"", status="204 No Content"),
    ],
)
async def test_what_no_hub_says_is_unreachable(answer: bytes) -> None:
    """Cut answers, other servers, redirects and rubbish are told apart from the hub's own refusals."""
    async with server_saying(answer) as url, linked(url) as link:
        with pytest.raises(UnreachableError):
            await link.join(OFFER)


async def test_a_hub_that_does_not_answer_is_given_up(http: HttpHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call has an end; that of a poll comes after the wait that was asked for."""
    monkeypatch.setattr(link_http, "CALL_TIMEOUT_S", 0.2)
    http.hub.silent.add("poll")
    async with linked(http.url) as link:
        session = await link.join(OFFER)
        with pytest.raises(UnreachableError):
            await link.poll(session.id, 100)


async def test_many_reports_are_one_call(http: HttpHub) -> None:
    """A batch is one request, in order."""
    reports = [Progress(task_id="t", generation=1, at_ms=number) for number in range(300)]
    async with linked(http.url) as link:
        session = await link.join(OFFER)
        await link.report(session.id, reports)

    assert [report for _, report in http.hub.heard] == reports
    assert http.hub.calls == ["join", "report"]


async def test_a_hub_that_comes_back_is_reached_again() -> None:
    """A link outlives its hub: calls fail while it is away and work when it is there again."""
    hub = FakeHub()
    async with HttpHub(hub).serving() as http:
        url = http.url
        link = HttpLink(url, token=TOKEN)
        session = await link.join(OFFER)
    with pytest.raises(UnreachableError):
        await link.heartbeat(session.id, None)

    async with HttpHub(hub).serving() as http:
        link._base_url = http.url
        assert await link.heartbeat(session.id, None) == hub.lease_ms
    await link.close()


async def test_a_waiting_poll_ends_with_its_worker(http: HttpHub) -> None:
    """When the worker gives up waiting, the connection is closed and not left to the hub."""
    async with linked(http.url) as link:
        session = await link.join(OFFER)
        polling = asyncio.create_task(link.poll(session.id, 60_000))
        await until(lambda: "poll" in http.hub.calls)

        polling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await polling


async def test_a_closed_link_makes_no_call(http: HttpHub) -> None:
    """After closing, a call is refused instead of opening connections that nobody closes."""
    link = HttpLink(http.url, token=TOKEN)
    await link.join(OFFER)
    await link.close()

    with pytest.raises(UnreachableError, match="closed"):
        await link.join(OFFER)


@pytest.mark.parametrize("url", ["", "hub:8080", "ftp://hub", "http://", "http://hub/?a=b", "http://hub#x"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """A mistyped address is told before anything is tried."""
    with pytest.raises(InvalidInputError, match="http://host:port"):
        HttpLink(url)


@pytest.mark.parametrize("token", ["two\nlines", "tök", "\x00"])
def test_a_token_that_is_none_is_refused_without_being_shown(token: str) -> None:
    """Characters that would break the request are refused; the message does not repeat the token."""
    with pytest.raises(InvalidInputError) as caught:
        HttpLink("http://127.0.0.1:1", token=token)

    assert token not in str(caught.value)


def test_a_worker_inside_its_hub_does_not_load_an_http_client() -> None:
    """The HTTP library is loaded by the first call, not by importing the link or making one."""
    code = (
        "import sys; from ostler.workers.link_http import HttpLink; HttpLink('http://127.0.0.1:1');"
        "sys.exit('aiohttp' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
