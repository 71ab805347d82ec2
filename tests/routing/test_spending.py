"""Step 9: what the limits of the budget do to a route. Sums are made up; who keeps them is tested elsewhere."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.decision import Cause, Hold, Rejection, Route, Verdict
from ostler.domain.fleet import EndpointView, Health
from ostler.domain.ledger import Amount, Scopes, Span, Spent
from ostler.domain.limits import BudgetPolicy, Limit, Price, ScopeKind, Unit, Window, WindowKind
from ostler.domain.policy import Policy
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity, TaskFacts
from ostler.routing.decide import decide
from ostler.routing.explain import explain, plain
from ostler.routing.gatekeeping import expected
from tests.routing.fleets import (
    CHEAP,
    DEAR,
    FOUR_TIERS,
    LARGE,
    NOW,
    SMALL,
    facts,
    fleet,
    held,
    request,
    routed,
    view,
)

PRICES = {CHEAP.name: Price(input=0.27, output=1.10), DEAR.name: Price(input=3.0, output=15.0)}
USD = 1_000_000
LOCAL = (view("gpu0", SMALL.name), view("gpu1", LARGE.name))
CLOUD = (
    view("deepseek", CHEAP.name, local=False, spec={"provider": "deepseek"}),
    view("openai", DEAR.name, local=False),
)


def policy(*limits: Limit) -> Policy:
    """Two local and two cloud tiers under these limits."""
    return replace(FOUR_TIERS, budget=BudgetPolicy(limits=limits, prices=PRICES))


def month(
    hard: int | None = None, *, soft: int | None = None, critical: int | None = None, degrade_to: str = ""
) -> Limit:
    return Limit(name="month", soft=soft, hard=hard, critical=critical, degrade_to=degrade_to)


def used(micro_usd: int, held_micro_usd: int = 0, **by_value: int) -> Callable[[Span], Spent]:
    """Sums: so much in all, and by the value of a scope."""

    def spent(span: Span) -> Spent:
        found = by_value.get(span.value, 0) if span.value else micro_usd
        return Spent(used=Amount(micro_usd=found), held=Amount(micro_usd=held_micro_usd))

    return spent


def ask(
    task: TaskFacts,
    rules: Policy,
    spent: Callable[[Span], Spent],
    places: tuple[EndpointView, ...] = (*LOCAL, *CLOUD),
    **changes: object,
) -> Verdict:
    snapshot = replace(fleet(*places), spent=spent)
    return decide(replace(request(task), **changes), snapshot, rules)


TOP = facts(Complexity.COMPLEX, task_type="final_polish")
"""Work that asks for the dearest tier."""
CODING = facts(Complexity.COMPLEX, task_type="coding")


def test_below_every_limit_the_tier_is_kept_and_the_limit_is_named() -> None:
    """The record says what is left of the one that matters most, so `ostler why` does."""
    decision = routed(ask(TOP, policy(month(soft=16 * USD, hard=20 * USD)), used(4 * USD)))

    assert (decision.effective_tier, decision.selected_endpoint) == ("T3", "openai")
    assert decision.budget == "limit month (ok): $4.00 used of $20.00"
    assert "  limit month (ok): $4.00 used of $20.00" in plain(explain(decision))


def test_at_a_soft_limit_work_goes_one_tier_down() -> None:
    """From the dear cloud to the cheap one, from there to a local tier; the record says why, and that it is too low."""
    rules = policy(month(soft=16 * USD, hard=20 * USD))

    dear = routed(ask(TOP, rules, used(16 * USD)))
    assert (dear.effective_tier, dear.selected_endpoint) == ("T2", "deepseek")
    last = dear.adjustments[-1]
    assert (last.cause, last.from_tier, last.to_tier) == (Cause.BUDGET, "T3", "T2")
    assert last.reason == "the soft value of limit month, $16.00, is reached; T2 is below the minimum T3"
    lost = {candidate.endpoint: candidate.rejection for candidate in dear.candidates}
    assert lost["openai"] is Rejection.BUDGET

    cheap = routed(ask(CODING, rules, used(16 * USD)))
    assert (cheap.effective_tier, cheap.selected_endpoint) == ("T1", "gpu1")
    assert routed(ask(TOP, rules, used(16 * USD - 1))).effective_tier == "T3"


def test_a_limit_may_name_the_tier_that_work_goes_down_to() -> None:
    """Then it is that one at most, not the next; work that is there already stays."""
    assert routed(ask(TOP, policy(month(soft=USD, degrade_to="T0")), used(USD))).effective_tier == "T0"
    for degrade_to in ("T2", "T3"):
        assert routed(ask(CODING, policy(month(soft=USD, degrade_to=degrade_to)), used(USD))).effective_tier == "T2"


def test_a_soft_limit_stops_nothing() -> None:
    """Where nothing cheaper can take it the work stays; and so does what says itself where it is to run."""
    rules = policy(month(soft=USD, hard=20 * USD))

    assert routed(ask(TOP, rules, used(USD), places=CLOUD[1:])).effective_tier == "T3"
    for pinned in (
        facts(Complexity.COMPLEX, tier="T3"),
        facts(Complexity.COMPLEX, model=DEAR.name),
        facts(Complexity.COMPLEX, endpoint="openai"),
    ):
        assert routed(ask(pinned, rules, used(USD))).selected_endpoint == "openai"


def test_a_tier_of_two_providers_uses_the_one_that_is_not_at_its_limit() -> None:
    """A provider's day at its soft value: the other provider of the tier takes the work, no tier is left."""
    other = view("azure", DEAR.name, local=False, spec={"provider": "azure"})
    day = Limit(
        name="day",
        scope=ScopeKind.PROVIDER,
        of="openai",
        window=Window(kind=WindowKind.DAY),
        soft=40 * USD,
        hard=47 * USD,
    )
    for spent in (40 * USD, 47 * USD):
        decision = routed(ask(TOP, policy(day), used(0, openai=spent), places=(*LOCAL, *CLOUD, other)))
        assert (decision.effective_tier, decision.selected_endpoint) == ("T3", "azure")


def test_at_a_hard_limit_only_local_tiers_are_left() -> None:
    """The nearest one below; above when there is none below; and it says that it is too low."""
    rules = policy(month(soft=16 * USD, hard=20 * USD))

    down = routed(ask(TOP, rules, used(20 * USD)))
    assert (down.effective_tier, down.selected_endpoint) == ("T1", "gpu1")
    assert "T1 is below the minimum T3" in down.adjustments[-1].reason
    assert "limit month of $20.00 is reached; free again at " in down.adjustments[-1].reason
    assert routed(ask(TOP, rules, used(20 * USD), places=(LOCAL[0], *CLOUD))).effective_tier == "T0"


def test_an_estimate_that_would_pass_a_limit_is_kept_out_and_one_that_meets_it_is_not() -> None:
    """To the micro-dollar."""
    estimate = expected(TOP, 0, ("openai", DEAR.name), policy())[0].micro_usd
    for left, tier in ((estimate, "T3"), (estimate - 1, "T2")):
        assert routed(ask(TOP, policy(month(hard=USD)), used(USD - left))).effective_tier == tier


def test_nothing_left_is_a_wait_that_names_the_limit_and_its_end() -> None:
    """No local tier can take it, or the choice was explicit: it is held, never sent elsewhere."""
    rules = policy(month(hard=USD))
    end_ms = 1_751_328_000_000
    assert end_ms > NOW
    pinned = facts(Complexity.COMPLEX, tier="T3")
    for hold in (
        held(ask(TOP, rules, used(USD), places=CLOUD)),
        held(ask(pinned, rules, used(USD))),
        held(ask(facts(Complexity.COMPLEX, model=DEAR.name), rules, used(USD))),
        held(ask(facts(Complexity.COMPLEX, endpoint="openai"), rules, used(USD))),
    ):
        assert hold.wait.code is WaitCode.BUDGET
        assert "limit month of $1.00 is reached; free again at 2025-07-01 00:00 UTC" in hold.wait.detail
        assert (hold.wait.next_check_ms, hold.limited, hold.alone) == (end_ms, True, False)
        assert hold.decision.budget == "limit month (exhausted): $1.00 used of $1.00"
        assert "the limit that moves, in" in "\n".join(plain(explain(hold)))


def test_a_wait_for_its_own_estimate_is_about_that_task_alone() -> None:
    """Cheaper ones of its class could still run."""
    hold = held(ask(facts(Complexity.COMPLEX, tier="T3"), policy(month(hard=USD)), used(USD - 1)))

    assert hold.alone
    assert "would be passed" in hold.wait.detail


def test_critical_work_keeps_its_tier_up_to_its_own_ceiling() -> None:
    """It sees no soft limit, and its own hard one."""
    rules = policy(month(soft=16 * USD, hard=20 * USD, critical=30 * USD))
    urgent = replace(TOP, critical=True)

    assert routed(ask(urgent, rules, used(25 * USD))).effective_tier == "T3"
    assert routed(ask(urgent, rules, used(30 * USD))).effective_tier == "T1"


def test_a_fallback_asks_the_limits_too() -> None:
    """The local tier is down and its fallback would cost money that is not there: it waits for either."""
    rules = replace(policy(month(hard=USD)), routing=replace(FOUR_TIERS.routing, fallback_wait_ms=0))
    down = view("gpu1", LARGE.name, health=Health.DOWN, unusable_since_ms=NOW - 1)
    task = facts(Complexity.COMPLEX)

    assert routed(ask(task, rules, used(0), places=(down, *CLOUD))).selected_endpoint == "deepseek"
    hold = held(ask(task, rules, used(USD), places=(down, *CLOUD)))
    assert hold.wait.code is WaitCode.ENDPOINT_DOWN
    assert hold.limited
    assert "limit month of $1.00 is reached" in hold.wait.detail


def test_limits_of_a_key_and_of_tokens_count_too() -> None:
    """A key's own limit comes with the question; tokens and requests are counted like money."""
    own = Limit(name="key ci", scope=ScopeKind.KEY, of="ci", window=Window(kind=WindowKind.NONE), hard=USD)
    hold = ask(facts(Complexity.COMPLEX, tier="T3"), policy(), used(0, ci=USD), charged=Scopes(key="ci"), limits=(own,))
    assert held(hold).wait.detail.endswith("limit key ci of key ci of $1.00 is reached")

    tokens = Limit(name="tokens", unit=Unit.TOKENS, hard=1_000, window=Window(kind=WindowKind.NONE))

    def spent(span: Span) -> Spent:
        return Spent(used=Amount(input_tokens=1_000))

    assert (
        "limit tokens of 1,000 tokens is reached"
        in held(ask(facts(Complexity.COMPLEX, tier="T3"), policy(tokens), spent)).wait.detail
    )


LIMITS = st.builds(
    Limit,
    name=st.sampled_from(("a", "b", "c")),
    scope=st.sampled_from((ScopeKind.ALL, ScopeKind.PROVIDER, ScopeKind.TIER, ScopeKind.MODEL)),
    window=st.sampled_from((Window(kind=WindowKind.MONTH), Window(kind=WindowKind.NONE))),
    soft=st.none() | st.integers(0, 30_000),
    hard=st.none() | st.integers(0, 30_000),
    critical=st.none() | st.integers(0, 60_000),
    degrade_to=st.sampled_from(("", "", "T0", "T2")),
)
TASKS = st.builds(
    lambda task_type, critical, pin: replace(
        facts(Complexity.COMPLEX, task_type=task_type, **({pin[0]: pin[1]} if pin else {})), critical=critical
    ),
    st.sampled_from(("general", "planning", "coding", "final_polish")),
    st.booleans(),
    st.sampled_from((None, None, None, ("tier", "T3"), ("tier", "T0"), ("model", DEAR.name), ("endpoint", "openai"))),
)


@given(st.lists(LIMITS, max_size=4), TASKS, st.integers(0, 40_000), st.integers(0, 40_000), st.data())
def test_no_route_is_ever_paid_above_a_hard_limit_and_local_work_never_waits_for_money(
    limits: list[Limit], task: TaskFacts, in_all: int, by_value: int, data: st.DataObject
) -> None:
    """Over generated limits, sums and fleets, with the arithmetic written out anew."""
    every = (*LOCAL, *CLOUD)
    places = tuple(every[index] for index in sorted(data.draw(st.sets(st.integers(0, 3), min_size=1))))
    rules = policy(*limits)

    def spent(span: Span) -> Spent:
        return Spent(used=Amount(micro_usd=by_value if span.value else in_all))

    verdict = ask(task, rules, spent, places)
    free = decide(request(task), fleet(*places), rules)
    if isinstance(free, Route) and free.decision.provider == "ollama":
        assert isinstance(verdict, Route), "work that would run at no cost waits"
        assert verdict.decision.provider == "ollama", "work that would run at no cost is sent where it costs"
    explicit = task.tier or task.model or task.endpoint
    if isinstance(verdict, Route):
        decision = verdict.decision
        view_of = {place.spec.name: place for place in places}[decision.selected_endpoint or ""]
        if not view_of.spec.local:
            cost = expected(task, 0, ("", decision.selected_model or ""), rules)[0].micro_usd
            for limit in limits:
                ceiling = limit.critical if task.critical and limit.critical is not None else limit.hard
                before = in_all if limit.scope is ScopeKind.ALL else by_value
                assert ceiling is None or (before < ceiling and before + cost <= ceiling), "a limit is passed"
        if explicit and isinstance(free, Route):
            assert decision.selected_endpoint == free.decision.selected_endpoint, "an explicit choice was replaced"
    if isinstance(verdict, Hold) and verdict.wait.code is WaitCode.BUDGET:
        assert verdict.limited
        over = [candidate for candidate in verdict.decision.candidates if candidate.rejection is Rejection.BUDGET]
        assert over, "it waits for money, and no place was refused for it"
    if isinstance(verdict, Hold) and not isinstance(free, Hold):
        assert any(_stops(limit, task, max(in_all, by_value), rules) for limit in limits), "nothing stops it"


def _stops(limit: Limit, task: TaskFacts, spent: int, rules: Policy) -> bool:
    ceiling = limit.critical if task.critical and limit.critical is not None else limit.hard
    dearest = max(expected(task, 0, ("", name), rules)[0].micro_usd for name in PRICES)
    return ceiling is not None and (spent >= ceiling or spent + dearest > ceiling)


def test_without_a_ledger_no_limit_is_asked() -> None:
    """A question about a fleet that nobody keeps books for is answered as if there were no limits."""
    bare = fleet(*LOCAL, *CLOUD)
    assert routed(decide(request(TOP), bare, policy(month(hard=0)))).effective_tier == "T3"
