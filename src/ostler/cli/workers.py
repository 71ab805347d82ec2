"""`ostler workers`: who does the work."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.views import WorkerRow

COLUMNS = ("worker", "host", "work", "cpu", "ram", "vram", "seen", "tasks")


@click.group(epilog=example("ostler workers list"))
def workers() -> None:
    """Show the workers."""


@workers.command("list", epilog=example("ostler workers list --json"))
@json_option
@hub_options
def list_workers(client: "HubClient", *, as_json: bool) -> None:
    """List the workers that have joined, with the load of their machines."""
    from ostler.cli import render

    answer = client.workers()
    if as_json:
        render.print_json(answer)
        return
    rows = [_row(row, answer.now_ms) for row in answer.workers]
    render.print_table(COLUMNS, rows, empty="no worker has joined; start one with `ostler worker --hub URL`")


def _row(row: "WorkerRow", now_ms: int) -> tuple[str, ...]:
    from ostler.cli import words

    offer, report = row.session.offer, row.report
    work = ", ".join(f"{kind} {row.busy.get(kind, 0)}/{slots}" for kind, slots in sorted(offer.slots.items()))
    seen = words.ago(row.session.renewed_ms, now_ms)
    return (
        offer.name + (" (built in)" if offer.builtin else ""),
        offer.host,
        work or "nothing allowed",
        words.NONE if report is None or report.cpu_percent is None else f"{report.cpu_percent:.0f} %",
        words.NONE if report is None else words.share(report.ram_used_bytes, report.ram_total_bytes),
        words.NONE if report is None else words.share(report.vram_used_bytes, report.vram_total_bytes),
        seen if row.lost_ms is None else f"silent, last {seen}, kept {words.duration(row.lost_ms - now_ms)} more",
        words.words(row.tasks),
    )
