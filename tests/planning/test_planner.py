"""Strategies by name: the portfolio with its rivals and its search, and what is promised of all of them."""

from random import Random

import pytest
from hypothesis import given, settings

from ostler.domain.errors import InvalidInputError
from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.pilot import pilot, run_value
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.planner import make_plan
from ostler.planning.portfolio import POOL, SHAKEN, Setting, best_setting, keys_of, quick_grid, told
from ostler.planning.rivals import RIVALS, rival
from ostler.planning.value import plan_value
from ostler.residency.rule import LIVE
from ostler.simulate.instances import random_instance
from tests.planning.instances import Count, instances, one_host, task


def test_the_grid_has_120_settings_the_live_one_first() -> None:
    """No setting twice."""
    quick = list(quick_grid())

    assert len(quick) == 120
    assert len(set(quick)) == 120
    assert quick[0] == Setting(LIVE)
    assert sum(one.shake == 0 for one in quick) == 48


def test_an_order_is_shaken_the_same_way_each_time() -> None:
    """Each rank by a factor between a half and three halves, fixed by the number of the shake."""
    compiled = Compiled(random_instance(5, 40, 2))

    first, second = keys_of(compiled, 1), keys_of(compiled, 2)

    assert keys_of(compiled, 0) == compiled.rank
    assert first == keys_of(compiled, 1) != second
    assert all(rank // 2 - 1 <= key <= rank * 3 // 2 for key, rank in zip(first, compiled.rank, strict=True))


def test_every_second_round_of_shakes_is_of_the_path_without_changes() -> None:
    """Where a change counts for little, an order by ranks would be shaken around the wrong middle."""
    compiled = Compiled(random_instance(5, 40, 1, regime="call"))

    keys = keys_of(compiled, len(SHAKEN))

    assert compiled.path != compiled.rank
    assert all(path // 2 - 1 <= key <= path * 3 // 2 for key, path in zip(keys, compiled.path, strict=True))


def test_a_setting_is_told_by_what_differs() -> None:
    """People read which setting won."""
    assert told(Setting(LIVE)) == "live setting"
    assert told(Setting(LIVE._replace(look=4.0, prefetch=False), 7)) == "looks ahead 4, no prefetch, order 7"


def test_the_best_setting_is_no_worse_than_the_live_one() -> None:
    """The live setting is always among those tried, even with no effort to spare."""
    compiled = Compiled(random_instance(5, 40, 2, regime="call"))

    none = best_setting(compiled, Count(0))
    some = best_setting(compiled, Count(50))

    assert (none.setting, none.tried, some.tried) == (Setting(LIVE), 1, 50)
    assert some.run.makespan_ms <= none.run.makespan_ms == Run(compiled).go().makespan_ms


def test_runs_of_different_worth_are_kept_as_starts() -> None:
    """The pool is in order of worth, without doubles, the best run first."""
    found = best_setting(Compiled(random_instance(5, 40, 2, regime="call")), Count(500))

    values = [value for value, _ in found.pool]
    assert values == sorted(set(values))
    assert 1 < len(values) <= POOL
    assert found.pool[0][1] is found.run


def test_rivals_do_what_their_names_say() -> None:
    """Two models that exclude each other, asked for in turn: strict order swaps each time, drain only once."""
    tasks = tuple(task(f"t{place}", model) for place, model in enumerate(("large", "other", "large", "other")))
    compiled = Compiled(Instance(hosts=(one_host(large=2, other=2),), tasks=tasks))

    loads = {name: plan.loads for name in RIVALS if (plan := rival(compiled, name)) is not None}

    assert loads == {"fifo": 4, "round-robin": 2, "least-loaded": 2, "affinity": 2, "drain": 2, "heft": 2}


def test_a_router_spreads_by_turn_by_load_or_by_warmth() -> None:
    """Three long tasks and a short one on two hosts."""
    hosts = tuple(
        PlanHost(name=name, memory_bytes=30, models={"m": Serving(memory_bytes=5, load_ms=10, slots=1)})
        for name in ("h0", "h1")
    )
    tasks = tuple(task(f"t{place}", "m", duration) for place, duration in enumerate((900, 100, 100, 100)))
    compiled = Compiled(Instance(hosts=hosts, tasks=tasks))

    def host_of(name: str) -> list[str]:
        plan = rival(compiled, name)
        assert plan is not None
        return [row.host for row in sorted(plan.placements, key=lambda row: row.task)]

    assert host_of("round-robin") == ["h0", "h1", "h0", "h1"]
    assert host_of("least-loaded") == ["h0", "h1", "h1", "h1"]
    with pytest.raises(KeyError):
        rival(compiled, "oracle")


@settings(max_examples=40)
@given(instances(plain=True))
def test_what_rivals_plan_can_be_carried_out_too(instance: Instance) -> None:
    """A comparison with a schedule that breaks the rules would prove nothing."""
    compiled = Compiled(instance)

    for name in RIVALS:
        plan = rival(compiled, name)
        assert plan is not None, f"{name} does the work"
        assert not check_plan(instance, plan), f"the plan of {name} holds"


@settings(max_examples=40)
@given(instances())
def test_the_portfolio_is_no_worse_than_anyone(instance: Instance) -> None:
    """Live policy and every rival are among the candidates; the plan holds."""
    plan = make_plan(instance, "portfolio", Count(30), Random(1))

    assert not check_plan(instance, plan), "the plan can be carried out"
    compiled = Compiled(instance)
    others: list[Plan] = [make_plan(instance, "live", Count(0), Random(1))]
    others += [found for name in RIVALS if (found := rival(compiled, name)) is not None]
    for other in others:
        assert plan_value(instance, plan) <= plan_value(instance, other), f"no worse than {other.strategy}"


def test_the_portfolio_is_no_worse_than_anyone_at_any_size() -> None:
    """Not even without any effort, on a problem too large for a search."""
    instance = random_instance(1, 2_500, 2, shape="jobs", regime="call")

    plan = make_plan(instance, "portfolio", Count(0), Random(1))

    compiled = Compiled(instance)
    rivals = [found for name in RIVALS if (found := rival(compiled, name)) is not None]
    assert len(rivals) == len(RIVALS)
    best = min([*rivals, make_plan(instance, "live", Count(0), Random(1))], key=lambda one: one.makespan_ms)
    assert plan.makespan_ms <= best.makespan_ms, f"no worse than {best.strategy}"


def test_the_same_count_and_dice_give_the_same_plan() -> None:
    """A plan made by count repeats exactly."""
    instance = random_instance(0, 30, 1)

    first, second = (make_plan(instance, "portfolio", Count(400), Random(3)) for _ in range(2))

    assert first == second
    assert "search on episodes" in first.detail


def test_the_pilot_is_no_worse_than_its_setting() -> None:
    """It looks at every alternative of each decision, the natural one first."""
    compiled = Compiled(random_instance(2, 20, 1))

    piloted = pilot(compiled, LIVE, Count(200))

    assert run_value(piloted) <= run_value(Run(compiled).go())
    assert not check_plan(compiled.instance, piloted.plan("pilot"))


def test_money_and_time_are_joined_by_the_price_of_a_minute() -> None:
    """A minute saved for one cent is bought at five cents a minute, not at half a cent."""
    choices = (
        Choice(models=("large",), duration_ms=100_000),
        Choice(models=("cloud-model",), duration_ms=40_000, cost_micro_usd=10_000),
    )
    cloud = PlanHost(name="sky", models={"cloud-model": Serving(slots=5)}, cloud=True)
    job = PlanTask(id="a", choices=choices)

    def where(price: int) -> str:
        instance = Instance(hosts=(one_host(), cloud), tasks=(job,), minute_price_micro_usd=price)
        return make_plan(instance, "portfolio", Count(50), Random(1)).placements[0].host

    assert where(50_000) == "sky"
    assert where(5_000) == "box"


def test_strategies_of_others_are_called_by_name_and_unknown_ones_refused() -> None:
    """The nearest known name is offered."""
    instance = Instance(hosts=(one_host(),), tasks=(task("a", "small"),))
    empty = Plan(strategy="mine", episodes=(), placements=())

    made = make_plan(instance, "mine", Count(0), Random(1), {"mine": lambda *_: empty})

    assert made is empty
    with pytest.raises(InvalidInputError, match="portfolio"):
        make_plan(instance, "portfolo", Count(0), Random(1))


def test_a_problem_without_a_plan_is_said_to_have_none() -> None:
    """A pinned model that fills the memory once it is loaded leaves nothing for the others."""
    models = {"p": Serving(memory_bytes=20, pinned=True), "m": Serving(memory_bytes=9)}
    host = PlanHost(name="box", memory_bytes=24, models=models)
    tasks = (task("first", "p"), task("a", "m", 1_000, "first"))

    with pytest.raises(InvalidInputError, match="no way was found to run a"):
        make_plan(Instance(hosts=(host,), tasks=tasks), "portfolio", Count(5), Random(1))
