"""`ostler plan` as a person sees it: figures, chart, phases, claim, tables; and as a program gets it."""

import io
import json
import re
from pathlib import Path

import msgspec
import pytest

from ostler.app.options import STRATEGIES, PlanOptions
from ostler.app.plan_views import Claim, PlanReport, Row
from ostler.cli.main import run
from ostler.cli.plan_text import certificate_text, print_report, span
from ostler.cli.taskfile import load_task_file
from ostler.domain.errors import ExitCode
from ostler.planning.certificate import Certificate
from ostler.planning.figures import figures
from ostler.planning.pipeline import DerivedPhase
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import fourteen_agents
from tests.cli.conftest import Ostler, RecordingApp
from tests.web import samples
from tests.web.recording_hub import ServedHub

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "fourteen-agents-plan.yaml")
INSTANCE = fourteen_agents("map", 4)
HYBRID = planned(INSTANCE, "hybrid")
REPORT = PlanReport(name="army", instance=INSTANCE, plan=HYBRID, figures=figures(INSTANCE, HYBRID))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tasks.yaml"
    path.write_text("name: n\ntasks: [{id: a, prompt: x, model: m}]\n", encoding="utf-8")
    return str(path)


def said(report: PlanReport, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    print_report(report)
    return capsys.readouterr().out


def test_the_options_reach_the_planner(ostler: Ostler, app: RecordingApp, file: str) -> None:
    """Every option by its own name; the places of the file go with them, for messages."""
    words = "--profile p.yaml --strategy hybrid --compare --hosts 2 --preloaded --minute-price 0.1 --seconds 3"

    assert ostler("plan", file, *words.split()).code == ExitCode.OK
    assert app.calls == [
        (
            "plan",
            load_task_file(file).pipeline,
            PlanOptions(
                profile="p.yaml",
                strategy="hybrid",
                compare=True,
                hosts="2",
                preloaded=True,
                minute_price_usd=0.1,
                seconds=3,
                places={"a": f"{file}:2"},
            ),
        )
    ]


def test_without_options_the_defaults_count(ostler: Ostler, app: RecordingApp, file: str) -> None:
    """They are those of `PlanOptions`, so that other callers plan alike."""
    ostler("plan", file)

    assert app.calls[0][2] == PlanOptions(places={"a": f"{file}:2"})


def test_a_plan_can_begin_with_what_is_in_memory_now(
    ostler: Ostler, app: RecordingApp, served: ServedHub, file: str
) -> None:
    """The running hub says which models are loaded on which host."""
    ostler("plan", file, "--now")

    assert served.hub.calls == [("endpoints",)]
    (row,) = [row for row in samples.ENDPOINTS.endpoints if row.view.residents]
    assert app.calls[0][2] == PlanOptions(places={"a": f"{file}:2"}, resident={row.view.spec.host: ("qwen2.5:7b",)})


def test_without_a_hub_there_is_no_now(ostler: Ostler, app: RecordingApp, no_hub: str, file: str) -> None:
    """Nothing is planned on a state that nobody knows."""
    assert ostler("plan", file, "--now").code == ExitCode.UNREACHABLE
    assert app.calls == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--now", "--preloaded"), "--now and --preloaded exclude each other (use one)"),
        (("--hub", "http://x"), "--hub: the hub is only asked for --now (add --now)"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    ostler: Ostler, app: RecordingApp, file: str, words: tuple[str, ...], message: str
) -> None:
    """Rather than one of them being passed over."""
    code, _, err = ostler("plan", file, *words)

    assert (code, app.calls) == (ExitCode.USAGE, [])
    assert message in err


def test_the_example_from_file_to_chart(ostler: Ostler) -> None:
    """What a newcomer types: figures, chart, phases, the broken claim, and exit code 1 because of it."""
    code, out, err = ostler("plan", EXAMPLE, "--profile", "one-host-32gb", "--strategy", "hybrid")

    assert (code, err) == (ExitCode.FAILED, "")
    assert out.startswith("fourteen agents: 14 tasks on 1 host, planned hybrid\n\nmakespan")
    assert "32.0 of 32.0 GB at most" in out
    assert "48.00 min with no swap and no limit: chief-architect > python > " in out
    assert "this order breaks 2 needs:" in out
    assert "[authentik" in out


def test_json_is_the_whole_report(ostler: Ostler) -> None:
    """A program gets the plan, the figures and the instance they are of."""
    code, out, _ = ostler("plan", EXAMPLE, "--profile", "one-host-32gb", "--strategy", "hybrid", "--json")
    report = msgspec.convert(json.loads(out), PlanReport)

    assert code == ExitCode.FAILED
    assert report.plan.strategy == "hybrid"
    assert len(report.plan.placements) == len(report.instance.tasks) == 14


def test_the_plan_can_be_drawn(ostler: Ostler, app: RecordingApp, file: str, tmp_path: Path) -> None:
    """Beside what is printed."""
    result = ostler("plan", file, "--svg", str(tmp_path / "plan.svg"))
    text = (tmp_path / "plan.svg").read_text(encoding="utf-8")

    assert result.code == ExitCode.OK
    assert text.startswith("<svg ")
    assert "recorded: 63.79 min, hybrid" in text


def test_a_drawing_that_cannot_be_written_is_told(ostler: Ostler, app: RecordingApp, file: str, tmp_path: Path) -> None:
    """With the path and the reason."""
    result = ostler("plan", file, "--svg", str(tmp_path / "no" / "plan.svg"))

    assert result.code == ExitCode.USAGE
    assert result.err == f"ostler: {tmp_path}/no/plan.svg: cannot be written: No such file or directory\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strategy", "hybird"), "'hybird' is not one of"),
        (("--seconds", "0"), "0"),
        (("--minute-price", "-1"), "-1"),
    ],
)
def test_a_wrong_option_is_refused(ostler: Ostler, file: str, words: tuple[str, ...], message: str) -> None:
    """Before anything is planned."""
    code, out, err = ostler("plan", file, *words)

    assert (code, out) == (ExitCode.USAGE, "")
    assert message in err


def test_mistakes_of_the_file_are_told_as_ever(ostler: Ostler, tmp_path: Path) -> None:
    """The same reader as `ostler run`."""
    (tmp_path / "bad.yaml").write_text("tasks: [{id: a, promt: x}]", encoding="utf-8")
    code, _, err = ostler("plan", str(tmp_path / "bad.yaml"))

    assert code == ExitCode.USAGE
    assert "unknown field 'promt'" in err


def test_mistakes_of_the_problem_have_their_line(ostler: Ostler, tmp_path: Path) -> None:
    """A model that the profile does not have, where the task is written."""
    (tmp_path / "bad.yaml").write_text("tasks:\n  - {id: a, prompt: x, model: latst}\n", encoding="utf-8")
    code, _, err = ostler("plan", str(tmp_path / "bad.yaml"), "--profile", "one-host-32gb")

    assert code == ExitCode.USAGE
    assert err.endswith("bad.yaml:2 a.model: no host has the model 'latst' (did you mean 'latest'?)\n")


GAP = (
    "no plan is shorter than 53.62 min, so this one is at most 19.0% too long"
    " (energy: the coders' model is busy for so long)"
)
CERTIFICATES = [
    (None, False, "none: no lower bound was computed"),
    (
        Certificate(bound_ms=3_217_500, kind="energy", said="the coders' model is busy for so long"),
        False,
        GAP,
    ),
    (Certificate(bound_ms=HYBRID.makespan_ms, kind="path"), False, "optimal: no plan is shorter"),
    (
        Certificate(bound_ms=3_217_500, kind="energy"),
        True,
        "optimal: an exact solver proved that no plan is shorter",
    ),
]


@pytest.mark.parametrize(("certificate", "proven", "text"), CERTIFICATES)
def test_the_word_optimal_stands_only_where_it_is_proven(
    certificate: Certificate | None, proven: bool, text: str
) -> None:
    """By a bound that the plan reaches, or by the exact solver; a gap is said in percent."""
    plan = msgspec.structs.replace(HYBRID, proven=proven)

    assert certificate_text(msgspec.structs.replace(REPORT, plan=plan, certificate=certificate)) == text


def test_a_claim_that_holds_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    """What is in no phase is named, and how long the order takes when it is followed."""
    claim = Claim(
        phases=("one", "two"),
        left_out=("credentials",),
        mended=Row(name="declared phases", makespan_ms=3_600_000, loads=4),
    )
    text = said(msgspec.structs.replace(REPORT, claim=claim), capsys)

    assert "  order: one > two\n  it keeps every need\n" in text
    assert "  it leaves out credentials: what is claimed for it does not count them\n" in text
    assert "  followed to the letter, it takes 60.00 min with 4 loads\n" in text


def test_phases_are_shown_with_the_names_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Models by the alias the pipeline uses."""
    phases = (
        DerivedPhase(depth=0, model="quality", tasks=("chief-architect",)),
        DerivedPhase(depth=1, model="latest", tasks=("python",)),
    )
    text = said(msgspec.structs.replace(REPORT, phases=phases, names={"latest": "coder:32b"}), capsys)

    assert "   1  quality    chief-architect\n   2  coder:32b  python\n" in text
    assert "coder:32b-" in text


ROWS = (
    Row(name="hybrid", makespan_ms=3_827_500, loads=5, swap_ms=167_500, bound_ms=3_217_500, detail="as usual"),
    Row(name="as declared", detail="it breaks needs", broken=("devops runs before qa",)),
    Row(name="cloud", makespan_ms=120_000, cost_micro_usd=1_500_000),
)


def test_tables_show_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Money and bounds only where there are some; what cannot be a plan says why, pair by pair."""
    report = msgspec.structs.replace(REPORT, comparison=ROWS, what_if=ROWS[:1], frontier=ROWS[2:], notes=("a guess",))
    lines = said(report, capsys).splitlines()

    lines = [" ".join(line.split()) for line in lines]
    compared = lines[lines.index("compared") + 1 :]
    assert compared[0] == "PLAN MAKESPAN LOADS SWAPPING IDLE MONEY BOUND GAP HOW"
    assert compared[1] == "hybrid 63.79 min 5 2.79 min 0 s $0.00 53.62 min 19.0% as usual"
    assert compared[2] == "as declared none it breaks needs"
    assert lines[lines.index("what if") + 1].endswith("BOUND GAP HOW")
    assert lines[lines.index("money against time") + 2] == "cloud 2.00 min 0 0 s 0 s $1.50"
    assert lines[lines.index("assumed") + 1] == "a guess"


def test_a_large_plan_is_told_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty hosts, a long path, many phases: a screen or two, and the counts of what is not listed."""
    names = tuple(f"t{number}" for number in range(40))
    host = msgspec.structs.replace(REPORT.figures.hosts[0], host="h0")
    told = msgspec.structs.replace(
        REPORT.figures,
        critical_path=names,
        hosts=tuple(msgspec.structs.replace(host, host=f"h{number}") for number in range(30)),
    )
    hosts = tuple(msgspec.structs.replace(INSTANCE.hosts[0], name=f"h{number}") for number in range(30))
    phases = tuple(DerivedPhase(depth=number, model="latest", tasks=names) for number in range(25))
    large = msgspec.structs.replace(INSTANCE, hosts=hosts)
    text = said(msgspec.structs.replace(REPORT, instance=large, figures=told, phases=phases), capsys)

    assert "32.0 of 32.0 GB at most on h0, the fullest of 30 hosts\n" in text
    assert " > t11 > ... (40)\n" in text
    assert ", t15, ... (40)\n" in text
    assert "  ... and 5 more\n" in text
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 s"), (22_500, "22.5 s"), (119_999, "119.999 s"), (3_517_500, "58.62 min"), (54_000_000, "15.00 h")],
)
def test_durations_are_comparable(ms: int, text: str) -> None:
    """Seconds, then hundredths of minutes, then of hours."""
    assert span(ms) == text


class Screen(io.StringIO):
    """A terminal that keeps what it is sent."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_screen(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What a terminal is sent for the report."""
    screen = Screen()
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "90", **environment}.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", screen)
        print_report(REPORT)
    return screen.getvalue()


def test_a_terminal_shows_models_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars without fillings, in the colour of their model; as wide as the terminal."""
    chart = [line for line in on_screen(monkeypatch).splitlines() if "authentik" in line]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in chart]

    assert "\x1b[" in chart[0]
    assert "authentik  " in plain[0]
    assert "authentik-" not in plain[0]
    assert max(map(len, plain)) <= 90


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours_shows_fillings(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Who turned colours off, or has none, still tells the models apart."""
    text = on_screen(monkeypatch, **{name: value})

    assert "\x1b[" not in text
    assert "[authentik-" in text


def test_a_terminal_shows_what_is_being_worked_on(
    app: RecordingApp, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a line on standard error that goes away; the answer is not mixed with it."""
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm-256color")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", screen)
        run(["plan", file, "--json"])

    assert "planning" in screen.getvalue() or "looking" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K") or "\x1b[?25h" in screen.getvalue(), "the line is taken away again"


def test_elsewhere_nothing_is_shown_while_searching(ostler: Ostler, app: RecordingApp, file: str) -> None:
    """A log or a pipe gets the answer alone."""
    assert ostler("plan", file).err == ""


def test_every_strategy_is_offered_in_the_help(ostler: Ostler) -> None:
    """What can be asked for can be seen."""
    _, out, _ = ostler("plan", "--help")

    assert all(name in out for name in STRATEGIES)


def test_control_signs_of_a_file_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A name in a file must not steer the terminal."""
    assert "\x1b" not in said(msgspec.structs.replace(REPORT, name="x\x1b[2J", notes=("\x1b[1m",)), capsys)
