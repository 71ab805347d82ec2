"""Parts of limits that pools have together, as the scheduler is told of them: nothing passes the own part."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import Reserve
from ostler.domain.decision import Short
from ostler.domain.ledger import Amount, Basis, Bound, Scopes, Span
from ostler.domain.limits import BudgetPolicy, Limit, PartKey, PoolPart, Price, ScopeKind, Unit, Window, WindowKind
from ostler.domain.states import TaskState, WaitCode
from ostler.domain.tasks import Complexity, Usage
from ostler.scheduling import signals as sig
from ostler.scheduling.live import PART_WAIT_MS
from ostler.scheduling.parts import ASIDE_KEPT, SHORT_MS, Parts, key_of
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import cloud, local, three_tiers

EVER = Window(kind=WindowKind.NONE)
CALLS = Limit(name="calls", window=EVER, unit=Unit.REQUESTS, hard=10)
KEY = PartKey("calls", "", 0)
EVER_SPAN = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)


def part(most: int | None, *, total: int | None = 10, spent: int = 0, kept: int = 0, pool: str = "lab") -> PoolPart:
    return PoolPart(most=most, total=total, spent=spent, kept=kept, pools=(pool,))


def told(rig: LiveRig, *parts: PoolPart) -> None:
    rig.tell(sig.PartsTold(parts=dict.fromkeys((KEY,), *parts) if parts else {}))


def rig(*limits: Limit) -> LiveRig:
    """A cloud and a local host, and a pool that was told of no part yet."""
    budget = BudgetPolicy(limits=limits or (CALLS,), prices={"claude": Price(input=3.0, output=15.0)})
    base = three_tiers()
    quiet = replace(base.scheduler, heartbeat_ms=10**10, session_dead_ms=10**11)
    made = LiveRig(replace(base, budget=budget, scheduler=quiet))
    told(made)
    made.worker(chat=9)
    made.up(local("box", slots=64))
    made.up(cloud(slots=64), models=("claude",))
    return made


def running(made: LiveRig) -> int:
    return made.scheduler.books.in_flight.get("anthropic", 0)


def dear(made: LiveRig, *names: str) -> None:
    for name in names:
        made.chat(name, Complexity.COMPLEX, tier="complex")


def test_work_takes_no_more_than_the_part_and_all_of_what_it_grows_by() -> None:
    """Tasks wait for the rest together, and are let go when there is more of it; what shrank lets nothing through."""
    made = rig()
    dear(made, "t1", "t2", "t3", "t4")
    assert running(made) == 0

    told(made, part(2, kept=8))
    assert running(made) == 2
    wait = made.scheduler.wait_of("t3")
    assert wait is not None
    assert wait.code is WaitCode.BUDGET
    assert "limit calls of 10 requests leaves too little here: pool lab holds 8 requests of it" in wait.detail

    told(made, part(3, kept=7))
    assert running(made) == 3
    told(made, part(2, kept=8))
    made.finish("t1", usage=Usage(input_tokens=1, output_tokens=1))
    assert (running(made), made.state("t4")) == (2, TaskState.QUEUED)

    made.tell(sig.PartsTold(parts=None))
    assert made.state("t4") is TaskState.ASSIGNED


def test_the_store_is_asked_to_keep_to_the_part() -> None:
    """What is reserved is bound by the smaller one of limit and part, and a refusal says that it is a part."""
    made = rig()
    told(made, part(2, kept=8))
    made.call("c", tier="complex")
    said = made.ledger.apply(
        Reserve(
            attempt="other",
            at_ms=made.now_ms,
            amount=Amount(),
            basis=Basis.PRICED,
            scopes=Scopes(),
            bounds=(
                Bound(
                    limit="calls",
                    span=Span(scope=ScopeKind.ALL, start_ms=0, end_ms=2**52),
                    unit=Unit.REQUESTS,
                    ceiling=1,
                    shared=True,
                ),
            ),
        )
    )

    assert "0 left of 1, this pool's part," in said.message
    assert running(made) == 1


def test_what_other_pools_spent_counts_for_the_whole() -> None:
    """A limit that all have reached together is reached, and its smallest word holds; a call is denied at once then."""
    made = rig()
    told(made, part(4, total=8, spent=4))
    for number in range(4):
        made.call(f"c{number}", tier="complex")
    made.call("more", tier="complex")

    assert running(made) == 4
    assert "limit calls of 8 requests is reached" in made.denied["more"].wait.detail


def test_a_soft_value_is_about_all_pools() -> None:
    """Who leaves the choice open goes down a tier when all have come to it together, and people are told once."""
    limit = Limit(name="calls", window=EVER, unit=Unit.REQUESTS, soft=5)
    made = rig(limit)
    told(made, part(None, total=None, spent=4))
    made.chat("t1", Complexity.COMPLEX)
    assert made.rows["t1"].endpoint == "anthropic"
    told(made, part(None, total=None, spent=5))
    made.chat("t2", Complexity.COMPLEX)

    assert made.rows["t2"].endpoint == "box"
    alerts = [event.metadata for event in made.events if event.name == "alert.budget"]
    assert [(one["level"], one["limit"]) for one in alerts] == [("degraded", "calls")]


def test_others_that_reach_a_limit_are_told_of() -> None:
    """Also while nothing is spent here, once; what is reached when a leader begins was told of before."""
    made = rig()
    told(made, part(1, spent=9))
    told(made, part(0, spent=10))
    told(made, part(0, spent=10))
    assert [event.metadata["used"] for event in made.events if event.name == "alert.budget"] == ["10 requests"]

    again = rig()
    told(again, part(0, spent=10))
    assert not [event for event in again.events if event.name == "alert.budget"]


def test_an_empty_part_is_no_limit_that_is_reached() -> None:
    """Other pools hold all of it and have spent nothing: nobody is alarmed."""
    made = rig()
    told(made, part(0, kept=10))

    assert not [event for event in made.events if event.name == "alert.budget"]


def test_a_call_waits_for_what_other_pools_give_back_and_not_for_ever() -> None:
    """It begins as soon as there is more; else it is told a little later to come again soon."""
    made = rig()
    told(made, part(0, kept=10))
    made.call("c1", tier="complex")
    assert set(made.offered) == {"c1"}
    assert made.scheduler.books.parts.short_of("calls", "", made.now_ms) == 1
    told(made, part(1, kept=9))
    assert set(made.running) == {"c1"}

    made.call("c2", tier="complex")
    made.pass_ms(PART_WAIT_MS + 1)
    assert made.denied["c2"].wait.code is WaitCode.BUDGET
    assert made.denied["c2"].retry_after_ms == 2_000


def test_nobody_waits_for_a_pool_that_does_not_run() -> None:
    """Only its next leader gives its part back, and nobody knows when that is: a call is denied at once."""
    made = rig()
    made.tell(sig.PartsTold(parts={KEY: PoolPart(most=0, total=10, kept=10, asleep=10, pools=("lab",))}))
    made.call("c", tier="complex")

    assert "pool lab holds 10 requests of it, 10 requests where no hub runs" in made.denied["c"].wait.detail
    assert made.scheduler.books.parts.short_of("calls", "", made.now_ms) == 0


def test_who_goes_elsewhere_for_want_of_a_part_says_so_too() -> None:
    """Work that leaves the choice open runs on an own machine meanwhile, and the pool asks for more all the same."""
    made = rig()
    told(made, part(0, kept=10))
    made.call("c1", complexity=Complexity.COMPLEX)

    assert made.running["c1"].endpoint == "box"
    assert made.scheduler.books.parts.short_of("calls", "", made.now_ms) == 1


def test_a_task_that_waits_by_itself_is_looked_at_when_a_part_grows() -> None:
    """Not half a minute later; cheaper work of its class went on meanwhile."""
    money = Limit(name="calls", window=EVER, hard=1_000_000)
    made = rig(money)
    told(made, part(20_000, total=1_000_000, kept=980_000))
    made.chat("big", Complexity.COMPLEX, tier="complex", prompt="word " * 10_000)
    made.chat("small", Complexity.COMPLEX, tier="complex")
    assert (made.state("big"), made.state("small")) == (TaskState.QUEUED, TaskState.ASSIGNED)

    told(made, part(100_000, total=1_000_000, kept=900_000))
    assert made.state("big") is TaskState.ASSIGNED


@pytest.mark.parametrize("scope", [ScopeKind.SESSION, ScopeKind.BATCH, ScopeKind.TASK, ScopeKind.TICK, ScopeKind.KEY])
def test_what_is_of_one_pool_is_not_divided(scope: ScopeKind) -> None:
    """Sessions, batches, tasks, ticks and keys of two pools are others, whatever their names."""
    parts = Parts()
    parts.tell({})
    assert parts.of(Limit(name="own", scope=scope, hard=1), "x", 0, False) is None
    assert parts.of(CALLS, "", 0, False) == PoolPart(most=0)


happenings = st.lists(
    st.tuples(st.sampled_from(["call", "call", "task", "end", "part"]), st.integers(0, 12)), max_size=40
)


@given(happenings)
@settings(max_examples=60, deadline=None)
def test_calls_and_tasks_take_what_the_part_says_no_more_and_no_less(done: list[tuple[str, int]]) -> None:
    """Whatever comes in which order: as many begin as the part lets through, and who is left waits for more of it."""
    made = rig(replace(CALLS, hard=100))
    made.worker(chat=99)
    spent, asked, most = 0, 0, 0
    told(made, part(0, total=100, kept=90))
    for number, (kind, amount) in enumerate(done):
        if kind == "call":
            made.call(f"c{number}", tier="complex")
            asked += 1
        elif kind == "task":
            dear(made, f"t{number}")
            asked += 1
        elif kind == "end" and made.running:
            made.end_call(next(iter(made.running)), usage=Usage(input_tokens=1, output_tokens=1))
        elif kind == "part":
            most = amount
            told(made, part(most, total=100, kept=90))
        begun = max(0, min(most - spent, asked))
        spent, asked = spent + begun, asked - begun
        assert made.scheduler.books.money.spent(EVER_SPAN).total(Unit.REQUESTS) == spent
        assert not made.denied


def test_who_waits_is_looked_at_when_others_have_something_to_give_again() -> None:
    """A pool that did not run is led again: whoever waited in vain asks for some of what it keeps."""
    made = rig()
    lab = PoolPart(most=0, total=10, kept=10, asleep=10, pools=("lab",))
    made.tell(sig.PartsTold(parts={KEY: lab}))
    dear(made, "t")
    assert made.scheduler.books.parts.short_of("calls", "", made.now_ms, somebody_waits=True) == 0

    made.tell(sig.PartsTold(parts={KEY: replace(lab, asleep=0)}))
    assert made.scheduler.books.parts.short_of("calls", "", made.now_ms) == 1


def test_only_the_newest_that_wait_by_themselves_are_remembered() -> None:
    """The others are looked at when their own time comes."""
    parts = Parts()
    for number in range(ASIDE_KEPT + 1):
        parts.set_aside(f"t{number}")
    assert parts.take_aside() == tuple(f"t{number}" for number in range(1, ASIDE_KEPT + 1))
    assert parts.take_aside() == ()


def test_parts_are_named_by_window_and_ceiling() -> None:
    """A window that rolls has one name; the ceiling of critical work has its own where it is another one."""
    rolling = Limit(name="r", window=Window(kind=WindowKind.ROLLING, hours=2), hard=1, critical=1)
    apart = Limit(name="c", hard=1, critical=2)

    assert key_of(rolling, "", 900_000, critical=True) == PartKey("r", "", 0)
    assert key_of(apart, "x", 900_000, critical=True) == PartKey("c", "x", 900_000, critical=True)
    assert key_of(apart, "x", 900_000, critical=False) == PartKey("c", "x", 900_000)


def test_notes_of_what_found_too_little() -> None:
    """The smallest of those that wait; over after a while, or when something was reserved."""
    parts = Parts()
    parts.tell({})
    parts.found_too_little([Short("calls", "", 5), Short("calls", "", 3)], 1_000)
    parts.found_too_little([Short("calls", "", 4)], 2_000)
    assert parts.short_of("calls", "", 2_000) == 3
    assert parts.short_of("calls", "", 2_000 + SHORT_MS) == 0
    assert parts.short_of("calls", "", 2_000 + SHORT_MS, somebody_waits=True) == 3

    bound = Bound(limit="calls", span=Span(scope=ScopeKind.ALL, start_ms=0, end_ms=1), unit=Unit.REQUESTS, ceiling=9)
    held = Reserve(
        attempt="a", at_ms=3_000, amount=Amount(requests=2), basis=Basis.PRICED, scopes=Scopes(), bounds=(bound,)
    )
    parts.reserved(held)
    parts.reserved(replace(held, attempt="b", amount=Amount(requests=1)))
    assert parts.short_of("calls", "", 3_000) == 0
    assert parts.largest("calls", "", 3_000) == 2
    assert parts.largest("calls", "", 3_000 + SHORT_MS) == 0
