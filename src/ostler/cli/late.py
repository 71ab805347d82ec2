"""`ostler late`: results that came too late, and taking one after all."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.late_views import LateRow

COLUMNS = ("task", "attempt", "worker", "ended", "result", "bytes", "task is", "standing")
NOTHING = "no late results; a worker that was cut off for longer than its grace would leave some"


@click.group(epilog=example("ostler late list", "ostler late show t-1 2", "ostler late adopt t-1 2"))
def late() -> None:
    """Show results that came too late, and take one after all."""


@late.command("list", epilog=example("ostler late list --json"))
@json_option
@hub_options
def list_late(client: "HubClient", *, as_json: bool) -> None:
    """List what workers reported of attempts that had been given up."""
    from ostler.cli import render

    answer = client.late()
    if as_json:
        render.print_json(answer)
        return
    render.print_table(COLUMNS, [_row(row, answer.now_ms) for row in answer.late], empty=NOTHING)


@late.command(epilog=example("ostler late show t-1 2"))
@click.argument("task")
@click.argument("attempt", type=click.IntRange(1))
@json_option
@hub_options
def show(client: "HubClient", *, task: str, attempt: int, as_json: bool) -> None:
    """Print what a late attempt put out."""
    from ostler.cli import render

    answer = client.late_result(task, attempt)
    if as_json:
        render.print_json(answer)
        return
    render.print_table(COLUMNS, [_row(answer.row, answer.now_ms)], empty="")
    if answer.output:
        click.echo()
        click.echo(render.clean(answer.output).rstrip("\n"))


@late.command(epilog=example("ostler late adopt t-1 2"))
@click.argument("task")
@click.argument("attempt", type=click.IntRange(1))
@json_option
@hub_options
def adopt(client: "HubClient", *, task: str, attempt: int, as_json: bool) -> None:
    """Take a late result for that of its task. Refused when the task has a result, or another attempt is under way."""
    from ostler.cli import render

    row = client.adopt_late(task, attempt)
    if as_json:
        render.print_json(row)
        return
    click.echo(f"task {row.id} has {row.state.value} with the result of attempt {attempt}")


def _row(row: "LateRow", now_ms: int) -> tuple[str, ...]:
    from ostler.cli import words

    failed = f"failed: {row.failure.kind.value}" if row.failure is not None else "failed"
    return (
        row.task_id,
        str(row.generation),
        row.worker or words.NONE,
        words.ago(row.at_ms, now_ms),
        row.outcome.value if row.ok else failed,
        str(row.output_bytes),
        row.state.value,
        row.standing.value,
    )
