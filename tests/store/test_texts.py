"""The texts of statements and reads are those of the code, and a hub needs nothing else to write and to read."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ostler.store.compose import ENGINES, composed, composed_new_file
from ostler.store.postgres_sets import SetText
from ostler.store.sqlite_engine import open_writer
from ostler.store.texts import NEW_FILE, new_file, path_of, texts_of, written

HUB = """
import asyncio, sys
from pathlib import Path

async def use() -> None:
    if sys.argv[1].startswith("postgresql:"):
        from ostler.store.postgres import PostgresStore as Store
    else:
        from ostler.store.sqlite import SqliteStore as Store
    store = await Store.open(sys.argv[1])
    await store.open_work()
    await store.close()

asyncio.run(use())
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "alembic", "mako", "psycopg"}))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_the_file_has_what_the_code_composes(engine: str) -> None:
    """Whoever changes a table or a query runs `make texts`."""
    assert path_of(engine).read_bytes() == written(composed(engine)), "run `make texts`"


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_read_is_what_was_written(engine: str) -> None:
    """Text for text, with what a set needs to know of its rows."""
    assert texts_of(engine) == composed(engine)
    assert written(texts_of(engine)) == path_of(engine).read_bytes()


def test_sets_know_their_rows() -> None:
    """Those of PostgreSQL; SQLite has none."""
    made, read = composed("postgres").statements, texts_of("postgres").statements
    sets = {name: text for name, text in read._asdict().items() if isinstance(text, SetText)}

    assert {"insert_task", "change", "change_open", "put_attempt", "insert_event"} <= sets.keys()
    for name, text in sets.items():
        same = getattr(made, name)
        assert (text.names, text.unique) == (same.names, same.unique)
    assert not any(isinstance(text, SetText) for text in texts_of("sqlite").statements)


def test_a_database_in_order_is_opened_without_what_only_migrations_need(tmp_path: Path) -> None:
    """Nor is a new one made with it: it costs every start a third of a second, and memory for as long as it runs."""
    command = [sys.executable, "-c", HUB, str(tmp_path / "ostler.db")]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))

    assert (first.strip(), second.strip()) == ("[]", "[]")


def test_so_is_a_pool_in_order(postgres_url: str) -> None:
    """With the driver alone."""
    command = [sys.executable, "-c", HUB, postgres_url]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "['psycopg']"


def test_a_new_file_is_what_the_migrations_make(tmp_path: Path) -> None:
    """The very same tables, indexes and rows; whoever adds a migration runs `make texts`."""
    stepwise, at_once = tmp_path / "stepwise.db", tmp_path / "at_once.db"
    assert NEW_FILE.read_bytes() == written(composed_new_file(stepwise)), "run `make texts`"
    open_writer(at_once).close()

    dumps = []
    for path in (stepwise, at_once):
        with closing(sqlite3.connect(path)) as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]
    assert any("alembic_version" in line for line in dumps[1])


def test_two_that_make_a_file_at_once_make_one(tmp_path: Path) -> None:
    """Whoever comes second finds it."""
    path = tmp_path / "ostler.db"
    with ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(lambda: open_writer(path).close()) for _ in range(8)]:
            made.result()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_a_new_file_that_cannot_be_made_whole_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins where nothing is."""
    path = tmp_path / "ostler.db"
    broken = msgspec.structs.replace(new_file(), texts=(*new_file().texts[:9], "nonsense"))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("ostler.store.sqlite_engine.new_file", lambda: broken)
        with pytest.raises(sqlite3.OperationalError, match="nonsense"):
            open_writer(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    open_writer(path).close()
