"""The loader: every effect is answered by one signal that says what really happened, whatever a driver does."""

import asyncio
import itertools

import pytest

from ostler.domain.calls import CallError
from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import ModelAt, Resident
from ostler.domain.states import FailureClass
from ostler.hub.loader import Loader
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.signals import LoadEnded, UnloadEnded
from tests.scheduling.rig import local

LOAD = LoadModel(
    host="box", endpoint="box", model="new", context_tokens=8192, evict=(ModelAt("box", "old"), ModelAt("box", "older"))
)


class Clock:
    """A millisecond passes with every look."""

    def __init__(self) -> None:
        self._ms = itertools.count(1_000)

    def now_ms(self) -> int:
        return next(self._ms)

    def stopwatch_us(self) -> int:
        return next(self._ms) * 1_000


class Engine:
    """Drivers that do as they are told, and a note of what was asked of them."""

    def __init__(self, fails: str = "", error: Exception | None = None, able: bool = True) -> None:
        self.asked: list[str] = []
        self.fails, self.error, self.able = fails, error, able

    async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
        self._note(f"load {model} on {spec.name} with {context_tokens}", model)
        return Resident(model=model, context_tokens=context_tokens, size_bytes=7) if self.able else None

    async def unload(self, spec: EndpointSpec, model: str) -> bool:
        self._note(f"unload {model} on {spec.name}", model)
        return self.able

    def _note(self, text: str, model: str) -> None:
        self.asked.append(text)
        if model == self.fails and self.error is not None:
            raise self.error


async def carried_out(
    effect: LoadModel | UnloadModel, engine: Engine, *, known: bool = True, closed: str = ""
) -> LoadEnded | UnloadEnded:
    told: asyncio.Future[LoadEnded | UnloadEnded] = asyncio.get_running_loop().create_future()

    async def post(signal: LoadEnded | UnloadEnded) -> None:
        told.set_result(signal)

    loader = Loader(engine, lambda name: local(name) if known else None, post, Clock(), lambda: closed)
    loader.begin(effect)
    signal = await told
    await loader.close()
    return signal


async def test_what_must_go_goes_first_then_the_model_is_loaded() -> None:
    """In the order of the effect, each step timed by itself; the answer has the model as the engine lists it."""
    engine = Engine()

    told = await carried_out(LOAD, engine)

    assert engine.asked == ["unload old on box", "unload older on box", "load new on box with 8192"]
    assert isinstance(told, LoadEnded)
    assert told.ok
    assert [(gone.model, gone.unload_ms) for gone in told.unloaded] == [("old", 1), ("older", 1)]
    assert (told.load_ms, told.resident) == (1, Resident(model="new", context_tokens=8192, size_bytes=7))
    assert told.at_ms > told.started_ms


async def test_nothing_is_loaded_when_something_does_not_go() -> None:
    """What had gone before it is told all the same, so that the books know what is left."""
    engine = Engine("older", CallError(FailureClass.TIMEOUT, "older is still loaded"))

    told = await carried_out(LOAD, engine)

    assert isinstance(told, LoadEnded)
    assert engine.asked == ["unload old on box", "unload older on box"]
    assert [gone.model for gone in told.unloaded] == ["old"]
    assert told.failure is not None
    assert (told.failure.kind, told.failure.message) == (FailureClass.TIMEOUT, "older is still loaded")


@pytest.mark.parametrize("effect", [LOAD, UnloadModel(host="box", endpoint="box", model="new")])
async def test_a_driver_that_breaks_is_a_failure_not_a_silence(effect: LoadModel | UnloadModel) -> None:
    """An exception that no driver should raise is answered too: the host would be closed for ever otherwise."""
    told = await carried_out(effect, Engine("new", ZeroDivisionError()))

    assert not told.ok
    assert told.failure is not None
    assert told.failure.kind is FailureClass.ENVIRONMENT


@pytest.mark.parametrize("effect", [LOAD, UnloadModel(host="box", endpoint="box", model="new")])
async def test_a_kind_that_cannot_says_so(effect: LoadModel | UnloadModel) -> None:
    """A driver that answers "not me" is a failure with words."""
    told = await carried_out(effect, Engine(able=False))

    assert told.failure is not None
    assert told.failure.kind is FailureClass.CAPABILITY
    assert "on request" in told.failure.message


async def test_an_endpoint_that_was_removed_meanwhile() -> None:
    """Nothing is asked of it."""
    engine = Engine()

    told = await carried_out(LOAD, engine, known=False)

    assert (engine.asked, told.failure.message if told.failure else "") == ([], "endpoint box was removed")


@pytest.mark.parametrize("effect", [LOAD, UnloadModel(host="box", endpoint="box", model="new")])
async def test_a_hub_that_may_have_been_replaced_touches_no_engine(effect: LoadModel | UnloadModel) -> None:
    """What is in use there may be another hub's by now; the books are told that nothing came of it."""
    engine = Engine()

    told = await carried_out(effect, engine, closed="another hub may lead")

    assert (engine.asked, told.failure.message if told.failure else "") == ([], "another hub may lead")


async def test_an_unload_alone_is_timed_and_told() -> None:
    """The other effect, the other signal."""
    told = await carried_out(UnloadModel(host="box", endpoint="box", model="old"), Engine())

    assert isinstance(told, UnloadEnded)
    assert (told.ok, told.model, told.unload_ms) == (True, "old", 1)


async def test_closing_does_not_wait_for_a_load() -> None:
    """A hub that stops leaves the engine to it, and says nothing about its end."""

    class Slow(Engine):
        async def load(self, spec: EndpointSpec, model: str, context_tokens: int | None = None) -> Resident | None:
            await asyncio.Event().wait()
            return None

    told: list[object] = []

    async def post(signal: LoadEnded | UnloadEnded) -> None:
        told.append(signal)

    loader = Loader(Slow(), local, post, Clock())
    loader.begin(LoadModel(host="box", endpoint="box", model="new"))
    await asyncio.sleep(0)
    await loader.close()

    assert told == []
