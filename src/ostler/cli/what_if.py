"""`ostler simulate`: a workload in virtual time, under one policy or several side by side."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ostler.cli.flags import Number, example, json_option

if TYPE_CHECKING:
    from ostler.app.options import Told, WhatIfOptions
    from ostler.cli.taskfile import TaskFile
    from ostler.domain.tasks import TaskSpec
    from ostler.hub.simulated import Comparison, Result

TRACE_SUFFIX = ".csv"
TELL_EVERY_S = 1.0
BATCH = "simulated"
MISSES_SHOWN = 5


@click.command(
    epilog=example(
        "ostler simulate examples/fourteen-agents.yaml --policy one-host-32gb --compare fifo --ttl 0s",
        "ostler simulate trace.csv --fleet ostler.yaml --policy ostler.yaml --compare warm-first --tasks 3000",
    )
)
@click.argument("workload", metavar="WORKLOAD")
@click.option("--fleet", metavar="PROFILE", help="Whose machines are simulated.  [default: each policy's own]")
@click.option(
    "--policy",
    metavar="P",
    help="A profile, or fifo, round-robin, least-loaded, warm-first, drain.  [default: the profile that is found]",
)
@click.option("--compare", metavar="P", multiple=True, help="Another policy beside it.  [several times]")
@click.option("--plan", metavar="STRATEGY", help="Have the first policy follow such a plan too, beside the rest.")
@click.option("--tasks", metavar="N", type=click.IntRange(1, 1_000_000), default=5_000, show_default=True,
              help="At most so many tasks of a trace.")  # fmt: skip
@click.option("--load", metavar="X", type=Number(0.01, 10), default=0.5, show_default=True,
              help="Share of what the fleet carries that a trace is scaled to.")  # fmt: skip
@click.option("--sigma", metavar="X", type=Number(0, 3), default=0.0, show_default=True,
              help="Noise on durations, log-normal.")  # fmt: skip
@click.option("--ttl", metavar="DURATION", help="Time to live of every task; 0s = nobody gives up.  [default: its own]")
@click.option("--outage", "outages", metavar="HOST:FROM-UNTIL", multiple=True,
              help="A host that is away for a while.  [several times]")  # fmt: skip
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Equal seeds, equal results.")
@json_option
def simulate(
    *,
    workload: str,
    fleet: str | None,
    policy: str | None,
    compare: tuple[str, ...],
    ttl: str | None,
    as_json: bool,
    **numbers: Any,  # noqa: ANN401 -- the options that go on as they are
) -> None:
    """Run a workload in virtual time: the real scheduler over simulated machines. No hub and no machine is needed.

    WORKLOAD is a file of tasks as for `ostler run`, or a trace (.csv). Printed are makespan, waits, swaps, money and
    misses; with --compare side by side. All of it is simulated.
    """
    from ostler.app.options import load_app
    from ostler.cli import render

    options = _options(workload, fleet, (policy, *compare), ttl, numbers)
    comparison = load_app().what_if(options, None if as_json else teller())
    if as_json:
        render.print_json(comparison)
        return
    print_comparison(comparison)


def _options(
    workload: str, fleet: str | None, policies: tuple[str | None, ...], ttl: str | None, numbers: dict[str, Any]
) -> "WhatIfOptions":
    from ostler.app.options import WhatIfOptions
    from ostler.cli.taskfile import load_task_file

    is_trace = workload.endswith(TRACE_SUFFIX)
    file = None if is_trace else load_task_file(workload)
    return WhatIfOptions(
        name=(file.name or workload) if file is not None else workload,
        specs=_within_limits(file) if file is not None else (),
        trace=workload if is_trace else None,
        fleet=fleet,
        policies=policies,
        ttl_ms=None if ttl is None else duration_ms(ttl, "--ttl"),
        **numbers,
    )


def _within_limits(file: "TaskFile") -> "tuple[TaskSpec, ...]":
    """The tasks of a file with the limits that it sets for all of them, as `ostler run` hands them in."""
    import msgspec

    return tuple(
        msgspec.structs.replace(spec, batch=BATCH, batch_limit=file.limit, batch_slots=file.slots)
        for spec in file.specs
    )


def duration_ms(text: str, where: str) -> int:
    """What a flag means as a duration. Raises `InvalidInputError`."""
    from ostler.config.units import parse_duration_ms
    from ostler.domain.errors import InvalidInputError

    try:
        return parse_duration_ms(text)
    except ValueError:
        remedy = "write a number with its unit, such as 500ms, 90s, 5m or 2h"
        raise InvalidInputError(f"'{text}' is no duration", where=where, remedy=remedy) from None


def teller() -> "Told | None":
    """Progress for who watches; silent in a pipe, and while a run is short."""
    if not sys.stderr.isatty():
        return None
    told_s = time.monotonic()

    def tell(policy: str, done: int, of: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s > TELL_EVERY_S:
            told_s = time.monotonic()
            click.echo(f"{policy}: {done} of {of} tasks have ended", err=True)

    return tell


def print_comparison(comparison: "Comparison") -> None:
    """A comparison for people: the rules, then one column for each policy, with ratios to the first."""
    from ostler.cli import render

    click.echo(f"{render.clean(comparison.workload)}, simulated, seed {comparison.seed}")
    for rule in comparison.rules:
        click.echo(f"  {render.clean(rule)}")
    first, *others = comparison.results
    columns = ("", first.policy, *(name for other in others for name in (other.policy, "ratio")))
    rows = [
        (label, shown(first), *(text for other in others for text in (shown(other), _ratio(figure, first, other))))
        for label, figure, shown in _ROWS
    ]
    click.echo()
    render.print_table(columns, rows, empty="")
    for result in comparison.results:
        _print_more(result)


def _print_more(result: "Result") -> None:
    from ostler.cli import render

    click.echo(f"\n{result.policy} ({'rival' if result.kind == 'rival' else result.kind}, on {result.fleet})")
    if result.hosts:
        _print_hosts(result)
    models = ", ".join(f"{model or 'no model'} {count}" for model, count in result.by_model.items())
    click.echo(f"succeeded by model: {models or 'none'}")
    for miss in result.misses[:MISSES_SHOWN]:
        click.echo(f"  {miss.task} {miss.state}: {render.line(miss.reason, 100)}")
    if (more := sum(result.missed.values()) - MISSES_SHOWN) > 0:
        click.echo(f"  and {more} more that did not succeed")


def _print_hosts(result: "Result") -> None:
    from ostler.cli import render

    hosts = [
        (
            h.name,
            str(h.calls),
            str(h.loads),
            str(h.swaps),
            _duration(h.load_ms + h.unload_ms),
            f"{h.busy_permille / 10:.1f} %",
        )
        for h in result.hosts
    ]
    render.print_table(("host", "calls", "loads", "swaps", "swapping", "busy"), hosts, empty="")


def _duration(ms: int | None) -> str:
    from ostler.cli import words

    return words.NONE if ms is None else words.duration(ms)


def _money(result: "Result") -> str:
    from ostler.cli import words

    unknown = f", {result.unpriced} unpriced" if result.unpriced else ""
    return f"{words.money(result.cost_micro_usd)}{unknown}"


def _missed(result: "Result") -> str:
    return ", ".join(f"{state} {count}" for state, count in result.missed.items()) or "none"


Figure = Callable[["Result"], "int | None"]
Shown = Callable[["Result"], str]


def _time(label: str, figure: Figure) -> tuple[str, Figure, Shown]:
    return label, figure, lambda result: _duration(figure(result))


def _count(label: str, figure: Figure) -> tuple[str, Figure, Shown]:
    return label, figure, lambda result: "-" if (count := figure(result)) is None else str(count)


_ROWS: tuple[tuple[str, Figure, Shown], ...] = (
    _time("makespan", lambda r: r.makespan_ms),
    _time("wait, mean", lambda r: r.wait.mean_ms),
    _time("wait, p50", lambda r: r.wait.p50_ms),
    _time("wait, p95", lambda r: r.wait.p95_ms),
    _time("wait, p99", lambda r: r.wait.p99_ms),
    _time("wait, longest", lambda r: r.wait.max_ms),
    _count("loads", lambda r: r.loads),
    _count("swaps", lambda r: r.swaps),
    _time("loading and unloading", lambda r: r.swap_ms),
    ("money", lambda r: r.cost_micro_usd, _money),
    _count("succeeded", lambda r: r.succeeded),
    ("missed", lambda r: sum(r.missed.values()), _missed),
)


def _ratio(figure: Figure, first: "Result", other: "Result") -> str:
    """How many times the first one's figure the other one's is."""
    base, value = figure(first), figure(other)
    if base is None or value is None:
        return "-"
    if not base:
        return "=" if not value else "-"
    return f"x {value / base:.2f}"
