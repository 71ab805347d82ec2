"""Statements that write all the rows of a flush at once: PostgreSQL parses, plans and answers each statement, so one
for each row would cost several times the writing.

The rows travel as one JSON text, which is made and read by compiled code on both sides; the driver's own arrays are put
together value by value in Python. A statement may name a row once only, so of rows with the same key the last one is
sent: what the others would have left is overwritten anyway.
"""

from collections.abc import Iterable, Sequence
from typing import Self

import msgspec
import psycopg
import sqlalchemy as sa

from ostler.store import rows, schema
from ostler.store.statements import OPEN_CHANGES, Statements

COUNT_DIFFERS = psycopg.errors.DivisionByZero
"""What the server says to a statement that is counted and changes another number of rows; no other one divides."""
ZERO_SHOWN = "\u2400"

_encode = msgspec.json.Encoder().encode


class SetText(str):
    """A statement with one parameter, the JSON text of all rows; as a word for itself it is the statement."""

    __slots__ = ("names", "unique")
    names: tuple[str, ...]
    """What the values of a row are called, in their order."""
    unique: tuple[int, ...]
    """Places of the values that make the key where rows may repeat it; empty where they never do."""

    def __new__(cls, text: str, names: Sequence[str], unique: Sequence[int] = ()) -> Self:
        """A statement over rows of these values."""
        made = super().__new__(cls, text)
        made.names = tuple(names)
        made.unique = tuple(unique)
        return made

    @property
    def counted(self) -> str:
        """The statement, with the number of rows as second parameter: `COUNT_DIFFERS` unless it changes so many.

        The server judges, so that a commit can be on its way before the number is known here.
        """
        return f"WITH changed AS ({self} RETURNING 1) SELECT 1 / (count(*) = %s)::int FROM changed"  # noqa: S608 - our own statement

    def parameter(self, parameters: list[rows.Row]) -> str:
        """The JSON text of rows."""
        found: Iterable[rows.Row] = parameters
        if self.unique and len(parameters) > 1:
            found = {tuple(row[place] for place in self.unique): row for row in parameters}.values()
        encoded = _encode([dict(zip(self.names, row, strict=True)) for row in found])
        if b"\\u0000" not in encoded:
            return encoded.decode()
        # Text of this engine has no zero character, not even in its JSON; inside the JSON of a body it is only spelt.
        return _encode([dict(zip(self.names, map(_shown, row), strict=True)) for row in found]).decode()


def _shown(value: object) -> object:
    return without_zeros(value) if isinstance(value, str) else value


def without_zeros(text: str) -> str:
    """What a program wrote into its output, with each zero character as its picture."""
    return text.replace("\0", ZERO_SHOWN)


def with_sets(single: Statements) -> Statements:
    """The same statements, those of every flush over sets."""
    task = [column.name for column in schema.task.columns if column.name not in {"seq", "id"}]
    return single._replace(
        insert_task=_insert(schema.task),
        insert_spec=_insert(schema.task_spec),
        insert_event=_insert(schema.event),
        change=_change(task),
        change_open=_change([*OPEN_CHANGES, "body"]),
        put_attempt=_upsert(schema.attempt),
        put_decision=_upsert(schema.decision),
        put_output=_upsert(schema.output),
        gateway=single.gateway._replace(insert_call=_insert(schema.call, "ON CONFLICT (id) DO NOTHING")),
        ledger=single.ledger._replace(
            insert_entry=_insert(schema.ledger), insert_sum=_insert_sum(), add_sum=_add_sum()
        ),
    )


def _records(columns: Iterable[tuple[str, sa.Column[object]]]) -> str:
    """The rows of the parameter as a table `new`."""
    typed = ", ".join(f'"{name}" {_type(column)}' for name, column in columns)
    return f"json_to_recordset(%s::json) AS new({typed})"


def _type(column: sa.Column[object]) -> str:
    return "bigint" if isinstance(column.type, sa.Integer) else "text"


def _insert(table: sa.Table, conflict: str = "") -> SetText:
    names = [column.name for column in table.columns]
    listed = ", ".join(f'"{name}"' for name in names)
    records = _records((column.name, column) for column in table.columns)
    # What does nothing where a row is there does nothing for the second of two, too.
    key = [names.index(column.name) for column in table.primary_key] if "DO UPDATE" in conflict else ()
    return SetText(f'INSERT INTO "{table.name}" ({listed}) SELECT {listed} FROM {records} {conflict}', names, key)  # noqa: S608 - our own names


def _key(table: sa.Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.primary_key)


def _upsert(table: sa.Table) -> SetText:
    changed = ", ".join(
        f'"{column.name}" = excluded."{column.name}"' for column in table.columns if not column.primary_key
    )
    return _insert(table, f"ON CONFLICT ({_key(table)}) DO UPDATE SET {changed}")


def _change(names: Sequence[str]) -> SetText:
    columns = schema.task.columns
    guard = (("at_seq", columns.seq), ("from_state", columns.state), ("from_generation", columns.generation))
    told = [*((f"new_{name}", columns[name]) for name in names), *guard]
    changed = ", ".join(f'"{name}" = new."new_{name}"' for name in names)
    where = " AND ".join(f'task."{column.name}" = new."{name}"' for name, column in guard)
    return SetText(f"UPDATE task SET {changed} FROM {_records(told)} WHERE {where}", [name for name, _ in told])  # noqa: S608 - our own names


def _insert_sum() -> SetText:
    return _insert(schema.spending, f"ON CONFLICT ({_key(schema.spending)}) DO NOTHING")


def _add_sum() -> SetText:
    table = schema.spending
    counts = [column for column in table.columns if not column.primary_key]
    key = list(table.primary_key)
    told = [*((f"new_{column.name}", column) for column in counts), *((f"at_{column.name}", column) for column in key)]
    changed = ", ".join(f'"{column.name}" = spending."{column.name}" + new."new_{column.name}"' for column in counts)
    where = " AND ".join(f'spending."{column.name}" = new."at_{column.name}"' for column in key)
    return SetText(f"UPDATE spending SET {changed} FROM {_records(told)} WHERE {where}", [name for name, _ in told])  # noqa: S608 - our own names
