"""Which tiers have somewhere to run."""

import pytest
from msgspec.structs import replace

from ostler.domain.fleet import BreakerState, Health
from ostler.routing.availability import available_tiers
from tests.routing.fleets import DEAR, NOW, SMALL, THREE_TIERS, endpoint, fleet, view, with_tier

S, D = SMALL.name, DEAR.name


@pytest.mark.parametrize(
    ("state", "available"),
    [
        ({}, True),
        ({"health": Health.UNKNOWN}, True),
        ({"health": Health.DOWN}, False),
        ({"health": Health.KEY_INVALID}, False),
        ({"breaker": BreakerState.OPEN}, False),
        ({"breaker": BreakerState.HALF_OPEN}, True),
        ({"blocked_until_ms": NOW + 1}, False),
        ({"blocked_until_ms": NOW}, True),
        ({"slots": 0}, True),
    ],
)
def test_a_tier_is_available_while_calls_may_go_to_one_endpoint(state: dict[str, object], available: bool) -> None:
    """Full is not down, and not checked yet is not down."""
    seen = replace(view("gpu1", S), **state)
    assert available_tiers(fleet(seen), THREE_TIERS, NOW) == {"standard": available}


def test_one_usable_endpoint_is_enough() -> None:
    """The tier is down only when all of its endpoints are."""
    snapshot = fleet(view("a", S, health=Health.DOWN), view("b", S), view("c", D, local=False, health=Health.DOWN))
    assert available_tiers(snapshot, THREE_TIERS, NOW) == {"standard": True, "complex": False}


def test_a_tier_nobody_serves_is_absent_not_down() -> None:
    """Nothing registered, disabled endpoints, endpoints of other providers: nothing to be alarmed about."""
    assert available_tiers(fleet(), THREE_TIERS, NOW) == {}
    disabled = replace(view("a", S), spec=endpoint("a", enabled=False))
    other = view("b", D, local=False, spec={"provider": "other"})
    only_openai = with_tier(THREE_TIERS, "complex", providers=("openai",))
    assert available_tiers(fleet(disabled, other), only_openai, NOW) == {}


def test_disabled_tiers_are_not_watched() -> None:
    """What is not on the ladder cannot be down."""
    policy = with_tier(THREE_TIERS, "standard", enabled=False)
    assert available_tiers(fleet(view("a", S, health=Health.DOWN)), policy, NOW) == {}
