"""Calls that were made elsewhere, charged through the hub that has the ledger: limits and choices know them at once."""

from ostler.domain.ledger import LedgerQuery
from ostler.domain.ports import Store
from ostler.hub.pump import Pump
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.scheduling.signals import Charged


async def charge(pump: Pump, store: Store, spending: Spending) -> SpendingNoted:
    """Charge a call; durable when it returns. One that was charged before changes nothing."""
    if await store.ledger(LedgerQuery(attempt=spending.attempt, limit=1)):
        return SpendingNoted(charged_micro_usd=0)
    await pump.post(Charged(command=spending.settled(pump.clock.now_ms())))
    return SpendingNoted(charged_micro_usd=spending.amount.micro_usd)
