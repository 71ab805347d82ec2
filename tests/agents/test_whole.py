"""Agents end to end: a task with a repository, a real agent command line, our gateway, a simulated model behind it."""

from collections.abc import Iterator, Sequence

import pytest

from ostler.domain.states import FailureClass, Outcome, TaskState
from tests.agents.barn import LARGE, SMALL, Barn, agent, open_barn, writes_in_tree
from tests.agents.command_lines import needs_agents, needs_aider
from tests.e2e.process import until
from tests.gateway.agent_script import FINAL_TEXT
from tests.gateway.dialects import AnswerDialect, Said
from tests.gateway.plays import AUTH, answers, fails, silent
from tests.gateway.upstream import Call, Step

pytestmark = needs_agents

NOTE = "Oats at noon."


@pytest.fixture(scope="module")
def barn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Barn]:
    with open_barn(tmp_path_factory.mktemp("barn")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def fresh(barn: Barn) -> None:
    barn.upstream.forget()
    barn.hub.client.reset_endpoint("stall")


@pytest.mark.parametrize("runner", ["opencode", "claude", "codex", pytest.param("aider", marks=needs_aider)])
def test_an_agent_does_its_work_on_a_branch_of_its_own(barn: Barn, runner: str) -> None:
    """The file is on the attempt's branch and nowhere else, and the check that looked at it made it verified."""
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))

    done = barn.run(agent(f"note-{runner}", runner=runner, verify=(("grep", "-q", "Oats", "note.txt"),)))

    assert done.task.state is TaskState.SUCCEEDED, done
    assert done.task.outcome is Outcome.VERIFIED
    assert (FINAL_TEXT if runner != "aider" else "I write the note.") in (done.output or "")
    evidence = done.attempts[0].evidence
    assert evidence is not None
    assert (evidence.agent, evidence.files_changed, evidence.commits) == (runner, 1, 1)
    assert evidence.branch == f"ostler/note-{runner}.1"
    assert barn.git("show", f"{evidence.branch}:note.txt").strip() == NOTE
    assert barn.git("status", "--porcelain") == ""
    assert barn.git("worktree", "list").count("\n") == 1


def test_a_task_takes_on_the_role_that_it_names(barn: Barn) -> None:
    """The file says tier, tools, agent command line and prompt: the model of that tier is called, with these tools."""
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))

    done = barn.run(agent("hand", agent="hand", tier=None))

    assert done.task.state is TaskState.SUCCEEDED, done
    assert [(one.model, one.evidence.agent if one.evidence else "") for one in done.attempts] == [(LARGE, "claude")]
    main = [call for call in barn.upstream.calls if call.json.get("tools")]
    assert {tool["function"]["name"] for call in main for tool in call.json["tools"]} == {"Read", "Write"}
    assert all(b"You are a stable hand." in call.body for call in main)


def test_all_that_an_agent_called_is_in_the_books_of_its_task(barn: Barn) -> None:
    """Each call came with the attempt's own key, is recorded and priced under the task, and `ostler why` lists it."""
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))

    done = barn.run(agent("booked"))

    assert done.task.state is TaskState.SUCCEEDED, done
    until(lambda: len(barn.calls("booked")) == len(barn.upstream.calls), "all calls are recorded")
    calls = barn.calls("booked")
    assert {(call.task, call.status, call.model) for call in calls} == {("booked", 200, SMALL)}
    assert {call.key for call in barn.upstream.calls} == {"sk-of-the-hub"}
    tokens = [(one.input_tokens, one.output_tokens) for call in calls for one in call.attempts]
    assert sum(call.cost_micro_usd or 0 for call in calls) == sum(one + 2 * two for one, two in tokens) > 0
    why = barn.hub.client.why("booked")
    assert any(line.startswith(f"Calls of its agent: {len(calls)};") for line in why.lines), why.lines
    assert all(any(call.id in line for line in why.lines) for call in calls)
    assert any("opencode 1.18" in line and "1 tool calls" in line for line in why.lines)


def test_nothing_of_a_run_is_left(barn: Barn) -> None:
    """No process, no folder, no open key; nothing in the home of whoever runs the hub; the key is in no file of it."""
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))

    done = barn.run(agent("tidy"))

    assert done.task.state is TaskState.SUCCEEDED, done
    assert barn.leftovers() == []
    assert [list(folder.iterdir()) for folder in (barn.hub.data / "agents").iterdir()] == [[]]
    until(lambda: all(row.revoked_ms is not None for row in barn.hub.client.keys().keys), "its key is revoked")
    assert list(barn.home.iterdir()) == []


@pytest.mark.parametrize("runner", ["opencode", "claude"])
def test_work_that_fails_its_check_twice_goes_one_tier_up(barn: Barn, runner: str) -> None:
    """Once more at the same tier, then the next one, which is told what happened; each attempt has its own branch."""

    def by_model(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        content = "Hay in the evening." if call.json["model"] == LARGE else NOTE
        return writes_in_tree("note.txt", content)(call, dialect)

    name = f"climbs-{runner}"
    barn.upstream.script(then=by_model)

    done = barn.run(agent(name, runner=runner, verify=(("grep", "-q", "Hay", "note.txt"),)), 120)

    assert done.task.state is TaskState.SUCCEEDED, done
    assert [one.model for one in done.attempts] == [SMALL, SMALL, LARGE]
    assert [one.failure.kind for one in done.attempts if one.failure] == [FailureClass.VERIFICATION] * 2
    assert done.task.outcome is Outcome.VERIFIED
    branches = [one.evidence.branch for one in done.attempts if one.evidence]
    assert branches == [f"ostler/{name}.{number}" for number in (1, 2, 3)]
    assert barn.git("show", f"ostler/{name}.2:note.txt") == NOTE
    last = next(call for call in barn.upstream.calls if call.json["model"] == LARGE)
    assert f"Its work is on branch ostler/{name}.2".encode() in last.body


def test_an_agent_that_only_talks_is_not_taken_for_one_that_works(barn: Barn) -> None:
    """No tool was called: the model was not capable, and a higher tier is asked; with none above it is given up."""
    barn.upstream.script(then=answers(Said(text="I would write a note.")))

    done = barn.run(agent("talks", max_attempts=1), 120)

    assert done.task.state is TaskState.DEAD_LETTER, done
    assert [one.model for one in done.attempts] == [SMALL, LARGE]
    assert {one.failure.kind for one in done.attempts if one.failure} == {FailureClass.CAPABILITY}
    assert barn.git("branch", "--list", "ostler/talks*") == ""


def test_a_refused_key_goes_to_a_person(barn: Barn) -> None:
    """The provider does not take the hub's key: no other tier is tried, although the program itself may end with 0."""
    barn.upstream.script(then=fails(AUTH))

    done = barn.run(agent("locked"))

    assert done.task.state is TaskState.NEEDS_HUMAN, done
    assert len(done.attempts) == 1


def test_an_agent_is_cancelled_with_all_it_started(barn: Barn) -> None:
    """The process group dies, the key closes, and what was not committed is kept on the branch."""
    barn.upstream.script(then=silent)
    barn.hub.client.submit([agent("halted")])
    until(lambda: bool(barn.upstream.calls), "the agent asks the model", 30)

    barn.hub.client.cancel("halted")

    until(lambda: barn.task("halted").state is TaskState.CANCELLED, "it is cancelled")
    until(lambda: barn.leftovers() == [], "nothing of it lives")
    keys = {row.name: row.revoked_ms for row in barn.hub.client.keys().keys}
    assert keys["agent/halted.1"] is not None


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({"repo": "moon"}, TaskState.QUEUED, "has repo moon"),
        ({"requires": frozenset({"agent:goose"})}, TaskState.QUEUED, "agent:goose"),
        ({"verify": (("make",),)}, TaskState.NEEDS_HUMAN, "may not run 'make'"),
        ({"env": {"OPENCODE_CONFIG": "x"}}, TaskState.NEEDS_HUMAN, "may not set 'OPENCODE_CONFIG'"),
    ],
)
def test_what_is_not_allowed_does_not_run(barn: Barn, changes: dict[str, object], state: TaskState, says: str) -> None:
    """Nothing is called, and the task says what to change."""
    task_id = "barred-" + "-".join(changes)
    barn.hub.client.submit([agent(task_id, **changes)])

    until(lambda: says in barn.hub.client.why(task_id).headline, f"it says {says}: {barn.hub.client.why(task_id)}")

    assert barn.task(task_id).state is state
    assert barn.upstream.calls == []
    barn.hub.client.cancel(task_id)
