"""What holds for every run, whoever decides: memory, slots, one load at a time, and books that add up."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.simulate.host_events import Decision, LoadEnded, LoadStarted, UnloadStarted
from ostler.simulate.host_model import HostModel
from ostler.simulate.virtual.figures import result_of
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Lengths, Workload
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.rivals import run_rival
from ostler.simulate.virtual.routers import ROUTERS
from ostler.simulate.virtual.scheduled import run_scheduled
from ostler.simulate.virtual.sites import Machine
from tests.simulate.virtual.worlds import policy, random_workload

POLICIES = ("scheduler", *sorted(ROUTERS))
FLEETS: tuple[dict[str, int], ...] = ({"box": 24}, {"box": 20, "twin": 28}, {"a": 24, "b": 44, "c": 24})


def run(name: str, work: Workload, hosts: dict[str, int], setting: Setting) -> Run:
    rules = policy(hosts)
    if name == "scheduler":
        return run_scheduled(work, fleet_of(rules), rules, setting)
    return run_rival(name, work, fleet_of(rules), setting)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Check every machine after each thing it says; yields the sentences that were broken."""
    broken: list[str] = []
    say = Machine._say

    def checked(machine: Machine, decision: Decision) -> None:
        busy = {order.model for number, order in machine._orders.items() if number in machine._running}
        if isinstance(decision, UnloadStarted) and decision.model in busy:
            broken.append(f"{decision.model} was unloaded while it ran")
        if isinstance(decision, LoadStarted) and machine.loading is not None:
            broken.append("two loads at once on one host")
        say(machine, decision)
        host: HostModel = machine._host
        view = host.view()
        if view.used_bytes > view.capacity_bytes:
            broken.append("memory exceeded")
        crowded = (resident for resident in view.residents if resident.running > resident.slots)
        broken.extend(f"{resident.model} works on more calls than it has slots" for resident in crowded)
        if isinstance(decision, LoadEnded) and decision.model not in machine.ready:
            broken.append("a loaded model cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr(Machine, "_say", checked)
        yield broken


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), name=st.sampled_from(POLICIES), hosts=st.sampled_from(FLEETS), sigma=st.floats(0, 1)
)
def test_memory_and_slots_are_respected(seed: int, name: str, hosts: dict[str, int], sigma: float) -> None:
    """Memory counts from load start to unload end and is never exceeded; no busy model leaves; one load at a time."""
    with pytest.MonkeyPatch.context() as patch, watched(patch) as broken:
        run(name, random_workload(seed, 20), hosts, Setting(lengths=Lengths(seed, sigma)))

    assert broken == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(POLICIES), down_s=st.integers(0, 900))
def test_books_add_up_under_outages(seed: int, name: str, down_s: int) -> None:
    """Tasks that succeeded and those that did not are all; each model's count adds up; no figure is negative."""
    outage = Outage(site="box", from_ms=down_s * 1_000, until_ms=(down_s + 300) * 1_000)
    work = random_workload(seed, 20)
    result = result_of(run(name, work, {"box": 24, "twin": 24}, Setting(outages=(outage,))))

    assert result.succeeded + sum(result.missed.values()) == result.tasks == len(work.jobs)
    assert sum(result.by_model.values()) == result.succeeded
    assert (result.swaps or 0) <= (result.loads or 0)
    assert all(0 <= host.busy_permille <= 1_000 for host in result.hosts)
    assert min(result.wait.p50_ms, result.makespan_ms, result.swap_ms or 0) >= 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(POLICIES))
def test_work_is_neither_lost_nor_made(seed: int, name: str) -> None:
    """Without outages the machines work as long as the tasks that ran on them are."""
    work = random_workload(seed, 20)
    result = run(name, work, {"box": 24, "twin": 24}, Setting())

    ran = [job for job in work.jobs if result.endings[job.id].model is not None]
    assert sum(site.work_ms for site in result.sites.values()) == sum(job.duration_ms or 0 for job in ran)
    for job in work.jobs:
        ending = result.endings[job.id]
        if ending.began_ms is not None and ending.ended_ms is not None and ending.state == "succeeded":
            assert ending.ended_ms - ending.began_ms == job.duration_ms


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_machine_is_faster_than_its_slots_allow(seed: int) -> None:
    """The makespan is at least the work of a model through all its slots, and at least each chain of needs."""
    work = random_workload(seed, 25)
    result = run("scheduler", work, {"box": 24}, Setting())
    length = {job.id: job.duration_ms or 0 for job in work.jobs}
    chain: dict[str, int] = {}
    for job in work.jobs:
        chain[job.id] = job.arrival_ms + length[job.id]
        if job.spec.needs:
            chain[job.id] = max(chain[job.id], max(chain[need] for need in job.spec.needs) + length[job.id])

    for job in work.jobs:
        assert (result.endings[job.id].ended_ms or 0) >= chain[job.id]


@pytest.mark.parametrize("name", POLICIES)
def test_a_larger_fleet_is_no_slower_on_independent_work(name: str) -> None:
    """Two machines where one was: what one could do, both can."""
    work = random_workload(5, 30, models=("big",))
    one, two = (result_of(run(name, work, hosts, Setting())) for hosts in ({"box": 24}, {"box": 24, "twin": 24}))

    assert two.makespan_ms <= one.makespan_ms
    assert two.succeeded == one.succeeded == 30
