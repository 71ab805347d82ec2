"""The texts of statements and reads are those of the code, and a hub needs nothing else to write and to read."""

import subprocess
import sys
from pathlib import Path

import pytest

from ostler.store.compose import ENGINES, composed
from ostler.store.postgres_sets import SetText
from ostler.store.texts import path_of, texts_of, written

HUB = """
import asyncio, sys
from pathlib import Path
from ostler.store.sqlite import SqliteStore

async def use() -> None:
    store = await SqliteStore.open(sys.argv[1])
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
    """The first time makes it; from then on a start costs neither the time nor the memory of it."""
    command = [sys.executable, "-c", HUB, str(tmp_path / "ostler.db")]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))

    assert first.strip() == "['alembic', 'mako', 'sqlalchemy']"
    assert second.strip() == "[]"
