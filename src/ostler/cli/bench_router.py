"""`ostler bench-router`: what routing by outcomes is worth, on any file of recorded outcomes. Needs no hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import click

from ostler.cli.flags import example, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ostler.learning.trials import Figures
    from ostler.learning.trials.many import ManyRow
    from ostler.learning.trials.pair import PairRow

Cells = TypeVar("Cells")
FILE = click.Path(path_type=Path)
HELP = "see `ostler bench-router --help` for the shape"
ROWS_MIN = 4


@click.command(name="bench-router", epilog=example("ostler bench-router outcomes.jsonl --seeds 5"))
@click.argument("data", type=FILE)
@click.option("--prices", type=FILE, metavar="FILE",
              help="Prices: CSV with model,usd_per_mtok.  [default: the name of DATA with _prices.csv]")  # fmt: skip
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="The first split.")
@click.option("--seeds", metavar="N", type=click.IntRange(1, 100), default=1, show_default=True,
              help="So many splits, from --seed on; figures are means.")  # fmt: skip
@json_option
def bench_router(data: Path, prices: Path | None, *, seed: int, seeds: int, as_json: bool) -> None:
    """Compare routers on recorded outcomes: learn from one half, test on the other.

    DATA is JSON, one task a line: id, prompt, weak, strong for a pair of models; id, prompt, scores for several with
    prices, with task_type and est_tokens where they are known; or CSV with task, suite, model, pass_rate_pct for rules
    of promotion.
    """
    from ostler.cli import render

    parts = tables(data, prices, range(seed, seed + seeds))
    if as_json:
        render.print_json({"data": data.name, "seed": seed, "seeds": seeds, "tables": parts})
        return
    for number, (title, lines) in enumerate(parts.items()):
        if number:
            click.echo()
        click.echo(f"{title} ({data.name}, {seeds} split{'s' if seeds > 1 else ''} from seed {seed})")
        for columns, rows in _blocks(lines):
            render.print_table(columns, rows, empty="nothing")


def tables(data: Path, prices: Path | None, seeds: "Sequence[int]") -> "dict[str, list[Figures]]":
    """The figures by the name of their table. Raises `InvalidInputError` for a file of another shape."""
    from functools import lru_cache

    from ostler.learning.kinds import read as cues
    from ostler.learning.trials import many, mean, pair, stream, truth

    if data.suffix == ".csv":
        rates = truth.true_rates(_csv(data, truth.RateRow))
        return {"promotion, on true rates": mean([truth.run(rates, seed) for seed in seeds])}
    rows = _rows(data)
    if isinstance(rows[0], pair.PairRow):
        of_two = [row for row in rows if isinstance(row, pair.PairRow)]
        return {"a pair of models": mean(_pairs(data, of_two, seeds))}
    of_many = [row for row in rows if isinstance(row, many.ManyRow)]
    known = _prices(data, prices, of_many)
    words = lru_cache(maxsize=None)(cues)
    return {
        "several models": mean([many.run(of_many, known, seed, reads=words) for seed in seeds]),
        "one outcome for each task, from nothing": mean([stream.run(of_many, known, seed) for seed in seeds]),
    }


def _pairs(data: Path, rows: "Sequence[PairRow]", seeds: "Sequence[int]") -> "list[list[Figures]]":
    """The splits in which the strong model is better, which is what there is to recover."""
    from functools import lru_cache

    from ostler.domain.errors import InvalidInputError
    from ostler.learning.trials import pair

    read, found = lru_cache(maxsize=None)(pair.read_text), []
    for seed in seeds:
        try:
            found.append(pair.run(rows, seed, read=read))
        except ValueError:
            continue
    if not found:
        weak, strong = sum(row.weak for row in rows) / len(rows), sum(row.strong for row in rows) / len(rows)
        what = f"the strong model is not better than the weak one ({strong:.1%} and {weak:.1%} right)"
        raise InvalidInputError(what, where=str(data), remedy="exchange `weak` and `strong`, or give more tasks")
    return found


def _rows(data: Path) -> "Sequence[PairRow | ManyRow]":
    import msgspec

    from ostler.domain.errors import InvalidInputError
    from ostler.learning.trials.many import ManyRow
    from ostler.learning.trials.pair import PairRow

    try:
        lines = [(number, line) for number, line in enumerate(data.read_bytes().splitlines(), 1) if line.strip()]
    except OSError as error:
        raise InvalidInputError(f"cannot be read ({error.strerror})", where=str(data)) from None
    if not lines:
        raise InvalidInputError("the file is empty", where=str(data), remedy=HELP)
    kind: type[PairRow | ManyRow] = ManyRow if b'"scores"' in lines[0][1] else PairRow
    decoder = msgspec.json.Decoder(kind)
    rows: list[PairRow | ManyRow] = []
    for number, line in lines:
        try:
            rows.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInputError(str(error), where=f"{data}:{number}", remedy=HELP) from None
    if len(rows) < ROWS_MIN:
        what = f"{len(rows)} task{'' if len(rows) == 1 else 's'}: half is learned from, half is tested on"
        raise InvalidInputError(what, where=str(data), remedy=f"give at least {ROWS_MIN}, better some hundreds")
    return rows


def _prices(data: Path, prices: Path | None, rows: "Sequence[ManyRow]") -> "Mapping[str, float]":
    import msgspec

    from ostler.domain.errors import InvalidInputError

    class Price(msgspec.Struct):
        model: str
        usd_per_mtok: Annotated[float, msgspec.Meta(ge=0.0)]

    path = prices or data.with_name(f"{data.stem}_prices.csv")
    if not path.exists():
        raise InvalidInputError("no prices of the models", where=str(path), remedy="name the file with --prices")
    listed = _csv(path, Price)
    known = {price.model: price.usd_per_mtok for price in listed}
    if len(known) < len(listed):
        twice = next(one.model for one in listed if [other.model for other in listed].count(one.model) > 1)
        raise InvalidInputError(f"{twice} has two prices", where=str(path), remedy="leave one out")
    models = set(rows[0].scores)
    if not models:
        raise InvalidInputError("the first row has no scores", where=str(rows[0].id), remedy="name model and score")
    wanting = sorted(models - set(known)) or [row.id for row in rows if set(row.scores) != models][:1]
    if wanting:
        what = f"every row needs the same models with a price; {wanting[0]} does not fit"
        raise InvalidInputError(what, where=str(path), remedy="add the model, or leave the row out")
    return {name: known[name] for name in sorted(models)}


def _csv(path: Path, kind: "type[Cells]") -> "list[Cells]":
    import csv

    from ostler.domain.errors import InvalidInputError

    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            rows = [_cells(row, kind, path, reader.line_num) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"it is no CSV: {error}", where=str(path), remedy=HELP) from None
    except OSError as error:
        raise InvalidInputError(f"cannot be read ({error.strerror})", where=str(path)) from None
    if not rows:
        raise InvalidInputError("the file has no rows", where=str(path), remedy=HELP)
    return rows


def _cells(row: "dict[str, str]", kind: "type[Cells]", path: Path, line: int) -> "Cells":
    import msgspec

    from ostler.domain.errors import InvalidInputError

    try:
        return msgspec.convert(row, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(str(error), where=f"{path}:{line}", remedy=HELP) from None


def _blocks(lines: "Sequence[Figures]") -> "list[tuple[list[str], list[list[str]]]]":
    """Lines of the same figures, one table each."""
    blocks: list[tuple[list[str], list[list[str]]]] = []
    for line in lines:
        columns = ["", *line.figures]
        if not blocks or blocks[-1][0] != columns:
            blocks.append((columns, []))
        blocks[-1][1].append([line.name, *(f"{value:.3f}" for value in line.figures.values())])
    return blocks
