"""`ostler prices`: what models cost by the table and the profile, and which of the profile's have no price."""

from pathlib import Path

import click

from ostler.cli.flags import example, json_option, profile_option
from ostler.domain.errors import ExitCode

COLUMNS = ("MODEL", "IN", "OUT", "CACHE READ", "CACHE WRITE", "FROM")


@click.group(epilog=example("ostler prices show claude-sonnet-5", "ostler prices check"))
def prices() -> None:
    """Show and refresh the prices that budgets reckon with. USD for a million tokens."""


@prices.command("show", epilog=example("ostler prices show claude-sonnet-5 gpt-5", "ostler prices show --json"))
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@profile_option
@json_option
def show(*, names: tuple[str, ...], profile: str | None, as_json: bool) -> int:
    """Show prices by model: the profile's own before the table's. Without a name, those of the profile's models.

    Exit code 1 when a model that was named has no price.
    """
    from ostler.app.price_views import price_rows
    from ostler.cli import render

    answer = price_rows(profile, names)
    if as_json:
        render.print_json(answer)
    else:
        rows = [(row.name, *(_usd(price) for price in row.prices), row.source) for row in answer.rows]
        render.print_table(COLUMNS, rows, empty="the profile has no model in a cloud; name one")
        click.echo(f"table of {answer.dated}, {answer.source}")
    return ExitCode.FAILED if any(not row.known for row in answer.rows) and names else ExitCode.OK


@prices.command("check", epilog=example("ostler prices check", "ostler prices check --json"))
@profile_option
@json_option
def check(*, profile: str | None, as_json: bool) -> int:
    """Look for cloud models of the profile without a price, and tell how old the table is.

    Exit code 1 when there is one: it is charged at the conservative price, or refused, as `budget.unknown_price` says.
    """
    from ostler.app.price_views import price_rows
    from ostler.cli import render

    answer = price_rows(profile, ())
    unknown = [row.name for row in answer.rows if not row.known]
    if as_json:
        render.print_json({"dated": answer.dated, "source": answer.source, "unknown": unknown})
    else:
        for name in unknown:
            click.echo(f"{name}: no price is known; give it input_usd_per_mtok and output_usd_per_mtok under `models`")
        click.echo(f"{len(answer.rows) - len(unknown)} of {len(answer.rows)} cloud models have a price")
        click.echo(f"table of {answer.dated}, {answer.source}")
    return ExitCode.FAILED if unknown else ExitCode.OK


@prices.command("refresh-from", epilog=example("ostler prices refresh-from prices.json"))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@profile_option
@json_option
def refresh_from(*, file: Path, profile: str | None, as_json: bool) -> None:
    """Use the table of a file from now on, until Ostler comes with a newer one. The profile's prices still go first.

    The file looks like `src/ostler/budget/prices.json` of the sources; nothing is downloaded. A running hub takes it
    when it starts anew.
    """
    from ostler.app.price_views import refreshed
    from ostler.cli import render

    table = refreshed(profile, file)
    count = sum(len(models) for models in table.providers.values())
    if as_json:
        render.print_json({"dated": table.dated, "source": table.source, "models": count})
        return
    click.echo(f"{count} prices of {table.dated} from {table.source}")


def _usd(price: float | None) -> str:
    return "" if price is None else f"{price:g}"
