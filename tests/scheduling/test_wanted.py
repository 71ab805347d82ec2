"""What a task is to a planner: its models by the rules of routing, its own first."""

import pytest

from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.routing.ladder import Ladder
from ostler.scheduling.wanted import meant_models, wanted
from tests.routing.fleets import FOUR_TIERS, with_tier

PROMPT = "name three horses"
TIERS = {tier.name: tier for tier in FOUR_TIERS.catalog.tiers}


def test_a_named_model_comes_first_and_its_stand_ins_after_it() -> None:
    """The order of the models is the order in which they are tried."""
    first, other = TIERS["T1"].models[0], TIERS["T0"].models[0]
    found = wanted(TaskSpec(id="t", prompt=PROMPT, model=first, fallback_models=(other,)), FOUR_TIERS)

    assert found.models == (first, other)


def test_a_tier_has_its_own_models_only_from_its_providers() -> None:
    """Models that stand in for those of a tier may be served by anyone."""
    policy = with_tier(FOUR_TIERS, "T2", providers=("deepseek",))
    plain = wanted(TaskSpec(id="t", prompt=PROMPT, tier="T2"), policy)

    assert (plain.models, plain.providers) == (TIERS["T2"].models, ("deepseek",))


def test_a_task_without_a_model_wants_those_of_its_tier() -> None:
    """Which tier that is, the classifier says."""
    found = wanted(TaskSpec(id="t", prompt=PROMPT, complexity=None, task_type="coding"), FOUR_TIERS)

    assert found.models == TIERS["T2"].models


def test_a_command_wants_no_model() -> None:
    """It runs on a worker."""
    assert wanted(TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("make",)), FOUR_TIERS).models == ()


def test_a_disabled_ladder_is_said() -> None:
    """Nothing can be planned for work that no enabled tier may take."""
    policy = FOUR_TIERS
    for name in TIERS:
        if name != "direct":
            policy = with_tier(policy, name, enabled=False)

    with pytest.raises(InvalidInputError) as refused:
        wanted(TaskSpec(id="t", prompt=PROMPT), policy)
    assert refused.value.where == "tier"


def test_a_name_nobody_knows_is_taken_as_a_model() -> None:
    """An endpoint may list what the profile does not name."""
    assert meant_models("mystery:7b", FOUR_TIERS, Ladder(FOUR_TIERS.catalog)) == ("mystery:7b",)
