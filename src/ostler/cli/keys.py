"""`ostler keys`: what clients of the gateway present instead of a provider's key."""

import re
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ostler.cli.flags import example, hub_options, json_option
from ostler.cli.spec import PRIORITIES
from ostler.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.gateway_views import KeyRow

AGENT_KEYS = "agent/"
COLUMNS = ("name", "may use", "limit", "spent", "calls", "last used", "state")
_USD = re.compile(r"\$?(\d{1,9}(?:\.\d{1,6})?) ?(?:usd)?", re.IGNORECASE)


@click.group(
    epilog=example("ostler keys create laptop --limit 5usd --per day", "ostler keys list", "ostler keys revoke laptop")
)
def keys() -> None:
    """Make, list and revoke keys for clients of the gateway."""


@keys.command(
    "create",
    epilog=example(
        "ostler keys create laptop > key",
        "ostler keys create agent --model sonnet --task nightly --limit 5usd --per day",
        "ostler keys create private --local-only --priority low --json",
    ),
)
@click.argument("name")
@click.option("--model", "models", metavar="NAME", multiple=True, help="Only this model, or alias.  [several times]")
@click.option("--tier", "tiers", metavar="NAME", multiple=True, help="Only this tier, or alias.  [several times]")
@click.option("--task", default="", metavar="NAME", help="What its calls are charged to.")
@click.option("--limit", metavar="AMOUNT", help="Refuse calls once so much is spent, such as `5usd`.")
@click.option(
    "--per",
    type=click.Choice(["day", "month", "total"]),
    default="total",
    show_default=True,
    help="What the limit is for; days and months are those of UTC.",
)
@click.option(
    "--priority", type=click.Choice(list(PRIORITIES)), default="high", show_default=True, help="Of calls that wait."
)
@click.option("--local-only", is_flag=True, help="Its calls stay on machines of yours.")
@json_option
@hub_options
def create(
    client: "HubClient",
    *,
    limit: str | None,
    per: str,
    priority: str,
    as_json: bool,
    **wish: Any,  # noqa: ANN401 -- fields of the wish as they are
) -> None:
    """Make a key and print it: this once, because the hub keeps only its hash.

    Its name is never given again, because the records of its calls stand under it.
    """
    from ostler.cli import render
    from ostler.hub.gateway_views import KeyWish

    limited = None if limit is None else limit_micro_usd(limit)
    made = client.make_key(KeyWish(priority=PRIORITIES[priority], limit_micro_usd=limited, limit_window=per, **wish))
    if as_json:
        render.print_json(made)
    else:
        click.echo(made.key)


@keys.command("list", epilog=example("ostler keys list", "ostler keys list --all --json"))
@click.option("--all", "every", is_flag=True, help="Those of ended agent runs, too.")
@json_option
@hub_options
def list_keys(client: "HubClient", *, every: bool, as_json: bool) -> None:
    """List all keys, the revoked ones too: what each may use, has spent in its window, and when it was last used.

    Keys of ended agent runs are left out, because each run leaves one.
    """
    from ostler.cli import render

    answer = client.keys()
    if not every:
        shown = tuple(row for row in answer.keys if row.revoked_ms is None or not row.name.startswith(AGENT_KEYS))
        answer = msgspec.structs.replace(answer, keys=shown)
    if as_json:
        render.print_json(answer)
        return
    rows = [key_row(row, answer.now_ms) for row in answer.keys]
    render.print_table(COLUMNS, rows, empty="no key; make one with `ostler keys create NAME`")


@keys.command("revoke", epilog=example("ostler keys revoke laptop"))
@click.argument("name")
@json_option
@hub_options
def revoke(client: "HubClient", *, name: str, as_json: bool) -> None:
    """Revoke a key for good; who presents it is refused from now on."""
    from ostler.cli import render

    row = client.revoke_key(name)
    if as_json:
        render.print_json(row)
    else:
        click.echo(f"revoked {name}")


def limit_micro_usd(text: str) -> int:
    """An amount as a person writes it. Raises `InvalidInputError`.

    >>> limit_micro_usd("5usd"), limit_micro_usd("$0.25")
    (5000000, 250000)
    """
    from ostler.domain.money import micro_usd

    amount = _USD.fullmatch(text.strip())
    limit = micro_usd(amount[1]) if amount else 0
    if limit <= 0:
        remedy = "write an amount such as 5usd or 0.50usd"
        raise InvalidInputError(f"'{text}' is no limit", where="--limit", remedy=remedy)
    return limit


def key_row(row: "KeyRow", now_ms: int) -> tuple[str, ...]:
    """A key in the columns of the list."""
    from ostler.cli import words

    return (
        row.name,
        _allowed(row),
        _limit(row),
        words.exact_money(row.spent_micro_usd),
        str(row.calls),
        words.ago(row.last_used_ms, now_ms),
        _state(row, now_ms),
    )


def _allowed(row: "KeyRow") -> str:
    parts = [*row.models, *(f"tier {name}" for name in row.tiers)]
    allowed = ", ".join(parts) or "any model"
    return allowed + (", local only" if row.local_only else "") + (f", for {row.task}" if row.task else "")


def _limit(row: "KeyRow") -> str:
    from ostler.cli import words

    if row.limit_micro_usd is None:
        return words.NONE
    window = "in all" if row.limit_window == "total" else f"a {row.limit_window}"
    return f"{words.exact_money(row.limit_micro_usd)} {window}"


def _state(row: "KeyRow", now_ms: int) -> str:
    from ostler.cli import words

    if row.revoked_ms is not None:
        return f"revoked {words.ago(row.revoked_ms, now_ms)}"
    if row.limit_micro_usd is not None and row.spent_micro_usd >= row.limit_micro_usd:
        until = f", again {words.ago(row.window_ends_ms, now_ms)}" if row.window_ends_ms is not None else ""
        return f"limit reached{until}"
    return "open"
