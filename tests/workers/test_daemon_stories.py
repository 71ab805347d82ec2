"""Generated stories of outages, wishes and losses: what holds for a daemon whatever happens to its hub."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostler.domain.work import Finished
from tests.workers.daemon_bench import LEASE_S, Bench
from tests.workers.work_made import command

STEP = st.one_of(
    st.tuples(st.just("give"), st.integers(0, 4)),
    st.tuples(st.just("end"), st.integers(0, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 4)),
    st.tuples(st.sampled_from(["down", "up", "deaf", "forget", "lost"]), st.just(0)),
    st.tuples(st.just("pass"), st.sampled_from([1, 3, 8, 20])),
)


async def act(bench: Bench, action: str, number: int, given_out: dict[int, int]) -> None:
    """One step of a generated story."""
    key = (f"t{number}", given_out.get(number, 0))
    if action == "give" and bench.hub.sessions:
        given_out[number] = key[1] + 1
        bench.hub.give(command("true", task_id=key[0], generation=given_out[number]))
    elif action == "end" and key in bench.runner.open and not bench.runner.open[key].done():
        bench.runner.end(*key)
    elif action == "cancel" and number in given_out:
        bench.hub.cancel(*key)
    elif action in ("down", "up"):
        bench.hub.is_down = action == "down"
        bench.hub.silent.clear()
    elif action == "deaf":
        bench.hub.silent.update({"heartbeat", "report"})
    elif action == "forget" and bench.hub.sessions:
        bench.hub.forget(next(reversed(bench.hub.sessions)))
    elif action == "lost":
        bench.guard.is_lost = True


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(STEP, max_size=25))
def test_whatever_happens_to_the_hub(story: list[tuple[str, int]]) -> None:
    """Through any outages, lost sessions and wishes: nothing runs beyond the lease, no attempt runs twice, no two of a
    task at once, and in the end the hub has the end of every attempt that was started, the true one first.
    """

    async def scenario() -> None:
        bench = await Bench().started()
        given_out: dict[int, int] = {}
        for action, number in story:
            await act(bench, action, number, given_out)
            for _ in range(number if action == "pass" else 1):
                await bench.timing.advance(0.5)
                silent_s = (bench.timing.now_ms() - bench.hub.beats[-1][1]) / 1000
                assert not bench.runner.open or silent_s < LEASE_S, "an attempt ran beyond the lease"
                tasks = [task_id for task_id, _ in bench.runner.open]
                assert len(tasks) == len(set(tasks)) <= 2
        bench.hub.is_down = False
        bench.hub.silent.clear()
        await bench.timing.advance(60)
        await bench.stop()

        keys = [run.key for run in bench.runner.runs]
        assert len(keys) == len(set(keys)), "an attempt ran twice"
        assert set(keys) <= set(bench.kinds()), "an end was not reported"
        ends = [report for report in bench.hub.reports() if isinstance(report, Finished)]
        assert len(ends) == len(bench.kinds()), "an attempt ended in two ways"

    asyncio.run(scenario())
