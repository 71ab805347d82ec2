"""The stores under test. What a test of the port says holds for each of them."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from ostler.domain.ports import Store
from ostler.store.memory import MemoryStore
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore
from tests.pooler import WITHOUT_POOLER, Pooler, program
from tests.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with nothing in it, made once: running the migrations costs more than most tests."""
    path = tmp_path_factory.mktemp("store") / "empty.db"

    async def make() -> None:
        await (await SqliteStore.open(path)).close()

    asyncio.run(make())
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    """The path of a database of this test alone."""
    return Path(shutil.copy(empty_database, tmp_path / "ostler.db"))


@pytest.fixture(scope="session")
def pooler(postgres: PostgresServer) -> Iterator[Pooler]:
    """A pooler before the server of this process."""
    if WITHOUT_POOLER:
        pytest.skip("WITHOUT_POOLER is set: no pooler is between")
    if program() is None:
        pytest.fail("no pgbouncer: `make test` installs one (scripts/pooler.sh), WITHOUT_POOLER=1 goes without")
    with Pooler(postgres.port) as running:
        yield running


@pytest.fixture
def lent_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of an empty database: of this test for now, and of others before and after it."""
    url = postgres.lend()
    yield url
    postgres.give_back(url)


@pytest.fixture(params=["memory", "sqlite", "postgres", "pooled"])
def empty_store(request: pytest.FixtureRequest) -> Callable[[], Awaitable[Store]]:
    """How an empty store of each kind is opened. What a kind needs is made for its own tests only."""
    if request.param == "memory":
        return _in_memory
    if request.param == "sqlite":
        database: Path = request.getfixturevalue("database")
        return lambda: SqliteStore.open(database)
    url: str = request.getfixturevalue("lent_url")
    if request.param == "pooled":
        url = request.getfixturevalue("pooler").url(url)
    return lambda: PostgresStore.open(url)


async def _in_memory() -> Store:
    return MemoryStore()


@pytest.fixture
async def store(empty_store: Callable[[], Awaitable[Store]]) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    opened = await empty_store()
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(database: Path) -> AsyncIterator[SqliteStore]:
    """An empty SQLite store, for what only it can do."""
    opened = await SqliteStore.open(database)
    yield opened
    await opened.close()
