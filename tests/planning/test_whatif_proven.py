"""What a change can do to the best plan there is: proven on tiny instances by the exact solver, side by side."""

from collections.abc import Callable

import pytest

from ostler.planning.certificate import Certificate
from ostler.planning.cpsat.result import Status
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.whatif import (
    Question,
    add_host,
    add_memory,
    allow_model,
    answer,
    scale_swaps,
    set_slots,
    to_cloud,
)
from ostler.simulate.instances import tiny_instance

# Among them some where more memory, slots or another host makes a difference.
SEEDS = (0, 1, 2, 3, 4, 19, 24)
SECONDS = 30.0


def proven(instance: Instance) -> tuple[Plan, Certificate]:
    """The best plan, proven to be so."""
    solved = solve(instance, seconds=SECONDS)
    assert solved.status is Status.PROVEN
    assert solved.plan is not None
    assert check_plan(instance, solved.plan) == ()
    return solved.plan, Certificate(bound_ms=solved.bound_ms, kind="exact solver")


def first_model(instance: Instance) -> str:
    return min(instance.hosts[0].models)


def most_slots(instance: Instance) -> int:
    return max(serving.slots for host in instance.hosts for serving in host.models.values())


NEVER_HURTS: dict[str, Callable[[Instance], Question]] = {
    "a host": lambda instance: add_host(instance, "h0"),
    "memory": lambda instance: add_memory(instance, "h0", 3 * 1000**3),
    "slots": lambda instance: set_slots(instance, most_slots(instance) + 1),
    "a model allowed": lambda instance: allow_model(
        instance, first_model(instance), tuple(task.id for task in instance.tasks)
    ),
    "a cloud offered": lambda instance: to_cloud(instance, (instance.tasks[-1].id,), 5, only=False),
    "free swaps": lambda instance: scale_swaps(instance, 0),
}


@pytest.mark.parametrize("change", NEVER_HURTS)
def test_what_adds_freedom_never_makes_the_best_plan_longer(change: str) -> None:
    """Hosts, memory, slots, models, a cloud, free swaps: not on any instance, and on at least one it helps."""
    saved = []
    for seed in SEEDS:
        said = answer(NEVER_HURTS[change](tiny_instance(seed)), proven)
        assert said.saved_ms >= 0, f"{said.said} on tiny {seed}"
        assert said.certain == (said.saved_ms > 0)
        saved.append(said.saved_ms)

    assert any(saved), f"{change} never helped: the test shows nothing"


@pytest.mark.parametrize("permille", [2_000, 5_000])
def test_slower_swaps_never_make_the_best_plan_shorter(permille: int) -> None:
    """And no longer than all loads and unloads of the old plan together account for."""
    for seed in SEEDS:
        instance = tiny_instance(seed)
        said = answer(scale_swaps(instance, permille), proven)
        plan = said.before.plan
        models = {host.name: host.models for host in instance.hosts}
        swaps_ms = sum(
            models[row.host][row.model].load_ms * (not row.initial)
            + models[row.host][row.model].unload_ms * (row.unload_start_ms is not None)
            for row in plan.episodes
        )
        assert 0 <= -said.saved_ms <= swaps_ms * (permille - 1_000) // 1_000


def test_a_task_moved_to_a_cloud_costs_its_price_and_nothing_else_does() -> None:
    """Whatever it does to the makespan."""
    for seed in SEEDS:
        instance = tiny_instance(seed)
        said = answer(to_cloud(instance, (instance.tasks[0].id, instance.tasks[1].id), 70_000), proven)

        assert said.added_cost_micro_usd == 140_000
