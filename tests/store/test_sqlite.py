"""What only the SQLite store has: its settings, its own checks, backups and versions."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from ostler.domain.commands import AppendEvents, LateReport, PutCalls, PutKey, PutSessions, SubmitTasks
from ostler.domain.errors import ConflictError
from ostler.domain.ports import TaskQuery
from ostler.domain.states import TaskState
from ostler.store import sqlite_engine
from ostler.store.errors import StoreError
from ostler.store.sqlite import SqliteStore
from ostler.store.sqlite_engine import LOG_LIMIT_BYTES, linked_version
from tests.store.rows_made import (
    make_attempt,
    make_call,
    make_call_decision,
    make_decision,
    make_event,
    make_key,
    make_new,
    make_session,
    make_submit,
    make_task,
    make_update,
)
from tests.store.test_failures import run_sql


async def lived(store: SqliteStore) -> None:
    """A store with something in every table about tasks."""
    assign = make_update(make_task("t1"), TaskState.ASSIGNED)
    attempt = make_attempt()
    finish = make_update(assign.task, TaskState.FAILED)
    late = LateReport(task_id="t1", generation=1, at_ms=1, body=b"late", event=make_event("t1", "task.late_report"))
    await store.apply(
        [
            make_submit("t1", "t2"),
            msgspec.structs.replace(assign, attempt=attempt, decision=make_decision()),
            msgspec.structs.replace(finish, attempt=attempt, output="some output"),
            late,
            AppendEvents(events=(make_event("nobody"), make_event(None))),
            PutSessions(sessions=(make_session(),)),
            PutKey(key=make_key(), event=make_event(None, "key.created")),
            PutCalls(records=(make_call(key="laptop", decision_key="d1"),), decisions=(make_call_decision(),)),
        ]
    )


async def test_commits_are_durable_and_the_writer_owns_checkpoints(sqlite_store: SqliteStore) -> None:
    """Log, full sync, bounded log and foreign keys on the writer; readers can neither write nor checkpoint."""
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "journal_size_limit": LOG_LIMIT_BYTES,
        "foreign_keys": 1,
        "wal_autocheckpoint": sqlite_engine.CHECKPOINT_PAGES,
    }
    assert {name: (await run_sql(sqlite_store, f"PRAGMA {name}"))[0][0] for name in expected} == expected

    reader = {"query_only": 1, "wal_autocheckpoint": 0}
    found = await sqlite_store._read(lambda run, _queries: {name: run(f"PRAGMA {name}", ())[0][0] for name in reader})
    assert found == reader


async def test_a_reader_cannot_write(sqlite_store: SqliteStore) -> None:
    """Even a mistake in a read could not change the database."""
    with pytest.raises(StoreError, match="readonly"):
        await sqlite_store._read(lambda run, _queries: run("DELETE FROM task", ()))


async def test_the_log_is_folded_into_the_database_at_the_end(sqlite_store: SqliteStore) -> None:
    """After `close` there is one file (and the lock): nothing else has to be copied."""
    await lived(sqlite_store)
    directory = sqlite_store.path.parent
    assert (directory / "ostler.db-wal").exists()

    await sqlite_store.close()

    assert sorted(path.name for path in directory.iterdir()) == ["ostler.db", "ostler.db.lock"]


async def test_the_writer_is_the_last_to_close(sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the writer may copy the log into the database: reads, checks and backups are over before it closes."""
    await lived(sqlite_store)
    over: list[str] = []
    close = sqlite_store._side.close

    def closing_writer() -> None:
        over.append("writer" if sqlite_store._reader is None else "writer before reader")
        close()

    monkeypatch.setattr(sqlite_store._side, "close", closing_writer)
    check = asyncio.ensure_future(sqlite_store.check())
    check.add_done_callback(lambda _: over.append("check"))
    await asyncio.sleep(0)

    await sqlite_store.close()

    assert over == ["check", "writer"]


async def test_everything_is_there_after_reopening(sqlite_store: SqliteStore) -> None:
    """Every read answers the same before and after, and event numbers go on where they were."""
    await lived(sqlite_store)

    async def all_reads(store: SqliteStore) -> list[object]:
        return [
            await store.open_work(),
            await store.task("t1"),
            await store.task("t2"),
            await store.tasks(TaskQuery()),
            await store.events(),
            await store.keys(),
            await store.call("c-1"),
        ]

    before = await all_reads(sqlite_store)
    await sqlite_store.close()
    reopened = await SqliteStore.open(sqlite_store.path)

    assert await all_reads(reopened) == before
    (answer,) = await reopened.apply([AppendEvents(events=(make_event(None),))])
    assert answer.last_seq == 9  # type: ignore[union-attr]
    await reopened.close()


async def test_event_numbers_go_on_after_pruning(sqlite_store: SqliteStore) -> None:
    """When old events were removed, down to the last one, a follower still never meets a number twice."""
    await lived(sqlite_store)
    await run_sql(sqlite_store, "DELETE FROM event")
    await sqlite_store.close()

    reopened = await SqliteStore.open(sqlite_store.path)
    work = await reopened.open_work()
    (answer,) = await reopened.apply([AppendEvents(events=(make_event(None),))])

    assert (work.last_event_seq, answer.last_seq) == (8, 9)  # type: ignore[union-attr]
    await reopened.close()


async def test_a_sound_database_has_no_problems(sqlite_store: SqliteStore) -> None:
    """Neither an empty one nor one with something in every table."""
    assert await sqlite_store.check() == []

    await lived(sqlite_store)

    assert await sqlite_store.check() == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM task_spec WHERE task_seq = 2", "task t2 has no spec"),
        ("DELETE FROM attempt", "task t1 is at generation 1, its newest attempt is 0"),
        ("UPDATE task SET generation = 0 WHERE id = 't1'", "differs between its columns and its body in generation"),
        ("UPDATE task SET body = '{}' WHERE id = 't2'", "task t2 cannot be read"),
        ("UPDATE call SET cost_micro_usd = 0", "call c-1 differs between its columns and its body in cost_micro_usd"),
        ("UPDATE call SET body = '{}'", "call c-1 cannot be read"),
        ("UPDATE gateway_key SET revoked_ms = 1", "key laptop differs between its columns and its body in revoked_ms"),
        ("UPDATE event SET task_seq = 2 WHERE seq = 1", "event 1 is about task t1"),
        ("UPDATE event SET task_seq = 99 WHERE seq = 1", "event 1 is about task t1"),
        ("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'event'", "event 4 is above the counter"),
        ("INSERT INTO output VALUES (99, 1, 'x')", "points to a task that is not there"),
        ("UPDATE task SET state = 'queued' WHERE id = 't1'", "CHECK constraint failed in task"),
    ],
)
async def test_damage_is_found(sqlite_store: SqliteStore, damage: str, words: str) -> None:
    """Each invariant that no constraint can hold by itself is checked, and the line names the row."""
    await lived(sqlite_store)
    await run_sql(sqlite_store, "PRAGMA foreign_keys = OFF")
    await run_sql(sqlite_store, "PRAGMA ignore_check_constraints = ON")

    await run_sql(sqlite_store, damage)

    problems = await sqlite_store.check()
    assert any(words in problem for problem in problems), problems


async def test_a_page_that_was_overwritten_is_found(sqlite_store: SqliteStore) -> None:
    """Damage below the rows shows too, as a problem or as an error, never as silence."""
    await sqlite_store.apply([make_submit(*(f"t{n}" for n in range(300)))])
    path = sqlite_store.path
    await sqlite_store.close()
    content = bytearray(read_bytes(path))
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 2048] = b"\xff" * 2048
    write_bytes(path, content)

    reopened = await SqliteStore.open(path)
    try:
        problems = await reopened.check()
    except StoreError as error:
        problems = [str(error)]
    await reopened.close()

    assert problems


def read_bytes(path: Path) -> bytes:
    return path.read_bytes()


def write_bytes(path: Path, content: bytes | bytearray) -> None:
    path.write_bytes(content)


def absent(*paths: Path) -> bool:
    return not any(path.exists() for path in paths)


async def test_a_backup_is_a_store(sqlite_store: SqliteStore, tmp_path: Path) -> None:
    """A copy made while work goes on is one complete file, sound, with all that was acknowledged before it began."""
    await lived(sqlite_store)
    before = await sqlite_store.task("t1")
    target = tmp_path / "backup.db"

    async def go_on() -> None:
        for seq in range(10, 60):
            await sqlite_store.apply([make_submit(f"n{seq}", first_seq=seq)])

    await asyncio.gather(sqlite_store.backup(target), go_on())

    assert absent(tmp_path / "backup.db-wal", tmp_path / "backup.db.partial")
    copy = await SqliteStore.open(target, migrate=False)
    assert await copy.task("t1") == before
    assert await copy.check() == []
    assert len(await copy.events(limit=1_000)) == (await copy.open_work()).last_event_seq
    await copy.close()


async def test_a_backup_overwrites_nothing(sqlite_store: SqliteStore, tmp_path: Path) -> None:
    """A file that exists is not touched, and a place that cannot be written leaves no remains."""
    target = tmp_path / "precious"
    write_bytes(target, b"precious")

    with pytest.raises(ConflictError, match="precious exists"):
        await sqlite_store.backup(target)
    with pytest.raises(StoreError):
        await sqlite_store.backup(tmp_path / "missing" / "backup.db")

    assert read_bytes(target) == b"precious"


async def test_reads_go_on_during_a_long_check(sqlite_store: SqliteStore) -> None:
    """Checks and backups have a thread of their own: reads and writes do not wait for them."""
    await lived(sqlite_store)

    results = await asyncio.gather(
        sqlite_store.check(), sqlite_store.open_work(), sqlite_store.apply([make_submit("t9", first_seq=9)])
    )

    assert results[0] == []
    assert len(results[2]) == 1


@pytest.mark.parametrize(
    ("version", "supported", "has_bug"),
    [
        ((3, 36, 0), False, True),
        ((3, 37, 0), True, True),
        ((3, 40, 1), True, True),
        ((3, 51, 2), True, True),
        ((3, 51, 3), True, False),
        ((3, 53, 0), True, False),
    ],
)
def test_the_linked_version_is_judged(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], supported: bool, has_bug: bool
) -> None:
    """The doctor can say whether the library works and whether it has the checkpoint bug."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)

    found = linked_version()

    assert (found.supported, found.has_wal_reset_bug) == (supported, has_bug)


async def test_a_library_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is touched."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))

    with pytest.raises(StoreError, match="too old"):
        await SqliteStore.open(tmp_path / "ostler.db")

    assert absent(tmp_path / "ostler.db", tmp_path / "ostler.db.lock")


async def test_hot_queries_walk_an_index(sqlite_store: SqliteStore) -> None:
    """None of the statements that run all the time reads a whole table, whatever the table holds."""
    await sqlite_store.apply([SubmitTasks(tasks=tuple(make_new(f"t{n}", n, batch="b") for n in range(1, 400)))])
    path = sqlite_store.path
    await sqlite_store.close()
    # Read whole, on purpose.
    small = {"all_tokens", "tokens", "all_endpoint_names", "sessions", "endpoints", "measurements", "last_event_seq"}
    small |= {"all_keys", "keys", "pruned", "observations", "forget_observations", "allowances"}
    small |= {"alerts", "loops", "loop_versions"}
    named = {**sqlite_engine.statements()._asdict(), **sqlite_engine.queries()._asdict()}
    named |= {**sqlite_engine.statements().gateway._asdict(), **sqlite_engine.queries().gateway._asdict()}
    named |= {**sqlite_engine.statements().ledger._asdict(), **sqlite_engine.queries().ledger._asdict()}
    del named["gateway"], named["ledger"]
    texts = {name: text if isinstance(text, str) else text[2] for name, text in named.items() if name not in small}

    with closing(sqlite3.connect(path)) as connection:
        plans = {
            name: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?"))]
            for name, text in texts.items()
        }

    walks = {(name, step) for name, plan in plans.items() for step in plan if step.startswith(("SCAN", "USE TEMP"))}
    # What keys have spent is summed from its index alone, at start and when a window begins; decisions are few.
    assert walks == {
        ("open_tasks", "SCAN task USING INDEX task_open"),
        ("spent", "SCAN call USING COVERING INDEX call_of_key"),
        ("drop_call_decisions", "SCAN call_decision"),
        # By number from the end, and no more than are asked for.
        ("newest_late", "SCAN late_report"),
        # The few entries of one attempt are put in order; what is still reserved is looked for at start.
        ("entries_of_attempt", "USE TEMP B-TREE FOR ORDER BY"),
        ("newest_of_attempt", "USE TEMP B-TREE FOR ORDER BY"),
        ("open_reservations", "SCAN ledger"),
    }
    assert plans["newest"] == ["SEARCH call USING INDEX call_at ((at_ms,id)<(?,?))"]
    assert plans["newest_failed"] == ["SEARCH call USING INDEX call_failed ((at_ms,id)<(?,?))"]
    assert plans["newest_of_key"] == ["SEARCH call USING INDEX call_of_key (key=? AND (at_ms,id)<(?,?))"]
    assert plans["oldest_calls"] == ["SEARCH call USING INDEX call_at (at_ms<?)"]
    assert plans["newest_ended"] == ["SEARCH task USING INDEX task_ended (state=? AND seq<?)"]
    assert plans["newest_of_batch"] == ["SEARCH task USING INDEX task_batch (batch=? AND seq<?)"]
    assert [step for step in plans["events_of_task"] if "event USING" in step] == [
        "SEARCH event USING INDEX event_of_task (task_seq=? AND seq>?)",
        "SEARCH event USING INDEX event_of_task_by_id (task_id=? AND seq>?)",
    ]
