"""`ostler run`: hand in, watch, end, be interrupted."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ostler.cli import run as run_module
from ostler.domain.errors import ConflictError, ExitCode, InvalidInputError
from ostler.domain.event import Event
from ostler.domain.states import Failure, FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Task, TaskSpec
from ostler.hub.views import RunReport, RunResults, SubmitAnswer, TaskList
from tests.cli.conftest import Ostler
from tests.cli.terminal import ending
from tests.web import samples
from tests.web.recording_hub import PATIENCE_S, RecordingHub, ServedHub, eventually

FILE = """\
tasks:
  - {id: a, prompt: x}
  - {id: b, prompt: y, needs: a, optional: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with two tasks, the second optional."""
    path = tmp_path / "tasks.yaml"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def becomes(**states: TaskState) -> Callable[[TaskSpec], Task]:
    """Tasks that are in these states, by their id in the file, as soon as they are handed in."""

    def made(spec: TaskSpec) -> Task:
        name = spec.id.partition(".")[2]
        state = states[name]
        return in_state(spec.id, state, batch=spec.batch, optional=spec.optional, seq=ord(name))

    return made


def in_state(task_id: str, state: TaskState, **changes: object) -> Task:
    """A task in a state."""
    if state in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED):
        changes = {"started_ms": 1_000, "finished_ms": 4_000, **changes}
    if state is TaskState.FAILED:
        changes["failure"] = Failure(kind=FailureClass.COMMAND, message="exit code 2", at_ms=5)
    return samples.task(task_id, state, **changes)


ENDS = [
    (TaskState.SUCCEEDED, TaskState.SUCCEEDED, ExitCode.OK),
    (TaskState.SUCCEEDED, TaskState.FAILED, ExitCode.OK),
    (TaskState.FAILED, TaskState.SUCCEEDED, ExitCode.FAILED),
    (TaskState.CANCELLED, TaskState.CANCELLED, ExitCode.FAILED),
]


@pytest.mark.parametrize(("first", "optional", "code"), ENDS)
def test_a_run_succeeds_when_what_is_not_optional_does(
    ostler: Ostler, served: ServedHub, file: str, first: TaskState, optional: TaskState, code: ExitCode
) -> None:
    """The exit code is about the tasks that must succeed; what did not is listed."""
    served.hub.on_submit = becomes(a=first, b=optional)

    result = ostler("run", file)

    assert result.code == code
    for name, state in (("a", first), ("b", optional)):
        assert (f"{state.ljust(11)} {name}" in result.out.splitlines()[-2:][0]) or state in result.out


def test_the_end_of_a_run_tells_what_did_not_succeed(ostler: Ostler, served: ServedHub, file: str) -> None:
    """A line for each such task with its reason, and the counts."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED, b=TaskState.FAILED)

    lines = ostler("run", file).out.splitlines()

    assert lines[0].startswith("run r-")
    assert lines[-2] == "failed b command: exit code 2 (optional: skipped)"
    assert lines[-1] == "1 succeeded, 1 failed"


def test_every_change_is_a_line_where_there_is_no_terminal(ostler: Ostler, served: ServedHub, file: str) -> None:
    """A log of a run reads as what happened; a picture without a change adds nothing."""
    served.hub.on_submit = becomes(a=TaskState.RUNNING, b=TaskState.QUEUED)
    _later(served.hub, "a", TaskState.SUCCEEDED, "b", TaskState.SUCCEEDED)

    lines = ostler("run", file, "--run-id", "r-1").out.splitlines()

    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["running", "a"],
        ["queued", "b"],
        ["succeeded", "a"],
        ["succeeded", "b"],
    ]


def _later(hub: RecordingHub, *changes: object) -> None:
    """Change tasks once the run listens to events, and tell it by an event."""
    import threading

    def change() -> None:
        eventually(lambda: hub.followers > 0, "the run listens")
        for name, state in zip(changes[::2], changes[1::2], strict=True):
            assert isinstance(state, TaskState)
            task_id = f"r-1.{name}"
            hub.tasks_by_id[task_id] = in_state(task_id, state, batch="r-1", seq=ord(str(name)))
        hub.emit(Event(name="task.succeeded", at_ms=5, task_id=f"r-1.{changes[0]}", seq=99))

    threading.Thread(target=change, daemon=True).start()


def test_a_run_as_json_prints_the_tasks_at_the_end(ostler: Ostler, served: ServedHub, file: str) -> None:
    """One document: the tasks in the order of the file."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED, b=TaskState.SUCCEEDED)

    code, out, err = ostler("run", file, "--run-id", "r-1", "--json")

    assert (code, err) == (0, "")
    assert [task.id for task in msgspec.json.decode(out, type=TaskList).tasks] == ["r-1.a", "r-1.b"]


def test_a_run_ends_when_only_a_person_can_go_on(ostler: Ostler, served: ServedHub, file: str) -> None:
    """What needs a person, and what waits for it, is no reason to wait for ever."""
    waits = Wait(code=WaitCode.DEPS, since_ms=0, detail="needs a")

    def made(spec: TaskSpec) -> Task:
        if spec.id.endswith("a"):
            return samples.task(spec.id, TaskState.NEEDS_HUMAN, batch=spec.batch)
        return samples.task(spec.id, TaskState.QUEUED, batch=spec.batch, wait=waits)

    served.hub.on_submit = made

    code, out, _ = ostler("run", file)

    assert code == ExitCode.FAILED
    assert "needs_human a" in out


def test_a_bad_file_hands_in_nothing(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """Every mistake is a line, the exit code is 2, and the hub is not asked."""
    (tmp_path / "bad.yaml").write_text(
        "tasks:\n  - {id: a, promt: x}\n  - {id: b, prompt: x, needs: c}\n", encoding="utf-8"
    )

    code, out, err = ostler("run", "bad.yaml")

    assert (code, out, served.hub.calls) == (ExitCode.USAGE, "", [])
    assert err.splitlines() == ["ostler: bad.yaml:2 tasks[0]: unknown field 'promt' (did you mean 'prompt'?)"]


def test_a_bad_file_as_json_is_one_error(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """Programs get all mistakes in one message under a stable code."""
    (tmp_path / "bad.yaml").write_text("tasks:\n  - {id: a}\n  - {id: b}\n", encoding="utf-8")

    error = json.loads(ostler("run", "bad.yaml", "--json").err)["error"]

    assert error["code"] == "invalid_task_file"
    assert len(error["message"].splitlines()) == 2


def test_a_file_can_be_checked_without_a_hub(ostler: Ostler, no_hub: str, file: str) -> None:
    """`--check` needs nothing but the file."""
    assert ostler("run", file, "--check") == (0, f"{file}: 2 tasks, all right\n", "")


def test_a_run_can_be_left_alone(ostler: Ostler, served: ServedHub, file: str) -> None:
    """`--no-wait` hands in and says the id of the run."""
    code, out, err = ostler("run", file, "--run-id", "r-1", "--no-wait")

    assert (code, out, err) == (0, "run r-1: 2 tasks\n", "")
    assert list(served.hub.tasks_by_id) == ["r-1.a", "r-1.b"]


def test_a_run_that_is_taken_up_is_not_started_anew(ostler: Ostler, served: ServedHub, file: str) -> None:
    """The same id of a run means the same tasks, which the hub knows."""
    ostler("run", file, "--run-id", "r-1", "--no-wait")

    assert ostler("run", file, "--run-id", "r-1", "--no-wait").out == "run r-1: 2 tasks, 2 known already\n"


def test_two_runs_of_a_file_do_not_meet(ostler: Ostler, served: ServedHub, file: str) -> None:
    """Without an id each run gets tasks of its own."""
    ostler("run", file, "--no-wait")
    ostler("run", file, "--no-wait")

    assert len(served.hub.tasks_by_id) == 4


def test_submit_takes_a_file_too(ostler: Ostler, served: ServedHub, file: str) -> None:
    """`submit --file` hands in and leaves; its JSON is that of a submit."""
    code, out, _ = ostler("submit", "--file", file, "--json")

    assert code == 0
    assert len(msgspec.json.decode(out, type=SubmitAnswer).tasks) == 2


def test_submit_can_wait_for_a_file(ostler: Ostler, served: ServedHub, file: str) -> None:
    """`submit --file --wait` is a run."""
    served.hub.on_submit = becomes(a=TaskState.FAILED, b=TaskState.SUCCEEDED)

    assert ostler("submit", "--file", file, "--wait").code == ExitCode.FAILED


@pytest.mark.parametrize("run_id", ["a/b", "a.b", "r" * 41, ""])
def test_an_id_that_no_run_can_have_is_refused(ostler: Ostler, served: ServedHub, file: str, run_id: str) -> None:
    """Dots separate run and task, and ids are bounded."""
    code, _, err = ostler("run", file, "--run-id", run_id)

    assert (code, served.hub.calls) == (ExitCode.USAGE, [])
    assert err.startswith("ostler: --run-id: ")


def test_a_refusal_of_the_hub_ends_the_run(ostler: Ostler, served: ServedHub, file: str) -> None:
    """Nothing is watched that was not taken."""
    served.fails_with(ConflictError("the id is taken by another task", where="r-1.a"))

    code, out, err = ostler("run", file, "--run-id", "r-1")

    assert (code, out) == (ExitCode.REFUSED, "")
    assert err == "ostler: r-1.a: the id is taken by another task\n"


REFUSED = [
    (InvalidInputError("there is no tier 'fast'", where="tier"), "tasks.yaml:3 b.tier: there is no tier 'fast'"),
    (InvalidInputError("there is no model 'm'", where="task r-1.a, model"), "tasks.yaml:2 task r-1.a, model: there is"),
    (InvalidInputError("there is no tier 'slow'", where="tier"), "ostler: tier: there is no tier 'slow'"),
    (InvalidInputError("too many tasks", where="tasks"), "ostler: tasks: too many tasks"),
]


@pytest.mark.parametrize(("error", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_only_the_hub_can_know_is_told_with_its_line(
    ostler: Ostler, served: ServedHub, tmp_path: Path, error: Exception, message: str
) -> None:
    """A tier that the profile does not have is found in the file that asks for it."""
    text = "tasks:\n  - {id: a, prompt: x}\n  - {id: b, prompt: y, tier: fast}\n"
    (tmp_path / "tasks.yaml").write_text(text, encoding="utf-8")
    served.fails_with(error)

    code, _, err = ostler("run", "tasks.yaml", "--run-id", "r-1")

    assert code == ExitCode.USAGE
    assert message in err


def test_a_batch_larger_than_a_page_is_watched_whole(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """More tasks than the hub gives at once are put together from pages."""
    count = 1001
    rows = "".join(f"  - {{id: t{number}, prompt: x}}\n" for number in range(count))
    (tmp_path / "many.yaml").write_text("tasks:\n" + rows, encoding="utf-8")
    served.hub.on_submit = lambda spec: in_state(
        spec.id, TaskState.SUCCEEDED, batch=spec.batch, seq=int(spec.id.rpartition("t")[2])
    )

    code, out, _ = ostler("run", "many.yaml", "--json")

    tasks = msgspec.json.decode(out, type=TaskList).tasks
    assert (code, len(tasks)) == (0, count)
    assert [task.seq for task in tasks] == list(range(count))


def test_an_interrupt_leaves_the_tasks_to_the_hub(served: ServedHub, file: str) -> None:
    """Ctrl-C ends the watching with 130, cancels nothing, and says how to go on."""
    served.hub.on_submit = becomes(a=TaskState.RUNNING, b=TaskState.QUEUED)
    process = subprocess.Popen(
        [sys.executable, "-m", "ostler.cli.main", "run", file, "--run-id", "r-1", "--hub", served.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    with ending(process):
        eventually(lambda: served.hub.followers == 1, "the run is watched")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == ExitCode.INTERRUPTED
    assert served.asked("cancel") == []
    assert "ostler run FILE --run-id r-1" in err
    assert "ostler tasks cancel --batch r-1" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("answer", "cancelled"), [("y\n", ["r-1.a", "r-1.b"]), ("\n", [])])
def test_on_a_terminal_an_interrupt_asks(
    served: ServedHub, monkeypatch: pytest.MonkeyPatch, answer: str, cancelled: list[str]
) -> None:
    """Only who says yes cancels; the default leaves everything running."""
    import io

    from ostler.cli.flags import connect

    for name, state in (("a", TaskState.RUNNING), ("b", TaskState.QUEUED), ("c", TaskState.SUCCEEDED)):
        served.hub.tasks_by_id[f"r-1.{name}"] = in_state(f"r-1.{name}", state, batch="r-1")
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", typed)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    run_module._leave(connect(served.url, None), "r-1")

    assert sorted(call[0] for call in served.asked("cancel")) == cancelled


def test_a_run_is_taken_up_again(ostler: Ostler, served: ServedHub, file: str) -> None:
    """`--resume` asks for it, and the first line says what was known and done."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED, b=TaskState.SUCCEEDED)
    assert ostler("run", file, "--run-id", "r-1").code == ExitCode.OK

    result = ostler("run", file, "--resume", "r-1")

    assert result.code == ExitCode.OK
    assert served.asked("submit")[-1][1:] == ("resume",)
    assert result.out.splitlines()[0] == "run r-1: 2 tasks, 2 known already, 2 of them done"


def test_a_run_that_nobody_knows_is_not_taken_up(ostler: Ostler, served: ServedHub, file: str) -> None:
    """A slip in the id must not start everything anew."""
    result = ostler("run", file, "--resume", "r-none")

    assert result.code == ExitCode.REFUSED
    assert "there is no run r-none" in result.err
    assert served.asked("submit") == []


def test_two_names_for_a_run_are_refused(ostler: Ostler, served: ServedHub, file: str) -> None:
    """`--run-id` and `--resume` may only agree."""
    assert ostler("run", file, "--resume", "r-1", "--run-id", "r-2").code == ExitCode.USAGE
    assert served.asked("submit") == []


def test_the_end_of_a_run_shows_its_phases(ostler: Ostler, served: ServedHub, file: str) -> None:
    """One line each: name, time, tasks, what was skipped and which model stood in for which."""

    def made(spec: TaskSpec) -> Task:
        first = spec.id.endswith(".a")
        task = in_state(spec.id, TaskState.SUCCEEDED if first else TaskState.FAILED, batch=spec.batch, needs=spec.needs)
        facts = msgspec.structs.replace(task.facts, model="m0" if first else None)
        phase = "plan" if first else None
        return msgspec.structs.replace(
            task, facts=facts, model="m1", phase=phase, optional=spec.optional, seq=int(first)
        )

    served.hub.on_submit = made
    result = ostler("run", file)

    assert "phase 0 (plan), 3 s: a; m1 instead of m0" in result.out
    assert "phase 1, 3 s: b; skipped: b" in result.out
    assert "(instead of m0)" in result.out


def test_results_are_printed_at_the_end_when_asked_for(ostler: Ostler, served: ServedHub, file: str) -> None:
    """Phase by phase; a failure in place of a result."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED, b=TaskState.FAILED)
    result = ostler("run", file, "--results", "--run-id", "r-1")

    assert "    output of r-1.a" in result.out
    assert "    command: exit code 2" in result.out
    assert "output of" not in ostler("run", file, "--run-id", "r-1").out


def test_the_report_of_a_run_has_its_phases(ostler: Ostler, served: ServedHub, file: str) -> None:
    """As JSON, with outputs only when they are asked for."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED, b=TaskState.SUCCEEDED)
    plain = msgspec.json.decode(ostler("run", file, "--json").out, type=RunReport)
    full = msgspec.json.decode(ostler("run", file, "--json", "--results", "--run-id", "r-1").out, type=RunReport)

    assert [row.output for phase in plain.phases for row in phase.tasks] == [None, None]
    assert [row.output for phase in full.phases for row in phase.tasks] == ["output of r-1.a", "output of r-1.b"]


def test_results_of_a_run_can_be_read_later(ostler: Ostler, served: ServedHub, file: str) -> None:
    """All phases, one of them, or as JSON; one that is not there is refused."""
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED, b=TaskState.SUCCEEDED)
    ostler("run", file, "--run-id", "r-1")

    assert "    output of r-1.b" in ostler("tasks", "results", "r-1").out
    assert msgspec.json.decode(ostler("tasks", "results", "r-1", "--json").out, type=RunResults).run == "r-1"
    missing = ostler("tasks", "results", "r-1", "--phase", "7")
    assert missing.code == ExitCode.USAGE
    assert "has no phase 7" in missing.err


def test_limits_of_a_file_are_part_of_each_task(ostler: Ostler, served: ServedHub, tmp_path: Path) -> None:
    """So they are as durable as the tasks."""
    path = tmp_path / "limited.yaml"
    path.write_text("slots: {m: 2}\nlimit: 3\ntasks: [{id: a, prompt: x, model: m}]\n", encoding="utf-8")
    served.hub.on_submit = becomes(a=TaskState.SUCCEEDED)
    ostler("run", str(path))

    ((specs,),) = served.asked("submit")
    assert (specs[0].batch_limit, specs[0].batch_slots) == (3, {"m": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limit: 0\ntasks: [{id: a, prompt: x}]\n", "limit: expected a whole number from 1 up"),
        (
            "tasks:\n  - {id: a, prompt: x}\n  - {id: b, prompt: 'use {{ results.c }}', needs: a}\n",
            "b.needs: the prompt names the result of 'c', which the task does not need",
        ),
    ],
)
def test_mistakes_in_limits_and_names_are_told_by_the_check(
    ostler: Ostler, tmp_path: Path, text: str, said: str
) -> None:
    """Before anything is handed in, with line and remedy."""
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    result = ostler("run", "--check", str(path))
    assert result.code == ExitCode.USAGE
    assert said in result.err
