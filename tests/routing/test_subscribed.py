"""Subscriptions in a decision: preferred while they last, at their worth ahead of their pace, left out when used up."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.allowances import Reported
from ostler.domain.decision import Hold, Rejection, Route, Verdict
from ostler.domain.ledger import Amount, Basis, Scopes, Span, Spent
from ostler.domain.limits import BudgetPolicy, Limit, Pace, Price, Subscription, Unit, UnknownPrice
from ostler.domain.policy import Policy
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity, TaskFacts
from ostler.routing.decide import decide
from ostler.routing.explain import explain, plain
from ostler.routing.gatekeeping import at_place, charge, charged_to, payable
from tests.routing.fleets import CHEAP, DEAR, FOUR_TIERS, LARGE, NOW, SMALL, facts, fleet, held, request, routed, view

PRICE = Price(input=3.0, output=15.0)
LOCAL = (view("gpu0", SMALL.name), view("gpu1", LARGE.name))
METERED = view("aa-metered", DEAR.name, local=False, spec={"provider": "metered"})
PLAN = view("plan", DEAR.name, local=False, spec={"provider": "plan"})
TOP = facts(Complexity.COMPLEX, task_type="final_polish")
HOUR_MS = 3_600_000


def nothing(_: Span) -> Spent:
    return Spent()


def policy(*limits: Limit, pace: Pace = Pace.NONE, prices: bool = True, **changes: object) -> Policy:
    budget = BudgetPolicy(
        limits=limits,
        subscriptions=(Subscription(provider="plan", pace=pace),),
        prices={DEAR.name: PRICE, CHEAP.name: PRICE} if prices else {},
    )
    return replace(FOUR_TIERS, budget=replace(budget, **changes))


def said(percent: float, *, resets_ms: int | None = NOW + HOUR_MS, family: str = "") -> Reported:
    window = "5h" if not family else f"5h_{family}"
    return Reported(
        provider="plan", window=window, used_percent=percent, at_ms=NOW, resets_ms=resets_ms, hours=5, family=family
    )


def ask(
    task: TaskFacts,
    rules: Policy,
    *reports: Reported,
    places: tuple[object, ...] = (*LOCAL, METERED, PLAN),
    spent: Callable[[Span], Spent] | None = nothing,
) -> Verdict:
    snapshot = replace(fleet(*places), spent=spent, allowances=reports)  # type: ignore[arg-type]
    return decide(request(task), snapshot, rules)


def test_it_is_preferred_whatever_the_score_says_and_costs_nothing_more() -> None:
    """A place by the token that would win by its name loses; the record says who pays."""
    decision = routed(ask(TOP, policy(), said(20.0)))

    assert decision.selected_endpoint == "plan"
    assert decision.estimate is not None
    assert decision.estimate.cost_micro_usd == 0
    assert "  subscription to plan (preferred): 5h 20 % used" in plain(explain(decision))
    assert routed(ask(TOP, policy())).budget == "subscription to plan (preferred): nothing is known of it yet"


def test_used_up_it_is_left_out_with_its_reason_and_the_instant_it_is_free() -> None:
    """The tier's other provider takes the work; alone it waits until the window is new."""
    other = routed(ask(TOP, policy(), said(96.0)))
    assert other.selected_endpoint == "aa-metered"
    (lost,) = [one for one in other.candidates if one.endpoint == "plan"]
    assert lost.rejection is Rejection.BUDGET
    assert lost.detail.startswith(
        "may not be used: its subscription to plan has nothing left: 5h is used up; free again"
    )

    pinned = ask(facts(Complexity.COMPLEX, endpoint="plan"), policy(), said(96.0))
    hold = held(pinned)
    assert (hold.wait.code, hold.wait.next_check_ms) == (WaitCode.BUDGET, NOW + HOUR_MS)


def test_a_window_of_other_models_does_not_matter() -> None:
    """What is used up for one family leaves the others alone."""
    mine = DEAR.name.partition(":")[0].partition("-")[0]
    assert routed(ask(TOP, policy(), said(100.0, family="nobody"))).selected_endpoint == "plan"
    assert routed(ask(TOP, policy(), said(100.0, family=mine))).selected_endpoint == "aa-metered"


def test_no_limit_of_money_keeps_work_from_it_and_limits_of_requests_do() -> None:
    """It costs nothing more, but a call is a call."""
    dollars = Limit(name="month", hard=0)
    assert routed(ask(TOP, policy(dollars))).selected_endpoint == "plan"

    calls = Limit(name="calls", unit=Unit.REQUESTS, hard=0)
    assert routed(ask(TOP, policy(calls))).selected_endpoint in {"gpu0", "gpu1"}
    assert payable((dollars, calls), covered=True) == (calls,)
    assert payable((dollars, calls), covered=False) == (dollars, calls)


def test_a_price_that_nobody_knows_is_no_matter_where_a_subscription_pays() -> None:
    """Refused is what would be charged at an unknown price: the other provider."""
    rules = policy(prices=False, unknown_price=UnknownPrice.REFUSE)

    decision = routed(ask(TOP, rules))
    assert decision.selected_endpoint == "plan"
    details = {one.endpoint: one.detail for one in decision.candidates}
    assert "no price is known" in details["aa-metered"]


def test_without_a_ledger_nobody_knows_what_is_left() -> None:
    """A question about a declared fleet is answered as if there were no subscription."""
    assert routed(ask(TOP, policy(), said(100.0), spent=None)).selected_endpoint in {"plan", "aa-metered"}


@given(
    percent=st.floats(0, 120),
    left_ms=st.integers(1, 5 * HOUR_MS),
    pace=st.sampled_from(Pace),
    critical=st.booleans(),
    open_choice=st.booleans(),
)
def test_a_plan_that_is_preferred_is_used_and_one_that_is_used_up_never_is(
    percent: float, left_ms: int, pace: Pace, *, critical: bool, open_choice: bool
) -> None:
    """Whatever is reported. Critical work may use the reserve; nothing may use more than there is."""
    task = facts(Complexity.COMPLEX, task_type="final_polish", critical=critical, tier=None if open_choice else "T3")
    verdict = ask(task, policy(pace=pace), said(percent, resets_ms=NOW + left_ms))

    assert isinstance(verdict, Route), "the provider by the token is always there"
    chosen = verdict.decision.selected_endpoint
    usable = 100.0 if critical else 95.0
    if percent >= usable:
        assert chosen == "aa-metered"
    elif pace is Pace.NONE or critical:
        assert chosen == "plan"
    alone = ask(task, policy(pace=pace), said(percent, resets_ms=NOW + left_ms), places=(PLAN,))
    assert isinstance(alone, Hold) is (percent >= usable), "ahead of its pace it is used where nothing else is"


@pytest.mark.parametrize(
    ("provider", "amount", "basis"),
    [
        ("plan", Amount(input_tokens=1_000, output_tokens=100, covered_micro_usd=4_500), Basis.SUBSCRIPTION),
        ("metered", Amount(input_tokens=1_000, output_tokens=100, micro_usd=4_500), Basis.PRICED),
    ],
)
def test_tokens_are_charged_by_who_serves_them(provider: str, amount: Amount, basis: Basis) -> None:
    """The worth is the same, who pays is not."""
    tokens = Amount(input_tokens=1_000, output_tokens=100)

    assert charge(policy().budget, provider, DEAR.name, tokens) == (amount, basis)
    assert amount.in_unit(Unit.WORTH) == 4_500


def test_a_task_is_charged_to_all_that_it_belongs_to_wherever_it_runs() -> None:
    """Its tick is one of its session; at a place the rest is added."""
    task = replace(TOP, session="loop", tick="7", batch="b")
    whose = charged_to(task)

    assert whose == Scopes(task=task.id, session="loop", tick="loop/7", batch="b")
    there = at_place(whose, provider="p", tier="t", model="m", endpoint="e")
    assert there == replace(whose, provider="p", tier="t", model="m", endpoint="e")
