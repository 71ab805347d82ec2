"""The rivals do what their names say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskSpec
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.jobs import Job, Workload
from ostler.simulate.virtual.records import Outage, Run, Setting
from ostler.simulate.virtual.rivals import run_rival
from ostler.simulate.virtual.routers import ROUTERS
from tests.simulate.virtual.worlds import MINUTE_MS, command, job, policy, random_workload, workload

TWO = {"box": 24, "twin": 24}
NAMES = sorted(ROUTERS)


def run(name: str, work: Workload, rules: Policy | None = None, **setting: object) -> Run:
    return run_rival(name, work, fleet_of(rules or policy()), Setting(**setting))  # type: ignore[arg-type]


def hosts(result: Run) -> list[str]:
    return [(ending.endpoint or "-").removesuffix("-ollama") for ending in result.endings.values()]


def began(result: Run) -> list[str]:
    """The jobs in the order in which they began."""
    endings = sorted(result.endings.values(), key=lambda ending: (ending.began_ms or 0, ending.job))
    return [ending.job for ending in endings]


@pytest.mark.parametrize("name", NAMES)
def test_one_task_takes_its_load_and_its_work(name: str) -> None:
    """Under every rival: 20 s to load, a minute to run."""
    ending = run(name, workload(job("a", "big"))).endings["a"]

    assert (ending.began_ms, ending.ended_ms, ending.state) == (20_000, 80_000, "succeeded")


def test_first_in_first_out_never_overtakes() -> None:
    """The second waits for another model, so the third waits behind it although its own is loaded: a swap too many."""
    work = workload(job("a", "big"), job("b", "other"), job("c", "big"))
    result = run("fifo", work)

    assert began(result) == ["a", "b", "c"]
    assert result.sites["box"].swaps == 2


def test_first_in_first_out_sends_away_what_was_used_longest_ago() -> None:
    """With room for one small and one big model, `small` was used last and stays; `big` goes for `other`."""
    work = workload(
        job("a", "big"), job("b", "small", at_ms=3 * MINUTE_MS), job("c", "other", at_ms=6 * MINUTE_MS),
        job("d", "small", at_ms=9 * MINUTE_MS),
    )  # fmt: skip
    result = run("fifo", work, policy({"box": 24}))

    assert result.sites["box"].loads == 3
    assert result.endings["d"].wait_ms == 0


def test_first_in_first_out_uses_an_idle_host() -> None:
    """A second model goes where nothing has to leave for it."""
    result = run("fifo", workload(job("a", "big"), job("b", "other")), policy(TWO))

    assert hosts(result) == ["box", "twin"]
    assert sum(site.swaps for site in result.sites.values()) == 0


def test_round_robin_takes_turns() -> None:
    """Whatever is loaded where."""
    result = run("round-robin", workload(*(job(f"t{i}", "big") for i in range(4))), policy(TWO))

    assert hosts(result) == ["box", "twin", "box", "twin"]


def test_least_loaded_counts_calls() -> None:
    """The long call keeps its host out until the other one has as many."""
    work = workload(
        job("a", "big", minutes=30), job("b", "big", minutes=1), job("c", "big", at_ms=5 * MINUTE_MS),
        job("d", "big", at_ms=5 * MINUTE_MS),
    )  # fmt: skip
    result = run("least-loaded", work, policy(TWO))

    assert hosts(result) == ["box", "twin", "twin", "box"]


def test_warm_first_goes_where_the_model_is() -> None:
    """Even when the other host is idle."""
    work = workload(job("a", "big", minutes=10), job("b", "big", at_ms=MINUTE_MS), job("c", "other", at_ms=MINUTE_MS))
    result = run("warm-first", work, policy(TWO))

    assert hosts(result) == ["box", "box", "twin"]


def test_drain_serves_a_model_to_its_end_before_it_changes() -> None:
    """All big ones first although others came between them: one swap."""
    work = workload(*(job(f"t{i}", "big" if i % 2 == 0 else "other") for i in range(6)))
    result = run("drain", work)

    assert began(result) == ["t0", "t2", "t4", "t1", "t3", "t5"]
    assert result.sites["box"].swaps == 1


def test_drain_changes_to_the_model_with_most_waiting_work() -> None:
    """Two short tasks wait for `small`, one long one for `other`: the long one wins."""
    work = workload(
        job("a", "big", minutes=2), job("b", "small", at_ms=1000), job("c", "small", at_ms=1000),
        job("d", "other", at_ms=1000, minutes=20),
    )  # fmt: skip
    result = run("drain", work, policy({"box": 20}))

    assert began(result) == ["a", "d", "b", "c"]


def test_a_queue_of_a_machine_lets_calls_for_loaded_models_pass() -> None:
    """What is handed over at once waits in the machine's own queue, which serves loaded models past its head."""
    work = workload(job("a", "big"), job("b", "other", at_ms=1000), job("c", "big", at_ms=40_000))
    result = run("warm-first", work)

    assert began(result) == ["a", "c", "b"]


@pytest.mark.parametrize("name", NAMES)
def test_needs_and_optional_tasks_are_honoured(name: str) -> None:
    """A need must succeed unless it is optional; what cannot run any more is cancelled with the reason."""
    work = workload(
        job("a", "nobody-has-it"),
        job("b", needs=("a",)),
        job("c", "nobody-has-it", optional=True),
        command("d", needs=("c",)),
        job("e", needs=("d",)),
    )
    endings = run(name, work).endings

    assert {job_id: ending.state for job_id, ending in endings.items()} == {
        "a": "failed",
        "b": "cancelled",
        "c": "failed",
        "d": "succeeded",
        "e": "succeeded",
    }
    assert endings["b"].reason == "needs a, which ended as failed"
    assert endings["e"].eligible_ms == MINUTE_MS


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_given_up_when_its_time_is_over(name: str) -> None:
    """As the scheduler does it, and its place in the queue is free for others."""
    work = workload(job("a", "big", minutes=10), job("b", "other", ttl_ms=60_000), job("c", "big", at_ms=5_000))
    endings = run(name, work, policy(slots=1)).endings

    assert (endings["b"].state, endings["b"].ended_ms, endings["b"].wait_ms) == ("expired", 60_000, 60_000)
    assert endings["c"].state == "succeeded"


@pytest.mark.parametrize("name", NAMES)
def test_an_outage_costs_time_and_no_task(name: str) -> None:
    """Lost calls are routed again: to another host, or to the same when it is back."""
    work = workload(*(job(f"t{i}", "big") for i in range(4)))
    outage = Outage(site="box", from_ms=50_000, until_ms=200_000)
    for rules in (policy(TWO), policy()):
        result = run(name, work, rules, outages=(outage,))

        assert {ending.state for ending in result.endings.values()} == {"succeeded"}


def test_a_call_beyond_a_limit_is_made_again() -> None:
    """A provider lets a hundred in; the others come when it said."""
    sky = [Job(spec=TaskSpec(id=f"t{i}", prompt="x", model="claude"), output_tokens=10) for i in range(120)]
    result = run("least-loaded", workload(*sky), policy(cloud=True))

    assert {ending.state for ending in result.endings.values()} == {"succeeded"}
    assert max(ending.began_ms or 0 for ending in result.endings.values()) == 1_000


@pytest.mark.parametrize("name", NAMES)
def test_who_names_no_model_gets_the_first_of_its_tier(name: str) -> None:
    """By the profile of the fleet; a prompt that is too long for it goes up."""
    short = Job(spec=TaskSpec(id="a", prompt="x", tier="local"), prompt_tokens=100)
    long = Job(spec=TaskSpec(id="b", prompt="x", tier="local"), prompt_tokens=100_000)
    endings = run(name, workload(short, long), policy(cloud=True)).endings

    assert (endings["a"].model, endings["b"].model) == ("small", "claude")
    assert (endings["b"].cost_micro_usd or 0) > 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(NAMES))
def test_every_task_ends_and_equal_runs_are_equal(seed: int, name: str) -> None:
    """No task is lost by a rival, and nothing depends on chance."""
    first, second = (run(name, random_workload(seed, 25), policy(TWO)) for _ in range(2))

    assert first == second
    for ending in first.endings.values():
        assert ending.state == "succeeded" or ending.reason, f"{ending.job} is {ending.state} without a reason"
