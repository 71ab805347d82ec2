"""The book of calls: nobody waits for it, nothing is written twice, what is lost is counted and told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from ostler.domain.commands import Command, PutCalls, Result
from ostler.domain.errors import InvalidInputError
from ostler.domain.live import CallRecord
from ostler.domain.ports import CallQuery
from ostler.domain.states import FailureClass
from ostler.hub import call_book
from ostler.hub.call_book import CallBook
from ostler.hub.gateway_views import CallTotals, ModelUse
from ostler.hub.key_ring import KeyRing
from ostler.hub.windows import DAY_MS
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.hub.stores import HeldStore
from tests.store.rows_made import make_call, make_call_attempt, make_decision, make_key


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing store is asked again at once."""
    monkeypatch.setattr(call_book, "RETRY_S", 0.0)


def numbered(count: int, first: int = 0, **changes: object) -> list[CallRecord]:
    return [make_call(f"c-{number:04}", at_ms=number, **changes) for number in range(first, first + count)]


@asynccontextmanager
async def opened(store: MemoryStore, *, max_waiting: int = 1_000) -> AsyncIterator[tuple[CallBook, House]]:
    """A book over a store; stopped at the end."""
    async with house(store) as built:
        book = CallBook(built.pump, KeyRing(built.clock.now_ms), max_waiting=max_waiting)
        try:
            yield book, built
        finally:
            await book.stop()


def batches(store: HeldStore) -> list[PutCalls]:
    return [command for batch in store.asked for command in batch if isinstance(command, PutCalls)]


async def ids(store: MemoryStore) -> list[str]:
    return [record.id for record in reversed(await store.calls(CallQuery(limit=10_000)))]


async def test_records_are_written_a_moment_later_together() -> None:
    """Three calls are one batch; adding them waited for nothing."""
    store = HeldStore()
    async with opened(store) as (book, _):
        for record in numbered(3):
            book.add(record)
        assert batches(store) == []
        assert book.totals().unwritten == 3

        await store.came(1)
        await book.flush()

        assert [len(batch.records) for batch in batches(store)] == [3]
        assert await ids(store) == ["c-0000", "c-0001", "c-0002"]
        assert book.totals().unwritten == 0


async def test_many_records_do_not_wait_for_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred are written at once, however long the moment is."""
    monkeypatch.setattr(call_book, "FLUSH_S", 3_600.0)
    store = HeldStore()
    async with opened(store) as (book, _):
        for record in numbered(call_book.FLUSH_RECORDS):
            book.add(record)

        await store.came(1)

        assert [len(batch.records) for batch in batches(store)] == [call_book.FLUSH_RECORDS]


async def test_what_comes_during_a_write_makes_up_the_next_one() -> None:
    """One write at a time, in order, nothing twice."""
    store = HeldStore()
    async with opened(store) as (book, _):
        store.hold()
        book.add(make_call("c-0000", at_ms=0))
        await store.came(1)
        for record in numbered(5, first=1):
            book.add(record)
        await asyncio.sleep(0)
        assert len(batches(store)) == 1

        await store.let()
        await book.flush()

        assert [[record.id for record in batch.records] for batch in batches(store)] == [
            ["c-0000"],
            [f"c-{number:04}" for number in range(1, 6)],
        ]


async def test_a_store_that_is_slower_than_the_calls_costs_the_oldest_records() -> None:
    """Adding never waits: beyond the bound the oldest are dropped, counted, and told of when it can be told."""
    store = HeldStore()
    async with opened(store, max_waiting=10) as (book, built):
        store.hold()
        book.add(make_call("c-0000", at_ms=0))
        await store.came(1)
        for record in numbered(25, first=1):
            book.add(record)
        assert (book.totals().unwritten, book.totals().dropped) == (10, 15)

        await store.let()
        await book.flush()

        assert await ids(store) == ["c-0000", *(f"c-{number:04}" for number in range(16, 26))]
        (event,) = [event for event in await built.store.events() if event.name == "call.records_dropped"]
        assert event.measurements == {"dropped": 15}
        assert event.metadata == {"reason": "the store is slower than the calls"}
        book.add(make_call("c-9999", at_ms=99))
        await book.flush()
        assert book.totals().dropped == 15
        assert len([event for event in await built.store.events() if event.name == "call.records_dropped"]) == 1


class FailingStore(MemoryStore):
    """Refuses writes of calls as often as it is told to, and records that it cannot store always."""

    def __init__(self, failures: int = 0, bad: str = "") -> None:
        super().__init__()
        self.failures = failures
        self.bad = bad
        self.tried = 0

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        calls = [command for command in commands if isinstance(command, PutCalls)]
        if calls:
            self.tried += 1
            if self.failures:
                self.failures -= 1
                raise StoreError("the disk is full")
            if any(record.id == self.bad for command in calls for record in command.records):
                raise InvalidInputError("a value cannot be stored")
        return await super().apply(commands)


async def test_a_store_that_fails_is_tried_again() -> None:
    """Nothing is lost, and the order stays, with what came meanwhile behind it."""
    store = FailingStore(failures=3)
    async with opened(store) as (book, _):
        for record in numbered(5):
            book.add(record)
        await book.flush()
        book.add(make_call("c-0005", at_ms=5))
        await book.flush()

        assert store.tried >= 4
        assert await ids(store) == [f"c-{number:04}" for number in range(6)]
        assert book.totals().dropped == 0


async def test_what_does_not_fit_back_into_the_book_is_dropped_from_its_old_end() -> None:
    """Also when a write failed while more calls came than there is room for."""
    store = FailingStore(failures=1)
    async with opened(store, max_waiting=4) as (book, _):
        for record in numbered(3):
            book.add(record)
        flushing = asyncio.ensure_future(book.flush())
        await asyncio.sleep(0)
        for record in numbered(3, first=3):
            book.add(record)
        await flushing
        await book.flush()

        assert await ids(store) == ["c-0002", "c-0003", "c-0004", "c-0005"]
        assert book.totals().dropped == 2


async def test_a_record_that_cannot_be_stored_is_lost_alone() -> None:
    """The others of its batch are written, in order."""
    store = FailingStore(bad="c-0003")
    async with opened(store) as (book, _):
        for record in numbered(7):
            book.add(record)
        await book.flush()

        assert await ids(store) == [f"c-{number:04}" for number in range(7) if number != 3]
        assert (book.totals().dropped, book.totals().unwritten) == (1, 0)


async def test_a_shared_decision_is_written_once_and_once_a_day() -> None:
    """Not with every call; again when it is still used a day later, so that pruning does not forget it."""
    store = HeldStore()
    decision = make_decision()
    async with opened(store) as (book, _):
        for at_ms in (0, 1, 2, DAY_MS - 1, DAY_MS, DAY_MS + 1):
            book.add(make_call(f"c-{at_ms}", at_ms=at_ms, decision_key="d1"), decision)
            await book.flush()
        book.add(make_call("c-bare", at_ms=3, decision_key="d2"))
        await book.flush()

        written = [(row.key, row.used_ms) for batch in batches(store) for row in batch.decisions]
        assert written == [("d1", 0), ("d1", DAY_MS)]
        found = await store.call("c-2")
        assert found is not None
        assert found.decision == decision


async def test_a_decision_is_written_again_when_its_first_write_failed() -> None:
    """What was not stored is not taken for stored."""
    store = FailingStore(failures=1)
    async with opened(store) as (book, _):
        book.add(make_call("c-1", decision_key="d1"), make_decision())
        await book.flush()

        found = await store.call("c-1")
        assert found is not None
        assert found.decision == make_decision()


async def test_the_last_records_are_written_when_the_book_is_closed() -> None:
    """Without waiting for the moment; what comes later is refused and counted, and closing twice is fine."""
    store = MemoryStore()
    async with opened(store) as (book, _):
        for record in numbered(3):
            book.add(record)

        await book.stop()
        await book.stop()
        book.add(make_call("c-late"))

        assert await ids(store) == ["c-0000", "c-0001", "c-0002"]
        assert book.totals().dropped == 1


async def test_a_store_that_never_comes_back_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end takes its time, and no more."""
    monkeypatch.setattr(call_book, "STOP_S", 0.05)
    store = HeldStore()
    async with opened(store) as (book, _):
        store.hold()
        book.add(make_call())
        async with asyncio.timeout(5):
            await book.stop()

        assert book.totals().unwritten == 1
        await store.let()


async def test_a_key_is_charged_at_once() -> None:
    """Before anything is written, also for what never will be."""
    store = HeldStore()
    async with house(store) as built:
        ring, key = KeyRing(built.clock.now_ms), make_key("k", limit_micro_usd=10)
        ring.load([key], {})
        book = CallBook(built.pump, ring, max_waiting=1)
        store.hold()

        for number in range(3):
            book.add(make_call(f"c-{number}", at_ms=built.clock.now_ms(), key="k", cost_micro_usd=3))

        assert ring.use(key).micro_usd == 9
        await store.let()
        await book.stop()


async def test_calls_are_counted_by_failure_and_model() -> None:
    """Tokens of all attempts, cost where it is known, and how many have no price."""
    async with opened(MemoryStore()) as (book, _):
        twice = (make_call_attempt(input_tokens=10), make_call_attempt(input_tokens=10, output_tokens=4))
        book.add(make_call("c-1", attempts=twice, cost_micro_usd=7))
        book.add(make_call("c-2"))
        book.add(make_call("c-3", model="", failure=FailureClass.NO_ENDPOINT))

        totals = book.totals()

    assert msgspec.structs.replace(totals, unwritten=0) == CallTotals(
        calls=3,
        failures={"no_endpoint": 1},
        models={"m": ModelUse(calls=2, input_tokens=20, output_tokens=4, cost_micro_usd=7, unpriced=1)},
    )
