"""Money of live calls: held before they are sent, charged once at their end; what costs nothing holds nothing."""

import random

import pytest
from msgspec.structs import replace

from ostler.budget.windows import LATEST_MS
from ostler.domain.ledger import Basis, EntryKind, Span
from ostler.domain.limits import BudgetPolicy, Limit, Price, ScopeKind, UnknownPrice, Window, WindowKind
from ostler.domain.states import FailureClass, WaitCode
from ostler.domain.tasks import Complexity, Usage
from ostler.scheduling import signals as sig
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import cloud, local, three_tiers

ALL = Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)
ESTIMATE = 100 * 3 + 100 * 15
"""Of a call of the rig, in micro-dollars."""
EVER = Window(kind=WindowKind.NONE)


def rig(*limits: Limit, unknown: UnknownPrice = UnknownPrice.CONSERVATIVE, priced: bool = True) -> LiveRig:
    prices = {"claude": Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)} if priced else {}
    made = LiveRig(replace(three_tiers(), budget=BudgetPolicy(limits=limits, prices=prices, unknown_price=unknown)))
    made.up(local("box", slots=64))
    made.up(cloud(slots=64), models=("claude",))
    return made


def of_key(name: str, hard: int) -> tuple[Limit, ...]:
    return (Limit(name="key", scope=ScopeKind.KEY, of=name, window=EVER, hard=hard),)


def money(made: LiveRig) -> tuple[int, int]:
    spent = made.ledger.spent(ALL)
    assert made.scheduler.books.money.spent(ALL) == spent, "the mirror says something else"
    return spent.used.micro_usd, spent.held.micro_usd


def test_a_paid_call_holds_its_estimate_and_is_charged_what_it_took() -> None:
    """Caches at their own prices; the key is charged."""
    made = rig()
    made.call("c1", tier="complex", key="ci")
    assert money(made) == (0, ESTIMATE)
    assert made.ledger.entries[0].scopes.key == "ci"
    assert made.ledger.entries[0].attempt == "c1/1"

    usage = Usage(input_tokens=1_000, cached_tokens=400, output_tokens=50)
    made.end_call("c1", usage=usage, cache_write_tokens=200)

    assert money(made) == (400 * 3 + 400 * 3 // 10 + 200 * 375 // 100 + 50 * 15, 0)
    end = made.ledger.entries[-1]
    assert (end.basis, end.amount.input_tokens, end.amount.cache_write_tokens) == (Basis.PRICED, 400, 200)


def test_a_call_of_an_agent_is_charged_to_its_task() -> None:
    """The key of an attempt names the task: the ledger has both."""
    made = rig()
    made.call("c1", tier="complex", key="agent/t1.1", task="t1")

    made.end_call("c1", usage=Usage(input_tokens=10, output_tokens=5))

    assert {(entry.scopes.key, entry.scopes.task) for entry in made.ledger.entries} == {("agent/t1.1", "t1")}


def test_the_calls_of_an_agent_spend_what_its_task_may() -> None:
    """Charged to the session, tick and batch of the task while it runs: what is left of its tick holds for them, and
    for no call of another tick.
    """
    made = rig(Limit(name="tick", scope=ScopeKind.TICK, window=EVER, hard=ESTIMATE))
    made.worker()
    for tick in ("1", "2"):
        made.chat(f"t{tick}", kind="agent", tier="complex", session="loop", tick=tick, batch="b")

    for name, task in (("c1", "t1"), ("c2", "t1"), ("c3", "t2"), ("c4", "gone")):
        made.call(name, tier="complex", key=f"agent/{task}.1", task=task)

    first = made.ledger.entries[0].scopes
    assert (first.task, first.session, first.tick, first.batch) == ("t1", "loop", "loop/1", "b")
    assert set(made.running) == {"c1", "c3", "c4"}
    assert "limit tick of tick loop/1" in made.denied["c2"].wait.detail
    assert made.ledger.entries[-1].scopes == replace(
        first, task="gone", session="", tick="", batch="", key="agent/gone.1"
    )


def test_calls_of_a_critical_agent_are_critical() -> None:
    """They do not see the soft value, and go up to the ceiling of critical work."""
    made = rig(Limit(name="month", soft=0, hard=0, critical=ESTIMATE))
    made.worker()
    made.chat("t", kind="agent", tier="complex", critical=True)

    made.call("c1", tier="complex", task="t", key="k")
    made.call("c2", tier="complex", key="k")

    assert list(made.running) == ["c1"]
    assert made.denied["c2"].wait.code is WaitCode.BUDGET


def test_who_waits_for_a_slot_is_told_apart_by_the_limits_that_count_him() -> None:
    """A key with nothing left waits for a slot of the user's own machine; another one does not wait behind it."""
    made = rig(Limit(name="key", scope=ScopeKind.KEY, window=EVER, hard=ESTIMATE))
    made.call("first", complexity=Complexity.COMPLEX, key="spent")
    assert made.running["first"].tier == "complex"
    for number in range(64):
        made.call(f"fill{number}", key="other")

    made.call("poor", complexity=Complexity.COMPLEX, key="spent")
    made.call("rich", complexity=Complexity.COMPLEX, key="fresh")

    assert "poor" in made.offered
    assert made.running["rich"].tier == "complex"


def test_a_local_call_holds_nothing() -> None:
    """No limit keeps it, and the ledger hears nothing of it."""
    made = rig(Limit(name="month", hard=0))
    made.call("c1")
    made.end_call("c1", usage=Usage(input_tokens=5, output_tokens=5))
    assert made.order == ["c1"]
    assert made.ledger.entries == []


def test_a_call_beyond_a_limit_is_denied_at_once_with_the_limit_and_its_end() -> None:
    """It does not wait in line for a month; where the choice is free it goes to a local model instead."""
    made = rig(Limit(name="month", hard=ESTIMATE))
    made.call("c1", tier="complex")
    made.call("c2", tier="complex")
    denial = made.denied["c2"]
    assert (denial.wait.code, denial.wait_ms) == (WaitCode.BUDGET, 0)
    assert "limit month of $0.0018 is reached; free again at 1970-02-01" in denial.wait.detail
    assert denial.retry_after_ms is not None
    assert denial.retry_after_ms > 29 * 86_400_000

    made.end_call("c1", FailureClass.RATE_LIMIT)
    assert money(made) == (0, 0)


@pytest.mark.parametrize(
    ("failure", "usage", "charged", "ambiguous"),
    [
        (FailureClass.RATE_LIMIT, None, 0, False),
        (FailureClass.SERVER, None, 0, False),
        (FailureClass.NETWORK, None, ESTIMATE, True),
        (FailureClass.CANCELLED, Usage(input_tokens=10, output_tokens=4, estimated=True), 90, False),
        (FailureClass.CUT, Usage(input_tokens=10, output_tokens=4), 90, False),
        (None, None, ESTIMATE, True),
    ],
)
def test_the_end_says_what_is_charged(
    failure: FailureClass | None, usage: Usage | None, charged: int, ambiguous: bool
) -> None:
    """Turned away: nothing. Hung up or cut: what passed. Nobody knows: what it held, and the entry says so. Once."""
    made = rig()
    made.call("c1", tier="complex")
    made.end_call("c1", failure, usage=usage)

    assert money(made) == (charged, 0)
    end = made.ledger.entries[-1]
    assert end.ambiguous is ambiguous
    assert [entry.kind for entry in made.ledger.entries].count(EntryKind.SETTLE) == (1 if charged else 0)


def test_a_call_that_is_withdrawn_before_it_was_sent_gives_back_what_it_held() -> None:
    """And its second attempt holds for itself."""
    made = rig()
    made.call("c1", tier="complex")
    made.tell(sig.CallWithdrawn(call_id="c1"))
    assert money(made) == (0, 0)

    made.call("c2", tier="complex", attempt=1)
    made.end_call("c2", FailureClass.OVERLOADED)
    made.call("c2", tier="complex", attempt=2)
    assert money(made) == (0, ESTIMATE)
    assert made.ledger.entries[-1].attempt == "c2/2"


def test_a_key_never_spends_more_than_its_limit_however_many_of_its_calls_come_at_once() -> None:
    """Forty calls, room for three; another key and no key are not held by it."""
    made = rig()
    for number in range(40):
        made.call(f"a{number}", tier="complex", key="a", limits=of_key("a", 3 * ESTIMATE))
    assert len([name for name in made.running if name.startswith("a")]) == 3
    assert "limit key of key a" in made.denied["a3"].wait.detail
    made.call("b", tier="complex", key="b", limits=of_key("b", ESTIMATE))
    made.call("free", tier="complex")
    assert {"b", "free"} <= made.running.keys()

    made.end_call("a0", usage=Usage(input_tokens=1, output_tokens=1))
    made.call("again", tier="complex", key="a", limits=of_key("a", 3 * ESTIMATE))
    assert "again" not in made.running, "what was used is used, a whole estimate is not left"


def test_a_key_without_a_limit_leads_no_limited_one_past_its_own() -> None:
    """Their verdicts are not mixed up, though they ask the same."""
    made = rig()
    made.call("free", tier="complex")
    made.call("poor", tier="complex", key="poor", limits=of_key("poor", ESTIMATE - 1))
    made.call("free2", tier="complex")

    assert set(made.running) == {"free", "free2"}
    assert made.denied["poor"].wait.code is WaitCode.BUDGET


def test_a_call_whose_price_nobody_knows_is_denied_where_the_profile_says_so() -> None:
    """Else it holds the conservative price."""
    made = rig(unknown=UnknownPrice.REFUSE, priced=False)
    made.call("c1", tier="complex")
    assert "no price is known of claude" in made.denied["c1"].wait.detail
    assert made.scheduler.books.in_flight == {}

    made = rig(priced=False)
    made.call("c1", tier="complex")
    assert money(made) == (0, 100 * 15 + 100 * 75)


def test_verdicts_on_local_calls_are_still_shared_while_money_moves() -> None:
    """Paid calls come and go; equal local ones get the very same record."""
    made = rig(Limit(name="month", hard=10**9))
    made.call("c1")
    made.end_call("c1", usage=Usage(input_tokens=1, output_tokens=1))
    first = made.scheduler.books.verdicts
    made.call("paid", tier="complex")
    made.call("c2")
    assert first is made.scheduler.books.verdicts
    made.end_call("c2", usage=Usage(input_tokens=1, output_tokens=1))
    made.call("c3")
    assert made.running["c3"].decision.selected_endpoint == "box"


@pytest.mark.parametrize("seed", range(20))
def test_calls_and_tasks_together_never_hold_more_than_a_limit(seed: int) -> None:
    """Whatever order they come, end, hang up and fail in; at the end no call holds anything."""
    rng = random.Random(seed)
    made = rig(Limit(name="ever", window=EVER, hard=12 * ESTIMATE))
    made.worker()
    count = 0
    for _ in range(120):
        move = rng.random()
        if move < 0.5:
            count += 1
            made.call(f"c{count}", tier=rng.choice(("complex", None)), key="k", limits=of_key("k", 8 * ESTIMATE))
        elif move < 0.6:
            count += 1
            made.chat(f"t{count}", tier="complex")
        elif made.running:
            name = rng.choice(sorted(made.running))
            failure = rng.choice((None, FailureClass.CANCELLED, FailureClass.RATE_LIMIT, FailureClass.NETWORK))
            counted = Usage(input_tokens=rng.randrange(100), output_tokens=rng.randrange(100))
            made.end_call(name, failure, usage=counted if failure in (None, FailureClass.CANCELLED) else None)
        made.pass_ms(rng.choice((1, 1_000, 40_000)))
        assert sum(money(made)) <= 12 * ESTIMATE
        key = made.ledger.spent(Span(scope=ScopeKind.KEY, value="k", start_ms=0, end_ms=LATEST_MS))
        assert key.used.micro_usd + key.held.micro_usd <= 8 * ESTIMATE
    while made.running:
        made.end_call(min(made.running), FailureClass.CANCELLED, usage=Usage(input_tokens=1, output_tokens=1))
    open_calls = [entry.attempt for entry in made.ledger.open_reservations() if entry.attempt.startswith("c")]
    assert open_calls == []


def test_an_answer_that_no_model_gave_costs_nothing() -> None:
    """A login page, say: the call reached no model. An answer of one that cannot be read is charged by its length."""
    made = rig()
    made.call("c1", tier="complex")
    made.end_call("c1", FailureClass.MALFORMED, unworked=True)
    assert (money(made), made.ledger.entries[-1].kind) == ((0, 0), EntryKind.RELEASE)

    made.call("c2", tier="complex")
    made.end_call("c2", FailureClass.MALFORMED, usage=Usage(input_tokens=100, output_tokens=10, estimated=True))
    assert (money(made), made.ledger.entries[-1].basis) == ((100 * 3 + 10 * 15, 0), Basis.ESTIMATED)
