"""A thousand streams at once through one hub: each whole, each in the books once, and nothing left behind in memory.

The hub is a process of its own, as a user starts it, with the soft limit of open files that systems usually give. Its
upstream and its clients live here; a client is a plain socket, so that what it reads, and when, is the test's to say.
"""

import asyncio
import itertools
import json
import math
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from ostler.domain.live import CallRecord
from ostler.domain.ports import CallQuery
from ostler.domain.states import FailureClass
from tests.e2e.process import HubProcess, until
from tests.gateway.dialects import ANSWER_TOKENS, PROMPT_TOKENS, AnswerDialect, OpenAI, Said
from tests.gateway.upstream import END_OF_CHUNKS, PATIENCE_S, Call, Frame, Pause, Step, Upstream, eventually, head

STREAMS = 1_000
EVENTS = 20
BETWEEN_S = 0.1
STALLED = 200
STALLED_BYTES = 1_000_000
DESCRIPTORS = 2 * STREAMS + 500
"""Of this process: a client's socket and an upstream's for each stream."""
USUAL_SOFT_LIMIT = 1_024
MODEL = "simulated-stream"
LARGE = "simulated-large"
MEGABYTE = 1_000_000
ROUND_LIMIT_S = 60
WARM_UP = 20
"""Calls before memory is looked at for the first time: what they cost is there to stay."""
FIRST_ROUND_BYTES = 64 * MEGABYTE
SECOND_ROUND_BYTES = 16 * MEGABYTE
HELD_BYTES_MAX = 300_000
"""For one client that does not read: a third of what there is for it."""
COUNTS = (PROMPT_TOKENS, ANSWER_TOKENS)
SMALL_SEGMENT_BYTES = 1_460
"""As on a network, where the system keeps little of what a client does not read; on loopback it keeps megabytes."""

PROFILE = """\
routing:
  tiers:
    standard:
      models: [{model}, {large}]
providers:
  simulated: {{kind: openai, local: true}}
endpoints:
  simulated:
    provider: simulated
    url: {url}/v1
    models: [{model}, {large}]
    slots: {slots}
models:
  {model}: {{provider: simulated, context: 200000}}
  {large}: {{provider: simulated, context: 200000}}
scheduler:
  probe_interval: 60s
gateway:
  stall: 20s
hub:
  port: 0
"""


def play(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
    """Twenty events over about two seconds, or a megabyte as fast as it is taken."""
    if call.json["model"] == LARGE:
        frames = dialect.frames(Said(text="hay " * (STALLED_BYTES // 4), pieces=250))
        return [head(200, dialect.stream_type), *map(Frame, frames), END_OF_CHUNKS]
    frames = dialect.frames(Said(text="Hay for every horse.", pieces=EVENTS))
    opening, *words = frames
    paced = [step for frame in words[:EVENTS] for step in (Pause(BETWEEN_S), Frame(frame))]
    return [head(200, dialect.stream_type), Frame(opening), *paced, *map(Frame, words[EVENTS:]), END_OF_CHUNKS]


@dataclass(frozen=True)
class Yard:
    """A hub, its upstream, and how to look at both."""

    hub: HubProcess
    upstream: Upstream
    process: psutil.Process

    def memory_bytes(self) -> int:
        """What the hub's process holds."""
        return int(self.process.memory_info().rss)

    def descriptors(self) -> int:
        """What the hub's process has open."""
        return int(self.process.num_fds())

    def is_free(self) -> bool:
        """Whether no call is under way: no slot taken, nobody in the line, nothing running upstream."""
        status = self.hub.client.status()
        (endpoint,) = self.hub.client.endpoints().endpoints
        return status.calls_running == status.calls_waiting == endpoint.in_flight == 0 and self.upstream.all_over()

    def records(self, model: str) -> list[CallRecord]:
        """All records of calls for a model."""
        found: list[CallRecord] = []
        before = None
        while page := self.hub.client.calls(CallQuery(model=model, limit=500, before=before)).calls:
            found += page
            before = page[-1].id
        return found


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """The hub starts with the usual soft limit; this process has the descriptors that its clients need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"{DESCRIPTORS} open files are needed, the hard limit is {hard}: raise it (`ulimit -Hn`)")
    try:
        with Upstream(OpenAI((MODEL, LARGE)), play) as upstream:
            profile = PROFILE.format(url=upstream.url, model=MODEL, large=LARGE, slots=STREAMS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(USUAL_SOFT_LIMIT, hard), hard))
            with HubProcess(tmp_path, "--no-worker", profile=profile) as hub:
                resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
                until(lambda: hub.client.endpoints().endpoints[0].view.health == "up", "the endpoint is up")
                yield Yard(hub, upstream, psutil.Process(hub.popen.pid))
                assert hub.stop() == 0
            log = hub.log.read_text(encoding="utf-8")
            assert "Traceback" not in log, log
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Clients


def request(model: str) -> bytes:
    """A streaming request on a connection that ends with it."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "Which horses?"}]})
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    return "\r\n".join([*lines, "Connection: close", f"Content-Length: {len(body)}", "", body]).encode()


async def read_stream(port: int, asked: bytes) -> bytes:
    """One client's whole answer, head and framing and all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(asked)
        return await reader.read()
    finally:
        writer.close()


async def read_many(port: int, count: int) -> list[bytes]:
    """So many at once."""
    asked = request(MODEL)
    async with asyncio.timeout(ROUND_LIMIT_S):
        return await asyncio.gather(*(read_stream(port, asked) for _ in range(count)))


def verdict(answer: bytes) -> str:
    """What a client got: `whole`, or what is wrong with it."""
    if not answer.startswith(b"HTTP/1.1 200 "):
        return answer[:200].decode("latin-1") or "nothing"
    if not answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
        return "no end marker"
    words = answer.count(b'"content": "') - 1
    return "whole" if words == EVENTS else f"{words} events"


def port_of(hub: HubProcess) -> int:
    port = urlsplit(hub.url).port
    assert port is not None
    return port


def stalled_client(port: int) -> socket.socket:
    """A client that asks for a megabyte and reads nothing of it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
    made.connect(("127.0.0.1", port))
    made.sendall(request(LARGE))
    return made


def read_on(client: socket.socket) -> bytes:
    """All that a client that did not read can still read."""
    client.settimeout(PATIENCE_S)
    parts = []
    while part := client.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def written(yard: Yard) -> int:
    """How many calls are in the books."""
    calls = yard.hub.client.status().calls
    return calls.calls - calls.unwritten


def most_at_once(calls: Sequence[Call]) -> int:
    """How many of these were under way at the same moment."""
    changes = [(call.begun_s, 1) for call in calls] + [(call.ended_s or math.inf, -1) for call in calls]
    return max(itertools.accumulate(change for _, change in sorted(changes)))


def held_when_still(yard: Yard) -> int:
    """The hub's memory once it takes nothing more, because nobody takes it from it."""
    held, before = yard.memory_bytes(), -1
    end = time.monotonic() + PATIENCE_S
    while held != before:
        assert time.monotonic() < end, "the hub goes on and on"
        time.sleep(1)
        held, before = yard.memory_bytes(), held
    return held


# What must hold


def test_a_thousand_streams_at_once_and_another_thousand(yard: Yard) -> None:
    """All whole and recorded once, with their counts; the first thousand cost little memory, the second hardly any."""
    port = port_of(yard.hub)
    open_at_first = yard.descriptors()
    asyncio.run(read_many(port, WARM_UP))
    held = [yard.memory_bytes()]
    for round_ in (1, 2):
        begun_s = time.monotonic()
        answers = asyncio.run(read_many(port, STREAMS))
        took_s = time.monotonic() - begun_s
        assert Counter(map(verdict, answers)) == {"whole": STREAMS}
        at_once = most_at_once(yard.upstream.calls[-STREAMS:])
        eventually(lambda: written(yard) == WARM_UP + round_ * STREAMS, "every call is in the books")  # noqa: B023
        eventually(yard.is_free, "no slot is taken")
        held.append(yard.memory_bytes())
        print(f"round {round_}: {took_s:.1f} s, {at_once} at once, +{(held[-1] - held[-2]) / MEGABYTE:.1f} MB")  # noqa: T201 - the measure
        assert at_once > STREAMS * 0.9, "they were under way at the same time"

    assert held[1] - held[0] < FIRST_ROUND_BYTES
    assert held[2] - held[1] < SECOND_ROUND_BYTES
    records = yard.records(MODEL)
    assert len({record.id for record in records}) == len(records) == WARM_UP + 2 * STREAMS
    assert {(record.status, len(record.attempts), record.failure) for record in records} == {(200, 1, None)}
    attempts = [record.attempts[0] for record in records]
    assert {(row.input_tokens, row.output_tokens) for row in attempts} == {COUNTS}
    eventually(lambda: yard.descriptors() < open_at_first + 20, "connections that nobody uses are closed")


def test_two_hundred_clients_that_do_not_read(yard: Yard) -> None:
    """The hub holds a bounded part for each, serves others meanwhile, and keeps nothing when they have gone; who reads
    on after all gets all of it.
    """
    port = port_of(yard.hub)
    asyncio.run(read_many(port, WARM_UP))
    at_first, open_at_first = yard.memory_bytes(), yard.descriptors()
    clients = [stalled_client(port) for _ in range(STALLED)]
    try:
        eventually(lambda: yard.hub.client.status().calls_running == STALLED, "all are under way")
        grown = held_when_still(yard) - at_first
        print(f"{STALLED} stalled clients: +{grown / MEGABYTE:.1f} MB")  # noqa: T201 - the measure
        assert grown < STALLED * HELD_BYTES_MAX
        assert yard.hub.client.status().calls_running == STALLED, "not one of them is over"
        assert Counter(map(verdict, asyncio.run(read_many(port, WARM_UP)))) == {"whole": WARM_UP}
        readers, leavers = clients[: STALLED // 10], clients[STALLED // 10 :]
        for client in leavers:
            client.close()
        texts = [read_on(client) for client in readers]
    finally:
        for client in clients:
            client.close()

    assert {text.count(b"hay ") for text in texts} == {STALLED_BYTES // 4}
    assert all(text.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for text in texts)
    eventually(yard.is_free, "no slot is taken")
    eventually(lambda: written(yard) == 2 * WARM_UP + STALLED, "every call is in the books")
    ended = Counter((record.status, record.failure) for record in yard.records(LARGE))
    assert ended == {(200, None): len(readers), (499, FailureClass.CANCELLED): len(leavers)}
    eventually(lambda: yard.descriptors() < open_at_first + 20, "their connections are closed")
    assert yard.memory_bytes() - at_first < STALLED * HELD_BYTES_MAX
