"""Calls that were made elsewhere, charged through the hub that has the ledger: limits and choices know them at once."""

import msgspec

from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Basis, LedgerQuery, Scopes
from ostler.domain.ports import Store
from ostler.hub.pump import Pump
from ostler.scheduling.signals import Charged


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """A call and what it came to."""

    attempt: str
    """Its name: the same one is charged once."""
    amount: Amount
    basis: Basis = Basis.REPORTED
    scopes: Scopes = Scopes()
    asked_tier: str = ""

    def settled(self, at_ms: int) -> Settle:
        """As the ledger is told."""
        return Settle(
            attempt=self.attempt,
            at_ms=at_ms,
            amount=self.amount,
            basis=self.basis,
            scopes=self.scopes,
            asked_tier=self.asked_tier,
        )


class SpendingNoted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    charged_micro_usd: int
    """0 when it was charged before."""


async def charge(pump: Pump, store: Store, spending: Spending) -> SpendingNoted:
    """Charge a call; durable when it returns. One that was charged before changes nothing."""
    if await store.ledger(LedgerQuery(attempt=spending.attempt, limit=1)):
        return SpendingNoted(charged_micro_usd=0)
    await pump.post(Charged(command=spending.settled(pump.clock.now_ms())))
    return SpendingNoted(charged_micro_usd=spending.amount.micro_usd)
