"""`ostler agents`: the agent command lines of this machine."""

import click

from ostler.cli.flags import example, json_option


@click.group(epilog=example("ostler agents doctor"))
def agents() -> None:
    """Look at the agent command lines of this machine.

    They are what a worker here could run.
    """


@agents.command(epilog=example("ostler agents doctor", "ostler agents doctor --profile ostler.yaml --json"))
@click.option("--profile", metavar="FILE", help="Profile to look at.  [default: the one that `ostler up` would take]")
@json_option
def doctor(*, profile: str | None, as_json: bool) -> int:
    """Tell which agents are installed, which version, which are on, and how to turn on the others.

    Starts no run and calls no model. Exit codes: 0 nothing failed (there may be warnings), 1 something failed.
    """
    from ostler.app.options import load_app
    from ostler.cli.doctor import tell

    return tell(load_app().agents_doctor(profile), as_json=as_json)
