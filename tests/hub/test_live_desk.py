"""The desk of live calls: an answer in the same breath where there is one, a wait that ends with its caller."""

import asyncio
from typing import Self

import pytest

from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.live import DeniedError, LiveCall, LiveEnded
from ostler.domain.states import WaitCode
from ostler.hub.live_desk import LiveDesk
from ostler.hub.pump import Pump
from ostler.scheduling import Scheduler
from ostler.scheduling.signals import EndpointAdded, Probed
from tests.hub.stores import HeldStore
from tests.scheduling.live_rig import call_facts
from tests.scheduling.rig import local, three_tiers


class HandTime:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def stopwatch_us(self) -> int:
        return 0


class Desk:
    """A desk on a real pump and a real actor, with one endpoint of some slots."""

    def __init__(self, slots: int = 1) -> None:
        self.clock = HandTime()
        self.store = HeldStore()
        self.pump = Pump(Scheduler(three_tiers(), self.clock), self.store, self.clock)
        self.desk = LiveDesk(self.pump)
        self.slots = slots

    async def __aenter__(self) -> Self:
        self.pump.start()
        await self.pump.post(EndpointAdded(spec=local("gpu1", slots=self.slots)))
        probe = Probe(
            endpoint="gpu1", status=ProbeStatus.AVAILABLE, at_ms=self.clock.ms, models=("qwen",), residents=()
        )
        await self.pump.post(Probed(probe=probe))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pump.stop()

    def call(self, name: str, **changes: object) -> LiveCall:
        fields = {"attempt": 1, "deadline_ms": self.clock.ms + 60_000} | changes
        return LiveCall(id=name, facts=call_facts(), offered_ms=self.clock.ms, **fields)  # type: ignore[arg-type]

    def in_flight(self) -> int:
        return self.pump.scheduler.books.in_flight.get("gpu1", 0)

    async def waits(self, name: str) -> "asyncio.Task[object]":
        """A call that waits, as a task."""
        task = asyncio.create_task(self.desk.admit(self.call(name)))
        await asyncio.sleep(0)
        assert self.desk.standing(name) is not None
        return task


async def test_a_call_that_can_run_is_answered_without_a_switch_of_tasks() -> None:
    """No other task gets a turn between the offer and the answer, and none is made for it."""
    async with Desk() as desk:
        before = asyncio.all_tasks()
        admitting = desk.desk.admit(desk.call("c1"))
        with pytest.raises(StopIteration) as answer:
            admitting.send(None)
        desk.desk.ended(LiveEnded(call_id="c1", attempt=1))

        assert answer.value.value.endpoint == "gpu1"
        assert desk.in_flight() == 0
        assert asyncio.all_tasks() == before


async def test_a_call_that_never_can_run_is_denied_as_an_error() -> None:
    """The error carries the denial and reads as a sentence."""
    async with Desk() as desk:
        call = LiveCall(
            id="c1", facts=call_facts(context_tokens=10_000_000), offered_ms=desk.clock.ms, deadline_ms=2_000_000
        )
        with pytest.raises(DeniedError, match="no_route") as denied:
            await desk.desk.admit(call)

        assert denied.value.denial.call_id == "c1"
        assert denied.value.denial.decision is not None


async def test_a_call_waits_for_the_one_before_it() -> None:
    """Its answer comes when that one ends."""
    async with Desk() as desk:
        await desk.desk.admit(desk.call("c1"))
        waiting = await desk.waits("c2")
        desk.desk.ended(LiveEnded(call_id="c1", attempt=1))
        await waiting

        assert desk.in_flight() == 1
        assert desk.desk.standing("c2") is None


async def test_who_stops_waiting_leaves_the_queue() -> None:
    """Cancelling the wait withdraws the call: the next one gets the slot."""
    async with Desk() as desk:
        await desk.desk.admit(desk.call("c1"))
        gone, stays = await desk.waits("c2"), await desk.waits("c3")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        desk.desk.ended(LiveEnded(call_id="c1", attempt=1))
        await stays

        assert desk.in_flight() == 1


async def test_who_stops_waiting_as_the_answer_comes_frees_the_slot() -> None:
    """The slot that was given to it in the meantime is not lost."""
    async with Desk() as desk:
        await desk.desk.admit(desk.call("c1"))
        waiting = await desk.waits("c2")
        desk.desk.ended(LiveEnded(call_id="c1", attempt=1))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert waiting.cancelled()
        assert desk.in_flight() == 0


async def test_a_call_that_is_withdrawn_by_another_ends_its_wait() -> None:
    """Nobody waits for ever for an answer that will not come."""
    async with Desk() as desk:
        await desk.desk.admit(desk.call("c1"))
        waiting = await desk.waits("c2")
        desk.desk.withdraw("c2")
        await asyncio.gather(waiting, return_exceptions=True)
        desk.desk.withdraw("c1")

        assert waiting.cancelled()
        assert desk.in_flight() == 0


async def test_a_deadline_denies_a_waiting_call() -> None:
    """By the alarm of the pump, with the reason of the wait."""
    async with Desk() as desk:
        await desk.desk.admit(desk.call("c1"))
        waiting = asyncio.create_task(desk.desk.admit(desk.call("c2", deadline_ms=desk.clock.ms + 5)))
        await asyncio.sleep(0)
        desk.clock.ms += 5
        with pytest.raises(DeniedError) as denied:
            await asyncio.wait_for(waiting, 5)

        assert denied.value.denial.wait.code is WaitCode.CAPACITY
        assert denied.value.denial.retry_after_ms is not None


async def test_calls_wait_for_no_commit() -> None:
    """While the store is stuck, calls come and go all the same."""
    async with Desk() as desk:
        desk.store.hold()
        posted = desk.pump.start_signal(EndpointAdded(spec=local("gpu2")))
        await asyncio.wait_for(desk.desk.admit(desk.call("c1")), 5)
        waiting = await desk.waits("c2")
        desk.desk.ended(LiveEnded(call_id="c1", attempt=1))
        await asyncio.wait_for(waiting, 5)
        await desk.store.let()
        await posted


async def test_a_hub_that_may_have_been_replaced_lets_nothing_go() -> None:
    """Neither what waited in its line nor what comes now; what it let go before ends as ever, no slot stays taken."""
    async with Desk() as desk:
        first = await desk.desk.admit(desk.call("c1"))
        waiting = await desk.waits("c2")
        desk.pump.closed_because = lambda: "another hub may lead"
        desk.desk.ended(LiveEnded(call_id=first.call_id, attempt=1))
        for refused in (waiting, desk.desk.admit(desk.call("c3"))):
            with pytest.raises(DeniedError, match="another hub may lead") as denied:
                await refused
            assert denied.value.denial.retry_after_ms is not None
        assert (desk.in_flight(), list(desk.pump.scheduler.books.calls.known)) == (0, [])

        desk.pump.closed_because = str
        assert (await desk.desk.admit(desk.call("c4"))).endpoint == "gpu1"


async def test_a_closed_desk_denies_what_waits_and_what_comes() -> None:
    """With a time to come back, and nothing stays in the books."""
    async with Desk() as desk:
        await desk.desk.admit(desk.call("c1"))
        waiting = await desk.waits("c2")
        desk.desk.close()
        for refused in (waiting, desk.desk.admit(desk.call("c3"))):
            with pytest.raises(DeniedError, match="stopping") as denied:
                await refused
            assert denied.value.denial.retry_after_ms is not None

        assert list(desk.pump.scheduler.books.calls.known) == ["c1"]
