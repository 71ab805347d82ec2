"""The report for people: what happened, every task, every fallback and retry, machines, money, real and simulated."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ostler.demo.callers import CallRow
from ostler.demo.planned import planned_and_actual
from ostler.demo.report import DemoReport, FallbackRow, HostRow, TaskRow
from ostler.demo.workload import PIPELINE
from ostler.domain.money import MICRO_USD_PER_USD

WIDTH = 120
EXAMPLE = Path("examples") / PIPELINE.name
"""The pipeline as it lies in a checkout; elsewhere the one inside the package is shown."""
NONE = "-"
STATE_STYLE = {"succeeded": "green", "dead_letter": "red", "failed": "red", "expired": "red", "cancelled": "yellow"}

NEXT_STEPS = (
    ("ostler up", "a hub for what is on this machine: it finds a running Ollama, and the keys of clouds in your shell"),
    ("ostler submit 'Name three horses.' --wait", "one task; `ostler why ID` tells where it ran, and why there"),
    ("ostler config check ostler.yaml", "a ladder, machines and limits of your own"),
)


def print_report(report: DemoReport, console: Console, kept: str | None) -> None:
    """Print everything. `kept`: the folder with logs and profile, where it was kept."""
    for part in _all_parts(report, kept):
        _print(console, part)


def _print(console: Console, part: RenderableType) -> None:
    """Print a section and an empty line; in a file without the blanks that fill a terminal's lines."""
    if console.is_terminal:
        console.print(part, "")
        return
    with console.capture() as capture:
        console.print(part, "")
    for line in capture.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


def _all_parts(report: DemoReport, kept: str | None) -> Iterable[RenderableType]:
    yield from report_parts(report)
    if kept is not None:
        again = f"ostler up --profile {kept}/profile.yaml --data-dir {kept}/hub"
        yield _section("Kept", _pairs([("files", kept), ("look again", f"{again}, then `ostler why TASK`")]))
    example = EXAMPLE if EXAMPLE.exists() else PIPELINE
    agents = (
        f"ostler run {example}",
        "the same fourteen agents; `ostler up --profile one-host-32gb` knows their models",
    )
    yield _section("Go on from here", _pairs((*NEXT_STEPS, agents)))


def report_parts(report: DemoReport) -> Iterable[RenderableType]:
    """The sections in their order; those with nothing to say are left out."""
    yield headline(report)
    chapters = [(f"{chapter.at_s:5.1f} s", chapter.text) for chapter in report.story]
    yield _section("What happened", _pairs(chapters))
    yield _section("Every task", _tasks(report.tasks))
    yield _section("What some of them show", _pairs(_shown(report.tasks)))
    if report.fallbacks:
        yield _section("Every fallback and its reason", Group(*_fallbacks(report.fallbacks)))
    if report.why:
        yield _section("One decision in full, as `ostler why` tells it", _quote(report.why))
    if report.calls:
        yield _section("Live calls through the gateway", Group(*_calls(report.calls)))
    if report.retries:
        tried = [
            (
                row.task,
                str(row.attempt),
                row.place,
                f"{row.message} [{row.kind}]",
                "yes" if row.counted else "no",
                row.then,
            )
            for row in report.retries
        ]
        columns = ("task", "try", "place", "failed because", "counts", "then")
        yield _section("Every attempt that failed or was taken back", _table(columns, tried, wrap=3))
    yield _section("Machines", _hosts(report))
    yield _section("Money", _money(report))
    yield _section("What was real and what was simulated", _truth(report))
    if report.plan is not None:
        yield _section("The fourteen agents, planned and actual", planned_and_actual(report.plan))


def headline(report: DemoReport) -> RenderableType:
    """How it ended, in two lines; and why, if it ended badly."""
    totals = report.totals
    verdict = Text("Good", style="bold green") if report.ok else Text("Not good", style="bold red")
    verdict.append(f": {totals.succeeded} of {totals.tasks} tasks succeeded", style="not bold default")
    if totals.failed_optional:
        verdict.append(f", {totals.failed_optional} optional failed on purpose", style="not bold default")
    if totals.failed or totals.unfinished:
        verdict.append(f", {totals.failed} failed, {totals.unfinished} did not end", style="bold red")
    verdict.append(f", in {report.elapsed_s:.0f} s; nothing was left running" if not report.left_running else "")
    figures = ", ".join(
        (
            f"{totals.attempts} attempts",
            f"{totals.taken_back} taken back from a lost worker",
            f"{totals.fallbacks} fallbacks",
            f"{totals.swaps} model swaps",
            f"{totals.local_tokens} local and {totals.cloud_tokens} cloud tokens",
            f"{_dollars(totals.cost_micro_usd)} at simulated prices",
        )
    )
    problems = [Text(f"! {problem}", style="red") for problem in report.problems]
    return Group(verdict, Text(figures, style="dim"), *problems)


def _tasks(rows: Sequence[TaskRow]) -> Table:
    table = _empty_table(("task", "kind", "tier", "model", "at", "tries", "waited", "ran", "cost", "badge"))
    for row in rows:
        cells = (
            row.kind,
            row.tier or NONE,
            _short(row.model),
            row.endpoint or row.worker or NONE,
            str(row.attempts),
            _seconds(row.waited_ms),
            _seconds(row.ran_ms),
            row.cost_class or NONE,
        )
        style = "" if row.ok else STATE_STYLE.get(row.state, "red")
        table.add_row(Text(row.id, style=style), *(Text(cell) for cell in cells), _badge(row))
    return table


def _badge(row: TaskRow) -> Text:
    if not row.ok:
        return Text("optional" if row.optional else row.state, style=STATE_STYLE.get(row.state, "red"))
    return Text("FALLBACK", style="bold yellow") if row.fallback is not None else Text("")


def _shown(rows: Iterable[TaskRow]) -> Iterable[tuple[str, str]]:
    """Tasks that are there to show something, with what became of them."""
    for row in rows:
        if row.shows or row.changes:
            place = f"{row.model} on {row.endpoint}" if row.model else f"worker {row.worker}"
            how = " by fallback" if row.fallback is not None else ""
            end = f"{row.tier}{how}, {place}" if row.ok else row.state
            yield row.id, "; ".join(part for part in (row.shows, *row.changes, end) if part)


def _fallbacks(rows: Iterable[FallbackRow]) -> Iterable[RenderableType]:
    """Fallbacks by their reason, which many have in common."""
    groups: dict[tuple[str, str, str], list[FallbackRow]] = {}
    for row in rows:
        groups.setdefault((row.from_tier, row.to_tier, row.reason), []).append(row)
    for (from_tier, to_tier, reason), members in groups.items():
        yield Text(f"{from_tier} -> {to_tier}, because {reason}", style="yellow")
        yield _table(
            ("task", "taken by", "waited for its tier"),
            [(row.task, f"{row.model} on {row.endpoint}", _seconds(row.waited_ms)) for row in members],
        )


def _calls(rows: Sequence[CallRow]) -> Iterable[RenderableType]:
    """Each call with who spoke how, who answered, and what it took."""
    columns = (
        "client speaks",
        "asked for",
        "answered by",
        "first token",
        "took",
        "in line",
        "tokens in",
        "out",
        "cost",
    )
    yield _table(
        columns,
        [
            (
                f"{row.format}{', streamed' if row.streamed else ''}",
                row.asked,
                f"{_short(row.model)} on {row.endpoint}",
                NONE if row.first_token_ms is None else _seconds(row.first_token_ms),
                _seconds(row.duration_ms),
                _seconds(row.queue_ms),
                str(row.input_tokens),
                str(row.output_tokens),
                _dollars(row.cost_micro_usd),
            )
            for row in rows
        ],
        wrap=2,
    )
    for row in rows:
        if row.fallback:
            yield Text(f"{row.asked} was answered by {row.tier}, because {row.fallback}", style="yellow")


def _quote(lines: Iterable[str]) -> RenderableType:
    return Group(*(Padding(Text(line), (0, 0, 0, 2)) for line in lines))


def _hosts(report: DemoReport) -> Table:
    columns = (
        "machine",
        "in memory now",
        "loads",
        "swaps",
        "lost to loads",
        "calls",
        "tokens in",
        "out",
        "switched off",
    )
    return _table(columns, [_host(row, report.speed) for row in report.hosts], wrap=1)


def _host(row: HostRow, speed: float) -> tuple[str, ...]:
    lost = f"{row.lost_ms / 1000:.0f} s simulated ({row.lost_ms / 1000 / speed:.1f} s here)"
    return (
        row.name,
        ", ".join(_short(model) for model in row.residents) or NONE,
        f"{row.loads} ({row.unloads} unloads)",
        str(row.swaps),
        lost if row.simulated else f"{row.lost_ms / 1000:.1f} s measured",
        str(row.calls),
        str(row.input_tokens),
        str(row.output_tokens),
        f"{row.switched_off} x" if row.switched_off else "no",
    )


def _money(report: DemoReport) -> RenderableType:
    rows = [
        (
            row.model,
            row.endpoint,
            str(row.calls),
            _tokens(row.input_tokens, estimated=row.estimated),
            _tokens(row.output_tokens, estimated=row.estimated),
            _dollars(row.cost_micro_usd),
        )
        for row in report.money
    ]
    table = _table(("model", "at", "calls", "tokens in", "out", "cost"), rows)
    total = f"Together {_dollars(report.totals.cost_micro_usd)}. These prices are simulated: nobody is billed."
    if any(row.estimated for row in report.money):
        total += " ~ = counted from the pieces of the answers, because the engine gives no counts in a stream."
    return Group(table, Text(total, style="dim"))


def _truth(report: DemoReport) -> RenderableType:
    return _pairs(
        [("real" if index == 0 else "", text) for index, text in enumerate(report.real)]
        + [("simulated" if index == 0 else "", text) for index, text in enumerate(report.simulated)]
    )


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), body)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for left, right in pairs:
        table.add_row(Text(left), Text(right))
    return table


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], wrap: int | None = None) -> Table:
    table = _empty_table(columns, wrap)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _empty_table(columns: Sequence[str], wrap: int | None = None) -> Table:
    """Columns that stay whole; the one to `wrap` (by default the last) gives way."""
    table = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 1, 0, 0))
    loose = len(columns) - 1 if wrap is None else wrap
    for index, heading in enumerate(columns):
        table.add_column(heading.upper(), no_wrap=index != loose, overflow="fold" if index == loose else "ellipsis")
    return table


def _short(model: str | None) -> str:
    """A model's name without the vendor's ornament, so that a line holds it."""
    return NONE if model is None else model.replace("-instruct", "")


def _tokens(number: int, *, estimated: bool) -> str:
    return f"~{number}" if estimated else str(number)


def _dollars(cost_micro_usd: int | None) -> str:
    """Small amounts with digits enough to be told apart; unknown is never shown as free."""
    return "unknown" if cost_micro_usd is None else f"${cost_micro_usd / MICRO_USD_PER_USD:.4f}"


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms / 1000:.1f} s"
