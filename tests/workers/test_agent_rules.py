"""What an agent may be started with: the worker's choice of programs, repositories and variables."""

import pytest

from ostler.domain.errors import NotAllowedError
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.workers.rules import AgentEnv, Launch, WorkerRules

RULES = WorkerRules(agents=("opencode",), repos={"barn": "/srv/barn"}, task_env=("APP_*", "XDG_*", "OPENCODE_*"))
OWN = AgentEnv(agent="opencode", env={"OPENCODE_KEY": "k", "HOME": "/run/home"}, owned=("OPENCODE_*", "OPENAI_*"))
ENVIRON = {
    "PATH": "/bin",
    "HOME": "/home-of-a-person",
    "LANG": "C",
    "OPENAI_API_KEY": "left-over",
    "OSTLER_WORKER": "w0",
    "XDG_DATA_HOME": "/x",
    "GIT_DIR": "/y",
}


def launched(**env: str) -> Launch:
    spec = TaskSpec(id="t", kind=TaskKind.AGENT, prompt="p", env=env)
    words, tags = ("opencode", "run"), {"OSTLER_TASK": "t"}
    return RULES.launch_agent(words, spec, OWN, cwd="/run/tree", environ=ENVIRON, tags=tags)


def test_an_agent_sees_what_a_command_would_without_what_is_its_adapters() -> None:
    """Its own home, no left-over keys, no variables that would lead git or its data elsewhere; the tags go in."""
    launch = launched(APP_MODE="x")

    assert launch.env == {
        "PATH": "/bin",
        "LANG": "C",
        "HOME": "/run/home",
        "OPENCODE_KEY": "k",
        "APP_MODE": "x",
        "PWD": "/run/tree",
        "OSTLER_TASK": "t",
    }
    assert (launch.program, launch.cwd) == ("opencode", "/run/tree")


@pytest.mark.parametrize("name", ["OPENCODE_PERMISSION", "HOME", "OPENAI_BASE_URL", "OSTLER_TASK", "PATH", "OTHER"])
def test_a_task_may_not_set_what_is_not_its_own(name: str) -> None:
    """The adapter's variables, the tags, the search path, and what the rules do not list."""
    with pytest.raises(NotAllowedError, match=name):
        launched(**{name: "x"})


def test_only_named_repositories_are_worked_on() -> None:
    """By their names; a path is no name."""
    assert str(RULES.repo_path("barn")) == "/srv/barn"
    for name in ("moon", "/srv/barn", "", "barn/../moon"):
        with pytest.raises(NotAllowedError, match="it has: barn"):
            RULES.repo_path(name)


def test_the_environment_of_an_agent_is_not_printed() -> None:
    """It holds the key."""
    assert "k" not in repr(OWN).replace("AgentEnv(agent='opencode')", "")
