"""What both faces of a simulated provider share: its state, its faults, its speed, its end."""

import asyncio
import signal
import subprocess
import sys
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from ostler.simulate.faults import Fault, FaultKind
from tests.simulate.support import CLOUD, GPT, KEY, Client, cloud_client, messages

OPENAI = (
    "/v1/chat/completions",
    {"model": "gpt-tiny", "messages": messages("hello")},
    {"Authorization": f"Bearer {KEY}"},
)
ANTHROPIC = (
    "/v1/messages",
    {"model": "claude-tiny", "max_tokens": 100, "messages": messages("hello")},
    {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
)
FACES = pytest.mark.parametrize(("path", "body", "headers"), [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
PROGRAM = """
from ostler.simulate.cloud import run_cloud
from ostler.simulate.presets import CLOUD
run_cloud(CLOUD, port=0, time_factor=50, on_ready=lambda url: print(url, flush=True))
"""


async def test_the_state_counts_over_both_faces(cloud: Client) -> None:
    """Calls and tokens of all models together."""
    for path, body, headers in (OPENAI, ANTHROPIC):
        assert (await cloud.post(path, body, **headers))[0] == 200

    state = await cloud.state()

    assert (state["simulated"], state["name"], state["under_way"]) == (True, "simulated-cloud", 0)
    counters = state["counters"]
    assert (counters["calls_finished"], counters["prompt_tokens"], counters["output_tokens"]) == (2, 4, 20)


@FACES
async def test_an_outage_has_the_shape_of_its_face(
    cloud: Client, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """A wrong key would not even be looked at."""
    await cloud.strike({"kind": "unavailable"})

    status, content = await cloud.post(path, body, **headers)

    assert (status, content["error"]["message"]) == (503, "simulated outage")
    assert ("type" in content) is (path == ANTHROPIC[0])


@FACES
async def test_a_client_that_hangs_up_ends_its_call(
    cloud: Client, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """While it waits for a whole answer."""
    await cloud.strike({"kind": "slow_first_token", "delay_s": 36_000})
    waiting = asyncio.create_task(cloud.post(path, body, **headers))
    await cloud.until(lambda state: state["under_way"] == 1)

    waiting.cancel()

    state = await cloud.until(lambda state: state["under_way"] == 0)
    assert (state["counters"]["calls_cancelled"], state["counters"]["calls_finished"]) == (1, 0)


@FACES
async def test_a_stream_opens_before_its_first_token(
    cloud: Client, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """Headers and opening come when the prompt is read, and a stall leaves them there."""
    await cloud.strike({"kind": "stall", "after_tokens": 0})

    async with cloud.session.post(cloud.url + path, json={**body, "stream": True}, headers=headers) as response:
        first = await response.content.readline()

    assert response.status == 200
    assert first.startswith((b'data: {"id":"chatcmpl-', b"event: message_start"))


@FACES
async def test_a_fault_may_be_meant_for_one_model(
    cloud: Client, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """Others do not notice."""
    await cloud.strike({"kind": "server_error", "model": "gpt-tiny"})

    status, _content = await cloud.post(path, body, **headers)

    assert status == (500 if path == OPENAI[0] else 200)


@FACES
async def test_a_rate_limit_fault_may_say_when_to_come_again(
    cloud: Client, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """In real seconds, or not at all; the other limit headers are there either way."""
    told: list[str | None] = []
    for more in ({"retry_after_s": 1500}, {}):
        await cloud.strike({"kind": "rate_limited", **more})
        async with cloud.session.post(cloud.url + path, json=body, headers=headers) as response:
            assert response.status == 429
            assert any("ratelimit" in name.lower() for name in response.headers)
            told.append(response.headers.get("retry-after"))

    assert told == ["3", None]


async def test_tokens_per_minute_are_limited() -> None:
    """By the prompt; the message says how much was asked."""
    path, body, headers = OPENAI
    long = {**body, "messages": messages("x" * 4000)}
    async with cloud_client(msgspec.structs.replace(CLOUD, tokens_per_minute=1500), factor=1) as cloud:
        first, _content = await cloud.post(path, {**long, "max_tokens": 1}, **headers)
        second, content = await cloud.post(path, long, **headers)

    assert (first, second, content["error"]["type"]) == (200, 429, "tokens")
    assert "on tokens per min (TPM): Limit 1500" in content["error"]["message"]
    assert "Requested 1000." in content["error"]["message"]


async def test_latency_is_modelled() -> None:
    """A fixed time to the first token, the prompt, then the answer at its speed: here 1.5 modelled seconds."""
    path, body, headers = OPENAI
    slow = msgspec.structs.replace(GPT, first_token_ms=500, decode_tokens_per_s=10)
    async with cloud_client(msgspec.structs.replace(CLOUD, models=(slow,)), factor=10) as cloud:
        started = time.monotonic()
        assert (await cloud.post(path, body, **headers))[0] == 200

    assert time.monotonic() - started >= 0.15


async def test_faults_can_be_on_from_the_start() -> None:
    """By the spec."""
    path, body, headers = ANTHROPIC
    spec = msgspec.structs.replace(CLOUD, faults=(Fault(kind=FaultKind.OVERLOADED, times=1),))
    async with cloud_client(spec) as cloud:
        statuses = [(await cloud.post(path, body, **headers))[0] for _ in range(2)]

    assert statuses == [529, 200]


async def test_any_key_is_let_in_when_none_is_listed() -> None:
    """But one must be sent."""
    path, body, _headers = OPENAI
    async with cloud_client(msgspec.structs.replace(CLOUD, keys=())) as cloud:
        assert (await cloud.post(path, body, Authorization="Bearer whatever"))[0] == 200
        assert (await cloud.post(path, body))[0] == 401


def test_it_runs_as_a_program() -> None:
    """And lists its models to a key."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            names = asyncio.run(_models(url))
        finally:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)

    assert "gpt-simulated-mini" in names


async def _models(url: str) -> list[str]:
    headers = {"Authorization": "Bearer sk-simulated"}
    async with aiohttp.ClientSession() as session, session.get(url + "/v1/models", headers=headers) as response:
        return [model["id"] for model in (await response.json())["data"]]
