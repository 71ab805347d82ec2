"""One HTTP exchange and the client that may leave it, without a network."""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
import pytest

from ostler.simulate.exchange import Exchange, Sender, json_exchange


class Connection:
    """Both directions of an ASGI connection; the client hangs up when told to."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.hung_up = asyncio.Event()
        self.was_asked = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        self.was_asked.set()
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    def run(self, exchange: Exchange) -> "asyncio.Future[None]":
        return asyncio.ensure_future(exchange({"type": "http"}, self.receive, self.send))


@pytest.fixture
def connection() -> Connection:
    """A client that stays."""
    return Connection()


async def test_work_that_ends_ends_the_exchange(connection: Connection) -> None:
    """Nothing waits for the client to leave, and the watcher is gone."""
    before = asyncio.all_tasks()

    await connection.run(json_exchange(201, {"a": 1}, {"x-extra": "1"}))

    start, *body = connection.sent
    assert start["status"] == 201
    assert dict(start["headers"]) == {b"content-type": b"application/json", b"content-length": b"7", b"x-extra": b"1"}
    assert (connection.body, body[-1]["more_body"]) == (b'{"a":1}', False)
    assert asyncio.all_tasks() == before


async def test_a_client_that_hangs_up_cancels_the_work(connection: Connection) -> None:
    """While it waits for anything at all; the work can tidy up."""
    tidied = asyncio.Event()

    async def work(_sender: Sender) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidied.set()

    exchange = connection.run(Exchange(work))
    await connection.was_asked.wait()
    connection.hung_up.set()
    await asyncio.wait_for(exchange, 5)

    assert tidied.is_set()
    assert connection.sent == []


async def test_parts_of_the_request_are_not_taken_for_a_hang_up() -> None:
    """Only a disconnect is one."""
    messages: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]
    forever = asyncio.Event()
    sent: list[Mapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await forever.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    async def work(sender: Sender) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await sender.json(200, "done")

    await Exchange(work)({"type": "http"}, receive, send)

    assert sent[0]["status"] == 200


async def test_an_error_of_the_work_is_not_swallowed(connection: Connection) -> None:
    """The server reports it."""

    async def work(_sender: Sender) -> None:
        raise LookupError("a mistake of ours")

    with pytest.raises(LookupError, match="mistake"):
        await connection.run(Exchange(work))


async def test_a_server_that_stops_cancels_the_work(connection: Connection) -> None:
    """As a hang-up does, and stays cancelled."""
    ended: list[str] = []

    async def work(_sender: Sender) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    exchange = connection.run(Exchange(work))
    await connection.was_asked.wait()
    exchange.cancel()

    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert ended == ["work"]


async def test_a_response_can_be_sent_in_parts_and_left_open(connection: Connection) -> None:
    """What a cut stream needs."""
    sender = Sender(connection.send)

    await sender.start(200, {"content-type": "text/plain"})
    await sender.write(b"half")

    assert [message["type"] for message in connection.sent] == ["http.response.start", "http.response.body"]
    assert connection.sent[-1]["more_body"]


async def test_structs_are_sent_as_json(connection: Connection) -> None:
    """So that states and faults need no translation."""

    class Point(msgspec.Struct):
        x: int

    await connection.run(json_exchange(200, [Point(1)]))

    assert connection.body == b'[{"x":1}]'
