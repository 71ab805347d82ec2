"""What is shown can be written: the effective settings of any profile, put into a file, are that profile again."""

import re

import pytest

from ostler.config.load import load_profile
from ostler.config.settings import LoadedProfile
from ostler.config.show import effective_settings
from ostler.config.sources import built_in_names
from tests.config.support import EVERYTHING, HOME, loaded

NESTED = dict[str, "NESTED | str"]


def written(profile: LoadedProfile) -> str:
    """A profile that says everything that is shown, and nothing else."""
    tree: NESTED = {}
    for row in effective_settings(profile):
        section = tree
        for key in row.path[:-1]:
            below = section.setdefault(key, {})
            assert isinstance(below, dict)
            section = below
        section[row.path[-1]] = row.value
    return as_yaml(tree)


def as_yaml(tree: NESTED, indent: int = 0) -> str:
    pad = "  " * indent
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(f"{pad}'{key}':\n{as_yaml(value, indent + 1)}")
        else:
            lines.append(f"{pad}'{key}': {quoted(value)}\n")
    return "".join(lines)


def quoted(value: str) -> str:
    """Lists stay lists with quoted items; `*` and `~` mean something to YAML."""
    if value.startswith("["):
        items = [item for item in value[1:-1].split(", ") if item]
        return "[" + ", ".join(f"'{item}'" for item in items) + "]"
    return value


def profiles() -> list[LoadedProfile]:
    return [loaded(EVERYTHING), *(load_profile(name, {"HOME": HOME}) for name in built_in_names())]


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.policy.profile)
def test_the_shown_settings_are_the_profile(profile: LoadedProfile) -> None:
    """Policy, version, worker, hub, budget, context and loop are the same again."""
    again = loaded(written(profile))

    assert again.policy == profile.policy
    assert (again.worker, again.hub, again.budget) == (profile.worker, profile.hub, profile.budget)
    assert (again.context, again.agi_loop) == (profile.context, profile.agi_loop)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.policy.profile)
def test_the_origin_of_what_was_written_is_its_line(profile: LoadedProfile) -> None:
    """In a profile that says everything, every row's origin is a line, and that line holds the row's value."""
    text = written(profile)
    lines = text.splitlines()

    for row in effective_settings(loaded(text)):
        match = re.fullmatch(r"ostler\.yaml:(\d+)", row.origin)
        assert match, row
        assert lines[int(match[1]) - 1].strip() == f"'{row.path[-1]}': {quoted(row.value)}"
