"""A plan that is followed in virtual time: its turns are taken where the rule alone would take others."""

from random import Random

import msgspec

from ostler.domain.policy import Policy
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.planner import make_plan
from ostler.simulate.virtual.as_plan import as_plan
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Lengths, Workload
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.worlds import MINUTE_MS, job, policy, workload


class Steps:
    """Effort by count, so that the plan is the same each time."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def spent(self) -> bool:
        self.steps -= 1
        return self.steps < 0


def patient() -> Policy:
    """One machine whose models exclude each other; nobody loses patience, because a plan knows none."""
    base = policy({"box": 20}, slots=2)
    return msgspec.structs.replace(base, residency=msgspec.structs.replace(base.residency, patience_ms=10**9))


def pipeline() -> Workload:
    """Much work for `big` from the start; one short task of `small` that a long chain waits for."""
    return workload(
        *(job(f"b{i}", "big", minutes=4, batch="p") for i in range(4)),
        job("first", "small", minutes=1, batch="p"),
        job("second", "other", minutes=10, needs=("first",), batch="p"),
        job("third", "other", minutes=10, needs=("second",), batch="p"),
    )


def planned(work: Workload, rules: Policy) -> tuple[Instance, Plan]:
    fleet = fleet_of(rules, keep_alive_s=-1)
    instance, _ = as_plan(run_scheduled(work, fleet, rules), work, fleet)
    return instance, make_plan(instance, "portfolio", Steps(300), Random(0))


def run(work: Workload, rules: Policy, plan: tuple[Instance, Plan] | None, **setting: object) -> Run:
    fleet = fleet_of(rules, keep_alive_s=-1)
    return run_scheduled(work, fleet, rules, Setting(plan=plan, **setting))  # type: ignore[arg-type]


def models(result: Run) -> list[str]:
    return [stay.model for stay in result.stays["box"]]


def test_the_turns_of_the_plan_are_taken() -> None:
    """In its order, model by model, and the makespan is the planned one but for the millisecond of adoption."""
    rules, work = patient(), pipeline()
    instance, plan = planned(work, rules)
    followed = run(work, rules, (instance, plan))

    assert models(followed) == [episode.model for episode in plan.episodes]
    ended_ms = max(ending.ended_ms or 0 for ending in followed.endings.values())
    assert abs(ended_ms - plan.makespan_ms) <= 10


def test_a_followed_plan_is_no_worse_than_the_rule_alone() -> None:
    """Here the rule serves the longest queue first; the plan knows what hangs on the short task."""
    rules, work = patient(), pipeline()
    alone = run(work, rules, None)
    followed = run(work, rules, planned(work, rules))
    spans = [max(ending.ended_ms or 0 for ending in result.endings.values()) for result in (followed, alone)]

    assert spans[0] <= spans[1] + 1


def test_a_plan_that_reality_leaves_is_dropped_and_the_work_goes_on() -> None:
    """Twice the noise, or an outage: every task still ends well."""
    rules, work = patient(), pipeline()
    plan = planned(work, rules)
    for setting in (
        {"lengths": Lengths(3, 1.0)},
        {"outages": (Outage(site="box", from_ms=2 * MINUTE_MS, until_ms=5 * MINUTE_MS),)},
    ):
        result = run(work, rules, plan, **setting)

        assert {ending.state for ending in result.endings.values()} == {"succeeded"}


def test_tasks_outside_of_the_plan_are_served_as_ever() -> None:
    """A task that comes later belongs to no plan and runs all the same."""
    rules, work = patient(), pipeline()
    plan = planned(work, rules)
    more = workload(*work.jobs, job("stranger", "small", at_ms=MINUTE_MS))

    assert run(more, rules, plan).endings["stranger"].state == "succeeded"
