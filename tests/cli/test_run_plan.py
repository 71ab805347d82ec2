"""`ostler run --plan`: the run is handed in, planned and watched; at the end planned and actual stand together."""

import json
from pathlib import Path

import msgspec
import pytest

from ostler.cli.run_plan import print_run_plan
from ostler.domain.errors import ConflictError, ExitCode
from ostler.domain.states import TaskState
from ostler.hub.plan_views import PlanVersion, RunPlan
from ostler.hub.views import RunReport
from tests.cli.conftest import Ostler
from tests.cli.test_run import becomes
from tests.web import samples
from tests.web.recording_hub import RecordingHub, ServedHub

PLANNED = "planned (portfolio): 50 s, no plan is shorter than 50 s\n"


@pytest.fixture
def file(tmp_path: Path, served: ServedHub) -> str:
    """A file with one task, which succeeds as soon as it is handed in."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED)
    (tmp_path / "tasks.yaml").write_text("tasks: [{id: a, prompt: x}]", encoding="utf-8")
    return "tasks.yaml"


def names(hub: RecordingHub) -> list[str]:
    """What was asked of the hub that changes something, and for the plan, in order."""
    return [str(call[0]) for call in hub.calls if call[0] in {"submit", "make_plan", "run_plan"}]


def test_a_run_is_planned_when_it_is_there_and_shown_when_it_is_over(
    ostler: Ostler, served: ServedHub, file: str
) -> None:
    """First the hub has the tasks, then it plans them, at the end both charts on one scale."""
    code, out, err = ostler("run", file, "--run-id", "r-1", "--plan")

    assert (code, err) == (ExitCode.OK, "")
    assert names(served.hub) == ["submit", "make_plan", "run_plan"]
    assert out.startswith(f"run r-1: 1 tasks\n{PLANNED}")
    assert "\nplanned   50 s, 1 load, 20 s of loading and unloading\n" in out
    assert "\nactual    55 s, 0 loads, 0 s of loading and unloading\n" in out
    charts = out[out.index("\nplanned ") :]
    assert charts.count("gpu-box") == 2
    assert "r-1.a" not in charts, "names are those of the file"


def test_a_run_without_the_flag_is_not_planned(ostler: Ostler, served: ServedHub, file: str) -> None:
    """A plan costs a search; nobody gets one unasked."""
    ostler("run", file)

    assert names(served.hub) == ["submit"]


def test_who_does_not_wait_has_the_plan_made_all_the_same(ostler: Ostler, served: ServedHub, file: str) -> None:
    """It is told what is promised; what becomes of it can be asked later."""
    code, out, _ = ostler("run", file, "--run-id", "r-1", "--plan", "--no-wait")

    assert code == ExitCode.OK
    assert names(served.hub) == ["submit", "make_plan"]
    assert out.endswith(PLANNED)


def test_a_check_plans_nothing(ostler: Ostler, served: ServedHub, file: str) -> None:
    """Nothing is handed in, so there is nothing to plan."""
    assert ostler("run", file, "--check", "--plan").code == ExitCode.OK
    assert names(served.hub) == []


@pytest.mark.parametrize("waits", [(), ("--no-wait",)])
def test_a_run_that_cannot_be_planned_goes_on(
    ostler: Ostler, served: ServedHub, file: str, monkeypatch: pytest.MonkeyPatch, waits: tuple[str, ...]
) -> None:
    """The work is handed in and done; that there is no plan, and why, is said beside it."""

    async def refuse(self: RecordingHub, run: str, strategy: str, seconds: float) -> RunPlan:
        raise ConflictError(f"all tasks of {run} have ended", where="run", remedy="plan a run that is under way")

    monkeypatch.setattr(RecordingHub, "make_plan", refuse)

    code, out, err = ostler("run", file, "--run-id", "r-1", "--plan", *waits)
    assert code == ExitCode.OK
    assert err.startswith("run r-1 goes on without a plan: ")
    assert "all tasks of r-1 have ended" in err
    assert "run_plan" not in names(served.hub)
    assert "planned" not in out


def test_a_program_gets_plan_and_outcome_with_the_report(ostler: Ostler, served: ServedHub, file: str) -> None:
    """One object, and nothing but it on standard output."""
    code, out, _ = ostler("run", file, "--run-id", "r-1", "--plan", "--json")
    report = msgspec.convert(json.loads(out), RunReport)

    assert code == ExitCode.OK
    assert report.plan == samples.run_plan("r-1")
    assert msgspec.convert(json.loads(ostler("run", file, "--json").out), RunReport).plan is None


def test_new_plans_are_told_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """When after the first one, why, and how much was left by it."""
    plan = samples.run_plan("r-1")
    second = PlanVersion(
        version=2,
        made_ms=plan.started_ms + 35_000,
        strategy="portfolio",
        reason="late: r-1.a",
        makespan_ms=180_000,
        bound_ms=0,
    )
    print_run_plan(msgspec.structs.replace(plan, versions=(*plan.versions, second)))

    assert capsys.readouterr().out.endswith("\nplan 2 after 35 s, because of late: r-1.a: 3.00 min more\n")


def test_a_plan_without_a_bound_claims_none(
    ostler: Ostler, served: ServedHub, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said about the shortest plan where nothing was computed."""
    plan = samples.run_plan("r-1")
    bare = msgspec.structs.replace(plan, versions=(msgspec.structs.replace(plan.versions[0], bound_ms=0),))

    async def make(self: RecordingHub, run: str, strategy: str, seconds: float) -> RunPlan:
        return bare

    monkeypatch.setattr(RecordingHub, "make_plan", make)

    assert "planned (portfolio): 50 s\n" in ostler("run", file, "--run-id", "r-1", "--plan", "--no-wait").out
