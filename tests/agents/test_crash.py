"""The hub and the worker inside it die without warning while a real agent works: nothing is lost, doubled or left."""

from pathlib import Path

from ostler.domain.states import FailureClass, TaskState
from tests.agents.barn import agent, environment_of, open_barn, restarted, writes_in_tree
from tests.agents.command_lines import needs_agents
from tests.e2e.process import until
from tests.gateway.plays import silent

pytestmark = needs_agents

NOTE = "Oats at noon."


def test_a_killed_hub_leaves_no_agent_and_takes_the_task_up_again(tmp_path: Path) -> None:
    """The agent dies with its daemon. The next hub closes the key, clears the folder, and hands out a new attempt with
    a branch and a key of its own; the lost one does not count.
    """
    with open_barn(tmp_path) as barn:
        barn.upstream.script(then=silent)
        barn.hub.client.submit([agent("survivor")])
        until(lambda: bool(barn.upstream.calls), "the agent asks the model", 60)
        until(lambda: barn.leftovers() != [], "the agent runs")
        mine = [proc.pid for proc in barn.leftovers()]

        barn.hub.kill()

        until(lambda: not any("OSTLER_ATTEMPT=" in environment_of(pid) for pid in mine), "the agent is dead")
        barn.upstream.script(then=writes_in_tree("note.txt", NOTE))
        with restarted(barn) as again:
            until(lambda: again.task("survivor").state is TaskState.SUCCEEDED, "it is done", 90)
            answer = again.hub.client.task("survivor")
            assert [one.failure.kind for one in answer.attempts if one.failure] == [FailureClass.WORKER_LOST]
            assert answer.task.attempts_used == 0
            evidence = answer.attempts[-1].evidence
            assert evidence is not None
            assert again.git("show", f"{evidence.branch}:note.txt") == NOTE
            until(lambda: all(row.revoked_ms is not None for row in again.hub.client.keys().keys), "keys are closed")
            assert [list(folder.iterdir()) for folder in (again.hub.data / "agents").iterdir()] == [[]]
            assert again.git("worktree", "list").count("\n") == 1
            assert again.leftovers() == []
