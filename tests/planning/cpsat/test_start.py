"""Where the solver starts: the best plan that keeps every limit, or none."""

import msgspec
import pytest

from ostler.planning.cpsat.data import prepared
from ostler.planning.cpsat.objective import plan_cost_micro_usd, plan_value
from ostler.planning.cpsat.result import Goal
from ostler.planning.cpsat.start import best_start, keeps, simple_plans
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Placement, Plan
from ostler.planning.strategies import dependency_first, hybrid, model_first
from tests.planning.cpsat.rig import PLAIN, box, problem, task

INSTANCE = problem(task("s", "a", 100), task("t", "b", 50), task("extra", "a", 10, optional=True))
GOOD = hybrid(INSTANCE)
SKY = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=9)})
PAID = Instance(
    hosts=(SKY,),
    tasks=(PlanTask(id="t", choices=(Choice(models=("api",), duration_ms=60_000, cost_micro_usd=7),)),),
    minute_price_micro_usd=50_000,
)
IN_THE_SKY = Plan(
    strategy="test", episodes=(), placements=(Placement(task="t", host="sky", start_ms=0, end_ms=60_000),)
)


def without(name: str) -> Plan:
    return msgspec.structs.replace(GOOD, placements=tuple(one for one in GOOD.placements if one.task != name))


def test_a_plan_that_holds_is_a_start() -> None:
    """Every rule kept, every task placed."""
    assert keeps(prepared(INSTANCE), PLAIN, GOOD)


def test_a_plan_that_leaves_out_a_task_is_none() -> None:
    """Not even an optional one, unless the goal lets go of it."""
    assert not keeps(prepared(INSTANCE), PLAIN, without("t"))
    assert not keeps(prepared(INSTANCE), PLAIN, without("extra"))
    assert keeps(prepared(INSTANCE, keep_optional=False), Goal(keep_optional=False), without("extra"))


def test_a_plan_that_breaks_a_rule_is_none() -> None:
    """Without its loads nothing can run."""
    assert not keeps(prepared(INSTANCE), PLAIN, msgspec.structs.replace(GOOD, episodes=()))


@pytest.mark.parametrize(("budget", "kept"), [(6, False), (7, True), (None, True)])
def test_a_plan_over_the_budget_is_none(budget: int | None, kept: bool) -> None:
    """The choices of the plan cost 7."""
    assert keeps(prepared(PAID), Goal(budget_micro_usd=budget), IN_THE_SKY) == kept


def test_the_shortest_of_the_plans_that_hold_is_taken() -> None:
    """The order of the plans does not matter, and one that breaks a rule does not win by being short."""
    chain = problem(*(task(f"t{index}", "ab"[index % 2], 10) for index in range(6)))
    made = prepared(chain)
    slow, fast = dependency_first(chain), model_first(chain)
    dream = msgspec.structs.replace(fast, episodes=(), placements=())
    assert slow.makespan_ms > fast.makespan_ms

    for plans in ([slow, fast, dream], [dream, fast, slow]):
        assert best_start(made, PLAIN, plans) == fast


def test_no_plan_is_no_start() -> None:
    """Nothing known, or nothing that holds."""
    made = prepared(INSTANCE)

    assert best_start(made, PLAIN, []) is None
    assert best_start(made, PLAIN, [without("t")]) is None


def test_strategies_that_find_no_room_are_left_out() -> None:
    """A pinned resident fills the host: no strategy has a plan, and none of them raises."""
    pinned = Serving(memory_bytes=6, load_ms=20, unload_ms=10, pinned=True)
    host = msgspec.structs.replace(box("a", resident=("b",)), models={"a": pinned, "b": pinned})

    assert simple_plans(problem(task("t", "a", 10), hosts=(host,))) == []


def test_the_value_of_a_plan_is_its_makespan_or_its_price() -> None:
    """In ticks by default; with a price a minute counts what it is worth, and the choices what they cost."""
    made = prepared(PAID)

    assert plan_cost_micro_usd(PAID, IN_THE_SKY) == 7
    assert plan_value(made, IN_THE_SKY, PLAIN) * made.tick_ms == 60_000
    assert plan_value(made, IN_THE_SKY, Goal(priced=True)) == 60_000 * (50_000 + 7)
