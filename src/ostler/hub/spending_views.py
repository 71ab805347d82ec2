"""A call that was made elsewhere, and what became of it, as faces and hub pass them. The command line loads this."""

import msgspec

from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Basis, Scopes


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
