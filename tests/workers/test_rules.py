"""Tests of what a worker lets a task run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import NotAllowedError
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.workers.rules import Launch, WorkerRules

ENVIRON = {"PATH": "/usr/bin", "HOME": "/home/me", "LC_ALL": "C", "SECRET_KEY": "s", "OSTLER_SESSION": "outer"}
TAGS = {"OSTLER_ATTEMPT": "t1.1"}


def launch(rules: WorkerRules, *argv: str, **spec: object) -> Launch:
    task = TaskSpec(id="t1", **spec)  # type: ignore[arg-type]
    return rules.launch(argv, task, environ=ENVIRON, tags=TAGS)


@pytest.mark.parametrize(
    ("patterns", "argv0"),
    [
        (("*",), "/anything"),
        (("*",), "bare"),
        (("git", "py*"), "python3"),
        (("/opt/tools/*",), "/opt/tools/build"),
        (("/opt/tools/*",), "/opt/tools/./sub/../build"),
    ],
)
def test_a_listed_program_is_allowed(patterns: tuple[str, ...], argv0: str) -> None:
    """A bare name is allowed by a pattern for names, a path by a pattern for paths, anything by a lone star."""
    assert launch(WorkerRules(commands=patterns), argv0, "-v").argv == (argv0, "-v")


@pytest.mark.parametrize(
    ("patterns", "argv0"),
    [
        ((), "ls"),
        (("git",), "gitx"),
        (("git",), "GIT"),
        # The name of an allowed program does not allow any file of that name.
        (("git",), "/tmp/git"),
        (("git",), "./git"),
        (("*/git",), "git"),
        (("/opt/tools/*",), "/opt/tools/../../bin/sh"),
        (("git",), ""),
    ],
)
def test_any_other_program_is_refused(patterns: tuple[str, ...], argv0: str) -> None:
    """What no pattern names is refused, also when it looks alike or reaches a listed directory on a detour."""
    with pytest.raises(NotAllowedError):
        launch(WorkerRules(commands=patterns), argv0)


def test_no_command_is_allowed_by_default() -> None:
    """A worker that was told nothing runs no command, and says what to do about it."""
    with pytest.raises(NotAllowedError, match="allows: none; add the program"):
        launch(WorkerRules(), "ls")
    with pytest.raises(NotAllowedError):
        WorkerRules().check_kind(TaskKind.COMMAND)

    WorkerRules().check_kind(TaskKind.CHAT)


def test_what_is_judged_is_what_is_started(tmp_path: Path) -> None:
    """A path with detours is started as the path that was judged, not as what a link would make of it."""
    allowed = launch(WorkerRules(commands=(f"{tmp_path}/*",)), "./sub/../run", cwd=str(tmp_path))

    assert allowed.program == f"{tmp_path}/run"
    assert allowed.argv == ("./sub/../run",)


def test_a_task_without_a_program_is_refused() -> None:
    """An empty argument vector is refused with what is missing."""
    with pytest.raises(NotAllowedError, match="no program"):
        launch(WorkerRules(commands=("*",)))


@pytest.mark.parametrize("spec", [{"cwd": "a\x00b"}, {"env": {"A": "\x00"}}, {"env": {"A=B": ""}}, {"env": {"": "x"}}])
def test_what_no_system_can_start_is_refused(spec: dict[str, object]) -> None:
    """NUL characters and names that are no names are refused before the system trips over them."""
    with pytest.raises(NotAllowedError):
        launch(WorkerRules(commands=("*",)), "ls", **spec)


def test_only_listed_variables_of_the_worker_are_seen() -> None:
    """A command sees what the rules let through, what the task sets, the directory and the tags; nothing else."""
    rules = WorkerRules(commands=("*",))

    env = launch(rules, "ls", cwd="/", env={"MODE": "fast"}).env

    assert env == {
        "PATH": "/usr/bin",
        "HOME": "/home/me",
        "LC_ALL": "C",
        "MODE": "fast",
        "PWD": "/",
        "OSTLER_ATTEMPT": "t1.1",
    }


def test_tags_of_an_outer_worker_are_not_passed_on() -> None:
    """A worker that runs inside an attempt of another one does not hand down that one's tags."""
    assert "OSTLER_SESSION" not in launch(WorkerRules(commands=("*",), env=("*",)), "ls").env


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        (WorkerRules(commands=("*",)), "OSTLER_SESSION"),
        (WorkerRules(commands=("git",)), "PATH"),
        (WorkerRules(commands=("git",)), "LD_PRELOAD"),
        (WorkerRules(commands=("*",), task_env=("APP_*",)), "OTHER"),
    ],
)
def test_a_task_cannot_set_what_would_undo_the_rules(rules: WorkerRules, name: str) -> None:
    """A task may set neither tags, nor what decides which code a listed name stands for, nor what is not listed."""
    with pytest.raises(NotAllowedError, match=name):
        launch(rules, "git", env={name: "x"})


def test_where_anything_is_allowed_a_task_may_choose_its_path() -> None:
    """With every program allowed, the search path is the task's own business."""
    assert launch(WorkerRules(commands=("*",)), "git", env={"PATH": "/opt"}).env["PATH"] == "/opt"


def test_a_task_works_below_a_root(tmp_path: Path) -> None:
    """It starts in the first root, in a directory below any root, and relative ones count from the first."""
    rules = WorkerRules(commands=("*",), cwd_roots=(str(tmp_path), "/usr"))

    assert launch(rules, "ls").cwd == str(tmp_path)
    assert launch(rules, "ls", cwd="sub").cwd == str(tmp_path / "sub")
    assert launch(rules, "ls", cwd="/usr/share").cwd == "/usr/share"


def test_a_task_cannot_leave_its_roots(tmp_path: Path) -> None:
    """Neither another directory, nor a way up, nor a link out of a root, nor a neighbour of like name is allowed."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "root2").mkdir()
    (root / "link").symlink_to("/")
    rules = WorkerRules(commands=("*",), cwd_roots=(str(root),))

    for cwd in ("/", "..", "link", str(tmp_path / "root2")):
        with pytest.raises(NotAllowedError, match="below"):
            launch(rules, "ls", cwd=cwd)


@given(parts=st.lists(st.sampled_from(["..", ".", "a", "b", "", "~"]), max_size=8))
def test_no_spelling_of_a_path_leads_out_of_a_root(parts: list[str]) -> None:
    """Whatever is made of names, dots and slashes, the directory of a launch lies in the root or it is refused."""
    rules = WorkerRules(commands=("*",), cwd_roots=("/usr/share",))
    try:
        cwd = launch(rules, "ls", cwd="/".join(parts)).cwd
    except NotAllowedError:
        return

    assert Path(cwd).is_relative_to("/usr/share")


def test_a_command_of_a_loop_is_told_its_place_on_every_worker() -> None:
    """Whatever a worker's rules say of variables: these three steer no program."""
    place = {"OSTLER_LOOP": "night", "OSTLER_LOOP_NUMBER": "3", "OSTLER_LOOP_TICK": "4"}
    env = launch(WorkerRules(commands=("ls",), task_env=()), "ls", env=place).env
    assert {name: env[name] for name in place} == place
