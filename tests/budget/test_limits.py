"""Levels: what the limits say, which one binds, and the figures of the seeds."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.ledger import passed
from ostler.budget.limits import Gate, Level, amount_text, bounds, gate, span_of, spans, standing
from ostler.budget.presets import daily_limit, month_limit, session_limit, tick_limit
from ostler.domain.commands import Settle
from ostler.domain.ledger import Amount, Scopes, Span, Spent
from ostler.domain.limits import Limit, PartOf, PoolPart, ScopeKind, Unit, Window, WindowKind
from tests.budget.made import AMOUNTS, HOUR_MS, NOW_MS, SCOPES, USD, NaiveLedger, at, spent_of, usd


def made(limit: Limit | None) -> Limit:
    assert limit is not None
    return limit


MONTH = made(month_limit(20 * USD, 16 * USD))
SESSION = made(session_limit(2 * USD))
TICK = made(tick_limit(USD // 10))
CLAUDE = Scopes(provider="anthropic", tier="opus", session="s1", tick="t1")


@pytest.mark.parametrize(
    ("used", "level"),
    [
        (0.0, Level.OK),
        (15.999999, Level.OK),
        (16.0, Level.DEGRADED),
        (19.999999, Level.DEGRADED),
        (20.0, Level.EXHAUSTED),
        (99.0, Level.EXHAUSTED),
    ],
)
def test_a_month_of_20_dollars(used: float, level: Level) -> None:
    """At 16.00 the dear tier is left, at 20.00 nothing that costs money runs; a micro-dollar before, not yet."""
    assert gate([MONTH], CLAUDE, NOW_MS, spent_of(used)).level is level


@pytest.mark.parametrize(
    ("used", "level"),
    [
        (39.999999, Level.OK),
        (39.95, Level.OK),
        (40.0, Level.DEGRADED),
        (47.499999, Level.DEGRADED),
        (47.5, Level.EXHAUSTED),
    ],
)
def test_a_day_of_50_dollars(used: float, level: Level) -> None:
    """40.00 degrades and 47.50 exhausts; 79.9 % of it is not cut to 79, nor rounded to 80."""
    assert gate([daily_limit("anthropic", 50 * USD)], CLAUDE, NOW_MS, spent_of(used)).level is level


CALLS = Limit(name="calls", unit=Unit.REQUESTS, window=Window(kind=WindowKind.NONE), soft=6, hard=10, critical=12)


def parts(part: PoolPart, *, critical: PoolPart | None = None) -> PartOf:
    return lambda limit, value, start_ms, is_critical: critical if is_critical and critical is not None else part


def used(requests: int) -> Callable[[Span], Spent]:
    return lambda span: Spent(used=Amount(requests=requests))


@pytest.mark.parametrize(
    ("own", "part", "level"),
    [
        (2, PoolPart(most=5, total=10, spent=3), Level.OK),
        (2, PoolPart(most=5, total=10, spent=4), Level.DEGRADED),
        (5, PoolPart(most=5, total=10, spent=0, kept=5), Level.EXHAUSTED),
        (4, PoolPart(most=5, total=10, spent=0, kept=5), Level.OK),
        (2, PoolPart(most=9, total=4, spent=2), Level.EXHAUSTED),
        (0, PoolPart(most=0), Level.EXHAUSTED),
    ],
)
def test_a_limit_of_several_pools(own: int, part: PoolPart, level: Level) -> None:
    """Soft and hard value are about what all have spent, the smallest word holds, and nothing passes the own part."""
    asked = Amount(requests=1)
    found = gate([CALLS], CLAUDE, NOW_MS, used(own), estimate=asked, parts=parts(part))
    held = bounds([CALLS], CLAUDE, NOW_MS, parts=parts(part))

    assert found.level is level
    assert (passed(held, asked, used(own)) is not None) == (own + 1 > min(10, part.most or 0))


def test_a_limit_of_several_pools_stands_where_all_together_are() -> None:
    """That the own part is used up is no news of the limit: other pools give back what they keep."""
    part = PoolPart(most=1, total=10, spent=2, kept=6, pools=("lab",))
    one = standing(CALLS, "", NOW_MS, used(1), parts=parts(part))

    assert one is not None
    assert (one.level, one.total, one.left, one.short) == (Level.OK, 3, 7, True)
    assert one.left_share == pytest.approx(0.7)
    assert gate([CALLS], CLAUDE, NOW_MS, used(1), parts=parts(part)).level is Level.EXHAUSTED


def test_critical_work_has_a_part_of_its_own() -> None:
    """And a limit without a part is as it is."""
    two = parts(PoolPart(most=1), critical=PoolPart(most=4, total=12))
    held = [bounds([CALLS], CLAUDE, NOW_MS, critical=critical, parts=two)[0] for critical in (False, True)]
    assert [(one.ceiling, one.shared) for one in held] == [(1, True), (4, True)]
    assert gate([CALLS], CLAUDE, NOW_MS, used(3), critical=True, parts=two).level is Level.OK

    (alone,) = bounds([CALLS], CLAUDE, NOW_MS, parts=lambda *_: None)
    assert (alone.ceiling, alone.shared) == (10, False)


def test_a_session_of_2_dollars_is_each_sessions_own() -> None:
    """At 2.00 the session is blocked, another one is not."""
    ledger = NaiveLedger()
    ledger.add(Settle(attempt="a", at_ms=NOW_MS, amount=usd(2.0), scopes=CLAUDE))

    assert gate([SESSION], CLAUDE, NOW_MS, ledger.spent).level is Level.EXHAUSTED
    assert gate([SESSION], Scopes(session="s2"), NOW_MS, ledger.spent).level is Level.OK
    assert gate([SESSION], Scopes(), NOW_MS, ledger.spent) == Gate(level=Level.OK)


@pytest.mark.parametrize(
    ("spent", "estimate", "level"),
    [(0.0, 0.10, Level.OK), (0.0, 0.100001, Level.EXHAUSTED), (0.04, 0.06, Level.OK), (0.04, 0.07, Level.EXHAUSTED)],
)
def test_a_tick_of_10_cents(spent: float, estimate: float, level: Level) -> None:
    """An estimate above is blocked, exactly 0.10 passes; and what the tick has really spent counts too."""
    assert gate([TICK], CLAUDE, NOW_MS, spent_of(spent), estimate=usd(estimate)).level is level


def test_zero_is_a_limit() -> None:
    """A hard value of 0 blocks at once, a soft one of 0 degrades at once; only a missing one is no limit."""
    for limit, level in (
        (Limit(name="none", hard=0), Level.EXHAUSTED),
        (Limit(name="careful", soft=0, hard=USD), Level.DEGRADED),
        (Limit(name="watch", soft=None, hard=None), Level.OK),
    ):
        assert gate([limit], Scopes(), NOW_MS, spent_of(0)).level is level


def test_a_process_blocked_at_the_hard_limit_is_free_in_the_new_month() -> None:
    """Without a restart and without anything being written: the same ledger is asked a millisecond later."""
    ledger = NaiveLedger()
    ledger.add(Settle(attempt="a", at_ms=at("UTC", 2026, 11, 30, 23), amount=usd(20.0), scopes=CLAUDE))
    december_ms = at("UTC", 2026, 12, 1)

    assert gate([MONTH], CLAUDE, december_ms - 1, ledger.spent).level is Level.EXHAUSTED
    assert gate([MONTH], CLAUDE, december_ms, ledger.spent).level is Level.OK


def test_critical_work_keeps_its_tier_up_to_its_own_ceiling() -> None:
    """Where other work is degraded it is ok; its ceiling may be above the hard value, and stops it too."""
    plain = daily_limit("anthropic", 50 * USD)
    wider = Limit(name="day", soft=40 * USD, hard=45 * USD, critical=60 * USD)

    def level(limit: Limit, used: float) -> Level:
        return gate([limit], CLAUDE, NOW_MS, spent_of(used), critical=True).level

    assert [level(plain, used) for used in (40.0, 47.49, 47.5)] == [Level.OK, Level.OK, Level.EXHAUSTED]
    assert [level(wider, used) for used in (44.0, 59.99, 60.0)] == [Level.OK, Level.OK, Level.EXHAUSTED]
    assert [found.ceiling for found in bounds([plain, wider], CLAUDE, NOW_MS, critical=True)] == [47_500_000, 60 * USD]


def test_the_limit_that_binds_is_named_with_what_is_left() -> None:
    """Of several the worst, then the one with the smallest share left, then by name."""
    spent = spent_of(1.5, held=0.25)
    found = gate([MONTH, SESSION], CLAUDE, NOW_MS, spent)
    assert found.binding is not None
    assert (found.level, found.binding.limit.name, found.binding.left) == (Level.OK, "session", 250_000)
    assert (found.binding.used, found.binding.held, found.binding.value) == (1_500_000, 250_000, "s1")

    twins = [Limit(name=name, hard=10 * USD) for name in ("b", "a")]
    tied = gate(twins, CLAUDE, NOW_MS, spent)
    assert tied.binding is not None
    assert tied.binding.limit.name == "a"
    assert not gate([MONTH, SESSION], CLAUDE, NOW_MS, spent, estimate=usd(0.26)).admits
    assert gate([MONTH, SESSION], CLAUDE, NOW_MS, spent, estimate=usd(0.25)).admits


def test_a_limit_of_one_provider_is_not_about_another() -> None:
    """Nor is a limit of a tier about work without one."""
    limits = [daily_limit("anthropic", USD), Limit(name="tier", scope=ScopeKind.TIER, hard=0)]

    assert gate(limits, Scopes(provider="openai"), NOW_MS, spent_of(50)).level is Level.OK
    assert gate(limits, Scopes(provider="openai", tier="opus"), NOW_MS, spent_of(50)).level is Level.EXHAUSTED
    assert [found.limit for found in bounds(limits, Scopes(provider="anthropic"), NOW_MS)] == ["anthropic-day"]


def test_limits_count_tokens_and_requests_too() -> None:
    """Each in its own unit, reserved ones included."""
    limits = [Limit(name="tokens", unit=Unit.TOKENS, hard=100), Limit(name="calls", unit=Unit.REQUESTS, hard=2)]
    spent = Spent(used=Amount(input_tokens=60, requests=1), held=Amount(output_tokens=20, requests=0))

    def binding(estimate: Amount) -> str:
        found = gate(limits, Scopes(), NOW_MS, lambda _: spent, estimate=estimate)
        assert found.binding is not None
        return f"{found.binding.limit.name} {found.level}"

    assert binding(Amount(output_tokens=20)) == "tokens ok"
    assert binding(Amount(output_tokens=21)) == "tokens exhausted"
    assert binding(Amount(requests=2)) == "calls exhausted"


def test_a_limit_outside_of_its_period_says_nothing() -> None:
    """Before it begins and after it is over, nothing is bound by it."""
    window = Window(kind=WindowKind.PERIOD, start_ms=NOW_MS, end_ms=NOW_MS + HOUR_MS)
    limit = Limit(name="sprint", window=window, hard=0)

    for now_ms, level in ((NOW_MS - 1, Level.OK), (NOW_MS, Level.EXHAUSTED), (NOW_MS + HOUR_MS, Level.OK)):
        assert gate([limit], Scopes(), now_ms, spent_of()).level is level
        assert bool(bounds([limit], Scopes(), now_ms)) is (level is Level.EXHAUSTED)
    assert standing(limit, "", NOW_MS - 1, spent_of()) is None


def test_a_task_is_counted_as_a_whole() -> None:
    """A window on something that is over soon would only hide what it has spent: all of it counts."""
    limit = Limit(name="task", scope=ScopeKind.TASK, window=Window(kind=WindowKind.HOUR), hard=USD)
    span = span_of(limit, "t1", NOW_MS)

    assert span is not None
    assert span.start_ms == 0


LIMITS = st.lists(
    st.builds(
        Limit,
        name=st.sampled_from(["a", "b", "c"]),
        scope=st.sampled_from([ScopeKind.ALL, ScopeKind.PROVIDER, ScopeKind.SESSION, ScopeKind.TICK]),
        of=st.just(""),
        window=st.builds(Window, kind=st.sampled_from([WindowKind.DAY, WindowKind.MONTH, WindowKind.NONE])),
        unit=st.sampled_from(list(Unit)),
        soft=st.none() | st.integers(0, 5_000),
        hard=st.none() | st.integers(0, 20_000),
        critical=st.none() | st.integers(0, 20_000),
    ),
    max_size=4,
)
SETTLED = st.lists(
    st.builds(Settle, attempt=st.uuids().map(str), at_ms=st.just(NOW_MS), amount=AMOUNTS, scopes=SCOPES), max_size=5
)


@given(LIMITS, SETTLED, SCOPES, AMOUNTS, st.sampled_from([False, True]))
def test_the_gate_and_the_ledger_agree(
    limits: list[Limit], settled: list[Settle], scopes: Scopes, estimate: Amount, critical: bool
) -> None:
    """What the gate admits, the transaction that reserves lets pass, and the other way round."""
    ledger = NaiveLedger()
    for command in settled:
        ledger.add(command)

    found = gate(limits, scopes, NOW_MS, ledger.spent, estimate=estimate, critical=critical)
    stopped = passed(bounds(limits, scopes, NOW_MS, critical=critical), estimate, ledger.spent)

    assert found.admits is (stopped is None)
    asked = spans(limits, scopes, NOW_MS)
    assert {bound.span for bound in bounds(limits, scopes, NOW_MS)} <= set(asked)
    assert len(found.standings) <= len(limits)


def test_the_share_that_is_left_is_of_the_ceiling_else_of_the_soft_value() -> None:
    """A limit with neither has all of it left."""
    shares = [
        found.left_share
        for limit in (Limit(name="a", hard=4 * USD), Limit(name="b", soft=2 * USD), Limit(name="c"))
        if (found := standing(limit, "", NOW_MS, spent_of(1.0))) is not None
    ]

    assert shares == [0.75, 0.5, 1.0]


def test_amounts_are_told_in_their_unit() -> None:
    """Dollars with their sign, others with their noun."""
    assert [amount_text(1, unit) for unit in Unit] == ["$0.000001", "$0.000001", "1 token", "1 request"]
