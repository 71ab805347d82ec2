"""Faults of a simulated host as its clients meet them, in both dialects, and the paths that set them."""

import asyncio
import time
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from ostler.simulate.faults import Fault, FaultKind
from tests.simulate.support import HOST, Client, host_client, messages

NATIVE = ("/api/chat", {"model": "quick:1b", "messages": messages("hello")})
COMPAT = ("/v1/chat/completions", {"model": "quick:1b", "messages": messages("hello"), "stream": True})
BOTH = pytest.mark.parametrize(("path", "body"), [NATIVE, COMPAT], ids=["native", "compatible"])


async def raw(client: Client, path: str, body: dict[str, Any]) -> tuple[bytes, bool]:
    """What came of a stream, and whether it ended properly."""
    got = b""
    async with client.session.post(client.url + path, json=body) as response:
        assert response.status == 200
        try:
            async for part in response.content.iter_any():
                got += part
        except aiohttp.ClientPayloadError:
            return got, False
    return got, True


def tokens(got: bytes) -> int:
    return sum(b'"content":"' in line and b'"content":""' not in line for line in got.splitlines())


@BOTH
async def test_a_cut_stream_ends_without_an_end(host: Client, path: str, body: dict[str, Any]) -> None:
    """After exactly so many tokens the connection closes; the slot is free and the call counts as not finished."""
    await host.strike({"kind": "cut_stream", "after_tokens": 3, "times": 1})

    got, was_proper = await raw(host, path, body)

    assert (tokens(got), was_proper) == (3, False)
    assert (await raw(host, path, body))[1]
    counters = (await host.state())["host"]["counters"]
    assert (counters["calls_cancelled"], counters["calls_finished"]) == (1, 1)


@BOTH
async def test_a_stream_may_lack_its_end_marker(host: Client, path: str, body: dict[str, Any]) -> None:
    """It closes properly, all text is there, but nothing says that it is complete."""
    await host.strike({"kind": "missing_end", "times": 1})

    got, was_proper = await raw(host, path, body)

    assert (tokens(got), was_proper) == (12, True)
    assert b'"done":true' not in got
    assert b"[DONE]" not in got
    assert b'"finish_reason":"stop"' not in got


@BOTH
async def test_a_stalled_stream_stays_open_and_keeps_its_slot(host: Client, path: str, body: dict[str, Any]) -> None:
    """Long after its end was due, until its client has had enough."""
    await host.strike({"kind": "stall", "after_tokens": 2})
    stalled = asyncio.create_task(raw(host, path, body))
    began = await host.until(lambda state: any(r["running"] for r in state["host"]["residents"]))

    later = await host.until(lambda state: state["host"]["now_ms"] > began["host"]["now_ms"] + 20_000)

    assert [r["running"] for r in later["host"]["residents"]] == [1]
    assert not stalled.done()
    stalled.cancel()
    await host.until(lambda state: state["host"]["counters"]["calls_cancelled"] == 1)


@BOTH
async def test_a_malformed_chunk_is_followed_by_the_rest(host: Client, path: str, body: dict[str, Any]) -> None:
    """One frame is no JSON, all others are, and the end is there."""
    await host.strike({"kind": "malformed_chunk", "after_tokens": 2})

    got, was_proper = await raw(host, path, body)

    frames = [line.removeprefix(b"data: ") for line in got.splitlines() if line not in {b"", b"data: [DONE]"}]
    broken = [index for index, frame in enumerate(frames) if not _is_json(frame)]
    assert (broken, len(frames), was_proper) == ([2], 14, True)


async def test_a_stream_that_fails_half_way_says_so_natively(host: Client) -> None:
    """A last line with an error; Ollama's translation to the other dialect loses it."""
    await host.strike({"kind": "stream_error", "after_tokens": 1})

    native, _ = await raw(host, *NATIVE)
    compatible, was_proper = await raw(host, *COMPAT)

    assert "error" in msgspec.json.decode(native.splitlines()[-1])
    assert (was_proper, b"error" in compatible, b"[DONE]" in compatible) == (True, False, False)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("cut_stream", aiohttp.ClientPayloadError), ("malformed_chunk", msgspec.DecodeError), ("stall", TimeoutError)],
)
async def test_whole_answers_break_too(host: Client, kind: str, outcome: type[Exception]) -> None:
    """Shorter than promised, not JSON, or never."""
    await host.strike({"kind": kind, "after_tokens": 2})
    body = {**NATIVE[1], "stream": False}

    with pytest.raises(outcome):
        async with (
            asyncio.timeout(0.3 if outcome is TimeoutError else 10),
            host.session.post(host.url + NATIVE[0], json=body) as response,
        ):
            msgspec.json.decode(await response.read())


async def test_the_official_client_notices_a_cut(host: Client) -> None:
    """As an error, not as a short answer."""
    await host.strike({"kind": "cut_stream", "after_tokens": 2})
    async with openai.AsyncOpenAI(base_url=host.url + "/v1", api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(model="quick:1b", messages=messages("hello"), stream=True)
        with pytest.raises(openai.APIConnectionError):
            async for _chunk in stream:
                pass


@pytest.mark.parametrize(
    ("fault", "status", "error_type"),
    [
        ({"kind": "rate_limited"}, 429, "api_error"),
        ({"kind": "server_error"}, 500, "api_error"),
        ({"kind": "overloaded"}, 503, "api_error"),
    ],
)
async def test_refusals_come_in_each_dialect(
    host: Client, fault: dict[str, object], status: int, error_type: str
) -> None:
    """As often as the fault says, then calls pass again."""
    await host.strike({**fault, "times": 2})

    native = await host.post(NATIVE[0], {**NATIVE[1], "stream": False})
    compatible = await host.post(COMPAT[0], {**COMPAT[1], "stream": False})
    after = await host.post(NATIVE[0], {**NATIVE[1], "stream": False})

    assert native[0] == compatible[0] == status
    assert "simulated" in native[1]["error"]
    assert compatible[1]["error"]["type"] == error_type
    assert after[0] == 200


@pytest.mark.parametrize(("retry_after_s", "header"), [(None, None), (2000, "4")])
async def test_retry_after_is_in_real_seconds(host: Client, retry_after_s: float | None, header: str | None) -> None:
    """2,000 modelled seconds are four real ones here; it may be absent."""
    fault: dict[str, object] = {"kind": "rate_limited"}
    await host.strike(fault if retry_after_s is None else {**fault, "retry_after_s": retry_after_s})

    async with host.session.post(host.url + NATIVE[0], json=NATIVE[1]) as response:
        assert (response.status, response.headers.get("retry-after")) == (429, header)


async def test_an_outage_answers_everything_but_our_own_paths(host: Client) -> None:
    """Listings and health checks too, in the dialect of the path."""
    await host.strike({"kind": "unavailable"})

    assert await host.get("/api/tags") == (503, {"error": "simulated outage"})
    assert (await host.get("/v1/models"))[1]["error"]["message"] == "simulated outage"
    async with host.session.get(host.url) as response:
        assert response.status == 503
    await host.strike()
    assert (await host.get("/api/tags"))[0] == 200


async def test_flapping_comes_and_goes(host: Client) -> None:
    """Up and down in modelled time."""
    await host.strike({"kind": "flapping", "up_s": 20, "down_s": 20})

    async def until_status(wanted: int) -> None:
        async with asyncio.timeout(5):
            while (await host.get("/api/version"))[0] != wanted:  # noqa: ASYNC110 -- as a health check would
                await asyncio.sleep(0.002)

    for wanted in (503, 200, 503):
        await until_status(wanted)


async def test_a_slow_first_token_delays_the_headers(host: Client) -> None:
    """Nothing comes before it, and the time counts as reading the prompt."""
    await host.strike({"kind": "slow_first_token", "delay_s": 50})
    started = time.monotonic()

    async with host.session.post(host.url + NATIVE[0], json=NATIVE[1]) as response:
        assert time.monotonic() - started >= 50 / 500
        last = (await response.read()).splitlines()[-1]

    assert msgspec.json.decode(last)["prompt_eval_duration"] >= 50_000_000_000


@pytest.mark.parametrize(
    ("kind", "words"), [("load_failure", "error loading model"), ("out_of_memory", "out of memory")]
)
async def test_a_load_may_fail(host: Client, kind: str, words: str) -> None:
    """With 500 and the words a client classifies it by; the next load works."""
    await host.strike({"kind": kind, "times": 1})

    status, content = await host.post("/api/generate", {"model": "quick:1b"})

    assert status == 500
    assert words in content["error"]
    assert "simulated" in content["error"]
    assert (await host.post("/api/generate", {"model": "quick:1b"}))[0] == 200


async def test_faults_can_be_on_from_the_start_and_are_shown() -> None:
    """With the strikes they have left."""
    spec = msgspec.structs.replace(HOST, faults=(Fault(kind=FaultKind.SERVER_ERROR, times=3),))
    async with host_client(spec) as client:
        await client.post(*NATIVE)

        _status, content = await client.get("/simulate/faults")

    assert [(fault["kind"], fault["times"]) for fault in content["faults"]] == [("server_error", 2)]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"faults": [{"kind": "stall", "after": 3}]}, "unknown field `after`"),
        ({"faults": [{"kind": "stal"}]}, "Invalid enum value 'stal'"),
        ({"fault": []}, "did you mean 'faults'?"),
        ([], "Expected `object`"),
    ],
)
async def test_a_mistake_in_a_fault_is_told_and_changes_nothing(host: Client, body: object, says: str) -> None:
    """The faults set before stay as they are."""
    await host.strike({"kind": "unavailable"})

    status, content = await host.post("/simulate/faults", body)

    assert status == 400
    assert says in content["error"]
    assert (await host.get("/api/tags"))[0] == 503


async def test_the_state_tells_what_a_report_needs(host: Client) -> None:
    """Memory, residents, queue, counters, time lost to loads; and that it is simulated."""
    await host.post(NATIVE[0], {**NATIVE[1], "stream": False})

    state = await host.state()

    assert (state["simulated"], state["name"], state["time_factor"]) == (True, "tiny-host", 500.0)
    view = state["host"]
    assert view["capacity_bytes"] == HOST.capacity_bytes
    assert view["used_bytes"] == view["residents"][0]["memory_bytes"]
    assert view["counters"]["output_tokens"] == 12
    assert state["lost_to_loads_s"] == 2.0


def _is_json(frame: bytes) -> bool:
    try:
        msgspec.json.decode(frame)
    except msgspec.DecodeError:
        return False
    return True
