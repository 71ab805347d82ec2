"""How pools divide what they have in common: never more than there is, nobody starves, what is idle is lent."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.scheduling.shares import Claim, Part, fair_parts, lasting, part, partners, spread

NAMES = "abcde"
Split = Callable[[str, Mapping[str, Claim], int], Part]


class Step(NamedTuple):
    """Something that happens in the world of the property below."""

    kind: str
    pool: str
    number: int = 0


class World:
    """Pools over one table of claims, where each write is refused when another came between. A pool that dies leaves
    its row, which ends when nothing of it runs any more.
    """

    def __init__(self, total: int, split: Split = part, *, fenced: bool = True) -> None:
        self.total = total
        self.fenced = fenced
        self.split = split
        self.rows: dict[str, Claim] = {}
        self.version = 0
        self.running = dict.fromkeys(NAMES, 0)
        self.waiting = dict.fromkeys(NAMES, 0)
        self.cap = dict.fromkeys(NAMES, 0)
        self.seen: dict[str, tuple[int, dict[str, Claim]]] = {}
        self.turn = 0

    def step(self, step: Step) -> None:
        """One thing happens."""
        pool = step.pool
        match step.kind:
            case "look":
                self.seen[pool] = self.version, dict(self.rows)
            case "write" if pool in self.seen:
                self._write(pool)
            case "wish":
                self.waiting[pool] = step.number
            case "begin" if self.waiting[pool] and self.running[pool] < self.cap[pool]:
                self.waiting[pool] -= 1
                self.running[pool] += 1
            case "end" if self.running[pool]:
                self.running[pool] -= 1
            case "die":
                self.cap[pool] = self.waiting[pool] = 0
                self.seen.pop(pool, None)
            case "over" if not self.running[pool] and not self.cap[pool]:
                self.rows.pop(pool, None)
                self.version += 1
            case "turn":
                self.turn += 1
            case _:
                pass

    def beat(self, pool: str) -> None:
        """What a pool does about once a second, undisturbed."""
        self.step(Step("look", pool))
        self.step(Step("write", pool))

    def _write(self, pool: str) -> None:
        version, rows = self.seen.pop(pool)
        before = rows.get(pool, Claim(total=self.total))
        used = self.running[pool]
        mine = Claim(total=self.total, held=before.held, used=used, wanted=used + self.waiting[pool])
        held, cap = self.split(pool, {**rows, pool: mine}, self.turn)
        self.cap[pool] = min(self.cap[pool], cap)
        if version == self.version or not self.fenced:
            self.rows[pool] = Claim(total=self.total, held=held, used=used, wanted=mine.wanted)
            self.version += 1
            self.cap[pool] = cap

    def check(self) -> None:
        """What must hold after every step."""
        assert sum(self.running.values()) <= self.total, "more run at once than there are slots"
        assert sum(row.held for row in self.rows.values()) <= self.total, "the parts add up to more than there is"


KINDS = ("look", "write", "write", "look", "begin", "begin", "wish", "end", "turn", "die", "over")
steps = st.builds(Step, st.sampled_from(KINDS), st.sampled_from(NAMES[:3]), st.integers(0, 9))


@given(st.integers(0, 7), st.lists(steps, max_size=80))
@settings(max_examples=300)
def test_pools_together_never_use_more_than_there_is(total: int, done: list[Step]) -> None:
    """In whatever order they look, write, begin, end, die and come back."""
    world = World(total)
    for step in done:
        world.step(step)
        world.check()


def greedy(own: str, claims: Mapping[str, Claim], turn: int) -> Part:
    """A mutant: it grows to its fair part without asking what others still hold."""
    del turn
    fair = fair_parts(claims[own].total, {name: max(one.used, one.wanted) for name, one in claims.items()})[own]
    return Part(fair, fair)


@pytest.mark.parametrize(("mutant", "fenced"), [(greedy, True), (part, False)], ids=["greedy", "unfenced"])
def test_a_rule_that_oversells_is_seen(mutant: Split, *, fenced: bool) -> None:
    """The check bites: where pools do not ask what others hold, and where two may write from one look."""
    world = World(4, mutant, fenced=fenced)
    for pool in "ab":
        world.step(Step("wish", pool, 4))
        world.step(Step("look", pool))
    for pool in "ab":
        world.step(Step("write", pool))
    world.beat("b" if fenced else "c")
    for pool in "aaaabbbb":
        world.step(Step("begin", pool))

    with pytest.raises(AssertionError, match="more run at once"):
        world.check()


def test_a_write_after_another_one_is_refused() -> None:
    """Two pools that saw the same table cannot both take what is free in it."""
    world = World(4)
    for pool in "ab":
        world.step(Step("wish", pool, 4))
        world.step(Step("look", pool))
    for pool in "ab":
        world.step(Step("write", pool))

    assert (world.cap["a"], world.cap["b"]) == (4, 0)
    for pool in "bab":
        world.beat(pool)
    assert (world.cap["a"], world.cap["b"]) == (2, 2)


wishes = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 12), min_size=1)


@given(st.integers(0, 20), wishes, st.integers(0, 9))
def test_fair_parts_add_up_and_nobody_gets_less_than_it_may(total: int, wanted: dict[str, int], turn: int) -> None:
    """All of it is divided; who wants less than an equal part gets that, and no other has two more than one whose wish
    is not met.
    """
    got = fair_parts(total, wanted, turn)

    assert sum(got.values()) == total
    for name, wish in wanted.items():
        assert got[name] >= min(wish, total // len(wanted)), f"{name} starves"
        if got[name] < wish:
            others = [got[other] for other in wanted if other != name]
            assert all(other <= got[name] + 1 for other in others), f"{name} is hungry beside one that has more"
    assert got == fair_parts(total, dict(reversed(wanted.items())), turn), "the order in which pools are named matters"


@given(st.integers(1, 5), st.integers(2, 5), st.data())
def test_pools_that_all_want_more_come_to_equal_parts(total: int, count: int, data: st.DataObject) -> None:
    """Whoever had all of it before, as soon as calls end; and within as many turns as there are pools each has some."""
    world = World(total)
    first = data.draw(st.sampled_from(NAMES[:count]))
    world.step(Step("wish", first, total))
    world.beat(first)
    for pool in NAMES[:count]:
        world.step(Step("wish", pool, 100))
    had: set[str] = set()
    for _ in range(count):
        for pool in NAMES[:count] * 3:
            world.beat(pool)
        caps = [world.cap[pool] for pool in NAMES[:count]]
        assert sum(caps) == total
        assert max(caps) - min(caps) <= 1
        had |= {pool for pool in NAMES[:count] if world.cap[pool]}
        world.step(Step("turn", "a"))
    assert had == set(NAMES[:count]), "with fewer slots than pools they go round"


def test_what_is_idle_is_lent_and_comes_back() -> None:
    """The pool that has nothing to do gives all away, and has its half again two beats after it wants it."""
    world = World(6)
    for pool in "abab":
        world.beat(pool)
    assert (world.cap["a"], world.cap["b"]) == (3, 3)

    world.step(Step("wish", "a", 9))
    for pool in "aba":
        world.beat(pool)
    assert (world.cap["a"], world.cap["b"]) == (6, 0)

    for _ in range(5):
        world.step(Step("begin", "a"))
    world.step(Step("wish", "b", 9))
    for pool in "bab":
        world.beat(pool)
    assert (world.rows["a"].held, world.cap["b"]) == (5, 1), "what runs is not taken away"
    assert world.cap["a"] == 3, "nothing more begins beyond its half"
    for _ in range(5):
        world.step(Step("end", "a"))
        world.step(Step("begin", "a"))
    for pool in "ab":
        world.beat(pool)
    assert (world.cap["a"], world.cap["b"]) == (3, 3)


def test_a_pool_that_never_rests_gives_back_all_the_same() -> None:
    """Each of its calls that ends could be followed by another one at once: beyond its half none is."""
    world = World(4)
    world.step(Step("wish", "a", 99))
    world.beat("a")
    for _ in range(4):
        world.step(Step("begin", "a"))
    world.step(Step("wish", "b", 99))
    for _ in range(3):
        world.beat("b")
        world.beat("a")
        world.step(Step("end", "a"))
        for pool in "aaaabbbb":
            world.step(Step("begin", pool))
        world.check()

    world.beat("b")
    for _ in range(4):
        world.step(Step("begin", "b"))
    assert (world.running["a"], world.running["b"]) == (2, 2)


def test_a_smaller_word_of_the_total_holds_for_all() -> None:
    """Pools that say four and eight have four together; who holds more gives it back as its calls end."""
    claims = {"a": Claim(total=8, held=8, used=6, wanted=8), "b": Claim(total=4, wanted=4)}

    assert part("a", claims) == (6, 2)
    assert part("b", claims) == (0, 0)
    claims["a"] = Claim(total=8, held=3, used=3, wanted=8)
    assert part("b", claims) == (1, 1)
    assert part("a", {"a": Claim(total=3, wanted=9)}) == (3, 3)


def test_calls_that_run_beyond_a_part_leave_no_room_to_others() -> None:
    """A leader that comes back finds calls of before its row ended: what runs counts, whatever is held."""
    claims = {"a": Claim(total=4, held=0, used=3, wanted=3), "b": Claim(total=4, wanted=4)}

    assert part("b", claims) == (1, 1)


@given(
    st.integers(0, 12),
    st.dictionaries(st.sampled_from("xyz"), st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1),
)
def test_a_part_is_spread_over_endpoints_of_one_server(held: int, ends: dict[str, tuple[int, int]]) -> None:
    """Together they have just the part, and each keeps what it uses where that is possible."""
    claims = {name: Claim(total=12, used=used, wanted=used + more) for name, (used, more) in ends.items()}
    got = spread(held, claims)

    assert sum(got.values()) == held
    if sum(claim.used for claim in claims.values()) <= held:
        assert all(got[name] >= claim.used for name, claim in claims.items())
    else:
        assert all(got[name] <= claim.used for name, claim in claims.items()), "one begins more while others give back"


def test_wishes_fade() -> None:
    """A pause of one beat gives half away, not all; a new wish counts at once."""
    assert [lasting(0, 8), lasting(0, 1), lasting(9, 8), lasting(5, 8)] == [4, 0, 9, 5]
    assert partners(["b", "a", "c"], "b") == ("a", "c")
