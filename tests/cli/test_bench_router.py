"""`ostler bench-router`: files of known shapes, equal figures for equal seeds, errors that say the line."""

from pathlib import Path

import msgspec
import pytest

from ostler.domain.errors import ExitCode
from tests.cli.conftest import Ostler
from tests.learning.test_trials import PRICES, many_rows, pair_rows


def written(path: Path, rows: "list[object]") -> Path:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    return path


@pytest.fixture
def many_file(tmp_path: Path) -> Path:
    lines = ["model,usd_per_mtok", *(f"{name},{price}" for name, price in PRICES.items())]
    (tmp_path / "many_prices.csv").write_text("\n".join(lines), encoding="utf-8")
    return written(tmp_path / "many.jsonl", list(many_rows(240)))


def test_a_pair_is_told_by_its_columns(ostler: Ostler, tmp_path: Path) -> None:
    """Weak and strong: APGR and CPT of each router, twice the same under one seed."""
    data = written(tmp_path / "pair.jsonl", list(pair_rows(160)))
    code, out, err = ostler("bench-router", str(data), "--seed", "3", "--json")
    assert (code, err) == (0, "")
    assert ostler("bench-router", str(data), "--seed", "3", "--json") == (code, out, err)
    (lines,) = msgspec.json.decode(out)["tables"].values()
    assert {"random", "prompt length", "predicted gain", "oracle"} <= {line["name"] for line in lines}


def test_several_models_with_their_prices(ostler: Ostler, many_file: Path) -> None:
    """Both tables: the halves, and the stream from nothing."""
    code, out, _ = ostler("bench-router", str(many_file), "--seeds", "2")
    assert code == 0
    for word in ("several models", "always cheapest", "table, type given", "aiq", "learned, cold", "2 splits"):
        assert word in out.lower()


def test_pass_rates_compare_rules(ostler: Ostler, tmp_path: Path) -> None:
    """CSV with true rates: raw rule against bound."""
    data = tmp_path / "rates.csv"
    rows = [f"t{n},s{n},m,{rate}" for n, rate in enumerate([40, 60, 85, 95])]
    data.write_text("\n".join(["task,suite,model,pass_rate_pct", *rows]), encoding="utf-8")
    code, out, _ = ostler("bench-router", str(data), "--json")
    (lines,) = msgspec.json.decode(out)["tables"].values()
    assert code == 0
    assert [line["name"] for line in lines] == ["raw rule", "bound"]


def test_a_line_of_another_shape_is_named(ostler: Ostler, tmp_path: Path) -> None:
    """File and line, and where the shape is described."""
    data = tmp_path / "pair.jsonl"
    data.write_text('{"id": "a", "prompt": "x", "weak": 1, "strong": 0}\n\n{"id": "b"}\n', encoding="utf-8")
    code, _, err = ostler("bench-router", str(data))
    assert code == ExitCode.USAGE
    assert "pair.jsonl:3" in err
    assert "--help" in err


def test_an_empty_file_and_one_without_rows(ostler: Ostler, tmp_path: Path) -> None:
    """Nothing to compare is bad input, not a table of nothing."""
    for name, text in (("a.jsonl", ""), ("a.csv", "task,suite,model,pass_rate_pct\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        code, _, err = ostler("bench-router", str(tmp_path / name))
        assert code == ExitCode.USAGE, name
        assert name in err


def test_a_file_that_is_not_there_is_named(ostler: Ostler, tmp_path: Path) -> None:
    """Bad input with its path, for both shapes."""
    for name in ("none.jsonl", "none.csv"):
        code, _, err = ostler("bench-router", str(tmp_path / name))
        assert (code, name in err) == (ExitCode.USAGE, True)


def test_prices_must_be_there_and_whole(ostler: Ostler, many_file: Path) -> None:
    """A missing file is named with its option, a model without a price by its name."""
    prices = many_file.with_name("many_prices.csv")
    prices.write_text("model,usd_per_mtok\ncheap,0.1\n", encoding="utf-8")
    code, _, err = ostler("bench-router", str(many_file))
    assert (code, "broken" in err) == (ExitCode.USAGE, True)
    prices.unlink()
    code, _, err = ostler("bench-router", str(many_file))
    assert (code, "--prices" in err) == (ExitCode.USAGE, True)
