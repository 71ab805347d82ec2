"""Which tier the work asks for, before anyone looks at the fleet."""

import pytest
from msgspec.structs import replace

from ostler.domain.catalog import DIRECT, CostClass
from ostler.domain.decision import Cause
from ostler.domain.policy import Policy, RoutingPolicy
from ostler.domain.tasks import Complexity, ErrorCount, TaskFacts, TaskKind
from ostler.routing.aim import Aim, find_aim
from ostler.routing.ladder import Ladder
from tests.routing.fleets import DEAR, FOUR_TIERS, SMALL, THREE_TIERS, facts, with_routing, with_tier

TRIVIAL, STANDARD, COMPLEX, UNKNOWN = Complexity.TRIVIAL, Complexity.STANDARD, Complexity.COMPLEX, Complexity.UNKNOWN


def aim(task: TaskFacts, policy: Policy = FOUR_TIERS, *, steps: int = 0, errors: tuple[ErrorCount, ...] = ()) -> Aim:
    return find_aim(task, quality_steps=steps, errors=errors, policy=policy, ladder=Ladder(policy.catalog))


def start(found: Aim) -> str | None:
    return found.start.name if found.start is not None else None


def causes(found: Aim) -> list[Cause]:
    return [step.cause for step in found.adjustments]


@pytest.mark.parametrize(
    ("complexity", "task_type", "tier"),
    [
        (STANDARD, "general", "T0"),
        (STANDARD, "planning", "T1"),
        (STANDARD, "coding", "T2"),
        (COMPLEX, "general", "T1"),
        (COMPLEX, "coding", "T2"),
        (TRIVIAL, "final_polish", "T3"),
        (UNKNOWN, "general", "T0"),
        (UNKNOWN, "coding", "T2"),
        (STANDARD, "a type nobody listed", "T0"),
    ],
)
def test_the_higher_minimum_of_complexity_and_type_wins(complexity: Complexity, task_type: str, tier: str) -> None:
    """Both name a tier, the higher one is the request, and the record says when the type raised it."""
    found = aim(facts(complexity, task_type))
    assert (found.minimum, found.requested, start(found)) == (tier, tier, tier)
    assert all(step.cause is Cause.CLASSIFICATION for step in found.adjustments)


def test_an_override_replaces_both_minimums() -> None:
    """A profile may send a type lower, or higher, than complexity and type would."""
    policy = with_routing(FOUR_TIERS, task_overrides={"coding": "local_cheap", "general": "T3"})
    lower = aim(facts(COMPLEX, "coding"), policy)
    assert (start(lower), lower.minimum, causes(lower)) == ("T0", "T0", [Cause.OVERRIDE])
    assert start(aim(facts(TRIVIAL, "general"), policy)) == "T3"


def test_the_unclassified_tier_can_be_chosen() -> None:
    """Work nobody could classify goes where the policy says, by default where standard work goes."""
    assert start(aim(facts(UNKNOWN), with_routing(FOUR_TIERS, unclassified_tier="T1"))) == "T1"
    assert start(aim(facts(UNKNOWN))) == start(aim(facts(STANDARD)))


def test_without_mappings_the_ladder_itself_decides() -> None:
    """Trivial is direct, standard the lowest local tier, complex the highest enabled one."""
    bare = replace(FOUR_TIERS, routing=RoutingPolicy())
    assert aim(facts(TRIVIAL, has_command=True), bare).direct
    assert start(aim(facts(STANDARD), bare)) == "T0"
    assert start(aim(facts(COMPLEX), bare)) == "T3"
    assert start(aim(facts(COMPLEX), with_tier(bare, "T3", enabled=False))) == "T2"
    clouds = with_tier(with_tier(bare, "T0", cost=CostClass.METERED), "T1", cost=CostClass.METERED)
    assert start(aim(facts(STANDARD), clouds)) == "T0"
    only_t1_local = with_tier(bare, "T0", cost=CostClass.METERED)
    assert start(aim(facts(STANDARD), only_t1_local)) == "T1"


@pytest.mark.parametrize("complexity", list(Complexity))
def test_a_command_is_direct_whatever_its_complexity(complexity: Complexity) -> None:
    """Commands need no model, no tier and no fleet."""
    found = aim(facts(complexity, "final_polish", kind=TaskKind.COMMAND))
    assert (found.direct, found.requested) == (True, DIRECT)


def test_trivial_work_is_direct_only_when_it_carries_a_command() -> None:
    """With one it runs without a model; without one it goes to the lowest model tier, counted from direct."""
    assert aim(facts(TRIVIAL, has_command=True), THREE_TIERS).direct
    found = aim(facts(TRIVIAL), THREE_TIERS)
    assert (start(found), found.from_direct, causes(found)) == ("standard", True, [Cause.NO_COMMAND])
    assert not aim(facts(STANDARD, has_command=True), THREE_TIERS).direct


def test_a_types_minimum_is_about_models() -> None:
    """It does not keep a trivial command from running, nor make the lowest model tier more than the lowest."""
    policy = with_routing(FOUR_TIERS, complexity_tiers={"trivial": DIRECT})
    assert aim(facts(TRIVIAL, "coding", has_command=True), policy).direct
    lowest = aim(facts(TRIVIAL, "general"), policy)
    assert (start(lowest), lowest.from_direct, lowest.minimum) == ("T0", True, DIRECT)
    higher = aim(facts(TRIVIAL, "planning"), policy)
    assert (start(higher), higher.from_direct, higher.minimum) == ("T1", False, "T1")
    override = with_routing(policy, task_overrides={"coding": "T1"})
    assert start(aim(facts(TRIVIAL, "coding", has_command=True), override)) == "T1"


def test_a_pin_makes_trivial_work_need_its_model() -> None:
    """Who names a model or an endpoint wants it used."""
    assert not aim(facts(TRIVIAL, has_command=True, model=SMALL.name), THREE_TIERS).direct
    assert not aim(facts(TRIVIAL, has_command=True, endpoint="gpu1"), THREE_TIERS).direct


def test_a_stated_tier_is_the_request() -> None:
    """It may be above or below what the classification asks for; the record keeps both."""
    below = aim(facts(COMPLEX, "coding", tier="T0"))
    assert (start(below), below.requested, below.minimum, causes(below)) == ("T0", "T0", "T2", [Cause.EXPLICIT])
    assert start(aim(facts(STANDARD, tier="expensive_cloud"))) == "T3"
    assert aim(facts(STANDARD, tier="T0")).adjustments == ()


def test_a_stated_tier_that_left_the_profile_is_said() -> None:
    """A waiting task whose tier a new profile dropped gets no start, and the reason."""
    found = aim(facts(tier="T9"))
    assert (found.start, found.blocked) == (None, "the profile has no tier T9")


@pytest.mark.parametrize(
    ("count", "tier", "steps"), [(1, "T0", 0), (2, "T0", 0), (3, "T1", 1), (5, "T1", 1), (6, "T2", 2), (99, "T2", 2)]
)
def test_the_third_equal_error_moves_one_tier_up(count: int, tier: str, steps: int) -> None:
    """Each full threshold is one step, at most two in all, wherever the errors were seen."""
    stored = aim(facts(), errors=(ErrorCount("same <n>", count),))
    told = aim(facts(recent_errors=tuple(f"same {number}" for number in range(count))))
    mixed = aim(facts(recent_errors=("same 17",)), errors=(ErrorCount("same <n>", count - 1),))
    for found in (stored, told, mixed):
        assert (start(found), found.quality_steps) == (tier, steps)
        assert causes(found) == [Cause.REPEATED_ERROR] * bool(steps)


def test_different_errors_are_no_loop() -> None:
    """Three errors of different kinds do not add up."""
    assert start(aim(facts(recent_errors=("refused", "timed out", "not found")))) == "T0"


def test_escalation_goes_on_over_a_disabled_tier() -> None:
    """The next tier up is the next enabled one."""
    found = aim(facts(recent_errors=("stuck",) * 3), with_tier(FOUR_TIERS, "T1", enabled=False))
    assert (start(found), found.quality_steps) == ("T2", 1)


def test_escalation_counts_from_the_tier_that_really_worked() -> None:
    """Errors of a disabled tier's work were made on the tier above it: the step leads beyond that one."""
    found = aim(facts(COMPLEX, recent_errors=("stuck",) * 3), with_tier(FOUR_TIERS, "T1", enabled=False))
    assert (start(found), causes(found)) == ("T3", [Cause.DISABLED, Cause.REPEATED_ERROR])


@pytest.mark.parametrize(
    ("asked", "count", "tier", "expected"),
    [
        (1, 0, "T1", [Cause.QUALITY]),
        (2, 0, "T2", [Cause.QUALITY]),
        (9, 0, "T2", [Cause.QUALITY]),
        (1, 3, "T1", [Cause.REPEATED_ERROR]),
        (2, 3, "T2", [Cause.REPEATED_ERROR, Cause.QUALITY]),
        (1, 6, "T2", [Cause.REPEATED_ERROR]),
    ],
)
def test_quality_steps_and_repeated_errors_do_not_add_up(
    asked: int, count: int, tier: str, expected: list[Cause]
) -> None:
    """The larger of the two counts, within the bound of two."""
    found = aim(facts(), steps=asked, errors=(ErrorCount("e", count),))
    assert (start(found), causes(found)) == (tier, expected)


def test_escalation_ends_at_the_top() -> None:
    """There is nothing above the highest tier."""
    found = aim(facts(task_type="final_polish"), steps=2)
    assert (start(found), found.quality_steps, found.adjustments) == (
        "T3",
        0,
        aim(facts(task_type="final_polish")).adjustments,
    )


def test_a_disabled_tier_gives_way_and_says_so() -> None:
    """Upward where possible, else downward, with its cause."""
    up = aim(facts(), with_tier(FOUR_TIERS, "T0", enabled=False))
    down = aim(facts(task_type="final_polish"), with_tier(FOUR_TIERS, "T3", enabled=False))
    assert (start(up), causes(up)) == ("T1", [Cause.DISABLED])
    assert (start(down), causes(down)[-1]) == ("T2", Cause.DISABLED)
    assert "nothing above is enabled" in down.adjustments[-1].reason


def test_without_any_model_tier_there_is_no_start() -> None:
    """When all are disabled, the reason says so."""
    policy = with_tier(with_tier(THREE_TIERS, "standard", enabled=False), "complex", enabled=False)
    for task in (facts(), facts(TRIVIAL), facts(model="phi3"), facts(COMPLEX, tier="complex")):
        assert (aim(task, policy).start, aim(task, policy).blocked) == (None, "no tier with models is enabled")


@pytest.mark.parametrize(
    ("task", "tier"),
    [
        (facts(model=SMALL.name), "T0"),
        (facts(COMPLEX, "coding", model=SMALL.name), "T0"),
        (facts(model=DEAR.name), "T3"),
        (facts(model=DEAR.name, tier="T0"), "T3"),
        (facts(task_type="coding", model="phi3"), "T2"),
        (facts(TRIVIAL, model="phi3"), "T0"),
    ],
)
def test_a_pinned_model_is_accounted_to_a_tier_that_lists_it(task: TaskFacts, tier: str) -> None:
    """Nearest above the request, else below; a model of no tier is accounted to the tier asked for."""
    assert start(aim(task)) == tier


def test_of_two_tiers_that_list_a_pinned_model_the_one_above_the_request_counts() -> None:
    """A model may stand on several tiers."""
    policy = with_tier(FOUR_TIERS, "T2", models=(SMALL.name,))
    assert start(aim(facts(Complexity.COMPLEX, model=SMALL.name), policy)) == "T2"
    assert start(aim(facts(task_type="final_polish", model=SMALL.name), policy)) == "T2"


def test_nothing_moves_a_pinned_model() -> None:
    """Neither errors nor quality change what was asked for by name."""
    found = aim(facts(model=SMALL.name, recent_errors=("e",) * 9), steps=2)
    assert (start(found), found.quality_steps, found.adjustments) == ("T0", 0, ())


def test_a_model_of_disabled_tiers_only_is_refused() -> None:
    """Disabling a tier is not undone by naming its model."""
    found = aim(facts(model=DEAR.name), with_tier(FOUR_TIERS, "T3", enabled=False))
    assert (found.start, found.blocked) == (None, f"model {DEAR.name} belongs to disabled tiers only")
