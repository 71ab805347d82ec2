"""Step 4 by `posterior`: the tier that is worth most, a small share to find out, and what is left out of a tier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import Catalog, CostClass, ModelSpec, TierSpec
from ostler.domain.decision import Cause, Route
from ostler.domain.limits import BudgetPolicy, Price
from ostler.domain.policy import ANY_TYPE, Arm, HistoryRule, Learned, LearningPolicy, Policy, RoutingPolicy
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.routing.aim import Aim, find_aim
from ostler.routing.decide import decide
from ostler.routing.explain import explain, plain
from ostler.routing.facts import CALL
from ostler.routing.ladder import Ladder
from tests.routing.fleets import fleet, request, view

NAMES = ("low", "mid", "top")
TIERS = (
    TierSpec(name="direct", rank=0, cost=CostClass.FREE),
    TierSpec(name="low", rank=1, models=("m-low", "n-low")),
    TierSpec(name="mid", rank=2, models=("m-mid",)),
    TierSpec(name="top", rank=3, models=("m-top",), cost=CostClass.METERED),
)
RULES = LearningPolicy(history=HistoryRule.POSTERIOR, explore=0.0)
CURIOUS = replace(RULES, explore=0.3)


def arm(tier: str, rate: float, trials: int = 40, **fields: object) -> Arm:
    models = next(one.models for one in TIERS if one.name == tier)
    made = Arm(
        tier=tier, models=models, a=rate * trials + 0.5, b=(1 - rate) * trials + 0.5, trials=trials, said=f"{tier} said"
    )
    return replace(made, **fields)


def learned(*arms: Arm, poor: tuple[str, ...] = ()) -> Learned:
    return Learned(arms=arms, poor=poor, evidence=dict.fromkeys(poor, "poor"))


GOOD_LOW = learned(arm("low", 0.95, trusted=True), arm("mid", 0.9), arm("top", 0.96))


def policy(found: Learned, rules: LearningPolicy = RULES, kind: str = "docs", **routing: object) -> Policy:
    mapping = {"trivial": "direct", "standard": "mid", "complex": "top"}
    return Policy(
        catalog=Catalog(
            tiers=TIERS, models={name: ModelSpec(name=name) for name in ("m-low", "n-low", "m-mid", "m-top")}
        ),
        routing=RoutingPolicy(complexity_tiers=mapping, **routing),  # type: ignore[arg-type]
        budget=BudgetPolicy(prices={"m-top": Price(input=10.0, output=100.0)}),
        learning=rules,
        learned={kind: found},
    )


def facts(complexity: Complexity = Complexity.STANDARD, **fields: object) -> TaskFacts:
    found = Classification(
        complexity=complexity,
        inferred_complexity=complexity,
        task_type="docs",
        source="heuristic",
        verification_steps=1,
    )
    return replace(TaskFacts(id="t", kind=TaskKind.CHAT, classification=found, prompt_tokens=1_000), **fields)


def aim(rules: Policy, task: TaskFacts | None = None, *, explore: bool = True) -> Aim:
    task = task or facts()
    return find_aim(task, quality_steps=0, errors=(), policy=rules, ladder=Ladder(rules.catalog), explore=explore)


def start(found: Aim) -> str:
    assert found.start is not None
    return found.start.name


def test_a_proven_lower_tier_is_taken_when_it_is_worth_more() -> None:
    """Nearly as good and free against good and dear; the record has the figures of all."""
    found = aim(policy(GOOD_LOW), facts(Complexity.COMPLEX))
    assert start(found) == "low"
    (step,) = found.adjustments
    assert (step.cause, step.from_tier, step.to_tier) == (Cause.HISTORY, "top", "low")
    assert "low said" in step.reason
    weighing = found.weighing
    assert weighing is not None
    assert (weighing.chosen, weighing.propensity, weighing.explored) == ("low", 1.0, False)
    assert [one.name for one in weighing.options] == ["low", "mid", "top"]
    top = weighing.options[-1]
    assert top.cost_micro_usd == 10_000 + 400 * 100
    assert top.worth_micro_usd == pytest.approx(250_000 * top.chance - 50_000, abs=60)


def test_gain_decides_not_proof_alone() -> None:
    """A tier that is good enough is left where the better one gains more than it costs."""
    found = learned(arm("low", 0.8, trusted=True), arm("mid", 0.5), arm("top", 0.99))
    cheap = policy(found, replace(RULES, value_usd=0.2))
    dear = policy(found, replace(RULES, value_usd=2.0))
    assert start(aim(cheap, facts(Complexity.COMPLEX))) == "low"
    assert start(aim(dear, facts(Complexity.COMPLEX))) == "top"


def test_a_lower_tier_without_proof_cannot_win() -> None:
    """However good its few outcomes look."""
    found = learned(arm("low", 0.99, trials=6), arm("mid", 0.6))
    chosen = aim(policy(found))
    assert start(chosen) == "mid"
    assert chosen.weighing is not None
    (low,) = [one for one in chosen.weighing.options if one.name == "low"]
    assert low.barred == "not proven good enough"


def test_going_up_needs_outcomes_on_both_sides() -> None:
    """A dear tier that is known to be good does not take the work of one that nobody has tried yet."""
    unknown = learned(arm("low", 0.5), arm("mid", 0.5, trials=0), arm("top", 0.99))
    known = learned(arm("low", 0.5), arm("mid", 0.5, trials=8), arm("top", 0.99))
    hearsay = learned(arm("low", 0.5), arm("mid", 0.3, trials=8), arm("top", 0.99, trials=2))
    assert start(aim(policy(unknown))) == "mid"
    assert start(aim(policy(known))) == "top"
    assert start(aim(policy(hearsay))) == "mid"


def test_a_poor_tier_is_left_even_for_one_that_nobody_knows() -> None:
    """As ever: the next one above that is not poor."""
    found = learned(arm("low", 0.5), arm("mid", 0.1, poor=True), arm("top", 0.5, trials=0), poor=("mid",))
    assert start(aim(policy(found))) == "top"


@pytest.mark.parametrize(
    "fields",
    [{"tier": "top"}, {"model": "m-top"}, {"endpoint": "box"}],
    ids=["tier", "model", "endpoint"],
)
def test_an_explicit_choice_is_not_weighed(fields: dict[str, object]) -> None:
    """Whatever outcomes say; nor is any model of it left out."""
    found = aim(policy(GOOD_LOW), facts(Complexity.COMPLEX, **fields))
    assert (start(found), found.weighing) == ("top", None)


def test_minimum_override_and_critical_work_hold() -> None:
    """The profile's word goes before what is learned; critical work is not made cheaper."""
    task = facts(Complexity.COMPLEX)
    both = learned(arm("low", 0.95, trusted=True), arm("mid", 0.9, trusted=True), arm("top", 0.96))
    assert start(aim(policy(both, type_minimums={"docs": "mid"}), task)) == "mid"
    assert start(aim(policy(GOOD_LOW, type_minimums={"docs": "mid"}), task)) == "top"
    assert start(aim(policy(GOOD_LOW, task_overrides={"docs": "top"}), task)) == "top"
    critical = aim(policy(GOOD_LOW, CURIOUS), replace(task, critical=True))
    assert start(critical) == "top"
    assert critical.weighing is not None
    assert critical.weighing.propensity == 1.0


def test_private_work_is_not_weighed_against_a_cloud() -> None:
    """Its data would have to leave."""
    found = aim(policy(learned(arm("low", 0.2), arm("mid", 0.2), arm("top", 0.99))), facts(local_only=True))
    assert start(found) == "mid"
    assert found.weighing is not None
    assert "top" not in {one.name for one in found.weighing.options}


def test_a_dominated_model_is_left_out_and_its_tier_is_not() -> None:
    """The other model of the tier takes the work."""
    bad = arm("low", 0.1, models=("n-low",), dominated_by="m-low")
    found = learned(arm("low", 0.95, trusted=True, models=("m-low",)), bad, arm("mid", 0.9))
    chosen = aim(policy(found))
    assert chosen.weighing is not None
    assert (start(chosen), chosen.weighing.spared) == ("low", ("n-low",))
    rules = replace(policy(found), routing=RoutingPolicy(complexity_tiers={"standard": "low"}))
    both = fleet(view("box", "m-low", "n-low"))
    verdict = decide(request(facts()), both, rules)
    assert isinstance(verdict, Route)
    assert verdict.decision.selected_model == "m-low"
    (other,) = [one for one in verdict.decision.candidates if one.model == "n-low"]
    assert other.rejection == "learned"
    alone = decide(request(facts()), fleet(view("box", "n-low")), rules)
    assert isinstance(alone, Route)
    assert alone.decision.selected_model == "n-low", "where nothing else can be used it is better than nothing"


def test_exploring_is_drawn_by_the_task_and_logged() -> None:
    """Over many tasks the share is that of the rules, evenly over what may be tried; the draw is the task's own."""
    rules = policy(GOOD_LOW, CURIOUS)
    found = {f"t{number}": aim(rules, facts(id=f"t{number}")) for number in range(2_000)}
    again = aim(rules, facts(id="t7"))
    assert again == found["t7"]
    weighed = [one.weighing for one in found.values() if one.weighing is not None]
    explored = [one for one in weighed if one.explored]
    assert len(explored) / len(weighed) == pytest.approx(0.3, abs=0.04)
    assert {one.chosen for one in explored} == {"mid", "top"}
    for one in weighed:
        assert one.propensity == pytest.approx(0.15 if one.explored else 0.7)
        assert sum(option.propensity for option in one.options) == pytest.approx(1.0)


def test_without_money_only_what_costs_no_more_is_explored() -> None:
    """Who would have gone to a dear tier takes the best choice; everybody else does as before."""
    rules = policy(GOOD_LOW, CURIOUS)
    for number in range(300):
        task = facts(id=f"t{number}")
        rich, poor = aim(rules, task), aim(rules, task, explore=False)
        assert rich.weighing is not None
        assert poor.weighing is not None
        expected = "low" if rich.weighing.chosen == "top" else rich.weighing.chosen
        assert poor.weighing.chosen == expected
    assert poor.weighing is not None
    assert {one.name: one.propensity for one in poor.weighing.options} == pytest.approx(
        {"low": 0.85, "mid": 0.15, "top": 0.0}
    )


def test_work_without_a_check_is_not_tried_on_a_lower_tier() -> None:
    """Nobody would notice bad work; upward it may be. Live calls explore nothing."""
    found = learned(arm("low", 0.5, trials=1), arm("mid", 0.9), arm("top", 0.9))
    unchecked = replace(facts().classification, verification_steps=0)
    tasks = [facts(id=f"t{number}", classification=unchecked) for number in range(300)]
    chosen = {start(aim(policy(found, CURIOUS), task)) for task in tasks}
    assert chosen == {"mid", "top"}
    assert {start(aim(policy(found, CURIOUS), facts(id=f"t{number}"))) for number in range(300)} == {*NAMES}
    call = aim(policy(found, replace(CURIOUS, explore=0.5)), facts(id=CALL))
    assert call.weighing is not None
    assert call.weighing.propensity == 1.0


def test_work_of_unknown_type_goes_by_all_work_together() -> None:
    """A type that is known but has no outcomes goes by the usual rules: nothing is trusted for being good elsewhere."""
    unknown = replace(facts(Complexity.COMPLEX).classification, type_source="none", task_type="general")
    rules = policy(GOOD_LOW, kind=ANY_TYPE)
    assert start(aim(rules, facts(classification=unknown))) == "low"
    assert start(aim(rules, facts(Complexity.COMPLEX))) == "top"


def test_other_rules_do_not_weigh() -> None:
    """`raw` and `observe` leave the choice among arms alone."""
    for history in (HistoryRule.OFF, HistoryRule.OBSERVE, HistoryRule.RAW):
        found = aim(policy(GOOD_LOW, replace(RULES, history=history)), facts(Complexity.COMPLEX))
        assert (start(found), found.weighing) == ("top", None)


def test_the_record_explains_the_choice() -> None:
    """Every option with its figures, the propensity, and why one could not win."""
    verdict = decide(request(facts()), fleet(view("box", "m-low", "m-mid")), policy(GOOD_LOW, CURIOUS))
    text = "\n".join(plain(explain(verdict)))
    assert "Outcomes" in text
    for word in ("propensity", "gain/$", "worth = value of a success x chance - cost", "cannot win because"):
        assert word in text


def changes(found: Learned, rules: LearningPolicy = RULES) -> list[str]:
    verdict = decide(request(facts()), fleet(view("box", "m-low", "m-mid")), policy(found, rules))
    return [line for section in explain(verdict) if section.title == "What would change it" for line in section.lines]


def test_what_would_change_the_choice_is_said_in_figures() -> None:
    """How sure a rival would have to be, what a success would have to be worth, or what is still to be proven."""
    proven = learned(arm("low", 0.9, trusted=True), arm("mid", 0.8), arm("top", 0.99))
    lines = changes(proven)
    assert "mid wins when its expected success is above 89% (now 79%)" in "\n".join(lines)
    dear = changes(learned(arm("mid", 0.8), arm("top", 0.9)), replace(RULES, value_usd=0.05))
    assert any(line.startswith("top wins when a success is worth more than $0.5") for line in dear)
    few = changes(learned(arm("low", 0.9, trials=4), arm("mid", 0.8)))
    assert "low cannot win yet: not proven good enough" in few


arms = st.builds(
    arm,
    st.sampled_from(NAMES),
    st.floats(0.05, 0.95),
    st.integers(0, 200),
    trusted=st.booleans(),
    cost_micro_usd=st.none() | st.integers(0, 500_000),
)
tables = st.lists(arms, min_size=1, max_size=3, unique_by=lambda one: one.tier).map(lambda found: learned(*found))


@given(
    tables,
    st.sampled_from(list(Complexity)),
    st.sampled_from(["low", "mid", "top"]),
    st.text(max_size=6),
    st.booleans(),
)
def test_outcomes_stay_within_the_rules(
    found: Learned, complexity: Complexity, minimum: str, task_id: str, critical: bool
) -> None:
    """Whatever was learned and drawn: never below the minimum, never cheaper for critical work, propensities add up."""
    rules = policy(found, CURIOUS, type_minimums={"docs": minimum})
    ladder = Ladder(rules.catalog)
    chosen = aim(rules, facts(complexity, id=task_id, critical=critical))
    plainly = aim(replace(rules, learned={}), facts(complexity, id=task_id, critical=critical))
    assert ladder.position(start(chosen)) >= ladder.position(minimum)
    if critical:
        assert ladder.position(start(chosen)) >= ladder.position(start(plainly))
    if chosen.weighing is not None:
        assert sum(one.propensity for one in chosen.weighing.options) == pytest.approx(1.0)
        assert chosen.weighing.propensity > 0.0
