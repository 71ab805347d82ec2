"""A database is brought to the schema of the code, or the reason why not is said."""

import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import PutCalls, PutKey, PutPlan, Settle
from ostler.domain.errors import ConflictError, InvalidInputError, OstlerError
from ostler.domain.ledger import Amount, LedgerQuery, Span
from ostler.domain.limits import ScopeKind
from ostler.store import ledger_reads, migrate, rows
from ostler.store.errors import StoreError
from ostler.store.flush import Flusher
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import NOW_MS, make_call, make_event, make_key, make_plan, make_submit

LAST = migrate.REVISIONS[-1]
NEXT = f"{int(LAST) + 1:04}"
ONE_MORE = '''"""One migration more."""
from alembic import op
revision = {revision!r}
down_revision = {down_revision!r}
def upgrade() -> None:
    op.execute("CREATE TABLE added (x INTEGER)")
    op.execute({last!r})
'''


def execute(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [row for statement in statements for row in connection.execute(statement).fetchall()]


def write_migration(path: Path, last: str) -> None:
    path.write_text(ONE_MORE.format(revision=NEXT, down_revision=LAST, last=last), encoding="utf-8")


def modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


def tables(path: Path) -> set[object]:
    return {name for (name,) in execute(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Code that knows one more revision than the database; the path of its migration."""
    directory = tmp_path / "migrations"
    shutil.copytree(migrate.DIRECTORY, directory, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrate, "DIRECTORY", directory)
    monkeypatch.setattr(migrate, "REVISIONS", (*migrate.REVISIONS, NEXT))
    path = directory / "versions" / f"{NEXT}_pre_added.py"
    write_migration(path, last="CREATE INDEX added_x ON added (x)")
    return path


async def test_a_new_file_is_made_private_and_complete(tmp_path: Path) -> None:
    """Opening a path where nothing is makes a database that only its owner can read."""
    path = tmp_path / "new.db"

    store = await SqliteStore.open(path)
    await store.apply([make_submit("t1")])
    found = modes(tmp_path)
    await store.close()

    assert found == dict.fromkeys(("new.db", "new.db-wal", "new.db-shm", "new.db.lock"), 0o600)
    assert execute(path, "SELECT version_num FROM alembic_version") == [(migrate.REVISIONS[-1],)]


async def test_reopening_changes_nothing(database: Path) -> None:
    """A file in order is opened as it is, and what was in it is there."""
    store = await SqliteStore.open(database)
    await store.apply([make_submit("t1", "t2")])
    before = await store.open_work()
    await store.close()
    schema = execute(database, "SELECT name, sql FROM sqlite_master ORDER BY name")

    store = await SqliteStore.open(database, migrate=False)

    assert await store.open_work() == before
    await store.close()
    assert execute(database, "SELECT name, sql FROM sqlite_master ORDER BY name") == schema


async def test_a_file_in_order_is_opened_without_the_migration_library(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic is loaded when there is something to migrate, not before."""
    for name in [name for name in sys.modules if name.split(".")[0] == "alembic"]:
        monkeypatch.delitem(sys.modules, name)

    await (await SqliteStore.open(database)).close()

    assert "alembic" not in sys.modules


async def test_an_older_database_is_upgraded_when_it_is_opened(database: Path, one_more: Path) -> None:
    """The missing migration runs, and what was stored stays."""
    before = await SqliteStore.open(database)
    await before.close()

    assert "added" in tables(database)
    assert execute(database, "SELECT version_num FROM alembic_version") == [(NEXT,)]


async def test_a_database_from_before_the_gateway_keeps_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the three first migrations made is upgraded with what is in it, and then takes keys and money."""
    older = tmp_path / "migrations"
    shutil.copytree(migrate.DIRECTORY, older, ignore=shutil.ignore_patterns("__pycache__", "00[1-9]*", "000[4-9]*"))
    path = tmp_path / "ostler.db"
    with monkeypatch.context() as before:
        before.setattr(migrate, "DIRECTORY", older)
        before.setattr(migrate, "REVISIONS", migrate.REVISIONS[:3])
        before.setattr(Flusher, "_sound_ledger", lambda _: 0)  # code of that time knew no ledger
        before.setattr(ledger_reads, "allowances", lambda *_: [])
        store = await SqliteStore.open(path)
        await store.apply([make_submit("t1", "t2"), PutPlan(plan=make_plan())])
        work, detail = await store.open_work(), await store.task("t2")
        await store.close()
    assert "call" not in tables(path)

    store = await SqliteStore.open(path)

    assert (await store.open_work(), await store.task("t2")) == (work, detail)
    assert await store.plans("r1") == [make_plan()]
    await store.apply([PutKey(key=make_key(), event=make_event(None)), PutCalls(records=(make_call(key="laptop"),))])
    assert (await store.keys(), (await store.key_spend(0)).calls) == ([make_key()], {"laptop": 1})
    await store.apply([Settle(attempt="a", at_ms=1, amount=Amount(micro_usd=5))])
    assert [entry.amount.micro_usd for entry in await store.ledger(LedgerQuery())] == [5]
    assert await store.check() == []
    await store.close()


async def test_a_ledger_from_before_subscriptions_keeps_its_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of sums is made anew with what was in it: nothing is lost, and the full check finds nothing."""
    older = tmp_path / "migrations"
    shutil.copytree(migrate.DIRECTORY, older, ignore=shutil.ignore_patterns("__pycache__", "0009*", "00[1-9]*"))
    path, model = tmp_path / "ostler.db", tmp_path / "model.db"
    with monkeypatch.context() as before:
        before.setattr(migrate, "DIRECTORY", older)
        before.setattr(migrate, "REVISIONS", migrate.REVISIONS[:8])
        await (await SqliteStore.open(path)).close()
    made = await SqliteStore.open(model)
    spent = [Settle(attempt=f"a{n}", at_ms=NOW_MS - n * 10**7, amount=Amount(micro_usd=n)) for n in range(50)]
    await made.apply(spent)
    await made.close()
    old = "scope, value, grain, start_ms, entries, " + ", ".join(
        f"{part}_{name}" for part in ("used", "held") for name in rows.COUNTS if name != "covered_micro_usd"
    )
    execute(
        path,
        f"ATTACH '{model}' AS model",
        "INSERT INTO ledger SELECT * FROM model.ledger",
        f"INSERT INTO spending ({old}) SELECT {old} FROM model.spending",  # noqa: S608 - our own names
    )

    store = await SqliteStore.open(path)

    assert await store.check() == []
    (found,) = await store.spent([Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)])
    assert found.used == Amount(micro_usd=sum(range(50)), requests=50)
    await store.close()


async def test_an_older_database_can_be_left_alone(database: Path, one_more: Path) -> None:
    """With `migrate=False` the error says what is needed and how to get there, and nothing changes."""
    with pytest.raises(StoreError, match=f"schema {LAST}.*needs {NEXT}.*make a backup.*ostler up"):
        await SqliteStore.open(database, migrate=False)

    assert "added" not in tables(database)


async def test_a_migration_that_fails_leaves_the_old_schema(database: Path, one_more: Path) -> None:
    """An upgrade is one transaction: what came before the failing statement is undone."""
    write_migration(one_more, last="CREATE INDEX broken ON absent (x)")

    with pytest.raises(OstlerError, match="no such table"):
        await SqliteStore.open(database)

    assert "added" not in tables(database)
    assert execute(database, "SELECT version_num FROM alembic_version") == [(LAST,)]


async def test_a_database_of_newer_code_is_refused(database: Path) -> None:
    """It is not touched, and the error says which schemas are known."""
    execute(database, "UPDATE alembic_version SET version_num = '0999'")

    with pytest.raises(StoreError, match=rf"schema 0999.*up to {migrate.REVISIONS[-1]}.*newer version") as caught:
        await SqliteStore.open(database)

    assert caught.value.where == str(database)
    assert execute(database, "SELECT version_num FROM alembic_version") == [("0999",)]


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """Tables of somebody else are not joined by ours."""
    path = tmp_path / "photos.db"
    execute(path, "CREATE TABLE photo (x)")

    with pytest.raises(StoreError, match="belongs to another program"):
        await SqliteStore.open(path)

    assert tables(path) == {"photo"}


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The file is left as it is."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 100, encoding="utf-8")

    with pytest.raises(StoreError, match=r"not a database.*a file that does not exist"):
        await SqliteStore.open(path)

    assert path.read_text(encoding="utf-8").startswith("Dear reader")


async def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A directory that is missing, and a directory where the file should be."""
    for path in (tmp_path / "missing" / "ostler.db", tmp_path):
        with pytest.raises(StoreError) as caught:
            await SqliteStore.open(path)
        assert caught.value.where == str(path)


async def test_a_failed_opening_can_be_tried_again(tmp_path: Path) -> None:
    """Nothing is held after an error: neither the lock nor the file."""
    path = tmp_path / "ostler.db"
    path.write_text("no database " * 100, encoding="utf-8")
    with pytest.raises(StoreError):
        await SqliteStore.open(path)
    path.unlink()

    await (await SqliteStore.open(path)).close()


async def test_memory_is_no_file(tmp_path: Path) -> None:
    """A durable store in memory is a contradiction that is said."""
    with pytest.raises(InvalidInputError, match="MemoryStore"):
        await SqliteStore.open(":memory:")


def test_migrations_are_numbered_and_marked() -> None:
    """The list in the code, the files and their order agree, and every file says whether it runs before or after."""
    names = sorted(path.stem for path in (migrate.DIRECTORY / "versions").glob("0*.py"))

    assert [name.split("_")[0] for name in names] == list(migrate.REVISIONS)
    assert {name.split("_")[1] for name in names} <= {"pre", "post"}


async def test_one_file_has_one_store(database: Path) -> None:
    """See `test_file_lock` for processes: in one process too, the second opener is refused, also by another name."""
    store = await SqliteStore.open(database)
    link = database.with_name("link.db")
    link.symlink_to(database)

    for path in (database, link):
        with pytest.raises(ConflictError, match="in use"):
            await SqliteStore.open(path)

    await store.close()
    await (await SqliteStore.open(link)).close()
