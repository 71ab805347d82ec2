"""The real llama.cpp as Ostler sees it: our driver against it, and a hub with its worker over it, as a user runs them.

The engine holds one of two models and swaps for real. What is marked as expected to fail is a known limit of ours with
this engine; the mark goes when the limit goes.
"""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio

from ostler.domain.calls import CallError
from ostler.domain.decision import TargetType
from ostler.domain.errors import InvalidInputError, NotFoundError
from ostler.domain.fleet import Health, ProbeStatus
from ostler.domain.states import FINAL_STATES, FailureClass, TaskState, WaitCode
from ostler.domain.tasks import Usage
from ostler.engines.llama import LlamaServer, ServedModel
from ostler.fleet.drivers import DriverSet
from ostler.workers.timing import SystemTiming
from tests.e2e.process import HubProcess
from tests.engine.stage import (
    SETTINGS,
    TOO_LONG,
    WINDOW_TOKENS,
    Engine,
    began_ms,
    call,
    ended,
    first_token_ms,
    health,
    hub_over,
    named,
    run,
    task,
    until,
    write_models,
)
from tests.engine.tap import CHAT, LISTING, tapped

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Every process that the tests of this module start is gone at their end; what is not is killed and told."""
    own = psutil.Process()
    before = set(own.children(recursive=True))
    yield
    _, left = psutil.wait_procs(set(own.children(recursive=True)) - before, timeout=10)
    told = [f"{process.pid} {process.name()}" for process in left]
    for process in left:
        process.kill()
    assert told == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ServedModel]:
    """Two models that talk until they are stopped, written once by the engine's own interpreter."""
    return await write_models(engine_python, tmp_path_factory.mktemp("models"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    nothing_left_behind: None,
    engine_python: Path,
    models: list[ServedModel],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Engine]:
    """One engine for the module."""
    async with (
        LlamaServer(engine_python, models, tmp_path_factory.mktemp("server")) as server,
        tapped(server.base_url) as tap,
    ):
        drivers = DriverSet({}, SystemTiming(), SETTINGS)
        yield Engine(server, tap, drivers)
        await drivers.close()


@pytest.fixture
def engine(shared: Engine) -> Engine:
    """The engine with a tap that has seen nothing yet."""
    shared.tap.reset()
    return shared


# The driver


async def test_a_probe_lists_and_never_generates(engine: Engine) -> None:
    """Health is the listing alone: both models are found, nothing is said about memory, and nothing else is asked."""
    probe = await engine.drivers.probe(engine.spec)

    assert (probe.status, probe.models, probe.residents) == (ProbeStatus.AVAILABLE, ("first", "second"), None)
    assert [seen.path for seen in engine.tap.requests] == [LISTING]


async def test_a_chat_streams_to_its_end_with_estimated_usage(engine: Engine) -> None:
    """An answer comes in pieces and ends with a reason; the engine counts nothing in a stream, so we do and say so."""
    deltas, completion = await engine.chat(call("first"))

    assert len(deltas) > 1
    assert completion.finish_reason == "length"
    usage = completion.usage
    assert usage.estimated
    assert usage.input_tokens > 0
    assert usage.output_tokens >= len(deltas)
    assert usage.output_tokens == pytest.approx(16, abs=4), "a piece is about a token"
    assert usage.first_token_ms is not None
    assert usage.load_ms is None, "the engine does not say how long it loaded"


async def test_closing_the_iterator_frees_the_engine(engine: Engine) -> None:
    """A call that is closed stops generating: the engine, which answers one at a time, answers the next one at once."""
    whole = call("first", max_output_tokens=600)
    before = time.monotonic()
    await engine.chat(whole)
    whole_s = time.monotonic() - before

    async with aclosing(engine.drivers.chat(engine.spec, whole)) as stream:
        await anext(stream)
        await anext(stream)
    before = time.monotonic()
    deltas, _ = await engine.chat(call("first", max_output_tokens=8))
    next_s = time.monotonic() - before

    print(f"a whole answer takes {whole_s:.2f} s, one after a closed one {next_s:.2f} s")  # noqa: T201 - the measure
    assert deltas
    assert next_s < whole_s / 2


async def test_the_engines_word_for_too_long_a_prompt_is_understood(engine: Engine) -> None:
    """Where the engine answers with an error, which it does to a call that is not streamed, its class is right."""
    with pytest.raises(CallError) as caught:
        await engine.chat(call("first", TOO_LONG, stream=False))

    assert caught.value.kind is FailureClass.CONTEXT_TOO_LONG
    assert str(WINDOW_TOKENS) in caught.value.message
    assert not caught.value.emitted


async def test_too_long_a_streamed_prompt_is_a_failure_and_harms_nobody(engine: Engine) -> None:
    """A stream that cannot begin is no answer, and the engine serves the next call."""
    with pytest.raises(CallError) as caught:
        await engine.chat(call("first", TOO_LONG))

    assert not caught.value.emitted
    assert (await engine.drivers.probe(engine.spec)).status is ProbeStatus.AVAILABLE
    assert (await engine.chat(call("first")))[0]


async def test_too_long_a_streamed_prompt_is_classified(engine: Engine) -> None:
    """The same prompt has the same class whether it is streamed or not."""
    with pytest.raises(CallError) as caught:
        await engine.chat(call("first", TOO_LONG))

    assert caught.value.kind is FailureClass.CONTEXT_TOO_LONG


async def test_only_the_listing_tells_that_a_model_is_unknown(engine: Engine) -> None:
    """A model that the engine does not have is answered by another one: the listing is the only word to go by."""
    probe = await engine.drivers.probe(engine.spec)
    deltas, _ = await engine.chat(call("ghost"))
    first, _ = await engine.chat(call("first"))

    assert "ghost" not in probe.models
    assert deltas == first, "it was the first model that answered"


async def test_the_tap_sees_two_calls_at_once(engine: Engine) -> None:
    """What the tests below count with can count more than one."""
    await asyncio.gather(*(engine.chat(call("first")) for _ in range(2)))

    assert engine.tap.most_at_once == 2


# The hub


T = TypeVar("T")


def only(items: Sequence[T]) -> T:
    assert len(items) == 1
    return items[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_hub(shared: Engine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """One hub process with the worker inside, over the tapped engine."""
    async with hub_over(shared.tap.url, tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: HubProcess, engine: Engine) -> HubProcess:
    """The hub, with a tap that has seen nothing yet."""
    return shared_hub


async def test_tasks_for_two_models_swap_and_succeed_one_at_a_time(
    engine: Engine, hub: HubProcess, record_property: Callable[[str, object], None]
) -> None:
    """All succeed at once, one call at a time, each told with place and usage; a change of the model costs a load."""
    wanted = [model for model in ("first", "second") * 3 for _ in range(3)]

    answers = await run(hub, [task(f"both-{index}", model) for index, model in enumerate(wanted)])

    assert [answer.task.state for answer in answers] == [TaskState.SUCCEEDED] * len(wanted)
    for model, answer in zip(wanted, answers, strict=True):
        attempt, decision = only(answer.attempts), only(answer.decisions)
        assert (attempt.ok, attempt.endpoint, attempt.model) == (True, "llama", model)
        assert isinstance(attempt.usage, Usage)
        assert attempt.usage.estimated, "this engine counts nothing in a stream"
        assert attempt.usage.input_tokens > 0
        assert attempt.usage.output_tokens > 0
        assert (decision.selected_endpoint, decision.selected_model) == ("llama", model)
        assert decision.target_type is TargetType.LOCAL
        assert answer.output
    assert sorted(engine.tap.chats()) == sorted(wanted), "each was asked once, under the name of its model"
    assert engine.tap.most_at_once == 1, "what is beyond the one slot waits with us, not at the engine"

    attempts = sorted((only(answer.attempts) for answer in answers), key=began_ms)
    assert [attempt.model for attempt in attempts] == engine.tap.chats()
    swaps_ms = [first_token_ms(after) for before, after in pairwise(attempts) if before.model != after.model]
    warm_ms = [first_token_ms(after) for before, after in pairwise(attempts) if before.model == after.model]
    swap_ms, one_warm_ms = statistics.median(swaps_ms), statistics.median(warm_ms)
    record_property("first_token_after_swap_ms", swap_ms)
    record_property("first_token_warm_ms", one_warm_ms)
    print(f"first token after a swap {sorted(swaps_ms)} ms, warm {sorted(warm_ms)} ms")  # noqa: T201 - the measure
    assert swap_ms > 2 * one_warm_ms


async def test_a_model_that_nobody_has_is_refused_with_the_valid_ones(engine: Engine, hub: HubProcess) -> None:
    """The engine would answer with another model in silence: the task is refused at once, and it is never asked."""
    with pytest.raises(InvalidInputError, match="endpoint has a model 'ghost'") as refused:
        await asyncio.to_thread(hub.client.submit, [task("unlisted", "ghost")])

    assert "first, second" in refused.value.remedy
    with pytest.raises(NotFoundError):
        hub.client.task("unlisted")
    assert engine.tap.chats() == []


async def test_too_long_a_prompt_is_not_sent_where_the_window_is_known(engine: Engine, hub: HubProcess) -> None:
    """With its window in the profile, a model gets no prompt that cannot fit; the reason has both numbers."""

    def waits() -> str | None:
        wait = hub.client.task("too-long").task.wait
        return wait.detail if wait is not None and wait.code is WaitCode.NO_ROUTE else None

    await asyncio.to_thread(hub.client.submit, [task("too-long", "second", TOO_LONG * 2)])
    detail = await until(waits, "no route", 10)
    await asyncio.to_thread(hub.client.cancel, "too-long")

    assert f"has {WINDOW_TOKENS}" in detail
    assert engine.tap.chats() == []


async def test_the_hub_asks_for_listings_and_chats_alone(engine: Engine, hub: HubProcess) -> None:
    """Checking an endpoint costs its owner a listing, never a token."""
    probe = await asyncio.to_thread(hub.client.check_endpoint, "llama")

    assert probe.models == ("first", "second")
    assert engine.tap.paths() == {LISTING}
    assert only((await run(hub, [task("one", "first")]))[0].attempts).ok
    assert engine.tap.paths() == {LISTING, CHAT}


async def test_a_busy_engine_is_not_down(engine: Engine, tmp_path: Path) -> None:
    """An engine that is generating for us is alive, also when it has no time for a listing meanwhile."""
    async with hub_over(engine.tap.url, tmp_path, probe_ms=200, max_output_tokens=900) as hub:

        def over() -> bool | None:
            ended_well = hub.client.task("long").task.state in FINAL_STATES
            return (ended_well or bool(named(hub, "endpoint.down"))) or None

        await asyncio.to_thread(hub.client.submit, [task("long", "second")])
        await until(over, "the answer ends, or the endpoint is called down")
        down = await asyncio.to_thread(named, hub, "endpoint.down")
        if down:
            await asyncio.to_thread(hub.client.cancel, "long")
        answer = await ended(hub, "long")

    assert [(event.metadata["reason"], answer.task.state) for event in down] == []


async def test_a_killed_engine_costs_no_attempt_and_is_used_again(
    engine_python: Path, models: list[ServedModel], tmp_path: Path
) -> None:
    """Killed in the middle of an answer: not counted, down; back on its port: up, and the task succeeds."""
    async with LlamaServer(engine_python, models, tmp_path / "before") as first:
        assert first.pid is not None
        process, url = psutil.Process(first.pid), first.base_url
        async with hub_over(url, tmp_path, max_output_tokens=500) as hub:
            idle_s = process.cpu_times().user
            await asyncio.to_thread(hub.client.submit, [task("survivor", "first")])
            # Reading the prompt costs some hundredths of a second of processor time, the whole answer several seconds.
            await until(lambda: process.cpu_times().user > idle_s + 1.5 or None, "the engine is in the middle")
            assert hub.client.task("survivor").task.state is TaskState.RUNNING
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: health(hub) is Health.DOWN or None, "the endpoint is seen down")
            assert hub.client.task("survivor").task.state not in FINAL_STATES
            assert len(named(hub, "endpoint.down")) == 1

            port = urlsplit(url).port
            assert port
            async with LlamaServer(engine_python, models, tmp_path / "after", port=port) as second:
                assert second.base_url == url
                await until(lambda: health(hub) is Health.UP or None, "the endpoint is seen up")
                _, came_back = named(hub, "endpoint.up")
                answer = await ended(hub, "survivor")

    assert (answer.task.state, answer.task.attempts_used) == (TaskState.SUCCEEDED, 0)
    *lost, last = answer.attempts
    assert answer.task.attempts_lost == len(lost) > 0
    assert not any(attempt.counted for attempt in lost)
    kinds = [attempt.failure.kind for attempt in lost if attempt.failure is not None]
    assert kinds == [FailureClass.CUT, *[FailureClass.NETWORK] * (len(lost) - 1)], "cut first, then nobody there"
    assert lost[0].usage is not None, "text had come when it was killed"
    assert lost[0].usage.output_tokens > 0
    assert (last.ok, last.endpoint, last.model) == (True, "llama", "first")
    down_ms = came_back.measurements["down_ms"]
    print(f"lost {len(lost)} attempts, down for {down_ms} ms")  # noqa: T201 - the measure
