"""What the record of a gateway call costs: rows a second through `SqliteStore`, as the hub writes them.

A row is a `CallRecord` of usual size (one call in ten with two attempts), in batches of 100, each acknowledged after
its commit, several batches in flight. Beside it the floor: the same rows, made before the clock starts, inserted by
the driver alone in transactions of as many, so that the share of the engine is known.

Before that, what a call pays in memory: its key found and judged, its id made (microseconds, the best of five runs).

    python bench/calls.py --rounds 5
"""

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
import timeit
from collections.abc import Sequence
from pathlib import Path

from ostler.domain.commands import Applied, PutCalls
from ostler.domain.live import CallAttempt, CallRecord, GatewayKey
from ostler.domain.states import FailureClass
from ostler.hub.call_ids import new_call_id
from ostler.hub.key_ring import PREFIX, KeyRing
from ostler.hub.tokens import token_hash
from ostler.store import rows
from ostler.store.sqlite import SqliteStore

BATCH = 100
ROWS = 20_000
IN_FLIGHT = (1, 4)
TARGET_ROWS_PER_S = 20_000
START_MS = 1_700_000_000_000


def make_records(count: int, first: int) -> list[CallRecord]:
    """Calls with ids in order of time, as the gateway makes them."""
    return [make_record(number) for number in range(first, first + count)]


def make_record(number: int) -> CallRecord:
    """One call."""
    again = number % 10 == 0
    good = CallAttempt(
        endpoint="anthropic", model="claude-sonnet-4-5", tier="standard", started_ms=START_MS + number,
        duration_ms=2_310, status=200, input_tokens=5_120, cache_read_tokens=4_096, output_tokens=412,
        cost_micro_usd=10_484, cost_basis="priced",
    )  # fmt: skip
    bad = CallAttempt(
        endpoint="openrouter", model="claude-sonnet-4-5", tier="standard", started_ms=START_MS + number,
        duration_ms=120, failure=FailureClass.OVERLOADED, message="overloaded, try again later", status=529,
    )  # fmt: skip
    return CallRecord(
        id=f"c-{number:026d}", at_ms=START_MS + number, key=f"agent-{number % 7}", task="nightly", client="sdk/1.2",
        format="anthropic_messages", path="/v1/messages", asked_model="auto", stream=True, status=200, tier="standard",
        model="claude-sonnet-4-5", endpoint="anthropic", fallback="openrouter is overloaded" if again else "",
        attempts=(bad, good) if again else (good,), decision_key="5b1c0de9a7f34d21", wait_ms=3, first_token_ms=640,
        duration_ms=2_316, overhead_us=420, cost_micro_usd=10_484, cost_basis="priced",
    )  # fmt: skip


async def through_store(store: SqliteStore, records: list[CallRecord], in_flight: int) -> float:
    """Rows a second."""
    commands = iter(
        [PutCalls(records=tuple(records[first : first + BATCH])) for first in range(0, len(records), BATCH)]
    )

    async def caller() -> None:
        for command in commands:
            (answer,) = await store.apply((command,))
            assert isinstance(answer, Applied), answer

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return len(records) / (time.perf_counter() - began)


def through_driver(path: Path, made: Sequence[rows.Row]) -> float:
    """Rows a second."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -16384", "journal_size_limit = 67108864"):
        connection.execute(f"PRAGMA {pragma}")
    began = time.perf_counter()
    for first in range(0, len(made), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", made[first : first + BATCH])
        connection.commit()
    took_s = time.perf_counter() - began
    connection.close()
    return len(made) / took_s


async def measure_calls(rounds: int) -> None:
    """Store and driver in turns, each on a file of its own that grows from round to round."""
    print(f"in flight   store rows/s   raw rows/s   ratio   (batches of {BATCH}, {ROWS} rows in a piece)")
    for in_flight in IN_FLIGHT:
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory) / name for name in ("store.db", "raw.db")]
            for path in paths:
                await (await SqliteStore.open(path)).close()
            store = await SqliteStore.open(paths[0])
            pairs: list[tuple[float, float]] = []
            for number in range(rounds):
                records = make_records(ROWS, number * ROWS)
                made = [rows.call_row(record) for record in records]
                raw = await asyncio.to_thread(through_driver, paths[1], made)
                pairs.append((await through_store(store, records, in_flight), raw))
            await store.close()
        ours, raw = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(ours / floor for ours, floor in pairs)
        below = "" if ours >= TARGET_ROWS_PER_S else f"   below {TARGET_ROWS_PER_S}"
        print(f"{in_flight:>9}  {ours:>13.0f} {raw:>12.0f} {ratio:>7.2f}{below}")


def measure_keys() -> None:
    """The best of five runs of each."""
    raw = f"{PREFIX}{'a' * 43}"
    key = GatewayKey(name="k", key_hash=token_hash(raw), created_ms=START_MS, limit_micro_usd=5, limit_window="month")
    ring = KeyRing(lambda: START_MS)
    ring.load([key], {})
    for name, once in (
        ("find a key", lambda: ring.find(raw)),
        ("check it", lambda: ring.check(key)),
        ("make an id", lambda: new_call_id(START_MS)),
    ):
        print(f"{name:>10}  {min(timeit.repeat(once, number=20_000, repeat=5)) / 20_000 * 1e6:.2f} us")


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description="Measure the records of gateway calls beside bare inserts.")
    cli.add_argument("--rounds", type=int, default=5)
    measure_keys()
    asyncio.run(measure_calls(cli.parse_args().rounds))


if __name__ == "__main__":
    main()
