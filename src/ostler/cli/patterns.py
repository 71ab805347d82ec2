"""`ostler patterns`: what became of work, by type and model; what that teaches; and taking it back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ostler.cli.flags import Number, example, hub_options, json_option
from ostler.cli.pattern_changes import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ostler.client.hub_client import HubClient
    from ostler.hub.pattern_views import LearnedRow, PatternChange, PatternReport, PatternRow

COLUMNS = (
    "type",
    "model",
    "version",
    "tier",
    "good",
    "bad",
    "rate",
    "at least",
    "trusted",
    "raw rule",
    "takes",
    "costs",
)
_MICRO = 1_000_000
NOTHING = "no outcomes; they are kept as tasks end, or written with `ostler patterns record`"


@click.group(
    epilog=example(
        "ostler patterns report",
        "ostler patterns record coding qwen2.5:7b --failure",
        "ostler patterns forget --model qwen2.5:7b",
    )
)
def patterns() -> None:
    """Show, write and forget what is learned of outcomes."""


patterns.add_command(changes)


def filters(command: "Callable[..., None]") -> "Callable[..., None]":
    """`--type`, `--model`, `--tier` and `--version`."""
    for name, what in (
        ("version", "Only this version of a model."),
        ("tier", "Only this tier."),
        ("model", "Only this model."),
        ("type", "Only this type of work."),
    ):
        target = "task_type" if name == "type" else name
        command = click.option(f"--{name}", target, default="", metavar="NAME", help=what)(command)
    return command


@patterns.command(epilog=example("ostler patterns record general qwen2.5:7b --success --verified --duration 12.5"))
@click.argument("task_type", metavar="TYPE")
@click.argument("model")
@click.option("--success/--failure", default=None, help="What became of it.")
@click.option("--tier", default="", metavar="NAME", help="The tier it ran on.")
@click.option("--verified", is_flag=True, help="A check found it; it counts twice of what is only said.")
@click.option("--attempt", type=click.IntRange(1, 100), default=1, show_default=True, help="Which try of its task.")
@click.option("--duration", type=Number(0, 1e7), metavar="SECONDS", help="How long it took.")
@click.option("--cost", type=Number(0, 1e6), metavar="USD", help="What it cost.")
@click.option("--quality", default="", metavar="TEXT", help="Such as `first try`, `after a fix`, `needs a person`.")
@click.option("--note", default="", metavar="TEXT", help="Anything to remember.")
@json_option
@hub_options
def record(
    client: "HubClient", *, task_type: str, model: str, duration: float | None, cost: float | None, **fields: object
) -> None:
    """Write down what became of work that a model did."""
    import time
    import uuid

    import msgspec

    from ostler.domain.errors import InvalidInputError
    from ostler.domain.observations import Observation, Origin

    if fields["success"] is None:
        raise InvalidInputError("did it succeed?", where="ostler patterns record", remedy="say --success or --failure")
    as_json, verified = bool(fields.pop("as_json")), bool(fields.pop("verified"))
    observation = msgspec.convert(
        {
            "id": f"hand:{uuid.uuid4().hex}",
            "at_ms": time.time_ns() // 1_000_000,
            "task_type": task_type,
            "model": model,
            "proof": "verified" if verified else "reported",
            "origin": Origin.HAND.value,
            "duration_ms": None if duration is None else int(duration * 1000),
            "cost_micro_usd": None if cost is None else round(cost * _MICRO),
            **fields,
        },
        Observation,
    )
    _tell(client.add_outcomes([observation]), "kept {} outcome{}", as_json=as_json)


@patterns.command(epilog=example("ostler patterns label t-01 docs"))
@click.argument("task")
@click.argument("task_type", metavar="TYPE")
@json_option
@hub_options
def label(client: "HubClient", *, task: str, task_type: str, as_json: bool) -> None:
    """Say of which type a task is: its outcomes count there, and texts like it are told by it."""
    import time

    from ostler.learning.lessons import label_of

    spec = client.task(task).spec
    one = label_of(spec, task_type, time.time_ns() // 1_000_000, by_hand=True)
    _tell(client.add_outcomes([one]), f"{task} is {task_type}", as_json=as_json)


@patterns.command(epilog=example("ostler patterns revise t-01 --failure --note 'reverted the next day'"))
@click.argument("task")
@click.option("--success/--failure", "success", default=None, help="What it was in truth.")
@click.option("--note", default="", metavar="TEXT", help="How that came to light.")
@json_option
@hub_options
def revise(client: "HubClient", *, task: str, success: bool | None, note: str, as_json: bool) -> None:
    """Say what the newest attempt of a task was in truth: its outcome is put right, and its check is measured by it."""
    import time

    from ostler.domain.errors import ConflictError, InvalidInputError
    from ostler.learning.lessons import revision_of

    if success is None:
        raise InvalidInputError("was it good?", where="ostler patterns revise", remedy="say --success or --failure")
    known = client.task(task).task
    if known.model is None:
        raise ConflictError(
            f"no model has worked on task {task}", remedy=f"'ostler tasks show {task}' says what it did"
        )
    kind = known.facts.classification.task_type
    one = revision_of(task, kind, known.model, time.time_ns() // 1_000_000, success=success, note=note)
    _tell(client.add_outcomes([one]), f"{task} was a {'success' if success else 'failure'}", as_json=as_json)


@patterns.command(epilog=example("ostler patterns suggest general"))
@click.argument("task_type", metavar="TYPE")
@json_option
@hub_options
def suggest(client: "HubClient", *, task_type: str, as_json: bool) -> None:
    """Say which tier is good enough for a type of work, with the figures."""
    report = client.patterns(task_type=task_type)
    _print(report, as_json=as_json, parts=("learned", "patterns"))


@patterns.command(epilog=example("ostler patterns recommend"))
@json_option
@hub_options
def recommend(client: "HubClient", *, as_json: bool) -> None:
    """Say for every type what is proven, and whether decisions obey it."""
    _print(client.patterns(), as_json=as_json, parts=("learned",))


@patterns.command(epilog=example("ostler patterns analyze --type coding"))
@filters
@json_option
@hub_options
def analyze(client: "HubClient", *, as_json: bool, **which: str) -> None:
    """Show the standing of each model at each type of work."""
    _print(client.patterns(**which), as_json=as_json, parts=("patterns",))


@patterns.command(epilog=example("ostler patterns stats"))
@filters
@json_option
@hub_options
def stats(client: "HubClient", *, as_json: bool, **which: str) -> None:
    """Count outcomes, types, models and successes."""
    _print(client.patterns(**which), as_json=as_json, parts=("stats",))


@patterns.command(epilog=example("ostler patterns report"))
@filters
@json_option
@hub_options
def report(client: "HubClient", *, as_json: bool, **which: str) -> None:
    """Show everything: counts, standings, what is proven."""
    _print(client.patterns(**which), as_json=as_json, parts=("stats", "patterns", "learned"))


@patterns.command(epilog=example("ostler patterns export > outcomes.jsonl"))
@filters
@json_option
@hub_options
def export(client: "HubClient", *, as_json: bool, **which: str) -> None:
    """Print outcomes as JSON, one a line; with --json as one list."""
    import msgspec

    from ostler.cli import render

    found = client.outcomes(**which)
    if as_json:
        render.print_json(found)
        return
    for one in found.observations:
        click.echo(msgspec.json.encode(one).decode())


@patterns.command("import", epilog=example("ostler patterns import outcomes.jsonl"))
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@hub_options
def import_outcomes(client: "HubClient", *, file: Path, as_json: bool) -> None:
    """Read outcomes from a file as `export` writes it. Those that are known are left alone."""
    import msgspec

    from ostler.domain.errors import InvalidInputError
    from ostler.domain.observations import Observation, Origin

    decoder, found = msgspec.json.Decoder(Observation), []
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise InvalidInputError(f"cannot be read ({error.strerror})", where=str(file)) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.structs.replace(decoder.decode(line), origin=Origin.IMPORT))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            remedy = "each line is an outcome as `ostler patterns export` prints it"
            raise InvalidInputError(str(error), where=f"{file}:{number}", remedy=remedy) from None
    _tell(client.add_outcomes(found), "kept {} outcome{}", as_json=as_json)


@patterns.command(epilog=example("ostler patterns forget --model qwen2.5:7b", "ostler patterns forget --all"))
@filters
@click.option("--all", "everything", is_flag=True, help="Forget all outcomes.")
@json_option
@hub_options
def forget(client: "HubClient", *, everything: bool, as_json: bool, **which: str) -> None:
    """Forget outcomes, and take back what they changed: a new version of a model starts anew."""
    from ostler.domain.errors import InvalidInputError

    if everything == any(which.values()):
        remedy = "name a --type, --model, --tier or --version, or say --all alone"
        raise InvalidInputError("which outcomes?", where="ostler patterns forget", remedy=remedy)
    _tell(client.forget_outcomes(**which), "forgot {} outcome{}", as_json=as_json)


def _tell(change: "PatternChange", text: str, *, as_json: bool) -> None:
    from ostler.cli import render

    if as_json:
        render.print_json(change)
        return
    click.echo(text.format(change.count, "" if change.count == 1 else "s"))
    if change.changed:
        click.echo(
            f"decided otherwise from now on: {', '.join(kind or 'work of unknown type' for kind in change.changed)}"
        )


def _print(report: "PatternReport", *, as_json: bool, parts: "Sequence[str]") -> None:
    from ostler.cli import render

    if as_json:
        render.print_json(report)
        return
    if "stats" in parts:
        render.print_pairs(_stats(report))
    if "patterns" in parts:
        render.print_table(COLUMNS, [pattern_row(row) for row in report.patterns], empty=NOTHING)
    if "learned" in parts:
        rows = [learned_row(row, report.history) for row in report.learned]
        render.print_table(("type", "good enough", "poor", "in force", "evidence"), rows, empty="nothing is proven yet")


def _stats(report: "PatternReport") -> "list[tuple[str, str]]":
    good, bad = sum(row.successes for row in report.patterns), sum(row.failures for row in report.patterns)
    share = f" ({good / (good + bad):.0%})" if good + bad else ""
    return [
        ("outcomes", str(report.outcomes)),
        ("succeeded", f"{good}{share}"),
        ("types", str(len({row.task_type for row in report.patterns}))),
        ("models", str(len({row.model for row in report.patterns}))),
        ("texts of known type", str(report.labels)),
        ("history", str(report.history)),
        ("left to explore today", f"${report.explore_left_micro_usd / _MICRO:.2f}"),
        ("checks accepted", _check(report.checks.accepted, report.checks.accepted_bad, "bad")),
        ("checks rejected", _check(report.checks.rejected, report.checks.rejected_good, "good")),
        ("checks looked at", str(report.checks.looked_at)),
        ("bad work accepted", _rate(report.checks.false_accept, report.checks.false_accept_high)),
        ("good work rejected", _rate(report.checks.false_reject, report.checks.false_reject_high)),
    ]


def _check(number: int, wrong: int, truth: str) -> str:
    return f"{number}, of which {wrong} proved {truth} later"


def _rate(rate: float, high: float) -> str:
    return f"{rate:.1%} expected, at most {high:.1%}"


def pattern_row(row: "PatternRow") -> tuple[str, ...]:
    """The cells of a standing."""
    return (
        row.task_type,
        row.model,
        row.version or "-",
        row.tier or "-",
        str(row.successes),
        str(row.failures),
        f"{row.mean:.0%}",
        f"{row.low:.0%}",
        "yes" if row.trusted else "no",
        "yes" if row.raw_trusted else "no",
        "-" if row.mean_duration_ms is None else f"{row.mean_duration_ms / 1000:.1f} s",
        "-" if row.mean_cost_micro_usd is None else f"${row.mean_cost_micro_usd / _MICRO:.4f}",
    )


def learned_row(row: "LearnedRow", history: str) -> tuple[str, ...]:
    """The cells of what is proven."""
    said = "; ".join(f"{tier}: {text}" for tier, text in row.learned.evidence.items())
    force = "yes" if row.in_force else f"no ({history})"
    return (row.task_type or "unknown", row.learned.enough or "-", ", ".join(row.learned.poor) or "-", force, said)
