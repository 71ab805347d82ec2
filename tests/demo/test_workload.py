"""The work of the demo: it is what its seed and its licences say, and it reaches every part of the ladder."""

import re
from collections import Counter
from pathlib import Path

import pytest

from ostler.cli.taskfile import load_task_file
from ostler.demo.workload import CAPABILITY, LONG_COMMAND, PIPELINE, PROMPTS, PYTHON, Wave, load_prompts, load_workload
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.routing.aim import find_aim
from ostler.routing.facts import describe
from ostler.routing.ladder import Ladder
from tests.demo import recorded

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {
    "python": {"chief-architect"},
    "qa": {"python", "go"},
    "security": {"python", "authentik"},
    "docs": {"python"},
    "devops": {"qa", "security"},
}
"""The dependency map of the fourteen agents, agent by agent; all others start at once."""
LICENCES = {"GSM8K": "MIT", "HumanEval": "MIT", "MATH": "MIT", "Ostler": "Apache-2.0"}


def all_specs() -> list[TaskSpec]:
    workload = load_workload()
    agents = load_task_file(str(PIPELINE)).for_run("agents")
    return [*agents, *(spec for wave in Wave for spec in workload.waves[wave])]


def test_the_pipeline_has_the_needs_of_the_map() -> None:
    """Fourteen agents; each needs exactly what the map says, and the loader has refused rings and unknown names."""
    specs = load_task_file(str(PIPELINE)).specs

    assert len(specs) == 14
    assert {spec.id: set(spec.needs) for spec in specs if spec.needs} == NEEDS


def test_each_agent_asks_for_the_model_of_its_group() -> None:
    """Nine code with the long window, four design and review, one is simple; the aliases mean models of the profile."""
    specs = load_task_file(str(PIPELINE)).specs

    assert Counter(spec.model for spec in specs) == {"latest": 9, "quality": 4, "fast": 1}
    assert {"latest", "quality", "fast"} <= recorded.catalog().model_aliases.keys()


def test_the_example_is_the_pipeline_of_the_demo() -> None:
    """What a newcomer runs from `examples` is what was seen in the demo."""
    assert (ROOT / "examples" / PIPELINE.name).resolve() == PIPELINE.resolve()


def test_every_prompt_names_its_licence_and_its_source() -> None:
    """Only collections whose licence allows it, each told in the file beside the prompts with the right number."""
    prompts = load_prompts()
    table = (PROMPTS.parent / "PROMPTS-LICENCE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| ([^|]+) \| (MIT|Apache-2.0)", table, re.MULTILINE)

    assert {(prompt.origin, prompt.licence) for prompt in prompts} == set(LICENCES.items())
    assert {name: int(number) for name, number, _, _ in rows} == Counter(prompt.origin for prompt in prompts)
    assert {(name, source) for name, _, source, _ in rows} == {(prompt.origin, prompt.source) for prompt in prompts}
    assert {name: licence for name, _, _, licence in rows} == LICENCES


def test_no_two_tasks_share_an_id() -> None:
    """The waves and the pipeline together can be handed in to one hub."""
    ids = [spec.id for spec in all_specs()]

    assert len(ids) == len(set(ids))
    assert {need for spec in all_specs() for need in spec.needs} <= set(ids)


def test_the_profile_takes_every_task() -> None:
    """Each task can be described under the demo's profile, and finds a tier to begin at."""
    policy = recorded.simulated_policy()
    ladder = Ladder(policy.catalog)

    for spec in all_specs():
        facts = describe(spec, policy)
        aim = find_aim(facts, quality_steps=0, errors=(), policy=policy, ladder=ladder)
        assert aim.direct or aim.start is not None, spec.id


def test_classification_reaches_every_tier() -> None:
    """Prompts without any wish of their own spread over the whole ladder; commands are direct."""
    policy = recorded.simulated_policy()
    ladder = Ladder(policy.catalog)
    aims = {
        find_aim(describe(spec, policy), quality_steps=0, errors=(), policy=policy, ladder=ladder).requested
        for spec in all_specs()
        if spec.model is None and not spec.recent_errors
    }

    assert aims == {"direct", "local_small", "local_strong", "cloud_small", "cloud_strong"}


@pytest.mark.parametrize(
    ("task_id", "tier", "because"),
    [
        ("humaneval-stubborn", "local_strong", "the same error three times lifts it from local_small"),
        ("math-square", "cloud_strong", "a word of hard work"),
        ("incident", "cloud_small", "production is high stakes"),
        ("typo", "local_small", "trivial work without a command takes the lowest tier with a model"),
    ],
)
def test_a_special_task_begins_where_it_says(task_id: str, tier: str, because: str) -> None:
    """What a task claims to show is what the policy does with it."""
    policy = recorded.simulated_policy()
    spec = next(spec for spec in all_specs() if spec.id == task_id)
    aim = find_aim(describe(spec, policy), quality_steps=0, errors=(), policy=policy, ladder=Ladder(policy.catalog))

    assert aim.start is not None
    assert aim.start.name == tier, because


def test_the_second_wave_keeps_a_machine_busy_for_longer_than_it_takes_to_notice() -> None:
    """Its command can only run on the machines' own workers, so that one is under way when the plug is pulled."""
    long_command = next(spec for spec in load_workload().waves[Wave.SECOND] if spec.id == LONG_COMMAND)

    assert long_command.kind is TaskKind.COMMAND
    assert long_command.argv[0] == PYTHON
    assert long_command.requires == {CAPABILITY}


def test_the_seed_mixes_the_order_and_nothing_else() -> None:
    """Equal seeds give equal work in equal order; another seed the same work in another order."""
    first, again, other = load_workload(1), load_workload(1), load_workload(2)

    assert first == again
    for wave in Wave:
        assert sorted(spec.id for spec in first.waves[wave]) == sorted(spec.id for spec in other.waves[wave])
    assert first.waves != other.waves
