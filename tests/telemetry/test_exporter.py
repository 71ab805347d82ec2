"""Spans on their way to a receiver: in batches, tried again, dropped rather than waited for."""

import asyncio
import doctest
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from ostler.telemetry import exporter as rules
from ostler.telemetry.exporter import SpanExporter
from ostler.telemetry.otlp import Span
from tests.telemetry.test_delivery import Received, server, until


def span(number: int) -> Span:
    return Span(name=f"s{number}", trace_id="a" * 32, span_id=f"{number + 1:016x}", start_ms=1, end_ms=2)


def names(received: Received) -> list[list[str]]:
    """Of each request the spans."""
    return [
        [one["name"] for one in json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]]
        for _, body in received.requests
    ]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "PAUSE_S", 0.0)


@asynccontextmanager
async def exporting(
    url: str, counted: Counter[str], *, headers: str = "", every_s: float = 0.01
) -> AsyncIterator[SpanExporter]:
    def count(end: str, number: int) -> None:
        counted[end] += number

    made = SpanExporter(url, "stable", env={rules.HEADERS_VARIABLE: headers}, count=count, every_s=every_s)
    made.start()
    try:
        yield made
    finally:
        await made.stop()


def base(received: Received) -> str:
    return received.url.removesuffix("/hook")


async def test_a_header_that_cannot_be_one_drops_spans_and_is_told_once() -> None:
    """The variable comes from outside; a mistake in it ends neither the sender nor the hub."""
    counted: Counter[str] = Counter()
    with capture_logs() as lines:
        async with server() as received, exporting(base(received), counted, headers="api-key=a%0Ab") as made:
            made.add([span(1)])
            await until(lambda: counted["dropped"] == 1)
            made.add([span(2)])
            await until(lambda: counted["dropped"] == 2)

    assert received.requests == []
    assert [line["event"] for line in lines] == ["traces cannot be sent; spans are dropped"]


async def test_spans_are_sent_to_the_path_of_the_protocol_with_the_headers_of_the_variable() -> None:
    """The base address is enough; the service is named."""
    counted: Counter[str] = Counter()
    async with server() as received, exporting(base(received) + "/", counted, headers="api-key=s3cret") as made:
        made.add([span(1), span(2)])
        await until(lambda: counted["sent"] == 2)

    ((headers, data),) = received.requests
    assert names(received) == [["s1", "s2"]]
    assert (headers["api-key"], headers["Content-Type"]) == ("s3cret", "application/json")
    assert "stable" in data.decode()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/collect/v1/traces"])
async def test_a_whole_address_is_taken_as_it_is(path: str) -> None:
    """With or without the path of the protocol."""
    made = SpanExporter(f"http://x{path}", "s", env={}, count=lambda *_: None)

    assert made._url in {"http://x/v1/traces", "http://x/collect/v1/traces"}


async def test_many_spans_go_in_batches() -> None:
    """As soon as a batch is full, not only when it is time."""
    counted: Counter[str] = Counter()
    async with server() as received, exporting(base(received), counted, every_s=3_600) as made:
        made.add([span(number) for number in range(rules.BATCH + 5)])
        await until(lambda: counted["sent"] == rules.BATCH + 5)

    assert [len(batch) for batch in names(received)] == [rules.BATCH, 5]


async def test_a_receiver_in_trouble_is_asked_again_and_one_that_refuses_is_not() -> None:
    """503 and 429 pass; 400 does not."""
    counted: Counter[str] = Counter()
    async with server(503, 429, 200, 400) as received, exporting(base(received), counted) as made:
        made.add([span(1)])
        await until(lambda: counted["sent"] == 1)
        assert len(received.requests) == 3
        with capture_logs() as lines:
            made.add([span(2)])
            await until(lambda: counted["dropped"] == 1)

    assert len(received.requests) == 4
    assert [line["reason"] for line in lines] == ["it answered with status 400"]


async def test_a_receiver_that_is_away_is_told_of_once() -> None:
    """Not with every batch; when it was back and goes again, once more."""
    counted: Counter[str] = Counter()
    with capture_logs() as lines:
        async with exporting("http://127.0.0.1:9", counted) as made:
            for number in range(3):
                made.add([span(number)])
                await until(lambda number=number: counted["dropped"] == number + 1)  # type: ignore[misc]

    assert len(lines) == 1


async def test_what_waits_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that is slower than the work costs a bounded memory; the oldest spans go."""
    monkeypatch.setattr(rules, "WAITING_MAX", 10)
    counted: Counter[str] = Counter()
    async with server() as received, exporting(base(received), counted, every_s=3_600) as made:
        made.add([span(number) for number in range(25)])
        assert counted == {"dropped": 15}
        await made.stop()

    assert names(received) == [[f"s{number}" for number in range(15, 25)]]
    assert counted == {"dropped": 15, "sent": 10}


async def test_stopping_sends_what_waits_and_does_not_wait_for_ever() -> None:
    """A hub that stops is held up for the patience at most."""
    counted: Counter[str] = Counter()
    async with server() as received, exporting(base(received), counted, every_s=3_600) as made:
        made.add([span(1)])
        await made.stop()
        await made.stop()
    assert names(received) == [["s1"]]

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    closed = asyncio.Event()

    async with await asyncio.start_server(hangs, "127.0.0.1", 0) as listener:
        address = listener.sockets[0].getsockname()
        async with exporting(f"http://{address[0]}:{address[1]}", counted, every_s=3_600) as made:
            made.add([span(2)])
            async with asyncio.timeout(3):
                await made.stop(0.05)
        await closed.wait()


async def test_a_stop_that_is_broken_off_closes_the_connection() -> None:
    """Whoever waits for the last spans may be ended himself."""

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()
        closed.set()

    came, closed = asyncio.Event(), asyncio.Event()
    async with await asyncio.start_server(hangs, "127.0.0.1", 0) as listener:
        address = listener.sockets[0].getsockname()
        async with exporting(f"http://{address[0]}:{address[1]}", Counter(), every_s=3_600) as made:
            made.add([span(1)])
            stopping = asyncio.ensure_future(made.stop(60.0))
            await came.wait()
            stopping.cancel()
            await asyncio.wait({stopping})
            assert made._session is None
        async with asyncio.timeout(3):
            await closed.wait()


def test_the_examples_of_the_docs_hold() -> None:
    """Doctests of the module."""
    assert doctest.testmod(rules).failed == 0
