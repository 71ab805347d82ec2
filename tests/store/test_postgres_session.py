"""What is written to PostgreSQL goes over the wire in one go with its commit; where any of it fails, nothing stays."""

import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from ostler.domain.commands import AppendEvents, Applied, PruneTasks, Settle
from ostler.domain.ledger import Amount, LedgerQuery
from ostler.domain.states import TaskState
from ostler.store.errors import FencedError, StoreError
from ostler.store.postgres import PostgresStore
from ostler.store.postgres_session import PostgresSession
from tests.store.rows_made import NOW_MS, make_event, make_submit, make_task, make_update
from tests.store.test_failures import LONE_SURROGATE, together

COMMIT = b"COMMIT\0"
SYNC = b"S\0\0\0\4"
"""The end of what is sent in one go."""
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON task FOR EACH ROW WHEN (new.id = 'bad') EXECUTE FUNCTION refuse();
"""
SKIP = """
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER skip BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION skip();
"""
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON task DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();
"""
"""The commit takes its time."""


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """An empty store."""
    store = await PostgresStore.open(postgres_url)
    yield store
    await store.close()


def by_hand(url: str, text: str) -> None:
    """Past every guard of the code."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path TO ostler")
        connection.execute(text.encode())


def session_of(store: PostgresStore) -> PostgresSession:
    """The connection that writes."""
    session = store._side._session
    assert session is not None
    return session


async def test_a_flush_asks_the_server_twice(opened: PostgresStore, tmp_path: Path) -> None:
    """To begin and look at what is there, and to write all of it with its commit; as often for some as for one."""
    await opened.apply([make_submit(*(f"t{number}" for number in range(1, 21)))])
    wire = session_of(opened)._connection.pgconn
    path = tmp_path / "wire"
    asked = []
    for tasks in (range(1, 2), range(2, 18)):
        with path.open("w") as log:
            wire.trace(log.fileno())
            await opened.apply([make_update(make_task(f"t{number}", number), TaskState.ASSIGNED) for number in tasks])
            wire.untrace()
        asked.append(re.findall(r"\tF\t\d+\t(Query|Sync)", path.read_text()))

    assert asked == [["Query", "Sync"]] * 2


async def test_a_row_the_database_refuses_fails_alone(opened: PostgresStore, postgres_url: str) -> None:
    """What was on its way behind it is passed over, its commit too; the others of its flush are applied."""
    by_hand(postgres_url, REFUSE)

    found = await together(
        opened, [make_submit("a")], [make_submit("bad", first_seq=2)], [make_submit("b", first_seq=3)]
    )

    assert [found[0], found[2]] == [[Applied(last_seq=1)], [Applied(last_seq=2)]]
    assert isinstance(found[1], StoreError)
    assert "not this one" in found[1].what
    assert set(await opened.states(["a", "b", "bad"])) == {"a", "b"}
    assert [event.seq for event in await opened.events()] == [1, 2]


async def test_a_write_that_finds_another_row_than_it_read_is_rolled_back(
    opened: PostgresStore, postgres_url: str
) -> None:
    """Should a row change between look and write, the flush fails instead of losing what changed it."""
    await opened.apply([make_submit("t1", "t2")])
    by_hand(postgres_url, SKIP)

    for task, new in ((make_task("t1"), TaskState.ASSIGNED), (make_task("t1"), TaskState.CANCELLED)):
        with pytest.raises(StoreError, match=r"a task changed.*something else writes"):
            await opened.apply([make_update(task, new), make_submit("t3", first_seq=3)])

    assert set(await opened.states(["t1", "t2", "t3"])) == {"t1", "t2"}
    assert [event.seq for event in await opened.events()] == [1, 2]
    by_hand(postgres_url, "DROP TRIGGER skip ON task")
    assert await opened.apply([make_update(make_task("t1"), TaskState.ASSIGNED)]) == [Applied(last_seq=3)]


async def test_a_look_between_two_writes_sees_the_first(opened: PostgresStore) -> None:
    """What is to be forgotten is looked for among what this very flush has ended."""
    await opened.apply([make_submit("t1", "t2")])
    ended = make_update(make_task("t1"), TaskState.CANCELLED)
    forget = PruneTasks(after_seq=0, to_seq=2, before_ms=NOW_MS * 2, keep=())

    assert len(await opened.apply([ended, forget])) == 2
    assert set(await opened.states(["t1", "t2"])) == {"t2"}


class Cutter:
    """Between a store and its server; breaks the connections on which the next commits go over."""

    def __init__(self, server: int) -> None:
        self.cuts: list[str] = []
        """What becomes of them, one after the other: the server hears of a commit that is to be "told"."""
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lines: list[socket.socket] = []
        self._untold: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let go of all lines."""
        _shut(self._listener, *self._lines)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._server))
                self._lines += [near, far]
                for work in (self._there, self._back):
                    threading.Thread(target=work, args=(near, far), daemon=True).start()

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while piece := near.recv(1 << 20):
                place = piece.find(COMMIT) if self.cuts else -1
                if place >= 0 and self.cuts.pop(0) == "told":
                    self._untold.add(near)
                    far.sendall(piece)
                    while not piece.endswith(SYNC):  # the rest of it may come in another piece
                        piece = near.recv(1 << 20)
                        far.sendall(piece)
                    _shut(near)
                    return
                far.sendall(piece if place < 0 else piece[:place])
                if place >= 0:
                    break
        _shut(near, far)

    def _back(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while piece := far.recv(1 << 20):
                if near not in self._untold:
                    near.sendall(piece)
                elif b"COMMIT" in piece:  # until then it is listened to: who hangs up on what was said is not heard
                    break
        _shut(near, far)


def _shut(*lines: socket.socket) -> None:
    for line in lines:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()


@contextmanager
def cutting(url: str) -> Iterator[tuple[Cutter, str]]:
    """A cutter, and the address that leads through it."""
    port = int(url.partition("@")[2].partition("/")[0].rpartition(":")[2])
    made = Cutter(port)
    try:
        yield made, url.replace(f":{port}/", f":{made.port}/")
    finally:
        made.close()


@asynccontextmanager
async def opened_by(url: str) -> AsyncIterator[PostgresStore]:
    """A store that is closed whatever happens."""
    store = await PostgresStore.open(url)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("cut", ["told", "not told"])
async def test_a_commit_whose_answer_is_lost_is_looked_up(postgres_url: str, cut: str) -> None:
    """Whether it happened or not, it is applied once and its true results are given, and so are those after it."""
    with cutting(postgres_url) as (cutter, url):
        async with opened_by(url) as store:
            for number in (1, 2):
                cutter.cuts = [cut]
                paid = Settle(attempt=f"a{number}", at_ms=1, amount=Amount(micro_usd=5))
                result = await store.apply([make_submit(f"t{number}", first_seq=number), paid])

                assert cutter.cuts == []
                assert result[0] == Applied(last_seq=number)
            assert await store.apply([make_submit("t3", first_seq=3)]) == [Applied(last_seq=3)]
            assert [event.seq for event in await store.events()] == [1, 2, 3]
            assert [entry.amount.micro_usd for entry in await store.ledger(LedgerQuery())] == [5, 5]
            assert await store.check() == []


async def test_a_commit_that_is_still_going_on_is_waited_for(postgres_url: str) -> None:
    """Its connection is gone and the server at work on it: only then is it known whether it happened."""
    with cutting(postgres_url) as (cutter, url):
        async with opened_by(url) as store:
            by_hand(postgres_url, SLOW)
            cutter.cuts = ["told"]

            assert await store.apply([make_submit("t1")]) == [Applied(last_seq=1)]
            assert await store.apply([make_submit("t2", first_seq=2)]) == [Applied(last_seq=2)]
            assert [event.seq for event in await store.events()] == [1, 2]


async def test_a_connection_that_breaks_again_and_again_is_an_error_and_leaves_nothing(postgres_url: str) -> None:
    """It is tried twice, and looked up each time; who asks again has it applied once."""
    with cutting(postgres_url) as (cutter, url):
        async with opened_by(url) as store:
            cutter.cuts = ["not told"] * 4

            with pytest.raises(StoreError, match="no connection"):
                await store.apply([make_submit("t1")])

            assert await store.states(["t1"]) == {}
            assert await store.apply([make_submit("t1")]) == [Applied(last_seq=1)]


async def test_who_was_never_told_of_a_commit_writes_no_more(postgres_url: str) -> None:
    """What it knows is older than what is stored, numbers too: it is to begin anew, and then all is there once."""
    with cutting(postgres_url) as (cutter, url):
        async with opened_by(url) as store:
            cutter.cuts = ["told", "not told"]

            for name in ("t1", "t2"):
                with pytest.raises(FencedError, match="nobody could tell it so"):
                    await store.apply([make_submit(name)])
        async with opened_by(url) as anew:
            assert set(await anew.states(["t1", "t2"])) == {"t1"}
            assert await anew.apply([make_submit("t2", first_seq=2)]) == [Applied(last_seq=2)]
            assert [event.seq for event in await anew.events()] == [1, 2]
            assert await anew.check() == []


async def test_what_cannot_even_be_sent_leaves_the_connection_usable(opened: PostgresStore) -> None:
    """A value that is refused here, after others went on their way."""
    found = await together(
        opened,
        [make_submit("a")],
        [make_submit("b", first_seq=2), AppendEvents(events=(make_event(LONE_SURROGATE),))],
        [make_submit("c", first_seq=3)],
    )

    assert [found[0], found[2]] == [[Applied(last_seq=1)], [Applied(last_seq=2)]]
    assert isinstance(found[1], Exception)
    assert set(await opened.states(["a", "b", "c"])) == {"a", "c"}


@pytest.mark.parametrize("name", ["it's", "'; DROP TABLE task; --", "a\\'b\\\\", "%s %(x)s %", "$1", "馬\n"])
async def test_names_are_never_read_as_something_else(opened: PostgresStore, name: str) -> None:
    """The first question of a flush is spelt out, the others are not: both find what was stored."""
    await opened.apply([make_submit(name)])

    assert await opened.apply([make_submit(name, first_seq=2)]) == [Applied(duplicates=(name,), spec=None)]
    again = await opened.apply([make_submit("other", first_seq=2), make_update(make_task(name), TaskState.ASSIGNED)])
    assert again[1] == Applied(last_seq=3)
