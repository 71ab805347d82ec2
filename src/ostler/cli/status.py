"""`ostler status`: the hub at a glance."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.gateway_views import CallTotals
    from ostler.hub.views import HubStatus, TierRow


@click.command(epilog=example("ostler status", "ostler status my-batch", "ostler status --json"))
@click.argument("batch", required=False)
@json_option
@hub_options
def status(client: "HubClient", *, batch: str | None, as_json: bool) -> None:
    """Show the hub at a glance: what runs, what waits and why, which tiers are available. With a name: that batch."""
    from ostler.cli import render

    if batch is not None:
        from ostler.cli.batch import show

        show(client, batch, as_json=as_json)
        return

    answer = client.status()
    if as_json:
        render.print_json(answer)
        return
    _print_head(answer, client.url)
    if answer.waiting:
        _print_waiting(answer)
    click.echo()
    rows = [
        (str(tier.rank), tier.name, availability(tier, answer.now_ms), ", ".join(tier.models)) for tier in answer.tiers
    ]
    render.print_table(("rank", "tier", "now", "models"), rows, empty="no tiers")


def availability(tier: "TierRow", now_ms: int) -> str:
    """Whether a tier can be used now, in words."""
    from ostler.cli import words

    if not tier.enabled:
        return "disabled"
    if tier.available:
        return "up"
    if tier.down_since_ms is not None:
        return f"down since {words.duration(now_ms - tier.down_since_ms)}"
    return "down" if tier.available is False else "no endpoint needed" if tier.rank == 0 else "no endpoint registered"


def _print_head(answer: "HubStatus", url: str) -> None:
    from ostler.cli import render, words

    counts = ", ".join(f"{count} {state}" for state, count in answer.counts.items() if count) or "no tasks"
    where = f" ({answer.profile_path})" if answer.profile_path else ""
    endpoints = f"{answer.endpoints_up} of {words.count(answer.endpoints_total, 'endpoint')} up"
    render.print_pairs(
        [
            ("hub", f"{url}, version {answer.version}, started {words.ago(answer.started_ms, answer.now_ms)}"),
            ("leads", f"{answer.leader.name} at {answer.leader.url}" if answer.leader is not None else ""),
            ("profile", f"{answer.profile}{where}"),
            ("tasks", counts),
            ("running", words.count(answer.in_flight, "attempt")),
            ("live", _live(answer.calls_running, answer.calls_waiting)),
            ("calls", calls_text(answer.calls)),
            ("fleet", f"{endpoints}, {words.count(answer.workers, 'worker')}"),
            ("idle", f"nothing runs: {answer.idle_because}" if answer.idle_because else ""),
        ]
    )


def _live(running: int, waiting: int) -> str:
    from ostler.cli import words

    if not running and not waiting:
        return ""
    return f"{words.count(running, 'call')} of the gateway" + (f", {waiting} in line" if waiting else "")


def calls_text(calls: "CallTotals") -> str:
    """Calls of the gateway since the start: how many, how they failed, what they cost; nothing when there were none."""
    from ostler.cli import words

    if not calls.calls:
        return ""
    failed = ", ".join(f"{count} {kind}" for kind, count in sorted(calls.failures.items()))
    answered = sum(use.calls for use in calls.models.values())
    unpriced = sum(use.unpriced for use in calls.models.values())
    cost = sum(use.cost_micro_usd for use in calls.models.values())
    parts = [
        f"{words.count(calls.calls, 'call')} since the start",
        f"{sum(calls.failures.values())} failed ({failed})" if failed else "",
        words.exact_money(cost) if unpriced < answered else "",
        f"{unpriced} of unknown price" if unpriced else "",
        f"{words.count(calls.dropped, 'record')} lost" if calls.dropped else "",
    ]
    return ", ".join(part for part in parts if part)


def _print_waiting(answer: "HubStatus") -> None:
    from ostler.cli import render, words
    from ostler.cli.task_view import wait_text

    click.echo()
    rows = [
        (
            str(group.count),
            group.tier or words.NONE,
            words.duration(answer.now_ms - group.wait.since_ms),
            wait_text(group.wait, answer.now_ms),
            group.example,
        )
        for group in answer.waiting
    ]
    render.print_table(("waiting", "tier", "since", "because", "such as"), rows, empty="")
