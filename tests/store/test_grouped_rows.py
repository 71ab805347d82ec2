"""Rows that are inserted in groups are the rows that would have been inserted one by one."""

import sqlite3

import pytest

from ostler.store.sqlite_engine import SqliteSession, _grouped

PUT = "INSERT INTO t (id, word) VALUES (?, ?)"
ONCE = f"{PUT} ON CONFLICT (id) DO NOTHING"
ANEW = f"{PUT} ON CONFLICT (id) DO UPDATE SET word = excluded.word"


def session() -> tuple[SqliteSession, sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER UNIQUE, word TEXT) STRICT")
    return SqliteSession(connection), connection


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 63, 64, 65, 72, 200])
@pytest.mark.parametrize("text", [PUT, ONCE, ANEW])
def test_every_row_is_there_once_and_in_order(text: str, count: int) -> None:
    """However many there are, and numbered as they came."""
    made, connection = session()
    made.many(text, [(number, f"w{number}") for number in range(count)])

    rows = connection.execute("SELECT seq, id, word FROM t ORDER BY seq").fetchall()
    assert rows == [(number + 1, number, f"w{number}") for number in range(count)]


@pytest.mark.parametrize(("text", "kept"), [(ONCE, "first"), (ANEW, "last")])
def test_rows_of_one_key_do_to_each_other_what_they_would_one_by_one(text: str, kept: str) -> None:
    """Left alone or overwritten, inside a group and across groups."""
    grouped, connection = session()
    alone, other = session()
    rows = [(number % 5, f"w{number}") for number in range(150)]
    grouped.many(text, rows)
    for row in rows:
        alone.many(text, [row])

    found = dict(connection.execute("SELECT id, word FROM t").fetchall())
    assert found == dict(other.execute("SELECT id, word FROM t").fetchall())
    assert found[0] == ("w0" if kept == "first" else "w145")


def test_a_row_that_cannot_be_stored_fails_its_group() -> None:
    """As it fails the batch that it belongs to: nothing of the transaction is kept."""
    made, connection = session()
    with pytest.raises(sqlite3.IntegrityError):
        made.many(PUT, [(number % 60, "w") for number in range(64)])
    connection.rollback()

    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM t WHERE id = ?",
        "UPDATE t SET word = ? WHERE id = ?",
        "INSERT INTO t (id, word) VALUES (?, coalesce(?, 'x'))",
        "INSERT INTO t (id, word) SELECT ?, ?",
    ],
)
def test_other_statements_are_run_for_each_row(text: str) -> None:
    """Only plain values are put together."""
    assert _grouped(text, 8) == ""


def test_updates_of_many_rows_change_each_of_them() -> None:
    """The way of all other statements."""
    made, connection = session()
    made.many(PUT, [(number, "old") for number in range(100)])
    made.many("UPDATE t SET word = ? WHERE id = ?", [("new", number) for number in range(100)])

    assert connection.execute("SELECT DISTINCT word FROM t").fetchall() == [("new",)]
