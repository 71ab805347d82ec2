"""What a message tells a user to type exists: verbs and options named in any text of the program."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ostler.cli.verbs import program

PACKAGE = Path(__file__).parents[2] / "src" / "ostler"
CALL = re.compile(r"[`']ostler ((?:[a-z-]+)(?: [^`']*)?)[`']")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module with their lines; what is filled in is `X`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield node.lineno, "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def named() -> Iterator[tuple[str, str]]:
    """Every command line that a text quotes, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for line, text in texts(path):
            for match in CALL.finditer(text):
                yield f"{path.relative_to(PACKAGE)}:{line}", match.group(1)


def unknown(words: list[str]) -> str:
    """The first word that names no verb, or no option of its verb; empty when all do."""
    command: click.Command = program()
    context = click.Context(command)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return words[0]
        command, words = found, words[1:]
        context = click.Context(command, parent=context)
    options = {name for parameter in command.get_params(context) for name in parameter.opts}
    return next((word for word in words if word.startswith("--") and word.split("=")[0] not in options), "")


def test_every_command_that_a_message_names_exists() -> None:
    """A remedy that cannot be typed is none."""
    calls = list(named())
    wrong = [(place, line) for place, line in calls if unknown(line.split())]

    assert wrong == []
    assert len(calls) > 40, "there are such texts"


@pytest.mark.parametrize(
    ("line", "word"), [("plna FILE", "plna"), ("plan --nwo", "--nwo"), ("config improt", "improt"), ("plan --now", "")]
)
def test_the_search_finds_what_does_not_exist(line: str, word: str) -> None:
    """Else the test above could not fail."""
    assert unknown(line.split()) == word
