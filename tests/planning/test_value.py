"""What a schedule is worth: lateness before time and money, and loads last."""

from hypothesis import given

from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Placement, Plan
from ostler.planning.value import as_ms, plan_value, value_of
from tests.planning.instances import instances, one_host, task


def priced(price: int, cost: int = 0, deadline_ms: int | None = None, weight: int = 1) -> Instance:
    job = PlanTask(
        id="a",
        choices=(Choice(models=("small",), duration_ms=100, cost_micro_usd=cost),),
        deadline_ms=deadline_ms,
        weight=weight,
    )
    return Instance(hosts=(one_host(),), tasks=(job,), minute_price_micro_usd=price)


def plan(end_ms: int = 100) -> Plan:
    return Plan(strategy="x", episodes=(), placements=(Placement(task="a", host="box", start_ms=0, end_ms=end_ms),))


def test_money_becomes_time_by_the_price_of_a_minute() -> None:
    """At five cents a minute one cent is twelve seconds; parts of a millisecond count as one."""
    assert as_ms(priced(50_000), 10_000) == 12_000
    assert as_ms(priced(50_000), 1) == 2
    assert as_ms(priced(50_000), 0) == 0


def test_without_a_price_of_a_minute_money_only_breaks_ties() -> None:
    """Time decides; between equal times the cheaper one."""
    instance = priced(0, cost=700)

    assert plan_value(instance, plan()) == (0, 100, 700, 0)


def test_lateness_counts_by_weight_and_before_all() -> None:
    """Three times as important, forty milliseconds late."""
    assert plan_value(priced(0, deadline_ms=60, weight=3), plan()) == (120, 100, 0, 0)
    assert plan_value(priced(0, deadline_ms=100, weight=3), plan()) == (0, 100, 0, 0)


def test_an_empty_plan_is_worth_nothing() -> None:
    """No task, no end."""
    nothing = Instance(hosts=(one_host(),), tasks=())

    assert plan_value(nothing, Plan(strategy="x", episodes=(), placements=())) == (0, 0, 0, 0)


def test_fewer_loads_are_better_at_the_same_time() -> None:
    """The last word of a value."""
    instance = Instance(hosts=(one_host(resident=("small",)),), tasks=(task("a", "small"), task("b", "large")))
    compiled = Compiled(instance)
    run = Run(compiled).go()

    assert value_of(compiled, run.ends, run.ran, 1) < value_of(compiled, run.ends, run.ran, 2)


def test_a_cloud_adds_its_cost_and_no_load() -> None:
    """What is paid there is in the choice."""
    cloud = PlanHost(name="sky", models={"m": Serving(slots=3)}, cloud=True)
    job = PlanTask(id="a", choices=(Choice(models=("m",), duration_ms=10, cost_micro_usd=600),))
    compiled = Compiled(Instance(hosts=(cloud,), tasks=(job,), minute_price_micro_usd=60_000))
    run = Run(compiled).go()

    assert value_of(compiled, run.ends, run.ran, run.loads) == (0, 10 + 600, 600, 0)


@given(instances())
def test_a_run_and_its_plan_are_worth_the_same(instance: Instance) -> None:
    """The search counts as everybody else does, who has the plan alone."""
    compiled = Compiled(instance)
    run = Run(compiled).go()

    assert value_of(compiled, run.ends, run.ran, run.loads) == plan_value(instance, run.plan("live"))
