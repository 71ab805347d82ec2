"""The lease of a pool: one holder at a time by the clock of the database, and everybody hears when it is free."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from ostler.domain.hubs import HubRow
from ostler.store.errors import StoreError
from ostler.store.postgres import prepare
from ostler.store.postgres_engine import place_of
from ostler.store.seat import GONE_AFTER_MS, Seat
from tests.e2e.relay import Relay, relay
from tests.postgres_server import PostgresServer

LONG_MS = 60_000


@pytest.fixture(params=["direct", "pooled"])
async def seats(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[tuple[Seat, Seat]]:
    """The same lease as two processes see it, also through a pooler that keeps no session for anybody."""
    url = postgres_url
    if request.param == "pooled":
        url = request.getfixturevalue("pooler").url(url)
    both = Seat.at(place_of(url), postgres_url), Seat.at(place_of(url), postgres_url)
    yield both
    for seat in both:
        await seat.close()
        await seat.close()


def run_sql(url: str, text: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode())


async def test_one_of_many_takes_a_free_lease(postgres_url: str) -> None:
    """Ten ask at once: exactly one gets it, the others learn who."""
    many = [Seat.at(place_of(postgres_url)) for _ in range(10)]

    epochs = await asyncio.gather(*(seat.take(f"h{n}", f"http://h{n}", LONG_MS) for n, seat in enumerate(many)))

    won = [f"h{n}" for n, epoch in enumerate(epochs) if epoch is not None]
    holders = [await seat.holder() for seat in many]
    assert len(won) == 1
    assert {(holder.owner, holder.url, holder.epoch) for holder in holders} == {(won[0], f"http://{won[0]}", 1)}
    assert all(LONG_MS - 10_000 < holder.left_ms <= LONG_MS for holder in holders)
    await asyncio.gather(*(seat.close() for seat in many))


async def test_a_lease_that_ended_goes_to_the_next(seats: tuple[Seat, Seat]) -> None:
    """Whoever had it cannot renew it, and gives nothing back that is another's."""
    first, second = seats
    assert await first.take("a", "http://a", 1_000) == 1
    assert await second.take("b", "http://b", LONG_MS) is None
    await asyncio.sleep(1.1)
    assert (await second.holder()).left_ms <= 0

    assert await second.take("b", "http://b", LONG_MS) == 2

    assert not await first.renew(1, LONG_MS)
    await first.give_back(1)
    assert (await first.holder()).owner == "b"
    assert await second.renew(2, LONG_MS)


async def test_a_lease_that_is_renewed_stays(seats: tuple[Seat, Seat]) -> None:
    """For as long as it is."""
    first, second = seats
    assert await first.take("a", "http://a", 1_000) == 1
    for _ in range(6):
        await asyncio.sleep(0.25)
        assert await first.renew(1, 1_000)
        assert await second.take("b", "http://b", LONG_MS) is None


async def test_who_waits_hears_at_once_of_a_lease_given_back(seats: tuple[Seat, Seat]) -> None:
    """By a notification, long before it would look again."""
    first, second = seats
    assert await first.take("a", "http://a", LONG_MS) == 1
    await second.freed(0.01)  # begins to listen
    waiting = asyncio.ensure_future(second.freed(30))
    await asyncio.sleep(0.05)

    began = time.monotonic()
    await first.give_back(1)
    await waiting

    assert time.monotonic() - began < 5
    assert await second.take("b", "http://b", LONG_MS) == 2


async def test_without_notifications_it_looks_again(postgres_url: str) -> None:
    """An address that cannot be listened at costs the promptness alone."""
    seat = Seat.at(place_of(postgres_url), "postgresql://ostler@127.0.0.1:9/none")

    began = time.monotonic()
    await seat.freed(0.1)

    assert time.monotonic() - began >= 0.1
    assert await seat.take("a", "http://a", LONG_MS) == 1
    await seat.close()


async def test_hubs_of_every_pool_are_seen(seats: tuple[Seat, Seat], postgres_url: str) -> None:
    """Of all pools of the database, each with who leads it and what it said of itself; the own ones apart. What is no
    pool, or has no such table, is passed over; who was not seen for an hour is not shown.
    """
    first, _ = seats
    await first.take("a", "http://a", LONG_MS)
    await first.announce(HubRow(name="a", url="http://a", version="1", started_ms=5, open_tasks=3, running=1))
    for pool in ("lab", "night"):
        prepare(place_of(postgres_url, pool))
    lab, night = (Seat.at(place_of(postgres_url, pool)) for pool in ("lab", "night"))
    await lab.take("b", "http://b", LONG_MS)
    for name in "bc":
        await lab.announce(HubRow(name=name, url=f"http://{name}", version="2", started_ms=5, open_tasks=4))
    await night.announce(HubRow(name="d", url="http://d", version="1", started_ms=5))
    run_sql(postgres_url, "CREATE SCHEMA ostler__other; CREATE TABLE ostler__other.hub (name text)")
    run_sql(postgres_url, "CREATE SCHEMA ostler_old; CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.hub (name text)")

    shown = [(row.pool, row.name, row.leads, row.open_tasks) for row in await first.others()]
    assert shown == [("lab", "b", True, 4), ("lab", "c", False, 4), ("night", "d", False, None)]
    assert [(row.pool, row.name, row.leads, row.running) for row in await first.hubs()] == [("default", "a", True, 1)]
    assert [(row.pool, row.name) for row in await night.others()] == [("default", "a"), ("lab", "b"), ("lab", "c")]

    run_sql(postgres_url, "UPDATE ostler_lab.hub SET seen_ms = seen_ms - 3600000; DROP TABLE ostler_night.writer")
    assert await first.others() == ()
    for seat in (lab, night):
        await seat.close()


async def test_hubs_that_were_seen_are_listed(seats: tuple[Seat, Seat], postgres_url: str) -> None:
    """By name, with the one that leads; who left is gone, and who was not seen for an hour is forgotten."""
    first, second = seats
    rows = {name: HubRow(name=name, url=f"http://{name}", version="1", started_ms=5, up_ms=7) for name in "abc"}
    await first.take("b", "http://b", LONG_MS)
    for row in rows.values():
        await first.announce(row)

    found = await second.hubs()
    assert [(row.name, row.url, row.leads, row.up_ms) for row in found] == [
        ("a", "http://a", False, 7),
        ("b", "http://b", True, 7),
        ("c", "http://c", False, 7),
    ]
    assert all(row.seen_ago_ms < 10_000 for row in found)
    await second.leave("a", "http://a")
    long_ago = "UPDATE ostler.hub SET seen_ms = seen_ms - 3600001 WHERE name = 'c'"
    assert GONE_AFTER_MS == 3_600_000
    run_sql(postgres_url, long_ago)
    await first.announce(rows["b"])
    assert [row.name for row in await second.hubs()] == ["b"]


async def test_who_leaves_takes_no_other_hub_of_its_name_along(seats: tuple[Seat, Seat]) -> None:
    """Of two hubs with one name, the one that stops removes its own row alone: not that of the one that goes on."""
    first, second = seats
    own, other = (HubRow(name="den", url=f"http://{at}", version="1", started_ms=5) for at in ("a", "b"))
    await first.announce(own)
    await second.announce(other)

    await first.leave(own.name, own.url)
    assert [(row.name, row.url) for row in await second.hubs()] == [("den", "http://b")]

    await second.leave(other.name, other.url)
    assert await first.hubs() == ()


async def test_a_connection_that_broke_is_made_again(seats: tuple[Seat, Seat], postgres_url: str) -> None:
    """What is asked is asked once more; all of it can be."""
    first, second = seats
    assert await first.take("a", "http://a", LONG_MS) == 1
    await second.freed(0.01)
    run_sql(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'ostler seat' AND datname = current_database()",
    )

    assert await first.renew(1, LONG_MS)
    await second.freed(0.05)
    await second.freed(0.05)
    assert (await second.holder()).owner == "a"


async def test_a_server_that_is_away_is_told_of(postgres: PostgresServer) -> None:
    """As an error for people, without a password."""
    away = postgres.url().replace("ostler@", "ostler:hunter2@").replace(str(postgres.port), "9")
    seat = Seat.at(place_of(away))

    with pytest.raises(StoreError, match="is the server running") as told:
        await seat.holder()
    assert "hunter2" not in str(told.value)


@contextmanager
def silent_wire(url: str) -> Iterator[tuple[str, Relay]]:
    """The address of the server behind a wire that can be cut."""
    target = url.partition("@")[2].partition("/")[0]
    with relay(f"http://{target}") as wire:
        yield url.replace(target, wire.url.removeprefix("http://")), wire


async def test_a_wire_that_was_cut_is_waited_for_no_longer_than_said(postgres_url: str) -> None:
    """Every question ends in time, by an error that says so; when the wire is mended, the next one is answered."""
    with silent_wire(postgres_url) as (url, wire):
        seat = Seat.at(place_of(url), limit_s=1.0)
        assert await seat.take("a", "http://a", LONG_MS) == 1
        wire.is_cut = True

        began = time.monotonic()
        for asked in (seat.renew(1, LONG_MS), seat.holder(), seat.take("b", "http://b", LONG_MS)):
            with pytest.raises(StoreError, match=r"no answer within 1 s"):
                await asked
        await seat.freed(0.05)
        assert time.monotonic() - began < 15

        wire.is_cut = False
        assert (await seat.holder()).owner == "a"
        assert await seat.renew(1, LONG_MS)
        await seat.close()


async def waiting_in_vain(url: str, wire: Relay) -> tuple[Seat, asyncio.Future[bool]]:
    """One that leads, and whose question is lost on the wire that it comes by."""
    seat = Seat.at(place_of(url))
    assert await seat.take("a", "http://a", LONG_MS) == 1
    wire.is_cut = True
    asking = asyncio.ensure_future(seat.renew(1, LONG_MS))
    await asyncio.sleep(0.05)
    return seat, asking


async def test_who_gives_up_waiting_spoils_nothing_for_the_next(postgres_url: str) -> None:
    """A question that is cancelled in the middle leaves no connection with half an answer behind."""
    with silent_wire(postgres_url) as (url, wire):
        seat, asking = await waiting_in_vain(url, wire)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        wire.is_cut = False

        assert (await seat.holder()).owner == "a"
        began = time.monotonic()
        await seat.close()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("turns", range(5))
async def test_who_gives_up_and_ends_at_once_leaves_no_connection(postgres_url: str, turns: int) -> None:
    """However few turns of the loop lie between: what was asked in vain is ended, and closes what it had opened."""
    with silent_wire(postgres_url) as (url, wire):
        seat, asking = await waiting_in_vain(url, wire)

        asking.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        await seat.close()
        await asyncio.gather(asking, return_exceptions=True)
        wire.is_cut = False
        async with asyncio.timeout(5):
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    gc.collect()  # a connection that is still open warns here, and a warning fails the test


async def test_what_is_answered_after_the_end_keeps_no_connection(postgres_url: str) -> None:
    """Whoever asked has the answer; the seat stays closed."""
    name = f"application_name = 'ostler seat' AND datname = '{postgres_url.rpartition('/')[2]}'"
    with silent_wire(postgres_url) as (url, wire):
        seat = Seat.at(place_of(url), url)
        await seat.holder()
        wire.is_cut = True
        asking, listening = asyncio.ensure_future(seat.holder()), asyncio.ensure_future(seat.freed(0.05))
        await asyncio.sleep(0.05)
        await seat.close()
        wire.is_cut = False

        assert (await asking).owner == ""
        await listening
        assert (await seat.holder()).owner == ""
    with psycopg.connect(postgres_url) as other:
        count = f"SELECT count(*) FROM pg_stat_activity WHERE {name}"  # noqa: S608 - our own names
        async with asyncio.timeout(10):
            while other.execute(count.encode()).fetchone() != (0,):
                await asyncio.sleep(0.02)
                other.rollback()


async def test_a_row_that_a_lost_leader_has_locked_is_not_waited_for(
    seats: tuple[Seat, Seat], postgres_url: str
) -> None:
    """An answer that came when it lets go would give a lease that is over already; once it is free, it is taken."""
    first, second = seats
    assert await first.take("a", "http://a", 1) == 1
    await asyncio.sleep(0.01)
    with psycopg.connect(postgres_url) as lost:
        lost.execute("SELECT epoch FROM ostler.writer FOR NO KEY UPDATE")

        began = time.monotonic()
        assert await second.take("b", "http://b", LONG_MS) is None
        assert time.monotonic() - began < 5

        lost.rollback()
        assert await second.take("b", "http://b", LONG_MS) == 2
