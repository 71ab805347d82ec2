"""`ostler add`, `batch`, `dashboard`, `pulse`, `why-idle`: what the command line asks, and what a person reads."""

import json
from pathlib import Path

import msgspec
import pytest

from ostler.app import options
from ostler.app.options import PulseOptions
from ostler.cli.add import repo_of
from ostler.domain.errors import ExitCode, InvalidInputError
from ostler.domain.ports import TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.batch_views import BatchAnswer, BatchWish
from ostler.hub.pulse_views import Idle, PulseReport
from ostler.hub.views import TaskList
from tests.cli.conftest import NOWHERE, Ostler
from tests.web import host_samples, samples
from tests.web.recording_desks import RecordingBatches, RecordingPulse
from tests.web.recording_hub import RecordingHub, ServedHub


def submitted(served: ServedHub) -> TaskSpec:
    ((specs, *_),) = served.asked("submit")
    (spec,) = specs
    assert isinstance(spec, TaskSpec)
    return spec


def test_a_task_is_written_down_and_held(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """A folder names its repository, and the work is an agent's."""
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "shop" / "src").mkdir()
    code, out, _ = ostler("add", "t001", "--repo", str(tmp_path / "shop" / "src"), "--description", "Fix the login")
    spec = submitted(served)

    assert code == 0
    assert (spec.id, spec.kind, spec.prompt, spec.repo, spec.held) == (
        "t001",
        TaskKind.AGENT,
        "Fix the login",
        "shop",
        True,
    )
    assert spec.metadata["repo_path"] == str(tmp_path / "shop")
    assert "ostler batch NAME --tasks t001" in out


def test_a_repository_may_be_a_name_that_workers_know(ostler: Ostler, served: ServedHub) -> None:
    """Then nothing is looked for on this machine."""
    ostler("add", "t001", "--repo", "shop", "--description", "x", "--needs", "t000", "--verify", "make test")
    spec = submitted(served)

    assert (spec.repo, spec.needs, spec.verify) == ("shop", ("t000",), (("make", "test"),))
    assert "repo_path" not in spec.metadata


def test_a_command_can_be_written_down(ostler: Ostler, served: ServedHub) -> None:
    """Held as well."""
    ostler("add", "t001", "--command", "--", "make", "test")
    spec = submitted(served)

    assert (spec.kind, spec.argv, spec.held) == (TaskKind.COMMAND, ("make", "test"), True)


def test_a_task_without_anything_to_do_is_refused(ostler: Ostler, served: ServedHub) -> None:
    """Before the hub is asked."""
    assert ostler("add", "t001").code == ExitCode.USAGE
    assert served.hub.calls == []


def test_a_folder_that_is_in_no_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to name instead."""
    monkeypatch.setattr(Path, "exists", lambda _path: False)  # whatever lies above the folder of the test
    with pytest.raises(InvalidInputError, match="not in a git repository"):
        repo_of(str(tmp_path))


def test_a_batch_is_made_of_a_list(ostler: Ostler, served: ServedHub) -> None:
    """As the origin's supervisor is called."""
    code, out, _ = ostler("batch", "my-batch", "--concurrency", "3", "--tasks", "t001, t002,t003")

    assert code == 0
    assert served.asked("make_batch") == [("my-batch", BatchWish(tasks=("t001", "t002", "t003"), concurrency=3))]
    assert out == "batch nightly is active: 1 queued, 1 running, 1 succeeded, 2 at once\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_batch_is_steered_as_a_whole(ostler: Ostler, served: ServedHub, verb: str) -> None:
    """One verb for all of its tasks."""
    code, _, _ = ostler("batch", "nightly", f"--{verb}")

    assert code == 0
    assert served.hub.calls[0][:2] == (f"{verb}_batch", "nightly")


@pytest.mark.parametrize("arguments", [("batch", "nightly"), ("status", "nightly")])
def test_a_batch_is_shown(ostler: Ostler, served: ServedHub, arguments: tuple[str, ...]) -> None:
    """Its figures, then its tasks."""
    code, out, _ = ostler(*arguments)

    assert code == 0
    assert "began 1 min ago" in out
    assert "t-one" in out


@pytest.mark.parametrize("arguments", [("batch", "--list"), ("batch",)])
def test_batches_are_listed(ostler: Ostler, served: ServedHub, arguments: tuple[str, ...]) -> None:
    """With what they cost."""
    out = ostler(*arguments).out

    assert served.asked("batches") == [()]
    for word in ("nightly", "active", "1 running", "$0.012"):
        assert word in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("batch", "--tasks", "a"),
        ("batch", "b", "--pause", "--tasks", "a"),
        ("batch", "b", "--list", "--cancel"),
        ("batch", "b", "--concurrency", "0"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(ostler: Ostler, served: ServedHub, arguments: tuple[str, ...]) -> None:
    """Before the hub is asked."""
    assert ostler(*arguments).code == ExitCode.USAGE
    assert served.hub.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("batch", "nightly"),
        ("batch", "--list"),
        ("batch", "nightly", "--pause"),
        ("batch", "nightly", "--tasks", "a"),
        ("status", "nightly"),
        ("dashboard",),
        ("pulse",),
        ("why-idle",),
    ],
)
def test_every_verb_speaks_json(ostler: Ostler, served: ServedHub, arguments: tuple[str, ...]) -> None:
    """The answer of the hub as it is."""
    code, out, _ = ostler(*arguments, "--json")

    assert code == 0
    assert isinstance(json.loads(out), dict)


def test_a_dashboard_ends_with_its_batch(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output is no terminal, a line for each change; the exit code says whether all went well."""
    tasks = (samples.task("t-one", TaskState.SUCCEEDED), samples.task("t-two", TaskState.FAILED))

    async def show(_desk: RecordingBatches, _name: str) -> BatchAnswer:
        return msgspec.structs.replace(host_samples.BATCH_ANSWER, tasks=tasks)

    monkeypatch.setattr(RecordingBatches, "show", show)
    code, out, _ = ostler("dashboard", "--batch", "nightly")

    assert code == ExitCode.FAILED
    assert [line.split()[:2] for line in out.splitlines()] == [["succeeded", "t-one"], ["failed", "t-two"]]


def test_a_dashboard_of_nothing_says_so(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """No open tasks."""

    async def tasks(_hub: RecordingHub, _query: TaskQuery) -> TaskList:
        return TaskList(tasks=(), now_ms=1)

    monkeypatch.setattr(RecordingHub, "tasks", tasks)
    assert ostler("dashboard").out == "nothing is open\n"


def test_a_pulse_says_what_it_did_and_what_is_stuck(ostler: Ostler, served: ServedHub) -> None:
    """Steps, the constraint, workers that are silent, attempts that are, and who needs a person."""
    code, out, _ = ostler("pulse")

    assert code == 0
    assert served.asked("step") == [(None,)]
    for words in (
        "started t-one; ended t-0, t-1, t-2, t-3, t-4, t-5, t-6, t-7 ...",
        "3 tasks wait: it is paused; resume it",
        "1 worker, 1 silent",
        "no sign of life for 11 min",
        "mac is silent; its tasks are kept 46 s more",
        "t-two needs a person: which key?",
    ):
        assert words in out


def test_a_quiet_pulse_is_short(ostler: Ostler, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing open: two lines and the workers."""

    async def step(_desk: RecordingPulse, batch: str | None = None) -> PulseReport:
        idle = Idle(code="none", sentence="nothing is open: all work has ended")
        return PulseReport(now_ms=1, batch=batch, idle=idle, is_over=True)

    monkeypatch.setattr(RecordingPulse, "step", step)

    assert [line.split(maxsplit=1)[0] for line in ostler("pulse", "--batch", "b").out.splitlines()] == [
        "step",
        "now",
        "workers",
    ]


def test_a_pulse_without_a_hub_is_the_engine(ostler: Ostler, no_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the command line says; unless a hub was named, which then is missed."""
    asked: list[PulseOptions] = []

    class App:
        def be_engine(self, wishes: PulseOptions) -> PulseReport:
            asked.append(wishes)
            return PulseReport(now_ms=1, idle=Idle(code="none", sentence="nothing is open"), is_over=True)

    monkeypatch.setattr(options, "load_app", App)
    code, out, _ = ostler("pulse", "--batch", "b", "--for", "10m", "--data-dir", "d", "--profile", "p.yaml")

    assert code == 0
    assert "nothing is open" in out
    assert asked == [PulseOptions(batch="b", longest_s=600.0, profile="p.yaml", data_dir="d")]
    assert ostler("pulse", "--hub", NOWHERE).code == ExitCode.UNREACHABLE
    assert len(asked) == 1


def test_a_pulse_leaves_a_folder_that_is_being_served_alone(
    ostler: Ostler, no_hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that start at the same instant: one works, the other says so and is no failure."""

    class App:
        def be_engine(self, _wishes: PulseOptions) -> None:
            return None

    monkeypatch.setattr(options, "load_app", App)
    code, _, err = ostler("pulse")

    assert code == 0
    assert "another process" in err


def test_why_idle_is_one_sentence(ostler: Ostler, served: ServedHub) -> None:
    """The constraint, and what can be done."""
    assert ostler("why-idle", "--batch", "b").out == "3 tasks wait: it is paused; resume it\n"
    assert served.asked("why_idle") == [("b",)]
