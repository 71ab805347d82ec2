"""`ostler hubs`: who shares the work of a pool, and which pools share a database."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.domain.hubs import HubRow

COLUMNS = ("hub", "role", "address", "open", "runs", "version", "up", "seen")


@click.command(epilog=example("ostler hubs --json"))
@json_option
@hub_options
def hubs(client: "HubClient", *, as_json: bool) -> None:
    """List the hubs that share the work; exactly one of each pool leads.

    One that is silent died or is cut off. What pools of a database share is shown where it is used: money by `ostler
    budget status`, slots of servers by `ostler why-idle`.
    """
    from ostler.cli import render

    answer = client.hubs()
    if as_json:
        render.print_json(answer)
        return
    if not answer.others:
        render.print_table(COLUMNS, [_row(row) for row in answer.hubs], empty="no hub was seen lately")
        return
    # By pool, the one that was asked first.
    rows = (*answer.hubs, *answer.others)
    render.print_table(("pool", *COLUMNS), [(row.pool, *_row(row)) for row in rows], empty="")
    click.echo("\nwhat pools share: money in `ostler budget status`, slots of servers in `ostler why-idle`")


def _row(row: "HubRow") -> tuple[str, ...]:
    from ostler.cli import words

    return (
        row.name,
        row.role,
        row.url or words.NONE,
        _count(row.open_tasks) if row.leads else "",
        _count(row.running) if row.leads else "",
        row.version,
        _about(row.up_ms),
        f"{_about(row.seen_ago_ms)} ago",
    )


def _about(ms: int) -> str:
    """A duration in its largest unit alone: the table is wide enough."""
    from ostler.cli import words

    return " ".join(words.duration(ms).split()[:2])


def _count(count: int | None) -> str:
    from ostler.cli import words

    return words.NONE if count is None else str(count)
