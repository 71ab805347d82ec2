"""The version of a policy: equal settings have one, however they are written; other settings have another."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.config.document import read_document
from ostler.config.nodes import Member, Node
from tests.config.support import EVERYTHING, loaded

LADDER_PATH = ("routing", "tiers")


def written(node: Node, rng: random.Random, indent: int = 0, path: tuple[str, ...] = ()) -> str:
    """A tree as YAML again, keys shuffled wherever order means nothing, comments and blank lines strewn in."""
    assert isinstance(node.value, dict)
    members: list[tuple[str, Member]] = list(node.value.items())
    if path != LADDER_PATH:
        rng.shuffle(members)
    pad = "  " * indent
    text = ""
    for key, member in members:
        text += rng.choice(["", "\n", f"{pad}# a comment\n"])
        value = member.node.value
        if isinstance(value, dict):
            text += f"{pad}'{key}':\n" + written(member.node, rng, indent + 1, (*path, key))
        elif isinstance(value, list):
            text += f"{pad}{key}: [{', '.join(repr(item.value) for item in value)}]  # end\n"
        else:
            shown = repr(value) if isinstance(value, str) else str(value).lower()
            text += f"{pad}{key}: {shown}\n"
    return text


@settings(max_examples=25, deadline=None)
@given(st.integers())
def test_the_order_of_keys_and_comments_do_not_change_the_version(seed: int) -> None:
    """Sorting or commenting a profile is no change of policy."""
    text = EVERYTHING.replace("      rank: 1\n", "").replace("      rank: 2\n", "")
    shuffled = written(read_document(text, "f")[0], random.Random(seed))

    assert loaded(shuffled).policy.version == loaded(text).policy.version


def test_with_ranks_the_order_of_tiers_means_nothing() -> None:
    """Ranks, not places, are the ladder when they are written."""
    tiers = ["    a: {provider: ollama, model: m, rank: 1}\n", "    b: {provider: ollama, model: n, rank: 2}\n"]

    versions = {loaded("routing:\n  tiers:\n" + "".join(rows)).policy.version for rows in (tiers, tiers[::-1])}

    assert len(versions) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("wait: 7s", "wait: 7000ms"),
        ("wait: 7s", "wait_ms: 7000"),
        ("max_output_tokens: 1k", "max_output_tokens: 1024"),
        ("memory: 20GB", "memory: 20000MB"),
        ("name: everything", "name: another"),
        ("port: 8000", "port: 8001"),
    ],
)
def test_another_spelling_or_another_machine_keeps_the_version(before: str, after: str) -> None:
    """The version is of what decisions depend on, not of how it is said or where the hub listens."""
    assert before in EVERYTHING

    assert loaded(EVERYTHING.replace(before, after)).policy.version == loaded(EVERYTHING).policy.version


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("wait: 7s", "wait: 8s"),
        ("warm: 1.2", "warm: 1.3"),
        ("standard: large", "standard: small"),
        ("slots: 5", "slots: 6"),
        ("task_ttl: 20m", "task_ttl: 21m"),
        ("memory: 20GB", "memory: 20GiB"),
        ('models: [best, "small:7b"]', 'models: ["small:7b", best]'),
    ],
)
def test_another_setting_changes_the_version(before: str, after: str) -> None:
    """Whatever a decision depends on shows in the version."""
    assert before in EVERYTHING

    assert loaded(EVERYTHING.replace(before, after)).policy.version != loaded(EVERYTHING).policy.version
