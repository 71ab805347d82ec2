"""An agent on a worker that joined over HTTP: what it needs comes with the assignment, and dies with the worker."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ostler.domain.states import FailureClass, Outcome, TaskState
from ostler.workers import reaper
from tests.agents.barn import PROFILE, SMALL, agent, environment, environment_of, open_barn, writes_in_tree
from tests.agents.command_lines import needs_agents
from tests.e2e.process import Process, until
from tests.gateway.dialects import AnswerDialect
from tests.gateway.plays import silent
from tests.gateway.upstream import Call, Pause, Play, Step

pytestmark = needs_agents


def attempts_running(task_id: str) -> list[int]:
    """Processes of attempts of a task, wherever they came from."""
    tag = f"OSTLER_TASK={task_id}"
    return [proc.pid for proc in reaper.processes() if tag in environment_of(proc.pid).splitlines()]


def late(play: Play, seconds: float) -> Play:
    """The same answers, each only after a while."""

    def played(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        return [Pause(seconds), *play(call, dialect)]

    return played


@pytest.mark.parametrize("program", ["opencode", "claude"])
def test_an_agent_outlives_its_daemon_and_ends_under_the_next(tmp_path: Path, program: str) -> None:
    """Killed with -9 while the agent waits for its model: the very process goes on, in its tree and on its key, and the
    next daemon sees it to its end: one attempt, verified, with all that it used, its branch and its calls.
    """
    patient = PROFILE.replace("session_dead: 4s", "session_dead: 60s")
    with open_barn(tmp_path, worker=False, profile=patient) as barn:
        token = barn.hub.client.make_token("workers", "worker").token
        env = environment(barn.home) | {"OSTLER_TOKEN": token, "XDG_DATA_HOME": str(tmp_path / "worker-data")}

        def worker() -> Process:
            profile = str(tmp_path / "ostler.yaml")
            return Process(tmp_path, "worker", "--hub", barn.hub.url, "--name", "far", "--profile", profile, env=env)

        barn.upstream.script(then=late(writes_in_tree("note.txt", "Oats at noon."), 4.0))
        with worker() as first:
            barn.hub.client.submit([agent("long", runner=program, verify=(("grep", "-q", "Oats", "note.txt"),))])
            until(lambda: bool(barn.upstream.calls), "the agent asks the model", 60)
            first.kill()
        before = attempts_running("long")
        with worker():
            until(lambda: barn.task("long").state is TaskState.SUCCEEDED, "it is done", 90)

        answer = barn.hub.client.task("long")
        assert len(before) >= 2, "the agent and its supervisor live"
        assert (answer.task.outcome, answer.task.generation) == (Outcome.VERIFIED, 1)
        assert [(one.worker, one.ok) for one in answer.attempts] == [("far", True)]
        (attempt,) = answer.attempts
        assert attempt.usage is not None
        assert attempt.evidence is not None
        assert attempt.usage.output_tokens > 0
        assert (attempt.evidence.branch, attempt.evidence.commits) == ("ostler/long.1", 1)
        assert barn.git("show", "ostler/long.1:note.txt") == "Oats at noon."
        assert {call.task for call in barn.calls("long")} == {"long"}
        until(lambda: attempts_running("long") == [], "nothing is left")
        assert all(row.revoked_ms is not None for row in barn.hub.client.keys().keys)
        assert barn.git("worktree", "list").count("\n") == 1


def test_an_agent_on_another_worker_calls_through_the_hub_and_dies_with_its_worker(tmp_path: Path) -> None:
    """The first worker is killed while its agent waits for a model: the agent dies, its key closes, and a second worker
    does the work in a new attempt, verified, with its calls in the books.
    """
    with open_barn(tmp_path, worker=False) as barn:
        token = barn.hub.client.make_token("workers", "worker").token
        env = environment(barn.home) | {"OSTLER_TOKEN": token, "XDG_DATA_HOME": str(tmp_path / "worker-data")}

        def worker(name: str) -> Process:
            profile = str(tmp_path / "ostler.yaml")
            return Process(tmp_path, "worker", "--hub", barn.hub.url, "--name", name, "--profile", profile, env=env)

        barn.upstream.script(then=silent)
        with worker("first") as first:
            barn.hub.client.submit([agent("far", runner="claude", verify=(("grep", "-q", "Oats", "note.txt"),))])
            until(lambda: bool(barn.upstream.calls), "the agent asks the model", 60)
            first.kill()
            until(lambda: attempts_running("far") == [], "the agent is dead")
        barn.upstream.script(then=writes_in_tree("note.txt", "Oats at noon."))
        with worker("second"):
            until(lambda: barn.task("far").state is TaskState.SUCCEEDED, "it is done", 90)

        answer = barn.hub.client.task("far")
        assert answer.task.outcome is Outcome.VERIFIED
        assert [one.worker for one in answer.attempts] == ["first", "second"]
        assert answer.attempts[0].failure is not None
        assert answer.attempts[0].failure.kind is FailureClass.WORKER_LOST
        until(lambda: len(barn.calls("far", 2)) >= 2, "its calls are recorded")
        assert {(call.task, call.model) for call in barn.calls("far", 2)} == {("far", SMALL)}
        until(lambda: all(row.revoked_ms is not None for row in barn.hub.client.keys().keys), "no key is open")
        assert barn.git("show", "ostler/far.2:note.txt") == "Oats at noon."
