"""What could be wrong with a database: the engine's own check, and the invariants that no constraint can express.

Every problem is one line that names the row. Reads the whole database; O(its size).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ostler.store import rows, schema
from ostler.store.ledger_check import ledger_problems
from ostler.store.rows import Run

_PAGE = 1000
"""Rows read at once."""

_INVARIANTS = (
    (
        "task {} has no spec",
        "SELECT id FROM task WHERE seq NOT IN (SELECT task_seq FROM task_spec)",
    ),
    (
        "task {} is at generation {}, its newest attempt is {}",
        """SELECT id, generation, newest FROM (
            SELECT id, task.generation AS generation,
                coalesce((SELECT max(attempt.generation) FROM attempt WHERE task_seq = task.seq), 0) AS newest
            FROM task) AS compared
        WHERE newest <> generation""",
    ),
    (
        "event {} is about task {}, which has another number",
        """SELECT event.seq, event.task_id FROM event LEFT JOIN task ON task.seq = event.task_seq
        WHERE event.task_seq IS NOT NULL AND coalesce(task.id, '') <> coalesce(event.task_id, '')""",
    ),
)
"""Message and query: a row of the answer is a problem, its columns fill the message."""


def problems(run: Run) -> list[str]:
    """All problems that no constraint of the engine excludes; empty when the database is sound."""
    found: list[str] = []
    for message, query in _INVARIANTS:
        found += [message.format(*row) for row in run(query, ())]
    found += _unreadable(run)
    found += ledger_problems(run)
    return found


class _Bodies(NamedTuple):
    """A table whose columns repeat what its body says."""

    table: sa.Table
    order: str
    """A column that numbers the rows or names them."""
    first: int | str
    """Before all of them."""
    said: Callable[[str], rows.Row]
    """The columns as a body has them."""


_REPEATED = (
    _Bodies(schema.task, "seq", -(2**63), lambda body: rows.task_row(rows.decode_task(body))),
    _Bodies(schema.gateway_key, "name", "", lambda body: rows.key_row(rows.decode_key(body))),
    _Bodies(schema.call, "id", "", lambda body: rows.call_row(rows.decode_call(body))),
    _Bodies(schema.ledger, "seq", 0, lambda body: rows.ledger_row(rows.decode_entry(body))),
)


def _unreadable(run: Run) -> Iterator[str]:
    """Rows whose JSON cannot be read, or says something else than the columns beside it."""
    for bodies in _REPEATED:
        names = [column.name for column in bodies.table.columns]
        columns, order = ", ".join(f'"{name}"' for name in names), bodies.order
        page = f'SELECT {columns} FROM "{bodies.table.name}" WHERE {order} > ? ORDER BY {order} LIMIT {_PAGE}'  # noqa: S608 - our own names
        last = bodies.first
        while found := run(page, (last,)):
            for row in found:
                yield from _differences(row, names, bodies)
            last = found[-1][names.index(order)]


def _differences(row: rows.Row, names: list[str], bodies: _Bodies) -> Iterator[str]:
    table = bodies.table.name.removeprefix("gateway_")
    name = row[names.index(next(column for column in ("id", "name", "seq") if column in names))]
    body = row[names.index("body")]
    try:
        said = bodies.said(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield f"{table} {name} cannot be read: {error}"
        return
    # Not the body itself: the same value may be spelt in several ways.
    differing = [name for name, stored, told in zip(names, row, said, strict=True) if stored != told and name != "body"]
    if differing:
        yield f"{table} {name} differs between its columns and its body in {', '.join(differing)}"
