"""The ladder of four tiers and the eight types of work, by every name that programs use."""

import pytest

from ostler import TaskType, Tier
from ostler.domain.errors import InvalidInputError
from ostler.routing.keywords import KEYWORDS


@pytest.mark.parametrize("tier", list(Tier))
def test_a_tier_has_a_number_a_name_and_a_short_name(tier: Tier) -> None:
    """All mean the same, in any case of letters."""
    names: tuple[Tier | str | int, ...] = (
        tier,
        int(tier),
        tier.label,
        tier.label.upper(),
        f"T{int(tier)}",
        f"t{int(tier)}",
    )
    assert {Tier.named(name) for name in names} == {tier}


@pytest.mark.parametrize("name", ["", "T4", "local", "4", 4, -1])
def test_what_is_no_tier_is_told_with_the_tiers(name: str | int) -> None:
    """Or with the nearest one."""
    with pytest.raises(InvalidInputError, match="there is no tier") as caught:
        Tier.named(name)
    assert "local" in caught.value.remedy


def test_the_types_are_those_of_the_tables_of_words() -> None:
    """Name by name, with their order as floors."""
    floors = {kind.name: kind.floor for kind in KEYWORDS.types} | {KEYWORDS.default_type: 0}
    assert floors == {kind.value: int(kind.minimum_tier) for kind in TaskType}
