"""`ostler models`: where models are, what they take, and loading, unloading and pinning them by hand."""

import time
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import example, hub_options, json_option
from ostler.domain.errors import ExitCode

if TYPE_CHECKING:
    from ostler.client.hub_client import HubClient
    from ostler.hub.fleet_views import HostRow, ModelChange

ANY_HOST = "any"
ASK_S, POLL_S = 20.0, 0.5
on_option = click.option("--on", "host", metavar="HOST", help="Host.  [default: where it is, or is there soonest]")
drain_option = click.option("--drain", is_flag=True, help="Let calls on what must go end first, instead of a refusal.")
no_wait_option = click.option("--no-wait", is_flag=True, help="Do not wait for the end.")


@click.group(
    epilog=example("ostler models list", "ostler models compare qwen-latest qwen-quality", "ostler models load qwen")
)
def models() -> None:
    """Show, compare, load, unload and pin models."""


@models.command("list", epilog=example("ostler models list", "ostler models list --json"))
@json_option
@hub_options
def list_models(client: "HubClient", *, as_json: bool) -> None:
    """List all models with their tiers, where they are loaded and installed, and what waits for them."""
    from ostler.cli import render
    from ostler.cli.model_text import LIST_COLUMNS, list_row

    answer = client.models()
    if as_json:
        render.print_json(answer)
        return
    rows = [list_row(model, answer.now_ms) for model in answer.models]
    render.print_table(LIST_COLUMNS, rows, empty="no model; add an endpoint with `ostler endpoints add`")


@models.command(
    "compare",
    epilog=example("ostler models compare qwen-latest qwen-quality", 'ostler models compare --task "fix the parser"'),
)
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option("--task", metavar="TEXT", help="For this prompt, or this type of work: success at it, and its cost.")
@json_option
@hub_options
def compare(client: "HubClient", *, names: tuple[str, ...], task: str | None, as_json: bool) -> None:
    """Compare models: price, context, what they can do, memory, load time, speeds as measured and as configured,
    successes.

    Without a name all models. Of what was measured stand the value, the bounds that nine of ten values keep, and how
    often it was measured.
    """
    from ostler.cli import render
    from ostler.cli.host_text import terminal_width
    from ostler.cli.model_fit import Comparison, fit_of
    from ostler.cli.model_text import chosen, comparison_lines

    answer = chosen(client.models(), names)
    fit = fit_of(client, task, answer) if task is not None and task.strip() else None
    if as_json:
        whole = (
            None
            if fit is None
            else Comparison(models=answer.models, now_ms=answer.now_ms, counted=answer.counted, task=fit)
        )
        render.print_json(answer if whole is None else whole)
        return
    for text in comparison_lines(answer, terminal_width(), fit):
        click.echo(text)
    if fit is not None:
        click.echo(f"\n{fit.complexity} {fit.task_type}: {fit.where}")


@models.command(
    "load", epilog=example("ostler models load qwen-quality", "ostler models load qwen-quality --on box --evict qwen")
)
@click.argument("name", metavar="MODEL")
@on_option
@click.option("--evict", metavar="MODEL", multiple=True, help="A model that shall go for it.  [several times]")
@drain_option
@no_wait_option
@json_option
@hub_options
def load(
    client: "HubClient",
    *,
    name: str,
    host: str | None,
    evict: tuple[str, ...],
    drain: bool,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Load a model on a managed host. Refused (exit code 4) when it cannot have room without stopping work.

    Exit code 1: the load failed. The scheduler goes on to decide what is loaded; `ostler models pin` keeps a model.
    """
    order = {"evict": evict, "drain": drain}
    return _carry_out(client, "load", name, host, order, no_wait=no_wait, as_json=as_json)


@models.command("unload", epilog=example("ostler models unload qwen-latest", "ostler models unload qwen --on box"))
@click.argument("name", metavar="MODEL")
@on_option
@drain_option
@no_wait_option
@json_option
@hub_options
def unload(client: "HubClient", *, name: str, host: str | None, drain: bool, no_wait: bool, as_json: bool) -> int:
    """Unload a model. Refused (exit code 4) while it works, unless --drain, and while it is pinned.

    Exit code 1: the engine kept it. When work waits for the model, it is loaded again.
    """
    return _carry_out(client, "unload", name, host, {"drain": drain}, no_wait=no_wait, as_json=as_json)


@models.command("pin", epilog=example("ostler models pin qwen-fast", "ostler models pin qwen-fast --on box"))
@click.argument("name", metavar="MODEL")
@click.option("--on", "host", metavar="HOST", help="Host.  [default: the only managed one]")
@json_option
@hub_options
def pin(client: "HubClient", *, name: str, host: str | None, as_json: bool) -> None:
    """Never evict a model from a host, until the hub stops. `hosts: pinned` in the profile does it for good."""
    _pin(client, name, host, pinned=True, as_json=as_json)


@models.command("unpin", epilog=example("ostler models unpin qwen-fast", "ostler models unpin qwen-fast --on box"))
@click.argument("name", metavar="MODEL")
@click.option("--on", "host", metavar="HOST", help="Host.  [default: the only managed one]")
@json_option
@hub_options
def unpin(client: "HubClient", *, name: str, host: str | None, as_json: bool) -> None:
    """Allow a pinned model to be evicted again, also one that the profile pins."""
    _pin(client, name, host, pinned=False, as_json=as_json)


def _pin(client: "HubClient", name: str, host: str | None, *, pinned: bool, as_json: bool) -> None:
    from ostler.cli import render, words

    row = client.pin_model(host or _only_host(client), name, pinned=pinned)
    if as_json:
        render.print_json(row)
    else:
        click.echo(f"pinned on {row.name}: {words.words(row.pins, 20)}")


def _only_host(client: "HubClient") -> str:
    from ostler.domain.errors import InvalidInputError

    managed = [row.name for row in client.hosts(saved=False).hosts if row.managed]
    if len(managed) == 1:
        return managed[0]
    what = "several hosts are managed" if managed else "no host is managed"
    remedy = f"name one of {', '.join(managed)}" if managed else "'ostler hosts' says why"
    raise InvalidInputError(what, where="--on", remedy=remedy)


def _carry_out(
    client: "HubClient",
    verb: str,
    name: str,
    host: str | None,
    order: dict[str, object],
    *,
    no_wait: bool,
    as_json: bool,
) -> int:
    from ostler.cli import render
    from ostler.cli.model_text import change_text
    from ostler.domain.errors import ConflictError

    ask = client.load_model if verb == "load" else client.unload_model
    try:
        change = ask(host or ANY_HOST, name, **order, wait_s=0.0 if no_wait else ASK_S)
        if change.under_way and not no_wait:
            change = _end_of(client, change)
    except ConflictError as error:
        if error.code == "model_swap_failed":
            error.exit_code = ExitCode.FAILED
        raise
    if as_json:
        render.print_json(change)
    else:
        click.echo(change_text(change))
    return ExitCode.OK


def _end_of(client: "HubClient", change: "ModelChange") -> "ModelChange":
    """Wait for the end of a change that takes longer than a question may. Raises `ConflictError` when it failed."""
    import msgspec

    from ostler.domain.errors import ConflictError

    begun_ms = change.now_ms
    while True:
        time.sleep(POLL_S)
        answer = client.hosts(saved=False)
        row = next((row for row in answer.hosts if row.name == change.host), None)
        if row is None or not _changes(row, change):
            break
    took_ms = answer.now_ms - begun_ms + int(ASK_S * 1000)
    present = row is not None and any(one.model == change.model for one in row.residents)
    if present != (change.kind == "load"):
        reasons = [failed.message for failed in row.failed if failed.model == change.model] if row is not None else []
        why = f": {reasons[0]}" if reasons else ""
        error = ConflictError(f"{change.model} could not be {change.kind}ed on {change.host}{why}", where="model")
        error.code = "model_swap_failed"
        raise error
    return msgspec.structs.replace(change, under_way=False, took_ms=took_ms, ready_ms=answer.now_ms)


def _changes(row: "HostRow", change: "ModelChange") -> bool:
    return row.swap is not None and (row.swap.kind, row.swap.model) == (change.kind, change.model)
