"""Agents end to end: a task with a repository, a real agent command line, our gateway, a simulated model behind it."""

from collections.abc import Iterator, Sequence

import pytest

from ostler.domain.errors import InvalidInputError
from ostler.domain.states import FailureClass, Outcome, TaskState, WaitCode
from tests.agents.barn import LARGE, SMALL, Barn, agent, delegates_in_tree, open_barn, writes_in_tree
from tests.agents.command_lines import needs_agents, needs_aider
from tests.e2e.process import until
from tests.gateway.agent_script import FINAL_TEXT, SUB_CALL, SUB_PROMPT
from tests.gateway.dialects import ANSWER_TOKENS, PROMPT_TOKENS, AnswerDialect, Said
from tests.gateway.plays import AUTH, RATE_LIMIT, answers, fails, silent
from tests.gateway.upstream import Call, Step

pytestmark = needs_agents

NOTE = "Oats at noon."


def waits_for(barn: Barn, task_id: str) -> WaitCode | None:
    """Why a task waits, if it does."""
    wait = barn.task(task_id).wait
    return wait.code if wait is not None else None


def is_of_sub_agent(call: Call) -> bool:
    """Whether a sub-agent made the call: it was told its part, and nobody called one there."""
    return SUB_PROMPT.encode() in call.body and SUB_CALL.encode() not in call.body


@pytest.fixture(scope="module")
def barn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Barn]:
    with open_barn(tmp_path_factory.mktemp("barn")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def fresh(barn: Barn) -> None:
    barn.begin_anew()
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


@pytest.mark.parametrize("runner", ["opencode", "claude", "codex"])
def test_tokens_and_money_of_a_run_are_exact(barn: Barn, runner: str) -> None:
    """Each simulated answer took 11 tokens and gave 7, at 1 and 2 dollars a million: 25 micro-dollars, all of them on
    the task's account, each with the attempt's own key; the program's own count is kept beside it, and `ostler why`
    lists the calls.
    """
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))

    done = barn.run(agent(f"exact-{runner}", runner=runner))

    assert len(done.attempts) == 1, done.attempts
    until(lambda: len(barn.calls(done.task.id)) == len(barn.upstream.calls), barn.told_of_calls)
    calls = barn.calls(done.task.id)
    taken = [(one.input_tokens, one.output_tokens) for call in calls for one in call.attempts]
    assert taken == [(PROMPT_TOKENS, ANSWER_TOKENS)] * len(calls)
    assert [call.cost_micro_usd for call in calls] == [PROMPT_TOKENS + 2 * ANSWER_TOKENS] * len(calls)
    assert {call.task for call in calls} == {done.task.id}
    usage = done.attempts[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (2 * PROMPT_TOKENS, 2 * ANSWER_TOKENS)
    key = next(row for row in barn.hub.client.keys().keys if row.name == f"agent/{done.task.id}.1")
    assert (key.calls, key.spent_micro_usd) == (len(calls), 25 * len(calls))
    assert {(call.status, call.model) for call in calls} == {(200, SMALL)}
    assert {call.key for call in barn.upstream.calls} == {"sk-of-the-hub"}
    why = barn.hub.client.why(done.task.id)
    assert any(line.startswith(f"Calls of its agent: {len(calls)};") for line in why.lines), why.lines
    assert all(any(call.id in line for line in why.lines) for call in calls)
    assert any(f"{runner} " in line and "1 tool calls" in line for line in why.lines)


@pytest.mark.parametrize("runner", ["opencode", "claude"])
def test_what_a_sub_agent_calls_is_charged_to_the_task(barn: Barn, runner: str) -> None:
    """The agent hands the work to one of its own, whose calls are invisible in what the program tells: they came with
    the key of the attempt, so that they were routed, recorded and priced like all the others.
    """
    barn.upstream.script(then=delegates_in_tree("note.txt", NOTE))
    name = f"delegates-{runner}"

    done = barn.run(agent(name, runner=runner, verify=(("grep", "-q", "Oats", "note.txt"),)), 90)

    assert done.task.outcome is Outcome.VERIFIED, done
    assert len(done.attempts) == 1, done.attempts
    by_sub = [call for call in barn.upstream.calls if is_of_sub_agent(call)]
    assert len(by_sub) >= 2, [call.play for call in barn.upstream.calls]
    # A title that nobody waited for may be cut off by the end of the program.
    served = [call for call in barn.upstream.calls if not call.gave_up]
    until(lambda: sum(call.status == 200 for call in barn.calls(name)) >= len(served), barn.told_of_calls)
    calls = [call for call in barn.calls(name) if call.status == 200]
    assert {(call.task, call.model) for call in calls} == {(name, SMALL)}
    assert {call.cost_micro_usd for call in calls} == {25}


def test_a_rate_limit_is_waited_for_and_costs_no_attempt(barn: Barn) -> None:
    """The provider says to come back in an hour: the run ends with that class, the task waits and says for what; when
    the endpoint is free again, the next attempt does the work.
    """
    barn.upstream.script(then=fails(RATE_LIMIT, retry_after="3600"))
    barn.hub.client.submit([agent("limited", runner="codex")])
    until(lambda: barn.task("limited").attempts_lost >= 1, "the first attempt ended", 60)
    until(lambda: waits_for(barn, "limited") is WaitCode.QUOTA_UNTIL, "it waits for the provider", 30)
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))
    barn.hub.client.reset_endpoint("stall")
    until(lambda: barn.task("limited").state is TaskState.SUCCEEDED, "it is done", 60)

    done = barn.hub.client.task("limited")
    kinds = [one.failure.kind for one in done.attempts if one.failure]
    assert set(kinds) == {FailureClass.RATE_LIMIT}
    assert [one.counted for one in done.attempts] == [False] * len(kinds) + [True]
    assert {one.model for one in done.attempts} == {SMALL}


def test_a_question_is_answered_in_the_next_attempt(barn: Barn) -> None:
    """The agent asks, a person answers, the next attempt is told both and does the work."""
    barn.upstream.script(then=answers(Said(text="NEEDS_HUMAN: Oats or hay? [oats | hay]")))
    asked = barn.run(agent("asks", runner="codex"))
    assert asked.task.state is TaskState.NEEDS_HUMAN, asked
    assert asked.task.failure is not None
    assert asked.task.failure.message == "Oats or hay?"
    (question,) = [one for one in barn.hub.client.questions().questions if one.task == "asks"]
    assert (question.task, question.choices, question.default) == ("asks", ("oats", "hay"), None)
    with pytest.raises(InvalidInputError, match="'oat' is none of the choices"):
        barn.hub.client.answer("asks", "oat")

    barn.begin_anew()
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))
    barn.hub.client.answer("asks", "Oats")
    until(lambda: barn.task("asks").state is TaskState.SUCCEEDED, "it is done", 60)

    assert b"Oats or hay? The answer: oats" in barn.upstream.calls[0].body
    assert barn.task("asks").attempts_used == 0


def test_nothing_of_a_run_is_left(barn: Barn) -> None:
    """No process, no folder, no open key; nothing in the home of whoever runs the hub; the key is in no file of it."""
    barn.upstream.script(then=writes_in_tree("note.txt", NOTE))

    done = barn.run(agent("tidy", runner="codex"))

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

    done = barn.run(agent("talks", runner="claude", max_attempts=1), 120)

    assert done.task.state is TaskState.DEAD_LETTER, done
    assert [one.model for one in done.attempts] == [SMALL, LARGE]
    assert {one.failure.kind for one in done.attempts if one.failure} == {FailureClass.CAPABILITY}
    assert barn.git("branch", "--list", "ostler/talks*") == ""


def test_a_refused_key_goes_to_a_person(barn: Barn) -> None:
    """The provider does not take the hub's key: no other tier is tried, although the program itself may end with 0."""
    barn.upstream.script(then=fails(AUTH))

    done = barn.run(agent("locked", runner="codex"))

    assert done.task.state is TaskState.NEEDS_HUMAN, done
    assert len(done.attempts) == 1


def test_an_agent_is_cancelled_with_all_it_started(barn: Barn) -> None:
    """The process group dies, the key closes, and what was not committed is kept on the branch."""
    barn.upstream.script(then=silent)
    barn.hub.client.submit([agent("halted", runner="claude")])
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
