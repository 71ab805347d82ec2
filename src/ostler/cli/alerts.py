"""`ostler alerts`: what a person should know of."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.alert_views import AlertList, AlertRow

COLUMNS = ("alert", "severity", "state", "since", "times", "what")


@click.group(epilog=example("ostler alerts list", "ostler alerts ack tier_down:standard --note 'the switch is off'"))
def alerts() -> None:
    """Show, acknowledge and test alerts."""


@alerts.command("list", epilog=example("ostler alerts list", "ostler alerts list --all", "ostler alerts list --json"))
@click.option("--all", "every", is_flag=True, help="Those that are cleared, too.")
@click.option("--rules", is_flag=True, help="Show the rules instead: what each looks for, and its figures.")
@json_option
@hub_options
def list_alerts(client: "HubClient", *, every: bool, rules: bool, as_json: bool) -> None:
    """List the alerts that are raised, the worst first. Exits with 1 when a critical one is active."""
    from ostler.cli import render
    from ostler.domain.alerts import AlertState, Severity

    answer = client.alerts(every=every)
    if as_json:
        render.print_json(answer)
    elif rules:
        _print_rules(answer)
    else:
        rows = [alert_row(row, answer.now_ms) for row in answer.alerts]
        render.print_table(
            COLUMNS, rows, empty="no alert is raised; `ostler alerts list --rules` shows what is watched"
        )
    worst = any(
        row.alert.state is AlertState.ACTIVE and row.alert.severity is Severity.CRITICAL for row in answer.alerts
    )
    if worst and not rules:
        raise click.exceptions.Exit(1)


@alerts.command(
    "ack",
    epilog=example("ostler alerts ack no_worker", "ostler alerts ack tier_down:standard --by ann --note 'on it'"),
)
@click.argument("alert", required=False)
@click.option("--all", "every", is_flag=True, help="All that are active.")
@click.option("--by", default="", metavar="NAME", help="Who knows.  [default: the user here]")
@click.option("--note", default="", metavar="TEXT", help="What is to be kept with it.")
@json_option
@hub_options
def acknowledge(client: "HubClient", *, alert: str | None, every: bool, by: str, note: str, as_json: bool) -> None:
    """Acknowledge an alert by its name: it is silent until it is cleared, and told again when it comes back."""
    from ostler.cli import render

    if every == (alert is not None):
        raise click.UsageError("name one alert, or say --all")
    answer = client.acknowledge(alert or "", by=by or _user(), note=note)
    if as_json:
        render.print_json(answer)
    else:
        click.echo(f"acknowledged {alert or 'all that were active'}; it is silent until it is cleared")


@alerts.command("test", epilog=example("ostler alerts test", "ostler alerts test --json"))
@json_option
@hub_options
def test(client: "HubClient", *, as_json: bool) -> None:
    """Tell a test wherever alerts are told, and show how that went. Exits with 1 when it failed somewhere."""
    from ostler.cli import render

    answer = client.test_alerts()
    if as_json:
        render.print_json(answer)
    else:
        rows = [(place.to, place.outcome, place.detail) for place in answer.places]
        render.print_table(("to", "outcome", "detail"), rows, empty="alerts are told nowhere")
    if any(place.outcome == "failed" for place in answer.places):
        raise click.exceptions.Exit(1)


def alert_row(row: "AlertRow", now_ms: int) -> tuple[str, ...]:
    """An alert in the columns of the list."""
    from ostler.cli import words
    from ostler.domain.alerts import AlertState

    alert = row.alert
    state = alert.state.value
    if alert.state is AlertState.ACKNOWLEDGED and alert.acknowledged_by:
        state += f" by {alert.acknowledged_by}"
    at_ms = alert.cleared_ms if alert.state is AlertState.CLEARED else alert.raised_ms
    return (row.id, alert.severity.value, state, words.ago(at_ms, now_ms), str(alert.times), alert.message)


def _print_rules(answer: "AlertList") -> None:
    from ostler.cli import render, words

    rows = [
        (
            row.name,
            "on" if row.rule is not None else "off",
            f"{row.rule.above:g} {row.unit}".strip() if row.rule is not None and row.unit else words.NONE,
            words.duration(row.rule.for_ms) if row.rule is not None else words.NONE,
            words.duration(row.rule.cooldown_ms) if row.rule is not None else words.NONE,
            row.rule.severity.value if row.rule is not None else words.NONE,
            row.doc,
        )
        for row in answer.rules
    ]
    render.print_table(("rule", "is", "above", "for", "cool-down", "severity", "looks for"), rows, empty="no rules")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
