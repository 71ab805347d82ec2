"""How files of other systems are taken apart: each kind of value, what is noted, what is refused, with its line."""

from collections.abc import Callable
from typing import Any

import pytest

from ostler.config.ccproxy import read_ccproxy
from ostler.config.foreign import Foreign, ForeignModel, Reader, bare, parse_foreign
from ostler.config.nodes import Member
from ostler.config.orchestra import read_orchestra

Take = Callable[[Reader, Member | None], Any]


def member(text: str) -> Member:
    """The value of `x` in a document."""
    root = parse_foreign(f"x: {text}", "f")
    assert isinstance(root.value, dict)
    return root.value["x"]


def refused(reader: Reader) -> list[str]:
    return [str(problem) for problem in reader.problems]


TAKEN: list[tuple[str, Take, str, Any]] = [
    ("a text", lambda reader, found: reader.text(found, "x"), "abc", "abc"),
    ("an empty text", lambda reader, found: reader.text(found, "x"), "", ""),
    ("texts", lambda reader, found: reader.texts(found, "x"), "[a, b]", ("a", "b")),
    ("one text for several", lambda reader, found: reader.texts(found, "x"), "a", ("a",)),
    ("a flag", lambda reader, found: reader.flag(found, "x", default=False), "true", True),
    ("a count", lambda reader, found: reader.count(found, "x"), "3", 3),
    ("a size", lambda reader, found: reader.size(found, "x"), "32GB", 32 * 10**9),
    ("a size in powers of two", lambda reader, found: reader.size(found, "x"), "32GiB", 32 * 2**30),
    ("tokens", lambda reader, found: reader.tokens(found, "x"), "128k", 131_072),
    ("plain tokens", lambda reader, found: reader.tokens(found, "x"), "4096", 4096),
    ("a choice", lambda reader, found: reader.choice(found, "x", ("low", "high")), "low", "low"),
]


@pytest.mark.parametrize(("take", "text", "value"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_each_kind_of_value_is_taken(take: Take, text: str, value: object) -> None:
    """As it is written, with nothing to say about it."""
    reader = Reader()

    assert take(reader, member(text)) == value
    assert (refused(reader), reader.notes) == ([], [])


@pytest.mark.parametrize("take", [row[1] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_what_is_not_there_is_no_mistake(take: Take) -> None:
    """Every field of these files may be missing, as far as reading goes."""
    reader = Reader()

    assert take(reader, None) in ("", (), None, False)
    assert refused(reader) == []


WRONG: list[tuple[str, Take, str, str]] = [
    ("a text", TAKEN[0][1], "3", "f:1 x: expected a text"),
    ("texts", TAKEN[2][1], "{a: b}", "f:1 x: expected a list"),
    ("a text among texts", TAKEN[2][1], "[a, 3]", "f:1 x: expected a text"),
    ("a flag", TAKEN[4][1], "yes", "f:1 x: expected true or false"),
    ("a count", TAKEN[5][1], "0", "f:1 x: expected a whole number from 1 up"),
    ("a count that is a flag", TAKEN[5][1], "true", "f:1 x: expected a whole number from 1 up"),
    ("a size", TAKEN[6][1], "32", "f:1 x: expected a size with its unit, such as 32GB"),
    ("a size that is a list", TAKEN[6][1], "[32GB]", "f:1 x: expected a size with its unit, such as 32GB"),
    ("tokens", TAKEN[8][1], "many", "f:1 x: expected a number of tokens, such as 128k"),
    ("a choice", TAKEN[10][1], "lo", "f:1 x: 'lo' is no valid choice (did you mean 'low'?)"),
]


@pytest.mark.parametrize(("take", "text", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_value_is_refused_with_its_line(take: Take, text: str, message: str) -> None:
    """And gives nothing, so that reading goes on."""
    reader = Reader()
    take(reader, member(text))

    assert refused(reader) == [message]


def test_unknown_members_are_noted_and_left_out() -> None:
    """Where they stand; a mapping of free names has none that are unknown."""
    reader = Reader()
    node = member("{a: 1, b: 2}").node

    assert list(reader.mapping(node, "x", ("a",))) == ["a"]
    assert list(reader.mapping(node, "x", ())) == ["a", "b"]
    assert list(reader.mapping(None, "x", ("a",))) == []
    assert reader.notes == ["f:1 x.b: not taken over, nothing here means this"]


def test_a_model_has_one_bare_name() -> None:
    """Only the proxy's own prefix is taken off, and only once."""
    assert [bare(name) for name in ("ollama/a:7b", "a:7b", "org/a", "ollama/ollama/a")] == [
        "a:7b",
        "a:7b",
        "org/a",
        "ollama/a",
    ]


def test_an_endpoint_serves_what_its_names_mean() -> None:
    """Short names and aliases of one model come together, in their order; models of two endpoints stay apart."""
    reader = Reader()
    text = (
        '{"llmRouting": {"endpoints": {'
        '"one": {"url": "http://a", "models": {"fast": "m"}, "aliases": {"gpt": "m", "big": "n"}},'
        '"two": {"url": "http://b", "models": {"other": "o"}}}}}'
    )
    found = read_orchestra(parse_foreign(text, "f"), reader)

    assert [(endpoint.name, endpoint.models) for endpoint in found.endpoints] == [("one", ("m", "n")), ("two", ("o",))]
    assert [(model.name, model.aliases) for model in found.models] == [
        ("m", ("fast", "gpt")),
        ("n", ("big",)),
        ("o", ("other",)),
    ]
    assert refused(reader) == []


def test_an_empty_file_of_either_kind_says_nothing() -> None:
    """The sections may be there without anything in them."""
    reader = Reader()

    assert read_orchestra(parse_foreign('{"pipelineMode": {}, "llmRouting": {}}', "f"), reader) == Foreign()
    assert read_ccproxy(parse_foreign("models: {}\nmemory_management: {}\n", "f"), reader) == Foreign()
    assert (refused(reader), reader.notes) == ([], [])


def test_a_model_of_a_proxy_keeps_all_that_is_said_of_it() -> None:
    """Name, aliases, memory, window, priority."""
    reader = Reader()
    text = "models: {available: [{name: a, alias: b, memory: 8GB, context: 32k, priority: low}]}"
    (model,) = read_ccproxy(parse_foreign(text, "f"), reader).models

    assert model == ForeignModel(
        name="a", aliases=("b",), memory_bytes=8 * 10**9, context_tokens=32 * 1024, priority="low"
    )
