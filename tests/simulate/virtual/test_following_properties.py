"""Plans that are followed in virtual time, over generated work: whatever happens, the guarantees of the scheduler hold.

The plan is made for true lengths; what then happens is longer or shorter, and machines may go away. All is simulated.
"""

from random import Random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostler.domain.policy import Policy
from ostler.planning.bounds import certify
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan
from ostler.planning.planner import make_plan
from ostler.planning.strategies import ORDERS, planned
from ostler.simulate.virtual.as_plan import as_plan
from ostler.simulate.virtual.figures import result_of
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Lengths, Workload
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.test_following import Steps
from tests.simulate.virtual.worlds import SIZES_GB, policy, random_workload, workload

STRATEGIES = ("live", "portfolio", *sorted(ORDERS))
FLEETS: tuple[dict[str, int], ...] = ({"box": 20}, {"box": 24, "twin": 24})
SEEDS = st.integers(0, 10_000)


def rules_of(hosts: dict[str, int], patience_ms: int = 10**9) -> Policy:
    """Two calls at once on each model, and as many on a host as its models take: a plan knows no other limit."""
    base = policy(hosts, slots=6)
    own = dict.fromkeys(SIZES_GB, 2)
    endpoints = {
        name: msgspec.structs.replace(spec, slots_per_model=own) for name, spec in base.catalog.endpoints.items()
    }
    return msgspec.structs.replace(
        base,
        catalog=msgspec.structs.replace(base.catalog, endpoints=endpoints),
        residency=msgspec.structs.replace(base.residency, patience_ms=patience_ms),
    )


def one_run(seed: int, count: int) -> Workload:
    """Work of one batch that is all there at the start."""
    jobs = [
        msgspec.structs.replace(
            job, arrival_ms=0, spec=msgspec.structs.replace(job.spec, batch="p", expected_ms=job.duration_ms)
        )
        for job in random_workload(seed, count).jobs
    ]
    return workload(*jobs)


def plan_for(work: Workload, rules: Policy, strategy: str) -> tuple[Instance, Plan]:
    """A plan for the true lengths on the machines as they are."""
    fleet = fleet_of(rules, keep_alive_s=-1)
    instance, _ = as_plan(run_scheduled(work, fleet, rules), work, fleet)
    # Who ran where in that run is of no matter: any host that has the model may do the work.
    made = planned(instance, strategy) if strategy in ORDERS else make_plan(instance, strategy, Steps(60), Random(0))
    assert check_plan(instance, made) == ()
    return instance, made


def followed(work: Workload, rules: Policy, plan: tuple[Instance, Plan] | None, **setting: object) -> Run:
    fleet = fleet_of(rules, keep_alive_s=-1)
    return run_scheduled(work, fleet, rules, Setting(plan=plan, **setting))  # type: ignore[arg-type]


def makespan_ms(run: Run) -> int:
    return max(ending.ended_ms or 0 for ending in run.endings.values())


@settings(max_examples=25, deadline=None)
@given(
    seed=SEEDS,
    strategy=st.sampled_from(STRATEGIES),
    hosts=st.sampled_from(FLEETS),
    sigma=st.sampled_from([0.0, 0.3, 1.0]),
    patience_ms=st.sampled_from([60_000, 10**9]),
)
def test_a_followed_plan_ends_all_work_within_the_rules(
    seed: int, strategy: str, hosts: dict[str, int], sigma: float, patience_ms: int
) -> None:
    """However long tasks take: all succeed, what happened is a plan that the checker accepts, and none beats the bound
    for the lengths that came true.
    """
    rules, work = rules_of(hosts, patience_ms), one_run(seed, 14)
    run = followed(work, rules, plan_for(work, rules, strategy), lengths=Lengths(seed, sigma))

    assert {ending.state for ending in run.endings.values()} == {"succeeded"}
    instance, happened = as_plan(run, work, fleet_of(rules, keep_alive_s=-1))
    assert check_plan(instance, happened) == (), "what happened keeps every rule"
    assert happened.makespan_ms >= certify(instance).bound_ms


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, strategy=st.sampled_from(STRATEGIES), down_s=st.integers(0, 600), away_s=st.integers(10, 900))
def test_a_machine_that_goes_away_leaves_no_work_behind(seed: int, strategy: str, down_s: int, away_s: int) -> None:
    """The plan is left, the work goes on; nothing runs twice at once and each attempt is counted."""
    rules, work = rules_of({"box": 24, "twin": 24}), one_run(seed, 14)
    outage = Outage(site="twin", from_ms=down_s * 1_000, until_ms=(down_s + away_s) * 1_000)
    run = followed(work, rules, plan_for(work, rules, strategy), outages=(outage,))

    result = result_of(run)
    assert result.succeeded + sum(result.missed.values()) == len(work.jobs)
    assert {ending.state for ending in run.endings.values()} <= {"succeeded", "failed", "dead_letter", "needs_human"}
    for ending in run.endings.values():
        if ending.state != "succeeded":
            assert ending.reason, "what did not succeed says why"


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, strategy=st.sampled_from(STRATEGIES), sigma=st.sampled_from([0.0, 1.0]))
def test_following_repeats_exactly(seed: int, strategy: str, sigma: float) -> None:
    """Same plan, same seed: the same stays and endings, to the millisecond."""
    rules, work = rules_of({"box": 24, "twin": 24}), one_run(seed, 14)
    plan = plan_for(work, rules, strategy)
    one, two = (followed(work, rules, plan, lengths=Lengths(seed, sigma)) for _ in range(2))

    assert one == two


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, strategy=st.sampled_from(STRATEGIES))
@example(seed=9299, strategy="live").via("two calls end in one instant, the first of them not awaited by what is due")
@example(seed=2280, strategy="dependency-first").via("long commands that the plan has begin after another one")
def test_a_plan_without_surprises_takes_no_longer_than_it_predicts(seed: int, strategy: str) -> None:
    """One machine that holds one of the large models at a time, or the small one, true lengths, nobody loses patience:
    to the millisecond, but for the one that passes until the plan is adopted.
    """
    rules, work = rules_of({"box": 20}), one_run(seed, 14)
    instance, plan = plan_for(work, rules, strategy)

    assert makespan_ms(followed(work, rules, (instance, plan))) <= plan.makespan_ms + 1


def test_models_that_stay_beside_each_other_keep_their_turns() -> None:
    """With room for a small model beside a large one: no longer than predicted on average, by a quarter at worst."""
    ratios = []
    for seed in range(20):
        rules, work = rules_of({"box": 24}), one_run(seed, 14)
        instance, plan = plan_for(work, rules, "portfolio")
        ratios.append(makespan_ms(followed(work, rules, (instance, plan))) / plan.makespan_ms)

    assert sum(ratios) / len(ratios) <= 1.01
    assert max(ratios) <= 1.25


@pytest.mark.parametrize("hosts", [{"box": 24, "twin": 24}, {"a": 24, "b": 44, "c": 24}], ids=["two", "three"])
def test_tasks_keep_their_machines(hosts: dict[str, int]) -> None:
    """Over several machines too: no longer than predicted in the median, by a hundredth on average."""
    ratios = []
    for seed in range(16):
        rules, work = rules_of(hosts), one_run(seed, 14)
        instance, plan = plan_for(work, rules, "portfolio")
        ratios.append(makespan_ms(followed(work, rules, (instance, plan))) / plan.makespan_ms)

    assert sorted(ratios)[8] <= 1.0001
    assert sum(ratios) / len(ratios) <= 1.01
    assert max(ratios) <= 1.15
