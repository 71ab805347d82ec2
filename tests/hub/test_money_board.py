"""The page of money as a function of the mirror, the limits and the newest entries."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.limits import Level
from ostler.budget.mirror import Mirror
from ostler.budget.windows import DAY_MS
from ostler.domain.commands import Reserve, Settle
from ostler.domain.ledger import Amount, Basis, EntryKind, LedgerEntry, Scopes
from ostler.domain.limits import (
    Allowance,
    BudgetPolicy,
    Limit,
    PartOf,
    PoolPart,
    ScopeKind,
    Subscription,
    Unit,
    Window,
    WindowKind,
)
from ostler.hub.board_views import Money
from ostler.hub.money_board import DAYS, SCOPES_MAX, money

NOW_MS = 20 * DAY_MS + DAY_MS // 2
NO_LIMIT = BudgetPolicy()
CHARGED = {
    ScopeKind.PROVIDER: ("anthropic", "openai"),
    ScopeKind.TIER: ("cloud",),
    ScopeKind.MODEL: ("haiku",),
}


def spent(name: str, micro_usd: int, at_ms: int = NOW_MS, **scopes: str) -> Settle:
    amount = Amount(micro_usd=micro_usd, input_tokens=10, output_tokens=5)
    return Settle(attempt=name, at_ms=at_ms, amount=amount, basis=Basis.PRICED, scopes=Scopes(**scopes))


def entry(name: str, micro_usd: int, *, basis: Basis = Basis.PRICED, asked: str = "", **scopes: str) -> LedgerEntry:
    return LedgerEntry(
        attempt=name,
        kind=EntryKind.SETTLE,
        at_ms=NOW_MS,
        charged_ms=NOW_MS,
        amount=Amount(micro_usd=micro_usd),
        basis=basis,
        scopes=Scopes(**scopes),
        asked_tier=asked,
    )


def shown(
    *commands: Reserve | Settle,
    budget: BudgetPolicy = NO_LIMIT,
    entries: Sequence[LedgerEntry] = (),
    fell_back: frozenset[str] = frozenset(),
    parts: PartOf | None = None,
) -> Money:
    mirror = Mirror()
    for command in commands:
        mirror.take(command)
    return money(mirror, budget, CHARGED, entries, fell_back, NOW_MS, parts=parts)


def test_nothing_spent_is_noughts_and_not_an_error() -> None:
    """A new hub has a page of money."""
    found = shown()

    assert (found.today.used, found.month_micro_usd, found.held_micro_usd) == (0, 0, 0)
    assert (found.limits, found.unknown, found.subscriptions) == ((), (), ())
    assert len(found.days) == DAYS


def test_today_the_month_and_what_is_held_are_told_apart() -> None:
    """A reservation is not spent, and yesterday is not today."""
    held = Reserve(attempt="c", at_ms=NOW_MS, amount=Amount(micro_usd=7), scopes=Scopes(provider="openai"))
    found = shown(spent("a", 100, provider="anthropic"), spent("b", 30, NOW_MS - DAY_MS), held)

    assert (found.today.used, found.month_micro_usd, found.held_micro_usd) == (107, 130, 7)
    assert [day.micro_usd for day in found.days[-2:]] == [30, 100]


def test_shares_are_told_by_provider_tier_and_model_the_dearest_first() -> None:
    """With tokens and calls, as the ledger counts them."""
    found = shown(
        spent("a", 10, provider="anthropic", tier="cloud", model="haiku"),
        spent("b", 90, provider="openai", tier="cloud"),
    )

    assert [(row.name, row.month_micro_usd) for row in found.providers] == [("openai", 90), ("anthropic", 10)]
    assert [(row.name, row.today_micro_usd, row.tokens, row.requests) for row in found.tiers] == [("cloud", 100, 30, 2)]
    assert [(row.name, row.month_micro_usd) for row in found.models] == [("haiku", 10)]


def test_the_limit_that_is_worst_stands_first() -> None:
    """Used up before degraded before good; each with what is used."""
    day = Window(kind=WindowKind.DAY)
    limits = (
        Limit(name="roomy", window=day, hard=10_000),
        Limit(name="soft", window=day, soft=50, hard=1_000),
        Limit(name="gone", window=day, hard=100),
    )
    found = shown(spent("a", 100), budget=BudgetPolicy(limits=limits))

    levels = [(one.limit.name, one.level) for one in found.limits]
    assert levels == [("gone", Level.EXHAUSTED), ("soft", Level.DEGRADED), ("roomy", Level.OK)]
    assert found.today.left == 0


def test_what_other_pools_spent_of_a_limit_counts() -> None:
    """For its level, its order and what is left of the day; the own figures stay one's own."""
    day = Limit(name="day", window=Window(kind=WindowKind.DAY), soft=700, hard=1_000)
    own = Limit(name="own", window=Window(kind=WindowKind.DAY), hard=1_000)
    part = PoolPart(most=400, total=1_000, spent=600, kept=50, pools=("lab",))
    found = shown(
        spent("a", 150),
        budget=BudgetPolicy(limits=(own, day)),
        parts=lambda limit, *_: part if limit is day else None,
    )

    assert [(one.limit.name, one.used, one.total, one.left, one.level) for one in found.limits] == [
        ("day", 150, 750, 250, Level.DEGRADED),
        ("own", 150, 150, 850, Level.OK),
    ]
    assert found.today.left == 250


def test_a_limit_for_each_is_shown_for_those_with_the_least_left() -> None:
    """However many sessions there were: so many are shown, the others are counted."""
    names = tuple(f"s{n:03}" for n in range(SCOPES_MAX + 5))
    mirror = Mirror()
    for number, name in enumerate(names):
        mirror.take(spent(name, number, session=name))
    budget = BudgetPolicy(limits=(Limit(name="each", scope=ScopeKind.SESSION, hard=1_000),))
    found = money(mirror, budget, {ScopeKind.SESSION: names}, (), frozenset(), NOW_MS)

    assert found.limits[0].value == names[-1]
    assert (len(found.limits), found.limits_left_out) == (SCOPES_MAX, 5)


def test_unknown_prices_are_counted_by_where_they_went() -> None:
    """They are in the sums at the conservative price, and are told apart all the same."""
    rows = [
        entry("a", 500, basis=Basis.UNKNOWN, provider="odd", model="mystery"),
        entry("b", 400, basis=Basis.UNKNOWN, provider="odd", model="mystery"),
        entry("c", 1, provider="odd", model="known"),
    ]
    (row,) = shown(entries=rows).unknown

    assert (row.provider, row.model, row.calls, row.micro_usd) == ("odd", "mystery", 2, 900)


def test_what_fallbacks_cost_is_told_by_the_day() -> None:
    """Work on another tier than was asked for, and tasks that fell back; work where it belongs is not counted."""
    rows = [
        entry("a", 10, asked="local", tier="cloud"),
        entry("b", 20, task="fallen", tier="cloud"),
        entry("c", 40, asked="cloud", tier="cloud"),
        entry("d", 80, task="fine"),
    ]
    found = shown(entries=rows, fell_back=frozenset({"fallen"}))

    assert found.days[-1].fallback_micro_usd == 30
    assert sum(day.fallback_micro_usd for day in found.days) == 30


def test_a_subscription_stands_beside_an_even_pace() -> None:
    """Used, and how much of it an even use would have opened."""
    allowance = Allowance(name="day", window=Window(kind=WindowKind.DAY), unit=Unit.REQUESTS, amount=10)
    budget = BudgetPolicy(subscriptions=(Subscription(provider="anthropic", allowances=(allowance,)),))
    found = shown(spent("a", 0, provider="anthropic"), budget=budget)

    (part,) = found.subscriptions[0].allowances
    assert (part.used, part.allowance.amount) == (1, 10)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, DAYS - 1)), max_size=20))
def test_the_days_add_up_to_what_was_spent_in_them(charges: list[tuple[int, int]]) -> None:
    """No charge of the last fourteen days is lost, none is in two days."""
    commands = [spent(f"a{n}", cost, NOW_MS - age * DAY_MS) for n, (cost, age) in enumerate(charges)]

    assert sum(day.micro_usd for day in shown(*commands).days) == sum(cost for cost, _ in charges)
