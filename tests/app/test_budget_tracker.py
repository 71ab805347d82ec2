"""`from ostler import BudgetTracker`: the caps of seed profiles, kept in a file that neither tears nor forgets."""

import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ostler import BudgetTracker, Tier
from ostler.app.budget_tracker import BudgetExceededError
from ostler.budget.limits import Level
from ostler.domain.commands import Settle
from ostler.domain.errors import ConflictError, InvalidInputError
from ostler.domain.ledger import Amount
from ostler.store.errors import StoreError
from ostler.store.file_lock import FileLock
from ostler.store.ledger_file import LedgerFile
from ostler.store.sqlite import SqliteStore
from tests.budget.made import NOW_MS, at


class Clock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "data" / "shared" / "budget_state.db"


def tracker(state: Path, session: str = "s1", clock: Clock | None = None, **caps: float | None) -> BudgetTracker:
    return BudgetTracker(state, session=session, now_ms=clock or Clock(), **caps)  # type: ignore[arg-type]


def test_nothing_is_spent_at_first_and_no_file_is_made_by_asking(state: Path) -> None:
    """The defaults are 20 a month, 16 softly, 2 a session, 10 cents a tick."""
    fresh = tracker(state)

    assert fresh.can_spend(0.10, tick="1")
    assert fresh.status() == {
        "level": "ok",
        "binding": "month",
        "remaining": {"month": 20.0, "session": 2.0},
        "total_spent": 0.0,
        "by_tier": {},
    }
    assert [limit.soft for limit in fresh.limits] == [16_000_000, None, None]
    assert not state.exists()


@pytest.mark.parametrize(
    ("spent", "tier"),
    [
        (15.99, Tier.EXPENSIVE_CLOUD),
        (16.0, Tier.CHEAP_CLOUD),
        (19.99, Tier.CHEAP_CLOUD),
        (20.0, Tier.LOCAL_STRONG),
        (25.0, Tier.LOCAL_STRONG),
    ],
)
def test_the_month_lets_the_dear_tier_go_first(state: Path, spent: float, tier: Tier) -> None:
    """At 16.00 the cheap cloud is the dearest, at 20.00 no cloud is left."""
    tracker(state, "earlier").record(spent, tier="expensive_cloud")

    assert tracker(state).highest_tier() is tier
    assert tracker(state).can_spend() is (spent < 20)


def test_a_session_stops_at_its_cap_and_a_new_one_begins_at_nothing(state: Path) -> None:
    """Another name is another session; without a name each run is one of its own."""
    first = tracker(state)
    first.record(1.90)
    assert (first.can_spend(0.10), first.can_spend(0.11)) == (True, False)
    first.record(0.10)

    assert first.check().level is Level.EXHAUSTED
    assert tracker(state, "s2").can_spend(2.0)
    assert BudgetTracker(state).session != BudgetTracker(state).session


def test_a_tick_is_stopped_by_what_it_has_spent_and_is_about_to(state: Path) -> None:
    """An estimate above 0.10 is blocked, exactly 0.10 passes; the next tick, and that of another session, is free."""
    mine = tracker(state)
    assert mine.can_spend(0.10, tick="1")
    assert not mine.can_spend(0.100001, tick="1")
    mine.record(0.04, tick="1")

    assert not mine.can_spend(0.07, tick="1")
    assert mine.can_spend(0.06, tick="1")
    assert mine.can_spend(0.10, tick="2")
    assert tracker(state, "s2").can_spend(0.10, tick="1")


def test_the_month_rolls_over_by_itself(state: Path) -> None:
    """A process that is blocked at the hard cap is free in the new month, without a restart and without a write."""
    clock = Clock(at("UTC", 2026, 11, 30, 23))
    blocked = tracker(state, clock=clock, per_session_cap=None)
    blocked.record(20.0)
    assert not blocked.can_spend()

    clock.now_ms = at("UTC", 2026, 12, 1)

    assert blocked.can_spend(20.0)
    assert blocked.status()["total_spent"] == 20.0


def test_zero_is_a_cap_and_none_is_not(state: Path) -> None:
    """A hard cap of 0 blocks at once, a soft cap of 0 is not replaced by 80 %."""
    assert not tracker(state, monthly_hard_cap=0.0).can_spend()
    assert tracker(state, monthly_soft_cap=0.0).highest_tier() is Tier.CHEAP_CLOUD
    free = tracker(state, monthly_hard_cap=None, per_session_cap=None, per_tick_cap=None)
    assert free.can_spend(1_000_000.0, tick="1")


def test_money_is_held_from_the_reservation_to_its_end(state: Path) -> None:
    """Held counts as spent; settled counts what it was; released counts nothing; each end counts once."""
    mine = tracker(state)
    first, second = mine.reserve(0.08, tier="cheap_cloud"), mine.reserve(0.05)
    assert mine.status()["total_spent"] == 0.13

    first.settle(0.03, tokens=900)
    first.settle(0.03)
    second.release()
    second.release()

    assert mine.status()["total_spent"] == 0.03
    assert mine.status()["by_tier"] == {"cheap_cloud": 0.03}


def test_a_refused_reservation_names_the_cap(state: Path) -> None:
    """And holds nothing."""
    mine = tracker(state)

    with pytest.raises(BudgetExceededError, match="limit tick: 110000 asked for, 100000 left") as caught:
        mine.reserve(0.11, tick="1")

    assert caught.value.limit == "tick"
    assert mine.status()["total_spent"] == 0.0


def test_the_same_attempt_is_held_once(state: Path) -> None:
    """Who does not know whether a call of the library was answered may ask again."""
    mine = tracker(state)
    mine.reserve(0.05, attempt="call 7")
    again = mine.reserve(0.05, attempt="call 7")
    assert mine.status()["total_spent"] == 0.05

    again.settle(0.04)

    assert mine.status()["total_spent"] == 0.04


def test_a_call_is_never_charged_less_than_it_cost(state: Path) -> None:
    """A tenth of a micro-dollar is a micro-dollar; sums of cents are exact."""
    mine = tracker(state)
    mine.record(0.0000001)
    assert mine.status()["total_spent"] == 0.000001
    for _ in range(10):
        mine.record(0.1)

    assert mine.status()["total_spent"] == 1.000001


def test_what_was_spent_outlives_the_process(state: Path) -> None:
    """Another program finds it."""
    tracker(state).record(1.25, tier="expensive_cloud")
    code = (
        "from ostler import BudgetTracker, Tier;"
        f"print(BudgetTracker({str(state)!r}, now_ms=lambda: {NOW_MS}).status()['by_tier'])"
    )

    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert answer.stdout.strip() == "{'expensive_cloud': 1.25}"


def spend_all(state: Path) -> int:
    """Reserve ten cents as often as it goes; how often that was."""
    mine = BudgetTracker(state, session="shared", now_ms=Clock(), per_session_cap=1.0, per_tick_cap=None)
    count = 0
    for _ in range(12):
        try:
            mine.reserve(0.10).settle(0.10)
        except BudgetExceededError:
            break
        count += 1
    return count


def test_threads_that_share_a_file_do_not_overspend_together(state: Path) -> None:
    """Four threads, one session of a dollar: ten calls of ten cents are made, whoever makes them."""
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(spend_all, [state] * 4))

    assert sum(counts) == 10
    assert tracker(state, "shared").status()["total_spent"] == 1.0


def test_processes_that_share_a_file_do_not_overspend_together(state: Path) -> None:
    """The same with programs."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        counts = pool.map(spend_all, [state] * 3)

    assert sum(counts) == 10


@pytest.mark.parametrize(
    "edit",
    ["DELETE FROM ledger WHERE seq = 1", "DELETE FROM spending", "DELETE FROM ledger; DELETE FROM spending WHERE 0"],
)
def test_edited_state_is_an_error_and_never_an_empty_budget(state: Path, edit: str) -> None:
    """Neither reading nor spending goes on from it."""
    mine = tracker(state)
    mine.record(1.0)
    mine.record(0.5)
    with closing(sqlite3.connect(state, isolation_level=None)) as raw:
        raw.executescript(edit)

    for use in (mine.status, mine.can_spend, lambda: mine.record(0.1), lambda: mine.reserve(0.1)):
        with pytest.raises(StoreError, match="restore a backup"):
            use()


def test_a_torn_file_is_an_error_and_never_an_empty_budget(state: Path) -> None:
    """Half a file, or none of ours, is told."""
    mine = tracker(state)
    mine.record(1.0)
    state.write_bytes(b"{not a database at all" * 100)

    with pytest.raises(StoreError):
        mine.status()
    with pytest.raises(StoreError):
        mine.record(1.0)


def test_a_file_that_stays_in_use_is_told(state: Path) -> None:
    """A writer waits for its turn, but not for ever; a reader does not wait."""
    tracker(state).record(1.0)
    ledger = LedgerFile(state, patience_s=0.05)
    lock = FileLock(state.resolve())
    try:
        with pytest.raises(ConflictError, match="the database is in use"):
            ledger.apply([])
        assert tracker(state).status()["total_spent"] == 1.0
    finally:
        lock.release()


def test_beside_a_hub_the_ledger_is_the_hubs(state: Path) -> None:
    """Nobody can write past the copy of the sums that the hub decides on; what is left can be asked all the same."""
    tracker(state).record(1.0)

    async def while_it_runs() -> None:
        store = await SqliteStore.open(state)
        ledger = LedgerFile(state, patience_s=0.05)
        with pytest.raises(ConflictError, match="the database is in use"):
            await asyncio.to_thread(ledger.apply, [Settle(attempt="x", at_ms=1, amount=Amount(micro_usd=1))])
        assert (await asyncio.to_thread(tracker(state).status))["total_spent"] == 1.0
        await store.close()

    asyncio.run(while_it_runs())
    tracker(state).record(0.5)
    assert tracker(state).status()["total_spent"] == 1.5


@pytest.mark.parametrize(
    ("caps", "part"),
    [
        ({"monthly_hard_cap": 10.0, "monthly_soft_cap": 11.0}, "above the hard one"),
        ({"per_tick_cap": -1.0}, "no amount of money"),
        ({"per_session_cap": float("nan")}, "no amount of money"),
    ],
)
def test_caps_that_cannot_be_are_refused(state: Path, caps: dict[str, Any], part: str) -> None:
    """With what is wrong."""
    with pytest.raises(InvalidInputError, match=part):
        tracker(state, **caps)


def test_an_unknown_time_zone_is_refused(state: Path) -> None:
    """It is not taken for UTC."""
    with pytest.raises(InvalidInputError, match="there is no time zone 'Mars'"):
        BudgetTracker(state, time_zone="Mars")


def test_the_face_is_imported_when_it_is_named(state: Path) -> None:
    """`import ostler` brings no store with it; another name is no attribute."""
    code = "import sys, ostler; print('sqlalchemy' in sys.modules, hasattr(ostler, 'Nonsense'))"

    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert answer.stdout.split() == ["False", "False"]
