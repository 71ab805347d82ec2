"""The statements of PostgreSQL that write sets of rows, written from the tables of `schema` (see `postgres_sets`).

Run when the texts of `texts` are made anew and when they are tested, never by a hub.
"""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ostler.store import schema
from ostler.store.postgres_sets import SetText
from ostler.store.statements import OPEN_CHANGES, Statements


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
