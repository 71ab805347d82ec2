"""Planning a pipeline on a profile: routing gives the models, the profile the machines; mistakes come all at once."""

import re
from pathlib import Path

import msgspec
import pytest

from ostler.app.options import STRATEGIES, PlanOptions
from ostler.app.plan_views import PlanError, PlanReport, Row
from ostler.app.plans import _usual_seconds, plan
from ostler.cli.taskfile import load_task_file, parse_task_file
from ostler.domain.errors import InvalidInputError
from ostler.planning.ground import WORKERS
from ostler.planning.plan_checker import check_plan
from ostler.planning.rivals import RIVALS
from ostler.simulate.fourteen_agents import fourteen_agents

EXAMPLE = Path(__file__).parents[2] / "examples" / "fourteen-agents-plan.yaml"
PROFILE = """\
routing:
  minute_price_usd: 0.20
  tiers:
    small: {provider: ollama, models: ["s:7b"]}
    large: {provider: ollama, aliases: [standard], models: ["l:32b"]}
    cloud: {provider: deepseek, models: [far]}
  complexity: {trivial: small, standard: large, complex: large}
endpoints:
  - {name: here, provider: ollama, url: "http://localhost:11434", host: box, slots: 2}
hosts:
  box: {memory: 24GB, preload: ["s:7b"]}
models:
  "s:7b": {aliases: [quick], memory: 5GB}
  "l:32b": {aliases: [latest], memory: 20GB}
  far: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}
worker: {allow: [chat, command], commands: [make], slots: {command: 3}}
"""


@pytest.fixture
def profile(tmp_path: Path) -> str:
    (tmp_path / "p.yaml").write_text(PROFILE, encoding="utf-8")
    return str(tmp_path / "p.yaml")


def planned(text: str, **fields: object) -> PlanReport:
    file = parse_task_file(text, "f")
    return plan(file.pipeline, PlanOptions(places=file.places, seconds=0.2, **fields), lambda _words: None)  # type: ignore[arg-type]


def example(**fields: object) -> PlanReport:
    file = load_task_file(str(EXAMPLE))
    options = PlanOptions(profile="one-host-32gb", places=file.places, **{"seconds": 0.5, **fields})  # type: ignore[arg-type]
    return plan(file.pipeline, options, lambda _words: None)


def test_the_example_is_the_instance_of_the_table() -> None:
    """Fourteen agents, needs, durations, sizes, loads: the map reading with four slots, by other names."""
    told, wanted = example().instance, fourteen_agents("map", 4)
    models = {"latest": "qwen2.5-coder:32b-instruct-128k", "quality": "qwen2.5-coder:32b-instruct"}
    models["fast"] = "qwen2.5-coder:7b-instruct"
    (host,), (table,) = told.hosts, wanted.hosts

    assert {models[name]: serving for name, serving in table.models.items()} == dict(host.models)
    assert (host.memory_bytes, host.resident) == (table.memory_bytes, ())
    ours = {task.id: (task.choices[0].models, task.choices[0].duration_ms, set(task.needs)) for task in told.tasks}
    theirs = {
        task.id: ((models[task.choices[0].models[0]],), task.choices[0].duration_ms, set(task.needs))
        for task in wanted.tasks
    }
    assert ours == theirs


def test_the_order_of_the_example_breaks_two_needs() -> None:
    """DevOps before the two reviews that it needs; mended, the order is a plan that can be carried out."""
    claim = example().claim

    assert claim is not None
    assert [re.findall(r"\b(devops|qa|security)\b", pair) for pair in claim.broken] == [
        ["devops", "qa"],
        ["devops", "security"],
    ]
    assert claim.left_out == ()
    assert claim.mended is not None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_makes_a_plan_that_holds(strategy: str) -> None:
    """Checked by code that shares nothing with what made it."""
    report = example(strategy=strategy)

    assert check_plan(report.instance, report.plan) == ()


def test_models_are_called_as_the_pipeline_calls_them() -> None:
    """The alias in the file, not the long name on the server."""
    assert example().names == {
        "qwen2.5-coder:32b-instruct-128k": "latest",
        "qwen2.5-coder:32b-instruct": "quality",
        "qwen2.5-coder:7b-instruct": "fast",
    }


def test_all_strategies_can_be_compared() -> None:
    """One row for each, for each rival, and for the declared order as it is and as it could be."""
    rows = example(compare=True).comparison

    assert [row.name for row in rows] == [*STRATEGIES, *RIVALS, "as declared", "as declared, mended"]
    assert rows[-2].broken == (
        "devops (core-implementation) runs before qa (quality-assurance)",
        "devops (core-implementation) runs before security (quality-assurance)",
    )
    assert all(row.makespan_ms is not None and row.gap is not None and row.gap >= 0 for row in rows if not row.broken)


def test_a_task_may_use_the_models_of_its_tier_and_its_other_ones(profile: str) -> None:
    """Tier, alias of a tier, alias of a model, other models; a cloud's choice has its price."""
    report = planned(
        "tasks: [{id: a, prompt: x, tier: standard, fallback: [far, quick], expected: 1m}]", profile=profile
    )
    choices = report.instance.tasks[0].choices

    assert [choice.models for choice in choices] == [("l:32b",), ("far",), ("s:7b",)]
    assert [choice.cost_micro_usd > 0 for choice in choices] == [False, True, False]


def test_a_task_nobody_placed_is_routed(profile: str) -> None:
    """What names neither model nor tier goes where the classifier would send it."""
    report = planned("tasks: [{id: a, prompt: x, complexity: complex, expected: 1m}]", profile=profile)

    assert [choice.models for choice in report.instance.tasks[0].choices] == [("l:32b",)]


def test_commands_run_on_the_slots_of_the_workers(profile: str) -> None:
    """As many at once as the profile's worker takes, beside the models."""
    report = planned("tasks: [{id: a, command: make, expected: 1m}]", profile=profile)

    assert [(host.name, host.models["command"].slots) for host in report.instance.hosts] == [(WORKERS, 3)]
    assert report.plan.makespan_ms == 60_000


def test_slots_of_the_pipeline_bound_a_model_by_any_of_its_names(profile: str) -> None:
    """The file says the alias, the machine knows the name."""
    text = "slots: {latest: 1}\ntasks: [{id: a, prompt: x, model: latest, expected: 1m}]"

    assert planned(text, profile=profile).instance.hosts[0].models["l:32b"].slots == 1


def test_the_limit_of_the_pipeline_bounds_every_model_and_the_commands(profile: str) -> None:
    """As far as a plan can hold it: for each model of each host; the rest is said."""
    text = "limit: 1\nslots: {latest: 2}\ntasks: [{id: a, prompt: x, model: latest}, {id: b, command: make}]"
    report = planned(text, profile=profile, hosts="2")

    assert {serving.slots for host in report.instance.hosts for serving in host.models.values()} == {1}
    assert "limit 1: held for each model of each host here, by a run for all together" in report.notes
    assert "slots of the file: held for each host here, by a run for all hosts together" in report.notes


@pytest.mark.parametrize(("preloaded", "resident"), [(False, ()), (True, ("s:7b",))])
def test_the_start_is_cold_unless_it_is_said(profile: str, preloaded: bool, resident: tuple[str, ...]) -> None:
    """Every first load counts, or what hosts preload is there."""
    text = "tasks: [{id: a, prompt: x, model: latest, expected: 1m}]"

    assert planned(text, profile=profile, preloaded=preloaded).instance.hosts[0].resident == resident


def test_the_start_may_be_what_a_hub_has_in_memory(profile: str) -> None:
    """It wins over what would be preloaded."""
    text = "tasks: [{id: a, prompt: x, model: latest, expected: 1m}]"
    report = planned(text, profile=profile, preloaded=True, resident={"box": ("l:32b",)})

    assert report.instance.hosts[0].resident == ("l:32b",)
    assert report.plan.makespan_ms == 60_000, "the model is there already"


@pytest.mark.parametrize(("price", "micro_usd"), [(None, 200_000), (0.05, 50_000), (0, 0)])
def test_a_minute_is_worth_what_the_profile_or_the_option_says(
    profile: str, price: float | None, micro_usd: int
) -> None:
    """The option wins; nothing is a price too."""
    text = "tasks: [{id: a, prompt: x, model: latest, expected: 1m}]"

    assert planned(text, profile=profile, minute_price_usd=price).instance.minute_price_micro_usd == micro_usd


def test_other_hosts_can_be_planned_with(profile: str) -> None:
    """By name and memory, or as copies of what there is."""
    text = "tasks: [{id: a, prompt: x, model: latest, expected: 1m}]"
    named = planned(text, profile=profile, hosts="big=64GB, small=21 GB").instance.hosts
    copies = planned(text, profile=profile, hosts="2").instance.hosts

    assert [(host.name, host.memory_bytes) for host in named] == [("big", 64 * 10**9), ("small", 21 * 10**9)]
    assert [host.name for host in copies] == ["box", "box-2"]


def test_two_hosts_are_never_slower_than_one() -> None:
    """The example on two machines: the three reviews no longer wait for the coders' model to leave."""
    assert example(hosts="2").plan.makespan_ms < example().plan.makespan_ms


BAD_HOSTS = [
    ("box", "--hosts: cannot read 'box' (write NAME=MEMORY, as in box=64GB,box2=32GB, or a number of copies)"),
    ("box=much", "--hosts: cannot read 'box=much'"),
    ("=64GB", "--hosts: cannot read '=64GB'"),
    ("a=1GB,a=2GB", "--hosts: two hosts are called 'a' (rename one)"),
    ("0", "--hosts: 0 copies of the hosts (use 1 to 64)"),
    ("65", "--hosts: 65 copies of the hosts (use 1 to 64)"),
]


@pytest.mark.parametrize(("hosts", "message"), BAD_HOSTS)
def test_hosts_that_cannot_be_read_are_told(profile: str, hosts: str, message: str) -> None:
    """What is wrong, and how it is written."""
    with pytest.raises(InvalidInputError) as caught:
        planned("tasks: [{id: a, prompt: x, model: latest}]", profile=profile, hosts=hosts)

    assert message in str(caught.value)


def test_an_unknown_strategy_is_told_with_the_nearest() -> None:
    """For callers other than the command line, which knows the names itself."""
    with pytest.raises(InvalidInputError, match=r"no strategy 'hybird' \(did you mean 'hybrid'\?\)"):
        example(strategy="hybird")


def test_every_task_that_cannot_be_planned_is_told_with_its_line(profile: str) -> None:
    """Unknown models, unknown tiers, no room: all at once, in the file's own places."""
    text = """\
tasks:
  - {id: fine, prompt: x, model: latest}
  - {id: misspelt, prompt: x, model: latst}
  - {id: other, prompt: x, model: latest, fallback: [quik]}
  - {id: tierless, prompt: x, tier: lrge}
  - {id: v1.2, prompt: x, model: latest, local_only: true, endpoint: deepseek@api.deepseek.com}
"""
    with pytest.raises(PlanError) as caught:
        planned(text, profile=profile)

    assert sorted(str(problem) for problem in caught.value.problems) == [
        "f:3 misspelt.model: no host has the model 'latst' (did you mean 'latest'?)",
        "f:4 other.fallback: no host has the model 'quik' (did you mean 'quick'?)",
        "f:5 tierless.tier: there is no tier 'lrge' (did you mean 'large'?)",
        "f:6 v1.2: no host that it may use has l:32b (see its `local_only` and `endpoint`)",
    ]


def test_a_model_too_large_for_the_machines_is_told(profile: str) -> None:
    """Smaller machines than the model: the remedy names what would help."""
    with pytest.raises(PlanError, match="no host has enough memory for l:32b"):
        planned("tasks: [{id: a, prompt: x, model: latest}]", profile=profile, hosts="tiny=8GB")


def test_what_is_being_worked_on_is_told() -> None:
    """A terminal shows it while the search goes on."""
    file = load_task_file(str(EXAMPLE))
    told: list[str] = []
    plan(file.pipeline, PlanOptions(profile="one-host-32gb", seconds=0.2, strategy="hybrid"), told.append)

    assert told[0] == "planning 14 tasks: hybrid"


def minutes(row: Row) -> str:
    assert row.makespan_ms is not None
    return f"{row.makespan_ms / 60_000:.2f}/{row.loads}"


def test_the_example_comes_to_the_numbers_of_the_table() -> None:
    """The map reading with four slots: proven optimum, and what swaps, another model and a second host would change."""
    asked = ("swaps=free", "swaps=x5", "allow=latest:qa,security,docs,chief-architect", "host=localhost")
    report = example(strategy="optimal", what_if=asked, seconds=8)

    assert report.plan.proven
    assert report.certificate is not None
    assert report.certificate.bound_ms == report.plan.makespan_ms
    assert [minutes(row) for row in report.what_if] == ["58.62/5", "56.00/5", "69.12/5", "51.62/2", "48.38/3"]
    assert [row.name for row in report.what_if][3] == "latest allowed for qa, security, docs and chief-architect"


def test_the_rows_of_the_table_follow_from_the_number_of_slots() -> None:
    """Other numbers of slots, dearer swaps, the architect on a cloud: the table's column, proven again."""
    asked = ("slots=1", "slots=5", "slots=9", "swaps=x10", "cloud=chief-architect:0.05")
    report = example(strategy="optimal", what_if=asked, seconds=8)

    assert [f"{(row.makespan_ms or 0) / 60_000:.2f}" for row in report.what_if[1:]] == [
        "163.62",
        "53.62",
        "53.62",
        "82.25",
        "54.96",
    ]
    assert all(row.gap == 0 for row in report.what_if), "each of them is proven"
    assert report.what_if[-1].cost_micro_usd == 50_000


@pytest.mark.parametrize(("hosts", "shortest"), [("box=40GB", "55.38"), ("box=64GB", "48.38")])
def test_the_example_on_other_machines_comes_to_the_numbers_of_the_table(hosts: str, shortest: str) -> None:
    """The small model beside a large one, and both large ones together."""
    assert f"{example(strategy='optimal', hosts=hosts, seconds=8).plan.makespan_ms / 60_000:.2f}" == shortest


@pytest.mark.parametrize(("tasks", "seconds"), [(1, 2.05), (60, 5.0), (160, 10.0), (10_000, 10.0)])
def test_a_search_takes_as_long_as_its_problem_is_large(tasks: int, seconds: float) -> None:
    """Who says nothing waits two seconds for a few tasks, and never more than ten."""
    instance = fourteen_agents()

    assert _usual_seconds(msgspec.structs.replace(instance, tasks=instance.tasks[:1] * tasks)) == seconds


def test_a_question_that_cannot_be_read_is_told() -> None:
    """With the forms that can."""
    with pytest.raises(InvalidInputError, match="cannot read 'slots=many'"):
        example(strategy="hybrid", what_if=("slots=many",))


def test_money_buys_time_where_a_cloud_is_a_choice(profile: str) -> None:
    """Cheapest first, each shorter than the one before; the one that the price of a minute chooses is marked."""
    task = "{{id: t{0}, prompt: x, model: latest, fallback: far, expected: 10m}}"
    text = f"tasks: [{', '.join(task.format(number) for number in range(6))}]"
    points = planned(text, profile=profile, strategy="hybrid").frontier

    assert [row.cost_micro_usd for row in points] == sorted({row.cost_micro_usd for row in points})
    assert points[0].cost_micro_usd == 0
    assert len(points) > 1
    spans = [row.makespan_ms or 0 for row in points]
    assert spans == sorted(spans, reverse=True)
    assert [row.detail for row in points].count("best at this price of a minute") == 1


def test_without_a_price_there_is_no_frontier() -> None:
    """One machine and no cloud: nothing to buy."""
    assert example(strategy="hybrid").frontier == ()
