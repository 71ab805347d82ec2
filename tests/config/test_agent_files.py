"""Agents from Markdown files: what the head says is read, every slip is told with its line, nothing else is guessed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.config.agent_files import parse_agent, read_agents
from ostler.config.load import load_profile
from ostler.domain.agents import AGENT_TOOLS, AgentRole
from ostler.domain.errors import Problem, ProfileError
from ostler.hub.roles import check_model

REVIEWER = """\
---
name: reviewer
description: Reads code
role: quality
model: sonnet
tools: Read, Grep, Bash
runner: opencode
type: code-review
context: 64k
max_output: 4000
timeout: 15m
local_only: true
---

You are a careful reviewer.

Say what is wrong.
"""


def parsed(text: str, name: str = "agents/reviewer.md") -> AgentRole:
    """The agent of this text."""
    role = parse_agent(text.encode(), name)
    assert role is not None
    return role


def mistakes(text: str) -> list[str]:
    """What is told of this text."""
    with pytest.raises(ProfileError) as caught:
        parse_agent(text.encode(), "a.md")
    return [str(problem) for problem in caught.value.problems]


def problems_of(text: str) -> tuple[Problem, ...]:
    """What is wrong with a text; nothing for an agent and for what is none."""
    try:
        parse_agent(text.encode(), "a.md")
    except ProfileError as error:
        return error.problems
    return ()


def head(*lines: str) -> str:
    """A file with these lines as its head."""
    return "\n".join(["---", *lines, "---", "Be good.", ""])


def test_a_file_says_who_the_agent_is() -> None:
    """Each key by its own unit; what comes after the head is the prompt, as it stands."""
    role = parsed(REVIEWER)

    assert (role.name, role.description, role.role) == ("reviewer", "Reads code", "quality")
    assert (role.model, role.runner, role.task_type) == ("sonnet", "opencode", "code-review")
    assert role.tools == ("read", "grep", "bash")
    assert (role.context_tokens, role.max_output_tokens, role.timeout_s) == (65_536, 4_000, 900.0)
    assert role.local_only
    assert role.prompt == "You are a careful reviewer.\n\nSay what is wrong."
    assert (role.place, role.model_place) == ("agents/reviewer.md", "agents/reviewer.md:5")


def test_what_a_file_leaves_out_is_left_open() -> None:
    """Its name is the file's; an empty head is one too; `inherit` is what other tools write for nothing."""
    for text in (head(), head("# nothing yet"), head("model: inherit")):
        assert parsed(text) == AgentRole(
            name="reviewer", place="agents/reviewer.md", prompt="Be good.", model_place=parsed(text).model_place
        )


@pytest.mark.parametrize("text", ["", "# Notes\n", "hello\n---\nmodel: opus\n---\n", "----\n"])
def test_a_file_without_a_head_is_no_agent(text: str) -> None:
    """A README beside them is passed over."""
    assert parse_agent(text.encode(), "README.md") is None


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["modle: opus"], "a.md:2 modle: unknown setting 'modle' (did you mean 'model'?)"),
        (["# why", "timeout: 5"], "a.md:3 timeout: 5 has no unit (write 5s or 5ms)"),
        (["tools: [read, wriet]"], "a.md:2 tools: there is no tool 'wriet' (did you mean 'write'?)"),
        (["tools: Bash(git:*)"], "a.md:2 tools: 'Bash(git:*)' is narrower than a tool (write bash)"),
        (["runner: opencod"], "a.md:2 runner: there is no agent command line 'opencod' (did you mean 'opencode'?)"),
        (["local_only: maybe"], "a.md:2 local_only: expected true or false, got 'maybe' (write true or false)"),
        (["name: two words"], "a.md:2 name: 'two words' is no name (letters, digits and hyphens, without spaces)"),
        (["model: [a, b]"], "a.md:2 model: expected text, got a list (write one word or a text in quotes)"),
        (["context: -1"], "a.md:2 context: -1 is negative (at least 1)"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(lines: list[str], told: str) -> None:
    """The line of the file, not of its head."""
    assert mistakes(head(*lines)) == [told]


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    """In the order of the file."""
    found = mistakes(head("modle: opus", "timeout: 5", "runner: opencod"))

    assert [line.split(" ", 1)[0] for line in found] == ["a.md:2", "a.md:3", "a.md:4"]


def test_a_head_that_is_no_yaml_or_has_no_end_is_told() -> None:
    """With the line that is wrong."""
    assert "not YAML" in mistakes(head("model: [", "x: y"))[0]
    assert mistakes(head("- model")) == ["a.md:2: the head is no mapping (write `name: value` lines)"]
    assert mistakes("---\nmodel: opus\n") == [
        "a.md:1: the head has no end (write a line of `---` between it and the prompt)"
    ]


def test_keys_of_other_tools_are_noted_and_change_nothing() -> None:
    """Files that are there for Claude Code or opencode can stay as they are."""
    role = parsed(head("color: red", "mode: subagent", "model: opus"))

    assert role.notes == ("`color` changes nothing here", "`mode` changes nothing here")
    assert role.model == "opus"


@pytest.mark.parametrize(
    ("written", "tools"),
    [
        ("Read, MultiEdit, TodoWrite", ("read", "edit", "todo")),
        ("[bash, READ]", ("read", "bash")),
        ("{write: false, edit: false}", tuple(tool for tool in AGENT_TOOLS if tool not in ("write", "edit"))),
        ("[]", ()),
    ],
)
def test_tools_are_written_as_each_tool_writes_them(written: str, tools: tuple[str, ...]) -> None:
    """With commas, as a list, or as what is taken away; by the names of any of the programs."""
    assert parsed(head(f"tools: {written}")).tools == tools


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    """It is an agent, none, or refused with the place."""
    for whole in (text, f"---\n{text}", f"---\n{text}\n---\n{text}"):
        assert all(problem.where.startswith("a.md") for problem in problems_of(whole))


def test_folders_are_searched_and_the_first_of_a_name_counts(tmp_path: Path) -> None:
    """Folders in them too; what is wrong with one file is no harm to another."""
    for name, text in {
        "one/reviewer.md": head("model: opus"),
        "one/deep/tester.md": head(),
        "one/README.md": "# Notes",
        "one/bad.md": head("modle: x"),
        "two/reviewer.md": head(),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    shelf = read_agents([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "moon")])

    assert sorted(shelf.roles) == ["reviewer", "tester"]
    assert shelf.roles["reviewer"].model == "opus"
    assert set(shelf.problems) == {"bad", "reviewer", str(tmp_path / "moon")}
    assert "is in" in shelf.problems["reviewer"][0].what
    assert shelf.passed_over == (str(tmp_path / "one" / "README.md"),)


def test_a_model_is_a_tier_an_alias_or_a_model_of_the_profile() -> None:
    """Anything else is told with the nearest name."""
    policy = load_profile("default", {}).policy

    for model in ("sonnet", "opus", "haiku", "local", "strong_cloud", "claude-sonnet-5-5", "qwen2.5:7b"):
        assert check_model(parsed(head(f"model: '{model}'")), policy) is None, model
    wrong = check_model(parsed(head("", "model: sonet")), policy)
    assert str(wrong) == (
        "agents/reviewer.md:3 model: neither a tier nor a model of the profile is called 'sonet'"
        " (did you mean 'sonnet'?)"
    )
