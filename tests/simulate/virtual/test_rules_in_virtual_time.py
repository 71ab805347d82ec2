"""What the hub promises holds in virtual time too: it is the same scheduler."""

from itertools import pairwise

import msgspec
import pytest

from ostler.domain.catalog import CostClass, HostSpec, TierSpec
from ostler.domain.policy import Policy
from ostler.domain.tasks import Priority, TaskSpec
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Job, Workload
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.worlds import MINUTE_MS, command, job, policy, workload


def run(work: Workload, rules: Policy | None = None, **setting: object) -> Run:
    rules = rules or policy()
    return run_scheduled(work, fleet_of(rules), rules, Setting(**setting))  # type: ignore[arg-type]


def began(result: Run) -> list[str]:
    endings = [ending for ending in result.endings.values() if ending.began_ms is not None]
    return [ending.job for ending in sorted(endings, key=lambda ending: (ending.began_ms or 0, ending.job))]


def with_host(rules: Policy, **changes: object) -> Policy:
    catalog = rules.catalog
    hosts: dict[str, HostSpec] = {
        name: msgspec.structs.replace(host, **changes) for name, host in catalog.hosts.items()
    }
    return msgspec.structs.replace(rules, catalog=msgspec.structs.replace(catalog, hosts=hosts))


def test_urgent_work_goes_first() -> None:
    """Of what waits for one slot, the urgent task that came last runs next."""
    work = workload(
        job("a", "big"),
        job("b", "big", at_ms=31_000),
        job("c", "big", at_ms=32_000, priority=Priority.LOW),
        job("d", "big", at_ms=33_000, priority=Priority.URGENT),
    )

    assert began(run(work, policy(slots=1))) == ["a", "d", "b", "c"]


def test_the_limit_of_a_batch_binds() -> None:
    """Four tasks with room for all, one at a time by the word of their batch."""
    work = workload(*(job(f"t{i}", "small", batch="b", batch_limit=1) for i in range(4)))
    result = run(work, policy(slots=4))

    spans = sorted((ending.began_ms or 0, ending.ended_ms or 0) for ending in result.endings.values())
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_what_binds_a_task_to_a_real_machine_is_left_out() -> None:
    """A pinned worker, a repository, a needed program: the simulated worker has them all."""
    spec = TaskSpec(
        id="a",
        prompt="x",
        model="big",
        worker="gpu-box-worker",
        repo="web",
        requires=frozenset({"docker", "git"}),
    )
    result = run(workload(Job(spec=spec, duration_ms=MINUTE_MS)))

    assert result.endings["a"].state == "succeeded"


def laddered() -> Policy:
    """One local tier, one cloud tier above it."""
    rules = policy(cloud=True)
    tiers = (
        TierSpec(name="direct", rank=0, cost=CostClass.FREE),
        TierSpec(name="local", rank=1, models=("big",), cost=CostClass.LOCAL),
        TierSpec(name="cloud", rank=2, models=("claude",), cost=CostClass.METERED),
    )
    return msgspec.structs.replace(rules, catalog=msgspec.structs.replace(rules.catalog, tiers=tiers))


def chat(name: str, *, at_ms: int = 0, local_only: bool = False) -> Job:
    """A task for the local tier, of any model."""
    spec = TaskSpec(id=name, prompt="x", tier="local", local_only=local_only)
    return Job(spec=spec, arrival_ms=at_ms, prompt_tokens=1_000, output_tokens=100)


def test_an_outage_sends_a_task_one_tier_up_and_that_costs() -> None:
    """After the wait for the fallback; the price is in the figures."""
    away = Outage(site="box", from_ms=1_000, until_ms=3_600_000)
    result = run(workload(chat("a", at_ms=120_000)), laddered(), outages=(away,))

    ending = result.endings["a"]
    assert (ending.state, ending.endpoint, ending.model) == ("succeeded", "sky", "claude")
    assert ending.cost_micro_usd == 1_000 + 1_000
    assert (ending.wait_ms or 0) >= 0


def test_data_that_must_stay_waits_for_its_machine() -> None:
    """However long it is away."""
    away = Outage(site="box", from_ms=1_000, until_ms=3_600_000)
    result = run(workload(chat("a", at_ms=120_000, local_only=True)), laddered(), outages=(away,))

    ending = result.endings["a"]
    assert (ending.state, ending.endpoint) == ("succeeded", "box-ollama")
    assert (ending.began_ms or 0) > 3_600_000


def test_no_outage_no_cloud() -> None:
    """Work stays where it is free."""
    result = run(workload(*(chat(f"t{i}") for i in range(5))), laddered())

    assert {ending.endpoint for ending in result.endings.values()} == {"box-ollama"}
    assert sum(ending.cost_micro_usd or 0 for ending in result.endings.values()) == 0


def test_a_model_that_can_never_fit_is_told() -> None:
    """The run ends, and the reason names the memory or the lack of a place."""
    result = run(workload(job("a", "big")), policy({"box": 8}))

    ending = result.endings["a"]
    assert ending.state != "succeeded"
    assert ending.reason


def test_a_preloaded_model_is_there_before_its_first_task() -> None:
    """The host's own wish: who comes later waits for no load."""
    rules = with_host(policy(), preload=("big",))
    result = run(workload(command("first"), job("a", "big", at_ms=5 * MINUTE_MS)), rules)

    assert result.endings["a"].wait_ms == 0
    assert result.stays["box"][0].load_start_ms < 5 * MINUTE_MS


def test_a_pinned_model_stays() -> None:
    """Whatever waits for its memory does not get it."""
    rules = with_host(policy(), pinned=("big",), preload=("big",))
    work = workload(job("a", "big", at_ms=60_000), job("b", "other", at_ms=120_000, ttl_ms=600_000))
    result = run(work, rules)

    assert result.endings["a"].state == "succeeded"
    assert result.endings["b"].state == "expired"
    assert [stay.model for stay in result.stays["box"]] == ["big"]


def test_work_is_grouped_by_the_loaded_model() -> None:
    """Alternating tasks of two models that exclude each other: far fewer loads than tasks."""
    work = workload(*(job(f"t{i:02d}", "big" if i % 2 else "other", minutes=0.1) for i in range(20)))
    result = run(work, policy(slots=1))

    assert result.sites["box"].loads == 2
    assert {ending.state for ending in result.endings.values()} == {"succeeded"}


def test_a_waiter_is_served_although_others_keep_coming() -> None:
    """The starvation bound in virtual time: one task of another model among an endless stream of the loaded one."""
    stream = [job(f"s{i:03d}", "big", at_ms=i * 30_000, minutes=1) for i in range(120)]
    lonely = job("lonely", "other", at_ms=60_000, minutes=1)
    result = run(workload(*stream, lonely), policy(slots=2))

    rules = policy().residency
    wait_ms = result.endings["lonely"].wait_ms
    assert wait_ms is not None
    # Patience, then what runs is drained (a minute), unloaded (10 s), and the load itself (20 s): that is a change.
    change_ms = 60_000 + 10_000 + 20_000
    assert wait_ms <= max(rules.patience_ms, rules.turn_per_change * change_ms) + change_ms + 1_000


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_more_hosts_carry_more(hosts: int) -> None:
    """Independent work of one model spreads over the fleet: twice the hosts, half the time, loads aside."""
    rules = policy({f"h{i}": 24 for i in range(hosts)}, slots=1)
    result = run(workload(*(job(f"t{i:02d}", "big", minutes=5) for i in range(16))), rules)

    makespan_ms = max(ending.ended_ms or 0 for ending in result.endings.values())
    assert makespan_ms <= 20_000 * 2 + 16 // hosts * 5 * MINUTE_MS
