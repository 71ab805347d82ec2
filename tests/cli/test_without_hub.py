"""Verbs that can do without a hub, and those that start one: what the composition root is asked."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import msgspec
import pytest

from ostler.app import options
from ostler.app.options import Check, DemoOptions, DoctorOptions, DoctorReport, UpOptions, WorkerOptions
from ostler.domain.errors import ExitCode, InvalidInputError, NotFoundError, ProfileError, UnreachableError
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.views import SettingList
from ostler.web.bodies import RouteAnswer
from tests.cli.conftest import NOWHERE, Ostler, RecordingApp, probe
from tests.cli.terminal import ending
from tests.web import samples
from tests.web.recording_hub import PATIENCE_S, ServedHub

CHECKED = [(status, status.exit_code) for status in ProbeStatus]


@pytest.mark.parametrize(("status", "code"), CHECKED)
def test_a_check_ends_with_the_code_of_its_status(
    ostler: Ostler, app: RecordingApp, no_hub: str, status: ProbeStatus, code: int
) -> None:
    """Without a hub the endpoint is asked from here; text and JSON end with the same code."""
    app.probe = probe(status, "said so")

    text = ostler("endpoints", "check", "stable")
    data = ostler("endpoints", "check", "stable", "--json", "--force")
    quiet = ostler("endpoints", "check", "stable", "-q")

    assert (text.code, data.code, quiet.code) == (code, code, code)
    assert text.out == f"stable: {status} in 8 ms: said so\n"
    assert text.err == "asked it from here\n"
    assert msgspec.json.decode(data.out, type=Probe) == app.probe
    assert (quiet.out, quiet.err) == ("", "")
    assert app.calls == [("check_endpoint", "stable", None, force) for force in (False, True, False)]


@pytest.mark.parametrize(("status", "code"), CHECKED)
def test_the_hub_is_asked_when_it_runs(
    ostler: Ostler,
    app: RecordingApp,
    served: ServedHub,
    monkeypatch: pytest.MonkeyPatch,
    status: ProbeStatus,
    code: int,
) -> None:
    """The same codes from the hub, which knows the endpoint better."""
    monkeypatch.setattr(samples, "PROBE", probe(status))

    result = ostler("endpoints", "check", "stable")

    assert result.code == code
    assert result.err == f"asked the hub at {served.url}\n"
    assert (served.hub.calls, app.calls) == ([("check_endpoint", "stable")], [])


@pytest.mark.parametrize("flags", [("--direct",), ("--profile", "p.yaml")])
def test_the_hub_can_be_passed_over(
    ostler: Ostler, app: RecordingApp, served: ServedHub, flags: tuple[str, ...]
) -> None:
    """Who wants to know how it looks from here is told so, even while a hub runs."""
    assert ostler("endpoints", "check", "stable", *flags).err == "asked it from here\n"
    assert served.hub.calls == []


FAILURES = [
    NotFoundError("no endpoint 'x'"),
    ProfileError([]),
    InvalidInputError("bad"),
]


@pytest.mark.parametrize("error", FAILURES, ids=[type(error).__name__ for error in FAILURES])
def test_a_check_that_could_not_find_out_ends_with_4(
    ostler: Ostler, app: RecordingApp, no_hub: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """2 and 3 mean rate limited and invalid key here, so no error may end with them."""

    def fails(*_arguments: object) -> Probe:
        raise error

    monkeypatch.setattr(app, "check_endpoint", fails)

    assert ostler("endpoints", "check", "x").code == ExitCode.REFUSED


def test_a_named_hub_that_does_not_answer_is_not_passed_over(ostler: Ostler, app: RecordingApp) -> None:
    """Who named a hub wants its answer, not another one."""
    assert ostler("endpoints", "check", "x", "--hub", NOWHERE).code == ExitCode.REFUSED
    assert ostler("route", "x", "--hub", NOWHERE).code == ExitCode.UNREACHABLE
    assert app.calls == []


def test_a_hub_that_cannot_reach_the_endpoint_is_believed(ostler: Ostler, app: RecordingApp, served: ServedHub) -> None:
    """An error of the hub is an answer; only a hub that is not there is passed over."""
    served.fails_with(UnreachableError("the endpoint is gone"))

    assert ostler("endpoints", "check", "x").code == ExitCode.REFUSED
    assert app.calls == []


@pytest.mark.parametrize("flags", [(), ("--offline",), ("--profile", "p.yaml")])
def test_a_route_can_be_decided_on_the_profile(
    ostler: Ostler, app: RecordingApp, no_hub: str, flags: tuple[str, ...]
) -> None:
    """Without a hub the profile decides, and it is said that no endpoint was asked."""
    result = ostler("route", "rename it", *flags)

    profile = "p.yaml" if "--profile" in flags else None
    assert app.calls == [("route_offline", TaskSpec(id="it", prompt="rename it"), profile)]
    assert result.code == 0
    assert result.out.splitlines()[0] == samples.WHY.headline
    assert result.err == "decided by the profile default alone; no endpoint was asked\n"


def test_a_route_of_the_profile_has_the_same_json(ostler: Ostler, app: RecordingApp, no_hub: str) -> None:
    """Programs need not care who decided."""
    answer = msgspec.json.decode(ostler("route", "x", "--json").out, type=RouteAnswer)

    assert answer == RouteAnswer(verdict=samples.ROUTE, why=samples.WHY)


STARTED = [
    (("up",), ("up", UpOptions())),
    (
        ("up", "--profile", "p.yaml", "--data-dir", "d", "--host", "10.0.0.1", "--port", "0", "--no-worker"),
        ("up", UpOptions(profile="p.yaml", data_dir="d", host="10.0.0.1", port=0, worker=False)),
    ),
    (
        ("up", "--allow", "chat", "--allow", "command", "--log-level", "debug"),
        ("up", UpOptions(allow=(TaskKind.CHAT, TaskKind.COMMAND), log_level="debug")),
    ),
    (
        (
            "worker",
            "--hub",
            "http://studio:7433",
            "--slots",
            "command=2",
            "--slots",
            "chat=4",
            "--has",
            "gpu",
            "--repo",
            "web",
        ),
        (
            "worker",
            WorkerOptions(
                hub="http://studio:7433",
                slots={TaskKind.COMMAND: 2, TaskKind.CHAT: 4},
                capabilities=("gpu",),
                repos=("web",),
            ),
        ),
    ),
    (
        ("worker", "--hub", "http://studio:7433", "--name", "box", "--on-host", "gpu-box", "--profile", "p.yaml"),
        ("worker", WorkerOptions(hub="http://studio:7433", name="box", host="gpu-box", profile="p.yaml")),
    ),
    (("demo",), ("demo", DemoOptions())),
    (
        ("demo", "--engine", "llama", "--port", "8", "--seed", "7", "--speed", "2.5", "--json", "--data-dir", "d"),
        ("demo", DemoOptions(engine="llama", port=8, seed=7, speed=2.5, as_json=True, data_dir="d")),
    ),
    (("agents", "doctor"), ("agents_doctor", None)),
    (("agents", "doctor", "--profile", "p.yaml", "--json"), ("agents_doctor", "p.yaml")),
    (
        ("doctor", "--profile", "p.yaml", "--data-dir", "d", "--hub", "http://studio:7433"),
        ("doctor", DoctorOptions(profile="p.yaml", data_dir="d", hub="http://studio:7433")),
    ),
]


@pytest.mark.parametrize(("words", "call"), STARTED, ids=[" ".join(row[0]) for row in STARTED])
def test_the_composition_root_gets_what_the_flags_say(
    ostler: Ostler, app: RecordingApp, words: tuple[str, ...], call: tuple[object, ...]
) -> None:
    """Each flag becomes its option; what is not said is left to the profile."""
    assert ostler(*words).code == 0
    assert app.calls == [call]


def test_the_token_of_a_worker_stays_out_of_sight(ostler: Ostler, app: RecordingApp, tmp_path: Path) -> None:
    """It is handed on, and in no text that is made of the options."""
    (tmp_path / "token").write_text("secret-token\n", encoding="utf-8")

    ostler("worker", "--hub", "http://studio:7433", "--token-file", "token")

    told = app.calls[0][1]
    assert isinstance(told, WorkerOptions)
    assert told.token == "secret-token"
    assert "secret-token" not in repr(told)


@pytest.mark.parametrize(
    ("slots", "what", "remedy"),
    [
        ("comand=2", "'comand' is no kind of work", "did you mean 'command'?"),
        ("command", "'command' has no number of slots", "write command=2"),
        ("command=0", "'command=0' has no number of slots", "write command=2"),
        ("command=two", "'command=two' has no number of slots", "write command=2"),
    ],
)
def test_bad_slots_are_refused(ostler: Ostler, app: RecordingApp, slots: str, what: str, remedy: str) -> None:
    """With the nearest kind, or how to write a number."""
    code, _, err = ostler("worker", "--hub", "http://studio:7433", "--slots", slots)

    assert (code, app.calls) == (ExitCode.USAGE, [])
    assert err == f"ostler: --slots: {what} ({remedy})\n"


def test_the_demo_ends_with_its_own_code(ostler: Ostler, app: RecordingApp) -> None:
    """So that a demo that failed can be noticed by a script."""
    app.demo_code = 1

    assert ostler("demo").code == 1


SICK = DoctorReport(
    checks=(
        Check(name="python", status="ok", message="3.11", remedy="none needed"),
        Check(name="disk", status="warning", message="almost full", remedy="make room"),
        Check(name="profile", status="failed", message="2 mistakes", remedy="ostler config check"),
    )
)


def test_the_doctor_tells_findings_and_remedies(ostler: Ostler, app: RecordingApp) -> None:
    """All that was looked at in a table, then what to do about what is not well."""
    app.report = SICK

    code, out, _ = ostler("doctor")

    assert code == ExitCode.FAILED
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["ok", "python"],
        ["warning", "disk"],
        ["failed", "profile"],
    ]
    assert out.splitlines()[4:] == ["disk: make room", "profile: ostler config check"]


def test_warnings_do_not_fail_the_doctor(ostler: Ostler, app: RecordingApp) -> None:
    """Only what is broken does; the JSON is the report."""
    app.report = DoctorReport(checks=SICK.checks[:2])

    code, out, _ = ostler("doctor", "--json")

    assert code == 0
    assert msgspec.json.decode(out, type=DoctorReport) == app.report


def test_the_composition_root_offers_what_is_asked_of_it() -> None:
    """Every function that a verb calls exists."""
    app = options.load_app()

    functions = [name for name in vars(options.App) if not name.startswith("_")]
    assert [name for name in functions if not callable(getattr(app, name))] == []
    assert len(functions) == 16


PROFILE = """\
name: mine
routing:
  fallback:
    wait: 2s
"""


def test_a_good_profile_is_summed_up(ostler: Ostler, no_hub: str, tmp_path: Path) -> None:
    """What it amounts to, and that it is valid; no hub is needed."""
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")

    code, out, err = ostler("config", "check")

    assert (code, err) == (0, "")
    assert out.startswith("profile mine")
    assert out.endswith("valid\n")


def test_a_bad_profile_is_told_mistake_by_mistake(ostler: Ostler, tmp_path: Path) -> None:
    """A line for each, with file, line and remedy; exit code 2."""
    (tmp_path / "bad.yaml").write_text(
        "routing:\n  fallback:\n    wiat: 2s\n    direction: sideways\n", encoding="utf-8"
    )

    code, out, err = ostler("config", "check", "bad.yaml")

    assert (code, out) == (ExitCode.USAGE, "")
    assert [line.split()[:2] for line in err.splitlines()] == [["ostler:", "bad.yaml:3"], ["ostler:", "bad.yaml:4"]]
    assert "did you mean 'wait'?" in err


def test_settings_are_shown_with_their_origin(ostler: Ostler, no_hub: str, tmp_path: Path) -> None:
    """From the file with its line, or from a default; a prefix narrows the list."""
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")

    _, out, _ = ostler("config", "show", "routing.fallback.wait")

    assert [line.split() for line in out.splitlines()] == [
        ["SETTING", "VALUE", "FROM"],
        ["routing.fallback.wait", "2s", "ostler.yaml:4"],
    ]


def test_settings_as_json_are_a_list(ostler: Ostler, tmp_path: Path) -> None:
    """The same view as a running hub gives."""
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")

    found = msgspec.json.decode(ostler("config", "show", "routing.fallback", "--json").out, type=SettingList)

    assert {row.setting for row in found.settings} >= {"routing.fallback.wait", "routing.fallback.direction"}
    assert all(row.setting.startswith("routing.fallback.") for row in found.settings)
    assert len(msgspec.json.decode(ostler("config", "check", "--json").out, type=SettingList).settings) > 20


@pytest.mark.parametrize("name", ["routing.falback", "routing.fallbac"])
def test_a_misspelt_setting_gets_the_nearest(ostler: Ostler, name: str) -> None:
    """Sections count as names too; half a name is none."""
    code, _, err = ostler("config", "show", name)

    assert code == ExitCode.USAGE
    assert "did you mean 'routing.fallback'?" in err


def test_running_and_profile_exclude_each_other(ostler: Ostler) -> None:
    """One of them would have to be ignored."""
    assert ostler("config", "show", "--running", "--profile", "default").code == ExitCode.USAGE


SPEC = """\
name: tiny
memory_gib: 8
models:
  - {name: "tiny:1b", weights_gib: 1}
"""


@pytest.mark.parametrize(
    ("words", "path", "sign"),
    [
        (("simulate-host", "--preset", "laptop"), "/api/tags", "models"),
        (("simulate-host", "--spec", "host.yaml", "--name", "other"), "/api/tags", "tiny:1b"),
        (("simulate-cloud",), "/v1/models", "error"),
    ],
)
def test_a_simulated_server_serves_until_it_is_stopped(
    tmp_path: Path, words: tuple[str, ...], path: str, sign: str
) -> None:
    """It says where it answers and that it is simulated; a signal ends it without a traceback."""
    (tmp_path / "host.yaml").write_text(SPEC, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "ostler.cli.main", *words, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    with ending(process):
        assert process.stdout is not None
        said = process.stdout.readline()
        try:
            with urllib.request.urlopen(said.rpartition(" ")[2].strip() + path, timeout=PATIENCE_S) as answer:  # noqa: S310
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)

    assert said.startswith("simulated ")
    assert sign in json.dumps(json.loads(text))
    assert "Traceback" not in err


BAD_SIMULATIONS = [
    (("simulate-host", "--preset", "labtop"), "no machine 'labtop'", "did you mean 'laptop'?"),
    (("simulate-host", "--spec", "nowhere.yaml"), "cannot be read", "name a readable text file"),
    (("simulate-host", "--spec", "broken.yaml"), "not YAML", "indentation"),
    (("simulate-host", "--spec", "wrong.yaml"), "unknown field `memory`", "did you mean 'memory_gib'?"),
    (("simulate-cloud", "--spec", "wrong.yaml"), "wrong.yaml: ", ""),
    (("simulate-host", "--port", "{taken}"), "cannot listen there", "use another --port, or 0"),
    (("simulate-cloud", "--bind", "192.0.2.1"), "cannot listen there", "use another --port, or 0"),
]


@pytest.mark.parametrize(
    ("words", "what", "remedy"), BAD_SIMULATIONS, ids=[" ".join(row[0]) for row in BAD_SIMULATIONS]
)
def test_a_simulation_that_cannot_start_says_why(
    ostler: Ostler, served: ServedHub, tmp_path: Path, words: tuple[str, ...], what: str, remedy: str
) -> None:
    """Unknown preset, bad file, taken port: one line and exit code 2."""
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text("name: x\nmemory: 8\nmodels: []\n", encoding="utf-8")

    code, _, err = ostler(*(word.format(taken=served.port) for word in words))

    assert code == ExitCode.USAGE
    assert what in err
    assert remedy in err
