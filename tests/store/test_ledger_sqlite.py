"""Money in a file: what a crash, an edit or a crowd can do to it, and that none of them makes it leak."""

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostler.budget.book import LedgerBook
from ostler.budget.limits import bounds
from ostler.budget.recovery import recovered
from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import Applied, LedgerCommand, Release, Reserve, Settle
from ostler.domain.ledger import Amount, Basis, EntryKind, LedgerEntry, LedgerQuery, Scopes, Span
from ostler.domain.limits import Limit, ScopeKind, Unit, Window, WindowKind
from ostler.store import rows
from ostler.store.errors import StoreError
from ostler.store.sqlite import SqliteStore
from tests.store.crash_money import HARD_MICRO_USD, cost_of
from tests.store.rows_made import NOW_MS

ROOT = Path(__file__).resolve().parents[2]
ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)
EVERYTHING = LedgerQuery(limit=1_000_000)
KILLS = 6


@pytest.fixture
def raw(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the driver, past every guard of the code."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        yield connection


async def spend(database: Path, *commands: LedgerCommand) -> None:
    """Apply commands and close."""
    store = await SqliteStore.open(database)
    await store.apply(commands or (settled("a", 5), settled("b", 7), settled("c", 9)))
    await store.close()


def settled(attempt: str, micro_usd: int) -> Settle:
    scopes = Scopes(provider="anthropic", model="m")
    return Settle(attempt=attempt, at_ms=NOW_MS, amount=Amount(micro_usd=micro_usd), scopes=scopes)


def reserved(attempt: str, micro_usd: int = 10, hard: int = 1_000) -> Reserve:
    scopes = Scopes(provider="anthropic", model="m")
    held = bounds([Limit(name="month", hard=hard)], scopes, NOW_MS)
    return Reserve(attempt=attempt, at_ms=NOW_MS, amount=Amount(micro_usd=micro_usd), scopes=scopes, bounds=held)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("DELETE FROM ledger WHERE seq = 3", "the ledger has 2 entries, its sums count 3"),
        ("DELETE FROM ledger WHERE seq = 1", "the ledger has 2 entries, its newest has number 3"),
        ("DELETE FROM ledger", "the ledger has 0 entries, its sums count 3"),
        ("DELETE FROM spending", "the ledger has 3 entries, its sums count 0"),
        ("DELETE FROM spending WHERE scope = 'all'", "the ledger has 3 entries, its sums count 0"),
    ],
)
async def test_a_cut_ledger_is_never_read_as_an_empty_one(
    database: Path, raw: sqlite3.Connection, edit: str, message: str
) -> None:
    """Whatever somebody took away, the store does not open: nothing may be spent on the word of what is left."""
    await spend(database)
    raw.execute(edit)

    with pytest.raises(StoreError, match=f"{message}.*restore a backup"):
        await SqliteStore.open(database)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (
            "UPDATE spending SET used_micro_usd = 1 WHERE scope = 'provider' AND grain = 0",
            ["the sum of provider anthropic over all time from 0 says used_micro_usd 1, its entries say 21"],
        ),
        (
            "DELETE FROM spending WHERE scope = 'model' AND grain = 2",
            [f"the sum of model m over a day from {NOW_MS - NOW_MS % 86_400_000} is missing"],
        ),
        (
            "UPDATE ledger SET micro_usd = 1 WHERE seq = 2",
            ["ledger 2 differs between its columns and its body in micro_usd"],
        ),
        ("UPDATE ledger SET body = '{' WHERE seq = 2", ["ledger 2 cannot be read"]),
        (
            "INSERT INTO spending VALUES ('tier', 'x', 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
            ["the sum of tier x over all time from 0 says entries 3, its entries say 0"],
        ),
    ],
)
async def test_an_edit_is_found_by_the_check(
    database: Path, raw: sqlite3.Connection, edit: str, found: list[str]
) -> None:
    """The whole ledger is added up again: every sum that says something else is named."""
    await spend(database)
    raw.execute(edit)

    store = await SqliteStore.open(database)
    problems = await store.check()
    await store.close()

    for message in found:
        assert [line for line in problems if line.startswith(message)], problems


async def test_a_sound_ledger_has_no_problems(database: Path) -> None:
    """Held, settled, released, adjusted and ambiguous: the check finds nothing."""
    lost = Settle(attempt="c", at_ms=NOW_MS, amount=Amount(), ambiguous=True)
    release = Release(attempt="b", at_ms=NOW_MS)
    await spend(database, reserved("a"), settled("a", 3), reserved("b"), release, reserved("c"), lost, settled("c", 4))
    await spend(database, reserved("d"))

    store = await SqliteStore.open(database)
    assert await store.check() == []
    await store.close()


def test_the_database_itself_charges_an_attempt_once(raw: sqlite3.Connection) -> None:
    """Past the code: no second reservation, no second end, no second adjustment of a name, no negative amount."""

    def accepts(seq: int, kind: EntryKind, attempt: str = "a", ref: str = "", **changes: int) -> bool:
        amount = Amount(micro_usd=changes.get("micro_usd", 1))
        entry = LedgerEntry(
            seq=seq, attempt=attempt, kind=kind, at_ms=1, charged_ms=1, amount=amount, basis=Basis.PRICED,
            scopes=Scopes(), ref=ref,
        )  # fmt: skip
        try:
            raw.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.ledger_row(entry))
        except sqlite3.IntegrityError:
            return False
        return True

    assert accepts(1, EntryKind.RESERVE)
    assert not accepts(2, EntryKind.RESERVE)
    assert accepts(2, EntryKind.SETTLE)
    assert not accepts(3, EntryKind.SETTLE)
    assert not accepts(3, EntryKind.RELEASE)
    assert accepts(3, EntryKind.ADJUST, ref="late")
    assert not accepts(4, EntryKind.ADJUST, ref="late")
    assert not accepts(4, EntryKind.ADJUST), "an adjustment has a name"
    assert not accepts(4, EntryKind.SETTLE, attempt="b", micro_usd=-1)
    assert not accepts(0, EntryKind.SETTLE, attempt="b")
    assert accepts(4, EntryKind.RELEASE, attempt="b")


STEPS: list[LedgerCommand] = [reserved("a", 10), settled("a", 7)]


@pytest.mark.parametrize("crash_after", range(len(STEPS) + 1))
@pytest.mark.parametrize("answer_lost", [False, True])
async def test_a_crash_between_any_two_steps_charges_once_and_loses_nothing(
    database: Path, crash_after: int, *, answer_lost: bool
) -> None:
    """The hub stops after each step, with or without having heard that it was written; it starts, takes back what is
    open, and the report of the end comes again.
    """
    store = await SqliteStore.open(database)
    for step in STEPS[:crash_after]:
        await store.apply([step])
    await store.close()

    store = await SqliteStore.open(database)
    open_now = await store.open_reservations()
    await store.apply(recovered(open_now, NOW_MS + 1, alive=()))
    (spent,) = await store.spent([ALL])
    believed = {0: 0, 1: 10, 2: 7}[crash_after]
    assert (spent.used.micro_usd, spent.held.micro_usd) == (believed, 0)
    # Whoever did not hear the answer asks again; whoever ran the attempt reports its end again.
    await store.apply(STEPS if answer_lost else STEPS[max(1, crash_after) :] or STEPS[-1:])

    (spent,) = await store.spent([ALL])
    assert (spent.used.micro_usd, spent.held.micro_usd, spent.used.requests) == (7, 0, 1)
    assert await store.check() == []
    await store.close()


async def test_what_was_never_sent_is_given_back_and_what_runs_keeps_its_hold(database: Path) -> None:
    """By rule, and visibly: the entries say why."""
    await spend(database, reserved("sent"), reserved("unsent"), reserved("running"))
    store = await SqliteStore.open(database)

    open_now = await store.open_reservations()
    await store.apply(recovered(open_now, NOW_MS, alive={"running"}, never_sent={"unsent"}))

    (spent,) = await store.spent([ALL])
    assert (spent.used.micro_usd, spent.held.micro_usd) == (10, 10)
    ends = {entry.attempt: entry for entry in await store.ledger(LedgerQuery(after_seq=3))}
    assert (ends["sent"].ambiguous, ends["sent"].note[:12]) == (True, "nobody knows")
    assert (ends["unsent"].kind, ends["unsent"].note) == (EntryKind.RELEASE, "it was never sent")
    assert set(ends) == {"sent", "unsent"}
    await store.close()


def spend_until_killed(database: Path, first: int, lines: int) -> dict[str, str]:
    """Run the writer, kill it once it has said that many lines; what it acknowledged, by attempt."""
    command = [sys.executable, "-m", "tests.store.crash_money", str(database), str(first)]
    said: dict[str, str] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            if number == lines:
                process.kill()
            if line.endswith("\n"):
                attempt, what = line.split()
                said[attempt] = what
    assert process.returncode == -signal.SIGKILL
    return said


async def test_killed_at_any_moment_no_charge_is_lost_or_doubled(database: Path) -> None:
    """Six kills on one file: each acknowledged charge is there once, what was open is taken back as ambiguous, the sums
    are those of the entries, and the limit was never passed.
    """
    draw = random.Random(5)
    said: dict[str, str] = {}
    first = 1
    for _ in range(KILLS):
        said |= spend_until_killed(database, first, draw.randrange(1, 500))
        first += 1_000_000

        store = await SqliteStore.open(database)
        await store.apply(recovered(await store.open_reservations(), NOW_MS, alive=()))
        entries = await store.ledger(EVERYTHING)
        (spent,) = await store.spent([ALL])
        problems = await store.check()
        await store.close()

        ends = [entry for entry in entries if entry.kind is EntryKind.SETTLE]
        by_attempt = {entry.attempt: entry for entry in ends}
        assert len(by_attempt) == len(ends)
        for attempt, what in said.items():
            entry = by_attempt[attempt]
            assert entry.ambiguous or entry.amount.micro_usd == cost_of(int(attempt[1:]))
            assert what == "held" or not entry.ambiguous
        assert spent.used.micro_usd == sum(entry.amount.micro_usd for entry in ends) <= HARD_MICRO_USD
        assert (spent.held.micro_usd, problems) == (0, [])

    assert len(said) > KILLS


LIMITS = st.lists(
    st.builds(
        Limit,
        name=st.sampled_from(["a", "b", "c", "d"]),
        scope=st.sampled_from([ScopeKind.ALL, ScopeKind.PROVIDER, ScopeKind.TIER, ScopeKind.SESSION, ScopeKind.TASK]),
        window=st.builds(
            Window, kind=st.sampled_from([WindowKind.HOUR, WindowKind.DAY, WindowKind.MONTH, WindowKind.NONE])
        ),
        unit=st.sampled_from(Unit),
        hard=st.integers(0, 400),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda limit: limit.name,
)
ATTEMPTS = st.lists(
    st.tuples(
        st.builds(
            Scopes,
            provider=st.sampled_from(["x", "y"]),
            tier=st.sampled_from(["cheap", "dear"]),
            session=st.sampled_from(["", "s1"]),
            task=st.sampled_from(["t1", "t2"]),
        ),
        st.integers(0, 90),
        st.floats(0, 1),
        st.sampled_from(["settle", "release", "hold"]),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(limits=LIMITS, attempts=ATTEMPTS)
def test_any_crowd_stays_below_every_limit_and_is_refused_only_at_one(
    empty_database: Path, limits: list[Limit], attempts: list[tuple[Scopes, int, float, str]]
) -> None:
    """Many reservers at once on SQLite, with any limits: used and held together never exceed a hard value, and whoever
    was refused would have passed the limit that is named, by what was used and held at that moment.
    """
    asyncio.run(_crowd(empty_database, limits, attempts))


async def _crowd(template: Path, limits: list[Limit], attempts: list[tuple[Scopes, int, float, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(shutil.copy(template, Path(folder) / "ostler.db"))

        async def one(number: int, scopes: Scopes, asked: int, share: float, end: str) -> tuple[int, str]:
            amount = Amount(micro_usd=asked, output_tokens=asked // 2)
            held = bounds(limits, scopes, NOW_MS)
            attempt = f"a{number}"
            (answer,) = await store.apply(
                [Reserve(attempt=attempt, at_ms=NOW_MS, amount=amount, scopes=scopes, bounds=held)]
            )
            if not isinstance(answer, Applied):
                return number, answer.limit
            if end == "settle":
                await store.apply([Settle(attempt=attempt, at_ms=NOW_MS, amount=Amount(micro_usd=int(asked * share)))])
            elif end == "release":
                await store.apply([Release(attempt=attempt, at_ms=NOW_MS)])
            return number, ""

        answers = dict(await asyncio.gather(*(one(n, *attempt) for n, attempt in enumerate(attempts))))
        entries = await store.ledger(EVERYTHING)
        problems = await store.check()
        await store.close()
    assert problems == []
    book = LedgerBook()
    peak = 0
    for entry in entries:
        book = LedgerBook([*book.entries, entry])
        for limit in limits:
            for bound in bounds([limit], entry.scopes, NOW_MS):
                total = book.spent(bound.span).total(limit.unit)
                peak = max(peak, total)
                assert total <= bound.ceiling, f"{limit.name} was overspent"
    _refused_only_where_it_was_full(book, limits, attempts, answers)


def _refused_only_where_it_was_full(
    book: LedgerBook, limits: list[Limit], attempts: list[tuple[Scopes, int, float, str]], answers: dict[int, str]
) -> None:
    """The margin of a refusal is nothing: at some moment the named limit had no room for exactly this attempt."""
    by_name = {limit.name: limit for limit in limits}
    for number, name in answers.items():
        if not name:
            continue
        scopes, asked, _share, _end = attempts[number]
        (bound,) = bounds([by_name[name]], scopes, NOW_MS)
        amount = Amount(micro_usd=asked, output_tokens=asked // 2).in_unit(bound.unit)
        fullest, partial = 0, LedgerBook()
        for entry in book.entries:
            partial = LedgerBook([*partial.entries, entry])
            fullest = max(fullest, partial.spent(bound.span).total(bound.unit))
        assert fullest >= bound.ceiling or fullest + amount > bound.ceiling, f"{name} refused what it had room for"


async def test_a_replayed_trace_adds_up_exactly(database: Path) -> None:
    """Attempts of odd amounts over two months, settled out of order: every sum is that of plain addition."""
    draw = random.Random(11)
    month_ms = 31 * 86_400_000
    trace = [
        (
            f"a{n}",
            NOW_MS - draw.randrange(2 * month_ms),
            Amount(micro_usd=draw.randrange(100_000), input_tokens=draw.randrange(9_999), output_tokens=n % 777),
            Scopes(provider=draw.choice(["x", "y", "z"]), model=draw.choice("mnop"), session=f"s{n % 20}"),
        )
        for n in range(3_000)
    ]
    store = await SqliteStore.open(database)
    one = Amount(micro_usd=1)
    reserves = [Reserve(attempt=name, at_ms=at_ms, amount=one, scopes=scopes) for name, at_ms, _, scopes in trace]
    settles = [Settle(attempt=name, at_ms=at_ms + 50, amount=amount) for name, at_ms, amount, _ in trace]
    draw.shuffle(settles)
    await store.apply(reserves)
    await store.apply(settles)

    def span(kind: ScopeKind, value: str, months: int) -> Span:
        start_ms = NOW_MS - months * month_ms
        return Span(scope=kind, value=value, start_ms=start_ms - start_ms % 900_000, end_ms=LATEST_MS)

    asked = [span(ScopeKind.ALL, "", 2), span(ScopeKind.PROVIDER, "y", 1), span(ScopeKind.SESSION, "s3", 2)]
    for found, wanted in zip(await store.spent(asked), asked, strict=True):
        counted = [amount for _, at_ms, amount, scopes in trace if wanted.counts(scopes, at_ms)]
        assert found.held == Amount(requests=0)
        assert found.used.micro_usd == sum(amount.micro_usd for amount in counted)
        assert found.used.tokens == sum(amount.tokens for amount in counted)
        assert found.used.requests == len(counted)
    await store.close()
