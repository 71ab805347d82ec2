"""The machine behind a simulated host, in real time but without a network."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from ostler.simulate.clock import ScaledClock
from ostler.simulate.engine import HostEngine, RefusedError
from ostler.simulate.faults import Fault, FaultBoard, FaultKind
from ostler.simulate.host_events import FOREVER_MS, Call, RefusalCause
from ostler.simulate.spec import SimulatedHostSpec, SimulatedModelSpec

ONE = SimulatedModelSpec(name="one", weights_gib=6, kv_bytes_per_token=0, load_s=5, unload_s=5)
TWO = SimulatedModelSpec(name="two", weights_gib=6, kv_bytes_per_token=0, load_s=5, unload_s=5)
SPEC = SimulatedHostSpec(models=(ONE, TWO), memory_gib=10, reserve_gib=1, max_queue=1)


def call(model: str = "one", keep_alive_ms: int | None = None) -> Call:
    return Call(call_id=0, model=model, num_ctx=4096, output_tokens=30, keep_alive_ms=keep_alive_ms)


def engine_of(spec: SimulatedHostSpec = SPEC, *faults: Fault) -> HostEngine:
    return HostEngine(spec, ScaledClock(1000), FaultBoard(faults))


@pytest.fixture
async def engine() -> AsyncIterator[HostEngine]:
    """A small machine, a thousand times as fast as time."""
    engine = engine_of()
    yield engine
    engine.close()


async def until(reached: "asyncio.Event | asyncio.Future[None]") -> None:
    async with asyncio.timeout(5):
        await (reached.wait() if isinstance(reached, asyncio.Event) else reached)


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


class Holder:
    """A client that holds a slot until it is told to let go."""

    def __init__(self, engine: HostEngine, wanted: Call) -> None:
        self.has_slot = asyncio.Event()
        self.may_go = asyncio.Event()
        self.task = asyncio.ensure_future(self._hold(engine, wanted))

    async def _hold(self, engine: HostEngine, wanted: Call) -> None:
        async with engine.slot(wanted):
            self.has_slot.set()
            await self.may_go.wait()

    async def leave(self) -> None:
        self.may_go.set()
        await until(self.task)

    async def hang_up(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_call_waits_for_its_model(engine: HostEngine) -> None:
    """The plan says what the load took, in modelled time."""
    async with engine.slot(call()) as timing:
        assert timing.load_ms == 5000
        assert engine.view().residents[0].running == 1

    view = engine.view()
    assert (view.residents[0].running, view.counters.calls_finished) == (0, 1)


async def test_the_next_call_starts_when_one_ends(engine: HostEngine) -> None:
    """Not before, however much time passes."""
    first, second = Holder(engine, call()), Holder(engine, call())
    await until(first.has_slot)
    await settle()
    assert not second.has_slot.is_set()

    await first.leave()
    await until(second.has_slot)

    await second.leave()
    assert engine.view().counters.calls_finished == 2


@pytest.mark.parametrize("where", ["slot", "queue", "load"])
async def test_a_client_that_hangs_up_frees_its_place(engine: HostEngine, where: str) -> None:
    """Wherever it was."""
    if where == "load":
        gone = Holder(engine, call())
        await settle()
    else:
        first = Holder(engine, call())
        await until(first.has_slot)
        gone = first if where == "slot" else Holder(engine, call())
        await settle()

    await gone.hang_up()

    following = Holder(engine, call())
    if where == "queue":
        await first.leave()
    await until(following.has_slot)
    await following.leave()
    assert engine.view().counters.calls_cancelled == 1


async def test_what_the_queue_cannot_hold_is_refused(engine: HostEngine) -> None:
    """At once, with the cause and Ollama's words; the others are not touched."""
    first, second = Holder(engine, call()), Holder(engine, call())
    await until(first.has_slot)

    with pytest.raises(RefusedError, match="maximum pending requests exceeded") as caught:
        async with engine.slot(call()):
            pass

    assert caught.value.cause is RefusalCause.QUEUE_FULL
    await first.leave()
    await until(second.has_slot)
    await second.leave()


async def test_a_failed_load_is_an_error_of_the_call() -> None:
    """And of no other."""
    engine = engine_of(SPEC, Fault(kind=FaultKind.LOAD_FAILURE, times=1))

    with pytest.raises(RefusedError) as caught:
        async with engine.slot(call()):
            pass
    async with engine.slot(call()) as timing:
        assert timing.load_ms == 5000

    assert caught.value.cause is RefusalCause.LOAD_FAILED
    engine.close()


async def test_an_error_while_a_slot_is_held_counts_as_not_finished(engine: HostEngine) -> None:
    """And still frees it."""
    with pytest.raises(LookupError):
        async with engine.slot(call()):
            raise LookupError

    counters = engine.view().counters
    assert (counters.calls_finished, counters.calls_cancelled) == (0, 1)
    assert engine.view().residents[0].running == 0


async def test_models_are_swapped_without_being_asked(engine: HostEngine) -> None:
    """Timers run on their own: unload, then load, then the call."""
    async with engine.slot(call("one")):
        pass
    async with engine.slot(call("two")) as timing:
        assert timing.load_ms == 10_000

    assert [resident.model for resident in engine.view().residents] == ["two"]


async def test_a_model_expires_by_itself(engine: HostEngine) -> None:
    """With nobody there to ask."""
    async with engine.slot(call(keep_alive_ms=10_000)):
        pass

    async with asyncio.timeout(5):
        while engine.view().residents:  # noqa: ASYNC110 -- the host is asked, as a client would
            await asyncio.sleep(0.002)

    assert engine.view().counters.unloads == 1


async def test_asked_to_leave_a_model_leaves(engine: HostEngine) -> None:
    """As soon as it is idle."""
    holder = Holder(engine, call())
    await until(holder.has_slot)

    engine.expire("one")
    assert engine.view().residents[0].leaving
    await holder.leave()

    assert [resident.state for resident in engine.view().residents] == ["unloading"]


async def test_a_model_that_stays_for_ever_holds_no_timer_for_ever(engine: HostEngine) -> None:
    """Centuries are more than an event loop can wait for."""
    async with engine.slot(call(keep_alive_ms=FOREVER_MS)):
        pass

    timer = engine._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() <= 3600


async def test_a_closed_engine_leaves_no_timer() -> None:
    """Closing twice is no mistake."""
    engine = engine_of(msgspec.structs.replace(SPEC, keep_alive_s=3600))
    async with engine.slot(call()):
        pass

    engine.close()
    engine.close()

    assert engine._timer is None
