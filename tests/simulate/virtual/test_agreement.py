"""Predicted and simulated agree when nothing surprises: the planner's `live` strategy against the scheduler itself.

Both decide on loads by the same rule; they differ in what they know. The planner knows every task and its length; the
scheduler knows what has arrived, guesses lengths, and serves a model's tasks in order of arrival. Where these
differences cannot matter the makespans are equal to the millisecond; elsewhere they stay within a stated tolerance.

The settings: one host whose models exclude each other, durations as predicted, patience without end (a plan has none).
"""

import statistics
from random import Random

import msgspec
import pytest

from ostler.domain.policy import Policy
from ostler.planning.planner import live
from ostler.simulate.virtual.as_plan import as_plan
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Job, Workload
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.worlds import job, policy, workload

MODELS = ("big", "other", "small")
PATIENT_MS = 10**9


class NoEffort:
    """One simulation is all the strategy takes."""

    def spent(self) -> bool:
        return True


def patient(*, slots: int) -> Policy:
    base = policy({"box": 20}, slots=slots)
    return msgspec.structs.replace(base, residency=msgspec.structs.replace(base.residency, patience_ms=PATIENT_MS))


def ratio(work: Workload, rules: Policy) -> float:
    """Simulated makespan as a multiple of the predicted one."""
    fleet = fleet_of(rules, keep_alive_s=-1)
    instance, simulated = as_plan(run_scheduled(work, fleet, rules), work, fleet)
    return simulated.makespan_ms / live(instance, NoEffort(), Random(0)).makespan_ms


def layers(seed: int, count: int) -> Workload:
    """Tasks of two minutes; each layer needs the whole one before."""
    dice, jobs, before = Random(seed), list[Job](), tuple[str, ...]()
    for layer in range(count):
        fresh = [job(f"l{layer}t{i}", dice.choice(MODELS), minutes=2, needs=before) for i in range(8)]
        jobs += fresh
        before = tuple(piece.id for piece in fresh)
    return workload(*jobs)


def tangled(seed: int) -> Workload:
    """Tasks of one to five minutes with needs on some of those before."""
    dice, jobs = Random(seed), list[Job]()
    for index in range(16):
        earlier = [piece.id for piece in jobs[-4:]]
        needs = tuple(sorted(dice.sample(earlier, min(len(earlier), dice.choice((0, 0, 1, 2))))))
        jobs.append(job(f"t{index:02d}", dice.choice(MODELS), minutes=dice.choice((1, 2, 5)), needs=needs))
    return workload(*jobs)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_independent_tasks_of_one_length_take_exactly_what_was_predicted(seed: int, slots: int) -> None:
    """Nothing is unknown that could matter: equal to the millisecond."""
    assert ratio(layers(seed, 1), patient(slots=slots)) == 1.0


@pytest.mark.parametrize("slots", [1, 2])
def test_layers_take_what_was_predicted_within_three_percent(slots: int) -> None:
    """Only the planner sees the second layer coming, which can save a load."""
    ratios = [ratio(layers(seed, 2), patient(slots=slots)) for seed in range(12)]

    assert max(ratios) <= 1.03
    assert sum(found == 1.0 for found in ratios) >= 10


def test_unequal_tasks_take_what_was_predicted_within_a_tenth_on_average() -> None:
    """The scheduler does not know which task is long, or what hangs on it; order of arrival costs that much."""
    ratios = [ratio(tangled(seed), patient(slots=2)) for seed in range(20)]

    assert statistics.mean(ratios) <= 1.10
    assert max(ratios) <= 1.25
