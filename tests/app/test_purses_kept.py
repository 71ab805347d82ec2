"""Parts of limits with the keeper of the row of a pool: less before it is written, more only afterwards."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from ostler.app import sharing
from ostler.app.purses import is_limit
from ostler.app.sharing import Sharing
from ostler.budget.book import LedgerBook
from ostler.domain.limits import Limit, ScopeKind, Unit
from ostler.scheduling import signals as sig
from ostler.scheduling.shares import Claim
from ostler.store.errors import StoreError
from ostler.store.shares import Look, PoolShares
from tests.app.test_purses import CALLS, KEY, policy
from tests.app.test_sharing import ROW_MS, Table, until
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import cloud
from tests.scheduling.test_parts import EVER_SPAN


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "BEAT_S", 0.01)
    monkeypatch.setattr(sharing, "SOON_S", 0.001)


@asynccontextmanager
async def pool(table: Table, name: str, *limits: Limit, over_pools: bool = True) -> AsyncIterator[LiveRig]:
    """The scheduler of a pool with its keeper."""
    rig = LiveRig(policy(*(limits or (CALLS,)), over_pools=over_pools))
    rig.tell(sig.SlotsShared(shares={}))
    rig.tell(sig.PartsTold(parts={}))
    rig.up(cloud(slots=64), models=("claude",))
    keeper = Sharing(table, name, 3, ROW_MS, "box")
    keeper.start(rig)
    try:
        yield rig
    finally:
        await keeper.stop(rig)


def most(rig: LiveRig) -> int | None:
    part = (rig.scheduler.books.parts.told or {}).get(KEY)
    return part.most if part is not None else None


def spent(table: Table) -> int:
    """What all rows say of the one limit."""
    claims = [claim for row in table.rows.values() for name, claim in row.claims.items() if is_limit(name)]
    return sum(claim.used for claim in claims)


async def test_two_pools_spend_all_of_a_limit_and_no_more() -> None:
    """Calls come at both; each waits for what the other keeps, until nothing is left."""
    table = Table()
    async with pool(table, "own") as own, pool(table, "lab") as lab:
        await until(lambda: (most(own), most(lab)) == (6, 6), "half each")
        for number in range(9):
            own.call(f"c{number}", tier="complex", key="k")
        await until(lambda: len(own.running) == 9, "what it asked for")
        for number in range(6):
            lab.call(f"c{number}", tier="complex", key="k")
        await until(lambda: len(lab.running) == 3, "the rest")
        await until(lambda: most(own) == 9, "what it spent")
        assert (len(own.running), len(lab.running)) == (9, 3)
    assert spent(table) == 12


async def test_it_takes_less_before_it_is_written_and_more_afterwards() -> None:
    """A call that comes while a smaller part is on its way finds the smaller one."""
    table = Table()
    seen: list[int | None] = []
    async with pool(table, "own") as own:
        await until(lambda: most(own) == 12, "all")
        table.before_put = lambda: seen.append(most(own))
        async with pool(table, "lab"):
            await until(lambda: most(own) == 6, "half")
        first = seen.index(6)
        assert all(found == 12 for found in seen[:first])
        await until(lambda: most(own) == 12, "all again")


async def test_without_the_table_it_goes_on_with_what_it_holds() -> None:
    """And with nothing more; the other pool takes none of it."""
    table = Table()
    async with pool(table, "own") as own, pool(table, "lab") as lab:
        await until(lambda: (most(own), most(lab)) == (6, 6), "half each")
        table.fails = True
        for number in range(9):
            own.call(f"c{number}", tier="complex")
        await until(lambda: len(own.running) == 6, "its half")
        assert most(own) == 6
        table.fails = False
        await until(lambda: most(own) is not None and most(own) != 6, "it asks again")


@pytest.mark.parametrize("prevented", ["setting", "right"])
async def test_who_does_not_count_over_pools_has_its_limits_for_itself(prevented: str) -> None:
    """By a setting, or because its user may not."""
    table = Table()
    table.allowed = prevented != "right"
    async with pool(table, "own", over_pools=prevented != "setting") as own:
        await until(lambda: own.scheduler.books.parts.told is None, "not counted")
    assert not [name for row in table.rows.values() for name in row.claims if is_limit(name)]


async def test_a_pool_that_stops_gives_back_what_it_has_not_spent() -> None:
    """All but that goes to the other one."""
    table = Table()
    async with pool(table, "own") as own:
        async with pool(table, "lab") as lab:
            await until(lambda: (most(own), most(lab)) == (6, 6), "half each")
            lab.call("c", tier="complex")
            lab.end_call("c")
        await until(lambda: most(own) == 11, "the rest")
        part = (own.scheduler.books.parts.told or {})[KEY]
        assert (part.spent, part.kept) == (1, 0)


async def test_a_limit_that_is_raised_is_divided_at_once() -> None:
    """No beat is waited for when the profile changes."""
    table = Table()
    async with pool(table, "own") as own:
        await until(lambda: most(own) == 12, "all")
        own.tell(sig.PolicyChanged(policy=policy(replace(CALLS, hard=20))))
        await until(lambda: most(own) == 20, "all of the new value")


class Shaky(Table):
    """A table that is slow, and whose answers get lost: before or after what was asked for was done. Whoever writes to
    it spends no more meanwhile than the table says, before and after.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self.breaks = True
        self.rigs: dict[str, LiveRig] = {}

    def _may_break(self) -> None:
        if self.breaks and self.chance.random() < 0.15:
            raise StoreError("no answer")

    async def look(self) -> Look:
        self._may_break()
        found = await super().look()
        await asyncio.sleep(self.chance.choice((0, 0.003, 0.006)))
        return found

    async def put(self, version: int, row: PoolShares) -> bool:
        self._may_break()
        (said,) = (claim for name, claim in row.claims.items() if is_limit(name))
        before = [claim.held for name, claim in self.claims_of(row.pool).items() if is_limit(name)]
        assert (most(self.rigs[row.pool]) or 0) <= min([said.held, *(before or [0])])
        done = await super().put(version, row)
        self._may_break()
        return done

    def claims_of(self, pool: str) -> Mapping[str, Claim]:
        return self.rows[pool].claims if pool in self.rows else {}


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_gets_lost_nothing_is_spent_twice(seed: int) -> None:
    """Answers of the table are lost and leaders are replaced, while calls come at both pools: together they are never
    let run more than the limit says, and exactly so many in the end.
    """
    table, limit = Shaky(seed), replace(CALLS, hard=40)
    chance, ledgers = random.Random(seed), {name: LiveRig(policy(limit)).ledger for name in ("own", "lab")}
    epochs = dict.fromkeys(ledgers, 0)
    calls = 0
    while sum(map(reserved, ledgers.values())) < 40:
        table.breaks = calls < 60
        async with led(table, "own", ledgers, epochs, limit) as own, led(table, "lab", ledgers, epochs, limit) as lab:
            for _ in range(20):
                rig = chance.choice((own, lab))
                rig.call(f"c{calls}", tier="complex", key="k")
                calls += 1
                await asyncio.sleep(chance.choice((0, 0.002, 0.012)))
                assert sum(map(reserved, ledgers.values())) <= 40
        assert calls < 1_000, "what is left is never let go"
    assert sum(map(reserved, ledgers.values())) == 40


def reserved(ledger: LedgerBook) -> int:
    """Requests that were held or spent."""
    return ledger.spent(EVER_SPAN).total(Unit.REQUESTS)


@asynccontextmanager
async def led(
    table: Shaky, name: str, ledgers: dict[str, LedgerBook], epochs: dict[str, int], limit: Limit
) -> AsyncIterator[LiveRig]:
    """A leader of a pool that starts from its ledger, and is killed in the end."""
    rig, ledger = LiveRig(policy(limit)), ledgers[name]
    epochs[name] += 1
    rig.ledger = ledger
    sums, entries = ledger.summed(ScopeKind, 0), ledger.open_reservations()
    rig.scheduler.restore_money(sums, entries, now_ms=rig.now_ms)
    rig.tell(sig.SlotsShared(shares={}))
    rig.tell(sig.PartsTold(parts={}))
    rig.up(cloud(slots=999), models=("claude",))
    table.rigs[name] = rig
    keeper = Sharing(table, name, epochs[name], ROW_MS, "box")
    keeper.start(rig)
    try:
        yield rig
    finally:
        task = keeper._task
        failed = task is not None and task.done()
        await keeper.stop(rig, give_back=False)
        assert not failed, "the keeper has stopped by itself"
