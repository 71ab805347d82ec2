"""`ostler run --plan`: the run is handed in, planned and watched; at the end planned and actual stand together."""

import json
import time
from pathlib import Path

import msgspec
import pytest

from ostler.cli.planned import PlannedTimes
from ostler.cli.progress import PlainProgress, live_table
from ostler.cli.run_plan import charts, print_run_plan
from ostler.cli.watch import Picture
from ostler.domain.errors import ExitCode
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.plan_views import PlanVersion, PlanWish, RunPlan
from ostler.hub.views import RunReport
from tests.cli.conftest import Ostler
from tests.cli.test_run import becomes
from tests.web import samples
from tests.web.recording_desks import RecordingPlans
from tests.web.recording_hub import RecordingHub, ServedHub

PLANNED = "planned (portfolio): 50 s, 1 load, no plan is shorter than 50 s\n"


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
    assert names(served.hub) == ["submit", "run_plan", "run_plan"]
    assert PlanWish() in served.hub.calls[0], "none of it starts before the plan is there"
    assert out.startswith(f"run r-1: 1 tasks\n{PLANNED}")
    assert "\nplanned: 50 s, 1 load\n" in out
    assert "\nactual: 55 s, 0 loads\n" in out
    assert "\nmakespan  50 s planned, 55 s, 5 s late\n" in out
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
    assert names(served.hub) == ["submit", "run_plan"]
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
    monkeypatch.setattr(RecordingHub, "unplanned", "all tasks of r-1 have ended")

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

    said = "\nplan 2    after 35 s, because of late: r-1.a: 3.00 min more from then\n"
    assert said in capsys.readouterr().out


def test_a_plan_without_a_bound_claims_none(
    ostler: Ostler, served: ServedHub, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said about the shortest plan where nothing was computed."""
    plan = samples.run_plan("r-1")
    bare = msgspec.structs.replace(plan, versions=(msgspec.structs.replace(plan.versions[0], bound_ms=0),))

    async def show(self: RecordingPlans, run: str) -> RunPlan:
        return bare

    monkeypatch.setattr(RecordingPlans, "show", show)

    assert "planned (portfolio): 50 s, 1 load\n" in ostler("run", file, "--run-id", "r-1", "--plan", "--no-wait").out


@pytest.fixture
def made() -> RunPlan:
    """A plan that was followed to its end."""
    return samples.run_plan("r-1")


def test_a_run_of_the_hub_is_shown_with_its_plan(ostler: Ostler, served: ServedHub) -> None:
    """Figures, both charts, every task with the times of both sides."""
    code, out, err = ostler("plan", "--run", "r-1")
    lines = out.splitlines()

    assert (code, err, served.hub.calls) == (ExitCode.OK, "", [("run_plan", "r-1")])
    assert lines[0] == "run r-1: 1 task, planned portfolio 1 min ago, not followed any more"
    assert "makespan  50 s planned, 55 s, 5 s late" in lines
    assert "tasks     1 late" in lines
    assert "bound     no plan for it was shorter than 50 s" in lines
    assert lines[-1] == "a     20 s to 50 s  21 s to 55 s  5 s late  gpu-box"


def test_the_plan_of_a_run_as_json_is_the_view_of_the_hub(ostler: Ostler, served: ServedHub, made: RunPlan) -> None:
    """Nothing is lost or added."""
    assert msgspec.json.decode(ostler("plan", "--run", "r-1", "--json").out, type=RunPlan) == made


def test_both_sides_are_drawn_into_a_file(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """Planned above actual, tasks by their ids in the file."""
    assert ostler("plan", "--run", "r-1", "--svg", "run.svg").code == ExitCode.OK
    text = (tmp_path / "run.svg").read_text(encoding="utf-8")

    assert text.index("r-1, planned: 50 s, 1 load") < text.index("r-1, actual: 55 s, 0 loads")
    assert "r-1.a" not in text


def test_a_run_can_be_planned_anew(ostler: Ostler, served: ServedHub) -> None:
    """With the time and the strategy that are named, else the hub's own."""
    ostler("plan", "--run", "r-1", "--make")
    ostler("plan", "--run", "r-1", "--make", "--strategy", "live", "--seconds", "5")

    assert served.hub.calls == [("make_plan", "r-1", "portfolio", 2.0), ("make_plan", "r-1", "live", 5.0)]


@pytest.mark.parametrize(("flags", "said"), [((), "the plan of r-1 is not followed any more\n"), (("--json",), "{}\n")])
def test_a_plan_can_be_dropped(ostler: Ostler, served: ServedHub, flags: tuple[str, ...], said: str) -> None:
    """Its tasks go on."""
    assert ostler("plan", "--run", "r-1", "--drop", *flags).out == said
    assert served.hub.calls == [("drop_plan", "r-1")]


WRONG = [
    (("--run", "r", "--make", "--drop"), "ostler plan: --make and --drop exclude each other (use one)"),
    (("--run", "r", "pipeline.yaml"), "--run: a file is not for a run (leave one of the two out)"),
    (("--run", "r", "--compare"), "--run: --compare is not for a run (leave one of the two out)"),
    (("--run", "r", "--minute-price", "1"), "--run: --minute-price is not for a run (leave one of the two out)"),
    (("--run", "r", "--claims", "c.yaml"), "--run: --claims is not for a run (leave one of the two out)"),
    (
        ("--run", "r", "--make", "--strategy", "hybrid"),
        "--strategy: the hub makes no plans by 'hybrid' (use portfolio or live, or plan the file)",
    ),
    (
        ("--run", "r", "--make", "--seconds", "61"),
        "--seconds: at most 60 seconds for a run (work goes on meanwhile, so the plan would be old)",
    ),
    ((), "ostler plan: neither a file nor a run is named (name a FILE, or a run with --run)"),
    (
        ("pipeline.yaml", "--drop"),
        "ostler plan: --make and --drop are for a run (name a FILE, or a run with --run)",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_makes_no_sense_together_is_refused(
    ostler: Ostler, served: ServedHub, words: tuple[str, ...], message: str
) -> None:
    """Before the hub is asked anything."""
    result = ostler("plan", *words)

    assert (result.code, result.out, result.err) == (ExitCode.USAGE, "", f"ostler: {message}\n")
    assert served.hub.calls == []


def test_a_picture_that_cannot_be_written_says_why(ostler: Ostler, served: ServedHub) -> None:
    """A folder that is not there."""
    result = ostler("plan", "--run", "r-1", "--svg", "nowhere/run.svg")

    assert (result.code, result.err) == (
        ExitCode.USAGE,
        "ostler: nowhere/run.svg: cannot be written: No such file or directory\n",
    )


def test_time_for_a_search_needs_a_plan(ostler: Ostler, served: ServedHub, file: str) -> None:
    """Nothing is handed in."""
    result = ostler("run", file, "--seconds", "3")

    assert (result.code, served.hub.calls) == (ExitCode.USAGE, [])
    assert result.err == "ostler: --seconds: only a plan takes time to search (add --plan)\n"


def test_the_search_takes_the_time_that_is_named(ostler: Ostler, served: ServedHub, file: str) -> None:
    """The hub is told."""
    ostler("run", file, "--run-id", "r-1", "--plan", "--seconds", "3")

    assert PlanWish(seconds=3.0) in served.hub.calls[0]


def test_a_plan_that_is_followed_is_told_so_far(made: RunPlan, capsys: pytest.CaptureFixture[str]) -> None:
    """While tasks are open, the figures are no end."""
    row = msgspec.structs.replace(made.rows[0], start_ms=None, end_ms=None, host=None)
    other = msgspec.structs.replace(row, task="r-1.b", start_ms=21_000, host="mac")
    print_run_plan(msgspec.structs.replace(made, rows=(row, other), following=True))
    out = capsys.readouterr().out

    assert ", followed\n" in out
    assert "makespan  50 s planned, 55 s so far\n" in out
    assert "tasks     2 not over\n" in out
    assert out.splitlines()[-2].split() == ["a", "20", "s", "to", "50", "s", "-", "-", "gpu-box"]
    assert out.endswith("21 s to ...  -    mac, planned gpu-box\n")


def test_a_model_has_one_sign_in_both_charts(made: RunPlan) -> None:
    """So that planned and actual can be compared by eye: one scale, one list of models."""
    (_, planned), (_, happened) = charts(made)

    assert planned.models == happened.models
    assert planned.makespan_ms == happened.makespan_ms == 55_000


def test_what_ran_before_the_plan_was_made_begins_with_the_chart(made: RunPlan) -> None:
    """And what had ended by then is not drawn: bars do not reach over the names of the hosts."""
    (running,) = made.actual.plan.placements
    running = msgspec.structs.replace(running, start_ms=-3_000)
    over = msgspec.structs.replace(running, task="r-1.over", end_ms=-1_000)
    plan = msgspec.structs.replace(made.actual.plan, placements=(over, running))
    _, (_, picture) = charts(msgspec.structs.replace(made, actual=msgspec.structs.replace(made.actual, plan=plan)))
    bars = [bar for host in picture.hosts for lane in host.lanes if not lane.memory for bar in lane.bars]

    assert [(bar.label, bar.start_ms, bar.end_ms) for bar in bars] == [("a", 0, 55_000)]


def at(state: TaskState, **changes: object) -> Task:
    """The one task of the plan, some time after it was made."""
    times = {name: value if value is None else samples.NOW_MS + int(str(value)) for name, value in changes.items()}
    return samples.task("r-1.a", state, batch="r-1", **times)


LATE = [
    (at(TaskState.SUCCEEDED, started_ms=20_000, finished_ms=50_300), 60_000, "20 s to 50 s", "as planned"),
    (at(TaskState.SUCCEEDED, started_ms=20_000, finished_ms=40_000), 60_000, "20 s to 40 s", "10 s early"),
    (at(TaskState.RUNNING, started_ms=20_000, finished_ms=None), 40_000, "20 s to ...", ""),
    (at(TaskState.RUNNING, started_ms=20_000, finished_ms=None), 60_000, "20 s to ...", "10 s late so far"),
    (at(TaskState.QUEUED), 10_000, "-", ""),
    (at(TaskState.QUEUED), 25_000, "-", "5 s late so far"),
]


@pytest.mark.parametrize(
    ("task", "now_ms", "actual", "late"), LATE, ids=[late or task.state for task, _, _, late in LATE]
)
def test_a_task_is_told_beside_its_plan(made: RunPlan, task: Task, now_ms: int, actual: str, late: str) -> None:
    """Ended: how far from the plan; else how late it is by now, and nothing as long as it may still be in time."""
    times = PlannedTimes(made)

    assert (times.planned(task), times.actual(task)) == ("20 s to 50 s", actual)
    assert times.late(task, samples.NOW_MS + now_ms) == late


def test_a_task_that_the_plan_does_not_know_has_no_times(made: RunPlan) -> None:
    """One that was handed in afterwards, for example."""
    times, other = PlannedTimes(made), samples.task("r-1.new", TaskState.QUEUED)

    assert (times.planned(other), times.late(other, samples.NOW_MS)) == ("-", "-")


def test_the_live_table_shows_planned_and_actual(made: RunPlan) -> None:
    """In the place of phase, tier and endpoint; notes stand below."""
    task = at(TaskState.RUNNING, started_ms=20_000, finished_ms=None)
    picture = Picture(tasks=(task,), now_ms=samples.NOW_MS + 60_000, taken_s=time.monotonic())
    table = live_table(picture, PlannedTimes(made))

    assert [column.header for column in table.columns] == ["TASK", "STATE", "MODEL", "PLANNED", "ACTUAL", "END"]
    cells = [str(next(iter(column.cells))) for column in table.columns]
    assert cells[3:] == ["20 s to 50 s", "20 s to ...", "10 s late so far"]


def test_what_waits_says_why_below_the_table(made: RunPlan) -> None:
    """The first few of them; there is no room beside the times."""
    waiting = [msgspec.structs.replace(at(TaskState.QUEUED), id=f"r-1.w{number}") for number in range(9)]
    done = at(TaskState.SUCCEEDED, started_ms=20_000, finished_ms=55_000)
    picture = Picture(tasks=(done, *waiting), now_ms=samples.NOW_MS, taken_s=time.monotonic())
    caption = str(live_table(picture, PlannedTimes(made)).caption).splitlines()

    assert caption[0] == "9 queued, 1 succeeded"
    assert [line.partition(": ")[0] for line in caption[1:]] == ["w0", "w1", "w2", "w3"]
    assert "waits for its tier" in caption[1]


def test_a_line_of_progress_tells_how_near_the_plan_it_ended(made: RunPlan, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal, too."""
    task = at(TaskState.SUCCEEDED, started_ms=20_000, finished_ms=55_000)
    PlainProgress(plan=PlannedTimes(made)).show(Picture(tasks=(task,), now_ms=samples.NOW_MS, taken_s=0.0))

    assert capsys.readouterr().out.endswith("(5 s late)\n")
