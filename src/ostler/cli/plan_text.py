"""A plan in words and characters: its figures, its certificate, the chart, the tables. Text for people."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import click

from ostler.cli import words
from ostler.cli.render import clean, print_pairs, print_table
from ostler.planning.gantt import gantt
from ostler.planning.gantt_text import Row as ChartRow
from ostler.planning.gantt_text import chart, legend, plain_text

if TYPE_CHECKING:
    from rich.text import Text

    from ostler.app.plan_views import Claim, PlanReport, Row
    from ostler.planning.gantt import Gantt

WIDTH, WIDTH_MAX = 100, 200
"""Of the chart where there is no terminal, and at most."""
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999")
GB = 1e9
HOSTS_SHOWN, PATH_SHOWN, PHASES_SHOWN, TASKS_SHOWN = 6, 12, 20, 16
"""Of a large plan; `--json` has all of it."""
GAP_SHOWN = 0.001
"""Smaller gaps are not shown as none."""


def span(duration_ms: int) -> str:
    """A duration as plans are compared by: seconds, then minutes with hundredths, then hours.

    >>> span(22_500), span(3_517_500), span(54_000_000)
    ('22.5 s', '58.62 min', '15.00 h')
    """
    if duration_ms < 120_000:  # noqa: PLR2004 -- two minutes
        return f"{duration_ms / 1000:g} s"
    if duration_ms < 10_800_000:  # noqa: PLR2004 -- three hours
        return f"{duration_ms / 60_000:.2f} min"
    return f"{duration_ms / 3_600_000:.2f} h"


def print_report(report: "PlanReport") -> None:
    """All of a report."""
    instance = report.instance
    heading = f"{report.name or 'pipeline'}: {words.count(len(instance.tasks), 'task')}"
    click.echo(clean(f"{heading} on {words.count(len(instance.hosts), 'host')}, planned {report.plan.strategy}"))
    click.echo()
    print_pairs(_figures(report))
    click.echo()
    _print_chart(report)
    for title, lines in (
        ("phases, derived from needs and models", _phases(report)),
        ("declared phases", _claim(report.claim) if report.claim is not None else []),
        ("assumed", list(report.notes)),
        ("claims", _findings(report) if report.findings is not None else []),
    ):
        if lines:
            click.echo(f"\n{title}")
            for line in lines:
                click.echo(f"  {clean(line)}")
    for title, rows in (
        ("compared", report.comparison),
        ("what if", report.what_if),
        ("money against time", report.frontier),
    ):
        if rows:
            click.echo(f"\n{title}")
            _print_rows(rows)


def _figures(report: "PlanReport") -> Iterator[tuple[str, str]]:
    told, instance = report.figures, report.instance
    sizes = {host.name: host.memory_bytes for host in instance.hosts}
    yield "makespan", span(told.makespan_ms)
    yield "swaps", f"{words.count(told.loads, 'load')}, {span(told.swap_ms)} of loading and unloading"
    yield "idle", f"{span(told.idle_ms)} in which a machine neither works nor swaps"
    peaks = {host.host: host.peak_memory_bytes for host in told.hosts if sizes.get(host.host) is not None}
    shares = {name: f"{peak / GB:.1f} of {(sizes[name] or 0) / GB:.1f} GB at most" for name, peak in peaks.items()}
    if len(peaks) > HOSTS_SHOWN:
        fullest = max(peaks, key=lambda name: peaks[name] / (sizes[name] or 1))
        yield "memory", f"{shares[fullest]} on {fullest}, the fullest of {len(peaks)} hosts"
    else:
        yield from ((f"memory on {name}", share) for name, share in shares.items())
    if told.cost_micro_usd:
        yield "money", words.money(told.cost_micro_usd)
    path = " > ".join(_shortened(told.critical_path, PATH_SHOWN))
    yield "critical path", f"{span(told.critical_path_ms)} with no swap and no limit: {path}"
    yield "certificate", certificate_text(report)


def certificate_text(report: "PlanReport") -> str:
    """How good the plan is, as far as that is proven: the word optimal only where it is."""
    bound, makespan_ms = report.certificate, report.plan.makespan_ms
    if report.plan.proven or (bound is not None and bound.bound_ms == makespan_ms):
        if report.plan.proven:
            return "optimal: an exact solver proved that no plan is shorter"
        return "optimal: no plan is shorter" + (
            f" ({bound.kind}: {_by_names(bound.said, report.names)})" if bound and bound.said else ""
        )
    if bound is None:
        return "none: no lower bound was computed"
    gap = bound.gap(makespan_ms)
    why = f": {_by_names(bound.said, report.names)}" if bound.said else ""
    far = f"at most {gap:.1%}" if gap >= GAP_SHOWN else f"less than {GAP_SHOWN:.1%}"
    return f"no plan is shorter than {span(bound.bound_ms)}, so this one is {far} too long ({bound.kind}{why})"


def _by_names(text: str, names: Mapping[str, str]) -> str:
    """A text about models with the names that the pipeline uses."""
    for model in sorted(names, key=len, reverse=True):
        text = text.replace(model, names[model])
    return text


def _phases(report: "PlanReport") -> list[str]:
    models = [report.names.get(phase.model, phase.model) for phase in report.phases]
    width = max(map(len, models), default=0)
    lines: list[str] = []
    for number, (model, phase) in enumerate(zip(models[:PHASES_SHOWN], report.phases, strict=False), 1):
        room = max(30, WIDTH - width - 8)
        first, *rest = wrap(", ".join(_shortened(phase.tasks, TASKS_SHOWN)), room, break_on_hyphens=False) or [""]
        lines.append(f"{number:>2}  {model.ljust(width)}  {first}")
        lines += [" " * (width + 6) + more for more in rest]
    if len(models) > PHASES_SHOWN:
        lines.append(f"... and {len(models) - PHASES_SHOWN} more")
    return lines


def _shortened(names: Sequence[str], limit: int) -> list[str]:
    """The first names, with a word on how many there are."""
    return [*names[:limit], *([f"... ({len(names)})"] if len(names) > limit else [])]


def _claim(claim: "Claim") -> list[str]:
    lines = [f"order: {' > '.join(claim.phases)}"]
    if claim.broken:
        lines.append(f"this order breaks {words.count(len(claim.broken), 'need')}:")
        lines += [f"  {pair}" for pair in claim.broken]
    else:
        lines.append("it keeps every need")
    if claim.left_out:
        lines.append(f"it leaves out {', '.join(claim.left_out)}: what is claimed for it does not count them")
    if claim.mended is not None and claim.mended.makespan_ms is not None:
        how = "mended, it takes" if claim.broken else "followed to the letter, it takes"
        loads = words.count(claim.mended.loads, "load")
        lines.append(f"{how} {span(claim.mended.makespan_ms)} with {loads}")
    return lines


def _findings(report: "PlanReport") -> list[str]:
    if not report.findings:
        return ["nothing speaks against them"]
    width = max(len(finding.kind) for finding in report.findings)
    return [f"{finding.kind.ljust(width)}  {finding.subject}: {finding.said}" for finding in report.findings]


def _print_rows(rows: "Sequence[Row]") -> None:
    with_money = any(row.cost_micro_usd for row in rows)
    with_bound = any(row.bound_ms is not None for row in rows)
    columns = ["plan", "makespan", "loads", "swapping", "idle"]
    columns += ["money"] if with_money else []
    columns += ["bound", "gap"] if with_bound else []
    table = []
    for row in rows:
        cells = [row.name]
        if row.makespan_ms is None:
            cells += ["none", "", "", ""]
        else:
            cells += [span(row.makespan_ms), str(row.loads), span(row.swap_ms), span(row.idle_ms)]
        cells += [words.money(row.cost_micro_usd) if row.makespan_ms is not None else ""] if with_money else []
        if with_bound:
            cells.append(span(row.bound_ms) if row.bound_ms is not None else "")
            cells.append(f"{row.gap:.1%}" if row.gap is not None else "")
        table.append([*cells, row.detail])
    print_table([*columns, "how"], table, empty="nothing to compare")


def _print_chart(report: "PlanReport") -> None:
    print_rows_of(gantt(report.instance, report.plan, names=report.names))


def print_rows_of(picture: "Gantt", *, with_legend: bool = True) -> None:
    """A picture in characters, as wide as the terminal."""
    width = min(WIDTH_MAX, shutil.get_terminal_size((WIDTH, 24)).columns)
    if not _coloured():
        for line in plain_text([*chart(picture, width), *([legend(picture)] if with_legend else [])]):
            click.echo(clean(line))
        return
    from rich.console import Console

    console = Console(width=width, highlight=False)
    rows = [*chart(picture, width, coloured=True), *([legend(picture, coloured=True)] if with_legend else [])]
    for row in rows:
        console.print(_styled(row), soft_wrap=True)


def _coloured() -> bool:
    """Whether standard output shows colours, and the signs that go with them."""
    if not sys.stdout.isatty() or (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        return False
    from rich.console import Console

    console = Console()
    return console.color_system is not None and not console.no_color


def _styled(row: ChartRow) -> "Text":
    from rich.text import Text

    from ostler.planning.gantt import BarKind

    text = Text()
    for piece in row:
        colour = COLOURS[piece.model % len(COLOURS)]
        style = "" if piece.kind is None else f"black on {colour}"
        if piece.kind in (BarKind.LOAD, BarKind.UNLOAD):
            style = colour
        elif piece.kind is BarKind.RESIDENT:
            style = f"bold {colour} underline"
        text.append(clean(piece.text), style=style)
    return text
