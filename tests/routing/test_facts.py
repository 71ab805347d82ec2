"""Facts of a task: names resolved, lengths estimated, impossible tasks refused with the way out."""

import pytest

from ostler.domain.catalog import DIRECT, Capability
from ostler.domain.errors import InvalidInputError
from ostler.domain.talk import Message
from ostler.domain.tasks import Complexity, TaskFacts, TaskKind, TaskSpec
from ostler.learning.kinds import learn_kinds
from ostler.routing.facts import AGENT_CONTEXT_TOKENS, describe, estimate_tokens
from ostler.routing.signature import signature
from tests.routing.fleets import CHEAP, FOUR_TIERS, SMALL, THREE_TIERS, endpoint, with_routing

POLICY = FOUR_TIERS


def chat(**fields: object) -> TaskSpec:
    from msgspec.structs import replace

    return replace(TaskSpec(id="t", prompt="hello world"), **fields)


def described(**fields: object) -> TaskFacts:
    return describe(chat(**fields), POLICY)


@pytest.mark.parametrize(
    ("model", "tier", "expected_model", "expected_tier"),
    [
        (None, None, None, None),
        ("auto", None, None, None),
        ("auto", "T1", None, "T1"),
        (None, "local_strong", None, "T1"),
        ("tier:cheap_cloud", None, None, "T2"),
        ("cheap_cloud", None, None, "T2"),
        ("cheap_cloud", "T2", None, "T2"),
        (SMALL.name, None, SMALL.name, None),
        (f"{SMALL.name}:latest", None, SMALL.name, None),
        ("ds", None, CHEAP.name, None),
        ("phi3:latest", None, "phi3", None),
        (SMALL.name, "T0", SMALL.name, "T0"),
    ],
)
def test_model_and_tier_are_resolved(
    model: str | None, tier: str | None, expected_model: str | None, expected_tier: str | None
) -> None:
    """`model` may be a model, its alias, another spelling, a tier, `tier:NAME` or `auto`; facts hold the own names."""
    found = described(model=model, tier=tier)
    assert (found.model, found.tier) == (expected_model, expected_tier)


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"tier": "T7"}, "tier", "no tier 'T7'"),
        ({"tier": "local_chep"}, "tier", "did you mean 'local_cheap'"),
        ({"model": "tier:sonet"}, "model", "no tier 'sonet'"),
        ({"model": "tier:T2", "tier": "T1"}, "model", "give one of the two"),
        ({"endpoint": "gpu9"}, "endpoint", "no endpoint 'gpu9'"),
        ({"prompt": "  "}, "prompt", "needs a prompt"),
        ({"prompt": "", "kind": TaskKind.AGENT}, "prompt", "kind 'agent' needs a prompt"),
        ({"kind": TaskKind.COMMAND}, "argv", "a command needs argv"),
        ({"kind": TaskKind.COMMAND, "argv": ("ls",), "model": "ds"}, "model", "a command uses no model"),
        ({"kind": TaskKind.COMMAND, "argv": ("ls",), "endpoint": "x"}, "endpoint", "a command uses no endpoint"),
        ({"kind": TaskKind.COMMAND, "argv": ("ls",), "tier": "T1"}, "tier", "no tier but 'direct'"),
        ({"tier": DIRECT}, "tier", "there is none"),
        ({"talk": (Message(role="usr", text="x"),)}, "talk[0].role", "'usr' is no role"),
        ({"talk": (Message(role="user", text=" "),)}, "talk[0].text", "is empty"),
        ({"talk": (Message(role="user", text="x"),), "kind": TaskKind.AGENT}, "talk", "kind 'agent' takes no talk"),
    ],
)
def test_what_cannot_run_is_refused(fields: dict[str, object], where: str, says: str) -> None:
    """Each refusal names the field, what is wrong and what to do."""
    with pytest.raises(InvalidInputError) as error:
        described(**fields)
    assert error.value.where == where
    assert says in str(error.value)
    assert error.value.remedy


def test_endpoints_are_known_from_the_profile_or_by_registration() -> None:
    """A pinned endpoint must exist in one of the two."""
    from msgspec.structs import replace

    profile = replace(POLICY, catalog=replace(POLICY.catalog, endpoints={"gpu1": endpoint("gpu1")}))
    assert describe(chat(endpoint="gpu1"), profile).endpoint == "gpu1"
    assert describe(chat(endpoint="gpu2"), profile, endpoints={"gpu2"}).endpoint == "gpu2"


def test_commands_and_direct_need_no_prompt_only_argv() -> None:
    """A command is complete with argv; a chat may carry one too, and then run without a model."""
    command = describe(TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("make", "lint")), POLICY)
    assert command.has_command
    assert (command.prompt_tokens, command.context_tokens) == (0, 0)
    assert described(argv=("make",), tier=DIRECT).tier == DIRECT


def test_an_agent_needs_tools_and_a_window_to_keep_them_in() -> None:
    """In a small window its program forgets the tools and only talks, without an error; a stated window is taken as it
    is, a long prompt asks for more.
    """
    assert described(kind=TaskKind.AGENT).context_tokens == AGENT_CONTEXT_TOKENS
    assert described(kind=TaskKind.AGENT, context_tokens=16_000).context_tokens == 16_000
    assert described(kind=TaskKind.AGENT, prompt="x" * 400_000).context_tokens > 100_000
    assert described(kind=TaskKind.AGENT).capabilities == {Capability.TOOLS}
    assert described().capabilities == frozenset()


def test_an_agent_that_names_its_program_requires_it() -> None:
    """Of its worker, by the capability that workers offer for it; other work has no use for the name."""
    assert described(kind=TaskKind.AGENT, runner="claude", requires=frozenset({"gpu"})).requires == {
        "gpu",
        "agent:claude",
    }
    assert described(kind=TaskKind.AGENT).requires == frozenset()
    assert described(runner="claude").requires == frozenset()


def test_lengths_are_estimated_with_the_system_prompt() -> None:
    """Tokens are characters / 4, rounded up; the window holds prompt and answer."""
    policy = with_routing(POLICY, default_output_tokens=400)
    found = describe(chat(prompt="x" * 401, system="y" * 40), policy)
    assert estimate_tokens("x" * 401) == 101
    assert (found.prompt_tokens, found.output_tokens, found.context_tokens) == (111, None, 511)


@pytest.mark.parametrize(
    ("asked", "stated", "output", "window"),
    [(None, None, None, 403), (100, None, 100, 103), (4_096, None, None, 4_099), (100, 9_000, 100, 9_000)],
)
def test_an_asked_limit_makes_room_but_is_no_expectation(
    asked: int | None, stated: int | None, output: int | None, window: int
) -> None:
    """A limit above the usual length widens the window only; a stated window is taken as it is."""
    found = described(max_output_tokens=asked, context_tokens=stated)
    assert (found.output_tokens, found.context_tokens) == (output, window)


def test_everything_routing_needs_is_carried_over() -> None:
    """What filters and matching read comes from the spec unchanged; errors are kept as signatures."""
    found = described(
        local_only=True,
        capabilities=frozenset({Capability.TOOLS}),
        requires=frozenset({"docker"}),
        worker="w1",
        repo="ostler",
        critical=True,
        batch="b",
        recent_errors=("exit 1 at 10:22", "exit 2 at 10:23"),
        complexity=Complexity.COMPLEX,
        task_type="docs",
    )
    assert found.local_only
    assert found.critical
    assert (found.capabilities, found.requires) == (frozenset({"tools"}), frozenset({"docker"}))
    assert (found.worker, found.repo, found.batch) == ("w1", "ostler", "b")
    assert found.recent_errors == (signature("exit 1 at 10:22"),) * 2
    assert (found.classification.complexity, found.classification.task_type) == (Complexity.COMPLEX, "docs")


def test_type_ties_follow_the_profiles_minimums_and_overrides() -> None:
    """Where two kinds of work have equally many words, the one the profile sends higher wins."""
    prompt = "debug the plan"
    assert describe(chat(prompt=prompt), POLICY).classification.task_type == "coding"
    higher = with_routing(POLICY, task_overrides={"planning": "T3"})
    assert describe(chat(prompt=prompt), higher).classification.task_type == "planning"
    assert describe(chat(prompt=prompt), THREE_TIERS).classification.task_type == "coding"


def test_a_model_that_stands_in_may_be_named_by_its_tier() -> None:
    """A tier's name means its models, in their order; a model's own name or alias goes first."""
    spec = TaskSpec(id="t", prompt="hello", model="qwen2.5:7b", fallback_models=("ds", "T3", "nobody"))

    assert describe(spec, FOUR_TIERS).fallback_models == ("deepseek-chat", "gpt-5.2", "nobody")


def test_what_was_said_before_is_read_too() -> None:
    """Its length counts towards prompt and window, as the same words in the prompt do."""
    before = Message(role="user", text="a horse " * 400)
    long, short = described(talk=(before,)), described()

    assert long.prompt_tokens == short.prompt_tokens + estimate_tokens(before.text)
    assert long.context_tokens == short.context_tokens + estimate_tokens(before.text)


READER = learn_kinds(
    [("docs", "describe all settings in the manual"), ("bugfix", "the editor crashes, fix it")]
).reader()


def test_what_is_said_of_a_command_is_not_compared_with_texts() -> None:
    """No model reads it; the words in the tables and what is stated hold for it as for any."""
    said = "describe all settings of the editor in the manual"
    read = describe(chat(prompt=said), POLICY, reader=READER).classification
    run = chat(prompt=said, kind=TaskKind.COMMAND, argv=("make", "docs"))
    command = describe(run, POLICY, reader=READER).classification
    assert (read.task_type, read.type_source) == ("docs", "learned")
    assert command == describe(run, POLICY).classification
    assert command.type_source != "learned"


def test_minimums_of_a_changed_profile_hold_at_once() -> None:
    """The order of types is kept for each profile by itself, however many come after one another."""
    tied = "plan what to recall"
    ends = (("planning", "memory_ops"), ("memory_ops", "planning"))
    for high, low in ends * 10:
        rules = with_routing(FOUR_TIERS, type_minimums={high: "T3", low: "T0"})
        assert describe(chat(prompt=tied), rules).classification.task_type == high
