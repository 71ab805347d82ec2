"""Whole answers of plain servers, fetched by the small client: probes, loads and listings of endpoints near by."""

import asyncio

import pytest

from ostler.fleet.settings import DriverSettings
from ostler.fleet.transport import HttpReply, HttpRequest, Transport, TransportError
from ostler.wire.classify import Problem
from tests.fleet.test_http1 import OK, listening, pooled, request_of


async def gets(reader: asyncio.StreamReader, seen: list[bytes]) -> None:
    """One request without a body."""
    seen.append(await reader.readuntil(b"\r\n\r\n"))


async def test_any_whole_answer_can_be_fetched() -> None:
    """With its status and headers, on the connection of the one before; path and query as they stand in the address."""
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await gets(reader, seen)
            writer.write(b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 4\r\n\r\nnone")

    async with listening(talk) as base, pooled() as pool:
        request = HttpRequest(method="GET", url=f"{base}/models?all=1", headers={"X-Key": "k"})
        replies = [await pool.fetch(request, 1_000) for _ in range(3)]

    assert {(reply.status, reply.headers["x-a"], reply.body) for reply in replies} == {(404, "b", b"none")}
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /base/models?all=1 HTTP/1.1"
    assert "X-Key: k" in lines
    assert not [line for line in lines if line.lower().startswith(("content-type", "content-length"))]


async def test_what_is_fetched_may_have_a_body() -> None:
    """It says its length, and its type as the caller says it, once."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await request_of(reader)
        heads.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    async with listening(talk) as base, pooled() as pool:
        request = HttpRequest(method="POST", url=base, headers={"Content-Type": "application/json"}, body=b'{"a":1}')
        reply = await pool.fetch(request, 1_000)

    assert reply.body == b'{"a":1}'
    assert heads[0].lower().count(b"content-type:") == 1


async def test_what_is_fetched_is_bounded() -> None:
    """A server that does not end is told from one that answers; its connection is closed."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gets(reader, [])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 2_000)
        await reader.read()
        ended.set()

    async with listening(talk) as base, pooled() as pool:
        with pytest.raises(TransportError) as caught:
            await pool.fetch(HttpRequest(method="GET", url=base), 1_000)
        await asyncio.wait_for(ended.wait(), 2)

    assert caught.value.problem is Problem.NOT_HTTP


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:1/x", Problem.UNREACHABLE),
        ("http://127.0.0.1:x/y", Problem.BAD_URL),
        ("http://a..b:1/x", Problem.BAD_URL),
    ],
)
async def test_what_cannot_be_fetched_is_told_by_its_kind(url: str, problem: Problem) -> None:
    """Nobody there, or an address that is none."""
    async with pooled() as pool:
        with pytest.raises(TransportError) as caught:
            await pool.fetch(HttpRequest(method="GET", url=url), 1_000)

    assert caught.value.problem is problem


async def test_a_hub_with_plain_servers_alone_opens_no_session() -> None:
    """The general client takes several megabytes; it comes in with the first address that needs it."""
    async with listening(answering_gets) as base, pooled() as pool:
        transport = Transport(DriverSettings(), pool)
        reply = await transport.fetch(HttpRequest(method="GET", url=base, proxied=True))
        assert reply.body == b"ok"
        assert transport._session is None
        await transport.close()


async def answering_gets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await gets(reader, [])
    writer.write(OK)


async def test_what_is_fetched_through_a_proxy_is_the_sessions() -> None:
    """The small client knows no proxy: an address that is not of this machine goes where the profile says."""
    asked: list[str] = []

    class Plain:
        async def fetch(self, request: HttpRequest, limit_bytes: int) -> HttpReply:
            asked.append(request.url)
            return HttpReply(status=200, headers={}, body=b"")

    transport = Transport(DriverSettings(proxy_url="http://127.0.0.1:1"), Plain())
    await transport.fetch(HttpRequest(method="GET", url="http://127.0.0.1:1/near", proxied=True))
    await transport.fetch(HttpRequest(method="GET", url="http://far.example/own", proxied=False))
    with pytest.raises(TransportError):
        await transport.fetch(HttpRequest(method="GET", url="http://far.example/away", proxied=True))
    with pytest.raises(TransportError):
        await transport.fetch(HttpRequest(method="GET", url="https://127.0.0.1:1/tls", proxied=False))
    await transport.close()

    assert asked == ["http://127.0.0.1:1/near", "http://far.example/own"]


async def test_leaving_a_fetch_closes_its_connection() -> None:
    """A load that is called off is called off at the server too."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gets(reader, [])
        begun.set()
        await reader.read()
        ended.set()

    async with listening(talk) as base, pooled() as pool:
        fetching = asyncio.create_task(pool.fetch(HttpRequest(method="GET", url=base), 1_000))
        await begun.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await asyncio.wait_for(ended.wait(), 2)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", Problem.CUT),
        (b"SSH-2.0-OpenSSH\r\n", Problem.NOT_HTTP),
        (b"", Problem.LOST),
    ],
)
async def test_what_is_no_whole_answer_is_not_taken_for_one(answer: bytes, problem: Problem) -> None:
    """Told by its kind, as by the session."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gets(reader, [])
        writer.write(answer)

    async with listening(talk) as base, pooled() as pool:
        with pytest.raises(TransportError) as caught:
            await pool.fetch(HttpRequest(method="GET", url=base), 1_000)

    assert caught.value.problem is problem
