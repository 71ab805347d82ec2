"""Clients that leave, and clients that do not read: the upstream is stopped, the slot is free, nothing piles up."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.gateway.clients import CLIENTS, PROMPT, Client
from tests.gateway.dialects import Said
from tests.gateway.plays import answers, headers_only, silent
from tests.gateway.stable import SLOTS, Stable, lone
from tests.gateway.upstream import Play, eventually

NOTICED_S = 1.0
MEETINGS = (
    ("openai-chat", "openai"),
    ("anthropic", "anthropic"),
    ("ollama-chat", "ollama"),
    ("openai-responses", "anthropic"),
    ("anthropic", "openai"),
)
LONG = answers(Said(text="bay and grey, " * 40, pieces=40), between_s=0.05)
"""Two seconds of an answer, piece by piece."""


@contextmanager
def asking(stable: Stable, client: Client, model: str, *, stream: bool) -> Iterator[socket.socket]:
    """A client that has sent its request and reads nothing by itself. It leaves at the end of the block."""
    address = urlsplit(stable.url)
    body = json.dumps({**client.body(model, PROMPT), "stream": stream}).encode()
    head = f"POST {client.path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=5) as raw:
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        yield raw


@pytest.mark.parametrize(("client", "upstream"), MEETINGS)
@pytest.mark.parametrize(
    ("play", "stream"), [(silent, False), (silent, True), (headers_only, True), (LONG, True)],
    ids=["whole", "before the head", "before the first token", "mid-stream"],
)  # fmt: skip
def test_a_client_that_leaves_stops_the_upstream(
    stable: Stable, client: str, upstream: str, play: Play, *, stream: bool
) -> None:
    """Within a second the connection to the upstream is closed and the slot is free, at every stage of the call."""
    server = stable.stalls[upstream].lone
    server.script(play)
    with asking(stable, CLIENTS[client], lone(upstream), stream=stream) as raw:
        server.wait_for(1)
        if play is LONG:
            eventually(lambda: server.calls[0].frames_sent >= 5, "some of the answer is sent")
            assert raw.recv(1)
    left_s = time.monotonic()

    eventually(lambda: server.calls[0].over, "the upstream is let go", NOTICED_S)

    ended_s = server.calls[0].ended_s
    assert server.calls[0].gave_up
    assert ended_s is not None
    assert ended_s - left_s <= NOTICED_S
    eventually(stable.is_idle, "the slot is free", NOTICED_S)
    assert len(server.calls) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_the_queue_is_never_sent_on(stable: Stable, *, stream: bool) -> None:
    """It waits for a slot, leaves, and the upstream hears nothing of it; who waits behind it is served."""
    server = stable.stalls["openai"].lone
    client = CLIENTS["openai-chat"]
    server.script(*[answers(first_s=0.5)] * SLOTS)
    busy = [asking(stable, client, lone("openai"), stream=True) for _ in range(SLOTS)]
    for call in busy:
        call.__enter__()
    server.wait_for(SLOTS)
    with asking(stable, client, lone("openai"), stream=stream):
        time.sleep(0.1)
        assert len(server.calls) == SLOTS, "no more calls than slots"

    got = client.ask(stable.url, lone("openai"), stream=False)

    assert got.whole, got
    assert len(server.calls) == SLOTS + 1
    for call in busy:
        call.__exit__(None, None, None)


def test_no_endpoint_gets_more_calls_than_it_has_slots(stable: Stable) -> None:
    """What is beyond them waits with us, and is served in turn."""
    server = stable.stalls["openai"].lone
    server.script(then=answers(first_s=0.1))
    calls = [asking(stable, CLIENTS["openai-chat"], lone("openai"), stream=False) for _ in range(3 * SLOTS)]
    sockets = [call.__enter__() for call in calls]
    most = 0
    while len(server.calls) < len(calls) or not server.all_over():
        most = max(most, sum(not call.over for call in list(server.calls)))
        time.sleep(0.002)

    assert all(raw.recv(12) == b"HTTP/1.1 200" for raw in sockets)
    assert most == SLOTS
    for call in calls:
        call.__exit__(None, None, None)


@pytest.mark.parametrize(("client", "upstream"), MEETINGS)
def test_a_reader_that_stalls_stops_the_upstream_from_sending(stable: Stable, client: str, upstream: str) -> None:
    """We hold a bounded part of a large answer, and go on when it is read."""
    piece, pieces = "x" * 16_384, 2_000
    server = stable.stalls[upstream].lone
    server.script(answers(Said(text=piece * pieces, pieces=pieces)))
    with asking(stable, CLIENTS[client], lone(upstream), stream=True) as raw:
        server.wait_for(1)
        before = -1
        while server.calls[0].frames_sent != before:
            before = server.calls[0].frames_sent
            time.sleep(0.2)

        # The buffers of four sockets are in it, some megabytes each at most: a part of the 32 MB, and not more later.
        assert before < pieces / 2
        assert raw.recv(1)
    eventually(lambda: server.calls[0].over, "the upstream is let go", NOTICED_S)
