"""From records to figures."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ostler.simulate.virtual.figures import MISSES_SHOWN, makespan, result_of, spread
from ostler.simulate.virtual.records import Ending, Run
from ostler.simulate.virtual.sites import SiteFigures


def ending(name: str, **changes: object) -> Ending:
    plain = Ending(job=name, arrived_ms=0, state="succeeded", eligible_ms=0, began_ms=10, ended_ms=20, model="m")
    found = msgspec.structs.replace(plain, **changes)
    found.reason = "" if found.state == "succeeded" else "because"
    return found


def run_of(*endings: Ending, **sites: SiteFigures) -> Run:
    return Run(policy="p", fleet="f", rival=False, endings={e.job: e for e in endings}, sites=sites)


def test_percentiles_are_of_the_nearest_rank() -> None:
    """Of a hundred values from 1 to 100, the 95th is 95; each is a value that occurred."""
    found = spread(range(1, 101))

    assert (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms, found.mean_ms) == (50, 95, 99, 100, 50)


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_percentiles_are_values_in_order(values: list[int]) -> None:
    """Whatever the values."""
    found = spread(values)

    assert found.p50_ms <= found.p95_ms <= found.p99_ms <= found.max_ms == max(values)
    assert {found.p50_ms, found.p95_ms, found.p99_ms} <= set(values)
    assert min(values) <= found.mean_ms <= max(values)


def test_the_wait_of_a_task_that_was_given_up_counts_until_then() -> None:
    """So that a policy does not look good by giving up; a task that was never eligible waited for nothing of ours."""
    result = result_of(
        run_of(
            ending("a", eligible_ms=0, began_ms=10),
            ending("b", state="expired", began_ms=None, ended_ms=600),
            ending("c", state="cancelled", eligible_ms=None, began_ms=None, ended_ms=700),
        )
    )

    assert (result.wait.max_ms, result.wait.mean_ms) == (600, 305)
    assert result.missed == {"cancelled": 1, "expired": 1}
    assert (result.tasks, result.succeeded) == (3, 1)


def test_a_task_that_failed_after_it_began_waited_to_its_end() -> None:
    """What began and came to nothing was of no use."""
    assert ending("a", state="failed", began_ms=10, ended_ms=50).wait_ms == 50


def test_money_that_is_not_known_is_counted_and_not_guessed() -> None:
    """Known costs add up; tasks with an unknown price are counted beside."""
    result = result_of(
        run_of(ending("a", cost_micro_usd=5), ending("b", cost_micro_usd=None), ending("c", cost_micro_usd=7))
    )

    assert (result.cost_micro_usd, result.unpriced) == (12, 1)


def test_figures_of_machines_are_added_up() -> None:
    """Loads, swaps, time for both, and the share of the makespan in which each was busy."""
    sites = {
        "x": SiteFigures(calls=3, loads=2, swaps=1, load_ms=20, unload_ms=5, busy_ms=10),
        "y": SiteFigures(loads=1, load_ms=10),
    }
    result = result_of(run_of(ending("a", ended_ms=40), **sites))

    assert (result.loads, result.swaps, result.swap_ms, result.swaps_per_100) == (3, 1, 35, 100.0)
    assert [host.busy_permille for host in result.hosts] == [250, 0]


def test_tasks_are_counted_by_model() -> None:
    """Those that succeeded; commands have none."""
    result = result_of(
        run_of(ending("a", model="m"), ending("b", model="m"), ending("c", model=None), ending("d", state="failed"))
    )

    assert result.by_model == {"": 1, "m": 2}


def test_only_the_first_misses_are_listed() -> None:
    """All are counted."""
    result = result_of(run_of(*(ending(f"t{i}", state="failed") for i in range(50))))

    assert (len(result.misses), result.missed) == (MISSES_SHOWN, {"failed": 50})
    assert result.misses[0].reason == "because"


def test_the_makespan_counts_from_the_first_arrival() -> None:
    """Nothing at all has none."""
    late = Ending(job="b", arrived_ms=100, ended_ms=150)

    assert makespan([late]) == 50
    assert makespan([]) == 0
    assert result_of(run_of()).makespan_ms == 0
