"""`ostler budget`: what was spent, what is left, and what to do about it; no hub is needed."""

from pathlib import Path

import click

from ostler.cli.flags import Number, example, json_option, profile_option
from ostler.domain.errors import ExitCode

quiet_option = click.option("--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
usd = Number(min=0)
CODES = {"ok": 0, "degraded": 1, "exhausted": 2}


@click.group(
    epilog=example("ostler budget status", "ostler budget check anthropic", "ostler budget gate tasks.yaml --max 2.50")
)
def budget() -> None:
    """Show, check, record and configure what may be spent."""


@budget.command("check", epilog=example("ostler budget check anthropic", "ostler budget check --estimate 0.10 --json"))
@click.argument("provider", metavar="[PROVIDER]", required=False)
@click.option("--tier", default="", metavar="TIER", help="Tier it would run on.")
@click.option("--session", default="", metavar="NAME", help="Session it belongs to.")
@click.option("--tick", default="", metavar="NAME", help="Tick it belongs to.")
@click.option("--estimate", type=usd, default=0.0, metavar="USD", help="What it is expected to cost.")
@click.option("--critical", is_flag=True, help="It keeps its tier up to its own ceiling.")
@quiet_option
@profile_option
@json_option
def check(*, provider: str | None, quiet: bool, profile: str | None, as_json: bool, **scopes: object) -> int:
    """Check whether work may run now. Exit code 0: yes; 1: degraded, on a cheaper tier; 2: exhausted, only what costs
    nothing.
    """
    from ostler.app.budget_views import check_view
    from ostler.cli import render

    view = check_view(profile, provider, **scopes)
    if as_json:
        render.print_json(view)
    elif not quiet:
        click.echo(f"{view.provider or 'all'}: {view.status}, {view.detail}")
    return CODES[view.status]


@budget.command("status", epilog=example("ostler budget status", "ostler budget status --json"))
@profile_option
@json_option
def status(*, profile: str | None, as_json: bool) -> None:
    """Show every limit and subscription: what is used, held and left, and when it is free again."""
    from ostler.app.budget_views import status_view
    from ostler.cli import render

    view = status_view(profile)
    if as_json:
        render.print_json(view)
        return
    shared = any(row.pools for row in view.limits)
    rows = [
        (row.limit, row.of, row.level, row.used, row.held, *([row.elsewhere] if shared else []), row.left, row.resets)
        for row in view.limits
    ]
    heads = ("LIMIT", "OF", "LEVEL", "USED", "HELD", *(["OTHER POOLS"] if shared else []), "LEFT", "RESETS")
    render.print_table(heads, rows, empty="nothing limits what is spent")
    for one in view.subscriptions:
        click.echo(f"subscription {one.provider}: {one.detail}")
    plans = [
        (one.provider, row.allowance, f"{row.used_percent:g} %", f"{row.open_percent:g} %", row.used, row.resets)
        for one in view.subscriptions
        for row in one.allowances
    ]
    if plans:
        render.print_table(("PROVIDER", "ALLOWANCE", "USED", "OPEN BY NOW", "OURS", "RESETS"), plans, empty="")
    saved = f"; local work would have cost {view.saved} on {view.saved_of}" if view.saved else ""
    click.echo(view.total_line + saved)


@budget.command(
    "record",
    epilog=example(
        "ostler budget record anthropic claude-sonnet-5 --tokens-in 1200 --tokens-out 300",
        "ostler budget record opencode big-pickle --cost 0.04 --requested-tier large --actual-tier small",
    ),
)
@click.argument("provider")
@click.argument("model")
@click.option("--tier", default="", metavar="TIER", help="Tier it ran on.")
@click.option("--task", default="", metavar="ID", help="Task it was for.")
@click.option("--session", default="", metavar="NAME", help="Session it belongs to.")
@click.option("--tick", default="", metavar="NAME", help="Tick of its session.")
@click.option("--tokens-in", type=click.IntRange(min=0), default=0, metavar="N", help="Tokens of input.")
@click.option("--tokens-out", type=click.IntRange(min=0), default=0, metavar="N", help="Tokens of output.")
@click.option("--cost", type=usd, metavar="USD", help="What it cost.  [default: by its tokens and price]")
@click.option("--requested-tier", default="", metavar="TIER", help="Tier that was asked for.")
@click.option("--actual-tier", default="", metavar="TIER", help="Tier it ran on; the same as --tier.")
@click.option("--id", "attempt", default="", metavar="ID", help="Name of the call: the same one is charged once.")
@quiet_option
@profile_option
@json_option
def record(*, profile: str | None, quiet: bool, as_json: bool, **fields: object) -> None:
    """Charge a call that was made elsewhere. While a hub has the ledger, the hub charges it."""
    from ostler.app.budget_views import record_spending
    from ostler.cli import render
    from ostler.domain.money import usd_text

    charged = record_spending(profile, **fields)
    if as_json:
        render.print_json({"charged_micro_usd": charged})
    elif not quiet:
        click.echo(f"charged {usd_text(charged)}")


@budget.command("recommend", epilog=example("ostler budget recommend", "ostler budget recommend --tier large --json"))
@click.option("--tier", default="", metavar="TIER", help="Tier that has to be served.")
@quiet_option
@profile_option
@json_option
def recommend(*, tier: str, profile: str | None, quiet: bool, as_json: bool) -> int:
    """Recommend a provider: subscriptions with allowance first, then those within budget by priority.

    Looked at is whether it serves the tier, and whether it was found down lately. Exit code 1 when the best one is
    degraded, exhausted or down.
    """
    from ostler.app.budget_views import recommendations
    from ostler.cli import render

    rows = recommendations(profile, tier)
    if as_json:
        render.print_json({"recommended": rows[0].provider if rows else None, "providers": rows})
    elif not quiet:
        health = {True: "up", False: "down", None: "not checked lately"}
        render.print_table(
            ("PROVIDER", "BILLING", "LEVEL", "HEALTH", "WHY"),
            [(row.provider, row.billing, row.level.value, health[row.healthy], row.reason) for row in rows],
            empty="no provider serves it",
        )
    good = bool(rows) and rows[0].level.value == "ok" and rows[0].healthy is not False
    return ExitCode.OK if good else ExitCode.FAILED


@budget.command("burn-rate", epilog=example("ostler budget burn-rate anthropic", "ostler budget burn-rate --json"))
@click.argument("provider", metavar="[PROVIDER]", required=False)
@profile_option
@json_option
def burn_rate(*, provider: str | None, profile: str | None, as_json: bool) -> None:
    """Show how fast money goes today, when it will be used up at that rate, and the mean of the last seven days."""
    from ostler.app.budget_views import burn_view
    from ostler.cli import render

    view = burn_view(profile, provider)
    if as_json:
        render.print_json(view)
        return
    render.print_pairs(view.pairs)


@budget.command("gate", epilog=example("ostler budget gate tasks.yaml --max 2.50"))
@click.argument("file", metavar="FILE")
@click.option("--max", "most", type=usd, required=True, metavar="USD", help="What all of it may cost.")
@quiet_option
@profile_option
@json_option
def gate(*, file: str, most: float, profile: str | None, quiet: bool, as_json: bool) -> int:
    """Estimate what a file of tasks costs. Exit code 1 when that is above the maximum, or a price is not known.

    Estimated with the prices of the models that would be chosen now, and answers of the usual length.
    """
    from ostler.app.budget_views import workload_view
    from ostler.cli import render
    from ostler.cli.taskfile import load_task_file
    from ostler.domain.money import micro_usd, usd_text

    view = workload_view(profile, load_task_file(file).specs, micro_usd(most))
    if as_json:
        render.print_json(view)
    elif not quiet:
        unknown = f", {len(view.unpriced)} without a known price" if view.unpriced else ""
        verdict = "within" if view.passes else "above"
        click.echo(f"{view.tasks} tasks: {usd_text(view.micro_usd)}{unknown}; {verdict} {usd_text(view.max_micro_usd)}")
    return ExitCode.OK if view.passes else ExitCode.FAILED


@budget.command("drift", epilog=example("ostler budget drift", "ostler budget drift --days 30 --json"))
@click.option("--days", type=click.IntRange(min=1), default=7, show_default=True, help="So many days back.")
@quiet_option
@profile_option
@json_option
def drift(*, days: int, profile: str | None, quiet: bool, as_json: bool) -> None:
    """Compare the tiers that were asked for with those that calls ran on.

    A share above 25 % is a notice, above 50 % a warning.
    """
    from ostler.app.budget_views import drift_view
    from ostler.cli import render

    view = drift_view(profile, days)
    if as_json:
        render.print_json(view)
    if as_json or quiet:
        return
    rows = [(row.asked, row.ran, str(row.calls)) for row in view.rows]
    render.print_table(("ASKED", "RAN ON", "CALLS"), rows, empty=f"no call of the last {days} days named a tier")
    click.echo(f"{view.drifted} of {view.calls} calls ran on another tier ({view.share_percent:.1f} %): {view.level}")


@budget.command(
    "configure",
    epilog=example(
        "ostler budget configure anthropic --billing-type token --daily-budget 50",
        "ostler budget configure anthropic --degradation-pct 70 --exhaustion-pct 90",
    ),
)
@click.argument("provider")
@click.option("--billing-type", type=click.Choice(["token", "subscription"]), help="How it is paid.")
@click.option("--daily-budget", type=usd, metavar="USD", help="A day of it.")
@click.option("--degradation-pct", type=click.IntRange(0, 100), metavar="N", help="Share at which it is degraded.")
@click.option("--exhaustion-pct", type=click.IntRange(0, 100), metavar="N", help="Share at which it is exhausted.")
@click.option("--priority", type=click.IntRange(min=0), metavar="N", help="The lower, the earlier recommended.")
@click.option("--period-budget", type=usd, metavar="USD", help="A month of it.")
@click.option("--period-warn-pct", type=click.IntRange(0, 100), metavar="N", help="Share of a period to tell at.")
@quiet_option
@profile_option
@json_option
def configure(*, provider: str, profile: str | None, quiet: bool, as_json: bool, **fields: object) -> None:
    """Set the budget of a provider in the profile; what is not named stays as it is, comments too.

    A running hub takes it over by itself. What a subscription allows is as its provider reports, or as
    `ostler budget configure-period` says.
    """
    from ostler.app.budget_edit import configure_provider

    _written(configure_provider(profile, provider, fields), as_json=as_json, quiet=quiet)


@budget.command(
    "configure-period",
    epilog=example("ostler budget configure-period opencode --start 2026-02-01 --end 2026-03-01 --allowance 200"),
)
@click.argument("provider")
@click.option("--start", required=True, metavar="DAY", help="First day, as 2026-02-01.")
@click.option("--end", required=True, metavar="DAY", help="First day after it.")
@click.option("--allowance", type=Number(min=0), required=True, metavar="N", help="How much it allows.")
@click.option(
    "--unit", type=click.Choice(["usd", "tokens", "requests"]), default="usd", show_default=True, help="What it counts."
)
@click.option("--name", default="period", show_default=True, metavar="NAME", help="Name of the allowance.")
@quiet_option
@profile_option
@json_option
def configure_period(*, provider: str, profile: str | None, quiet: bool, as_json: bool, **fields: object) -> None:
    """Set the period and allowance of a subscription in the profile."""
    from ostler.app.budget_edit import configure_allowance

    _written(configure_allowance(profile, provider, fields), as_json=as_json, quiet=quiet)


def _written(path: Path, *, as_json: bool, quiet: bool) -> None:
    from ostler.cli import render

    if as_json:
        render.print_json({"profile": str(path)})
    elif not quiet:
        click.echo(f"written to {path}")
