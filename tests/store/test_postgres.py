"""What only the PostgreSQL store has: who may write, servers that go away, addresses, its own text."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest

from ostler.domain.commands import Applied, LateReport, PutKey, Reserve, Settle
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.ledger import Amount, LedgerQuery, Scopes
from ostler.domain.states import TaskState
from ostler.store import postgres_engine
from ostler.store.errors import FencedError, StoreError
from ostler.store.postgres import PostgresStore, prepare
from ostler.store.postgres_engine import connect, place_of
from ostler.store.postgres_sets import ZERO_SHOWN
from tests.e2e.relay import relay
from tests.postgres_server import PostgresServer
from tests.store.rows_made import make_attempt, make_event, make_key, make_submit, make_task, make_update


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """An empty store."""
    store = await PostgresStore.open(postgres_url)
    yield store
    await store.close()


def run_sql(url: str, *texts: str) -> list[tuple[Any, ...]]:
    """Past every guard of the code."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path TO ostler")
        cursors = [connection.execute(text.encode()) for text in texts]
        return [row for cursor in cursors if cursor.description for row in cursor.fetchall()]


async def test_who_opens_a_pool_is_the_only_one_who_writes(opened: PostgresStore, postgres_url: str) -> None:
    """A store that was opened later fences the earlier one: its writes are refused whole, its reads go on."""
    await opened.apply([make_submit("t1")])
    later = await PostgresStore.open(postgres_url)
    await later.apply([make_submit("t2", first_seq=2)])

    with pytest.raises(FencedError, match="another hub has taken over") as refused:
        await opened.apply([make_submit("t3", first_seq=3)])

    assert refused.value.code == "no_leader"  # whoever asked is to ask again
    assert await opened.states(["t1", "t2", "t3"]) == {"t1": TaskState.QUEUED, "t2": TaskState.QUEUED}
    await later.apply([make_submit("t3", first_seq=3)])
    await later.close()


async def test_a_right_to_write_that_was_lost_cannot_be_used(opened: PostgresStore, postgres_url: str) -> None:
    """Opening with an epoch that is not the newest is refused, and the one who has it goes on."""
    with pytest.raises(FencedError):
        await PostgresStore.open(postgres_url, epoch=0)

    assert await opened.apply([make_submit("t1")]) == [Applied(last_seq=1)]


async def test_numbers_go_on_where_they_ended(opened: PostgresStore, postgres_url: str) -> None:
    """Events, tasks and entries of the ledger are numbered without a gap by one writer after another."""
    await opened.apply([make_submit("t1"), Settle(attempt="a", at_ms=1, amount=Amount(micro_usd=5))])
    await opened.close()
    later = await PostgresStore.open(postgres_url)
    await later.apply([make_submit("t2", first_seq=2), Settle(attempt="b", at_ms=1, amount=Amount(micro_usd=6))])

    assert [event.seq for event in await later.events()] == [1, 2]
    assert [entry.seq for entry in await later.ledger(LedgerQuery())] == [1, 2]
    assert await later.check() == []
    await later.close()


async def test_pools_of_one_database_know_nothing_of_each_other(opened: PostgresStore, postgres_url: str) -> None:
    """Each has its own tasks, numbers, money and writer."""
    other = await PostgresStore.open(postgres_url, pool="lab")
    for store in (opened, other):
        await store.apply([make_submit("t1"), Settle(attempt="a", at_ms=1, amount=Amount(micro_usd=5))])

    assert [(await store.open_work()).next_seq for store in (opened, other)] == [2, 2]
    await other.apply([make_update(make_task("t1"), TaskState.CANCELLED)])
    assert await opened.states(["t1"]) == {"t1": TaskState.QUEUED}
    await other.close()


async def test_connections_that_break_are_made_again(opened: PostgresStore, postgres_url: str) -> None:
    """With all connections cut by the server, the next write and the next read succeed as if nothing was."""
    await opened.apply([make_submit("t1")])
    assert await opened.states(["t1"])

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ostler'"
            " AND datname = current_database()"
        )

    assert await opened.apply([make_submit("t2", first_seq=2)]) == [Applied(last_seq=2)]
    assert len(await opened.states(["t1", "t2"])) == 2


async def test_a_server_that_is_restarted_is_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Writers carry on over a crash of the server: everything acknowledged is there, and nothing is there twice."""
    server = PostgresServer(durable=True)
    try:
        store = await PostgresStore.open(server.new_database())
        acknowledged: list[str] = []

        async def submit(number: int) -> None:
            await store.apply([make_submit(f"t{number}", first_seq=number)])
            acknowledged.append(f"t{number}")

        def restart() -> None:
            server.stop()
            server.start()

        crash = threading.Thread(target=restart)
        for start in range(1, 601, 20):
            if start == 101:
                crash.start()
            await asyncio.gather(*(submit(number) for number in range(start, start + 20)))
        crash.join()

        assert len(acknowledged) == len(await store.states(acknowledged)) == 600
        assert [event.seq for event in await store.events(limit=1000)] == list(range(1, 601))
        assert await store.check() == []
        await store.close()
    finally:
        server.remove()


async def test_a_right_that_is_lost_without_the_database_ends_the_waiting(postgres_url: str) -> None:
    """A hub whose lease is over writes nothing, and waits for no server: whatever it was about to do is another's."""
    reasons = [""]
    store = await PostgresStore.open(postgres_url, lost=lambda: reasons[0])
    assert await store.apply([make_submit("t1")]) == [Applied(last_seq=1)]

    reasons[0] = "the lease is over"
    with pytest.raises(FencedError, match="the lease is over"):
        await store.apply([make_submit("t2", first_seq=2)])
    session = store._side._session
    assert session is not None
    session._connection.close()
    began = time.monotonic()
    with pytest.raises(FencedError, match="the lease is over"):
        await store.apply([make_submit("t2", first_seq=2)])

    assert time.monotonic() - began < 5
    await store.close()
    assert run_sql(postgres_url, "SELECT id FROM ostler.task") == [("t1",)]


async def test_what_a_writer_has_locked_is_free_again_when_it_says_no_more(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a transaction: the server itself lets go of it."""
    assert postgres_engine.FROZEN_MS == 10_000
    monkeypatch.setattr(postgres_engine, "FROZEN_MS", 1_000)
    with relay(f"http://{postgres_url.partition('@')[2].partition('/')[0]}") as wire:
        cut = postgres_url.replace(postgres_url.partition("@")[2].partition("/")[0], wire.url.removeprefix("http://"))
        store = await PostgresStore.open(cut)
        session = store._side._session
        assert session is not None
        await store._writer.run(session.begin)
        await store._writer.run(lambda: session.look("SELECT 1"))
        wire.is_cut = True

        began = time.monotonic()
        later = await PostgresStore.open(postgres_url)
        assert time.monotonic() - began < 10
        assert await later.apply([make_submit("t1")]) == [Applied(last_seq=1)]
        await later.close()
    await store.close()


def test_both_sides_of_a_connection_notice_a_wire_that_was_cut(postgres_url: str) -> None:
    """Within seconds, by probes and by what is not confirmed: half a statement may hold locks at the server."""
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    text = "SELECT setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
    with connect(place_of(postgres_url)) as connection:
        assert connection.execute(text, (list(names),)).fetchall() == [("2",), ("2",), ("1",), ("3000",)]
        line = socket.socket(fileno=os.dup(connection.pgconn.socket))
    with line:
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 2
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3_000


async def test_a_server_that_stays_away_is_told_of(opened: PostgresStore, postgres_url: str) -> None:
    """Writes and reads end in time with one message, without the password, and the store can be closed."""
    secret = postgres_url.replace("ostler@", "ostler:hunter2@")
    impatient = await PostgresStore.open(secret, pool="away", patience_s=0.3)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = postgres_url.rpartition("/")[2]
        connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0".encode())
        connection.execute(b"CREATE ROLE plain LOGIN")
    # A superuser is under no limit: the wire is cut by an address that nobody answers at.
    impatient.place = impatient._side._place = place_of(secret.replace("127.0.0.1", "127.0.0.254"), "away")
    session = impatient._side._session
    assert session is not None
    session._place = impatient.place
    session._connection.close()

    began = time.monotonic()
    with pytest.raises(StoreError, match="is the server running") as told:
        await impatient.apply([make_submit("t1")])
    with pytest.raises(StoreError, match="is the server running"):
        await impatient.states(["t1"])

    assert time.monotonic() - began < 10
    assert "hunter2" not in str(told.value)
    await impatient.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(b"DROP ROLE plain")


@pytest.mark.parametrize(
    ("url", "pool", "says"),
    [
        ("mysql://x/y", "default", "no store for mysql"),
        ("postgresql:/nonsense", "default", "no address"),
        ("postgresql://h:99999/y", "default", "no address"),
        ("postgresql://u:a@b@h/y", "default", "any other @ is %40"),
        ("postgresql://u:17/hunter2@h:5432/y", "default", "a / in a password is %2F"),
        ("postgresql://u:17/x?hunter2@h:5432/y", "default", "no address"),
        ("postgresql://h:5432/y?user=a@b", "default", "any other @ is %40"),
        ("postgresql://x/y", "Lab!", "cannot name a pool"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, pool: str, says: str) -> None:
    """Before anything is opened, with what would be valid."""
    with pytest.raises(InvalidInputError, match=says) as refused:
        place_of(url, pool)
    assert "hunter2" not in str(refused.value)


async def test_a_database_that_is_not_there_is_named(postgres: PostgresServer) -> None:
    """The message names it and says what to do."""
    with pytest.raises(OstlerError, match=r"absent.*does not exist"):
        await PostgresStore.open(postgres.url("absent"))


def test_a_user_who_may_make_no_schema_is_told_so(postgres_url: str) -> None:
    """And no connection is left behind, whoever keeps the error."""
    name = f"guest_{postgres_url.rpartition('/')[2]}"
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN".encode())
        owner.execute(f"GRANT CONNECT ON DATABASE {postgres_url.rpartition('/')[2]} TO {name}".encode())
        try:
            with pytest.raises(StoreError, match="permission denied") as told:
                prepare(place_of(postgres_url.replace("ostler@", f"{name}@"), "other"))
            assert "let the user create a schema" in str(told.value)
            left = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'"  # noqa: S608 - our own names
            deadline = time.monotonic() + 5
            while owner.execute(left.encode()).fetchone() != (0,):
                assert time.monotonic() < deadline, "a connection is left open"
                time.sleep(0.02)
        finally:
            owner.execute(f"DROP OWNED BY {name}".encode())
            owner.execute(f"DROP ROLE {name}".encode())


def test_a_place_is_shown_without_its_password() -> None:
    """In messages and in its representation."""
    place = place_of("postgresql://me:hunter2@db/ostler")

    assert "hunter2" not in f"{place!r} {place.shown} {place!s}"
    assert place.shown == "postgresql://me:***@db/ostler"
    assert place_of("postgresql://db/ostler?user=me&password=hunter2").shown == "postgresql://db/ostler"


@pytest.mark.parametrize("secret", ["hunter2", "17#hunter2", "17?hunter2", "hunter2:17", "%40hunter2"])
@pytest.mark.parametrize("where", ["db:5432/ostler", "[::1]:5432/ostler", "/ostler", "db"])
def test_no_password_is_shown_as_something_else(secret: str, where: str) -> None:
    """Nor what comes after the name of the database: a password may stand there, too."""
    place = place_of(f"postgresql://me:{secret}@{where}?password={secret}&host=/tmp")

    assert place.shown == f"postgresql://me:***@{where}"


async def test_a_zero_character_is_shown_as_one(opened: PostgresStore) -> None:
    """What a program writes into its output cannot stop the hub; PostgreSQL's text has no such character."""
    task = make_task("t1")
    assign = make_update(task, TaskState.ASSIGNED)
    finish = msgspec.structs.replace(make_update(assign.task, TaskState.FAILED), attempt=make_attempt(), output="a\0b")
    late = LateReport(task_id="t1", generation=1, at_ms=1, body=b"\0\xff", event=make_event("t1", "task.late_report"))

    await opened.apply([make_submit("t1"), msgspec.structs.replace(assign, attempt=make_attempt()), finish, late])

    detail = await opened.task("t1")
    assert detail is not None
    assert (detail.output, detail.late_reports) == (f"a{ZERO_SHOWN}b", (b"\0\xff",))


async def test_text_is_ordered_as_elsewhere(postgres_url: str, opened: PostgresStore) -> None:
    """Every column of text compares by code point, whatever language the database was made in."""
    found = run_sql(
        postgres_url,
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = 'ostler' AND data_type = 'text'",
    )

    assert found == [("C",)]
    keys = [make_key(name, key_hash=name) for name in ("b", "a", "B")]
    await opened.apply([PutKey(key=key, event=make_event(None)) for key in keys])
    assert [key.name for key in await opened.keys()] == ["B", "a", "b"]


async def test_money_that_was_taken_away_is_missed(postgres_url: str) -> None:
    """A ledger whose newest entry is gone is refused when it is opened, never read as less."""
    store = await PostgresStore.open(postgres_url)
    await store.apply([Settle(attempt="a", at_ms=1, amount=Amount(micro_usd=5))])
    await store.close()
    run_sql(postgres_url, "DELETE FROM ledger")

    with pytest.raises(StoreError, match="0 entries"):
        await PostgresStore.open(postgres_url)


async def test_what_is_wrong_is_found(postgres_url: str, opened: PostgresStore) -> None:
    """The check names rows that somebody edited."""
    await opened.apply([make_submit("t1", "t2")])
    run_sql(postgres_url, "UPDATE task SET priority = 4 WHERE id = 't2'", "DELETE FROM task_spec WHERE task_seq = 1")

    assert await opened.check() == [
        "task t1 has no spec",
        "task t2 differs between its columns and its body in priority",
    ]


async def test_the_database_refuses_what_the_code_would_never_write(postgres_url: str, opened: PostgresStore) -> None:
    """Constraints are there, as on SQLite."""
    await opened.apply([make_submit("t1")])

    with pytest.raises(psycopg.errors.CheckViolation, match="task_"):
        run_sql(postgres_url, "UPDATE task SET state = 'succeeded', prev_state = 'queued', wait_code = NULL")


async def test_many_callers_share_few_transactions(opened: PostgresStore) -> None:
    """A hundred callers at once are answered by a handful of flushes, and each reservation is judged by the others."""
    before = opened._writer.flush_count

    await asyncio.gather(
        *(
            opened.apply([Reserve(attempt=f"a{n}", at_ms=1, scopes=Scopes(), amount=Amount(micro_usd=1))])
            for n in range(100)
        )
    )

    assert opened._writer.flush_count - before < 20
    assert len(await opened.open_reservations()) == 100
