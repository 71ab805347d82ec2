"""A pool's part of what pools have in common, kept by the shell: less before it is written, more only afterwards."""

import asyncio
import time
from collections.abc import Callable

import msgspec
import pytest

from ostler.app import sharing
from ostler.app.sharing import Sharing, resource_of
from ostler.domain.catalog import EndpointSpec
from ostler.scheduling import signals as sig
from ostler.scheduling.shares import Claim
from ostler.store.errors import StoreError
from ostler.store.shares import Look, PoolShares
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import cloud, local

ROW_MS = 60_000


class Table:
    """The table in memory. `before_put` is done while a write is on its way."""

    def __init__(self) -> None:
        self.version = 0
        self.now_ms = 1_000_000
        self.rows: dict[str, PoolShares] = {}
        self.fails = False
        self.allowed = True
        self.before_put: Callable[[], None] = lambda: None
        self.is_closed = False

    async def prepare(self) -> bool:
        return self.allowed

    async def look(self) -> Look:
        await asyncio.sleep(0)
        if self.fails:
            raise StoreError("no answer")
        return Look(version=self.version, now_ms=self.now_ms, rows=tuple(self.rows.values()))

    async def put(self, version: int, row: PoolShares) -> bool:
        self.before_put()
        await asyncio.sleep(0)
        if version != self.version:
            return False
        self.version += 1
        self.rows[row.pool] = row
        return True

    async def close(self) -> None:
        self.is_closed = True

    def write(self, pool: str, claim: Claim, *, epoch: int = 1, server: str = "gpu:11434") -> None:
        """What another pool, or another leader of this one, says."""
        self.version += 1
        self.rows[pool] = PoolShares(pool=pool, epoch=epoch, until_ms=self.now_ms + ROW_MS, claims={server: claim})

    def held(self, pool: str = "own") -> int:
        (claim,) = self.rows[pool].claims.values()
        return claim.held


class Pool:
    """One pool's scheduler, with its keeper."""

    def __init__(self, table: Table, *specs: EndpointSpec, row_ms: int = ROW_MS) -> None:
        self.rig = LiveRig()
        self.rig.tell(sig.SlotsShared(shares={}))
        self.rig.worker(chat=9)
        for spec in specs or (local("gpu", slots=4),):
            self.rig.up(spec)
        self.keeper = Sharing(table, "own", 3, row_ms, "box")
        self.keeper.start(self.rig)

    def slots(self, name: str = "gpu") -> int:
        return self.rig.scheduler.books.endpoints.views[name].slots

    def busy(self) -> int:
        return sum(self.rig.scheduler.books.in_flight.values())

    def asks(self, count: int) -> list[str]:
        return [self.rig.chat(f"t{number}") for number in range(count)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "BEAT_S", 0.01)
    monkeypatch.setattr(sharing, "SOON_S", 0.001)


async def until(holds: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end_s, f"{what}: not within 5 s"
        await asyncio.sleep(0.002)


async def test_a_pool_alone_has_all_and_says_so() -> None:
    """Its endpoints are as if nobody counted, and its row names them for whoever comes."""
    table = Table()
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")

    assert pool.rig.scheduler.books.endpoints.views["gpu"].share is None
    assert table.held() == 4
    await pool.keeper.stop(pool.rig)
    assert table.rows["own"].claims == {}
    assert table.is_closed


async def test_two_pools_have_no_more_than_there_is() -> None:
    """Who had all gives back what it does not use; both are told of each other."""
    table = Table()
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")
    pool.asks(9)
    table.write("lab", Claim(total=4, wanted=4))
    await until(lambda: pool.rig.scheduler.books.endpoints.views["gpu"].share is not None, "told of the other")
    await until(lambda: pool.slots() == 2, "no more than its half")
    assert table.held() == pool.busy() == 4

    pool.rig.finish("t0")
    await until(lambda: table.held() == 3, "what it uses")

    for name in ("t1", "t2"):
        pool.rig.finish(name)
    await until(lambda: table.held() == 2, "its half")
    assert pool.busy() == 2
    share = pool.rig.scheduler.books.endpoints.views["gpu"].share
    assert share is not None
    assert (share.total, share.pools) == (4, ("lab",))

    del table.rows["lab"]
    await until(lambda: pool.slots() == 4, "all again")
    await pool.keeper.stop(pool.rig)


async def test_it_takes_less_before_it_is_written() -> None:
    """Work that comes while a smaller part is on its way finds the smaller one."""
    table = Table()
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")
    seen: list[int] = []

    def work_comes() -> None:
        if table.rows.get("lab") is not None and not seen:
            pool.asks(9)
            seen.append(pool.busy())

    table.before_put = work_comes
    table.write("lab", Claim(total=4, wanted=2))
    await until(lambda: bool(seen), "a write")
    assert seen == [1]
    await pool.keeper.stop(pool.rig)


async def test_it_takes_more_only_after_it_is_written() -> None:
    """Also where nobody else is left, and of an endpoint of which nothing was known."""
    table = Table()
    table.write("lab", Claim(total=4, held=4, used=4, wanted=4))
    pool = Pool(table)
    await until(lambda: "own" in table.rows, "its row")
    pool.asks(9)
    seen: list[tuple[int, int]] = []
    table.before_put = lambda: seen.append((pool.busy(), pool.slots()))
    assert pool.busy() == 0

    table.write("lab", Claim(total=4, held=2, used=2, wanted=4))
    await until(lambda: pool.busy() == 2, "what is free")
    assert (0, 0) in seen
    seen.clear()
    del table.rows["lab"]
    await until(lambda: pool.busy() == 4, "all")
    assert seen[0] == (2, 2)
    await pool.keeper.stop(pool.rig)


async def test_who_is_overtaken_looks_again() -> None:
    """A part is decided on what others wrote meanwhile."""
    table = Table()
    met: list[int] = []

    def other_first() -> None:
        if not met:
            met.append(1)
            table.write("lab", Claim(total=4, held=3, used=3, wanted=3))

    table.before_put = other_first
    pool = Pool(table)
    pool.asks(9)
    await until(lambda: "own" in table.rows, "its row")
    assert pool.slots() == 1
    assert table.held() == 1
    await pool.keeper.stop(pool.rig)


async def test_without_the_table_it_calls_what_is_shared_no_longer_than_it_may() -> None:
    """Beyond its trust nothing that others call; what is its own goes on. When the table is back, so is its part."""
    table = Table()
    pool = Pool(table, local("gpu", slots=4), local("mine", slots=2), row_ms=200)
    table.write("lab", Claim(total=4, held=2, used=2, wanted=4))
    pool.asks(9)
    await until(lambda: pool.slots() == 2 and pool.slots("mine") == 2, "its parts")

    table.fails = True
    await until(lambda: pool.slots() == 0, "nothing")
    assert pool.slots("mine") == 2

    table.fails = False
    await until(lambda: pool.slots() == 2, "its part again")
    await pool.keeper.stop(pool.rig)


async def test_a_row_that_ended_holds_nothing() -> None:
    """Its own too: what others took meanwhile is theirs."""
    table = Table()
    table.write("gone", Claim(total=4, held=4, used=4, wanted=4))
    table.now_ms += ROW_MS + 1
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")

    table.fails = True
    table.now_ms += ROW_MS + 1
    table.write("lab", Claim(total=4, held=4, used=4, wanted=4))
    table.fails = False
    await until(lambda: pool.slots() == 0, "nothing")
    await pool.keeper.stop(pool.rig)


async def test_the_next_leader_of_a_pool_goes_on_with_its_part() -> None:
    """What the one before held is still held; a leader that was replaced calls nothing that is shared once its trust
    is over, and leaves the row alone.
    """
    table = Table()
    table.write("own", Claim(total=4, held=3, used=3, wanted=3), epoch=2)
    table.write("lab", Claim(total=4, held=1, used=1, wanted=1))
    pool = Pool(table, row_ms=200)
    pool.asks(9)
    await until(lambda: pool.slots() == 3, "the part of the leader before")

    table.write("own", Claim(total=4, held=3), epoch=4)
    await until(lambda: pool.slots() == 0, "nothing")
    await pool.keeper.stop(pool.rig)
    assert table.rows["own"].epoch == 4
    assert table.held() == 3


async def test_what_runs_on_is_not_given_back() -> None:
    """A hub that stops leaves in its row what remote workers still run."""
    table = Table()
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")
    pool.asks(2)
    await pool.keeper.stop(pool.rig)
    await pool.keeper.stop(pool.rig)

    assert table.rows["own"].claims == {"gpu:11434": Claim(total=4, held=2, used=2)}


async def test_who_leads_no_more_leaves_its_row_as_it_is() -> None:
    """It is the next leader's, or ends by itself."""
    table = Table()
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")
    await pool.keeper.stop(pool.rig, give_back=False)

    assert table.held() == 4
    assert table.is_closed


async def test_without_the_right_nobody_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """All is as with one pool, and it is said."""
    table = Table()
    table.allowed = False
    pool = Pool(table)
    await until(lambda: pool.slots() == 4, "all slots")

    assert table.rows == {}
    assert "not counted" in capsys.readouterr().out
    await pool.keeper.stop(pool.rig)


async def test_endpoints_of_one_server_divide_the_part() -> None:
    """Two names for one server have no more together than the pool has of it."""
    table = Table()
    again = msgspec.structs.replace(local("again", slots=2), url="http://gpu:11434/v1", host="gpu")
    table.write("lab", Claim(total=6, held=3, used=3, wanted=3))
    pool = Pool(table, local("gpu", slots=4), again)
    pool.asks(9)
    await until(lambda: table.rows.get("own") is not None and table.held() == 3, "its part")

    assert pool.slots() + pool.slots("again") == 3
    await pool.keeper.stop(pool.rig)


def test_what_two_pools_have_in_common_has_one_name() -> None:
    """Spellings of one server are one; loopback is of its machine; accounts of a cloud are told apart by their key."""
    plain, same = local("gpu"), msgspec.structs.replace(local("gpu"), url="http://GPU:11434/v1", name="other")
    here = msgspec.structs.replace(plain, url="http://127.0.0.1:8080", host="localhost")
    there = msgspec.structs.replace(here, host="barn")
    first = msgspec.structs.replace(cloud(), api_key_env="FIRST_KEY")
    second = msgspec.structs.replace(cloud(), api_key_env="SECOND_KEY")

    assert resource_of(plain, "box") == resource_of(same, "den") == "gpu:11434"
    assert resource_of(here, "box") == "box localhost:8080"
    assert resource_of(here, "box") != resource_of(here, "den")
    assert resource_of(there, "box") == resource_of(there, "den") == "barn localhost:8080"
    assert resource_of(first, "box") == resource_of(first, "den") != resource_of(second, "box")


@pytest.mark.parametrize("turns", range(6))
async def test_a_stop_that_is_broken_off_closes_the_table(turns: int) -> None:
    """However few turns of the loop after it began; the row that is not given back ends by itself."""
    table = Table()
    pool = Pool(table)
    await until(lambda: "own" in table.rows, "the pool has written")
    stopping = asyncio.ensure_future(pool.keeper.stop(pool.rig))
    await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping})

    assert table.is_closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
