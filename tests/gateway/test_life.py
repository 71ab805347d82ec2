"""What outlives one call: endpoints known to be dead, a hub that stops, and what can be asked afterwards."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.clients import CLIENTS, Got
from tests.gateway.dialects import Said
from tests.gateway.plays import GOOD, UNAVAILABLE, answers, fails
from tests.gateway.stable import LIMITS, Stable, lone, open_stable, pair
from tests.gateway.upstream import at_most, eventually

BREAKER_FAILURES = 3
CHAT = CLIENTS["openai-chat"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stable]:
    """A hub for one test, with a breaker that opens."""
    with open_stable(
        tmp_path, LIMITS.replace("breaker_failures: 1000", f"breaker_failures: {BREAKER_FAILURES}")
    ) as made:
        yield made


def test_a_dead_endpoint_costs_nothing_once_it_is_known(own: Stable) -> None:
    """It is tried until its breaker opens; then calls go past it at once, and every client has its answer."""
    stall = own.stalls["openai"]
    stall.first.script(then=fails(UNAVAILABLE))

    gots = [CHAT.ask(own.url, pair("openai"), stream=True) for _ in range(12)]

    assert all(got.whole for got in gots)
    assert 1 <= len(stall.first.calls) <= BREAKER_FAILURES
    assert {got.headers["x-ostler-attempts"] for got in gots[-6:]} == {"1"}


def test_where_all_are_dead_the_client_hears_it_at_once(own: Stable) -> None:
    """Not after a deadline, with when to come back, and nobody is asked any more."""
    upstream = own.stalls["anthropic"].lone
    upstream.script(then=fails(UNAVAILABLE))
    for _ in range(BREAKER_FAILURES):
        CHAT.ask(own.url, lone("anthropic"), stream=False)
    asked = len(upstream.calls)

    with at_most(3.0, "the refusal"):
        got = CHAT.ask(own.url, lone("anthropic"), stream=False)

    assert got.status == 503, got
    assert int(got.headers["retry-after"]) > 0
    assert len(upstream.calls) == asked


def test_a_hub_that_stops_lets_answers_end(own: Stable) -> None:
    """The stream that has begun comes whole; who comes after hears that the hub stops, or finds it gone."""
    upstream = own.stalls["openai"].lone
    said = Said(text="bay and grey, " * 20, pieces=20)
    upstream.script(answers(said, between_s=0.05))
    got: list[Got] = []
    asking = threading.Thread(target=lambda: got.append(CHAT.ask(own.url, lone("openai"), stream=True)))
    asking.start()
    eventually(lambda: upstream.calls and upstream.calls[0].frames_sent > 3, "the answer has begun")

    own.hub.popen.send_signal(signal.SIGTERM)
    asking.join(10)

    assert got[0].whole, got[0]
    assert got[0].text == said.text
    assert own.hub.popen.wait(10) == 0


def test_a_call_is_explained_afterwards(stable: Stable) -> None:
    """`ostler why CALL` names what answered, what failed before it and why; without prompt and answer."""
    stall = stable.stalls["openai"]
    stall.script_pair(fails(UNAVAILABLE))
    got = CHAT.ask(stable.url, pair("openai"), stream=False)
    record = stable.last_call(pair("openai"))

    assert got.headers["x-ostler-call"] == record.id
    assert got.headers["x-ostler-model"] == pair("openai")
    assert (record.prompt, record.answer) == (None, None)
    said = ostler("why", record.id, "--hub", stable.url)
    first, second = (attempt.endpoint for attempt in record.attempts)
    assert first in said
    assert second in said
    assert GOOD.text not in said


def test_a_refusal_of_the_model_is_handed_on_and_not_routed_around(stable: Stable) -> None:
    """HTTP says success and the answer says refused: that is an answer, from the one place that was asked."""
    for upstream, client, reason in (
        ("openai", "openai-chat", "content_filter"),
        ("anthropic", "anthropic", "refusal"),
    ):
        stall = stable.stalls[upstream]
        stall.script_pair(answers(Said(text="I will not.", finish="refusal")))
        got = CLIENTS[client].ask(stable.url, pair(upstream), stream=False)

        assert reason in got.raw.decode()
        assert len(stall.pair_calls) == 1


def test_calls_wait_in_turn_and_hear_why_when_the_queue_takes_too_long(stable: Stable) -> None:
    """503 with the reason and when to come back, at the limit of the queue and not later."""
    upstream = stable.stalls["openai"].lone
    upstream.script(then=answers(Said(pieces=20), between_s=0.3))
    threads = [
        threading.Thread(target=CHAT.ask, args=(stable.url, lone("openai")), kwargs={"stream": True}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    upstream.wait_for(4)
    begun = time.monotonic()

    got = CHAT.ask(stable.url, lone("openai"), stream=False)

    assert got.status == 503, got
    assert 1.5 <= time.monotonic() - begun <= 3.5
    assert int(got.headers["retry-after"]) > 0
    assert "capacity" in got.error
    assert len(upstream.calls) == 4
    for thread in threads:
        thread.join(10)


def ostler(*arguments: str) -> str:
    """What one verb prints."""
    command = [sys.executable, "-m", "ostler.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
