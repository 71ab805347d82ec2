"""`ostler replay`: what a hub did, again in virtual time, under its own profile and under others."""

from itertools import takewhile
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ostler.app.options import Told
    from ostler.client.hub_client import HubClient
    from ostler.domain.tasks import Task
    from ostler.hub.simulated import Comparison, OffPolicy
    from ostler.hub.views import TaskAnswer

PAGE = 500
READING = "reading the history"


@click.command(epilog=example("ostler replay --since 7d --policy fifo --policy candidate.yaml"))
@click.option("--since", metavar="DURATION", default="24h", show_default=True, help="How far back to look.")
@click.option("--policy", "policies", metavar="P", multiple=True, required=True,
              help="A profile, or fifo, round-robin, least-loaded, warm-first, drain.  [several times]")  # fmt: skip
@click.option("--profile", metavar="FILE", help="The profile of the hub's machines.  [default: the one it runs with]")
@click.option("--tasks", metavar="N", type=click.IntRange(1, 100_000), default=5_000, show_default=True,
              help="At most so many tasks, the newest.")  # fmt: skip
@json_option
@hub_options
def replay(
    client: "HubClient", *, since: str, policies: tuple[str, ...], profile: str | None, tasks: int, as_json: bool
) -> None:
    """Run what a hub did again in virtual time: what a policy would have cost.

    Shown side by side: what happened, the scheduler under the hub's profile, and each policy. Tasks arrive when they
    arrived and take as long as they took; all but the first column is simulated.

    Below it stands what the log itself says of each profile: how often its choices would have succeeded and what they
    would have cost, from the outcomes of tasks that went where it would have sent them, weighed by how likely that was.
    """
    from ostler.app.options import ReplayOptions, load_app
    from ostler.cli import render
    from ostler.cli.what_if import duration_ms, print_comparison, teller

    back_ms = duration_ms(since, "--since")  # before the hub is asked: a wrong flag is told without one, too
    status = client.status()
    from_ms = status.now_ms - back_ms
    told = None if as_json else teller()
    newest = list(takewhile(lambda task: task.created_ms >= from_ms, _newest(client, tasks)))
    history = tuple(_with_details(client, newest, told))
    options = ReplayOptions(
        history=history,
        endpoints=client.endpoints(),
        profile=profile or status.profile_path or status.profile,
        policies=policies,
        outcomes=client.outcomes().observations,
        name=f"the last {since} of {client.url}",
    )
    comparison = load_app().replay(options, told)
    if as_json:
        render.print_json(comparison)
        return
    print_comparison(comparison)
    print_logged(comparison)


def print_logged(comparison: "Comparison") -> None:
    """What the log says, one row for each profile."""
    from ostler.cli import render

    columns = ("policy", "decisions", "same", "rests on", "tried", "success", "at 95%", "cost", "at 95%", "")
    rows = [_logged_row(one) for one in comparison.logged]
    if not any(one.success.decisions for one in comparison.logged):
        return
    first = comparison.logged[0]
    happened = f"{first.happened_success:.1%} succeeded at the first try, ${first.happened_cost_usd:.4f} each"
    click.echo(f"\nwhat the log says, not simulated (what happened: {happened})")
    render.print_table(columns, rows, empty="")


def _logged_row(one: "OffPolicy") -> tuple[str, ...]:
    success, cost = one.success, one.cost_usd
    rests = (str(success.decisions), str(success.same), f"{success.effective:.0f}", f"{success.support:.0%}")
    between = f"{success.low:.0%} to {success.high:.0%}"
    if success.cannot_say:
        return (one.policy, *rests, "cannot say", between, "-", "-", success.cannot_say)
    money = (f"${cost.dr:.4f}", f"${cost.low:.4f} to ${cost.high:.4f}") if not cost.cannot_say else ("cannot say", "-")
    return (one.policy, *rests, f"{success.dr:.1%}", between, *money, "")


def _newest(client: "HubClient", limit: int) -> "Iterator[Task]":
    """The newest tasks, page by page."""
    before: int | None = None
    while limit > 0:
        page = client.tasks(limit=min(PAGE, limit), before=before).tasks
        yield from page
        if len(page) < min(PAGE, limit):
            return
        limit -= len(page)
        before = page[-1].seq


def _with_details(client: "HubClient", tasks: "list[Task]", told: "Told | None") -> "Iterator[TaskAnswer]":
    for number, task in enumerate(tasks):
        if told is not None:
            told(READING, number, len(tasks))
        yield client.task(task.id)
