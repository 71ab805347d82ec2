"""Help and documentation cover every verb and every option there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ostler.cli.verbs import VERBS, program
from ostler.domain.errors import ExitCode
from ostler.domain.fleet import ProbeStatus
from tests.cli.conftest import Ostler

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
STAY = {"up", "worker", "simulate-host", "simulate-cloud"}
"""Verbs that stay and print for people only."""


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the tree, with the words that call it."""
    top = program()
    context = click.Context(top)
    for name in top.list_commands(context):
        command = top.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, inner), command.commands[inner]) for inner in command.commands)


COMMANDS = list(commands())
IDS = [" ".join(words) for words, _ in COMMANDS]
LEAVES = [(words, command) for words, command in COMMANDS if not isinstance(command, click.Group)]


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=IDS)
def test_every_help_has_an_example(ostler: Ostler, words: tuple[str, ...], command: click.Command) -> None:
    """`--help` of each verb says what it does and shows how it is called."""
    code, out, err = ostler(*words, "--help")

    assert (code, err) == (0, "")
    example = out.partition("Example:\n")[2]
    assert f"ostler {' '.join(words)}" in example
    assert command.help


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_every_verb_that_prints_data_can_print_json(words: tuple[str, ...], command: click.Command) -> None:
    """Only the verbs that stay have no `--json`."""
    options = {name for parameter in command.params for name in parameter.opts}

    assert ("--json" in options) == (words[0] not in STAY)


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_every_option_says_what_it_does(words: tuple[str, ...], command: click.Command) -> None:
    """No option is left to guess."""
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("name", VERBS)
def test_the_table_of_verbs_agrees_with_the_verbs(name: str) -> None:
    """Name and target in the table lead to the command of that name."""
    command = program().get_command(click.Context(program()), name)

    assert command is not None
    assert command.name == name


def test_the_overview_lists_every_verb(ostler: Ostler) -> None:
    """`ostler --help` shows each verb with its line from the table, in its order."""
    _, out, _ = ostler("--help")

    listed = re.findall(r"^  ([a-z][a-z-]*)  +(\S.*)$", out.partition("Verbs:\n")[2], re.MULTILINE)
    assert listed == [(name, verb.summary) for name, verb in VERBS.items()]


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS], ids=IDS)
def test_every_verb_is_documented(words: tuple[str, ...]) -> None:
    """Each verb has its own heading in the reference."""
    assert re.search(rf"^#+ `ostler {' '.join(words)}`$", DOCUMENTATION, re.MULTILINE)


def test_the_documentation_names_no_verb_that_is_not_there() -> None:
    """A verb that went away leaves the reference too."""
    named = set(re.findall(r"^#+ `ostler ([^`]+)`$", DOCUMENTATION, re.MULTILINE))

    assert named == set(IDS)


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_every_option_is_documented(words: tuple[str, ...], command: click.Command) -> None:
    """Each option of a verb stands in the reference."""
    options = {max(parameter.opts, key=len) for parameter in command.params if isinstance(parameter, click.Option)}

    assert [option for option in sorted(options) if f"`{option}" not in DOCUMENTATION] == []


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    """The table of exit codes is complete."""
    assert re.search(rf"^\| {code.value} \|", DOCUMENTATION, re.MULTILINE)


@pytest.mark.parametrize("status", ProbeStatus)
def test_the_exit_codes_of_a_check_are_documented(status: ProbeStatus) -> None:
    """So is the table of `endpoints check`."""
    assert f"| {status.exit_code} | `{status}` |" in DOCUMENTATION
