"""The alternatives to one machine with two large models, compared: one model, a rule by size, two servers."""

from pathlib import Path

import msgspec
import pytest

from ostler.app import what_if
from ostler.app.options import WhatIfOptions
from ostler.cli.taskfile import load_task_file
from ostler.domain.tasks import TaskSpec
from ostler.hub.simulated import Result

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "examples" / "fourteen-agents-plan.yaml"
PROFILES = ROOT / "examples" / "profiles"
LATEST, QUALITY, FAST = "qwen2.5-coder:32b-instruct-128k", "qwen2.5-coder:32b-instruct", "qwen2.5-coder:7b-instruct"
TOKENS = {15: 60_000, 10: 20_000, 3: 2_000}
"""Size of a task by its expected minutes."""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def agents() -> tuple[TaskSpec, ...]:
    return load_task_file(str(PIPELINE)).specs


def compare(specs: tuple[TaskSpec, ...], *policies: str) -> list[Result]:
    paths = tuple(str(PROFILES / f"{name}.yaml") for name in policies)
    options = WhatIfOptions(name="agents", specs=specs, policies=("one-host-32gb", *paths), ttl_ms=0)
    return list(what_if(options).results)


def test_one_model_for_all_but_credentials_swaps_only_for_these() -> None:
    """Thirteen agents share it; the swaps are those to the small model and back, and the work ends earlier."""
    today, one = compare(agents(), "one-model")

    assert one.by_model == {LATEST: 13, FAST: 1}
    assert one.swaps is not None
    assert today.swaps is not None
    assert one.swaps <= 2 < today.swaps
    assert one.makespan_ms < today.makespan_ms


def test_the_size_of_a_task_chooses_its_model() -> None:
    """Above 50,000 tokens the long window, above 10,000 the short one, else the small model, whatever was asked for."""
    sized = tuple(
        msgspec.structs.replace(spec, context_tokens=TOKENS[(spec.expected_ms or 0) // 60_000]) for spec in agents()
    )
    _, by_size = compare(sized, "size-rule")

    assert by_size.by_model == {LATEST: 7, QUALITY: 5, FAST: 2}
    assert by_size.succeeded == 14


@pytest.mark.parametrize(
    ("tokens", "model"), [(10_000, FAST), (10_001, QUALITY), (50_000, QUALITY), (50_001, LATEST), (120_000, LATEST)]
)
def test_the_rule_changes_at_its_limits(tokens: int, model: str) -> None:
    """Exactly there."""
    (_, by_size) = compare((TaskSpec(id="a", prompt="x", model="quality", context_tokens=tokens),), "size-rule")

    assert by_size.by_model == {model: 1}


def test_two_servers_never_push_the_large_models_out() -> None:
    """Each large model has a machine of its own; what is left are the swaps to the small one."""
    today, two = compare(agents(), "two-servers")

    assert [host.name for host in two.hosts] == ["localhost", "second-server"]
    assert two.hosts[0].swaps == 0
    assert two.hosts[1].swaps <= 2
    assert two.makespan_ms < today.makespan_ms
    assert two.by_model == today.by_model


def test_all_alternatives_are_one_comparison() -> None:
    """Side by side, each on its own machines, every agent accounted for."""
    results = compare(agents(), "one-model", "size-rule", "two-servers")

    assert [result.fleet for result in results] == ["one-host-32gb", "one-model", "size-rule", "two-servers"]
    assert {result.succeeded for result in results} == {14}


def test_a_plan_that_is_followed_is_kept_nearly_to_the_minute() -> None:
    """The scheduler alone serves each model until none waits for it; with the plan it begins the longest path first.

    What it takes more than planned is the model of the profile that is loaded before anybody can ask.
    """
    options = WhatIfOptions(
        name="agents",
        specs=load_task_file(str(PIPELINE)).for_run("agents"),
        policies=("one-host-32gb",),
        ttl_ms=0,
        plan="portfolio",
        seed=1,
    )
    compared = what_if(options)
    alone, planned = compared.results
    predicted = next(rule for rule in compared.rules if rule.startswith("the plan"))
    minutes = float(predicted.split("predicts ")[1].split(" minutes")[0])

    assert planned.succeeded == alone.succeeded == 14
    assert planned.makespan_ms < 0.8 * alone.makespan_ms
    assert planned.makespan_ms / 60_000 == pytest.approx(minutes, abs=0.5)
