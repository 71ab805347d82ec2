"""Every store: what is reserved and spent, limits checked where money is held, and nothing charged twice."""

import asyncio

import msgspec
import pytest

from ostler.budget.limits import bounds
from ostler.budget.presets import daily_limit, month_limit
from ostler.budget.subscriptions import allowance_bounds
from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import (
    Adjust,
    Applied,
    Command,
    RefusalReason,
    Refused,
    Release,
    Reserve,
    Result,
    Settle,
    SubmitTasks,
)
from ostler.domain.ledger import NOTHING, Amount, Basis, EntryKind, LedgerQuery, Scopes, Span, Spent
from ostler.domain.limits import Allowance, Limit, ScopeKind, Subscription, Unit, Window, WindowKind
from ostler.domain.ports import Store
from ostler.domain.states import TaskState
from tests.store.rows_made import NOW_MS, make_new, make_update

ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)
SCOPES = Scopes(provider="anthropic", tier="opus", task="t1", session="s1")
MONTH = month_limit(1_000, 800)
assert MONTH is not None
MONTHLY = bounds([MONTH], SCOPES, NOW_MS)


def reserve(attempt: str, micro_usd: int = 100, **changes: object) -> Reserve:
    command = Reserve(attempt=attempt, at_ms=NOW_MS, amount=Amount(micro_usd=micro_usd), scopes=SCOPES, bounds=MONTHLY)
    return msgspec.structs.replace(command, **changes)


def settle(attempt: str, micro_usd: int, **changes: object) -> Settle:
    command = Settle(attempt=attempt, at_ms=NOW_MS + 9, amount=Amount(micro_usd=micro_usd), scopes=SCOPES)
    return msgspec.structs.replace(command, **changes)


async def dollars(store: Store, span: Span = ALL) -> tuple[int, int]:
    """Micro-dollars used and held."""
    (spent,) = await store.spent([span])
    return spent.used.micro_usd, spent.held.micro_usd


async def test_an_empty_ledger_says_nothing(store: Store) -> None:
    """Sums are zero, nobody was charged, nothing is open."""
    assert await store.spent([ALL, ALL]) == [Spent(), Spent()]
    assert await store.spent([]) == []
    assert await store.ledger(LedgerQuery()) == []
    assert await store.open_reservations() == []
    assert await store.charged(ScopeKind.PROVIDER) == []


async def test_what_is_held_becomes_what_was_used(store: Store) -> None:
    """An estimate is held until the attempt ends; then what it came to counts, and nothing is held."""
    await store.apply([reserve("a"), reserve("b"), reserve("c")])
    assert await dollars(store) == (0, 300)

    await store.apply([settle("a", 70), Release(attempt="b", at_ms=NOW_MS)])

    assert await dollars(store) == (70, 100)
    assert [entry.attempt for entry in await store.open_reservations()] == ["c"]
    kinds = [(entry.seq, entry.attempt, entry.kind) for entry in await store.ledger(LedgerQuery())]
    assert kinds == [
        (1, "a", EntryKind.RESERVE),
        (2, "b", EntryKind.RESERVE),
        (3, "c", EntryKind.RESERVE),
        (4, "a", EntryKind.SETTLE),
        (5, "b", EntryKind.RELEASE),
    ]


async def test_a_reservation_beyond_a_limit_is_refused_and_names_it(store: Store) -> None:
    """Nothing is held by it; what fits exactly still passes, and one refusal does not stop the others of a batch."""
    answers = await store.apply([reserve("a", 900), reserve("b", 101), reserve("c", 100), reserve("d", 0)])

    message = "limit month: 101 asked for, 100 left of 1000 (0 used, 900 held; micro-dollars)"
    assert answers[:3] == [
        Applied(),
        Refused(reason=RefusalReason.LIMIT, message=message, limit="month"),
        Applied(),
    ]
    last = answers[3]
    assert isinstance(last, Refused), "a limit that is reached lets nothing through, not even what is free"
    assert last.limit == "month"
    assert await dollars(store) == (0, 1_000)


async def test_what_is_settled_for_less_makes_room(store: Store) -> None:
    """In the same batch too: commands see what those before them did."""
    answers = await store.apply([reserve("a", 1_000), settle("a", 300), reserve("b", 700), reserve("c", 1)])

    assert [isinstance(answer, Applied) for answer in answers] == [True, True, True, False]
    assert await dollars(store) == (300, 700)


async def test_what_was_spent_is_spent(store: Store) -> None:
    """A settlement above its estimate, or without any, is charged, also beyond the limit."""
    answers = await store.apply([reserve("a", 10), settle("a", 5_000), settle("b", 1), reserve("c", 1)])

    assert [isinstance(answer, Applied) for answer in answers] == [True, True, True, False]
    assert await dollars(store) == (5_001, 0)


async def test_every_command_may_be_repeated(store: Store) -> None:
    """In one batch or later, whatever the second one says: an attempt is held once and charged once."""
    await store.apply([reserve("a", 10), reserve("a", 99)])
    await store.apply([settle("a", 7), settle("a", 99), Release(attempt="a", at_ms=NOW_MS)])
    await store.apply([reserve("a", 10), settle("a", 7), Release(attempt="b", at_ms=NOW_MS)])

    assert await dollars(store) == (7, 0)
    assert len(await store.ledger(LedgerQuery())) == 2


async def test_an_attempt_that_nobody_heard_the_end_of(store: Store) -> None:
    """It is taken to have cost what it held, and says so, until a late report says what it was."""
    await store.apply([reserve("a", 10), settle("a", 0, ambiguous=True, basis=Basis.ESTIMATED)])
    assert await dollars(store) == (10, 0)

    await store.apply([settle("a", 4), settle("a", 5)])

    assert await dollars(store) == (4, 0)
    entries = await store.ledger(LedgerQuery(attempt="a"))
    assert [(entry.kind, entry.ambiguous, entry.amount.micro_usd) for entry in entries] == [
        (EntryKind.RESERVE, False, 10),
        (EntryKind.SETTLE, True, 10),
        (EntryKind.ADJUST, False, 4),
    ]


async def test_a_correction_is_made_once_for_each_reference(store: Store) -> None:
    """It replaces what the attempt was charged; of an attempt that is not there it is refused."""
    fix = Adjust(attempt="a", ref="invoice 7", at_ms=NOW_MS, amount=Amount(micro_usd=42))

    answers = await store.apply([fix, settle("a", 40), fix, msgspec.structs.replace(fix, amount=NOTHING)])

    assert answers[0] == Refused(reason=RefusalReason.NOT_FOUND, message="the ledger has no attempt a")
    assert answers[1:] == [Applied(), Applied(), Applied()]
    assert await dollars(store) == (42, 0)


async def test_a_negative_amount_is_refused(store: Store) -> None:
    """Nobody earns by calling."""
    (answer,) = await store.apply([settle("a", -1)])

    assert answer == Refused(reason=RefusalReason.ILLEGAL, message="attempt a: micro_usd below 0")


async def test_sums_are_by_scope_and_by_time(store: Store) -> None:
    """Each span counts its own, tokens of every kind and requests with the money."""
    amount = Amount(
        micro_usd=5, input_tokens=1, cache_read_tokens=2, cache_write_tokens=3, output_tokens=4, reasoning_tokens=1
    )
    day_ms = 86_400_000
    midnight_ms = NOW_MS - NOW_MS % day_ms
    await store.apply(
        [
            settle("a", 0, amount=amount, at_ms=midnight_ms - 1),
            settle("b", 0, amount=amount, at_ms=midnight_ms),
            settle("c", 0, amount=amount, at_ms=midnight_ms + 1, scopes=Scopes(provider="openai")),
        ]
    )

    def span(scope: ScopeKind, value: str, start_ms: int) -> Span:
        return Span(scope=scope, value=value, start_ms=start_ms, end_ms=midnight_ms + day_ms)

    found = await store.spent(
        [
            span(ScopeKind.PROVIDER, "anthropic", midnight_ms),
            span(ScopeKind.PROVIDER, "anthropic", midnight_ms - 900_000),
            span(ScopeKind.ALL, "", midnight_ms - 40 * day_ms),
            span(ScopeKind.SESSION, "s1", 0),
            span(ScopeKind.SESSION, "nobody", 0),
        ]
    )

    assert [spent.used.requests for spent in found] == [1, 2, 3, 2, 0]
    assert found[0] == Spent(used=amount)
    assert await store.charged(ScopeKind.PROVIDER) == ["anthropic", "openai"]
    assert await store.charged(ScopeKind.BATCH) == []


async def test_the_ledger_is_read_in_pages(store: Store) -> None:
    """Above a number, since an instant, of one attempt, at most so many."""
    await store.apply([settle(f"a{n}", n, at_ms=NOW_MS + n) for n in range(1, 6)])

    async def page(**query: object) -> list[int]:
        entries = await store.ledger(LedgerQuery(**query))  # type: ignore[arg-type]
        return [entry.seq for entry in entries]

    assert await page() == [1, 2, 3, 4, 5]
    assert await page(after_seq=2, limit=2) == [3, 4]
    assert await page(since_ms=NOW_MS + 4) == [4, 5]
    assert await page(attempt="a3") == [3]
    assert await page(attempt="a3", after_seq=3) == []
    assert await page(limit=-1) == []


@pytest.mark.parametrize("refused", [False, True])
async def test_an_assignment_and_its_money_are_one_command(store: Store, *, refused: bool) -> None:
    """Both or neither: where the money is refused the task stays as it was, and the refusal shows its row."""
    new = make_new("t1")
    await store.apply([SubmitTasks(tasks=(new,)), *([reserve("other", 950)] if refused else [])])
    assign = msgspec.structs.replace(make_update(new.task, TaskState.ASSIGNED), money=reserve("t1/1", 100))

    (answer,) = await store.apply([assign])

    states = await store.states(["t1"])
    if refused:
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.limit, answer.task) == (RefusalReason.LIMIT, "month", new.task)
        assert states == {"t1": TaskState.QUEUED}
        assert await dollars(store) == (0, 950)
    else:
        assert isinstance(answer, Applied)
        assert states == {"t1": TaskState.ASSIGNED}
        assert await dollars(store) == (0, 100)


async def test_an_assignment_that_is_refused_holds_nothing(store: Store) -> None:
    """A stale generation refuses the money with it."""
    new = make_new("t1")
    await store.apply([SubmitTasks(tasks=(new,))])
    assign = msgspec.structs.replace(
        make_update(new.task, TaskState.ASSIGNED), money=reserve("t1/1"), expect_generation=7
    )

    (answer,) = await store.apply([assign])

    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.STALE_GENERATION
    assert await dollars(store) == (0, 0)


async def test_many_that_reserve_at_once_never_pass_a_limit_together(store: Store) -> None:
    """A hundred callers, each with room for itself: what is let through fits, and whoever is refused would not have."""
    limits = [daily_limit("anthropic", 2_000, exhaust_percent=50), Limit(name="calls", unit=Unit.REQUESTS, hard=30)]
    held = bounds(limits, SCOPES, NOW_MS)
    commands = [reserve(f"a{n}", 10 + n % 50, bounds=held) for n in range(100)]

    async def one(command: Command) -> Result:
        (answer,) = await store.apply([command])
        return answer

    answers = await asyncio.gather(*map(one, commands))

    passed = [command for command, answer in zip(commands, answers, strict=True) if isinstance(answer, Applied)]
    refused = [command for command, answer in zip(commands, answers, strict=True) if isinstance(answer, Refused)]
    total = sum(command.amount.micro_usd for command in passed)
    assert (total, total <= 1_000, len(passed) <= 30) == ((await dollars(store))[1], True, True)
    smallest = min(command.amount.micro_usd for command in refused)
    assert len(passed) == 30 or total + smallest > 1_000


async def test_the_sums_are_given_out_by_kind_from_an_instant_on(store: Store) -> None:
    """All time whatever the instant, quarters and days from it on: what a hub that starts reckons with."""
    old, new = NOW_MS - 40 * 86_400_000, NOW_MS
    for name, at_ms in (("old", old), ("new", new)):
        scopes = Scopes(provider="anthropic", session="s1")
        await store.apply([Settle(attempt=name, at_ms=at_ms, amount=Amount(micro_usd=5), scopes=scopes)])

    found = await store.sums((ScopeKind.ALL, ScopeKind.PROVIDER), NOW_MS - 86_400_000)

    assert {row.scope for row in found} == {"all", "provider"}
    of_all = [(row.grain, row.spent.used.micro_usd) for row in found if row.scope == "all"]
    assert of_all == [(0, 10), (1, 5), (2, 5)]
    assert {row.value for row in found if row.scope == "provider"} == {"anthropic"}
    assert await store.sums((), 0) == []


async def test_the_newest_entries_come_first_where_they_are_asked_for(store: Store) -> None:
    """Of all, and of one attempt; a hub that starts reads the newest ones without going through all."""
    await store.apply([settle(f"a{number}", number) for number in range(5)])
    await store.apply([Adjust(attempt="a3", ref="bill", at_ms=NOW_MS, amount=Amount(micro_usd=7))])

    newest = await store.ledger(LedgerQuery(newest_first=True, limit=3))
    of_one = await store.ledger(LedgerQuery(newest_first=True, attempt="a3"))

    assert [entry.attempt for entry in newest] == ["a3", "a4", "a3"]
    assert [entry.amount.micro_usd for entry in of_one] == [7, 3]


async def test_many_that_use_a_subscription_at_once_never_pass_its_allowance_together(store: Store) -> None:
    """Nine of ten for everybody, the tenth for critical work; what it covers is summed apart from money."""
    plan = Subscription(
        provider="plan",
        reserve_percent=10,
        allowances=(Allowance(name="day", window=Window(kind=WindowKind.DAY), amount=10),),
    )
    whose, worth = Scopes(provider="plan", model="m"), Amount(covered_micro_usd=1_000)

    async def use(number: int, *, critical: bool = False) -> bool:
        held = allowance_bounds(plan, whose, NOW_MS, critical=critical)
        reserve = Reserve(attempt=f"u{number}", at_ms=NOW_MS, amount=worth, scopes=whose, bounds=held)
        (answer,) = await store.apply([reserve])
        assert isinstance(answer, Applied) or answer.limit == "allowance day of plan"
        return isinstance(answer, Applied)

    assert sum(await asyncio.gather(*(use(number) for number in range(40)))) == 9
    assert [await use(100, critical=True), await use(101, critical=True)] == [True, False]
    held = await store.open_reservations()
    await store.apply([Settle(attempt=entry.attempt, at_ms=NOW_MS, amount=worth) for entry in held])
    (spent,) = await store.spent([Span(scope=ScopeKind.PROVIDER, value="plan", start_ms=0, end_ms=LATEST_MS)])
    assert (spent.total(Unit.USD), spent.total(Unit.WORTH), spent.used.requests) == (0, 10_000, 10)
