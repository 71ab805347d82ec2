"""The desk of live calls where they cost money: let go when it is held durably, and never before."""

import asyncio
from collections.abc import Sequence
from typing import Self

import pytest
from msgspec.structs import replace

from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import Command, Result, Settle
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.ledger import Amount, LedgerQuery, Scopes, Span
from ostler.domain.limits import BudgetPolicy, Limit, Price, ScopeKind, Window, WindowKind
from ostler.domain.live import DeniedError, LiveCall, LiveEnded
from ostler.domain.states import Failure, FailureClass, WaitCode
from ostler.domain.tasks import Usage
from ostler.hub.live_desk import LiveDesk
from ostler.hub.pump import Pump
from ostler.scheduling import Scheduler
from ostler.scheduling.signals import EndpointAdded, Probed, Wake
from ostler.store.memory import MemoryStore
from tests.hub.test_live_desk import HandTime
from tests.scheduling.live_rig import call_facts
from tests.scheduling.rig import cloud, three_tiers

ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)
ESTIMATE = 100 * 3 + 100 * 15
HOUR_MS = 3_600_000


class SlowStore(MemoryStore):
    """Writes wait until they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        await self.open.wait()
        return await super().apply(commands)


class Paid:
    """A desk before a cloud, and the store behind it."""

    def __init__(self, hard: int, window: Window | None = None) -> None:
        limit = Limit(name="month", hard=hard) if window is None else Limit(name="month", hard=hard, window=window)
        budget = BudgetPolicy(limits=(limit,), prices={"claude": Price(input=3.0, output=15.0)})
        self.clock = HandTime()
        self.store = SlowStore()
        self.pump = Pump(Scheduler(replace(three_tiers(), budget=budget), self.clock), self.store, self.clock)
        self.desk = LiveDesk(self.pump)

    async def __aenter__(self) -> Self:
        self.pump.start()
        await self.pump.post(EndpointAdded(spec=cloud(slots=100)))
        probe = Probe(endpoint="anthropic", status=ProbeStatus.AVAILABLE, at_ms=self.clock.ms, models=("claude",))
        await self.pump.post(Probed(probe=probe))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.store.open.set()
        await self.pump.stop()

    def call(self, name: str) -> LiveCall:
        facts, now_ms = call_facts(tier="complex"), self.clock.ms
        return LiveCall(id=name, facts=facts, offered_ms=now_ms, deadline_ms=now_ms + 60_000, key="ci")

    async def money(self) -> tuple[int, int]:
        """Used and held, as the store has it when all that was said is written."""
        for _ in range(20):
            await asyncio.sleep(0)
        (spent,) = await self.store.spent([ALL])
        return spent.used.micro_usd, spent.held.micro_usd


async def test_a_paid_call_is_let_go_when_its_money_is_held_durably() -> None:
    """Not a moment before; its end settles once, also when it is said twice."""
    async with Paid(10 * ESTIMATE) as paid:
        paid.store.open.clear()
        admitting = asyncio.create_task(paid.desk.admit(paid.call("c1")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not admitting.done(), "it was sent before its money was held"
        paid.store.open.set()
        dispatch = await admitting
        assert (dispatch.endpoint, await paid.money()) == ("anthropic", (0, ESTIMATE))

        end = LiveEnded(call_id="c1", attempt=1, usage=Usage(input_tokens=100, output_tokens=10))
        paid.desk.ended(end)
        paid.desk.ended(end)

        assert await paid.money() == (450, 0)
        assert len(await paid.store.ledger(LedgerQuery())) == 2


async def test_who_leaves_while_the_money_is_being_held_gives_it_back() -> None:
    """Slot and money: nothing was sent."""
    async with Paid(10 * ESTIMATE) as paid:
        paid.store.open.clear()
        admitting = asyncio.create_task(paid.desk.admit(paid.call("c1")))
        for _ in range(5):
            await asyncio.sleep(0)
        admitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await admitting
        paid.store.open.set()

        assert await paid.money() == (0, 0)
        assert paid.pump.scheduler.books.in_flight == {}
        assert paid.pump.scheduler.books.money.spent(ALL).held.micro_usd == 0


async def test_what_asked_to_wait_while_the_money_was_held_is_not_called() -> None:
    """The endpoint said so to another call: this one gives its money back and waits, in its own right, until the time
    is over; then it holds money once more, under a name of its own.
    """
    async with Paid(10 * ESTIMATE) as paid:
        await paid.desk.admit(paid.call("c1"))
        paid.store.open.clear()
        admitting = asyncio.create_task(paid.desk.admit(paid.call("c2")))
        for _ in range(5):
            await asyncio.sleep(0)
        busy = Failure(kind=FailureClass.RATE_LIMIT, message="too many", at_ms=paid.clock.ms, retry_after_ms=2_000)
        paid.desk.ended(LiveEnded(call_id="c1", attempt=1, failure=busy))
        paid.store.open.set()

        assert await paid.money() == (0, 0)
        assert not admitting.done(), "it was let go to an endpoint that had asked to wait"
        assert paid.pump.scheduler.books.in_flight == {}
        standing = paid.desk.standing("c2")
        assert standing is not None
        assert standing.wait.code is WaitCode.QUOTA_UNTIL

        paid.clock.ms += 2_000
        await paid.pump.post(Wake())
        dispatch = await admitting
        assert (dispatch.endpoint, dispatch.attempt, dispatch.wait_ms) == ("anthropic", 2, 2_000)
        assert await paid.money() == (0, ESTIMATE)
        paid.desk.ended(LiveEnded(call_id="c2", attempt=2, usage=Usage(input_tokens=100, output_tokens=10)))
        assert await paid.money() == (450, 0)


async def test_the_store_has_the_last_word_on_a_limit() -> None:
    """Somebody else spent meanwhile, which the scheduler does not know: the call is denied, its slot is free."""
    async with Paid(ESTIMATE) as paid:
        other = Settle(attempt="elsewhere", at_ms=paid.clock.ms, amount=Amount(micro_usd=5), scopes=Scopes())
        await paid.store.apply([other])

        with pytest.raises(DeniedError) as refused:
            await paid.desk.admit(paid.call("c1"))

        assert refused.value.denial.wait.code is WaitCode.BUDGET
        assert "limit month" in str(refused.value)
        assert paid.pump.scheduler.books.in_flight == {}
        assert await paid.money() == (5, 0)


@pytest.mark.parametrize(
    ("window", "retry_ms"),
    [
        (WindowKind.HOUR, HOUR_MS),
        (WindowKind.DAY, 24 * HOUR_MS),
        (WindowKind.NONE, 30_000),
    ],
)
async def test_who_is_denied_for_money_is_told_when_there_is_some_again(window: WindowKind, retry_ms: int) -> None:
    """With the limit's next window; where it never ends, after a while, for others may give back what they hold."""
    async with Paid(ESTIMATE, Window(kind=window)) as paid:
        paid.clock.ms += (-paid.clock.ms) % (24 * HOUR_MS) + 600_000
        other = Settle(attempt="elsewhere", at_ms=paid.clock.ms, amount=Amount(micro_usd=5), scopes=Scopes())
        await paid.store.apply([other])

        with pytest.raises(DeniedError) as refused:
            await paid.desk.admit(paid.call("c1"))

        left_ms = retry_ms - 600_000 if window is not WindowKind.NONE else retry_ms
        assert refused.value.denial.retry_after_ms == left_ms
        assert (refused.value.denial.wait.next_check_ms is None) is (window is WindowKind.NONE)


async def test_many_at_once_never_pass_a_limit_together() -> None:
    """Fifty callers, room for seven: seven run, the others are told why."""
    async with Paid(7 * ESTIMATE) as paid:
        answers = await asyncio.gather(
            *(paid.desk.admit(paid.call(f"c{number}")) for number in range(50)), return_exceptions=True
        )
        assert len([answer for answer in answers if isinstance(answer, DeniedError)]) == 43
        assert await paid.money() == (0, 7 * ESTIMATE)
        reserved = await paid.store.open_reservations()
        assert {entry.scopes.key for entry in reserved} == {"ci"}
