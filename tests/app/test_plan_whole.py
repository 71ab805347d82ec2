"""From generated documents to whole reports: the plan holds, the certificate is checked, and the parts agree."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostler.app.options import PlanOptions
from ostler.app.plan_views import PlanReport
from ostler.app.plans import plan
from ostler.cli.plan_text import print_report
from ostler.cli.taskfile import parse_task_file
from ostler.planning.bound_checker import check_certificate
from ostler.planning.figures import figures
from ostler.planning.plan_checker import check_plan

PROFILE = """\
routing:
  tiers:
    small: {provider: ollama, models: ["s:7b"]}
    large: {provider: ollama, aliases: [standard], models: ["l:32b", "s:7b"]}
    cloud: {provider: deepseek, models: [far]}
  complexity: {trivial: small, standard: large, complex: large}
endpoints:
  - {name: here, provider: ollama, url: "http://localhost:11434", host: box, slots: 2}
  - {name: there, provider: ollama, url: "http://mac:11434", host: mac, slots: 3, models: ["s:7b", "m:14b"]}
hosts:
  box: {memory: 24GB, max_resident_models: 2, preload: ["s:7b"]}
  mac: {memory: 16GB, reserve: 2GB}
models:
  "s:7b": {aliases: [quick], memory: 5GB, speeds: {load_s: 5, unload_s: 2}}
  "m:14b": {aliases: [middle], memory: 10GB, speeds: {load_s: 10, unload_s: 4}}
  "l:32b": {aliases: [latest], memory: 20GB, speeds: {load_s: 22.5, unload_s: 17.5}}
  far: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}
worker: {allow: [chat, command], commands: [make], slots: {command: 2}}
"""
MODELS = ["latest", "quick", "middle", "far"]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Pipelines of up to nine tasks: models, tiers, commands, other models, roles, and phases that may break needs."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 9)))]
    tasks = []
    for index, name in enumerate(names):
        task: dict[str, Any] = {"id": name, "expected": f"{draw(st.integers(1, 20))}m"}
        kind = draw(st.sampled_from(["model", "model", "tier", "command", "role"]))
        if kind == "command":
            task["command"] = "make"
        else:
            task["prompt"] = "write it"
        if kind == "model":
            task["model"] = draw(st.sampled_from(MODELS))
            others = draw(st.lists(st.sampled_from(MODELS), unique=True, max_size=2))
            task["fallback"] = [model for model in others if model != task["model"]]
        elif kind == "tier":
            task["tier"] = draw(st.sampled_from(["small", "large", "standard"]))
        elif kind == "role":
            task["role"] = "coder"
        if index:
            task["needs"] = draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=2))
        tasks.append(task)
    document: dict[str, Any] = {"name": "made", "roles": {"coder": {"model": "latest"}}, "tasks": tasks}
    if draw(st.booleans()):
        order = draw(st.permutations(names))
        cut = draw(st.integers(1, len(names)))
        groups = [group for group in (order[:cut], order[cut:]) if group]
        document["phases"] = [{"name": f"p{number}", "tasks": group} for number, group in enumerate(groups)]
    return document


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("profile") / "p.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    return str(path)


def made(document: dict[str, Any], profile: str, **fields: object) -> PlanReport:
    file = parse_task_file(json.dumps(document), "f")
    options = PlanOptions(profile=profile, places=file.places, seconds=0.1, **fields)  # type: ignore[arg-type]
    return plan(file.pipeline, options, lambda _words: None)


QUIET = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(
    document=documents(), strategy=st.sampled_from(["model-first", "dependency-first", "hybrid", "live", "portfolio"])
)
@QUIET
def test_a_plan_can_be_carried_out_and_its_bound_be_checked(
    profile: str, document: dict[str, Any], strategy: str
) -> None:
    """By checkers that share no code with what made them; no plan is shorter than its bound."""
    report = made(document, profile, strategy=strategy)

    assert check_plan(report.instance, report.plan) == (), "the plan holds"
    assert report.certificate is not None
    assert check_certificate(report.instance, report.certificate) == "", "the bound follows from its witness"
    assert report.certificate.bound_ms <= report.plan.makespan_ms
    assert report.figures == figures(report.instance, report.plan)
    assert report.figures.critical_path_ms <= report.plan.makespan_ms


@given(document=documents())
@QUIET
def test_phases_and_claim_speak_of_every_task(profile: str, document: dict[str, Any]) -> None:
    """Derived phases hold each task once; a claim breaks exactly the needs whose phase comes later."""
    report = made(document, profile, strategy="hybrid")
    ids = [task["id"] for task in document["tasks"]]

    assert sorted(task for phase in report.phases for task in phase.tasks) == sorted(ids)
    if "phases" not in document:
        assert report.claim is None
        return
    number = {task: index for index, phase in enumerate(document["phases"]) for task in phase["tasks"]}
    broken = [
        (task["id"], need)
        for task in document["tasks"]
        for need in task.get("needs", [])
        if number[need] > number[task["id"]]
    ]
    assert report.claim is not None
    assert len(report.claim.broken) == len(broken)
    assert report.claim.left_out == ()
    assert report.claim.mended is not None


@given(document=documents())
@QUIET
def test_a_report_survives_its_json(profile: str, document: dict[str, Any]) -> None:
    """What a program gets is the whole report, with every question answered."""
    swapped = {"id": "local", "prompt": "x", "model": "latest", "expected": "1m"}
    asked = {**document, "tasks": [*document["tasks"], swapped]}
    report = made(asked, profile, strategy="hybrid", what_if=("swaps=free",))
    again = msgspec.json.decode(msgspec.json.encode(report), type=PlanReport)

    assert again.plan == report.plan
    assert again.instance == report.instance
    assert [row.name for row in again.what_if] == ["as it is", "swaps free"]
    assert (again.what_if[1].bound_ms or 0) <= (again.what_if[0].makespan_ms or 0)


def test_every_part_of_a_report_is_shown(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A document with all there is: the report has every section, each under its heading."""
    document = {
        "name": "all",
        "slots": {"latest": 1},
        "phases": ["one"],
        "tasks": [
            {"id": "a", "prompt": "x", "model": "latest", "fallback": ["far"], "phase": "one"},
            {"id": "b", "command": "make", "needs": ["a"]},
        ],
    }
    print_report(made(document, profile, strategy="hybrid", compare=True, what_if=("swaps=free",)))
    out = capsys.readouterr().out

    headings = ["phases, derived", "declared phases", "assumed", "compared", "what if", "money against time"]
    places = [out.index(f"\n{heading}") for heading in headings]
    assert places == sorted(places)
    assert "it leaves out b: what is claimed for it does not count them" in out


def test_the_help_loads_nothing_heavy() -> None:
    """Neither planner nor solver nor tables: who asks for help gets it at once."""
    code = (
        "import sys; from ostler.cli.main import run; run(['plan', '--help']);"
        "print([name for name in ('ostler.planning.planner', 'ostler.config.load', 'rich', 'ortools', 'ruamel.yaml')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_program_plans_the_example_by_itself(tmp_path: Path) -> None:
    """As a person starts it: a process of its own, the drawing on disk, exit code 1 for the broken claim."""
    example = Path(__file__).parents[2] / "examples" / "fourteen-agents-plan.yaml"
    words = ["plan", str(example), "--profile", "one-host-32gb", "--strategy", "hybrid", "--svg", "plan.svg"]
    done = subprocess.run(
        [sys.executable, "-m", "ostler.cli.main", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert "makespan             63.79 min" in done.stdout
    assert (tmp_path / "plan.svg").read_text(encoding="utf-8").count("<rect") > 14
