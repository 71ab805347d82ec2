"""`ostler calls`: what went through the gateway."""

from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.domain.live import CallRecord

COLUMNS = ("id", "came in", "key", "asked", "answered by", "took", "tokens", "cost", "how")


@click.group(
    invoke_without_command=True, epilog=example("ostler calls", "ostler calls list --failed --key laptop --limit 20")
)
@click.pass_context
def calls(context: click.Context) -> None:
    """List the calls that went through the gateway; without a word more, the newest ones."""
    if context.invoked_subcommand is None:
        context.invoke(list_calls)


@calls.command("list", epilog=example("ostler calls list --limit 20", "ostler calls list --key laptop --failed --json"))
@click.option("--key", default="", metavar="NAME", help="Only calls with this key.")
@click.option("--model", metavar="NAME", help="Only calls that this model answered, or that asked for it.")
@click.option("--endpoint", metavar="NAME", help="Only calls that this endpoint answered.")
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option("--before", metavar="CALL", help="Go on below this call.")
@json_option
@hub_options
def list_calls(
    client: "HubClient",
    *,
    key: str,
    model: str | None,
    endpoint: str | None,
    failed: bool,
    limit: int,
    before: str | None,
    as_json: bool,
) -> None:
    """List calls, newest first: who asked for what, who answered, what it took and cost.

    `ostler why CALL` explains one.
    """
    from ostler.cli import render, words
    from ostler.domain.ports import CallQuery

    query = CallQuery(key=key, model=model, endpoint=endpoint, failed=failed, limit=limit, before=before)
    answer = client.calls(query)
    if as_json:
        render.print_json(answer)
        return
    rows = [call_row(record, answer.now_ms) for record in answer.calls]
    render.print_table(COLUMNS, rows, empty="no calls")
    if answer.calls:
        more = f"; go on with --before {answer.calls[-1].id}" if len(answer.calls) == limit else ""
        click.echo(f"\n{words.count(len(answer.calls), 'call')}, {_sum(answer.calls)}{more}")


def call_row(record: "CallRecord", now_ms: int) -> tuple[str, ...]:
    """A call in the columns of the list."""
    from ostler.cli import words

    tokens_in = sum(attempt.input_tokens for attempt in record.attempts)
    tokens_out = sum(attempt.output_tokens for attempt in record.attempts)
    return (
        record.id,
        words.ago(record.at_ms, now_ms),
        record.key or words.NONE,
        record.asked_model or words.NONE,
        f"{record.model} on {record.endpoint}" if record.endpoint else words.NONE,
        words.duration(record.duration_ms),
        f"{tokens_in} in, {tokens_out} out",
        words.exact_money(record.cost_micro_usd),
        _how(record),
    )


def _how(record: "CallRecord") -> str:
    if record.failure is not None:
        return f"{record.status} {record.failure.value}"
    return "good" + (f" after {len(record.attempts)} attempts" if len(record.attempts) > 1 else "")


def _sum(records: "tuple[CallRecord, ...]") -> str:
    from ostler.cli import words

    failed = sum(record.failure is not None for record in records)
    cost = sum(record.cost_micro_usd or 0 for record in records)
    unknown = sum(record.cost_micro_usd is None for record in records)
    priced = words.exact_money(cost) if unknown < len(records) else "cost unknown"
    unpriced = f" and {unknown} of unknown price" if 0 < unknown < len(records) else ""
    return f"{failed} failed, {priced}{unpriced}"
