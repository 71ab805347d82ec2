"""`ostler pulse` and `ostler why-idle`: one step of the engine, and why nothing runs."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import address_options, connect, example, hub_options, json_option, profile_option
from ostler.domain.errors import ExitCode

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.pulse_views import Idle, PulseReport


@click.command("why-idle", epilog=example("ostler why-idle", "ostler why-idle --batch my-batch --json"))
@click.option("--batch", metavar="NAME", help="Only this batch.  [default: all work]")
@json_option
@hub_options
def why_idle(client: "HubClient", *, batch: str | None, as_json: bool) -> None:
    """Say in one sentence what keeps work from running, and what can be done about it."""
    from ostler.cli import render

    answer = client.why_idle(batch)
    if as_json:
        render.print_json(answer)
        return
    click.echo(sentence(answer))


@click.command(
    epilog=example("ostler pulse", "ostler pulse --batch my-batch", "ostler pulse --for 10m --profile ostler.yaml")
)
@click.option("--batch", metavar="NAME", help="Only this batch.  [default: all work]")
@click.option(
    "--for",
    "longest",
    metavar="DURATION",
    help="Without a hub: how long to go on at most.  [default: until nothing runs and nothing can start]",
)
@profile_option
@click.option("--data-dir", metavar="DIR", help="Without a hub: folder of the hub's files.  [default: by the profile]")
@json_option
@address_options
def pulse(
    *,
    batch: str | None,
    longest: str | None,
    profile: str | None,
    data_dir: str | None,
    as_json: bool,
    hub: str | None,
    token_file: str | None,
) -> int:
    """Take one step: look at the workers, judge what ended, give out what can run, clean up; then say how things are.

    With a hub that answers, it takes the step. Without one this command is the engine itself, for as long as there is
    something to do, and is safe to start again meanwhile (see `ostler cron`).
    """
    from ostler.client.transport import NoHubError

    client: HubClient = connect(hub, token_file)
    try:
        report = client.pulse(batch)
    except NoHubError:
        if hub is not None:
            raise
        return _be_the_engine(batch, longest, profile, data_dir, as_json=as_json)
    tell(report, as_json=as_json)
    return ExitCode.OK


def _be_the_engine(
    batch: str | None, longest: str | None, profile: str | None, data_dir: str | None, *, as_json: bool
) -> int:
    from ostler.app.options import PulseOptions, load_app
    from ostler.cli.spec import duration_ms

    limit_s = duration_ms(longest, "--for") / 1000 if longest is not None else None
    options = PulseOptions(batch=batch, longest_s=limit_s, profile=profile, data_dir=data_dir)
    report = load_app().be_engine(options)
    if report is None:
        click.echo("another process is just starting to serve this folder; nothing to do here", err=True)
        return ExitCode.OK
    tell(report, as_json=as_json)
    return ExitCode.OK


def sentence(idle: "Idle") -> str:
    """Why nothing runs, and what to do."""
    return f"{idle.sentence}; {idle.remedy}" if idle.remedy else idle.sentence


def tell(report: "PulseReport", *, as_json: bool) -> None:
    """Print what a look brought."""
    from ostler.cli import render, words

    if as_json:
        render.print_json(report)
        return
    now_ms = report.now_ms
    did = [
        f"{verb} {', '.join(ids[:SHOWN_MAX])}{' ...' if len(ids) > SHOWN_MAX else ''}"
        for verb, ids in (("started", report.started), ("took back", report.taken_back), ("ended", report.ended))
        if ids
    ]
    silent = [worker for worker in report.workers if worker.lost_ms is not None]
    render.print_pairs(
        [
            ("step", "; ".join(did) or "nothing had to be done"),
            ("now", sentence(report.idle)),
            ("workers", f"{words.count(len(report.workers), 'worker')}, {len(silent)} silent"),
            ("later", f"{report.later} scheduled" if report.later else ""),
            ("again", f"{report.retrying} wait for another try" if report.retrying else ""),
        ]
    )
    rows = [
        (run.task_id, run.worker, run.model or words.NONE, words.duration(now_ms - run.since_ms), run.stuck or "well")
        for run in report.running
    ]
    if rows:
        click.echo()
        render.print_table(("running", "worker", "model", "for", "is"), rows, empty="")
    for worker in silent:
        click.echo(f"{worker.name} is silent; its tasks are kept {words.duration((worker.lost_ms or 0) - now_ms)} more")
    for person in report.needs_person:
        click.echo(f"{person.task_id} needs a person: {person.message}")


SHOWN_MAX = 8
