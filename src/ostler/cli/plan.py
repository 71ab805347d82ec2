"""`ostler plan`: what a pipeline will take on these machines, before anything is started."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ostler.app.options import DEFAULT_STRATEGY, STRATEGIES, PlanOptions, Tell
from ostler.cli.flags import Number, address_options, connect, example, json_option
from ostler.domain.errors import ExitCode, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ostler.app.plan_views import PlanReport
    from ostler.cli.claimsfile import ClaimsFile
    from ostler.client.hub_client import HubClient


@click.command(
    epilog=example(
        "ostler plan pipeline.yaml",
        "ostler plan pipeline.yaml --profile one-host-32gb --compare --svg plan.svg",
        "ostler plan pipeline.yaml --hosts box=64GB,box2=32GB --strategy optimal",
        "ostler plan pipeline.yaml --what-if memory=box+8GB --what-if allow=latest:qa,docs",
        "ostler plan --run r-x2m4k7 --svg run.svg",
    )
)
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--run", metavar="ID", help="Show the plan of this run of the hub beside what happened, instead of a file."
)
@click.option("--make", is_flag=True, help="With --run: plan what is left of it (anew), and follow that.")
@click.option("--drop", is_flag=True, help="With --run: follow its plan no longer.")
@click.option("--profile", metavar="FILE", help="Profile with the machines and models.  [default: as `ostler up`]")
@click.option(
    "--strategy",
    type=click.Choice(list(STRATEGIES)),
    default=DEFAULT_STRATEGY,
    show_default=True,
    help="How the plan is made.",
)
@click.option("--compare", is_flag=True, help="Show all strategies side by side, and what the live rules would do.")
@click.option("--hosts", metavar="HOSTS", default="", help="Other machines: `a=64GB,b=32GB`, or a number of copies.")
@click.option("--preloaded", is_flag=True, help="The models that hosts preload are in memory at the start.")
@click.option("--now", is_flag=True, help="What the running hub has in memory is there at the start.")
@click.option("--minute-price", "minute_price_usd", metavar="USD", type=Number(min=0), help="What a minute is worth.")
@click.option(
    "--what-if",
    metavar="QUESTION",
    multiple=True,
    help="Plan again with a change: `host=LIKE`, `memory=HOST+8GB`, `allow=MODEL:TASK,TASK`, `slots=COUNT`,"
    " `slots=MODEL:COUNT`, `cloud=TASK:USD`, `offer=TASK:USD`, `swaps=free`.  [several times]",
)
@click.option(
    "--seconds",
    type=Number(0.1, 3600),
    help="Longest search for one plan.  [default: 2 to 10, by the number of tasks]",
)
@click.option("--claims", metavar="FILE", help="What was said about plans of this work, to be checked against it.")
@click.option("--svg", metavar="FILE", help="Draw the plan into this file, too.")
@json_option
@address_options
def plan(
    *,
    file: str | None,
    run: str | None,
    hub: str | None,
    token_file: str | None,
    claims: str | None,
    svg: str | None,
    as_json: bool,
    **fields: Any,  # noqa: ANN401 -- the other options, by their names in `PlanOptions`
) -> int:
    """Predict how long a pipeline takes, which model is in memory when, and how far from the best possible that is.

    Nothing is started and no hub is needed. FILE is what `ostler run` takes, with `expected` durations. Exit code 1:
    the order of the declared phases breaks needs, or a claim cannot be true. With --run instead of FILE: the plan of a
    run of the hub, beside what happened.
    """
    make, drop = fields.pop("make"), fields.pop("drop")
    if run is not None:
        from ostler.cli.run_plan import run_verb

        client = connect(hub, token_file)
        told = {"make": make, "drop": drop, "svg": svg, "as_json": as_json}
        return run_verb(client, run, file=file, claims=claims, **told, **fields)
    if file is None or make or drop:
        what = "--make and --drop are for a run" if file is not None else "neither a file nor a run is named"
        raise InvalidInputError(what, where="ostler plan", remedy="name a FILE, or a run with --run")
    from ostler.app import options as app
    from ostler.cli.claimsfile import ClaimsFile, load_claims
    from ostler.cli.taskfile import load_task_file

    tasks = load_task_file(file)
    claimed = ClaimsFile()
    if claims is not None:
        claimed = load_claims(claims, {spec.id: spec.title for spec in tasks.specs})
    now = fields.pop("now")
    resident = _in_memory(connect(hub, token_file)) if _asks_hub(hub, now=now, **fields) else None
    wanted = PlanOptions(places=tasks.places, resident=resident, **fields)
    with _told() as tell:
        report = app.load_app().plan(tasks.pipeline, wanted, tell)
    if claims is not None:
        report = _audited(report, claimed)
    if svg is not None:
        _draw(report, svg)
    if as_json:
        from ostler.cli import render

        render.print_json(report)
    else:
        from ostler.cli.plan_text import print_report

        print_report(report)
    broken = report.claim is not None and report.claim.broken
    return ExitCode.FAILED if broken or report.findings else ExitCode.OK


def _asks_hub(hub: str | None, *, now: bool, preloaded: bool, **_fields: object) -> bool:
    if now and preloaded:
        raise InvalidInputError("--now and --preloaded exclude each other", where="ostler plan", remedy="use one")
    if hub is not None and not now:
        raise InvalidInputError("the hub is only asked for --now", where="--hub", remedy="add --now")
    return now


def _in_memory(client: "HubClient") -> dict[str, tuple[str, ...]]:
    """Host -> models that are loaded there, as far as its endpoints say."""
    found: dict[str, dict[str, None]] = {}
    for row in client.endpoints().endpoints:
        for resident in row.view.residents or ():
            found.setdefault(row.view.spec.host, {})[resident.model] = None
    return {host: tuple(models) for host, models in found.items()}


def _audited(report: "PlanReport", claimed: "ClaimsFile") -> "PlanReport":
    """The report with what cannot be true of the claims."""
    import msgspec

    from ostler.planning.audit import audit

    findings = audit(report.instance, claimed.claims, claimed.figures)
    return msgspec.structs.replace(report, findings=findings)


@contextmanager
def _told() -> "Iterator[Tell]":
    """Shows on a terminal what is being worked on, in one line that goes away."""
    if not sys.stderr.isatty():
        yield lambda _words: None
        return
    from rich.console import Console

    with Console(stderr=True).status("planning") as status:
        yield status.update


def _draw(report: "PlanReport", file: str) -> None:
    from pathlib import Path

    from ostler.cli.plan_text import span
    from ostler.planning.gantt import gantt
    from ostler.planning.gantt_svg import svg

    picture = gantt(report.instance, report.plan, names=report.names)
    heading = f"{report.name or 'plan'}: {span(report.plan.makespan_ms)}, {report.plan.strategy}"
    try:
        Path(file).write_text(svg([(heading, picture)]), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot be written: {error.strerror or error}", where=file) from None
