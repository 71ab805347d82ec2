"""Ollama's native protocol, spoken by a simulated host over a real socket."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.simulate.support import HOST, QUICK, Client, State, host_client, messages

CHAT: dict[str, Any] = {"model": "quick:1b", "messages": messages("hello")}
FIGURES = {
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
}


async def test_it_says_that_it_runs(host: Client) -> None:
    """In Ollama's words, to GET and HEAD alike; an unknown path is not found in Go's words."""
    async with host.session.get(host.url) as response:
        assert (response.status, await response.text()) == (200, "Ollama is running")
    async with host.session.head(host.url) as response:
        assert response.status == 200
    async with host.session.get(host.url + "/api/none") as response:
        assert (response.status, await response.text()) == (404, "404 page not found")
    assert await host.get("/api/version") == (200, {"version": HOST.version})


async def test_it_lists_its_models(host: Client) -> None:
    """With their tags, sizes and details."""
    status, content = await host.get("/api/tags")

    assert status == 200
    assert [model["name"] for model in content["models"]] == [
        "slow:latest",
        "quick:1b",
        "thinker:latest",
        "plain:latest",
        "embed:latest",
    ]
    quick = content["models"][1]
    assert quick["model"] == "quick:1b"
    assert quick["size"] == QUICK.weights_bytes
    assert len(quick["digest"]) == 64
    assert quick["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "7B",
        "quantization_level": "Q4_K_M",
    }


async def test_it_shows_a_model(host: Client) -> None:
    """The window under the family's name, and what the model can do."""
    status, content = await host.post("/api/show", {"model": "thinker"})

    assert status == 200
    assert content["model_info"]["general.architecture"] == "qwen3"
    assert content["model_info"]["qwen3.context_length"] == 32_768
    assert content["capabilities"] == ["completion", "tools", "thinking"]
    assert content["details"]["family"] == "qwen3"
    assert await host.post("/api/show", {"name": "none"}) == (404, {"error": "model 'none' not found"})
    assert await host.post("/api/show", {}) == (400, {"error": "model is required"})


async def test_a_chat_streams_lines_and_ends_with_its_figures(host: Client) -> None:
    """One line a token, then one with `done`; durations are modelled, whatever the time factor."""
    lines = await host.lines("/api/chat", CHAT)

    assert len(lines) == 13
    for line in lines[:-1]:
        assert set(line) == {"model", "created_at", "message", "done"}
        assert (line["model"], line["done"]) == ("quick:1b", False)
        assert set(line["message"]) == {"role", "content"}
    last = lines[-1]
    assert set(last) == {"model", "created_at", "message", "done", "done_reason"} | FIGURES
    assert (last["done"], last["done_reason"], last["message"]) == (True, "stop", {"role": "assistant", "content": ""})
    assert (last["prompt_eval_count"], last["eval_count"]) == (2, 12)
    assert last["eval_duration"] == 400_000_000
    assert last["load_duration"] == 2_000_000_000
    assert last["total_duration"] == 2_000_000_000 + last["prompt_eval_duration"] + last["eval_duration"]
    text = "".join(line["message"]["content"] for line in lines)
    assert text.startswith("[simulated quick:1b] ")
    assert abs(datetime.fromisoformat(last["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_whole_chat_is_the_same_answer(host: Client) -> None:
    """With `stream` false: one object, the same text, and no load the second time."""
    lines = await host.lines("/api/chat", CHAT)

    status, content = await host.post("/api/chat", {**CHAT, "stream": False})

    assert status == 200
    assert content["message"]["content"] == "".join(line["message"]["content"] for line in lines)
    assert (content["done"], content["eval_count"]) == (True, 12)
    assert content["load_duration"] == 1_000_000


async def test_generate_streams_and_answers_whole(host: Client) -> None:
    """Its text is called `response`; the system prompt counts."""
    asked = {"model": "quick:1b", "prompt": "hello", "system": "be short"}
    lines = await host.lines("/api/generate", asked)
    _status, content = await host.post("/api/generate", {**asked, "stream": False})

    assert "".join(line["response"] for line in lines) == content["response"]
    assert (lines[-1]["done_reason"], lines[-1]["prompt_eval_count"]) == ("stop", 4)
    assert set(content) == {"model", "created_at", "response", "done", "done_reason"} | FIGURES


async def test_a_limit_is_told_as_length(host: Client) -> None:
    """`num_predict` cuts the answer."""
    _status, content = await host.post("/api/chat", {**CHAT, "stream": False, "options": {"num_predict": 3}})

    assert (content["eval_count"], content["done_reason"]) == (3, "length")


async def test_a_name_and_its_latest_are_one_model(host: Client) -> None:
    """The answer repeats the spelling of the request; only one is loaded."""
    for name in ("plain", "plain:latest"):
        _status, content = await host.post("/api/chat", {**CHAT, "model": name, "stream": False})
        assert content["model"] == name

    _status, ps = await host.get("/api/ps")
    assert [model["name"] for model in ps["models"]] == ["plain:latest"]
    assert (await host.state())["host"]["counters"]["loads"] == 1


@pytest.mark.parametrize(("path", "empty"), [("/api/generate", {}), ("/api/chat", {"messages": []})])
async def test_an_empty_request_loads_and_with_keep_alive_zero_unloads(
    host: Client, path: str, empty: dict[str, object]
) -> None:
    """As `ollama run` and `ollama stop` do it."""
    asked = {"model": "quick:1b", **empty}

    status, content = await host.post(path, asked)
    assert (status, content["done"], content["done_reason"]) == (200, True, "load")
    assert len((await host.get("/api/ps"))[1]["models"]) == 1
    status, content = await host.post(path, {**asked, "keep_alive": 0})
    assert (status, content["done"], content["done_reason"]) == (200, True, "unload")

    assert (await host.get("/api/ps"))[1] == {"models": []}


async def test_ps_tells_size_context_and_expiry(host: Client) -> None:
    """The context it was loaded with; when it leaves, on the client's own clock; for ever is centuries away."""
    await host.post("/api/generate", {"model": "quick:1b", "options": {"num_ctx": 8192}, "keep_alive": "50m"})
    await host.post("/api/generate", {"model": "plain", "keep_alive": -1})

    _status, content = await host.get("/api/ps")

    forever, quick = content["models"]
    assert forever["name"] == "plain:latest"
    assert datetime.fromisoformat(forever["expires_at"]).year > 2300
    size = QUICK.resident_bytes(8192)
    assert (quick["size"], quick["size_vram"], quick["context_length"]) == (size, size, 8192)
    assert {"name", "model", "digest", "details", "expires_at"} <= set(quick)
    left = datetime.fromisoformat(quick["expires_at"]) - datetime.now(UTC)
    assert left < timedelta(seconds=50 * 60 / 500), "50 modelled minutes pass in six real seconds"


async def test_a_model_leaves_when_its_keep_alive_ends(host: Client) -> None:
    """Nobody has to ask for it."""
    await host.post("/api/generate", {"model": "quick:1b", "keep_alive": "10s"})

    state = await host.until(lambda state: state["host"]["residents"] == [])

    assert state["host"]["counters"]["unloads"] == 1


async def test_another_context_reloads(host: Client) -> None:
    """The trap of `num_ctx`: the same model, a swap each time the size changes."""
    for num_ctx in (2048, 2048, 4096):
        await host.post("/api/chat", {**CHAT, "stream": False, "options": {"num_ctx": num_ctx}})

    counters = (await host.state())["host"]["counters"]
    assert (counters["loads"], counters["swaps"]) == (2, 1)


async def test_a_prompt_that_does_not_fit_is_cut_without_a_word(host: Client) -> None:
    """Only the count of prompt tokens shows it."""
    long = {**CHAT, "messages": messages("x" * 4000), "stream": False}

    _status, whole = await host.post("/api/chat", long)
    status, cut = await host.post("/api/chat", {**long, "options": {"num_ctx": 256}})

    assert (whole["prompt_eval_count"], status, cut["prompt_eval_count"]) == (1000, 200, 256)


async def test_a_thinking_model_thinks_first_and_out_of_the_same_limit(host: Client) -> None:
    """In a field of its own; switched off by `think`; with a small limit nothing visible is left."""
    asked = {"model": "thinker", "messages": messages("hm")}
    lines = await host.lines("/api/chat", asked)
    _status, quiet = await host.post("/api/chat", {**asked, "stream": False, "think": False})
    _status, spent = await host.post("/api/chat", {**asked, "stream": False, "options": {"num_predict": 6}})

    kinds = ["thinking" in line["message"] for line in lines]
    assert kinds == [True] * 6 + [False] * 9
    assert "thinking" not in quiet["message"]
    assert (spent["message"]["content"], spent["done_reason"]) == ("", "length")
    assert spent["message"]["thinking"].startswith("[simulated")


async def test_a_tool_call_has_its_arguments_as_an_object(host: Client) -> None:
    """In a line of its own, with an empty content; the stream still ends with `stop`."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    asked = {**CHAT, "messages": messages('[tool:add {"a": 1}]'), "tools": [tool]}

    call_line, end = await host.lines("/api/chat", asked)

    (call,) = call_line["message"]["tool_calls"]
    assert call_line["message"]["content"] == ""
    assert call["function"] == {"index": 0, "name": "add", "arguments": {"a": 1}}
    assert call["id"].startswith("call_")
    assert (end["done"], end["done_reason"]) == (True, "stop")


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/chat", {**CHAT, "model": "none"}, 404, "model 'none' not found"),
        ("/api/generate", {"model": "none", "prompt": "x"}, 404, "model 'none' not found"),
        ("/api/embed", {"model": "none", "input": "x"}, 404, "model 'none' not found"),
        ("/api/chat", {"messages": []}, 400, "model is required"),
        ("/api/chat", {**CHAT, "keep_alive": "5"}, 400, 'time: missing unit in duration "5"'),
        ("/api/chat", {**CHAT, "options": {"num_ctx": "x"}}, 500, 'option "num_ctx" must be of type integer'),
        ("/api/chat", {**CHAT, "model": "embed"}, 400, '"embed" does not support chat'),
        ("/api/generate", {"model": "embed", "prompt": "x"}, 400, '"embed" does not support generate'),
        ("/api/chat", {**CHAT, "think": True}, 400, '"quick:1b" does not support thinking'),
        (
            "/api/chat",
            {**CHAT, "model": "plain", "tools": [{}]},
            400,
            "registry.ollama.ai/library/plain:latest does not support tools",
        ),
        (
            "/api/generate",
            {"model": "thinker", "prompt": "x", "options": {"num_ctx": 10**6}},
            200,
            None,
        ),
    ],
)
async def test_mistakes_are_answered_in_ollamas_words(
    host: Client, path: str, body: dict[str, object], status: int, error: str | None
) -> None:
    """One string under `error`; a context above the window is no mistake, it is cut down."""
    got = await host.post(path, {**body, "stream": False})

    assert got[0] == status
    assert got[1].get("error") == error


@pytest.mark.parametrize(("body", "error"), [(b"", "missing request body"), (b"{", "Input data was truncated")])
async def test_a_body_that_cannot_be_read_is_a_bad_request(host: Client, body: bytes, error: str) -> None:
    """An empty one is told apart."""
    async with host.session.post(host.url + "/api/chat", data=body) as response:
        assert (response.status, await response.json()) == (400, {"error": error})


async def test_a_model_too_large_is_told_with_both_sizes() -> None:
    """As Ollama words it."""
    spec = msgspec.structs.replace(HOST, memory_gib=3, reserve_gib=1)
    async with host_client(spec) as client:
        got = await client.post("/api/generate", {"model": "slow"})

    assert got == (500, {"error": "model requires more system memory (4.0 GiB) than is available (2.0 GiB)"})


async def test_embeddings_are_unit_vectors_one_for_each_text(host: Client) -> None:
    """Deterministic, cut to the wished dimensions; the older endpoint gives a single one."""
    status, content = await host.post("/api/embed", {"model": "embed", "input": ["a", "b", "a"]})
    _status, short = await host.post("/api/embed", {"model": "embed", "input": "a", "dimensions": 4})
    _status, older = await host.post("/api/embeddings", {"model": "embed", "prompt": "a"})
    _status, none = await host.post("/api/embed", {"model": "embed", "input": []})

    first, second, third = content["embeddings"]
    assert status == 200
    assert (first == third, first == second, len(first), len(short["embeddings"][0])) == (True, False, 8, 4)
    assert {"model", "total_duration", "load_duration", "prompt_eval_count"} < set(content)
    assert older["embedding"] == first
    assert none == {"model": "embed", "embeddings": []}


async def test_what_waits_beyond_the_queue_is_turned_away(host: Client) -> None:
    """One works, two wait, the fourth is answered 503; the others end when their turn comes."""
    asked = {"model": "slow", "messages": messages("[tokens:200]"), "stream": False}
    calls = []
    for waiting in range(3):
        calls.append(asyncio.create_task(host.post("/api/chat", asked)))
        await host.until(partial(_settled, waiting))

    refused = await host.post("/api/chat", asked)

    assert refused == (503, {"error": "server busy, please try again.  maximum pending requests exceeded"})
    answers = await asyncio.gather(*calls)
    assert [status for status, _content in answers] == [200, 200, 200]
    waited_ns = [content["total_duration"] for _status, content in answers]
    assert waited_ns == sorted(waited_ns)


async def test_a_loaded_model_answers_while_another_loads() -> None:
    """Calls for it do not queue behind the load."""
    slow_load = msgspec.structs.replace(HOST.models[0], load_s=3600)
    async with host_client(msgspec.structs.replace(HOST, models=(slow_load, *HOST.models[1:]))) as client:
        await client.post("/api/generate", {"model": "quick:1b"})
        loading = asyncio.create_task(client.post("/api/generate", {"model": "slow"}))
        await client.until(lambda state: any(r["state"] == "loading" for r in state["host"]["residents"]))

        status, _content = await client.post("/api/chat", {**CHAT, "stream": False})

        assert status == 200
        assert not loading.done()
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_hangs_up_frees_its_slot(host: Client, stream: bool) -> None:
    """Streaming or waiting for a whole answer: the next in line starts at once."""
    asked = {"model": "slow", "messages": messages("[tokens:9000]"), "stream": stream}
    gone = asyncio.create_task(_consume(host, asked))
    await host.until(lambda state: _running(state) == 1)
    waiting = asyncio.create_task(
        host.post("/api/chat", {**asked, "messages": messages("[tokens:1]"), "stream": False})
    )
    await host.until(lambda state: _waiting(state) == 1)

    gone.cancel()

    assert (await asyncio.wait_for(waiting, 5))[0] == 200
    counters = (await host.state())["host"]["counters"]
    assert (counters["calls_cancelled"], counters["calls_finished"]) == (1, 1)


async def test_a_client_that_hangs_up_in_the_queue_is_forgotten(host: Client) -> None:
    """Before its model was even looked at."""
    busy = asyncio.create_task(_consume(host, {"model": "slow", "messages": messages("[tokens:9000]")}))
    await host.until(lambda state: _running(state) == 1)
    queued = asyncio.create_task(_consume(host, {"model": "slow", "messages": messages("x")}))
    await host.until(lambda state: _waiting(state) == 1)

    queued.cancel()

    await host.until(lambda state: _waiting(state) == 0)
    busy.cancel()
    await host.until(lambda state: _running(state) == 0)


async def test_no_more_streams_run_at_once_than_there_are_slots(host: Client) -> None:
    """Seen from outside, at a high time factor too."""
    await host.post("/api/generate", {"model": "quick:1b"})
    open_streams, most = 0, 0

    async def one(number: int) -> None:
        nonlocal open_streams, most
        asked = {"model": "quick:1b", "messages": messages(f"{number} [tokens:60]")}
        async with host.session.post(host.url + "/api/chat", json=asked) as response:
            first = await response.content.readline()
            assert first
            open_streams += 1
            most = max(most, open_streams)
            async for line in response.content:
                if msgspec.json.decode(line)["done"]:
                    open_streams -= 1

    await asyncio.gather(*(one(number) for number in range(4)))

    assert most <= 2


def _settled(waiting: int, state: State) -> bool:
    return _waiting(state) == waiting and state["host"]["head"] is None


def _running(state: State) -> int:
    return int(sum(resident["running"] for resident in state["host"]["residents"]))


def _waiting(state: State) -> int:
    return int(len(state["host"]["queue"]) + sum(resident["waiting"] for resident in state["host"]["residents"]))


async def _consume(host: Client, asked: dict[str, Any]) -> None:
    async with host.session.post(host.url + "/api/chat", json=asked) as response:
        try:
            await response.read()
        except aiohttp.ClientPayloadError:
            return
