"""The real scheduler in virtual time: exact instants by hand, and what holds for any workload."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.domain.policy import Policy
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Job, Lengths, Workload
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.worlds import MINUTE_MS, command, job, policy, random_workload, workload


def run(work: Workload, rules: Policy | None = None, **setting: object) -> Run:
    rules = rules or policy()
    return run_scheduled(work, fleet_of(rules), rules, Setting(**setting))  # type: ignore[arg-type]


def instants(result: Run, name: str) -> tuple[int | None, int | None, int | None]:
    ending = result.endings[name]
    return ending.eligible_ms, ending.began_ms, ending.ended_ms


def test_one_task_takes_its_load_and_its_work() -> None:
    """20 s to load, a minute to run."""
    result = run(workload(job("a", "big")))

    assert instants(result, "a") == (0, 20_000, 80_000)
    assert result.endings["a"].wait_ms == 20_000
    assert result.endings["a"].endpoint == "box-ollama"


def test_two_tasks_with_one_swap_take_what_can_be_added_up_by_hand() -> None:
    """20 load + 60 run + 10 unload + 20 load + 60 run, with slots for one call."""
    result = run(workload(job("a", "big"), job("b", "other")), policy(slots=1))

    assert instants(result, "a") == (0, 20_000, 80_000)
    assert instants(result, "b") == (0, 110_000, 170_000)
    assert (result.sites["box"].loads, result.sites["box"].swaps) == (2, 1)


def test_a_need_makes_a_task_eligible_when_it_is_met() -> None:
    """The wait counts from there."""
    result = run(workload(job("a", "big"), job("b", "big", needs=("a",))))

    assert instants(result, "b") == (80_000, 80_000, 140_000)
    assert result.endings["b"].wait_ms == 0


def test_a_need_that_ended_before_is_met_on_arrival() -> None:
    """Also when what it needs was optional and failed; what needs a failed task ends with it."""
    late = 30 * MINUTE_MS
    result = run(
        workload(
            job("a", "big"),
            job("b", "big", at_ms=late, needs=("a",)),
            job("c", "nobody-has-it", ttl_ms=1_000),
            job("d", "big", at_ms=late, needs=("c",)),
            job("e", "nobody-has-it", ttl_ms=1_000, optional=True),
            job("f", "big", at_ms=late, needs=("e",)),
        )
    )

    states = {name: ending.state for name, ending in result.endings.items()}
    assert states == {
        "a": "succeeded",
        "b": "succeeded",
        "c": "expired",
        "d": "cancelled",
        "e": "expired",
        "f": "succeeded",
    }
    assert result.endings["b"].eligible_ms == late


def test_lengths_follow_from_tokens_and_speeds() -> None:
    """3,000 tokens read at 1,000/s and 50 written at 10/s are 8 s."""
    by_tokens = Job(spec=job("a").spec, prompt_tokens=3_000, output_tokens=50)

    assert instants(run(workload(by_tokens)), "a") == (0, 20_000, 28_000)


def test_the_scheduler_is_not_told_how_long_an_answer_will_be() -> None:
    """It plans with the policy's usual length, as the hub does; the machine takes the true one."""
    long = Job(spec=job("a").spec, prompt_tokens=1_000, output_tokens=5_000)

    assert instants(run(workload(long)), "a")[2] == 20_000 + 1_000 + 500_000


def test_commands_run_in_the_slots_of_the_worker() -> None:
    """Three of a minute each in two slots take two minutes, and no machine."""
    result = run(workload(*(command(f"c{i}") for i in range(3))), command_slots=2)

    assert sorted(instants(result, f"c{i}")[2] or 0 for i in range(3)) == [60_000, 60_000, 120_000]
    assert result.sites["box"].calls == 0


def test_a_cloud_call_costs_its_price() -> None:
    """1,000 tokens in at a dollar a million, 500 out at ten: 6,000 micro-dollars; half a second to begin with."""
    sky = Job(spec=job("a", "claude").spec, prompt_tokens=1_000, output_tokens=500)
    result = run(workload(sky), policy(cloud=True))

    assert result.endings["a"].cost_micro_usd == 6_000
    assert instants(result, "a") == (0, 0, 500 + 100 + 5_000)


def test_an_unknown_price_is_not_free() -> None:
    """A call without a known price leaves the cost of its task unknown."""
    rules = policy(cloud=True)
    models = dict(rules.catalog.models)
    models["claude"] = msgspec.structs.replace(models["claude"], input_usd_per_mtok=None)
    rules = msgspec.structs.replace(rules, catalog=msgspec.structs.replace(rules.catalog, models=models))

    assert run(workload(job("a", "claude")), rules).endings["a"].cost_micro_usd is None


def test_a_task_that_waits_too_long_expires() -> None:
    """Its wait ends when it is given up, and the reason is kept."""
    work = workload(job("a", "big", minutes=10), job("b", "other", ttl_ms=60_000))
    result = run(work, policy(slots=1))

    ending = result.endings["b"]
    assert (ending.state, ending.wait_ms) == ("expired", 60_000)
    assert "time to live" in ending.reason


def test_what_can_never_run_is_explained() -> None:
    """A run ends although a task waits for ever; its wait reason says for what."""
    result = run(workload(job("a", "big"), job("b", "nobody-has-it")))

    assert result.endings["a"].state == "succeeded"
    assert result.endings["b"].state == "waiting"
    assert "nobody-has-it" in result.endings["b"].reason


def test_a_host_that_goes_away_costs_time_and_no_task() -> None:
    """The call is lost and made again when the host is back: both tasks succeed, later than without the outage."""
    work = workload(job("a", "big"), job("b", "big", at_ms=5 * MINUTE_MS))
    outage = Outage(site="box", from_ms=40_000, until_ms=100_000)

    calm, shaken = run(work), run(work, outages=(outage,))

    assert [ending.state for ending in shaken.endings.values()] == ["succeeded", "succeeded"]
    assert shaken.endings["a"].attempts > 1
    assert (shaken.endings["a"].ended_ms or 0) > (calm.endings["a"].ended_ms or 0)


def test_a_host_that_never_comes_back_ends_the_run_all_the_same() -> None:
    """What waits for it is explained."""
    result = run(workload(job("a", "big")), outages=(Outage(site="box", from_ms=40_000),))

    assert result.endings["a"].state != "succeeded"
    assert result.endings["a"].reason


def test_an_outage_of_nothing_is_refused() -> None:
    """The message names the nearest host."""
    with pytest.raises(InvalidInputError) as refused:
        run(workload(job("a")), outages=(Outage(site="bax", from_ms=0),))

    assert "box" in refused.value.remedy


def test_noise_belongs_to_the_task_and_the_seed() -> None:
    """Another seed gives other lengths, the same seed the same; without noise the seed means nothing."""
    work = workload(job("a"), job("b"))

    first, again, other = (run(work, lengths=Lengths(seed, 0.5)) for seed in (1, 1, 2))
    plain = [run(work, lengths=Lengths(seed, 0.0)).endings for seed in (1, 2)]

    assert first.endings == again.endings
    assert first.endings["a"].ended_ms != other.endings["a"].ended_ms
    assert plain[0] == plain[1]


def test_progress_is_told_now_and_then() -> None:
    """Every hundred tasks."""
    told: list[tuple[int, int]] = []
    work = workload(*(command(f"c{i}", minutes=0.01) for i in range(250)))

    run(work, progress=lambda done, of: told.append((done, of)))

    assert told == [(100, 250), (200, 250)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), hosts=st.sampled_from([{"box": 24}, {"box": 24, "twin": 30}]))
def test_every_task_ends_or_is_explained(seed: int, hosts: dict[str, int]) -> None:
    """No task is lost: each has a final state, or a reason why nothing can move it."""
    rules = policy(hosts)
    result = run(random_workload(seed, 25), rules)

    assert len(result.endings) == 25
    for ending in result.endings.values():
        assert ending.state == "succeeded" or ending.reason, f"{ending.job} is {ending.state} without a reason"


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), down_s=st.integers(0, 600))
def test_the_same_seed_gives_the_same_run(seed: int, down_s: int) -> None:
    """Endings and figures, outages and noise included."""
    outage = Outage(site="box", from_ms=down_s * 1000, until_ms=(down_s + 120) * 1000)
    first, second = (
        run(random_workload(seed, 20), policy({"box": 24, "twin": 24}), outages=(outage,), lengths=Lengths(seed, 0.4))
        for _ in range(2)
    )

    assert first == second


def test_listings_that_tell_nothing_new_change_next_to_nothing() -> None:
    """Nine of ten runs are equal to one in which every listing is made, and all together wait as long within 2 %."""
    equal, waits = 0, {True: 0, False: 0}
    for seed in range(40):
        work, rules = random_workload(seed, 20), policy({"box": 24, "twin": 24})
        runs = {every: run(work, rules, every_listing=every) for every in (True, False)}
        equal += runs[True].endings == runs[False].endings
        for every, result in runs.items():
            assert {ending.state for ending in result.endings.values()} <= {"succeeded"}
            waits[every] += sum(ending.wait_ms or 0 for ending in result.endings.values())

    assert equal >= 36
    assert waits[False] == pytest.approx(waits[True], rel=0.02)


def test_a_quiet_run_needs_no_listings() -> None:
    """Where nothing ever waits, leaving them out changes nothing at all."""
    work = workload(*(job(f"t{i}", "big", at_ms=i * 5 * MINUTE_MS) for i in range(20)))

    assert run(work).endings == run(work, every_listing=True).endings


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_wait_is_negative_and_needs_come_first(seed: int) -> None:
    """A task begins after all its needs have ended, and never before it arrived."""
    work = random_workload(seed, 25)
    result = run(work, policy({"box": 24, "twin": 24}))

    for piece in work.jobs:
        ending = result.endings[piece.id]
        if ending.began_ms is None:
            continue
        needs = [result.endings[need].ended_ms or 0 for need in piece.spec.needs]
        assert ending.began_ms >= max([piece.arrival_ms, *needs])
        assert (ending.wait_ms or 0) >= 0
