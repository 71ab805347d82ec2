"""The program that prints the table: it tells what differs from what is known, and fails because of it."""

import sys

import pytest

from bench import seed_table
from bench.seed_table import TABLE, Row, main, print_audit, print_others, print_table, print_what_ifs

QUICK = next(row for row in TABLE if (row.reading, row.slots) == ("phases", 9))


@pytest.fixture(autouse=True)
def one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quickest row alone."""
    monkeypatch.setattr(seed_table, "TABLE", (QUICK,))
    monkeypatch.setattr(seed_table, "COLUMNS", (("phases", 9),))
    monkeypatch.setattr(seed_table, "CHANGES", {"40 GB": seed_table.CHANGES["40 GB"]})
    monkeypatch.setattr(seed_table, "SENSITIVITY", {"40 GB": ("34.71",)})
    monkeypatch.setattr(sys, "argv", ["seed_table.py", "--seconds", "30"])


def test_a_row_as_it_is_known_is_printed_and_good(capsys: pytest.CaptureFixture[str]) -> None:
    """All figures of the row in a line, and nothing to tell."""
    assert list(print_table(30.0)) == []
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "phases", "9", "37.96", "37.96", "4", "proven", "38.12", "68.12", "48.12",
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["bound", "best", "a", "b", "c"])
def test_any_figure_that_differs_is_told(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what came out and what is known."""
    wrong = Row(**{**QUICK._asdict(), field: "1.00"})
    monkeypatch.setattr(seed_table, "TABLE", (wrong,))

    (told,) = print_table(30.0)

    assert told.startswith("phases with 9 slots: Row(")
    assert f"{field}='1.00'" in told


def test_a_proof_that_was_not_there_before_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """But one that is missing is."""
    monkeypatch.setattr(seed_table, "TABLE", (QUICK._replace(proven=False),))

    assert list(print_table(30.0)) == []


def test_others_and_what_ifs_are_held_against_what_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search must end at the best plan, a change at its own."""
    assert [*print_others(), *print_what_ifs(30.0)] == []
    monkeypatch.setattr(seed_table, "TABLE", (QUICK._replace(best="1.00"),))
    monkeypatch.setattr(seed_table, "SENSITIVITY", {"40 GB": ("1.00",)})

    assert list(print_others()) == ["phases with 9 slots: the search ends at 37.96, known is 1.00"]
    assert list(print_what_ifs(30.0)) == ["40 GB, phases with 9 slots: 34.71 instead of 1.00"]
    assert "search" in capsys.readouterr().out


def test_the_audit_is_printed_with_the_stated_sums(capsys: pytest.CaptureFixture[str]) -> None:
    """Both accounts, then every finding in a line."""
    print_audit()
    out = capsys.readouterr().out

    assert "stated: sequential 47.75 min with 3 swaps" in out
    assert "stated: hybrid 44.08 min with 2 swaps" in out
    assert out.count("  breaks-needs") == 6


def test_the_program_ends_with_one_if_a_figure_differs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a job notices."""
    assert main() == 0
    monkeypatch.setattr(seed_table, "TABLE", (QUICK._replace(a="1.00"),))
    monkeypatch.setattr(sys, "argv", ["seed_table.py", "--brief"])

    assert main() == 1
    assert "DIFFERS: phases with 9 slots" in capsys.readouterr().err
