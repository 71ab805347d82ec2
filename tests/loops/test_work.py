"""What a loop hands to the queue: the same step is the same task, and its prompt keeps to its budget."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ostler.context.measure import usual
from ostler.domain.loops import Loop, LoopRun, ScheduleConfig, Summarizing
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.working_set import WorkingState
from ostler.loops.work import ROOM_TOKENS, SUMMARY_TOKENS, extract, step_spec, summary_spec
from tests.loops.made import NOW_MS

RUN = LoopRun(number=3, due_ms=NOW_MS, started_ms=NOW_MS, tick=4, step=2)
JOB = Summarizing(at_tick=10, texts=("We decided on slate.", "The ladder broke at 12:30.", "Hello there."))
texts = st.lists(st.text(max_size=300), max_size=10).map(tuple)


def looped(**fields: object) -> Loop:
    base = Loop(
        name="night",
        created_ms=NOW_MS,
        schedule=ScheduleConfig(stimulus="look around"),
        work=TaskSpec(id="work", prompt="mend it", system="You are careful.", tier="standard", metadata={"team": "a"}),
        run=RUN,
    )
    return msgspec.structs.replace(base, **fields)


def test_a_step_is_the_work_with_its_place() -> None:
    """Id, session, tick and title of the step; all else is as the work says."""
    spec = step_spec(looped(), RUN, 4_000)
    assert (spec.id, spec.session, spec.tick) == ("loop-night-3-4-2", "loop:night", "3.4")
    assert (spec.title, spec.tier, spec.kind) == ("night: loop 3, tick 4", "standard", TaskKind.CHAT)
    assert spec.metadata == {"team": "a", "loop": "night"}
    assert spec.system.startswith("You are careful.")
    assert "tick 4 of 15 of loop 3, step 2 of 3 at" in spec.system
    assert spec.prompt == "look around\n\nmend it"


def test_a_step_that_was_taken_back_is_another_task() -> None:
    """Its id says how often."""
    again = msgspec.structs.replace(RUN, again=2)
    assert step_spec(looped(run=again), again, 4_000).id == "loop-night-3-4-2-again-2"


def test_a_command_gets_its_place_in_the_environment() -> None:
    """And no prompt; its own variables stay."""
    work = TaskSpec(id="work", kind=TaskKind.COMMAND, argv=("make",), env={"CI": "1"})
    spec = step_spec(looped(work=work, history=("before",)), RUN, 4_000)
    assert spec.prompt == spec.system == ""
    assert spec.env == {
        "CI": "1",
        "OSTLER_LOOP": "night",
        "OSTLER_LOOP_NUMBER": "3",
        "OSTLER_LOOP_TICK": "4",
    }


def test_an_agent_is_told_in_its_prompt() -> None:
    """Its command line has a system prompt of its own."""
    work = TaskSpec(id="work", kind=TaskKind.AGENT, prompt="mend it", repo="barn")
    spec = step_spec(looped(work=work), RUN, 4_000)
    assert spec.system == ""
    assert spec.prompt.startswith("look around\n\nmend it\n\nYou are called again and again")
    assert spec.repo == "barn"


def test_a_prompt_says_what_is_kept_in_mind_and_what_was_said_before() -> None:
    """The newest last, and what the step before said."""
    loop = looped(working=WorkingState(objectives=("mend the roof",)), history=("first", "second"))
    prompt = step_spec(loop, msgspec.structs.replace(RUN, said="half done"), 4_000).prompt
    assert "Objectives:\n- mend the roof" in prompt
    assert prompt.endswith("What you said before, the newest last:\nfirst\n---\nsecond\n---\nhalf done")


@given(texts, texts, st.integers(200, 3_000))
def test_a_prompt_keeps_to_its_budget(history: tuple[str, ...], decisions: tuple[str, ...], tokens: int) -> None:
    """Old answers and what is kept in mind give way; the newest answer stays at least in part."""
    loop = looped(history=history, working=WorkingState(decisions=decisions))
    prompt = step_spec(loop, RUN, tokens).prompt
    assert usual(prompt) <= tokens + 80
    assert step_spec(loop, RUN, tokens).prompt == prompt, "the same step is the same task"


@given(texts, st.text(max_size=400))
def test_a_summary_is_asked_in_a_bounded_prompt_and_extracted_in_bounded_words(
    said: tuple[str, ...], before: str
) -> None:
    """For the cheapest tier that may; nothing depends on it."""
    job = Summarizing(at_tick=20, texts=said)
    loop = looped(working=WorkingState(summaries=(before,)) if before.strip() else WorkingState())
    spec = summary_spec(loop, job)
    assert (spec.id, spec.task_type, spec.tier, spec.optional) == ("loop-night-summary-20", "summarization", None, True)
    assert usual(spec.prompt) <= ROOM_TOKENS + 300
    assert usual(extract(loop, job)) <= SUMMARY_TOKENS
    assert extract(loop, job) == extract(loop, job)


def test_local_work_is_summarised_locally() -> None:
    """What must not leave the machine does not leave it for a summary either."""
    work = TaskSpec(id="work", prompt="x", local_only=True)
    assert summary_spec(looped(work=work), JOB).local_only
    assert "We decided on slate." in extract(looped(), JOB)
