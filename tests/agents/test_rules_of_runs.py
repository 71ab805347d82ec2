"""What a hub makes of runs of real agents: what one may cost, and what a judge thinks of it."""

from collections.abc import Iterator, Sequence

import pytest

from ostler.domain.states import FailureClass, Outcome, TaskState
from tests.agents.barn import LARGE, SMALL, Barn, agent, open_barn, writes_in_tree
from tests.agents.command_lines import needs_agents
from tests.e2e.process import until
from tests.gateway.dialects import AnswerDialect, Said
from tests.gateway.plays import answers
from tests.gateway.upstream import Call, Play, Step

pytestmark = needs_agents

NOTE = "Oats at noon."
MAX_COST_USD = "0.004"
"""Less than a call is thought to take before it is made."""


@pytest.fixture(scope="module")
def barn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Barn]:
    with open_barn(tmp_path_factory.mktemp("barn"), judge="complex") as opened:
        yield opened


@pytest.fixture(autouse=True)
def fresh(barn: Barn) -> None:
    barn.begin_anew()


def judged(verdict: str) -> Play:
    """An agent that writes its note, and a judge that answers this."""

    def play(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        if b"Judge whether this work" in call.body:
            return answers(Said(text=verdict))(call, dialect)
        return writes_in_tree("note.txt", NOTE)(call, dialect)

    return play


def test_an_opinion_is_asked_of_the_judges_tier_and_charged_to_the_task(barn: Barn) -> None:
    """It sees what changed; the result stays what the program reported, and `ostler why` tells the opinion as one."""
    barn.upstream.script(then=judged("PASS: the note is there"))

    done = barn.run(agent("fine", runner="codex"))

    assert (done.task.state, done.task.outcome) == (TaskState.SUCCEEDED, Outcome.REPORTED), done
    (asked,) = [call for call in barn.upstream.calls if b"Judge whether this work" in call.body]
    assert asked.json["model"] == LARGE
    assert b"+Oats at noon." in asked.body
    until(lambda: len(barn.calls("fine")) == len(barn.upstream.calls), "all calls are recorded")
    assert {(call.task, call.model) for call in barn.calls("fine")} == {("fine", SMALL), ("fine", LARGE)}
    evidence = done.attempts[0].evidence
    assert evidence is not None
    assert evidence.opinion == "pass: the note is there"
    assert any("opinion of a judge: pass" in line for line in barn.hub.client.why("fine").lines)


def test_a_judge_that_is_not_content_is_a_failed_check(barn: Barn) -> None:
    """Once more, then one tier up, as with a check of the task's own; the next attempt is told why."""
    barn.upstream.script(then=judged("FAIL: the note says nothing of hay"))

    done = barn.run(agent("poor", runner="codex", max_attempts=2), 90)

    kinds = [one.failure.kind for one in done.attempts if one.failure]
    assert set(kinds) == {FailureClass.VERIFICATION}
    assert [one.model for one in done.attempts][:3] == [SMALL, SMALL, LARGE]
    later = [call for call in barn.upstream.calls if b"Earlier attempts" in call.body]
    assert later
    assert b"the note says nothing of hay" in later[0].body


def test_a_task_with_a_check_needs_no_judge(barn: Barn) -> None:
    """Proof goes before opinion."""
    barn.upstream.script(then=judged("FAIL: I do not like it"))

    done = barn.run(agent("proven", runner="codex", verify=(("grep", "-q", "Oats", "note.txt"),)))

    assert done.task.outcome is Outcome.VERIFIED, done
    assert not any(b"Judge whether this work" in call.body for call in barn.upstream.calls)


def test_a_run_that_costs_all_it_may_needs_a_person(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The gateway refuses what may pass the limit; whatever the program makes of that, no further attempt is made."""
    with open_barn(tmp_path_factory.mktemp("dear"), max_cost=MAX_COST_USD) as dear:
        dear.upstream.script(then=writes_in_tree("note.txt", NOTE, endless=True))

        done = dear.run(agent("dear", runner="codex"), 90)

        assert done.task.state is TaskState.NEEDS_HUMAN, done
        assert done.task.failure is not None
        assert done.task.failure.kind is FailureClass.POLICY
        assert "one may cost $0.004 (agents.max_cost): its next call was refused" in done.task.failure.message
        assert len(done.attempts) == 1
        assert done.attempts[0].counted
