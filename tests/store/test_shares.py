"""The table of what pools hold in common: made by whoever comes first, written by those who have seen it as it is."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from ostler.scheduling.shares import Claim
from ostler.store.errors import StoreError
from ostler.store.ledger_pool import LedgerPool
from ostler.store.postgres_engine import place_of
from ostler.store.shares import PoolShares, ShareTable

LONG_MS = 60_000
CLAIMS = {"server": Claim(total=4, held=2, used=1, wanted=3), "other": Claim(total=1)}


@pytest.fixture(params=["direct", "pooled"])
async def tables(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[tuple[ShareTable, ShareTable]]:
    """The same table as the leaders of two pools see it, also through a pooler that keeps no session for anybody."""
    url = postgres_url
    if request.param == "pooled":
        url = request.getfixturevalue("pooler").url(url)
    both = ShareTable.at(place_of(url), 5.0), ShareTable.at(place_of(url, "lab"), 5.0)
    yield both
    for table in both:
        await table.close()
        await table.close()


def row(pool: str, until_ms: int, epoch: int = 1, **held: int) -> PoolShares:
    claims = {name: Claim(total=9, held=count) for name, count in held.items()}
    return PoolShares(pool=pool, epoch=epoch, until_ms=until_ms, claims=claims)


async def test_whoever_comes_first_makes_it(postgres_url: str) -> None:
    """Ten at once: each finds it made, once, and empty."""
    many = [ShareTable.at(place_of(postgres_url, f"p{number}"), 10.0) for number in range(10)]

    assert all(await asyncio.gather(*(table.prepare() for table in many)))
    assert all(await asyncio.gather(*(table.prepare() for table in many)))

    looks = [await table.look() for table in many]
    assert {(look.version, look.rows) for look in looks} == {(0, ())}
    await asyncio.gather(*(table.close() for table in many))


async def test_what_one_pool_writes_the_other_reads(tables: tuple[ShareTable, ShareTable]) -> None:
    """Claims and end of the row as they were written; a row that ended is there, and does not live."""
    first, second = tables
    assert await first.prepare()
    look = await first.look()
    live = PoolShares(pool="default", epoch=3, until_ms=look.now_ms + LONG_MS, claims=CLAIMS)
    assert await first.put(look.version, live)

    seen = await second.look()
    assert seen.rows == (live,)
    assert seen.of("lab") is None
    assert abs(seen.now_ms - time.time() * 1000) < 5_000
    assert await second.put(seen.version, row("lab", seen.now_ms - 1, server=2))

    seen = await first.look()
    assert [one.pool for one in seen.rows] == ["default", "lab"]
    assert seen.alive() == (live,)
    assert seen.of("lab") == row("lab", seen.rows[1].until_ms, server=2)


async def test_who_is_no_hub_reads_the_same(postgres_url: str) -> None:
    """Nothing where nobody has made the table; else all rows as a leader sees them."""
    ledger = LedgerPool(place_of(postgres_url))
    assert ledger.shared() is None
    table = ShareTable.at(place_of(postgres_url, "lab"), 10.0)
    assert await table.prepare()
    look = await table.look()
    assert await table.put(look.version, row("lab", look.now_ms + LONG_MS, server=2))

    found = ledger.shared()
    assert found is not None
    assert found.rows == (await table.look()).rows
    await table.close()


async def test_who_was_overtaken_is_refused(tables: tuple[ShareTable, ShareTable]) -> None:
    """Of two that read the same table one writes; the other has to look again."""
    first, second = tables
    assert await first.prepare()
    look = await first.look()
    until_ms = look.now_ms + LONG_MS

    assert await second.put(look.version, row("lab", until_ms, server=4))
    assert not await first.put(look.version, row("default", until_ms, server=4))

    again = await first.look()
    assert [one.pool for one in again.rows] == ["lab"]
    assert await first.put(again.version, row("default", until_ms))


async def test_of_many_that_write_at_once_one_does(postgres_url: str) -> None:
    """However they meet in the database: each look is good for one write of anybody."""
    many = [ShareTable.at(place_of(postgres_url, f"p{number}"), 10.0) for number in range(6)]
    assert await many[0].prepare()
    for _ in range(5):
        look = await many[0].look()
        puts = (table.put(look.version, row(f"p{number}", look.now_ms)) for number, table in enumerate(many))
        assert sum(await asyncio.gather(*puts)) == 1
    await asyncio.gather(*(table.close() for table in many))


async def test_a_leader_that_was_replaced_writes_no_more(tables: tuple[ShareTable, ShareTable]) -> None:
    """Not even when it has seen the table as it is: the later one's epoch is in the row."""
    first, second = tables
    assert await first.prepare()
    look = await first.look()
    assert await second.put(look.version, row("default", look.now_ms + LONG_MS, epoch=5, server=1))

    look = await first.look()
    assert not await first.put(look.version, row("default", look.now_ms + LONG_MS, epoch=4, server=9))
    assert (await first.look()).rows[0].claims["server"].held == 1


async def test_a_user_without_the_right_is_told_apart_from_a_database_that_is_away(postgres_url: str) -> None:
    """The one goes without shares, the other asks again."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS ostler_guest")
        connection.execute("CREATE ROLE ostler_guest LOGIN")
    guest_place = place_of(postgres_url.replace("//ostler@", "//ostler_guest@"))
    guest = ShareTable.at(guest_place, 5.0)
    away = ShareTable.at(place_of("postgresql://ostler@127.0.0.1:9/none"), 2.0)
    owner = ShareTable.at(place_of(postgres_url), 5.0)
    try:
        assert not await guest.prepare()
        assert await owner.prepare()
        assert not await guest.prepare(), "what others made may not be used either"
        assert LedgerPool(guest_place).shared() is None
        with pytest.raises(StoreError, match="no connection: Connection refused"):
            await away.prepare()
    finally:
        for table in (guest, away, owner):
            await table.close()
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP ROLE ostler_guest")
