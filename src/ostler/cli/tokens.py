"""`ostler tokens`: what workers and tools present to the hub."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient

COLUMNS = ("name", "scope", "made")


@click.group(
    epilog=example("ostler tokens create mac-mini > token", "ostler tokens list", "ostler tokens revoke mac-mini")
)
def tokens() -> None:
    """Make, list and revoke tokens for workers and tools."""


@tokens.command(
    "create", epilog=example("ostler tokens create mac-mini > token", "ostler tokens create ci --scope admin --json")
)
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["worker", "viewer", "admin"]),
    default="worker",
    show_default=True,
    help="`worker` may run tasks, `viewer` may look; `admin` may do everything.",
)
@json_option
@hub_options
def create(client: "HubClient", *, name: str, scope: str, as_json: bool) -> None:
    """Make a token and print it: this once, because the hub keeps only its hash."""
    from ostler.cli import render

    made = client.make_token(name, scope)
    if as_json:
        render.print_json(made)
    else:
        click.echo(made.token)


@tokens.command("list", epilog=example("ostler tokens list", "ostler tokens list --json"))
@json_option
@hub_options
def list_tokens(client: "HubClient", *, as_json: bool) -> None:
    """List the tokens that are valid: name, scope, and when each was made.

    A revoked one is forgotten. What a worker presents is in no list: the hub keeps only its hash.
    """
    from ostler.cli import render, words

    answer = client.tokens()
    if as_json:
        render.print_json(answer)
        return
    rows = [(row.name, row.scope, words.ago(row.created_ms, answer.now_ms)) for row in answer.tokens]
    render.print_table(COLUMNS, rows, empty="no token; make one with `ostler tokens create NAME`")


@tokens.command("revoke", epilog=example("ostler tokens revoke mac-mini"))
@click.argument("name")
@json_option
@hub_options
def revoke(client: "HubClient", *, name: str, as_json: bool) -> None:
    """Revoke a token; who presents it is refused from now on."""
    client.revoke_token(name)
    click.echo("{}" if as_json else f"revoked {name}")
