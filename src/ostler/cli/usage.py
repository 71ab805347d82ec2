"""What to do about a mistyped command line, where click alone would not know.

Two slips that its nearest names do not catch: an option of a verb that is said to its group (`--json` after `workers`),
and a verb without its group (`cancel`, of `tasks`). Only after a mistake: every group may be imported for it.
"""

from collections.abc import Iterator

import click

SHOWN = 3
"""Command lines that are named at most."""


def remedy(error: click.UsageError) -> str:
    """A command line that was likely meant, else where the help is."""
    context = error.ctx
    if context is None:
        return "see `ostler --help`"
    meant: list[str] = []
    if isinstance(context.command, click.Group):
        if isinstance(error, click.NoSuchOption):
            meant = [
                f"{name} {error.option_name}" for name in _with_option(context, context.command, error.option_name)
            ]
        elif isinstance(error, click.NoSuchCommand):
            meant = list(_with_verb(context, context.command, error.command_name))
    help_line = f"see `{context.command_path} --help`"
    if not meant or len(meant) > SHOWN:
        return help_line
    return "did you mean " + " or ".join(f"`{context.command_path} {line}`" for line in meant) + f"? {help_line}"


def _with_option(context: click.Context, group: click.Group, option: str) -> list[str]:
    """Verbs of a group that have an option; `list` alone where it has."""
    found = [
        name
        for name in group.list_commands(context)
        if (command := group.get_command(context, name)) is not None
        and any(option in (*one.opts, *one.secondary_opts) for one in command.params)
    ]
    return ["list"] if "list" in found else found


def _with_verb(context: click.Context, group: click.Group, verb: str) -> Iterator[str]:
    """Groups below a group that have a verb."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group) and verb in command.list_commands(context):
            yield f"{name} {verb}"
