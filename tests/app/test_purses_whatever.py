"""No limit is passed whatever happens to the pools that have it together: clocks that differ, leaders that die."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.budget.ledger import passed
from ostler.budget.limits import bounds, span_of
from ostler.budget.windows import DAY_MS, HOUR_MS
from ostler.domain.commands import Reserve
from ostler.domain.ledger import Amount, Basis, Scopes, Span
from ostler.domain.limits import Limit, PartKey, ScopeKind, Unit, Window, WindowKind
from tests.app.test_purses import CALLS, DAY, Clock, World

ROLLING = Limit(name="rolling", window=Window(kind=WindowKind.ROLLING, hours=1), unit=Unit.REQUESTS, hard=24)
EVERY = (replace(CALLS, hard=80), replace(DAY, hard=40), ROLLING)
WAITS_MIN = (1, 2, 20, 57, 61, 119)
SKEW_MS = {"a": 0, "b": 3 * 60_000, "c": -5 * 60_000}
kinds = st.sampled_from(["beat", "round", "round", "spend", "spend", "spend", "wait", "die", "lead"])
happenings = st.lists(st.tuples(kinds, st.sampled_from("abc"), st.integers(0, 23)), min_size=20, max_size=60)


class Skewed(World):
    """Pools whose clocks differ, over hours."""

    def __init__(self) -> None:
        super().__init__(*EVERY)
        self.clock.ms += DAY_MS - 2 * HOUR_MS
        self.clocks = {pool: Clock() for pool in SKEW_MS}
        self.pass_ms(0)

    def pass_ms(self, duration_ms: int) -> None:
        self.clock.ms += duration_ms
        for pool, clock in self.clocks.items():
            clock.ms = self.clock.ms + SKEW_MS[pool]

    def happen(self, kind: str, pool: str, number: int) -> None:
        """One thing."""
        if kind == "wait":
            self.pass_ms(WAITS_MIN[number % len(WAITS_MIN)] * 60_000)
        elif kind == "round":
            for name in sorted(self.purses):
                self.happen("beat", name, 0)
        elif kind == "lead":
            self.lead(pool)
            self.books[pool].clock = self.clocks[pool]
        elif kind == "die":
            self.purses.pop(pool, None)
        elif kind == "beat" and pool in self.purses:
            self.beat(pool)
            self.pass_ms(0)
        elif kind == "spend" and pool in self.purses and self.may_spend(pool, number):
            command = Reserve(
                attempt=f"a{self.spends}",
                at_ms=self.clocks[pool].ms,
                amount=Amount(requests=number),
                basis=Basis.PRICED,
                scopes=Scopes(),
            )
            self.spends += 1
            self.books[pool].money.take(command)

    def own(self, pool: str, limit: Limit) -> int:
        span = span_of(limit, "", self.clocks[pool].ms)
        assert span is not None
        return self.books[pool].money.spent(span).total(limit.unit)

    def may_spend(self, pool: str, number: int) -> bool:
        """As the ledger judges."""
        amount = Amount(requests=number)
        held = bounds(EVERY, Scopes(), self.clocks[pool].ms, parts=self.books[pool].parts.of)
        return passed(held, amount, self.books[pool].money.spent) is None

    def check(self) -> None:
        for limit in (EVERY[0], ROLLING):
            assert sum(self.own(pool, limit) for pool in self.books) <= (limit.hard or 0), f"{limit.name} is passed"
        for day in (20_000, 20_001):
            span = Span(scope=ScopeKind.ALL, start_ms=day * DAY_MS, end_ms=(day + 1) * DAY_MS)
            spent = sum(books.money.spent(span).total(DAY.unit) for books in self.books.values())
            assert spent <= (EVERY[1].hard or 0), "a day is passed"


@given(happenings)
@settings(max_examples=50, deadline=None)
def test_no_limit_is_passed_whatever_happens(done: list[tuple[str, str, int]]) -> None:
    """Days that turn, windows that roll and all of time: leaders die and come back, clocks differ by minutes, and pools
    together never come to more than one of their limits.
    """
    world = Skewed()
    for pool in "abc":
        world.happen("lead", pool, 0)
    for kind, pool, number in done:
        world.happen(kind, pool, number)
        world.check()


def test_a_pool_whose_clock_is_behind_finds_what_the_others_spent_before_their_day_was_over() -> None:
    """It is still in the day that is over for the other one, and takes nothing of what that spent in it."""
    world = Skewed()
    for pool in "ac":
        world.happen("lead", pool, 0)
    world.pass_ms(2 * HOUR_MS - 60_000)
    for _ in range(3):
        world.happen("round", "", 0)
    world.happen("spend", "a", 10)
    world.happen("round", "", 0)
    world.pass_ms(2 * 60_000)
    for _ in range(3):
        world.happen("round", "", 0)
    day = PartKey("day", "", 20_000 * DAY_MS)

    assert day not in (world.books["a"].parts.told or {}), "for one of them it is over"
    assert world.most("c", day) == 30
    world.check()
