"""The bench of swaps: what it generates is what it says, and a table comes out of it."""

import importlib.util
import statistics
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.requests import Scale
from ostler.simulate.virtual.routers import ROUTERS
from ostler.simulate.virtual.traces import trace_workload

BENCH = Path(__file__).parents[3] / "bench" / "swaps.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    found = importlib.util.spec_from_file_location("bench_swaps", BENCH)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_generated_bursts_vary_more_than_chance(bench: ModuleType) -> None:
    """The gaps have a coefficient of variation well above 1, and the trace is the same each time."""
    text: str = bench.bursts(2_000)
    times = [float(line.split(",")[0]) for line in text.splitlines()[1:]]
    gaps = [second - first for first, second in pairwise(times)]

    assert statistics.pstdev(gaps) / statistics.mean(gaps) > 1.4
    assert text == bench.bursts(2_000)


def test_the_generated_week_has_seven_days_and_an_outage(bench: ModuleType) -> None:
    """A tier is silent for half a day, the others never."""
    rows = [line.split(",") for line in bench.week().splitlines()[1:]]
    silent = [(tier, int(start)) for start, tier, rate, _ in rows if float(rate) == 0]

    assert max(int(row[0]) for row in rows) == 7 * 24 * 3600 - 600
    assert {tier for tier, _ in silent} == {"m-mid"}
    assert len(silent) == 72


def test_no_two_large_models_fit_the_small_machine(bench: ModuleType) -> None:
    """Else there would be nothing to swap."""
    machine = fleet_of(bench.policy({"box": 24})).machines["box"]
    sizes = sorted(model.weights_bytes for model in machine.models)

    assert sizes[-1] <= machine.capacity_bytes < sizes[-1] + sizes[-2]


def test_a_table_has_a_row_for_each_policy(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The live policy first, ratios to it behind; everything is called simulated."""
    fleet = fleet_of(bench.policy({"box": 24}), name="one")
    work = trace_workload(bench.bursts(60), "made", fleet, Scale(tasks=60, ttl_ms=0))

    bench.table("made", work, fleet)

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "made on one: 60 tasks, simulated"
    assert [line.split()[0] for line in lines[-6:]] == ["live", *ROUTERS]
    assert lines[-6].split()[-3:-1] == ["x1.00", "x1.00"]


def test_ratios_of_nothing_are_no_numbers(bench: ModuleType) -> None:
    """A policy without swaps cannot be a measure."""
    assert [bench.ratio(3, 2), bench.ratio(3, 0), bench.ratio(None, 2)] == ["x1.50", "-", "-"]
