"""`ostler doctor`: what is wrong with this installation."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import address_options, example, json_option
from ostler.domain.errors import ExitCode

if TYPE_CHECKING:
    from ostler.app.options import DoctorReport


@click.command(epilog=example("ostler doctor", "ostler doctor --profile ostler.yaml --json"))
@click.option("--profile", metavar="FILE", help="Profile to look at.  [default: the one that `ostler up` would take]")
@click.option("--data-dir", metavar="DIR", help="Folder of the hub's files.  [default: as the profile says]")
@json_option
@address_options
def doctor(*, profile: str | None, data_dir: str | None, as_json: bool, hub: str | None, token_file: str | None) -> int:
    """Look at profile, files, ports, keys, endpoints and the running hub; changes nothing.

    Exit codes: 0 nothing failed (there may be warnings), 1 something failed.
    """
    from ostler.app.options import DoctorOptions, load_app
    from ostler.cli import address

    options = DoctorOptions(
        profile=profile,
        data_dir=data_dir,
        hub=address.hub_url(hub),
        token=address.token(token_file),
    )
    return tell(load_app().doctor(options), as_json=as_json)


def tell(report: "DoctorReport", *, as_json: bool) -> int:
    """Print a report; the exit code."""
    from ostler.cli import render

    if as_json:
        render.print_json(report)
    else:
        rows = [(check.status, check.name, check.message) for check in report.checks]
        render.print_table(("result", "check", "found"), rows, empty="nothing to check")
        for check in report.checks:
            if check.remedy and check.status != "ok":
                click.echo(f"{check.name}: {render.clean(check.remedy)}")
    return ExitCode.OK if report.healthy else ExitCode.FAILED
