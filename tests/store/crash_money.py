"""A program that reserves and settles as fast as it can and says what was acknowledged, until it is killed.

Started by `test_ledger_sqlite` with the path of a database and a first number. One line on standard output for each
acknowledged step: the attempt, and `held` or what it was charged. A line may be missing, none may be wrong.
"""

import asyncio
import os
import sys

from ostler.budget.limits import bounds
from ostler.domain.commands import Applied, LedgerCommand, Reserve, Settle
from ostler.domain.ledger import Amount, Scopes
from ostler.domain.limits import Limit
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import NOW_MS

CALLERS = 8
HARD_MICRO_USD = 1_000_000
SCOPES = Scopes(provider="anthropic", tier="opus", model="m")
BOUNDS = bounds([Limit(name="month", hard=HARD_MICRO_USD)], SCOPES, NOW_MS)


async def spend(store: SqliteStore, number: int) -> None:
    """One attempt; what it costs is below its estimate, and follows from its number."""
    attempt = f"a{number}"
    held = Amount(micro_usd=40 + number % 9)
    if await acknowledged(store, Reserve(attempt=attempt, at_ms=NOW_MS, amount=held, scopes=SCOPES, bounds=BOUNDS)):
        say(attempt, "held")
        cost = Amount(micro_usd=cost_of(number))
        if await acknowledged(store, Settle(attempt=attempt, at_ms=NOW_MS, amount=cost, scopes=SCOPES)):
            say(attempt, str(cost.micro_usd))


def cost_of(number: int) -> int:
    """What attempt `number` costs."""
    return 3 + number % 31


async def acknowledged(store: SqliteStore, command: LedgerCommand) -> bool:
    """Whether it was applied."""
    (answer,) = await store.apply([command])
    return isinstance(answer, Applied)


def say(attempt: str, what: str) -> None:
    """Unbuffered, so that a kill loses no line that was said."""
    os.write(sys.stdout.fileno(), f"{attempt} {what}\n".encode())


async def main(path: str, first: int) -> None:
    """Spend for ever."""
    store = await SqliteStore.open(path)
    numbers = iter(range(first, first + 1_000_000))

    async def caller() -> None:
        for number in numbers:
            await spend(store, number)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
