"""The stores under test. What a test of the port says holds for each of them."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ostler.domain.ports import Store
from ostler.store.memory import MemoryStore
from ostler.store.sqlite import SqliteStore


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


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, database: Path) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    opened: Store = MemoryStore() if request.param == "memory" else await SqliteStore.open(database)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(database: Path) -> AsyncIterator[SqliteStore]:
    """An empty SQLite store, for what only it can do."""
    opened = await SqliteStore.open(database)
    yield opened
    await opened.close()
