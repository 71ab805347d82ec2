"""Databases that tests use one after the other: each finds what a new one has."""

from contextlib import closing

import psycopg

from ostler.store.postgres import PostgresStore
from tests.postgres_server import TEMPLATE, PostgresServer
from tests.store.rows_made import make_submit


def contents(url: str) -> dict[str, object]:
    """Rows of every table, and where each counter is."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'ostler'").fetchall()
        found: dict[str, object] = {
            name: connection.execute(f"SELECT * FROM ostler.{name}".encode()).fetchall()  # noqa: S608 -- our own
            for (name,) in tables
        }
        found["counters"] = connection.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall()
    return found


async def used(url: str) -> None:
    """Write into it as a hub would."""
    store = await PostgresStore.open(url)
    await store.apply([make_submit("t1"), make_submit("t2")])
    await store.close()


async def test_what_was_given_back_is_as_new(postgres: PostgresServer) -> None:
    """Every table and every counter, whatever one test has left for the next."""
    new = contents(postgres.url(TEMPLATE))
    url = postgres.lend()
    assert contents(url) == new
    await used(url)
    assert contents(url) != new
    postgres.give_back(url)

    assert postgres.lend() == url
    assert contents(url) == new
    postgres.give_back(url)


async def test_one_that_somebody_holds_on_to_is_not_lent_again(postgres: PostgresServer) -> None:
    """A transaction that nobody ended would hold up whoever comes next."""
    url = postgres.lend()
    await used(url)
    with closing(psycopg.connect(url)) as holding:
        holding.execute("SELECT * FROM ostler.task FOR UPDATE")
        postgres.give_back(url)
        other = postgres.lend()
        assert other != url
        postgres.give_back(other)
