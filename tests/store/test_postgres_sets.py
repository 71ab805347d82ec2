"""Statements over sets of rows: the text of each, and what travels as their one parameter."""

import json

import pytest

from ostler.store import schema
from ostler.store.postgres_engine import statements
from ostler.store.postgres_sets import ZERO_SHOWN, SetText, without_zeros

TEXT = SetText("INSERT ...", ("seq", "body"))
KEYED = SetText("INSERT ...", ("seq", "generation", "body"), unique=(0, 1))


def sent(text: SetText, *rows: tuple[object, ...]) -> list[dict[str, object]]:
    """What the server is given."""
    found: list[dict[str, object]] = json.loads(text.parameter(list(rows)))
    return found


def test_rows_travel_by_name() -> None:
    """Numbers of 64 bits, texts with anything in them and nothing at all come over as they are."""
    rows = (2**63 - 1, 'a "quoted" \\ \n \N{GRINNING FACE} %s'), (-(2**63), None)

    assert sent(TEXT, *rows) == [{"seq": seq, "body": body} for seq, body in rows]


def test_of_rows_with_one_key_the_last_is_sent() -> None:
    """A statement may write a row once only, and the last word holds; others keep their order."""
    assert sent(KEYED, (1, 1, "old"), (2, 1, "other"), (1, 1, "new"), (1, 2, "next")) == [
        {"seq": 1, "generation": 1, "body": "new"},
        {"seq": 2, "generation": 1, "body": "other"},
        {"seq": 1, "generation": 2, "body": "next"},
    ]


def test_rows_that_never_repeat_are_sent_as_they_come() -> None:
    """Where a key is not named nothing is dropped: the database says when it is there twice."""
    assert len(sent(TEXT, (1, "a"), (1, "b"))) == 2


def test_a_zero_character_is_sent_as_its_picture_and_a_spelt_one_stays() -> None:
    """The one is a character that the server refuses, the other is six characters of the JSON of a body."""
    assert sent(TEXT, (1, "a\0b"), (2, r'{"title":"a\u0000b"}'), (3, "\\\0")) == [
        {"seq": 1, "body": f"a{ZERO_SHOWN}b"},
        {"seq": 2, "body": r'{"title":"a\u0000b"}'},
        {"seq": 3, "body": f"\\{ZERO_SHOWN}"},
    ]
    assert without_zeros("\0\0") == ZERO_SHOWN * 2


@pytest.mark.parametrize("name", ["insert_task", "insert_spec", "insert_event", "change", "change_open"])
def test_what_every_flush_writes_is_a_set(name: str) -> None:
    """The statements of the life of a task are one each, however many tasks there are."""
    text = getattr(statements(), name)

    assert isinstance(text, SetText)
    assert text.count("%s") == 1


def test_money_is_written_in_sets() -> None:
    """Entries and sums, too; the names of a row are in the order in which rows are made."""
    ledger = statements().ledger

    assert isinstance(ledger.insert_entry, SetText)
    assert ledger.insert_entry.names == tuple(column.name for column in schema.ledger.columns)
    assert isinstance(ledger.add_sum, SetText)
    counts = [column.name for column in schema.spending.columns if not column.primary_key]
    assert ledger.add_sum.names[: len(counts)] == tuple(f"new_{name}" for name in counts)


def test_an_upsert_names_its_key() -> None:
    """Of two writes of one attempt in a flush the last one is sent; a call that is there already is left alone."""
    put, call = statements().put_attempt, statements().gateway.insert_call

    assert isinstance(put, SetText)
    assert [put.names[place] for place in put.unique] == ["task_seq", "generation"]
    assert isinstance(call, SetText)
    assert call.unique == ()
