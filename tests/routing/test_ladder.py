"""The ladder: names, rungs, and steps that disabled tiers do not cost."""

import pytest

from ostler.domain.catalog import DIRECT, Catalog, TierSpec
from ostler.domain.errors import InvalidInputError
from ostler.routing.ladder import Ladder, ladder_of
from tests.routing.fleets import FOUR_TIERS, with_tier


def ladder(*disabled: str) -> Ladder:
    policy = FOUR_TIERS
    for name in disabled:
        policy = with_tier(policy, name, enabled=False)
    return Ladder(policy.catalog)


def names(steps: tuple[TierSpec, ...]) -> list[str]:
    return [tier.name for tier in steps]


def test_the_rungs_are_direct_and_the_enabled_tiers_in_rank_order() -> None:
    """Disabled tiers are not on the ladder, whatever order the catalogue lists them in."""
    catalog = Catalog(tiers=tuple(reversed(with_tier(FOUR_TIERS, "T1", enabled=False).catalog.tiers)))
    assert names(Ladder(catalog).steps) == [DIRECT, "T0", "T2", "T3"]


def test_direct_is_always_the_first_rung() -> None:
    """A catalogue that leaves `direct` out, or disables it, still has it."""
    without = Catalog(tiers=tuple(tier for tier in FOUR_TIERS.catalog.tiers if tier.name != DIRECT))
    assert names(Ladder(without).steps)[0] == DIRECT
    assert names(ladder(DIRECT).steps)[0] == DIRECT


def test_aliases_mean_their_tier() -> None:
    """A tier is found by its name and by its alias, enabled or not."""
    found = ladder("T2").find("cheap_cloud")
    assert found is not None
    assert found.name == "T2"
    assert ladder().find("T9") is None


def test_an_unknown_tier_is_refused_with_the_nearest_name() -> None:
    """The message names the field and what was probably meant."""
    with pytest.raises(InvalidInputError, match="cheap_cloud") as error:
        ladder().resolve("cheep_cloud", where="model")
    assert error.value.where == "model"


@pytest.mark.parametrize(
    ("disabled", "tier", "settled"),
    [
        ((), "T1", "T1"),
        (("T1",), "T1", "T2"),
        (("T1", "T2"), "T1", "T3"),
        (("T3",), "T3", "T2"),
        (("T2", "T3"), "T2", "T1"),
        (("T0", "T1", "T2", "T3"), "T1", None),
    ],
)
def test_a_disabled_tier_gives_way_upward_else_downward(
    disabled: tuple[str, ...], tier: str, settled: str | None
) -> None:
    """The next enabled tier above takes its place; only where there is none, the highest one below."""
    rungs = ladder(*disabled)
    found = rungs.settle(rungs.resolve(tier))
    assert (found.name if found else None) == settled


def test_a_step_passes_over_disabled_tiers_at_no_cost() -> None:
    """One step up from T0 is T2 when T1 is disabled."""
    rungs = ladder("T1")
    here = rungs.index("T0")
    assert here is not None
    up, down, beyond = rungs.shift(here, 1), rungs.shift(here, -1), rungs.shift(here, 3)
    assert up is not None
    assert down is not None
    assert (up.name, down.name, beyond) == ("T2", DIRECT, None)
    assert rungs.index("T1") is None


def test_higher_compares_ranks_of_disabled_tiers_too() -> None:
    """Minimums are compared on the whole ladder."""
    rungs = ladder("T2")
    assert rungs.higher(rungs.resolve("T2"), rungs.resolve("T1")).name == "T2"


def test_a_catalogue_has_one_ladder_for_as_long_as_it_is_in_use() -> None:
    """It is built once; another catalogue, even an equal one, has its own, so no change of a profile is overlooked."""
    catalog = FOUR_TIERS.catalog
    assert ladder_of(catalog) is ladder_of(catalog)
    changed = with_tier(FOUR_TIERS, "T1", enabled=False).catalog
    assert names(ladder_of(changed).steps) == names(Ladder(changed).steps) != names(ladder_of(catalog).steps)
    assert names(ladder_of(catalog).steps) == names(Ladder(catalog).steps)


def test_many_profiles_after_one_another_are_never_mistaken() -> None:
    """Also when those of the past are gone and another one stands where they stood."""
    for number in range(50):
        catalog = Catalog(tiers=(TierSpec(name=f"only{number}", rank=1),))
        assert names(ladder_of(catalog).steps) == [DIRECT, f"only{number}"]
