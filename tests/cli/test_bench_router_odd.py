"""`ostler bench-router` on files as people have them: what can be read is read, what cannot is named with its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostler.domain.errors import ExitCode
from tests.cli.conftest import Ostler

Row = dict[str, Any]
PRICES = "model,usd_per_mtok\nx,1\ny,2\nz,0.5\n"


def pair(number: int) -> Row:
    return {"id": f"p{number}", "prompt": f"question {number}", "weak": number % 2, "strong": 1}


def many(number: int) -> Row:
    scores = {"x": number % 2, "y": 1, "z": 0.5}
    return {"id": f"m{number}", "task_type": "ab"[number % 2], "prompt": "solve", "est_tokens": 100, "scores": scores}


def file(folder: Path, rows: list[Row], prices: str = PRICES) -> str:
    path = folder / "data.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    (folder / "data_prices.csv").write_text(prices, encoding="utf-8")
    return str(path)


def changed(make: Callable[[int], Row], **fields: Any) -> list[Row]:  # noqa: ANN401 -- any JSON
    return [{**make(number), **fields} for number in range(24)]


def without(field: str) -> list[Row]:
    return [{name: value for name, value in many(number).items() if name != field} for number in range(24)]


@pytest.mark.parametrize(
    "rows",
    [
        changed(pair, prompt=""),
        changed(pair, prompt="日本語のテスト 🚀 é\u2028 next"),
        changed(pair, id="same"),
        changed(pair, strong=True, weak=False),
        [{**pair(number), "id": number} for number in range(24)],
    ],
    ids=["no words", "unicode", "equal ids", "booleans", "numbers as ids"],
)
def test_a_pair_is_compared_whatever_its_rows_look_like(ostler: Ostler, tmp_path: Path, rows: list[Row]) -> None:
    """Every figure is a number."""
    code, out, _ = ostler("bench-router", file(tmp_path, rows), "--json")
    assert code == 0
    lines = json.loads(out)["tables"]["a pair of models"]
    assert all(isinstance(value, float) for line in lines for value in line["figures"].values())


@pytest.mark.parametrize(
    ("rows", "prices"),
    [
        (without("est_tokens"), PRICES),
        (without("task_type"), PRICES),
        (changed(many, scores={"x": True}), PRICES),
        (changed(many, scores={"x": 0, "y": 0, "z": 0}), PRICES),
        (changed(many, est_tokens=0), PRICES),
        (changed(many, est_tokens=10.5), PRICES),
        (changed(many), "\ufeff" + PRICES),
        (changed(many), "model,usd_per_mtok\nx,0\ny,0\nz,0\n"),
        (changed(many), "model,usd_per_mtok\nx,1\ny,1\nz,1\n"),
        (changed(many, scores={"ü": 1, "ß": 0}, task_type="日本"), "model,usd_per_mtok\nü,1\nß,2\n"),
    ],
    ids=[
        "no tokens",
        "no type",
        "one model",
        "all fail",
        "nothing read",
        "halves",
        "BOM",
        "free",
        "one price",
        "unicode",
    ],
)
def test_several_models_are_compared_whatever_they_cost(
    ostler: Ostler, tmp_path: Path, rows: list[Row], prices: str
) -> None:
    """What is missing and can be guessed is guessed as the help says; no figure is left out."""
    code, out, _ = ostler("bench-router", file(tmp_path, rows, prices), "--json")
    assert code == 0
    tables = json.loads(out)["tables"]
    assert len(tables) == 2
    assert all(
        isinstance(value, float) for lines in tables.values() for line in lines for value in line["figures"].values()
    )


@pytest.mark.parametrize(
    ("rows", "prices", "said"),
    [
        (changed(pair)[:1], PRICES, "1 task: half is learned from"),
        (changed(pair, weak=1), PRICES, "the strong model is not better than the weak one (100.0% and 100.0% right)"),
        (changed(pair, weak=1, strong=0), PRICES, "exchange `weak` and `strong`"),
        (changed(pair, strong=7), PRICES, "data.jsonl:1: Expected `float` <= 1.0"),
        (changed(many, scores={}), PRICES, "the first row has no scores"),
        (changed(many, scores={"x": 100}), PRICES, "<= 1.0"),
        ([*changed(many), {**many(9), "scores": {"x": 1}}], PRICES, "m9 does not fit"),
        ([*changed(many), {**many(9), "scores": {"x": None}}], PRICES, "data.jsonl:25: "),
        (changed(many), "model,usd_per_mtok\nx,1\n", "y does not fit"),
        (changed(many), PRICES + "x,5\n", "x has two prices"),
        (changed(many), PRICES.replace("2", "-2"), "_prices.csv:3: Expected `float` >= 0.0"),
        (changed(many), PRICES.replace("2", ""), "_prices.csv:3: Expected `float`"),
        (changed(many), "model;usd_per_mtok\nx;1\n", "missing required field `model`"),
        ([pair(1), *changed(many)], PRICES, "data.jsonl:2: Object missing required field `weak`"),
    ],
)
def test_what_cannot_be_compared_is_told_with_its_place(
    ostler: Ostler, tmp_path: Path, rows: list[Row], prices: str, said: str
) -> None:
    """Never a mistake of ours; the exit code is that of bad input."""
    code, out, err = ostler("bench-router", file(tmp_path, rows, prices))
    assert (code, out) == (ExitCode.USAGE, "")
    assert said in err
    assert "mistake of ours" not in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,suite,model,pass_rate_pct\nt,s,m,500\n", "rates.csv:2: Expected `float` <= 100.0"),
        ("task,suite,model,pass_rate_pct\nt,s,m,\n", "rates.csv:2: Expected `float`"),
        ("task,suite,model,pass_rate_pct\n", "the file has no rows"),
        ("a,b\n1,2\n", "missing required field `task`"),
    ],
)
def test_rates_are_checked_line_by_line(ostler: Ostler, tmp_path: Path, text: str, said: str) -> None:
    """A table that says where it is wrong."""
    path = tmp_path / "rates.csv"
    path.write_text(text, encoding="utf-8")
    code, _, err = ostler("bench-router", str(path))
    assert (code, said in err) == (ExitCode.USAGE, True)


def test_what_is_no_text_is_told(ostler: Ostler, tmp_path: Path) -> None:
    """Neither as JSON nor as CSV."""
    for name in ("data.jsonl", "data.csv"):
        path = tmp_path / name
        path.write_bytes(b"\xff\xfe\x00\x01" * 20)
        code, _, err = ostler("bench-router", str(path))
        assert (code, name in err) == (ExitCode.USAGE, True)
        assert "mistake of ours" not in err
