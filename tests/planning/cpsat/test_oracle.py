"""The exact solver against trying everything: two ways to the optimum that share no code."""

import pytest

from ostler.planning.cpsat.result import Goal, Status
from ostler.planning.instance import Instance
from tests.planning.cpsat.rig import solved
from tests.planning.oracle import TooLargeError, shortest_ms
from tests.planning.tiny import varied_instance

SEEDS = range(40)
GOAL = Goal(keep_optional=False, minimise_loads=False)
"""The oracle leaves out optional tasks that nobody needs."""


def momentary(instance: Instance) -> bool:
    """Whether a stay could take no time at all; the oracle counts its memory, the checker of plans does not."""
    return any(choice.duration_ms == 0 for planned in instance.tasks for choice in planned.choices)


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if not momentary(varied_instance(seed))])
def test_the_proven_makespan_is_the_shortest_of_all(seed: int) -> None:
    """Pinned and resident models, limits, clouds, paces, two models, own memory, choices, releases: never off."""
    instance = varied_instance(seed)
    try:
        shortest = shortest_ms(instance)
    except TooLargeError:
        pytest.skip("too many states to try")

    answer = solved(instance, goal=GOAL)

    assert answer.plan is not None
    assert (answer.status, answer.plan.makespan_ms) == (Status.PROVEN, shortest)
