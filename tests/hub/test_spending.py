"""Calls that were made elsewhere, charged through the hub: durable, once, and known at once where routes are chosen."""

import asyncio

from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import Reserve
from ostler.domain.ledger import Amount, Basis, LedgerQuery, Scopes, Span
from ostler.domain.limits import ScopeKind
from ostler.hub.pump import Pump
from ostler.hub.spending import SpendingDesk
from ostler.hub.spending_views import Spending
from ostler.scheduling import Scheduler
from ostler.store.memory import MemoryStore
from tests.hub.test_live_desk import HandTime
from tests.scheduling.rig import three_tiers

PROVIDER = Span(scope=ScopeKind.PROVIDER, value="opencode", start_ms=0, end_ms=LATEST_MS)
SPENDING = Spending(
    attempt="x", amount=Amount(micro_usd=40_000), scopes=Scopes(provider="opencode", tier="small"), asked_tier="large"
)


async def test_a_call_from_elsewhere_is_charged_once_and_known_at_once() -> None:
    """In the store, and where routes are chosen; the second time it is nothing."""
    clock, store = HandTime(), MemoryStore()
    pump = Pump(Scheduler(three_tiers(), clock), store, clock)
    pump.start()

    first = await SpendingDesk(pump, store).charge(SPENDING)
    again = await SpendingDesk(pump, store).charge(SPENDING)

    assert (first.charged_micro_usd, again.charged_micro_usd) == (40_000, 0)
    (entry,) = await store.ledger(LedgerQuery())
    assert (entry.asked_tier, entry.basis, entry.charged_ms) == ("large", Basis.REPORTED, clock.ms)
    (stored,) = await store.spent([PROVIDER])
    assert pump.scheduler.books.money.spent(PROVIDER) == stored
    assert stored.used.micro_usd == 40_000
    await pump.stop()


async def test_who_asks_again_before_the_answer_is_there_is_charged_once() -> None:
    """The same call, asked of thrice at once: the store and what routes are chosen by agree; one is told of money."""
    clock, store = HandTime(), MemoryStore()
    pump = Pump(Scheduler(three_tiers(), clock), store, clock)
    pump.start()
    desk = SpendingDesk(pump, store)

    told = await asyncio.gather(*(desk.charge(SPENDING) for _ in range(3)))

    assert sorted(one.charged_micro_usd for one in told) == [0, 0, 40_000]
    (stored,) = await store.spent([PROVIDER])
    assert pump.scheduler.books.money.spent(PROVIDER) == stored
    assert (stored.used.micro_usd, stored.used.requests) == (40_000, 1)
    await pump.stop()


async def test_what_an_attempt_of_ours_is_called_is_left_alone() -> None:
    """A name that holds money already is not charged by somebody else."""
    clock, store = HandTime(), MemoryStore()
    pump = Pump(Scheduler(three_tiers(), clock), store, clock)
    pump.start()
    await store.apply([Reserve(attempt="x", at_ms=clock.ms, amount=Amount(micro_usd=5), scopes=Scopes())])

    assert (await SpendingDesk(pump, store).charge(SPENDING)).charged_micro_usd == 0
    assert len(await store.open_reservations()) == 1
    await pump.stop()
