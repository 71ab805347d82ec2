"""Money of attempts: held with the assignment, charged at the end, and a limit that is reached makes work wait."""

import pytest
from msgspec.structs import replace

from ostler.budget.windows import LATEST_MS
from ostler.domain.commands import Reserve
from ostler.domain.ledger import Amount, Basis, EntryKind, LedgerEntry, Scopes, Span
from ostler.domain.limits import BudgetPolicy, Limit, Price, ScopeKind, UnknownPrice, Window, WindowKind
from ostler.domain.policy import Policy
from ostler.domain.states import FailureClass, TaskState, WaitCode
from ostler.domain.tasks import Complexity, Usage
from ostler.scheduling import signals as sig
from ostler.scheduling.purse import RETRY_MS
from tests.scheduling.rig import Rig, cloud, local, three_tiers

ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)
CLAUDE = Price(input=3.0, output=15.0)
ESTIMATE = 4 * 3 + 400 * 15
"""`say something` and an answer of the usual length, in micro-dollars."""


def rig(*limits: Limit, unknown: UnknownPrice = UnknownPrice.CONSERVATIVE, priced: bool = True) -> Rig:
    """A fleet with one local host and one cloud."""
    budget = BudgetPolicy(limits=limits, prices={"claude": CLAUDE} if priced else {}, unknown_price=unknown)
    base = three_tiers()
    policy: Policy = replace(
        base, budget=budget, scheduler=replace(base.scheduler, heartbeat_ms=10**10, session_dead_ms=10**11)
    )
    made = Rig(policy)
    made.worker()
    made.up(local("box"))
    made.up(cloud(), models=("claude",))
    return made


def month(hard: int) -> Limit:
    return Limit(name="month", hard=hard)


def money(made: Rig) -> tuple[int, int]:
    """Micro-dollars used and held."""
    spent = made.ledger.spent(ALL)
    return spent.used.micro_usd, spent.held.micro_usd


def last(made: Rig) -> LedgerEntry:
    return made.ledger.entries[-1]


def test_a_paid_attempt_holds_its_estimate_until_it_is_charged() -> None:
    """Held with the assignment, for the scopes it runs in; charged what it counted, caches apart."""
    made = rig(month(1_000_000))
    task = made.chat("t", Complexity.COMPLEX, session="s1", batch="b1")

    assert money(made) == (0, ESTIMATE)
    scopes = last(made).scopes
    assert (scopes.provider, scopes.tier, scopes.model, scopes.endpoint) == (
        "anthropic",
        "complex",
        "claude",
        "anthropic",
    )
    assert (scopes.task, scopes.session, scopes.batch) == ("t", "s1", "b1")

    made.finish(task, usage=Usage(input_tokens=1_000, cached_tokens=400, output_tokens=100))

    assert money(made) == (1_000 * 3 + 100 * 15, 0)
    assert (last(made).basis, last(made).amount.cache_read_tokens) == (Basis.PRICED, 400)


def test_an_agent_holds_nothing_itself() -> None:
    """Each of its calls holds and pays its own, under the task: counted here as well, it would be paid twice."""
    made = rig(month(1_000_000))
    task = made.chat("t", Complexity.COMPLEX, kind="agent")
    assert made.rows[task].endpoint == "anthropic"
    assert money(made) == (0, 0)

    made.finish(task, usage=Usage(input_tokens=1_000, output_tokens=100))

    lost = made.chat("lost", Complexity.COMPLEX, kind="agent")
    made.tell(sig.WorkerLeft(session_id=made.rows[lost].session or ""))
    assert money(made) == (0, 0)
    assert made.ledger.entries == []


def test_local_work_holds_nothing() -> None:
    """Nor does a command: a limit of nothing does not stop them."""
    made = rig(month(0))
    made.finish(made.chat("t"), usage=Usage(input_tokens=10, output_tokens=5))
    made.finish(made.command("c"))

    assert made.ledger.entries == []
    assert made.state("t") is TaskState.SUCCEEDED


def test_a_limit_that_would_be_passed_makes_the_task_wait_and_nothing_is_held() -> None:
    """It says which limit and how much is left; its slot is free; it runs when another ends cheaper."""
    made = rig(month(ESTIMATE + 100))
    first = made.chat("first", tier="complex")
    second = made.chat("second", tier="complex")

    assert (made.state(first), made.state(second)) == (TaskState.ASSIGNED, TaskState.QUEUED)
    wait = made.rows[second].wait
    assert wait is not None
    assert wait.code.value == "budget"
    assert wait.detail.startswith(
        "claude on anthropic costs money, and limit month of $0.006112 would be passed; free again"
    )
    assert wait.next_check_ms == made.now_ms + RETRY_MS
    assert money(made) == (0, ESTIMATE)
    assert made.scheduler.books.in_flight == {"anthropic": 1}

    made.finish(first, usage=Usage(input_tokens=4, output_tokens=1))
    made.pass_ms(RETRY_MS)

    assert made.state(second) is TaskState.ASSIGNED
    assert money(made)[0] == 4 * 3 + 15


def test_a_task_that_waits_for_money_is_free_in_the_next_window() -> None:
    """Without a restart: a day that is used up is over at midnight, and not a moment later is it looked at again."""
    made = rig(Limit(name="day", window=Window(kind=WindowKind.DAY), hard=ESTIMATE))
    first = made.chat("first", Complexity.COMPLEX)
    made.finish(first, usage=Usage(input_tokens=1_000, output_tokens=400))
    midnight_ms = made.now_ms - made.now_ms % 86_400_000 + 86_400_000
    made.pass_ms(midnight_ms - made.now_ms - 10_000)
    second = made.chat("second", tier="complex")
    assert made.wait_code(second) == "budget"
    wait = made.rows[second].wait
    assert wait is not None
    assert wait.next_check_ms == midnight_ms

    made.pass_ms(10_000)

    assert made.state(second) is TaskState.ASSIGNED


def test_critical_work_runs_up_to_its_own_ceiling() -> None:
    """Where other work waits."""
    made = rig(Limit(name="month", hard=100, critical=2 * ESTIMATE))

    assert made.state(made.chat("plain", tier="complex")) is TaskState.QUEUED
    assert made.state(made.chat("urgent", tier="complex", critical=True)) is TaskState.ASSIGNED


def test_a_session_has_a_limit_of_its_own() -> None:
    """A full one stops its tasks, and no others."""
    made = rig(Limit(name="session", scope=ScopeKind.SESSION, window=Window(kind=WindowKind.NONE), hard=ESTIMATE))
    made.chat("a", Complexity.COMPLEX, session="s1")

    assert made.state(made.chat("b", tier="complex", session="s1")) is TaskState.QUEUED
    assert made.state(made.chat("c", tier="complex", session="s2")) is TaskState.ASSIGNED


def test_a_tick_has_a_limit_of_its_own_within_its_session() -> None:
    """An estimate that comes to exactly the cap runs; the same tick then has nothing left; another tick, or a tick of
    the same name in another session, has its own.
    """
    made = rig(Limit(name="tick", scope=ScopeKind.TICK, window=Window(kind=WindowKind.NONE), hard=ESTIMATE))
    made.chat("exact", Complexity.COMPLEX, session="loop", tick="1")

    assert made.state("exact") is TaskState.ASSIGNED
    assert last(made).scopes.tick == "loop/1"
    assert made.state(made.chat("more", tier="complex", session="loop", tick="1")) is TaskState.QUEUED
    wait = made.rows["more"].wait
    assert wait is not None
    assert (wait.code, "limit tick of tick loop/1" in wait.detail) == (WaitCode.BUDGET, True)
    assert made.state(made.chat("next", tier="complex", session="loop", tick="2")) is TaskState.ASSIGNED
    assert made.state(made.chat("other", tier="complex", session="other", tick="1")) is TaskState.ASSIGNED
    assert made.state(made.chat("none", tier="complex")) is TaskState.ASSIGNED


def test_an_estimate_above_the_cap_of_a_tick_blocks_it_by_a_micro_dollar() -> None:
    """Nothing was spent in the tick, and nothing ever will be above its cap."""
    made = rig(Limit(name="tick", scope=ScopeKind.TICK, window=Window(kind=WindowKind.NONE), hard=ESTIMATE - 1))

    assert made.state(made.chat("t", tier="complex", session="loop", tick="1")) is TaskState.QUEUED
    assert money(made) == (0, 0)


def test_a_call_that_was_turned_away_costs_nothing() -> None:
    """And one that broke without a count is taken to have cost what it held, and says so."""
    for failure, charged, ambiguous in (
        (FailureClass.RATE_LIMIT, 0, False),
        (FailureClass.AUTH, 0, False),
        (FailureClass.CUT, ESTIMATE, True),
        (FailureClass.TIMEOUT, ESTIMATE, True),
    ):
        made = rig(month(1_000_000))
        task = made.chat("t", Complexity.COMPLEX)
        made.finish(task, failure)
        end = made.ledger.entries[1]

        assert (end.amount.micro_usd, end.ambiguous) == (charged, ambiguous), failure
        assert end.kind is (EntryKind.SETTLE if charged else EntryKind.RELEASE)


def test_an_attempt_that_is_taken_back_is_kept_as_ambiguous() -> None:
    """Its worker was lost: nobody knows what it spent. The next attempt holds for itself."""
    made = rig(month(1_000_000))
    task = made.chat("t", Complexity.COMPLEX)
    session = made.rows[task].session
    assert session is not None
    made.start(task)

    made.tell(sig.WorkerLeft(session_id=session))

    assert money(made) == (ESTIMATE, 0)
    assert last(made).ambiguous
    made.worker("w2")
    made.pass_ms(10_000)
    assert made.state(task) is TaskState.ASSIGNED
    assert money(made) == (ESTIMATE, ESTIMATE)
    assert last(made).attempt == f"t/{made.rows[task].generation}"


def test_an_unknown_price_is_held_at_the_conservative_one_or_refused() -> None:
    """By setting; a refusal says what is missing, and holds no slot."""
    made = rig(month(10_000_000), priced=False)
    made.chat("t", Complexity.COMPLEX)
    assert money(made) == (0, 4 * 15 + 400 * 75)
    assert last(made).basis is Basis.UNKNOWN

    strict = rig(month(10_000_000), priced=False, unknown=UnknownPrice.REFUSE)
    task = strict.chat("t", tier="complex")
    wait = strict.rows[task].wait
    assert wait is not None
    assert (strict.state(task), wait.code.value) == (TaskState.QUEUED, "budget")
    assert wait.detail.startswith("claude on anthropic may not be used: no price is known of claude")
    assert strict.ledger.entries == []


def test_an_attempt_says_what_type_of_work_it_was() -> None:
    """In its reservation and at its end, so that lengths are learned by type after a restart too."""
    made = rig(month(1_000_000))
    made.finish(made.chat("t", tier="complex", task_type="coding"), usage=Usage(input_tokens=1, output_tokens=1))

    assert [entry.task_type for entry in made.ledger.entries] == ["coding", "coding"]


def test_where_one_price_is_unknown_another_place_is_looked_for() -> None:
    """A sibling of the tier with a price, else what costs nothing; only who names the place waits."""
    made = rig(month(10_000_000), priced=False, unknown=UnknownPrice.REFUSE)
    made.chat("below", Complexity.COMPLEX)
    assert (made.rows["below"].endpoint, made.rows["below"].tier) == ("box", "standard")

    budget = replace(made.policy.budget, prices={"sibling": CLAUDE})
    tiers = tuple(
        replace(tier, models=("claude", "sibling")) if tier.name == "complex" else tier
        for tier in made.policy.catalog.tiers
    )
    made.policy = replace(made.policy, budget=budget, catalog=replace(made.policy.catalog, tiers=tiers))
    made.tell(sig.PolicyChanged(policy=made.policy))
    made.up(replace(cloud("other"), models=("sibling",)), models=("sibling",))
    made.chat("t", Complexity.COMPLEX)

    assert (made.rows["t"].endpoint, made.rows["t"].model) == ("other", "sibling")
    decision = made.sent[-1].command.decision
    assert decision is not None
    lost = {one.model: one.detail for one in decision.candidates if one.rejection}
    assert "no price is known of claude" in lost["claude"]


def test_many_tasks_never_hold_more_than_a_limit_allows() -> None:
    """Eight tasks, room for three in an hour: at no moment more is used and held, and all of them end."""
    made = rig(Limit(name="hour", window=Window(kind=WindowKind.HOUR), hard=3 * ESTIMATE))
    names = [made.chat(f"t{n}", tier="complex", ttl_ms=0) for n in range(8)]
    for _ in range(600):
        used, held = money(made)
        hour = made.ledger.spent(
            Span(scope=ScopeKind.ALL, start_ms=made.now_ms - made.now_ms % 3_600_000, end_ms=LATEST_MS)
        )
        assert hour.used.micro_usd + hour.held.micro_usd <= 3 * ESTIMATE
        for name in names:
            if made.state(name) is TaskState.ASSIGNED:
                made.finish(name, usage=Usage(input_tokens=4, output_tokens=400))
        made.pass_ms(20_000)
        if all(made.state(name) is TaskState.SUCCEEDED for name in names):
            break

    assert [name for name in names if made.state(name) is not TaskState.SUCCEEDED] == []
    used, held = money(made)
    assert (used, held) == (8 * ESTIMATE, 0)


def test_work_that_a_limit_keeps_from_its_tier_runs_where_it_costs_nothing() -> None:
    """Below its minimum, as the record says; critical work keeps its tier."""
    made = rig(Limit(name="month", hard=ESTIMATE - 1, critical=10 * ESTIMATE))
    plain = made.chat("plain", Complexity.COMPLEX)
    urgent = made.chat("urgent", Complexity.COMPLEX, critical=True)

    assert (made.rows[plain].endpoint, made.rows[urgent].endpoint) == ("box", "anthropic")
    decision = made.sent[0].command.decision
    assert decision is not None
    assert [step.cause.value for step in decision.adjustments][-1] == "budget"
    assert "standard is below the minimum complex" in decision.adjustments[-1].reason
    assert decision.budget.startswith("limit month (exhausted)")


def test_a_class_that_waits_for_a_used_up_limit_is_decided_for_once_when_it_moves() -> None:
    """Twenty tasks behind a day that is used up: nobody looks at them until midnight, then they run."""
    made = rig(Limit(name="day", window=Window(kind=WindowKind.DAY), hard=ESTIMATE))
    made.finish(made.chat("first", tier="complex"), usage=Usage(input_tokens=1_000, output_tokens=400))
    names = [made.chat(f"t{n}", tier="complex", ttl_ms=0) for n in range(20)]
    looks = len([task for task in made.rows.values() if task.wait is not None])
    assert [made.wait_code(name) for name in names] == ["budget"] * 20
    assert looks == 20
    midnight_ms = made.now_ms - made.now_ms % 86_400_000 + 86_400_000
    due_ms = made.scheduler.next_wake_ms()
    assert due_ms == midnight_ms, "somebody wants to look before the limit moves"

    made.pass_ms(midnight_ms - made.now_ms)

    assert [made.state(name) for name in names].count(TaskState.ASSIGNED) == 1


def test_a_task_that_is_too_dear_for_what_is_left_does_not_stop_a_cheaper_one_behind_it() -> None:
    """Nothing affordable is refused: the dear one waits by itself."""
    made = rig(month(ESTIMATE))
    dear = made.chat("dear", tier="complex", prompt="x" * 40_000)
    cheap = made.chat("cheap", tier="complex")

    assert (made.state(dear), made.state(cheap)) == (TaskState.QUEUED, TaskState.ASSIGNED)
    assert made.wait_code(dear) == "budget"


@pytest.mark.parametrize("alone", [True, False])
def test_a_task_that_waits_for_money_has_a_time_to_live(alone: bool) -> None:
    """It could run but for a limit: by itself or with its class, it expires with that reason, and not before. Looks at
    it in between give it no new time.
    """
    made = rig(month(ESTIMATE if alone else 1))
    ttl_ms = 4 * RETRY_MS + 10_000
    dear = made.chat("dear", tier="complex", prompt="x" * 40_000, ttl_ms=ttl_ms)
    for _ in range(4):
        made.pass_ms(RETRY_MS)
        assert made.state(dear) is TaskState.QUEUED
    made.pass_ms(9_999)
    assert made.wait_code(dear) == "budget"

    made.pass_ms(1)

    failure = made.rows[dear].failure
    assert made.state(dear) is TaskState.EXPIRED
    assert failure is not None
    assert "last reason: budget" in failure.message


def test_a_task_that_the_store_refuses_for_a_limit_has_a_time_to_live_too() -> None:
    """Another hub, or a charge of which this one had not heard, had used the limit up."""
    made = rig(month(10**9))
    elsewhere = Amount(micro_usd=10**9)
    made.ledger.apply(
        Reserve(attempt="else/1", at_ms=made.now_ms, amount=elsewhere, basis=Basis.ESTIMATED, scopes=Scopes())
    )
    dear = made.chat("dear", tier="complex", ttl_ms=RETRY_MS + 5_000)
    assert made.wait_code(dear) == "budget"

    made.pass_ms(RETRY_MS + 5_000)

    assert made.state(dear) is TaskState.EXPIRED


def test_room_that_an_end_makes_is_used_at_once() -> None:
    """A limit that is full of what others hold: the end of one, below what it held, lets the next one go."""
    made = rig(month(ESTIMATE))
    first, second = made.chat("first", tier="complex"), made.chat("second", tier="complex")
    assert made.wait_code(second) == "budget"

    made.finish(first, FailureClass.AUTH)
    made.up(cloud(), models=("claude",))
    made.tell(sig.EndpointReset(name="anthropic"))

    assert made.state(second) is TaskState.ASSIGNED


def test_what_is_held_follows_the_answers_that_were_seen() -> None:
    """Ten short answers of a model: the next attempt holds for a short one, not for the usual 400 tokens."""
    made = rig(month(10**9))
    for number in range(10):
        made.finish(made.chat(f"t{number}", tier="complex"), usage=Usage(input_tokens=4, output_tokens=50))
    made.chat("next", tier="complex")

    assert money(made)[1] == 4 * 3 + 54 * 15, "the upper edge of the bin of 50"


def test_answers_that_broke_or_were_not_counted_teach_nothing() -> None:
    """Nor do those of local models, which hold nothing."""
    made = rig(month(10**9))
    for number in range(12):
        counted = Usage(input_tokens=4, output_tokens=5, estimated=number % 2 == 0)
        made.finish(
            made.chat(f"t{number}", tier="complex"), None if counted.estimated else FailureClass.REFUSAL, usage=counted
        )
        made.finish(made.chat(f"l{number}", tier="standard"), usage=Usage(input_tokens=4, output_tokens=5))

    assert dict(made.scheduler.books.answers.expected) == {}


def test_a_crossing_is_told_once() -> None:
    """Soft, then hard, each once in a window however many attempts follow; the next window begins untold."""
    day = Limit(name="day", window=Window(kind=WindowKind.DAY), soft=ESTIMATE, hard=2 * ESTIMATE)
    made = rig(day)

    def alerts() -> list[tuple[object, object]]:
        found = [event for event in made.events if event.name == "alert.budget"]
        return [(event.metadata["level"], event.metadata["held"]) for event in found]

    for number in range(3):
        name = made.chat(f"t{number}", tier="complex", ttl_ms=0)
        if made.state(name) is TaskState.ASSIGNED:
            made.finish(name, usage=Usage(input_tokens=4, output_tokens=400))
    assert alerts() == [("degraded", "$0.006012"), ("exhausted", "$0.006012")]

    made.pass_ms(86_400_000 - made.now_ms % 86_400_000 + 1)
    assert alerts()[2:] == [("degraded", "$0.006012")]
