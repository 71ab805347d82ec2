"""`ostler route` and `ostler why`: explanations, before and after."""

from typing import TYPE_CHECKING, Any

import click

from ostler.cli.flags import address_options, connect, example, hub_options, json_option
from ostler.cli.spec import build_spec, spec_options

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient, RouteAnswer
    from ostler.domain.tasks import TaskSpec
    from ostler.hub.gateway_views import CallAnswer
    from ostler.hub.views import Why

QUESTION_ID = "it"
"""Id of a task that is only asked about: it is never stored, and reads well in the answer."""


@click.command(
    epilog=example(
        'ostler route "rename the variable" --file src/a.py --file src/b.py',
        'ostler route "design the schema" --profile ostler.yaml --json',
    )
)
@click.argument("words", metavar="[PROMPT]...", nargs=-1)
@spec_options
@click.option(
    "--file", "files", metavar="PATH", multiple=True, help="A file it works on; as --touches.  [several times]"
)
@click.option("--offline", is_flag=True, help="Decide on the profile, even when a hub runs.")
@click.option("--profile", metavar="FILE", help="Decide on this profile, without a hub.")
@click.option("--short", is_flag=True, help="Only the first line.")
@json_option
@address_options
def route(
    words: tuple[str, ...],
    *,
    files: tuple[str, ...],
    short: bool,
    as_json: bool,
    hub: str | None,
    token_file: str | None,
    offline: bool,
    profile: str | None,
    **fields: Any,  # noqa: ANN401 -- the options of a task
) -> None:
    """Ask where a task would run and why. Nothing is stored and no model is called.

    A running hub answers with what it knows now. Without one the profile is decided on as it is written, with every
    endpoint taken as declared and unchecked.
    """
    from ostler.cli import render

    spec = build_spec(QUESTION_ID, words, {**fields, "touches": fields["touches"] + files})
    answer, asked = _ask(spec, hub, token_file, offline=offline, profile=profile)
    if as_json:
        render.print_json(answer)
        return
    print_why(answer.why, short=short)
    click.echo(f"decided by {asked}", err=True)


def _ask(
    spec: "TaskSpec", hub: str | None, token_file: str | None, *, offline: bool, profile: str | None
) -> "tuple[RouteAnswer, str]":
    from ostler.client.transport import NoHubError

    if not offline and profile is None:
        client = connect(hub, token_file)
        try:
            return client.route(spec), f"the hub at {client.url}"
        except NoHubError:
            if hub is not None:
                raise
    from ostler.app.options import load_app
    from ostler.client.hub_client import RouteAnswer

    verdict, why = load_app().route_offline(spec, profile)
    return RouteAnswer(verdict=verdict, why=why), f"the profile {verdict.decision.profile} alone; no endpoint was asked"


@click.command(epilog=example("ostler why t-k3v5q7aymz", "ostler why c-3dqsw5k2ha7pm4tzv6yr2nbxce"))
@click.argument("asked", metavar="TASK|CALL")
@click.option("--short", is_flag=True, help="Only the first line.")
@json_option
@hub_options
def why(client: "HubClient", *, asked: str, short: bool, as_json: bool) -> None:
    """Explain where a task runs or ran, or why it does not run; or how a call of the gateway went and what it cost."""
    from ostler.cli import render
    from ostler.domain.live import is_call_id

    answer = client.call(asked) if is_call_id(asked) else client.why(asked)
    if as_json:
        render.print_json(answer)
        return
    print_why(answer, short=short)


def print_why(why: "Why | CallAnswer", *, short: bool) -> None:
    """An explanation as text."""
    from ostler.cli.render import clean

    click.echo(clean(why.headline))
    for text in () if short else why.lines:
        click.echo(f"  {clean(text)}".rstrip())
