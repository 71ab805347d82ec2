"""The plan of a run beside what happened: figures, a chart of both, every task. Text for people, and an SVG."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ostler.cli import words
from ostler.cli.plan_text import print_rows_of, span
from ostler.cli.planned import late_text, lateness, span_text
from ostler.cli.render import clean, print_json, print_pairs, print_table
from ostler.domain.errors import ExitCode, InvalidInputError
from ostler.hub.plan_pictures import pictures
from ostler.hub.plan_views import RunPlan
from ostler.planning.gantt import Gantt

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient

HUB_STRATEGIES = ("portfolio", "live")
SECONDS, SECONDS_MAX = 2.0, 60.0


def run_verb(
    client: "HubClient",
    run: str,
    *,
    make: bool,
    drop: bool,
    svg: str | None,
    as_json: bool,
    **others: Any,  # noqa: ANN401 -- the options of `ostler plan`; those about machines and questions are for files
) -> int:
    """`ostler plan --run`."""
    strategy, seconds = others.pop("strategy"), others.pop("seconds")
    for name, value in others.items():
        if value:
            what = "a file" if name == "file" else f"--{name.removesuffix('_usd').replace('_', '-')}"
            raise InvalidInputError(f"{what} is not for a run", where="--run", remedy="leave one of the two out")
    plan = show_run(client, run, make=make, drop=drop, strategy=strategy, seconds=seconds)
    if plan is None:
        click.echo("{}" if as_json else f"the plan of {run} is not followed any more")
        return ExitCode.OK
    if svg is not None:
        draw(plan, svg)
    if as_json:
        print_json(plan)
    else:
        print_run_plan(plan)
    return ExitCode.OK


def show_run(
    client: "HubClient", run: str, *, make: bool, drop: bool, strategy: str, seconds: float | None
) -> RunPlan | None:
    """The plan of a run, made anew or dropped before if that is wanted. `None` = it was dropped."""
    if make and drop:
        raise InvalidInputError("--make and --drop exclude each other", where="ostler plan", remedy="use one")
    if drop:
        client.drop_plan(run)
        return None
    if not make:
        return client.run_plan(run)
    if strategy not in HUB_STRATEGIES:
        remedy = f"use {' or '.join(HUB_STRATEGIES)}, or plan the file"
        raise InvalidInputError(f"the hub makes no plans by '{strategy}'", where="--strategy", remedy=remedy)
    if seconds is not None and seconds > SECONDS_MAX:
        remedy = "work goes on meanwhile, so the plan would be old"
        raise InvalidInputError(f"at most {SECONDS_MAX:g} seconds for a run", where="--seconds", remedy=remedy)
    return client.make_plan(run, strategy=strategy, seconds=SECONDS if seconds is None else seconds)


def promise(plan: RunPlan) -> str:
    """What the newest plan says, in one line."""
    newest = plan.versions[-1]
    bound = f", no plan is shorter than {span(newest.bound_ms)}" if newest.bound_ms else ""
    loads = f", {words.count(plan.planned_figures.loads, 'load')}" if len(plan.versions) == 1 else ""
    return f"planned ({newest.strategy}): {span(newest.makespan_ms)}{loads}{bound}"


def print_run_plan(plan: RunPlan) -> None:
    """All of it."""
    click.echo(clean(f"run {plan.run}: {words.count(len(plan.rows), 'task')}, {_state(plan)}"))
    click.echo()
    print_pairs(_figures(plan))
    print_charts(plan)
    click.echo("\ntasks, from when the plan was made")
    rows = [
        (
            row.task.removeprefix(f"{plan.run}."),
            span_text(row.planned_start_ms, row.planned_end_ms),
            words.NONE if row.start_ms is None else span_text(row.start_ms, row.end_ms),
            words.NONE if row.late_ms is None else late_text(row.late_ms),
            _place(row.planned_host, row.host),
        )
        for row in plan.rows
    ]
    print_table(("task", "planned", "actual", "end", "host"), rows, empty="no task")


def print_end(plan: RunPlan) -> None:
    """What a run that was followed has to say at its end: both pictures, and how near they are."""
    print_charts(plan)
    click.echo()
    print_pairs(_figures(plan))


def print_charts(plan: RunPlan) -> None:
    """Planned above actual, at one scale, a model in the same colour in both."""
    pictures = charts(plan)
    for heading, picture in pictures:
        click.echo(f"\n{clean(heading)}")
        print_rows_of(picture, with_legend=picture is pictures[-1][1])


def charts(plan: RunPlan) -> tuple[tuple[str, Gantt], ...]:
    """Both pictures under their headings."""
    planned, actual = pictures(plan)
    return (
        (f"planned: {_told(plan.planned_figures.makespan_ms, plan.planned_figures.loads)}", planned),
        (f"actual: {_told(plan.actual_figures.makespan_ms, plan.actual_figures.loads)}", actual),
    )


def draw(plan: RunPlan, file: str) -> None:
    """Both pictures into a file. Raises `InvalidInputError` when it cannot be written."""
    from pathlib import Path

    from ostler.planning.gantt_svg import svg

    named = [(f"{plan.run}, {heading}", picture) for heading, picture in charts(plan)]
    try:
        Path(file).write_text(svg(named), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot be written: {error.strerror or error}", where=file) from None


def _told(makespan_ms: int, loads: int) -> str:
    return f"{span(max(0, makespan_ms))}, {words.count(loads, 'load')}"


def _state(plan: RunPlan) -> str:
    newest = plan.versions[-1]
    made = f"planned {newest.strategy} {words.ago(newest.made_ms, plan.now_ms)}"
    return f"{made}, {'followed' if plan.following else 'not followed any more'}"


def _figures(plan: RunPlan) -> Iterator[tuple[str, str]]:
    planned, actual = plan.planned_figures, plan.actual_figures
    done = all(row.end_ms is not None for row in plan.rows)
    so_far = "" if done else " so far"
    late = f", {late_text(actual.makespan_ms - planned.makespan_ms)}" if done and plan.rows else ""
    yield "makespan", f"{span(planned.makespan_ms)} planned, {span(max(0, actual.makespan_ms))}{so_far}{late}"
    yield "loads", f"{planned.loads} planned, {actual.loads}{so_far}"
    yield "swapping", f"{span(planned.swap_ms)} planned, {span(actual.swap_ms)}{so_far}"
    as_planned, late_count, early = lateness(plan.rows)
    open_count = len(plan.rows) - as_planned - late_count - early
    counts = [(as_planned, "ended as planned"), (early, "early"), (late_count, "late"), (open_count, "not over")]
    yield "tasks", ", ".join(f"{count} {what}" for count, what in counts if count)
    first = plan.versions[0]
    if first.bound_ms:
        yield "bound", f"no plan for it was shorter than {span(first.bound_ms)}"
    for version in plan.versions[1:]:
        at = words.duration(max(0, version.made_ms - plan.started_ms))
        left = f"{span(version.makespan_ms)} more from then"
        yield f"plan {version.version}", f"after {at}, because of {version.reason}: {left}"


def _place(planned: str, actual: str | None) -> str:
    return planned if actual in (None, planned) else f"{actual}, planned {planned}"
