"""`ostler agents list`, `show` and `check`: what a hub of this profile would know, with every mistake and its line."""

from pathlib import Path

import pytest

from ostler.app.agent_roles import check_agents, list_agents, show_agent
from ostler.domain.errors import NotFoundError, ProfileError

PROFILE = "extends: default\nagents:\n  folders: [agents]\n"


@pytest.fixture
def profile(tmp_path: Path) -> str:
    (tmp_path / "agents").mkdir()
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")
    return str(tmp_path / "ostler.yaml")


def write(profile: str, name: str, *lines: str) -> None:
    """A file of an agent with these lines as its head."""
    text = "\n".join(["---", *lines, "---", "Be good.", ""])
    (Path(profile).parent / "agents" / f"{name}.md").write_text(text, encoding="utf-8")


def test_agents_are_listed_with_what_their_model_comes_to(profile: str) -> None:
    """A tier with its models, which are of several providers; a model is itself with those behind it."""
    write(profile, "reviewer", "model: sonnet")
    write(profile, "writer", "model: claude-opus-5-5", "fallback: gpt-6-sol")
    write(profile, "helper")

    rows = {row.role.name: row for row in list_agents(profile).agents}

    assert list(rows) == ["helper", "reviewer", "writer"]
    assert rows["reviewer"].tier == "strong_cloud"
    assert len(rows["reviewer"].models) > 1
    assert (rows["writer"].tier, rows["writer"].models) == (None, ("claude-opus-5-5", "gpt-6-sol"))
    assert (rows["helper"].tier, rows["helper"].models) == (None, ())


def test_a_check_tells_every_mistake_of_every_file(profile: str) -> None:
    """With file and line; without any, what is there is told."""
    write(profile, "one", "modle: x")
    write(profile, "two", "", "model: sonet")
    write(profile, "three", "model: opus", "fallback: gpt-6-sol")

    with pytest.raises(ProfileError) as caught:
        check_agents(profile)

    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    assert "agents/one.md:2 modle: unknown setting" in told[0]
    assert "agents/three.md: fallback: the models of a tier are the tier's own" in told[1]
    assert "agents/two.md:3 model: neither a tier nor a model" in told[2]
    assert len(list_agents(profile).problems) == 3
    for name in ("one", "two", "three"):
        write(profile, name, "model: opus")
    assert len(check_agents(profile).agents) == 3


def test_one_agent_is_shown_or_told_of(profile: str) -> None:
    """By its name; the nearest one when there is no such; its mistakes when its file is refused."""
    write(profile, "reviewer", "model: local")
    write(profile, "broken", "modle: x")

    assert show_agent("reviewer", profile).tier == "local_strong"
    with pytest.raises(NotFoundError, match=r"no agent 'revewer'.*did you mean 'reviewer'"):
        show_agent("revewer", profile)
    with pytest.raises(ProfileError, match="unknown setting 'modle'"):
        show_agent("broken", profile)


def test_a_profile_without_folders_has_no_agents(tmp_path: Path) -> None:
    """And says what to set."""
    path = tmp_path / "ostler.yaml"
    path.write_text("extends: default\n", encoding="utf-8")

    assert list_agents(str(path)).agents == ()
    with pytest.raises(NotFoundError, match=r"set agents\.folders"):
        show_agent("reviewer", str(path))
