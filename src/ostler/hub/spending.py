"""Calls that were made elsewhere, charged through the hub that has the ledger: limits and choices know them at once.

One after the other: whoever asks again because the answer did not come may do so while the first time is under way, and
what is charged twice on its way to the store would count twice where routes are chosen.
"""

import asyncio

from ostler.domain.ledger import LedgerQuery
from ostler.domain.ports import Store
from ostler.hub.pump import Pump
from ostler.hub.spending_views import Spending, SpendingNoted
from ostler.scheduling.signals import Charged


class SpendingDesk:
    """Takes down what was spent elsewhere."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self._one_by_one = asyncio.Lock()

    async def charge(self, spending: Spending) -> SpendingNoted:
        """Charge a call; durable when it returns. One that was charged before changes nothing."""
        async with self._one_by_one:
            if await self._store.ledger(LedgerQuery(attempt=spending.attempt, limit=1)):
                return SpendingNoted(charged_micro_usd=0)
            await self._pump.post(Charged(command=spending.settled(self._pump.clock.now_ms())))
            return SpendingNoted(charged_micro_usd=spending.amount.micro_usd)
