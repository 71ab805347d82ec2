"""A durable store lets go of its file and its threads, whenever whoever closes it is ended, and whatever breaks."""

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from ostler.store.errors import StoreError
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("store-")}


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 8, 16])
def test_an_end_of_everything_lets_the_next_one_in(tmp_path: Path, turns: int) -> None:
    """However few turns of the loop lie between the beginning of the close and the end of the loop with all tasks."""
    path = tmp_path / "ostler.db"

    async def close_and_leave() -> None:
        store = await SqliteStore.open(path)
        closing = asyncio.ensure_future(store.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert closing is not None

    async def open_again() -> None:
        store = await SqliteStore.open(path)
        await store.close()

    asyncio.run(close_and_leave())
    gc.collect()  # a connection that is still open warns here, and a warning fails the test
    assert threads() == set()
    asyncio.run(open_again())


@pytest.mark.parametrize("part", ["_close_reader", "_maintenance", "_side"])
async def test_what_breaks_while_it_closes_keeps_nobody_out(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is told, and everything else is closed."""
    store = await SqliteStore.open(tmp_path / "ostler.db")
    owner, name = {
        "_close_reader": (store, "_close_reader"),
        "_maintenance": (store._maintenance, "shutdown"),
        "_side": (store._side, "close"),
    }[part]
    works = getattr(owner, name)

    def broken() -> None:
        works()
        raise StoreError("the disk is gone")

    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(StoreError, match="the disk is gone"):
        await store.close()

    assert threads() == set()
    again = await SqliteStore.open(tmp_path / "ostler.db")
    await again.close()


@pytest.mark.parametrize("turns", [1, 2, 8])
def test_an_end_of_everything_leaves_the_server_no_connection(postgres_url: str, turns: int) -> None:
    """As with a file: whoever closes may be ended in the middle."""

    async def close_and_leave() -> None:
        store = await PostgresStore.open(postgres_url)
        await store.open_work()
        closing = asyncio.ensure_future(store.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert closing is not None

    asyncio.run(close_and_leave())
    gc.collect()  # a connection that is still open warns here, and a warning fails the test
    assert threads() == set()
