"""`ostler endpoints`: where models are served.

`check` has exit codes of its own, for scripts: 0 available, 1 unavailable, 2 rate limited, 3 invalid key. So that
they stay unambiguous, everything that kept it from finding out ends with 4.
"""

from typing import TYPE_CHECKING, Any

import click

from ostler.cli.flags import address_options, connect, example, hub_options, json_option
from ostler.domain.catalog import EndpointKind
from ostler.domain.errors import ExitCode, OstlerError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.domain.fleet import Probe
    from ostler.hub.views import EndpointRow

COLUMNS = ("endpoint", "now", "provider", "where", "busy", "loaded", "models", "checked", "note")


@click.group(
    epilog=example(
        "ostler endpoints list",
        "ostler endpoints add mac-mini --kind ollama --url http://mac-mini:11434",
        "ostler endpoints check anthropic",
    )
)
def endpoints() -> None:
    """Show, register and check endpoints."""


@endpoints.command("list", epilog=example("ostler endpoints list --json"))
@json_option
@hub_options
def list_endpoints(client: "HubClient", *, as_json: bool) -> None:
    """List all endpoints with health, calls in flight, loaded models and warnings."""
    from ostler.cli import render

    answer = client.endpoints()
    if as_json:
        render.print_json(answer)
        return
    rows = [_row(row, answer.now_ms) for row in answer.endpoints]
    render.print_table(COLUMNS, rows, empty="no endpoint; add one with `ostler endpoints add`")
    for row in answer.endpoints:
        for warning in row.warnings:
            click.echo(f"{row.view.spec.name}: {render.clean(warning)}")


@endpoints.command(
    "add",
    epilog=example(
        "ostler endpoints add mac-mini --kind ollama --url http://mac-mini:11434 --slots 2",
        "ostler endpoints add work --kind openai --url https://api.example.com/v1 --key-env WORK_KEY",
    ),
)
@click.argument("name")
@click.option(
    "--kind", type=click.Choice([kind.value for kind in EndpointKind]), required=True, help="Protocol it speaks."
)
@click.option("--url", required=True, metavar="URL", help="Base address.")
@click.option("--provider", metavar="NAME", help="Whose it is.  [default: the kind]")
@click.option("--host", metavar="NAME", help="Machine it runs on.  [default: from the address]")
@click.option("--local/--cloud", default=None, help="Whether data stays on your machines.  [default: from the address]")
@click.option("--slots", type=click.IntRange(min=1), default=1, show_default=True, help="Calls at once.")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="A model it serves.  [several times; default: as it lists]"
)
@click.option("--key-env", metavar="NAME", help="Environment variable that holds its key.")
@json_option
@hub_options
def add(client: "HubClient", *, name: str, as_json: bool, **told: Any) -> None:  # noqa: ANN401 -- click's options
    """Register an endpoint beside those of the profile. Keys are named, never given."""
    from ostler.cli.endpoint_spec import declared

    client.add_endpoint(declared(name, **told))
    click.echo("{}" if as_json else f"added {name}")


@endpoints.command("remove", epilog=example("ostler endpoints remove mac-mini"))
@click.argument("name")
@json_option
@hub_options
def remove(client: "HubClient", *, name: str, as_json: bool) -> None:
    """Remove an endpoint that was added; those of the profile are removed in the profile."""
    client.remove_endpoint(name)
    click.echo("{}" if as_json else f"removed {name}")


@endpoints.command("reset", epilog=example("ostler endpoints reset mac-mini"))
@click.argument("name")
@json_option
@hub_options
def reset(client: "HubClient", *, name: str, as_json: bool) -> None:
    """Close its breaker, forget its rate limit, look at it at once."""
    client.reset_endpoint(name)
    click.echo("{}" if as_json else f"reset {name}")


@endpoints.command("check", epilog=example('ostler endpoints check anthropic --quiet && echo "go on"'))
@click.argument("name")
@click.option("--force", is_flag=True, help="Do not take a recent answer from the cache.")
@click.option("--direct", is_flag=True, help="Ask the endpoint from here, even when a hub runs.")
@click.option("--profile", metavar="FILE", help="Profile that knows it, when no hub is asked.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing: the exit code says it.")
@json_option
@address_options
def check(name: str, *, as_json: bool, quiet: bool, **told: Any) -> int:  # noqa: ANN401 -- click's options
    """List an endpoint, or the first one of a provider; never generates anything.

    The running hub is asked; without one the endpoint is asked from here.

    Exit codes: 0 available, 1 unavailable, 2 rate limited, 3 invalid key, 4 could not find out.
    """
    from ostler.cli import render

    try:
        probe, asked = _probe(name, **told)
    except OstlerError as error:
        error.exit_code = ExitCode.REFUSED
        raise
    if as_json:
        render.print_json(probe)
    elif not quiet:
        click.echo(probe_line(probe))
        click.echo(f"asked {asked}", err=True)
    return probe.status.exit_code


def _probe(
    name: str, *, hub: str | None, token_file: str | None, profile: str | None, force: bool, direct: bool
) -> "tuple[Probe, str]":
    from ostler.client.transport import NoHubError

    if not direct and profile is None:
        client = connect(hub, token_file)
        try:
            return client.check_endpoint(name), f"the hub at {client.url}"
        except NoHubError:
            if hub is not None:
                raise
    from ostler.app.options import load_app

    return load_app().check_endpoint(name, profile, force), "it from here"


def probe_line(probe: "Probe") -> str:
    """The result of a check in one line."""
    from ostler.cli import words
    from ostler.cli.render import line

    text = f"{probe.endpoint}: {probe.status} in {words.duration(probe.latency_ms)}"
    if probe.models:
        text += f", {words.count(len(probe.models), 'model')} ({words.words(probe.models)})"
    if probe.retry_after_ms is not None:
        text += f", again in {words.duration(probe.retry_after_ms)}"
    return line(text + (f": {probe.message}" if probe.message else ""), 200)


def _row(row: "EndpointRow", now_ms: int) -> tuple[str, ...]:
    from ostler.cli import words
    from ostler.domain.fleet import BreakerState

    view = row.view
    loaded = words.NONE if view.residents is None else words.words([resident.model for resident in view.residents])
    notes = [
        "disabled" if not view.spec.enabled else "",
        f"breaker {view.breaker}" if view.breaker is not BreakerState.CLOSED else "",
        f"blocked, free {words.ago(view.blocked_until_ms, now_ms)}" if (view.blocked_until_ms or 0) > now_ms else "",
        view.message,
    ]
    return (
        view.spec.name,
        view.health,
        view.spec.provider,
        f"{view.spec.url} ({'local' if view.spec.local else 'cloud'}, {row.source})",
        f"{row.in_flight}/{view.slots}",
        loaded,
        words.words(view.models),
        words.ago(view.checked_ms, now_ms),
        "; ".join(note for note in notes if note),
    )
