"""Tasks that name an agent: what they leave open is filled in, what they say themselves counts."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.config.load import load_profile
from ostler.domain.agents import AGENT_TOOLS, AgentRole, AgentShelf
from ostler.domain.errors import InvalidInputError, Problem
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.roles import RoleDesk, with_role

POLICY = load_profile("default", {}).policy
ROLE = AgentRole(
    name="reviewer",
    place="agents/reviewer.md",
    prompt="You review.",
    role="quality",
    model="sonnet",
    tools=("read", "grep"),
    runner="claude",
    task_type="code-review",
    context_tokens=50_000,
    max_output_tokens=900,
    timeout_s=60.0,
)
SPEC = TaskSpec(id="t", kind=TaskKind.AGENT, prompt="Look at it.", agent="reviewer")


def taken_on(spec: TaskSpec, shelf: AgentShelf) -> TaskSpec:
    """The task as the desk makes it."""
    desk = RoleDesk()
    desk.read = lambda: shelf
    (made,) = asyncio.run(desk.taken_on([spec], POLICY))
    return made


def test_what_a_task_leaves_open_is_filled_in() -> None:
    """All of it; the name of a tier stays a name, so that it is resolved when the task is dispatched."""
    made = taken_on(SPEC, AgentShelf(roles={"reviewer": ROLE}))

    assert (made.tier, made.model) == ("sonnet", None)
    assert (made.system, made.prompt) == ("You review.", "Look at it.")
    assert (made.role, made.tools, made.runner) == ("quality", ("read", "grep"), "claude")
    assert (made.task_type, made.context_tokens, made.max_output_tokens) == ("code-review", 50_000, 900)
    assert (made.timeout_s, made.agent) == (60.0, "reviewer")


@pytest.mark.parametrize("model", ["claude-opus-5-5", "qwen2.5:7b"])
def test_a_role_may_name_a_model_with_others_behind_it(model: str) -> None:
    """It is pinned, as if the task had named it."""
    role = replace(ROLE, model=model, fallback_models=("llama3:70b",))

    made = with_role(SPEC, role, POLICY)

    assert (made.tier, made.model, made.fallback_models) == (None, model, ("llama3:70b",))


@pytest.mark.parametrize("own", [{"tier": "opus"}, {"model": "qwen2.5:7b"}])
def test_a_task_that_says_where_it_runs_does(own: dict[str, str]) -> None:
    """The role's model is not asked for, not even whether there is such a one."""
    role = replace(ROLE, model="gone")
    spec = replace(SPEC, **own)

    made = taken_on(spec, AgentShelf(roles={"reviewer": role}))

    assert (made.tier, made.model) == (spec.tier, spec.model)


def test_the_word_of_the_role_comes_first_and_that_of_the_task_after_it() -> None:
    """Both are told to the model."""
    assert with_role(replace(SPEC, system="Be short."), ROLE, POLICY).system == "You review.\n\nBe short."


@pytest.mark.parametrize(
    ("spec", "shelf", "told"),
    [
        (SPEC, AgentShelf(), "task t, agent: there is no agent 'reviewer' (the hub has no agents: set agents.folders)"),
        (
            replace(SPEC, agent="revewer"),
            AgentShelf(roles={"reviewer": ROLE}),
            "task t, agent: there is no agent 'revewer' (did you mean 'reviewer'?)",
        ),
        (
            SPEC,
            AgentShelf(problems={"reviewer": (Problem("unknown setting", where="a.md:2"),)}),
            "task t, agent: the file of agent 'reviewer' is refused: a.md:2: unknown setting (correct it)",
        ),
        (
            SPEC,
            AgentShelf(roles={"reviewer": replace(ROLE, model="sonet", model_place="a.md:3")}),
            (
                "task t, agent: a.md:3 model: neither a tier nor a model of the profile is called 'sonet'"
                " (did you mean 'sonnet'?)"
            ),
        ),
        (
            replace(SPEC, kind=TaskKind.COMMAND, argv=("make",)),
            AgentShelf(roles={"reviewer": ROLE}),
            "task t, agent: a command takes on no role (leave agent out, or make it a task of kind agent or chat)",
        ),
    ],
)
def test_a_role_that_cannot_be_taken_on_is_told_with_what_to_do(spec: TaskSpec, shelf: AgentShelf, told: str) -> None:
    """Nothing is accepted then."""
    with pytest.raises(InvalidInputError) as caught:
        taken_on(spec, shelf)

    assert str(caught.value) == told


def test_no_file_is_looked_at_for_tasks_that_name_none() -> None:
    """Most name none."""
    desk = RoleDesk()
    desk.read = lambda: pytest.fail("the files were read")
    specs = [replace(SPEC, agent=None)]

    assert asyncio.run(desk.taken_on(specs, POLICY)) is specs


@given(
    st.none() | st.sampled_from(["T2", "opus"]),
    st.none() | st.just("work"),
    st.sets(st.sampled_from(AGENT_TOOLS), max_size=3),
    st.none() | st.integers(1, 10_000),
    st.booleans(),
)
def test_what_a_task_says_itself_is_never_changed(
    tier: str | None, role: str | None, tools: set[str], context_tokens: int | None, local_only: bool
) -> None:
    """Whatever it says, and twice is the same as once but for the prompt of the role."""
    spec = replace(
        SPEC, tier=tier, role=role, tools=tuple(sorted(tools)), context_tokens=context_tokens, local_only=local_only
    )

    made = with_role(spec, ROLE, POLICY)

    assert tier is None or made.tier == tier
    assert role is None or made.role == role
    assert not tools or made.tools == spec.tools
    assert context_tokens is None or made.context_tokens == context_tokens
    assert made.local_only is local_only
    assert replace(with_role(made, ROLE, POLICY), system="") == replace(made, system="")
