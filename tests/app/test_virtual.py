"""From options to a comparison: which profile brings the machines, and what is said of them."""

from pathlib import Path

import msgspec
import pytest

from ostler.app import what_if
from ostler.app.options import WhatIfOptions
from ostler.domain.errors import InvalidInputError, ProfileError
from ostler.domain.tasks import TaskSpec

ONE = """\
name: one
routing:
  tiers:
    local: {models: [big, other]}
endpoints:
  - {name: ollama, provider: ollama, url: "http://box:11434", host: box, slots: 1, models: [big, other]}
hosts:
  box: {memory: 24GB, reserve: 1GB}
models:
  big: {memory: 20GB, speeds: {load_s: 20, unload_s: 10}}
  other: {memory: 20GB, speeds: {load_s: 20, unload_s: 10}}
"""
TWO = """\
name: two
routing:
  tiers:
    local: {models: [big, other]}
endpoints:
  - {name: first, provider: ollama, url: "http://box:11434", host: box, slots: 1, models: [big]}
  - {name: second, provider: ollama, url: "http://twin:11434", host: twin, slots: 1, models: [other]}
hosts:
  box: {memory: 24GB}
  twin: {memory: 24GB}
models:
  big: {memory: 20GB, speeds: {load_s: 20, unload_s: 10}}
  other: {memory: 20GB, speeds: {load_s: 20, unload_s: 10}}
"""
TASKS = tuple(
    TaskSpec(id=name, prompt="x", model=model, expected_ms=60_000) for name, model in (("a", "big"), ("b", "other"))
)


@pytest.fixture(autouse=True)
def _profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OSTLER_PROFILE", raising=False)
    Path("one.yaml").write_text(ONE, encoding="utf-8")
    Path("two.yaml").write_text(TWO, encoding="utf-8")


def options(**fields: object) -> WhatIfOptions:
    return WhatIfOptions(**({"name": "w", "specs": TASKS, "policies": ("one.yaml",)} | fields))  # type: ignore[arg-type]


def test_each_profile_brings_its_own_machines() -> None:
    """One machine swaps between the two models; two machines need not."""
    one, two = what_if(options(policies=("one.yaml", "two.yaml"))).results

    assert (one.fleet, two.fleet) == ("one", "two")
    assert (one.makespan_ms, two.makespan_ms) == (20_000 + 60_000 + 10_000 + 20_000 + 60_000, 80_000)
    assert (one.swaps, two.swaps) == (1, 0)


def test_a_named_fleet_is_everybodys() -> None:
    """Two policies on the machines of a third profile."""
    results = what_if(options(policies=("one.yaml", "fifo"), fleet="two.yaml")).results

    assert [(result.fleet, result.makespan_ms) for result in results] == [("two", 80_000), ("two", 80_000)]


def test_a_rival_runs_on_the_machines_of_the_profile_it_is_compared_with() -> None:
    """Wherever it stands in the row."""
    rival, policy = what_if(options(policies=("fifo", "one.yaml"))).results

    assert (rival.kind, rival.fleet, policy.kind) == ("rival", "one", "policy")
    assert rival.makespan_ms == policy.makespan_ms == 170_000


def test_expected_durations_are_the_durations() -> None:
    """As the pipeline says them; tokens do not matter then."""
    short = tuple(TaskSpec(id="a", prompt="x" * 4000, model="big", expected_ms=500) for _ in range(1))

    assert what_if(options(specs=short)).results[0].makespan_ms == 20_500


def test_rules_tell_how_machines_and_noise_were_made() -> None:
    """In the output of every run."""
    comparison = what_if(options(sigma=0.5, seed=9))

    assert comparison.rules == (
        "2 tasks that arrive together",
        "simulated machines: box (21 GiB for 2 models)",
        "durations times log-normal noise, sigma 0.5, the same under every policy",
    )
    assert (comparison.simulated, comparison.seed) == (True, 9)


def test_a_time_to_live_replaces_that_of_each_task() -> None:
    """0 = nobody gives up; half a minute is too short for the second task."""
    patient = what_if(options(ttl_ms=0)).results[0]
    hasty = what_if(options(ttl_ms=30_000, policies=("one.yaml", "fifo"))).results

    assert patient.missed == {}
    assert [result.missed for result in hasty] == [{"expired": 1}, {"expired": 1}]
    assert "time to live" in hasty[0].misses[0].reason


def test_progress_is_told_with_the_name_of_the_policy() -> None:
    """Once for each hundred tasks."""
    specs = tuple(TaskSpec(id=f"t{i}", prompt="x", model="big", expected_ms=10) for i in range(100))
    told: list[tuple[str, int, int]] = []

    what_if(options(specs=specs, policies=("one.yaml", "drain")), lambda *said: told.append(said))

    assert told == [("one", 100, 100), ("drain", 100, 100)]


def test_an_outage_is_read_as_durations_from_the_start() -> None:
    """The first call is lost and made again."""
    result = what_if(options(outages=("box:30s-1m",))).results[0]

    assert result.succeeded == 2
    assert result.makespan_ms > 170_000


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"policies": ("onne",)}, "--policy"),
        ({"fleet": "drain"}, "--fleet"),
        ({"outages": ("box:soon",)}, "--outage"),
        ({"specs": (), "trace": "none.csv"}, "none.csv"),
    ],
)
def test_mistakes_name_their_place(fields: dict[str, object], where: str) -> None:
    """And a remedy."""
    with pytest.raises(InvalidInputError) as refused:
        what_if(options(**fields))

    assert refused.value.where == where
    assert refused.value.remedy


def test_mistakes_of_a_profile_are_told_as_everywhere() -> None:
    """With file and line."""
    Path("bad.yaml").write_text("routing:\n  fallback: {wiat: 2s}\n", encoding="utf-8")

    with pytest.raises(ProfileError, match=r"bad\.yaml:2"):
        what_if(options(policies=("bad.yaml",)))


CHAIN = (
    *(TaskSpec(id=f"b{i}", prompt="x", model="big", expected_ms=240_000, ttl_ms=0) for i in range(3)),
    TaskSpec(id="first", prompt="x", model="other", expected_ms=60_000, ttl_ms=0),
    TaskSpec(id="second", prompt="x", model="other", expected_ms=600_000, needs=("first",), ttl_ms=0),
)


def in_batch(*specs: TaskSpec) -> tuple[TaskSpec, ...]:
    """As the command line hands a file over."""
    return tuple(msgspec.structs.replace(spec, batch="simulated") for spec in specs)


@pytest.mark.parametrize("strategy", ["portfolio", "live", "model-first", "dependency-first", "hybrid"])
def test_a_plan_is_followed_in_a_column_of_its_own(strategy: str) -> None:
    """Behind the policy that follows it; what it predicts is said."""
    comparison = what_if(options(specs=in_batch(*CHAIN), policies=("one.yaml", "fifo"), plan=strategy))

    assert [result.policy for result in comparison.results] == ["one", "one, planned", "fifo"]
    assert {result.succeeded for result in comparison.results} == {5}
    assert comparison.rules[-1].startswith(f"the plan ({strategy}) predicts ")
    assert comparison.rules[-1].endswith(" loads")


def test_a_plan_that_nothing_disturbs_comes_true() -> None:
    """Nobody loses patience here: planned and simulated differ by the millisecond of adoption."""
    Path("patient.yaml").write_text(ONE + "residency: {patience: 24h}\n", encoding="utf-8")
    comparison = what_if(options(specs=in_batch(*CHAIN), policies=("patient.yaml",), plan="portfolio"))
    predicted_min = float(comparison.rules[-1].split()[4])

    assert comparison.results[1].makespan_ms / 60_000 == pytest.approx(predicted_min, abs=0.01)


def test_the_same_plan_is_found_each_time() -> None:
    """The search is limited by steps, not by the clock."""
    asked = options(specs=in_batch(*CHAIN), plan="portfolio", seed=5)

    assert what_if(asked) == what_if(asked)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"plan": "portfloio"}, "no strategy 'portfloio'"),
        ({"plan": "live", "policies": ("fifo", "one.yaml")}, "only the scheduler follows plans"),
        ({"plan": "live", "specs": (), "trace": "trace.csv"}, "only the scheduler follows plans"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused(fields: dict[str, object], what: str) -> None:
    """An unknown strategy, a rival, a trace."""
    Path("trace.csv").write_text("t_s,in_tokens,out_tokens\n0,10,5\n5,10,5\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=what) as refused:
        what_if(options(**fields))

    assert refused.value.where == "--plan"
    assert refused.value.remedy
