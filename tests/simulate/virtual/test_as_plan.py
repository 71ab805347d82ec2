"""Runs judged by what judges plans: the independent checker, the bounds, and plans of the same instance."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostler.domain.policy import Policy
from ostler.planning.bounds import certify
from ostler.planning.figures import figures
from ostler.planning.instance import checked
from ostler.planning.plan import Episode, Placement
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import ORDERS, planned
from ostler.simulate.virtual.as_plan import as_plan
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Job, Lengths, Workload
from ostler.simulate.virtual.records import Run, Setting
from ostler.simulate.virtual.rivals import run_rival
from ostler.simulate.virtual.routers import ROUTERS
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.worlds import MINUTE_MS, command, job, policy, random_workload, workload

POLICIES = ("scheduler", *sorted(ROUTERS))


def run(name: str, work: Workload, rules: Policy, setting: Setting | None = None) -> Run:
    if name == "scheduler":
        return run_scheduled(work, fleet_of(rules), rules, setting)
    return run_rival(name, work, fleet_of(rules), setting)


def test_stays_and_endings_become_episodes_and_placements() -> None:
    """With the instants of the run; what is still in memory stays to the end."""
    rules, work = policy(slots=1), workload(job("a", "big"), job("b", "other"), command("c"))
    instance, plan = as_plan(run("scheduler", work, rules), work, fleet_of(rules))

    assert plan.episodes == (
        Episode(
            host="box", model="big", load_start_ms=0, ready_ms=20_000, unload_start_ms=80_000, unload_end_ms=90_000
        ),
        Episode(host="box", model="other", load_start_ms=90_000, ready_ms=110_000),
    )
    assert plan.placements == (
        Placement(task="c", host="workers", start_ms=0, end_ms=60_000),
        Placement(task="a", host="box", start_ms=20_000, end_ms=80_000),
        Placement(task="b", host="box", start_ms=110_000, end_ms=170_000),
    )
    assert (plan.makespan_ms, plan.loads, plan.detail) == (170_000, 2, "simulated")
    assert [host.name for host in instance.hosts] == ["box", "workers"]


def test_a_task_that_did_not_succeed_has_no_placement() -> None:
    """It is optional in the instance, so that the plan is still a whole one."""
    rules = policy(slots=1)
    work = workload(job("a", "big", minutes=10), job("b", "other", ttl_ms=1_000))
    instance, plan = as_plan(run("scheduler", work, rules), work, fleet_of(rules))

    assert [row.task for row in plan.placements] == ["a"]
    assert [task.optional for task in instance.tasks] == [False, True]
    assert check_plan(instance, plan) == ()


def test_cloud_calls_are_placed_at_their_endpoint() -> None:
    """Where nothing is loaded."""
    rules = policy(cloud=True)
    work = workload(Job(spec=job("a", "claude").spec, output_tokens=100), job("b", "big"))
    instance, plan = as_plan(run("scheduler", work, rules), work, fleet_of(rules))

    assert {row.task: row.host for row in plan.placements} == {"a": "sky", "b": "box"}
    assert check_plan(instance, plan) == ()


@settings(max_examples=40, deadline=None)
@example(seed=55, name="warm-first", hosts={"box": 20, "twin": 44}, sigma=0.5)  # asked for again while it was leaving
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from(POLICIES),
    hosts=st.sampled_from([{"box": 24}, {"box": 20, "twin": 44}]),
    sigma=st.sampled_from([0.0, 0.5]),
)
def test_every_run_is_a_plan_that_can_be_carried_out(seed: int, name: str, hosts: dict[str, int], sigma: float) -> None:
    """The checker of plans, which knows nothing of simulations, finds no broken rule in any run of any policy."""
    rules, work = policy(hosts), random_workload(seed, 20)
    instance, plan = as_plan(run(name, work, rules, Setting(lengths=Lengths(seed, sigma))), work, fleet_of(rules))

    assert check_plan(checked(instance), plan) == ()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(POLICIES))
def test_no_run_is_shorter_than_the_bound(seed: int, name: str) -> None:
    """What no plan can beat, no simulation beats either: else one of the two would be wrong."""
    rules, work = policy({"box": 24}), random_workload(seed, 15)
    instance, plan = as_plan(run(name, work, rules), work, fleet_of(rules))

    assert plan.makespan_ms >= certify(instance).bound_ms


@pytest.mark.parametrize("name", POLICIES)
def test_figures_of_run_and_plan_agree(name: str) -> None:
    """Loads and makespan, counted by the planner's own figures."""
    rules, work = policy({"box": 24, "twin": 24}), random_workload(11, 30)
    result = run(name, work, rules)
    instance, plan = as_plan(result, work, fleet_of(rules))
    found = figures(instance, plan)

    assert found.makespan_ms == max(ending.ended_ms or 0 for ending in result.endings.values())
    assert plan.loads == sum(site.loads for site in result.sites.values())


def chain(*models: str) -> Workload:
    """Tasks one after the other: nobody has a choice but when to load."""
    jobs = [job(f"t{i}", model, needs=(f"t{i - 1}",) if i else ()) for i, model in enumerate(models)]
    return workload(*jobs)


@pytest.mark.parametrize(
    "models", [("big", "other", "big"), ("big", "big", "small"), ("small", "big", "other", "small")]
)
@pytest.mark.parametrize("strategy", sorted(ORDERS))
def test_predicted_and_simulated_agree_where_there_is_no_choice(models: tuple[str, ...], strategy: str) -> None:
    """A chain without prefetch room takes the same to the millisecond, planned or simulated."""
    rules, work = policy({"box": 20}, slots=1), chain(*models)
    instance, simulated = as_plan(run("scheduler", work, rules), work, fleet_of(rules))

    assert planned(instance, strategy).makespan_ms == simulated.makespan_ms


def test_predicted_and_simulated_agree_on_two_models_drained_in_turn() -> None:
    """Model-first and the rival that drains both serve one model, then the other: one swap, the same makespan."""
    rules = policy({"box": 24}, slots=2)
    work = workload(*(job(f"t{i}", "big" if i < 4 else "other", minutes=2) for i in range(8)))
    instance, simulated = as_plan(run("drain", work, rules), work, fleet_of(rules))
    plan = planned(instance, "model-first")

    assert plan.makespan_ms == simulated.makespan_ms == 20_000 + 4 * MINUTE_MS + 10_000 + 20_000 + 4 * MINUTE_MS
    assert plan.loads == simulated.loads == 2
