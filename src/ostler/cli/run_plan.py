"""The plan of a run in words and characters: what it promises, and at the end what became of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ostler.cli import words
from ostler.cli.plan_text import WIDTH, span
from ostler.cli.render import clean

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.plan_views import RunPlan
    from ostler.planning.figures import Figures


def make_plan(client: "HubClient", run: str, *, silent: bool) -> bool:
    """Have the hub plan a run that was handed in; whether there is a plan now. Without one the run goes on."""
    from ostler.domain.errors import OstlerError

    try:
        plan = client.make_plan(run)
    except OstlerError as error:
        click.echo(f"run {run} goes on without a plan: {clean(str(error))}", err=True)
        return False
    if not silent:
        newest = plan.versions[-1]
        bound = f", no plan is shorter than {span(newest.bound_ms)}" if newest.bound_ms else ""
        click.echo(f"planned ({newest.strategy}): {span(newest.makespan_ms)}{bound}")
    return True


def print_run_plan(plan: "RunPlan") -> None:
    """Planned and actual, one above the other on one scale; why there were new plans, and who was late."""
    from ostler.planning.actual import without_prefix
    from ostler.planning.gantt import gantt
    from ostler.planning.gantt_text import chart, legend, plain_text

    prefix = f"{plan.run}."
    planned, actual = without_prefix(plan.planned, prefix), without_prefix(plan.actual, prefix)
    until_ms = max(planned.plan.makespan_ms, actual.plan.makespan_ms)
    above = gantt(planned.instance, planned.plan, until_ms=until_ms)
    below = gantt(actual.instance, actual.plan, until_ms=until_ms)
    lines = [
        "",
        f"planned   {_figures(plan.planned_figures)}",
        *plain_text(chart(above, WIDTH)),
        "",
        f"actual    {_figures(plan.actual_figures)}",
        *plain_text(chart(below, WIDTH)),
        *plain_text([legend(below)]),
        *_new_plans(plan),
    ]
    for line in lines:
        click.echo(clean(line))


def _figures(told: "Figures") -> str:
    return f"{span(told.makespan_ms)}, {words.count(told.loads, 'load')}, {span(told.swap_ms)} of loading and unloading"


def _new_plans(plan: "RunPlan") -> Iterator[str]:
    for version in plan.versions[1:]:
        after = span(version.made_ms - plan.started_ms)
        yield f"plan {version.version} after {after}, because of {version.reason}: {span(version.makespan_ms)} more"
