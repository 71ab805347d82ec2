"""`ostler agents`: the agent command lines of this machine, and the agents that tasks may name."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, json_option

if TYPE_CHECKING:
    from ostler.app.options import AgentRow

PROFILE = click.option(
    "--profile", metavar="FILE", help="Profile to look at.  [default: the one that `ostler up` would take]"
)


@click.group(epilog=example("ostler agents doctor", "ostler agents list"))
def agents() -> None:
    """Look at agent command lines, and at agents that tasks may name.

    No hub is needed.
    """


@agents.command(epilog=example("ostler agents doctor", "ostler agents doctor --profile ostler.yaml --json"))
@PROFILE
@json_option
def doctor(*, profile: str | None, as_json: bool) -> int:
    """Tell which agents are installed, which version, which are on, and how to turn on the others.

    Starts no run and calls no model. Exit codes: 0 nothing failed (there may be warnings), 1 something failed.
    """
    from ostler.app.options import load_app
    from ostler.cli.doctor import tell

    return tell(load_app().agents_doctor(profile), as_json=as_json)


@agents.command("list", epilog=example("ostler agents list", "ostler agents list --profile ostler.yaml --json"))
@PROFILE
@json_option
def list_(*, profile: str | None, as_json: bool) -> None:
    """List the agents of the profile's folders: `agent: NAME` lets a task take one on."""
    from ostler.app.options import load_app
    from ostler.cli import render, words

    found = load_app().agents_list(profile)
    if as_json:
        render.print_json(found)
        return
    rows = [
        (row.role.name, _model_text(row), row.role.runner or words.NONE, _tools(row), row.role.description)
        for row in found.agents
    ]
    empty = "no agents" if found.folders else "no agents: set agents.folders in the profile"
    render.print_table(("name", "model", "runner", "tools", "description"), rows, empty=empty)
    for problem in found.problems:
        click.echo(f"refused: {render.clean(problem)}")


@agents.command(epilog=example("ostler agents show reviewer"))
@click.argument("name", metavar="NAME")
@PROFILE
@json_option
def show(*, name: str, profile: str | None, as_json: bool) -> None:
    """Show one agent: what a task that names it takes on, and what its model comes to."""
    from ostler.app.options import load_app
    from ostler.cli import render, words

    row = load_app().agent(name, profile)
    if as_json:
        render.print_json(row)
        return
    role = row.role
    told = {
        "name": role.name,
        "file": role.place,
        "description": role.description,
        "role": role.role or "",
        "model": _model_text(row),
        "runner": role.runner or "",
        "tools": _tools(row),
        "type": role.task_type or "",
        "context": str(role.context_tokens or ""),
        "max output": str(role.max_output_tokens or ""),
        "timeout": words.duration(round(role.timeout_s * 1_000)) if role.timeout_s is not None else "",
        "local only": "yes" if role.local_only else "",
        "passed over": "; ".join(role.notes),
    }
    render.print_pairs([(name, value) for name, value in told.items() if value])
    click.echo(
        "\n" + "\n".join(render.clean(line) for line in role.prompt.splitlines()) if role.prompt else "no prompt"
    )


@agents.command(epilog=example("ostler agents check", "ostler agents check --profile ostler.yaml"))
@PROFILE
@json_option
def check(*, profile: str | None, as_json: bool) -> None:
    """Check every file of the profile's folders of agents; each mistake is told with file and line.

    Exit codes: 0 all are good, 2 a file is not.
    """
    from ostler.app.options import load_app
    from ostler.cli import render, words

    found = load_app().agents_check(profile)
    if as_json:
        render.print_json(found)
        return
    click.echo(f"{words.count(len(found.agents), 'agent')} in {', '.join(found.folders) or 'no folder'}: all good")
    for row in found.agents:
        for note in row.role.notes:
            click.echo(f"{row.role.place}: {render.clean(note)}")
    for path in found.passed_over:
        click.echo(f"{path}: passed over, it begins with no line of ---")


def _model_text(row: "AgentRow") -> str:
    """The name in the file, and what it stands for."""
    from ostler.cli import words

    role = row.role
    if role.model is None:
        return words.NONE
    if row.tier is None:
        return ", then ".join(row.models)
    via = f"{role.model} = " if role.model != row.tier else ""
    return f"{via}tier {row.tier}" + (f" ({', '.join(row.models)})" if row.models else "")


def _tools(row: "AgentRow") -> str:
    return ", ".join(row.role.tools) or "all"
