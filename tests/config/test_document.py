"""YAML: everything that can be written is read by YAML 1.2 or refused with its line, never with a traceback."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostler.config.document import DEPTH_MAX, read_document
from ostler.config.nodes import Node
from ostler.domain.errors import ProfileError
from tests.config.support import EVERYTHING, problems


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(member.node) for key, member in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("012", 12),
        ("0x10", 16),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("~", None),
        ("", None),
        ("null", None),
        ("2026-02-01", "2026-02-01"),
        ("10:30", "10:30"),
        ("1_000", "1_000"),
        ("'7'", "7"),
        ('"true"', "true"),
        ("!!str 7", "7"),
        ("! 7", "7"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_yaml_1_2(written: str, value: object) -> None:
    """Numbers, truth values and nothing are those of the core schema; all else is text."""
    root, found = read_document(f"key: {written}\n", "f")

    assert (plain(root), found) == ({"key": value}, [])


def test_an_anchor_repeats_a_value() -> None:
    """An alias has the value of its anchor."""
    root, _ = read_document("a: &x {n: 1}\nb: *x\n", "f")

    assert plain(root) == {"a": {"n": 1}, "b": {"n": 1}}


def test_every_node_knows_its_line() -> None:
    """A key's place is the line of the key, an item's that of the item, comments and blank lines counted."""
    root, _ = read_document("# top\n\na:\n  b: 1\n  c:\n  # between\n  - x\n  - y\n", "f")
    assert isinstance(root.value, dict)
    a = root.value["a"].node.value
    assert isinstance(a, dict)
    c = a["c"].node.value
    assert isinstance(c, list)

    lines = [root.value["a"].place.line, a["b"].place.line, a["c"].place.line, *(item.place.line for item in c)]

    assert lines == [3, 4, 5, 7, 8]


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("", "ostler.yaml", "empty"),
        ("# only a comment\n", "ostler.yaml", "empty"),
        ("- a\n", "ostler.yaml:1", "mapping of sections"),
        ("just text\n", "ostler.yaml:1", "mapping of sections"),
        ("hub:\n\tport: 1\n", "ostler.yaml:2:1", "not YAML"),
        ("hub: {port: 1\n", "ostler.yaml:2:1", "not YAML"),
        ("hub:\n  a: b: c\n", "ostler.yaml:2:7", "not YAML"),
        ("a: 'open\n", "ostler.yaml:2:1", "not YAML"),
        ("hub: {port: \x00}\n", "ostler.yaml:1:13", "not YAML"),
        ("a: *gone\n", "ostler.yaml:1", "&gone"),
        ("a: &me [*me]\n", "ostler.yaml:1", "&me"),
        ("a: !!python/name:os.system x\n", "ostler.yaml:1", "no meaning"),
        ("? [a]\n: b\n", "ostler.yaml:1", "key must be text"),
        ("hub: {}\n---\nhub: {}\n", "ostler.yaml:2", "second document"),
        ("a: " + "[" * (DEPTH_MAX + 2), "ostler.yaml:1", "nested deeper"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(text: str, where: str, says: str) -> None:
    """What is no YAML, or more than a profile needs of it, is one clear mistake with line and remedy."""
    (problem,) = problems(text)

    assert (problem.where, says in problem.what) == (where, True), str(problem)


def test_a_key_given_twice_is_reported_with_both_lines() -> None:
    """Neither value silently wins."""
    (problem,) = problems("hub:\n  port: 1\n  host: a\n  port: 2\n")

    assert problem.where == "ostler.yaml:4"
    assert "'port' is given twice (first in line 2)" in problem.what


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,?~ \n\t0.\\<é\x07\u2028"), max_size=40))
@example("? ")
@example("%YAML 9.9\n---\na: 1")
@example("a: |9\n x")
def test_no_text_makes_a_traceback(text: str) -> None:
    """Whatever the text, it is read or refused with a `ProfileError`."""
    with contextlib.suppress(ProfileError):
        read_document(text, "f")


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=0, max_value=len(EVERYTHING) - 1), st.sampled_from("\x00\t:{[&*!'\"-#\n"))
def test_no_damage_to_a_profile_makes_a_traceback(at: int, character: str) -> None:
    """One character put anywhere into a whole profile leaves it valid or makes a list of mistakes."""
    assert isinstance(problems(EVERYTHING[:at] + character + EVERYTHING[at + 1 :]), tuple)
