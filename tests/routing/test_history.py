"""Step 4: what was learned moves a request within its limits, and the record says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import Catalog, CostClass, TierSpec
from ostler.domain.decision import Cause
from ostler.domain.policy import Learned, Policy, RoutingPolicy
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.routing.aim import Aim, find_aim
from ostler.routing.ladder import Ladder

NAMES = ("low", "mid", "top")
TIERS = (
    TierSpec(name="direct", rank=0, cost=CostClass.FREE),
    *(TierSpec(name=name, rank=rank, models=(f"m-{name}",)) for rank, name in enumerate(NAMES, 1)),
)
LOWER = Learned(enough="low", evidence={"low": "m-low 20 of 20 succeeded"})
POOR = Learned(poor=("low", "mid"), evidence={"mid": "m-mid 0 of 9 succeeded"})


def policy(learned: Learned | None, **routing: object) -> Policy:
    mapping = {"trivial": "direct", "standard": "mid", "complex": "top"}
    return Policy(
        catalog=Catalog(tiers=TIERS),
        routing=RoutingPolicy(complexity_tiers=mapping, **routing),  # type: ignore[arg-type]
        learned={} if learned is None else {"docs": learned},
    )


def aim(rules: Policy, complexity: Complexity = Complexity.STANDARD, **fields: object) -> Aim:
    facts = TaskFacts(
        id="t",
        kind=TaskKind.CHAT,
        classification=Classification(
            complexity=complexity, inferred_complexity=complexity, task_type="docs", source="heuristic"
        ),
    )
    facts = replace(facts, **fields)
    return find_aim(facts, quality_steps=0, errors=(), policy=rules, ladder=Ladder(rules.catalog))


def test_a_proven_tier_is_gone_down_to_with_its_evidence() -> None:
    """The step stands in the record, with the figures that caused it."""
    found = aim(policy(LOWER), Complexity.COMPLEX)
    assert (found.requested, found.start and found.start.name) == ("low", "low")
    (step,) = found.adjustments
    assert (step.cause, step.from_tier, step.to_tier) == (Cause.HISTORY, "top", "low")
    assert "20 of 20" in step.reason


def test_a_poor_tier_is_left_upward() -> None:
    """To the first one above that is not poor."""
    found = aim(policy(POOR))
    assert found.requested == "top"
    assert "0 of 9" in found.adjustments[0].reason
    assert aim(policy(Learned(poor=NAMES))).requested == "mid", "with nothing better it stays"


@pytest.mark.parametrize("learned", [LOWER, POOR])
def test_an_explicit_choice_is_never_replaced(learned: Learned) -> None:
    """Neither a tier nor a model."""
    assert aim(policy(learned), tier="mid").requested == "mid"
    assert aim(policy(learned), model="m-mid").requested == "mid"
    assert all(step.cause is not Cause.HISTORY for step in aim(policy(learned), tier="top").adjustments)


@pytest.mark.parametrize("learned", [LOWER, POOR])
def test_an_override_of_the_profile_stays(learned: Learned) -> None:
    """What the operator said of a type goes before what is learned of it."""
    assert aim(policy(learned, task_overrides={"docs": "mid"})).requested == "mid"


def test_a_minimum_of_the_profile_is_a_floor() -> None:
    """Savings end there; going up is still possible."""
    assert aim(policy(LOWER, type_minimums={"docs": "mid"})).requested == "mid"
    assert aim(policy(POOR, type_minimums={"docs": "mid"})).requested == "top"


def test_critical_work_is_not_made_cheaper() -> None:
    """It may still be moved up."""
    assert aim(policy(LOWER), critical=True).requested == "mid"
    assert aim(policy(POOR), critical=True).requested == "top"


def test_a_disabled_or_unknown_tier_is_not_gone_down_to() -> None:
    """A profile may have changed since."""
    rules = policy(Learned(enough="gone"))
    assert aim(rules).requested == "mid"
    tiers = tuple(replace(tier, enabled=tier.name != "low") for tier in TIERS)
    assert aim(replace(policy(LOWER), catalog=Catalog(tiers=tiers))).requested == "mid"


def test_nothing_learned_is_nothing_changed() -> None:
    """Exactly the aim without history."""
    other = policy(LOWER)
    assert aim(policy(None)) == aim(replace(other, learned={"bugfix": LOWER}))


def test_commands_need_no_history() -> None:
    """Work without a model is moved by nothing that models did."""
    assert aim(policy(LOWER), kind=TaskKind.COMMAND).direct
    assert aim(policy(POOR), Complexity.TRIVIAL, has_command=True).direct


@given(
    st.builds(Learned, enough=st.sampled_from(["", *NAMES]), poor=st.lists(st.sampled_from(NAMES)).map(tuple)),
    st.sampled_from(list(Complexity)),
    st.sampled_from([{}, {"docs": "low"}, {"docs": "mid"}, {"docs": "top"}]),
    st.booleans(),
)
def test_history_stays_between_the_floor_and_the_top(
    learned: Learned, complexity: Complexity, minimums: dict[str, str], critical: bool
) -> None:
    """Whatever was learned: a model tier of the ladder, never below the minimum, and critical work never lower."""
    rules = policy(learned, type_minimums=minimums)
    ladder = Ladder(rules.catalog)
    found, plain = aim(rules, complexity, critical=critical), aim(replace(rules, learned={}), complexity)
    assert found.start is not None
    assert plain.start is not None
    assert ladder.position(found.start.name) >= ladder.position(minimums.get("docs", "low"))
    if critical:
        assert ladder.position(found.start.name) >= ladder.position(plain.start.name)
