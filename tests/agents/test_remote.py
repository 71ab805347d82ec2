"""An agent on a worker that joined over HTTP: what it needs comes with the assignment, and dies with the worker."""

from pathlib import Path

from ostler.domain.states import FailureClass, Outcome, TaskState
from ostler.workers import reaper
from tests.agents.barn import SMALL, agent, environment, environment_of, open_barn, writes_in_tree
from tests.agents.command_lines import needs_agents
from tests.e2e.process import Process, until
from tests.gateway.plays import silent

pytestmark = needs_agents


def attempts_running(task_id: str) -> list[int]:
    """Processes of attempts of a task, wherever they came from."""
    tag = f"OSTLER_TASK={task_id}"
    return [proc.pid for proc in reaper.processes() if tag in environment_of(proc.pid).splitlines()]


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
        assert all(row.revoked_ms is not None for row in barn.hub.client.keys().keys)
        assert barn.git("show", "ostler/far.2:note.txt") == "Oats at noon."
