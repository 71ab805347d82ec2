"""The gateway in front of the real llama.cpp: what its clients get is what the engine said, and the engine is never
asked for more than it can do.

The official packages and plain HTTP in every format ask a hub whose one endpoint is the engine, seen through a tap.
What the engine itself answers to the same question, asked directly, is what everything is held against.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import anthropic
import openai
import pytest
import pytest_asyncio
from anthropic.types import Message, MessageParam

from ostler.domain.live import CallRecord
from ostler.domain.ports import CallQuery
from ostler.domain.states import FailureClass
from ostler.engines.llama import LlamaServer
from ostler.fleet.drivers import DriverSet
from ostler.hub.gateway_views import KeyWish
from ostler.workers.timing import SystemTiming
from tests.e2e.process import HubProcess
from tests.engine.stage import SETTINGS, TOO_LONG, WINDOW_TOKENS, Engine, hub_over, until, write_models
from tests.engine.tap import CHAT, LISTING, tapped
from tests.gateway.clients import CLIENTS, Got
from tests.gateway.upstream import Json

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

QUESTION = "Which colours do horses have?"
LIMIT = 16
WAIT_S = 120.0
FORMATS = tuple(CLIENTS)


@dataclass(frozen=True)
class Said:
    """What the engine itself answered."""

    text: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Stall:
    """The engine behind its tap, and the hub in front of it."""

    engine: Engine
    hub: HubProcess
    said: dict[str, Said]
    """By model, to `QUESTION` within `LIMIT` tokens at temperature 0."""

    def key(self, name: str) -> str:
        """A new key."""
        return self.hub.client.make_key(KeyWish(name=name)).key

    async def records(self, key_name: str, count: int = 1) -> tuple[CallRecord, ...]:
        """What is written of the calls with a key, once there are so many."""

        def look() -> tuple[CallRecord, ...] | None:
            found = self.hub.client.calls(CallQuery(key=key_name)).calls
            return found if len(found) >= count else None

        found = await until(look, f"{count} calls of {key_name} are in the books", 10)
        assert len(found) == count
        return found

    async def is_free(self) -> None:
        """The one slot is free, and nobody waits."""

        def look() -> bool | None:
            status = self.hub.client.status()
            (endpoint,) = self.hub.client.endpoints().endpoints
            return status.calls_running == status.calls_waiting == endpoint.in_flight == 0 or None

        await until(look, "the slot is free", 20)

    def openai(self, key: str) -> openai.AsyncOpenAI:
        """OpenAI's package before the gateway."""
        return openai.AsyncOpenAI(base_url=f"{self.hub.url}/v1", api_key=key, max_retries=0, timeout=WAIT_S)

    def anthropic(self, key: str) -> anthropic.AsyncAnthropic:
        """Anthropic's package before the gateway."""
        return anthropic.AsyncAnthropic(base_url=self.hub.url, api_key=key, max_retries=0, timeout=WAIT_S)

    async def ask(self, format_: str, model: str, key: str, *, stream: bool, prompt: str = QUESTION) -> Got:
        """Plain HTTP in any format."""
        fields = question(format_, prompt)
        return await asyncio.to_thread(CLIENTS[format_].ask, self.hub.url, model, stream=stream, key=key, **fields)


def question(format_: str, prompt: str) -> Json:
    """The fields of a request, as each format calls them."""
    if format_ == "openai-responses":
        return {"input": prompt, "max_output_tokens": LIMIT, "temperature": 0}
    options = {"options": {"num_predict": LIMIT, "temperature": 0}}
    if format_ == "ollama-generate":
        return {"prompt": prompt, **options}
    messages = {"messages": [{"role": "user", "content": prompt}]}
    if format_ == "ollama-chat":
        return {**messages, **options}
    return {**messages, "max_tokens": LIMIT, "temperature": 0}


async def directly(url: str, model: str) -> Said:
    """Without the gateway."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=WAIT_S) as client:
        answer = await client.chat.completions.create(
            model=model, max_tokens=LIMIT, temperature=0, messages=[{"role": "user", "content": QUESTION}]
        )
    assert answer.usage is not None
    return Said(answer.choices[0].message.content or "", answer.usage.prompt_tokens, answer.usage.completion_tokens)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stall]:
    """One engine with two models, and one hub."""
    models = await write_models(engine_python, tmp_path_factory.mktemp("models"))
    folder = tmp_path_factory.mktemp("gateway")
    async with LlamaServer(engine_python, models, folder / "server") as server, tapped(server.base_url) as tap:
        drivers = DriverSet({}, SystemTiming(), SETTINGS)
        said = {name: await directly(server.base_url, name) for name in ("second", "first")}
        async with hub_over(tap.url, folder) as hub:
            yield Stall(Engine(server, tap, drivers), hub, said)
        await drivers.close()


@pytest.fixture
def stall(shared: Stall) -> Stall:
    """The same with a tap that has seen nothing yet."""
    shared.engine.tap.reset()
    return shared


def tokens(record: CallRecord) -> tuple[int, int, bool]:
    """Tokens in and out of a call with one attempt, and whether they are estimated."""
    (attempt,) = record.attempts
    return attempt.input_tokens, attempt.output_tokens, attempt.estimated


# What the engine said


async def test_the_openai_package_gets_what_the_engine_said(stall: Stall) -> None:
    """Text and counts of a whole answer, and the same counts in the books, not estimated."""
    async with stall.openai(stall.key("openai-whole")) as client:
        answer = await client.chat.completions.create(
            model="first", max_tokens=LIMIT, temperature=0, messages=[{"role": "user", "content": QUESTION}]
        )

    said = stall.said["first"]
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (said.text, "length")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (said.input_tokens, said.output_tokens)
    (record,) = await stall.records("openai-whole")
    assert tokens(record) == (said.input_tokens, said.output_tokens, False)
    assert (record.status, record.endpoint, record.model) == (200, "llama", "first")


async def test_the_openai_package_gets_a_stream_as_the_engine_says_it(stall: Stall) -> None:
    """In pieces, to its end; the engine counts nothing in a stream, so we do, and say so."""
    async with stall.openai(stall.key("openai-stream")) as client:
        stream = await client.chat.completions.create(
            model="first",
            max_tokens=LIMIT,
            temperature=0,
            stream=True,
            messages=[{"role": "user", "content": QUESTION}],
        )
        choices = [choice async for event in stream for choice in event.choices]

    said = stall.said["first"]
    texts = [choice.delta.content for choice in choices if choice.delta.content]
    assert "".join(texts) == said.text
    assert len(texts) > 1
    assert choices[-1].finish_reason == "length"
    (record,) = await stall.records("openai-stream")
    _, output_tokens, estimated = tokens(record)
    assert estimated
    assert output_tokens == pytest.approx(said.output_tokens, abs=4), "a piece is about a token"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_anthropic_package_gets_what_the_engine_said(stall: Stall, *, stream: bool) -> None:
    """In its own format, which the engine does not speak."""
    name = f"anthropic-{'stream' if stream else 'whole'}"
    messages: list[MessageParam] = [{"role": "user", "content": QUESTION}]
    coldly = {"temperature": 0}
    async with stall.anthropic(stall.key(name)) as client:
        if stream:
            async with client.messages.stream(
                model="first", max_tokens=LIMIT, messages=messages, extra_body=coldly
            ) as events:
                answer: Message = await events.get_final_message()
        else:
            answer = await client.messages.create(model="first", max_tokens=LIMIT, messages=messages, extra_body=coldly)

    said = stall.said["first"]
    assert "".join(block.text for block in answer.content if block.type == "text") == said.text
    assert answer.stop_reason == "max_tokens"
    (record,) = await stall.records(name)
    assert record.attempts[0].estimated is stream
    if not stream:
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (said.input_tokens, said.output_tokens)
        assert tokens(record) == (said.input_tokens, said.output_tokens, False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["first", "second"])
async def test_every_format_over_plain_http_says_the_same(stall: Stall, model: str, *, stream: bool) -> None:
    """The same text to its end marker in all five, from the model that was asked for, by one call each."""
    name = f"plain-{model}-{'stream' if stream else 'whole'}"
    key = stall.key(name)

    answers = [await stall.ask(format_, model, key, stream=stream) for format_ in FORMATS]

    said = stall.said[model]
    assert {(got.status, got.whole, got.text) for got in answers} == {(200, True, said.text)}, answers
    assert stall.engine.tap.chats() == [model] * len(FORMATS)
    records = await stall.records(name, len(FORMATS))
    if not stream:
        assert {tokens(record) for record in records} == {(said.input_tokens, said.output_tokens, False)}


async def test_ollamas_counts_are_the_engines(stall: Stall) -> None:
    """`prompt_eval_count` and `eval_count`."""
    got = await stall.ask("ollama-chat", "first", stall.key("ollama-counts"), stream=False)

    said = stall.said["first"]
    assert f'"prompt_eval_count":{said.input_tokens}'.encode() in got.raw
    assert f'"eval_count":{said.output_tokens}'.encode() in got.raw


# What does not fit


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format_", FORMATS)
async def test_a_prompt_that_the_engine_refuses_is_an_error(stall: Stall, format_: str, *, stream: bool) -> None:
    """Nobody said how long the first model's window is, so the engine is asked, and its word is told: no status of
    success, no part of an answer, the numbers in it; and the engine serves the next call.
    """
    name = f"refused-{format_}-{'stream' if stream else 'whole'}"
    key = stall.key(name)

    got = await stall.ask(format_, "first", key, stream=stream, prompt=TOO_LONG)

    assert (got.status, got.whole, got.text) == (400, False, ""), got
    assert str(WINDOW_TOKENS) in got.error
    (record,) = await stall.records(name)
    assert (record.failure, record.status, len(record.attempts)) == (FailureClass.CONTEXT_TOO_LONG, 400, 1)
    asked = ["first", "first"] if stream else ["first"]
    assert stall.engine.tap.chats() == asked, "it is not tried again; a stream that ends without a word is asked why"
    assert (await stall.ask(format_, "first", key, stream=stream)).text == stall.said["first"].text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format_", FORMATS)
async def test_a_prompt_that_cannot_fit_is_not_sent(stall: Stall, format_: str, *, stream: bool) -> None:
    """Where the window is known, the engine is not asked at all; the client is told what it needs and what there is."""
    name = f"preflight-{format_}-{'stream' if stream else 'whole'}"

    got = await stall.ask(format_, "second", stall.key(name), stream=stream, prompt=TOO_LONG * 2)

    assert (got.status, got.whole, got.text) == (400, False, ""), got
    assert str(WINDOW_TOKENS) in got.error
    assert stall.engine.tap.chats() == []


# Slots


async def test_two_models_swap_on_demand_and_the_slot_is_never_exceeded(stall: Stall) -> None:
    """Twelve clients at once, for one model and the other in turn: each is answered by the model it asked for, one at a
    time. This engine does not say what it has in memory, so the line is not ordered by it.
    """
    wanted = ["first", "second"] * 6
    async with stall.openai(stall.key("swaps")) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model=model, max_tokens=LIMIT, temperature=0, messages=[{"role": "user", "content": QUESTION}]
                )
                for model in wanted
            )
        )

    assert [answer.choices[0].message.content for answer in answers] == [stall.said[model].text for model in wanted]
    chats = stall.engine.tap.chats()
    swaps = sum(before != after for before, after in pairwise(chats))
    print(f"{len(chats)} calls, {swaps} swaps")  # noqa: T201 - the measure
    assert sorted(chats) == sorted(wanted)
    assert stall.engine.tap.most_at_once == 1, "what is beyond the one slot waits with us, not at the engine"
    records = await stall.records("swaps", len(wanted))
    assert sum(record.wait_ms > 0 for record in records) >= len(wanted) - 2


async def test_a_client_that_hangs_up_in_a_stream_frees_engine_and_slot(stall: Stall) -> None:
    """The engine stops generating: the next answer comes long before the first one would have been over."""
    key = stall.key("hung-up")
    long = {"model": "second", "max_tokens": 900, "temperature": 0}
    messages = [{"role": "user", "content": "Hello"}]
    async with stall.openai(key) as client:
        begun = time.monotonic()
        await client.chat.completions.create(**long, messages=messages)  # type: ignore[call-overload]
        whole_s = time.monotonic() - begun

        stream = await client.chat.completions.create(**long, messages=messages, stream=True)  # type: ignore[call-overload]
        await anext(stream)
        await anext(stream)
        await stream.close()
        begun = time.monotonic()
        got = await stall.ask("openai-chat", "second", key, stream=False)
        next_s = time.monotonic() - begun

    print(f"a whole answer takes {whole_s:.2f} s, one after a hang-up {next_s:.2f} s")  # noqa: T201 - the measure
    assert got.text == stall.said["second"].text
    assert next_s < whole_s / 2
    ended = [(record.status, record.failure) for record in await stall.records("hung-up", 3)]
    assert ended == [(200, None), (499, FailureClass.CANCELLED), (200, None)]
    await stall.is_free()


async def test_a_client_that_hangs_up_in_the_queue_never_reaches_the_engine(stall: Stall) -> None:
    """It waits for the slot of another one, and goes."""
    key = stall.key("queued")
    async with stall.openai(key) as client:
        asked = {"model": "first", "max_tokens": 400, "temperature": 0}
        messages = [{"role": "user", "content": "Hello"}]
        stream = await client.chat.completions.create(**asked, messages=messages, stream=True)  # type: ignore[call-overload]
        await anext(stream)
        waiting = asyncio.ensure_future(client.chat.completions.create(**asked, messages=messages))  # type: ignore[call-overload]
        await until(lambda: stall.hub.client.status().calls_waiting == 1 or None, "it waits", 10)
        waiting.cancel()
        await until(lambda: stall.hub.client.status().calls_waiting == 0 or None, "it has left the line", 10)
        await stream.close()

    await stall.is_free()
    assert stall.engine.tap.chats() == ["first"]
    records = await stall.records("queued", 2)
    assert [len(record.attempts) for record in sorted(records, key=lambda record: record.at_ms)] == [1, 0]


async def test_the_engine_was_asked_for_nothing_but_answers(stall: Stall) -> None:
    """Neither lists nor health checks of clients reach it; the hub's own probe lists."""
    async with stall.openai(stall.key("lists")) as client:
        listed = {model.id async for model in client.models.list()}
        await client.chat.completions.create(model="first", max_tokens=2, messages=[{"role": "user", "content": "?"}])

    assert {"first", "second"} <= listed
    assert stall.engine.tap.paths() <= {CHAT, LISTING}
