"""`ostler agents list`, `show` and `check` as a person reads them; no hub runs."""

from pathlib import Path

import msgspec
import pytest

from ostler.app.options import AgentList, AgentRow
from ostler.domain.errors import ExitCode
from tests.cli.conftest import Ostler

REVIEWER = """\
---
description: Reads code
model: sonnet
role: quality
tools: Read, Grep
runner: claude
type: code-review
context: 64k
max_output: 900
timeout: 90s
local_only: true
color: red
---
You review.

Be short.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of agents that the profile here names."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "ostler.yaml").write_text("extends: default\nagents: {folders: [agents]}\n", encoding="utf-8")
    (tmp_path / "agents" / "reviewer.md").write_text(REVIEWER, encoding="utf-8")
    return tmp_path / "agents"


def test_the_list_tells_what_each_name_comes_to(ostler: Ostler, folder: Path) -> None:
    """Its tier on the ladder and the models of it; files that are refused come after it."""
    (folder / "bad.md").write_text("---\nmodle: x\n---\n", encoding="utf-8")

    result = ostler("agents", "list")

    assert result.code == ExitCode.OK
    head, row, refused = result.out.splitlines()
    assert head.split() == ["NAME", "MODEL", "RUNNER", "TOOLS", "DESCRIPTION"]
    assert row.startswith("reviewer  sonnet = tier strong_cloud (claude-sonnet")
    assert "claude" in row
    assert "read, grep" in row
    assert refused.startswith("refused: ")
    assert "bad.md:2 modle: unknown setting 'modle' (did you mean 'model'?)" in refused
    data = msgspec.json.decode(ostler("agents", "list", "--json").out, type=AgentList)
    assert [one.role.name for one in data.agents] == ["reviewer"]
    assert len(data.problems) == 1


def test_without_agents_the_list_says_what_to_set(ostler: Ostler, tmp_path: Path) -> None:
    """No folders in the profile, or nothing in them."""
    assert ostler("agents", "list").out == "no agents: set agents.folders in the profile\n"

    (tmp_path / "none").mkdir()
    (tmp_path / "ostler.yaml").write_text("extends: default\nagents: {folders: [none]}\n", encoding="utf-8")
    assert ostler("agents", "list").out == "no agents\n"


def test_an_agent_is_shown_whole(ostler: Ostler, folder: Path) -> None:
    """Every line that says something, then the prompt as it stands."""
    result = ostler("agents", "show", "reviewer")

    facts, _, prompt = result.out.partition("\n\n")
    told = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in facts.splitlines()}
    assert told["file"] == str(folder / "reviewer.md")
    assert told["description"] == "Reads code"
    assert (told["role"], told["runner"], told["tools"]) == ("quality", "claude", "read, grep")
    assert (told["type"], told["context"], told["max output"]) == ("code-review", "65536", "900")
    assert (told["local only"], told["passed over"]) == ("yes", "`color` changes nothing here")
    assert told["timeout"] == "1 min 30 s"
    assert prompt == "You review.\n\nBe short.\n"
    data = msgspec.json.decode(ostler("agents", "show", "reviewer", "--json").out, type=AgentRow)
    assert (data.role.name, data.tier) == ("reviewer", "strong_cloud")


def test_an_unknown_agent_is_told_with_the_nearest_one(ostler: Ostler, folder: Path) -> None:
    """Refused, exit code 4."""
    result = ostler("agents", "show", "revewer")

    assert result.code == ExitCode.REFUSED
    assert result.err == "ostler: there is no agent 'revewer' (did you mean 'reviewer'?)\n"


def test_a_check_ends_with_2_when_a_file_is_wrong(ostler: Ostler, folder: Path) -> None:
    """Each mistake on a line of its own, with file and line; when all are good it says so, and what was passed over."""
    (folder / "README.md").write_text("# Agents\n", encoding="utf-8")
    (folder / "bad.md").write_text("---\nmodel: sonet\ntimeout: 5\n---\n", encoding="utf-8")

    bad = ostler("agents", "check")
    (folder / "bad.md").write_text("---\nmodel: opus\n---\n", encoding="utf-8")
    good = ostler("agents", "check")

    assert bad.code == ExitCode.USAGE
    assert "bad.md:3 timeout: 5 has no unit" in bad.err
    assert good.code == ExitCode.OK
    assert good.out.splitlines() == [
        f"2 agents in {folder}: all good",
        f"{folder / 'reviewer.md'}: `color` changes nothing here",
        f"{folder / 'README.md'}: passed over, it begins with no line of ---",
    ]
    assert len(msgspec.json.decode(ostler("agents", "check", "--json").out, type=AgentList).agents) == 2
