"""What a reservation costs: reserve and settle a second through `SqliteStore`, under contention, beside the raw store.

Many callers at once each reserve an estimate against five limits (a month, a day of the provider, an hour of the tier,
the session, the task) and settle it, each step acknowledged after its commit. Beside it in the same run, the floor: a
command of the store that writes one small row and checks nothing, from as many callers. The sums must be exact
afterwards; they hold a year of attempts before the clock starts.

    python bench/ledger.py --rounds 3
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from ostler.budget.limits import bounds
from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import AppendEvents, Applied, Command, Reserve, Settle
from ostler.domain.event import Event
from ostler.domain.ledger import Amount, Scopes, Span
from ostler.domain.limits import Limit, ScopeKind, Window, WindowKind
from ostler.store.sqlite import SqliteStore

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
CALLERS = (1, 16, 100)
LIMITS = (
    Limit(name="month", hard=10**12),
    Limit(name="day", scope=ScopeKind.PROVIDER, window=Window(kind=WindowKind.DAY), hard=10**12),
    Limit(name="hour", scope=ScopeKind.TIER, window=Window(kind=WindowKind.HOUR), hard=10**12),
    Limit(name="session", scope=ScopeKind.SESSION, window=Window(kind=WindowKind.NONE), hard=10**12),
    Limit(name="task", scope=ScopeKind.TASK, window=Window(kind=WindowKind.NONE), hard=10**12),
)
ESTIMATE = Amount(micro_usd=12_000, input_tokens=3_000, output_tokens=800)
COST = Amount(micro_usd=9_876, input_tokens=3_000, output_tokens=411)
ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)


def scopes(number: int) -> Scopes:
    """Whose attempt it is: three providers, four tiers, a session of fifty, a task of five attempts."""
    return Scopes(
        provider=f"p{number % 3}", tier=f"t{number % 4}", model=f"m{number % 6}", session=f"s{number // 50}",
        task=f"k{number // 5}",
    )  # fmt: skip


async def apply(store: SqliteStore, command: Command) -> None:
    """One command, which must be applied."""
    (answer,) = await store.apply([command])
    assert isinstance(answer, Applied), answer


async def spend(store: SqliteStore, number: int) -> None:
    """Reserve and settle one attempt."""
    whose, attempt = scopes(number), f"a{number}"
    held = bounds(LIMITS, whose, NOW_MS)
    await apply(store, Reserve(attempt=attempt, at_ms=NOW_MS, amount=ESTIMATE, scopes=whose, bounds=held))
    await apply(store, Settle(attempt=attempt, at_ms=NOW_MS, amount=COST, scopes=whose))


async def raw(store: SqliteStore, number: int) -> None:
    """Two small commands that look at nothing."""
    for name in ("bench.one", "bench.two"):
        await apply(store, AppendEvents(events=(Event(name=name, at_ms=NOW_MS + number),)))


async def per_second(store: SqliteStore, work: object, callers: int, first: int, count: int) -> float:
    """Attempts a second."""
    numbers = iter(range(first, first + count))

    async def caller() -> None:
        for number in numbers:
            await work(store, number)  # type: ignore[operator]

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return count / (time.perf_counter() - began)


async def fill(store: SqliteStore, attempts: int) -> None:
    """A year of settled attempts."""
    for first in range(0, attempts, 2_000):
        numbers = range(first, min(first + 2_000, attempts))
        await store.apply(
            [
                Settle(attempt=f"old{n}", at_ms=NOW_MS - n * 365 * DAY_MS // attempts, amount=COST, scopes=scopes(n))
                for n in numbers
            ]
        )


async def measure(rounds: int, attempts: int, history: int) -> None:
    """Print ratios, each round with both sides in turn."""
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "bench.db")
        await fill(store, history)
        (before,) = await store.spent([ALL])
        print(
            f"{history} attempts of a year before; {attempts} attempts a round, {rounds} rounds; reserve + settle each"
        )
        first = 0
        for callers in CALLERS:
            count = attempts if callers > 1 else attempts // 4
            ledger, floor = [], []
            for _ in range(rounds):
                floor.append(await per_second(store, raw, callers, 0, count))
                ledger.append(await per_second(store, spend, callers, first, count))
                first += count
            ours, theirs = statistics.median(ledger), statistics.median(floor)
            print(
                f"{callers:4} callers: {ours:7.0f} attempts/s, {2 * ours:7.0f} ledger commands/s;"
                f" raw store {2 * theirs:7.0f} commands/s; ratio {ours / theirs:.2f}"
            )
        (after,) = await store.spent([ALL])
        assert after.used.micro_usd - before.used.micro_usd == first * COST.micro_usd
        assert after.held.micro_usd == 0
        assert await store.check() == []
        await store.close()
        print(f"sums exact over {first} attempts; the full check of {history + first} attempts found nothing")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attempts", type=int, default=2_000, help="attempts a round")
    parser.add_argument("--history", type=int, default=20_000, help="attempts of the year before")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.attempts, arguments.history))


if __name__ == "__main__":
    main()
