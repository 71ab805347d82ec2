"""`ostler db`: the verbs over real databases of both kinds, beside a hub and without one."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from ostler.domain.commands import AppendEvents, Command, LateReport, PutCalls, PutKey, PutPlan, Settle
from ostler.domain.errors import ExitCode
from ostler.domain.ledger import Amount, LedgerQuery
from ostler.domain.ports import CallQuery
from ostler.store import migrate
from ostler.store.migrate import REVISIONS
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore
from ostler.store.store_reads import StoreReads
from tests.cli.conftest import Ostler
from tests.store.rows_made import make_call, make_call_decision, make_event, make_key, make_plan, make_submit

T = TypeVar("T")
WORK: tuple[Command, ...] = (
    make_submit("t1", "t2", "t\N{SNOWMAN}"),
    LateReport(task_id="t1", generation=1, at_ms=1, body=b"\0late", event=make_event("t1", "task.late_report")),
    AppendEvents(events=(make_event("nobody"), make_event(None))),
    PutKey(key=make_key(), event=make_event(None, "key.created")),
    PutCalls(records=(make_call(key="laptop", decision_key="d1"),), decisions=(make_call_decision(),)),
    PutPlan(plan=make_plan()),
    Settle(attempt="a", at_ms=1, amount=Amount(micro_usd=5)),
)


def in_file(path: Path | str, work: Callable[[SqliteStore], Awaitable[T]]) -> T:
    """Do something with a store in a file."""

    async def main() -> T:
        store = await SqliteStore.open(path)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


def in_pool(url: str, work: Callable[[PostgresStore], Awaitable[T]], pool: str = "default") -> T:
    """Do something with a store in a pool."""

    async def main() -> T:
        store = await PostgresStore.open(url, pool=pool)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


async def everything(store: StoreReads) -> tuple[object, ...]:
    """All that a store knows, as the port tells it."""
    return (
        await store.open_work(),
        [await store.task(task_id) for task_id in ("t1", "t2", "t\N{SNOWMAN}")],
        await store.events(limit=100),
        await store.keys(),
        await store.calls(CallQuery()),
        await store.plans("r1"),
        await store.ledger(LedgerQuery()),
    )


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A database with something of everything in it, where the profile expects it."""
    path = tmp_path / "data" / "ostler.db"
    path.parent.mkdir()
    in_file(path, lambda store: store.apply(WORK))
    return path


def test_a_backup_is_taken_beside_a_hub_and_put_back(ostler: Ostler, filled: Path, tmp_path: Path) -> None:
    """While the store is open it is copied into one file; restored, it is what it was, and what was there is kept."""

    async def backed_up(store: SqliteStore) -> tuple[object, ...]:
        assert ostler("db", "backup", "friday.db").code == ExitCode.OK
        before = await everything(store)
        await store.apply([make_submit("later", first_seq=9)])
        return before

    before = in_file(filled, backed_up)
    code, out, err = ostler("db", "restore", "friday.db")

    assert (code, err) == (ExitCode.OK, "")
    assert "ostler.db.before-restore-1" in out
    assert in_file(filled, everything) == before
    assert len(in_file(f"{filled}.before-restore-1", lambda store: store.open_work()).tasks) == 4
    assert sorted(path.name for path in tmp_path.glob("friday*")) == ["friday.db"]


def test_a_backup_overwrites_nothing(ostler: Ostler, filled: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    (tmp_path / "friday.db").write_text("letters", encoding="utf-8")

    code, _, err = ostler("db", "backup", "friday.db")

    assert code == ExitCode.REFUSED
    assert "name a file that does not exist" in err
    assert (tmp_path / "friday.db").read_text(encoding="utf-8") == "letters"


def test_a_running_hub_keeps_its_database(ostler: Ostler, filled: Path) -> None:
    """Nothing takes its place while it works: restore, copy and migrate are refused, reading is not."""

    async def refused(_store: SqliteStore) -> None:
        assert ostler("db", "backup", "friday.db").code == ExitCode.OK
        for verb in (("restore", "friday.db"), ("copy", "other.db"), ("migrate",)):
            code, _, err = ostler("db", *verb)
            assert code == ExitCode.REFUSED
            assert "in use" in err
        assert ostler("db", "check").out == "the database is sound\n"

    in_file(filled, refused)
    assert not Path("other.db").exists()


def test_a_damaged_backup_is_not_put_back(ostler: Ostler, filled: Path) -> None:
    """It is checked first, and the database stays as it was."""
    before = in_file(filled, everything)
    assert ostler("db", "backup", "friday.db").code == ExitCode.OK
    with closing(sqlite3.connect("friday.db", isolation_level=None)) as connection:
        connection.execute("DELETE FROM task_spec WHERE task_seq = 1")

    code, _, err = ostler("db", "restore", "friday.db")

    assert code == ExitCode.USAGE
    assert "task t1 has no spec" in err
    assert in_file(filled, everything) == before


def test_what_is_wrong_is_told(ostler: Ostler, filled: Path) -> None:
    """A line for each, exit code 1; as JSON all of them."""
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        connection.execute("DELETE FROM task_spec")

    code, out, _ = ostler("db", "check")

    assert code == ExitCode.FAILED
    assert out.splitlines() == [f"task {name} has no spec" for name in ("t1", "t2", "t\N{SNOWMAN}")]
    assert len(json.loads(ostler("db", "check", "--json").out)["problems"]) == 3


def test_a_file_that_is_no_database_of_ours_is_told(ostler: Ostler, tmp_path: Path) -> None:
    """Whatever the verb: one message, nothing changed."""
    (tmp_path / "letter.db").write_text("dear reader " * 100, encoding="utf-8")

    for verb in (("check",), ("migrate",), ("backup", "b.db"), ("copy", "b.db")):
        code, _, err = ostler("db", *verb, "--database", "letter.db")
        assert code == ExitCode.FAILED
        assert "not a database" in err
        code, _, err = ostler("db", *verb, "--database", "absent.db")
        assert code == ExitCode.REFUSED
        assert "there is no database absent.db" in err
    assert ostler("db", "restore", "absent.db").code == ExitCode.REFUSED
    assert not (tmp_path / "b.db").exists()


def test_a_backup_of_an_older_version_is_brought_up_to_date(
    ostler: Ostler, filled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Restored it has the schema of this version and all that was in it; the backup itself stays as it was."""
    older = tmp_path / "older.db"
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.DIRECTORY, folder, ignore=shutil.ignore_patterns("__pycache__", "000[7-9]*", "001*"))
    with monkeypatch.context() as before:
        before.setattr(migrate, "DIRECTORY", folder)
        before.setattr(migrate, "REVISIONS", migrate.REVISIONS[:6])
        before.setattr("ostler.store.flush.Flusher._sound_ledger", lambda _: 0)
        in_file(older, lambda store: store.apply([make_submit("old")]))

    code, _, err = ostler("db", "check", "--database", "older.db")
    assert code == ExitCode.FAILED
    assert "schema 0006" in err
    assert "ostler db migrate" in err
    assert ostler("db", "copy", "other.db", "--database", "older.db").code == ExitCode.FAILED
    code, _, err = ostler("db", "restore", "older.db")

    assert (code, err) == (ExitCode.OK, "")
    assert ostler("db", "check").out == "the database is sound\n"
    assert [task.id for task in in_file(filled, lambda store: store.open_work()).tasks] == ["old"]
    assert "schema 0006" in ostler("db", "check", "--database", "older.db").err


def test_an_empty_file_is_no_database(ostler: Ostler, tmp_path: Path) -> None:
    """Not a sound one, and no backup."""
    (tmp_path / "empty.db").touch()

    for verb in (("check", "--database", "empty.db"), ("copy", "other.db", "--database", "empty.db")):
        code, _, err = ostler("db", *verb)
        assert code == ExitCode.FAILED
        assert "no database of Ostler" in err
    assert not (tmp_path / "other.db").exists()


def test_an_empty_file_takes_the_place_of_nothing(ostler: Ostler, filled: Path, tmp_path: Path) -> None:
    """It would be brought up to date and found sound: as a backup, and as what is backed up, it is refused."""
    before = in_file(filled, everything)
    (tmp_path / "empty.db").touch()

    for verb in (("restore", "empty.db"), ("backup", "copy.db", "--database", "empty.db")):
        code, _, err = ostler("db", *verb)
        assert code == ExitCode.FAILED
        assert "empty.db: there is no database of Ostler in it" in err
    assert not (tmp_path / "copy.db").exists()
    assert sorted(path.name for path in filled.parent.iterdir()) == ["ostler.db", "ostler.db.lock"]
    assert in_file(filled, everything) == before


EMPTY = "the database is empty: it has the tables of Ostler and nothing in them, as after a copy that was broken off; "


def test_a_database_with_nothing_in_it_is_not_sound(ostler: Ostler, tmp_path: Path) -> None:
    """As one that a killed copy leaves: its tables are made before its rows come, all at once. It is said, with what to
    do, and that works: it is copied into again.
    """
    in_file(tmp_path / "copied.db", lambda store: store.open_work())
    in_file(tmp_path / "source.db", lambda store: store.apply([make_submit("t1")]))

    code, out, err = ostler("db", "check", "--database", "copied.db")
    assert (code, err) == (ExitCode.FAILED, "")
    assert out == f"{EMPTY}copy into it again, or name another one\n"

    assert ostler("db", "copy", "copied.db", "--database", "source.db").code == ExitCode.OK
    assert ostler("db", "check", "--database", "copied.db").out == "the database is sound\n"


def test_a_pool_with_nothing_in_it_is_not_sound(ostler: Ostler, postgres_url: str) -> None:
    """The same of a pool, whose tables are made before its rows come as well; one row makes it one that was used."""
    in_pool(postgres_url, lambda store: store.open_work(), "lab")

    code, out, err = ostler("db", "check", "--database", postgres_url, "--pool", "lab")
    assert (code, err) == (ExitCode.FAILED, "")
    assert out.startswith(EMPTY)

    in_pool(postgres_url, lambda store: store.apply([AppendEvents(events=(make_event(None),))]), "lab")
    assert ostler("db", "check", "--database", postgres_url, "--pool", "lab").code == ExitCode.OK


def test_a_backup_with_nothing_in_it_takes_the_place_of_nothing(ostler: Ostler, filled: Path, tmp_path: Path) -> None:
    """A backup that was killed has the tables alone: restored, all work would be gone."""
    before = in_file(filled, everything)
    in_file(tmp_path / "friday.db", lambda store: store.open_work())

    code, _, err = ostler("db", "restore", "friday.db")

    assert code == ExitCode.USAGE
    assert f"the backup is not whole: {EMPTY}" in err
    assert in_file(filled, everything) == before


def test_a_backup_into_no_folder_names_that_folder(ostler: Ostler, filled: Path, tmp_path: Path) -> None:
    """Not the database, with which all is well."""
    code, _, err = ostler("db", "backup", "nowhere/friday.db")

    assert code == ExitCode.FAILED
    assert err.startswith(f"ostler: {tmp_path}/nowhere/friday.db: there is no folder {tmp_path}/nowhere (make it")


@pytest.mark.parametrize("part", [0.05, 0.4, 0.7])
def test_a_file_whose_bytes_were_changed_is_damaged(ostler: Ostler, filled: Path, part: float) -> None:
    """Wherever it was: it is said that it is, it is not put back, and the fault is never that of whoever asked."""
    before = in_file(filled, everything)
    assert ostler("db", "backup", "friday.db").code == ExitCode.OK
    raw = bytearray(Path("friday.db").read_bytes())
    first = 100 + int(part * (len(raw) - 100))
    for place in range(first, len(raw), 7):
        raw[place] ^= 0xFF
    Path("friday.db").write_bytes(raw)

    code, out, err = ostler("db", "check", "--database", "friday.db")
    assert code == ExitCode.FAILED
    assert out or "restore a backup" in err
    assert "a value cannot be stored" not in err
    assert ostler("db", "restore", "friday.db").code != ExitCode.OK
    assert in_file(filled, everything) == before


@pytest.mark.parametrize("log", [False, True])
def test_a_restore_that_is_broken_off_leaves_the_old_one_in_its_place(
    ostler: Ostler, filled: Path, monkeypatch: pytest.MonkeyPatch, log: bool
) -> None:
    """Until the new one stands there whole: a hub that is started in between must not begin with nothing. What a hub
    that was killed left in its log is part of the old one.
    """
    assert ostler("db", "backup", "friday.db").code == ExitCode.OK
    if log:
        copied = [(part, part.with_name(f"kept-{part.name}")) for part in (filled, filled.with_name("ostler.db-wal"))]

        async def killed(store: SqliteStore) -> None:
            await store.apply([make_submit("later", first_seq=9)])
            for part, aside in copied:
                shutil.copy(part, aside)

        in_file(filled, killed)
        for part, aside in copied:
            aside.rename(part)
    rename, tried = Path.rename, []

    def ends(self: Path, target: Path) -> Path:
        if target != filled:
            return rename(self, target)
        tried.append(self.name)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", ends)
        assert ostler("db", "restore", "friday.db").code == ExitCode.INTERRUPTED
    assert tried == ["ostler.db.restored"]

    tasks = [task.id for task in in_file(filled, lambda store: store.open_work()).tasks]
    assert tasks == ["t1", "t2", "t\N{SNOWMAN}", *(["later"] if log else [])]
    code, _, err = ostler("db", "restore", "friday.db")
    assert (code, err) == (ExitCode.OK, "")
    assert len(in_file(filled, lambda store: store.open_work()).tasks) == 3


def test_a_disk_without_hard_links_takes_a_restore_too(
    ostler: Ostler, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one is moved away then, with all that belongs to it."""
    assert ostler("db", "backup", "friday.db").code == ExitCode.OK
    monkeypatch.setattr("ostler.app.databases._linked", lambda *_: False)

    assert ostler("db", "restore", "friday.db").code == ExitCode.OK

    assert len(in_file(filled, lambda store: store.open_work()).tasks) == 3
    assert len(in_file(f"{filled}.before-restore-1", lambda store: store.open_work()).tasks) == 3


def test_a_pool_that_nobody_made_is_told(ostler: Ostler, postgres_url: str, tmp_path: Path) -> None:
    """A backup of it leaves no file behind that would be in the way of the next one."""
    for verb in (("check",), ("backup", "b.db")):
        code, _, err = ostler("db", *verb, "--database", postgres_url, "--pool", "nowhere")
        assert code == ExitCode.FAILED
        assert "no database of Ostler" in err
    assert not (tmp_path / "b.db").exists()


def test_migrate_says_what_the_schema_is(ostler: Ostler, filled: Path) -> None:
    """Also when there is nothing to do."""
    assert ostler("db", "migrate").out == f"the database has schema {REVISIONS[-1]}\n"
    assert json.loads(ostler("db", "migrate", "--json").out) == {"revision": REVISIONS[-1]}


def test_an_installation_moves_to_postgresql_and_back(ostler: Ostler, filled: Path, postgres_url: str) -> None:
    """Everything is there afterwards, the same through the port; numbers go on; both databases are sound."""
    before = in_file(filled, everything)

    code, out, err = ostler("db", "copy", postgres_url)

    assert (code, err) == (ExitCode.OK, "")
    assert "rows, each compared" in out
    assert in_pool(postgres_url, everything) == before
    assert ostler("db", "check", "--database", postgres_url).out == "the database is sound\n"
    assert in_file(filled, everything) == before

    async def go_on(store: StoreReads) -> list[int]:
        await store.apply([make_submit("next", first_seq=4), Settle(attempt="b", at_ms=1, amount=Amount(micro_usd=1))])  # type: ignore[attr-defined]
        return [event.seq for event in await store.events(limit=100)]

    seqs = in_pool(postgres_url, go_on)
    assert seqs == list(range(1, len(seqs) + 1))
    code, out, _ = ostler("db", "backup", "back.db", "--database", postgres_url)
    assert code == ExitCode.OK
    assert in_file("back.db", everything) == in_pool(postgres_url, everything)
    assert ostler("db", "check", "--database", "back.db").out == "the database is sound\n"
    assert in_file("back.db", lambda store: store.events(limit=100))[-1].seq == seqs[-1]


def test_a_pool_with_work_in_it_is_not_copied_into(ostler: Ostler, filled: Path, postgres_url: str) -> None:
    """The copy is refused whole; another pool of the same database takes it."""
    in_pool(postgres_url, lambda store: store.apply([make_submit("theirs")]))

    code, _, err = ostler("db", "copy", postgres_url)
    assert code == ExitCode.REFUSED
    assert "there is work in it already" in err
    assert len(in_pool(postgres_url, lambda store: store.open_work()).tasks) == 1

    assert ostler("db", "copy", postgres_url, "--to-pool", "lab").code == ExitCode.OK
    assert len(in_pool(postgres_url, lambda store: store.open_work(), "lab").tasks) == 3


def test_a_pool_that_a_hub_leads_is_left_alone(ostler: Ostler, filled: Path, postgres_url: str) -> None:
    """Its hub would not know of what was put there."""
    in_pool(postgres_url, lambda store: store.open_work())
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(b"UPDATE ostler.writer SET owner = 'den', until_ms = 9999999999999")

    code, _, err = ostler("db", "copy", postgres_url)

    assert code == ExitCode.REFUSED
    assert "hub den leads this pool" in err


def test_zero_characters_are_counted(ostler: Ostler, tmp_path: Path, postgres_url: str) -> None:
    """What PostgreSQL cannot hold is shown by its picture, and said."""
    with_zero = make_event(None, "odd\0name")
    in_file(tmp_path / "zero.db", lambda store: store.apply([AppendEvents(events=(with_zero,))]))

    code, out, _ = ostler("db", "copy", postgres_url, "--database", "zero.db")

    assert code == ExitCode.OK
    assert "1 rows hold a zero character" in out
    assert [event.name for event in in_pool(postgres_url, lambda store: store.events())] == [
        "odd\N{SYMBOL FOR NULL}name"
    ]


def test_a_copy_that_fails_leaves_nothing(
    ostler: Ostler, filled: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that did not come over as they were are found before anything is committed."""
    from ostler.store import postgres_end

    real = postgres_end._PoolEnd.put

    def loses_one(self: postgres_end._PoolEnd, table: object, found: list[tuple[object, ...]]) -> None:
        real(self, table, found[1:] if len(found) > 2 else found)  # type: ignore[arg-type]

    monkeypatch.setattr(postgres_end._PoolEnd, "put", loses_one)
    code, _, err = ostler("db", "copy", postgres_url)

    assert code == ExitCode.FAILED
    assert err
    monkeypatch.undo()
    assert in_pool(postgres_url, lambda store: store.open_work()).tasks == ()


def test_an_address_without_a_server_is_told(ostler: Ostler, filled: Path) -> None:
    """With what to do, and without the password."""
    code, _, err = ostler("db", "copy", "postgresql://me:hunter2@127.0.0.1:9/none")

    assert code == ExitCode.FAILED
    assert "is the server running" in err
    assert "hunter2" not in err
