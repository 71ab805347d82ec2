"""A ledger that is read beside its hub: a pool of a database server says what a file says."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import psycopg
import pytest

from ostler.domain.allowances import Reported
from ostler.domain.commands import Command, PutAllowances, PutCalls, PutEndpoint, Reserve, Settle
from ostler.domain.ledger import Amount, Basis, LedgerQuery, Scopes, Span
from ostler.domain.limits import ScopeKind
from ostler.domain.live import CallAttempt
from ostler.domain.ports import Store
from ostler.domain.states import TaskState
from ostler.domain.tasks import Usage
from ostler.store.errors import StoreError
from ostler.store.ledger_file import LedgerFile
from ostler.store.ledger_pool import LedgerPool
from ostler.store.ledger_reader import LedgerReader
from ostler.store.local_use import NO_USE, Use
from ostler.store.postgres import PostgresStore
from ostler.store.postgres_engine import place_of
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import make_attempt, make_call, make_endpoint, make_submit, make_task, make_update

DAY_MS = 86_400_000
DAY = Span(scope=ScopeKind.PROVIDER, value="anthropic", start_ms=0, end_ms=DAY_MS)
EVER = Span(scope=ScopeKind.ALL, start_ms=-(2**62), end_ms=2**62)
WINDOW = Reported(provider="anthropic", window="5h", used_percent=42.0, at_ms=7, hours=5)
USAGE = Usage(input_tokens=600, output_tokens=100)


def work() -> list[list[Command]]:
    """Money, what a provider reported, attempts of tasks, a call, an endpoint that was added."""
    scopes = Scopes(provider="anthropic", tier="large")
    mine = CallAttempt(
        endpoint="box", model="mare", tier="small", started_ms=0, duration_ms=1, input_tokens=40, cost_basis="local"
    )
    paid = msgspec.structs.replace(mine, cost_basis="priced")
    updates: list[list[Command]] = []
    for number, usage in enumerate((USAGE, USAGE, None), start=1):
        update = make_update(make_task(f"t{number}", number), TaskState.ASSIGNED)
        attempt = make_attempt(f"t{number}", endpoint="box", model="mare", usage=usage)
        updates.append([msgspec.structs.replace(update, attempt=attempt)])
    return [
        [
            Reserve(attempt="a", at_ms=5, amount=Amount(micro_usd=9), basis=Basis.ESTIMATED, scopes=scopes),
            Settle(attempt="b", at_ms=6, amount=Amount(micro_usd=30), basis=Basis.PRICED, scopes=scopes),
            PutAllowances(reports=(WINDOW,)),
            PutEndpoint(endpoint=make_endpoint("barn")),
            make_submit("t1", "t2", "t3"),
            PutCalls(records=(msgspec.structs.replace(make_call("c1"), attempts=(mine, paid)),)),
        ],
        *updates,
    ]


def written(open_store: Callable[[], Awaitable[Store]]) -> None:
    async def write() -> None:
        store = await open_store()
        for commands in work():
            await store.apply(commands)
        await store.close()

    asyncio.run(write())


@pytest.fixture(params=["file", "pool"])
def reader(request: pytest.FixtureRequest) -> LedgerReader:
    """A ledger of each kind with the same work in it."""
    if request.param == "file":
        path: Path = request.getfixturevalue("database")
        written(lambda: SqliteStore.open(path))
        return LedgerFile(path)
    url: str = request.getfixturevalue("postgres_url")
    written(lambda: PostgresStore.open(url))
    return LedgerPool(place_of(url))


def test_every_question_has_the_same_answer_whatever_keeps_the_ledger(reader: LedgerReader) -> None:
    """Sums, entries, scopes, reports, and what own machines answered, each of attempts with a count."""
    day, ever = reader.spent([DAY, EVER])
    assert (day.used.micro_usd, day.held.micro_usd, ever.used.micro_usd) == (30, 9, 30)
    entries = reader.entries(LedgerQuery(newest_first=True, limit=10))
    assert [(entry.seq, entry.attempt) for entry in entries] == [(2, "b"), (1, "a")]
    assert [entry.attempt for entry in reader.entries(LedgerQuery(attempt="a"))] == ["a"]
    assert (reader.charged(ScopeKind.PROVIDER), reader.charged(ScopeKind.SESSION)) == (["anthropic"], [])
    assert reader.reported() == [WINDOW]
    use = reader.kept_use()
    assert use.tasks == [Use("box", "mare", 2, 1_200, 200)]
    assert use.calls == [Use("box", "mare", 1, 40, 0)]
    assert use.added_local == {"barn"}


def test_a_database_that_no_hub_has_used_is_an_empty_ledger(postgres_url: str) -> None:
    """As a file that is not there: nothing was spent, and nothing is made by looking."""
    reader = LedgerPool(place_of(postgres_url, "nobody"))
    assert reader.spent([EVER])[0].used.micro_usd == 0
    assert (reader.entries(LedgerQuery()), reader.charged(ScopeKind.ALL), reader.reported()) == ([], [], [])
    assert reader.kept_use() == NO_USE


def test_a_pool_whose_ledger_lost_an_entry_is_not_read_as_one_that_spent_less(postgres_url: str) -> None:
    """What was taken away is an error at the first question."""
    written(lambda: PostgresStore.open(postgres_url))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DELETE FROM ostler.ledger WHERE seq = 1")
    with pytest.raises(StoreError, match="1 entries"):
        LedgerPool(place_of(postgres_url)).spent([EVER])


def test_a_server_that_is_not_there_is_an_error_without_its_password() -> None:
    """Told where, and in the words of the server's own library."""
    with pytest.raises(StoreError) as told:
        LedgerPool(place_of("postgresql://me:secret@127.0.0.1:1/none")).charged(ScopeKind.ALL)
    assert "127.0.0.1" in str(told.value.where)
    assert "secret" not in f"{told.value} {told.value.where}"
