"""How pools divide what can be spent once: never more than the limit, all of it can be spent, nobody starves."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.scheduling.escrow import ceiling, parts_of
from ostler.scheduling.shares import Claim

NAMES = "abc"
Rule = Callable[[str, Mapping[str, Claim], Collection[str], int], int]


class Step(NamedTuple):
    """Something that happens in the world of the property below."""

    kind: str
    pool: str
    number: int = 0


class World:
    """Pools over one table of claims, where each write is refused when another came between. What was spent is durable:
    a leader that dies loses what it was told, and its successor begins with nothing but the ledger and the row.
    """

    def __init__(self, total: int, rule: Rule = ceiling, *, fenced: bool = True, forgetful: bool = False) -> None:
        self.total = total
        self.rule = rule
        self.fenced = fenced
        self.forgetful = forgetful
        self.rows: dict[str, Claim] = {}
        self.version = 0
        self.spent = dict.fromkeys(NAMES, 0)
        self.held = dict.fromkeys(NAMES, 0)
        """Of what is spent, what attempts hold that may end below it."""
        self.cap = dict.fromkeys(NAMES, 0)
        self.alive = set(NAMES)
        self.wish = dict.fromkeys(NAMES, 0)
        self.step_of = dict.fromkeys(NAMES, 0)
        self.seen: dict[str, tuple[int, dict[str, Claim]]] = {}
        self.turn = 0

    def step(self, step: Step) -> None:
        """One thing happens."""
        pool, number = step.pool, step.number
        match step.kind:
            case "look" if pool in self.alive:
                self.seen[pool] = self.version, dict(self.rows)
            case "write" if pool in self.seen:
                self._write(pool)
            case "wish":
                self.wish[pool] = number
            case "piece":
                self.step_of[pool] = number
            case "reserve" if self.spent[pool] + number <= self.cap[pool]:
                self.spent[pool] += number
                self.held[pool] += number
            case "end":
                less = min(number, self.held[pool])
                self.spent[pool] -= less
                self.held[pool] = 0
            case "die":
                self.alive.discard(pool)
                self.seen.pop(pool, None)
                self.cap[pool] = 0
            case "lead":
                self.alive.add(pool)
            case "turn":
                self.turn += 1
            case _:
                pass

    def beat(self, pool: str) -> None:
        """What a pool does about once a second, undisturbed."""
        self.step(Step("look", pool))
        self.step(Step("write", pool))

    def settle(self, times: int = 3) -> None:
        """Every pool that lives looks and writes a few times."""
        for _ in range(times):
            for pool in sorted(self.alive):
                self.beat(pool)

    def _write(self, pool: str) -> None:
        version, rows = self.seen.pop(pool)
        used = 0 if self.forgetful else self.spent[pool]
        mine = Claim(
            total=self.total,
            held=rows[pool].held if pool in rows else 0,
            used=used,
            wanted=used + max(self.wish[pool], self.step_of[pool]),
            step=self.step_of[pool],
        )
        every = {**rows, pool: mine}
        held = self.rule(pool, every, [name for name in sorted(every) if name in self.alive], self.turn)
        self.cap[pool] = min(self.cap[pool], held)
        if version == self.version or not self.fenced:
            self.rows[pool] = Claim(total=self.total, held=held, used=used, wanted=mine.wanted, step=mine.step)
            self.version += 1
            self.cap[pool] = held

    def check(self) -> None:
        """What must hold after every step."""
        assert sum(self.spent.values()) <= self.total, "together they spent more than the limit"
        assert sum(row.held for row in self.rows.values()) <= self.total, "the parts add up to more than there is"


KINDS = ("look", "write", "look", "write", "reserve", "reserve", "end", "wish", "piece", "die", "lead", "turn")
steps = st.builds(Step, st.sampled_from(KINDS), st.sampled_from(NAMES), st.integers(0, 30))


@given(st.integers(0, 60), st.lists(steps, max_size=80))
@settings(max_examples=150)
def test_pools_together_never_spend_more_than_the_limit(total: int, done: list[Step]) -> None:
    """In whatever order they look, write, reserve, end below what was held, die and come back."""
    world = World(total)
    for step in done:
        world.step(step)
        world.check()


@given(st.integers(0, 60), st.lists(steps, max_size=60), st.sampled_from(NAMES))
@settings(max_examples=60)
def test_whoever_needs_it_can_spend_all_that_is_left(total: int, done: list[Step], pool: str) -> None:
    """When the others live and want nothing: whatever came before, all that is not spent comes to the one that asks."""
    world = World(total)
    for step in done:
        world.step(step)
    for name in NAMES:
        world.step(Step("lead", name))
        world.step(Step("wish", name, 100 if name == pool else 0))
        world.step(Step("piece", name, 0))
    world.settle()

    assert world.cap[pool] - world.spent[pool] == total - sum(world.spent.values())


@given(st.integers(1, 60), st.lists(steps, max_size=60), st.tuples(*[st.integers(1, 30)] * 3))
@settings(max_examples=60)
def test_no_piece_waits_that_would_fit(total: int, done: list[Step], pieces: tuple[int, int, int]) -> None:
    """Attempts cannot be divided: as long as the smallest that waits fits below the limit, somebody can begin; and each
    whose own fits has its turn.
    """
    world = World(total)
    for step in done:
        world.step(step)
    for name, piece in zip(NAMES, pieces, strict=True):
        world.step(Step("lead", name))
        world.step(Step("wish", name, 100))
        world.step(Step("piece", name, piece))
    left, had = total - sum(world.spent.values()), set()
    for _ in NAMES:
        world.settle()
        able = {name for name in NAMES if world.cap[name] - world.spent[name] >= world.step_of[name]}
        assert able or left < min(pieces), "money is left, and nobody can begin"
        had |= able
        world.step(Step("turn", "a"))

    assert had == {name for name, piece in zip(NAMES, pieces, strict=True) if piece <= left}


def greedy(own: str, claims: Mapping[str, Claim], takers: Collection[str], turn: int) -> int:
    """A mutant: it goes up to its share of what is left without asking what others still hold."""
    left = claims[own].total - sum(claim.used for claim in claims.values())
    return claims[own].used + parts_of(max(0, left), {name: claims[name] for name in takers}, turn)[own]


def heir(own: str, claims: Mapping[str, Claim], takers: Collection[str], turn: int) -> int:
    """A mutant: what a pool that died had not said to be spent is free at once."""
    freed = {
        name: claim if name in takers else Claim(total=claim.total, held=claim.used, used=claim.used)
        for name, claim in claims.items()
    }
    return ceiling(own, freed, takers, turn)


MUTANTS = [(greedy, True, False), (ceiling, False, False), (ceiling, True, True), (heir, True, False)]


@pytest.mark.parametrize(("rule", "fenced", "forgetful"), MUTANTS, ids=["greedy", "unfenced", "forgetful", "heir"])
def test_a_rule_that_oversells_is_seen(rule: Rule, *, fenced: bool, forgetful: bool) -> None:
    """The check bites: where pools do not ask what others hold, where two may write from one look, where a leader does
    not start from its ledger, and where the part of a pool that died is taken for free.
    """
    world = World(20, rule, fenced=fenced, forgetful=forgetful)
    for pool in "ab":
        world.step(Step("wish", pool, 20))
    with pytest.raises(AssertionError):
        _three_rounds(world)


def _three_rounds(world: World) -> None:
    """Two pools look and write side by side and spend what they can; then one of them dies and is led again."""
    for _ in range(3):
        for pool in "ab":
            world.step(Step("look", pool))
        for pool in "ab":
            world.step(Step("write", pool))
            world.check()
        for pool in "aaaaabbbbb":
            world.step(Step("reserve", pool, 5))
            world.check()
        world.step(Step("die", "a"))
        world.settle(1)
        world.step(Step("lead", "a"))


def test_idle_pools_have_equal_parts_and_lend_them() -> None:
    """What nobody asks for is spread; who spends gets what it asks for of it, and the rest stays spread."""
    world = World(90)
    world.settle()
    assert [world.cap[pool] for pool in NAMES] == [30, 30, 30]

    world.step(Step("wish", "a", 60))
    world.settle()
    assert [world.cap[pool] for pool in NAMES] == [70, 10, 10]


def test_what_is_left_is_shared_by_what_is_asked_for() -> None:
    """Two that both want more than there is have half each, whatever one of them has spent before."""
    world = World(100)
    world.step(Step("wish", "a", 100))
    world.beat("a")
    world.step(Step("reserve", "a", 60))
    world.step(Step("wish", "b", 100))
    for pool in "abab":
        world.beat(pool)

    assert (world.cap["a"], world.cap["b"]) == (80, 20)


def test_the_part_of_a_pool_that_died_stays_its_own_until_somebody_leads_it() -> None:
    """Nobody knows how much of it was spent. Its next leader does, and the rest is shared again."""
    world = World(90)
    world.settle()
    world.step(Step("reserve", "a", 10))
    world.step(Step("die", "a"))
    world.step(Step("wish", "b", 100))
    world.settle()
    assert (world.cap["b"], world.rows["a"].held) == (60, 30)

    world.step(Step("lead", "a"))
    world.settle()
    assert (world.cap["a"], world.cap["b"]) == (10, 80)


def test_a_smaller_word_of_the_limit_holds_for_all_that_live() -> None:
    """Pools that say 50 and 30 have 30 together. What one says that takes no more is no word any more, but what it has
    spent counts.
    """
    claims = {"a": Claim(total=50, held=20, used=20, wanted=60), "b": Claim(total=30, used=2, wanted=20)}

    assert ceiling("b", claims, ["a", "b"]) == 2 + 4
    assert ceiling("a", claims, ["a", "b"]) == 20 + 4
    assert ceiling("a", claims, ["a"]) == 50 - 2


def test_who_spent_beyond_its_part_leaves_less_to_others() -> None:
    """An answer that came to more than its estimate counts with all that it came to."""
    claims = {"a": Claim(total=10, held=5, used=8, wanted=8), "b": Claim(total=10, held=1, used=1, wanted=9)}

    assert ceiling("b", claims, ["a", "b"]) == 2
    assert ceiling("a", claims, ["a", "b"]) == 8 + 0


@given(
    st.integers(0, 1_000),
    st.dictionaries(st.sampled_from(NAMES), st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1),
    st.integers(0, 9),
)
def test_parts_add_up(left: int, asked: dict[str, tuple[int, int]], turn: int) -> None:
    """All that is left is divided, whatever is asked for, and the order in which pools are named is nothing."""
    claims = {name: Claim(total=1_000, wanted=wanted, step=step) for name, (wanted, step) in asked.items()}
    got = parts_of(left, claims, turn)

    assert sum(got.values()) == left
    assert got == parts_of(left, dict(reversed(claims.items())), turn)
