"""What a pool says of limits that pools have together, and what it may spend of them, over a table in memory."""

import pytest
from msgspec.structs import replace

from ostler.app.purses import GRACE_MS, LEAD_MS, Divided, Purses, parts_said, purses
from ostler.budget.windows import DAY_MS, HOUR_MS
from ostler.domain.commands import Reserve
from ostler.domain.decision import Short
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.limits import BudgetPolicy, Limit, PartKey, PoolPart, Price, ScopeKind, Unit, Window, WindowKind
from ostler.domain.policy import Policy
from ostler.scheduling.books import Books
from ostler.scheduling.parts import SHORT_MS
from ostler.scheduling.queue import BUDGET
from ostler.scheduling.shares import Claim
from ostler.store.shares import Look, PoolShares
from tests.app.test_sharing import ROW_MS
from tests.scheduling.rig import cloud, local, three_tiers
from tests.scheduling.test_queue import HOLD

EVER = Window(kind=WindowKind.NONE)
CALLS = Limit(name="calls", window=EVER, unit=Unit.REQUESTS, hard=12)
DAY = Limit(name="day", window=Window(kind=WindowKind.DAY), unit=Unit.REQUESTS, hard=12)
KEY = PartKey("calls", "", 0)


def policy(*limits: Limit, over_pools: bool = True) -> Policy:
    budget = BudgetPolicy(limits=limits, prices={"claude": Price(input=3.0, output=15.0)}, over_pools=over_pools)
    return replace(three_tiers(), budget=budget)


class Clock:
    """An instant that is set by hand."""

    def __init__(self, now_ms: int = 20_000 * DAY_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def stopwatch_us(self) -> int:
        return 0


class World:
    """Pools that decide from one look each, and a table that takes what they write."""

    def __init__(self, *limits: Limit) -> None:
        self.clock = Clock()
        self.limits = limits
        self.rows: dict[str, PoolShares] = {}
        self.books: dict[str, Books] = {}
        self.purses: dict[str, Purses] = {}
        self.spends = 0

    def lead(self, pool: str, *limits: Limit) -> None:
        """A leader begins: of a pool that was led before it has what that spent."""
        books = Books(policy(*(limits or self.limits)), self.clock)
        books.endpoints.add(cloud(), self.clock.ms)
        if pool in self.books:
            books.money = self.books[pool].money
        books.parts.tell({})
        self.books[pool], self.purses[pool] = books, Purses(pool)

    def beat(self, *pools: str, row_ms: int = ROW_MS) -> Divided:
        """Each of them looks, writes and is told, a second after the one before."""
        for pool in pools:
            self.clock.ms += 1_000
            found = self.purses[pool].divided(self.look(), self.books[pool])
            self.rows[pool] = PoolShares(pool=pool, epoch=1, until_ms=self.clock.ms + row_ms, claims=found.claims)
            self.books[pool].parts.tell(found.parts)
        return found

    def look(self) -> Look:
        return Look(version=0, now_ms=self.clock.ms, rows=tuple(self.rows[name] for name in sorted(self.rows)))

    def spend(self, pool: str, requests: int = 1, **scopes: str) -> None:
        """An attempt that was let through."""
        self.spends += 1
        amount = Amount(requests=requests)
        command = Reserve(
            attempt=f"a{self.spends}", at_ms=self.clock.ms, amount=amount, basis=Basis.PRICED, scopes=Scopes(**scopes)
        )
        self.books[pool].money.take(command)
        self.books[pool].parts.reserved(command)

    def most(self, pool: str, key: PartKey = KEY) -> int | None:
        part = (self.books[pool].parts.told or {}).get(key)
        return part.most if part is not None else None


def claims_of(found: Divided) -> list[Claim]:
    return [found.claims[name] for name in sorted(found.claims)]


def test_a_pool_alone_has_all_of_it_and_says_so() -> None:
    """As if nobody counted; what it spends is written where others see it."""
    world = World(CALLS)
    world.lead("a")
    world.beat("a")
    assert world.most("a") == 12
    world.spend("a", 5)

    found = world.beat("a")
    assert claims_of(found)[0] == Claim(total=12, held=12, used=5, wanted=5 + 50)
    assert found.parts[KEY] == PoolPart(most=12, total=12)


def test_two_pools_that_rest_have_half_each() -> None:
    """And each is told what the other has spent, and keeps."""
    world = World(CALLS)
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    assert [world.most(pool) for pool in "ab"] == [6, 6]

    world.spend("a", 2)
    world.beat("a", "b")
    assert (world.books["b"].parts.told or {})[KEY] == PoolPart(most=0, total=12, spent=2, kept=4, pools=("a",))


def test_who_spends_has_nearly_all_and_it_fades() -> None:
    """It asks for ten seconds of what it spent, and twice its largest attempt; later what is left is spread again."""
    world = World(replace(CALLS, hard=1_000))
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("a", 10)
    world.beat("a", "b", "a")
    assert world.most("a") == 10 + 46 + (990 - 46) // 2
    for _ in range(60):
        world.beat("a", "b")

    assert world.most("a") == 10 + 990 // 2


@pytest.mark.parametrize("rates", [(5, 0), (5, 5), (6, 1)])
def test_who_spends_steadily_finds_enough_until_nothing_is_left(rates: tuple[int, int]) -> None:
    """Parts are asked for well before they are used up: nobody finds too little while a fiftieth of the limit is left,
    and all of it is spent, also where the other pool rests.
    """
    world, left = World(replace(CALLS, hard=500)), 500
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    own = dict.fromkeys("ab", 0)
    for _ in range(300):
        for pool, rate in zip("ab", rates, strict=True):
            for _ in range(rate):
                if left and own[pool] < (world.most(pool) or 0):
                    world.spend(pool)
                    own[pool] += 1
                    left -= 1
                elif left:
                    assert left < 500 // 50, f"pool {pool} finds too little beside {left}"
                    world.books[pool].parts.found_too_little([Short("calls", "", 1)], world.clock.ms)
            world.beat(pool)
            world.clock.ms -= 500  # both of them look once a second

    assert sum(own.values()) == 500


def test_a_look_that_comes_at_once_changes_no_wish() -> None:
    """Who was overtaken looks again; that it spent nothing meanwhile is no news."""
    world = World(replace(CALLS, hard=1_000))
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("a", 10)
    world.clock.ms += 1_000
    first, again = (world.purses["a"].divided(world.look(), world.books["a"]) for _ in range(2))

    assert first == again
    assert claims_of(first)[0].wanted == 10 + 50


def test_what_waits_for_a_sum_gets_it_as_a_whole() -> None:
    """Two halves of which neither suffices are put together."""
    world = World(CALLS)
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.books["a"].parts.found_too_little([Short("calls", "", 9)], world.clock.ms)
    world.beat("a", "b", "a")

    assert (world.most("a") or 0) >= 9


def test_what_is_held_for_want_of_money_asks_until_it_is_looked_at() -> None:
    """However long ago it said so: a class of tasks is looked at when a part grows, and not before."""
    world = World(CALLS)
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.books["a"].parts.found_too_little([Short("calls", "", 9)], world.clock.ms)
    world.books["a"].queue.push("t", "class", 0, 0)
    world.books["a"].queue.hold("class", HOLD, (BUDGET,))
    world.clock.ms += 10 * SHORT_MS
    world.beat("a", "b", "a")

    assert (world.most("a") or 0) >= 9


def test_the_next_window_is_there_when_it_begins() -> None:
    """A minute before it is divided as well; what is over stays written for as long as clocks may differ."""
    world = World(DAY)
    world.clock.ms += DAY_MS - LEAD_MS - 10_000
    start_ms = 20_000 * DAY_MS
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("a", 3)
    assert set(world.books["a"].parts.told or {}) == {PartKey("day", "", start_ms)}

    world.clock.ms = start_ms + DAY_MS - LEAD_MS
    world.beat("a", "b", "a", "b")
    assert world.most("a", PartKey("day", "", start_ms + DAY_MS)) == 6
    assert len(world.rows["a"].claims) == 2

    world.clock.ms = start_ms + DAY_MS
    world.beat("a", "b", "a", "b")
    assert set(world.books["a"].parts.told or {}) == {PartKey("day", "", start_ms + DAY_MS)}
    over = min(world.rows["a"].claims.values(), key=lambda claim: claim.until_ms)
    assert (over.used, over.held, over.takes) == (3, 3, False)

    world.clock.ms = start_ms + DAY_MS + GRACE_MS
    world.beat("a")
    assert len(world.rows["a"].claims) == 1


def test_the_part_of_a_pool_that_died_counts_until_its_next_leader_tells() -> None:
    """All that it held, long after its row ended; the leader after it starts from the ledger."""
    world = World(CALLS)
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("a", 2)
    world.clock.ms += 10 * ROW_MS
    for _ in range(3):
        world.beat("b")
    assert world.most("b") == 6
    assert (world.books["b"].parts.told or {})[KEY] == PoolPart(most=6, total=12, kept=6, asleep=6, pools=("a",))

    world.lead("a")
    assert world.most("a") is None
    world.beat("a", "b", "a", "b")
    assert (world.most("a"), world.most("b")) == (2 + 5, 5)


def test_of_a_window_that_rolls_what_left_it_is_free() -> None:
    """Each pool's own sum falls by itself; of one that died all counts until the last of it has left."""
    world = World(Limit(name="calls", window=Window(kind=WindowKind.ROLLING, hours=2), unit=Unit.REQUESTS, hard=12))
    for pool in "ab":
        world.lead(pool)
    world.spend("a", 8)
    world.beat("a", "b", "a", "b")
    assert (world.most("a"), world.most("b")) == (10, 2)

    world.clock.ms += 2 * HOUR_MS
    world.beat("b")
    assert world.most("b") == 2
    world.clock.ms += 2 * HOUR_MS
    world.beat("b")
    assert world.most("b") == 12


def test_critical_work_has_a_part_of_its_own_ceiling() -> None:
    """What is spent counts for both; a limit with a soft value alone is not divided, but tells what all have spent."""
    world = World(replace(CALLS, critical=20), Limit(name="soft", window=EVER, unit=Unit.REQUESTS, soft=5))
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("a", 4)
    for _ in range(80):
        world.beat("a", "b")
    assert [world.most(pool) for pool in "ab"] == [4 + 4, 4]
    assert [world.most(pool, replace_key(critical=True)) for pool in "ab"] == [4 + 8, 8]
    assert (world.books["b"].parts.told or {})[PartKey("soft", "", 0)] == PoolPart(spent=4, pools=("a",))


def replace_key(*, critical: bool) -> PartKey:
    return KEY._replace(critical=critical)


def test_of_a_limit_that_each_has_every_one_is_divided() -> None:
    """Providers that may be paid and those that were, tiers of the profile, models of paid endpoints."""
    each = [
        Limit(name=kind.value, scope=kind, window=EVER, hard=1)
        for kind in (ScopeKind.PROVIDER, ScopeKind.TIER, ScopeKind.MODEL, ScopeKind.SESSION)
    ]
    world = World(*each)
    world.lead("a")
    world.books["a"].endpoints.add(local("box"), 0)
    world.spend("a", provider="gone", model="old", session="s")
    found = {(one.limit.name, one.value) for one in purses(world.books["a"], world.clock.ms)}

    assert {value for name, value in found if name == "provider"} == {"anthropic", "gone"}
    assert {value for name, value in found if name == "tier"} == {"complex", "direct", "standard"}
    assert {value for name, value in found if name == "model"} >= {"claude", "old"}
    assert not [name for name, _ in found if name == "session"]


@pytest.mark.parametrize(
    "other",
    [
        replace(CALLS, name="others"),
        replace(CALLS, unit=Unit.TOKENS),
        replace(CALLS, window=Window(kind=WindowKind.MONTH)),
        replace(CALLS, scope=ScopeKind.PROVIDER, of="anthropic"),
    ],
    ids=["name", "unit", "window", "scope"],
)
def test_limits_that_are_not_stated_alike_are_two(other: Limit) -> None:
    """Each pool has its own for itself."""
    world = World(CALLS)
    world.lead("a")
    world.lead("b", other)
    world.beat("a", "b", "a", "b")

    assert world.most("a") == 12
    assert [part.most for part in (world.books["b"].parts.told or {}).values()] == [12]


def test_a_smaller_value_holds_for_both() -> None:
    """And zones of days are told apart."""
    world = World(CALLS)
    world.lead("a")
    world.lead("b", replace(CALLS, hard=4))
    world.beat("a", "b", "a", "b")
    assert [world.most(pool) for pool in "ab"] == [2, 2]
    assert (world.books["a"].parts.told or {})[KEY].total == 4

    zoned = [replace(DAY, window=Window(kind=WindowKind.DAY, zone=zone)) for zone in ("UTC", "Europe/London")]
    books = Books(policy(*zoned), Clock(20_000 * DAY_MS + HOUR_MS))
    assert len({one.resource for one in purses(books, books.clock.now_ms())}) == 2


def test_what_the_profile_states_no_more_stays_written_without_what_was_not_spent() -> None:
    """What was spent below it counts for those that state it."""
    world = World(CALLS)
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("a", 4)
    world.beat("a")
    world.books["a"].policy = policy(replace(CALLS, name="new"))
    world.beat("a", "b", "b")

    assert world.most("b") == 8
    assert not list(purses(Books(policy(CALLS, over_pools=False), world.clock), world.clock.ms))


def test_who_only_reads_is_told_what_the_others_say() -> None:
    """Of each limit that they state alike, in its window; nothing of its own part, which moves."""
    world = World(CALLS, DAY, Limit(name="session", scope=ScopeKind.SESSION, hard=1))
    for pool in "ab":
        world.lead(pool)
    world.beat("a", "b", "a", "b")
    world.spend("b", 2)
    world.beat("b")
    said = parts_said(world.look(), "a")
    day_ms = 20_000 * DAY_MS

    other = PoolPart(total=12, spent=2, kept=4, pools=("b",))
    assert said(CALLS, "", 0, False) == said(DAY, "", day_ms, False) == other
    assert said(DAY, "", day_ms - DAY_MS, False) == PoolPart()
    assert said(replace(CALLS, name="else"), "", 0, False) == PoolPart()
    assert said(world.limits[2], "", 0, False) is None

    world.clock.ms += 2 * ROW_MS
    assert parts_said(world.look(), "a")(CALLS, "", 0, False) == replace(other, total=None, asleep=4)
