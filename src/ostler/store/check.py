"""What could be wrong with a database: the engine's own check, and the invariants that no constraint can express.

Every problem is one line that names the row. Reads the whole database; O(its size).
"""

from collections.abc import Iterator

import msgspec

from ostler.store import rows, schema
from ostler.store.reads import Run

_PAGE = 1000
"""Tasks read at once."""

_INVARIANTS = (
    (
        "task {} has no spec",
        "SELECT id FROM task WHERE seq NOT IN (SELECT task_seq FROM task_spec)",
    ),
    (
        "task {} is at generation {}, its newest attempt is {}",
        """SELECT id, task.generation, coalesce(max(attempt.generation), 0) AS newest
        FROM task LEFT JOIN attempt ON attempt.task_seq = task.seq
        GROUP BY task.seq HAVING newest <> task.generation""",
    ),
    (
        "event {} is about task {}, which has another number",
        """SELECT event.seq, event.task_id FROM event LEFT JOIN task ON task.seq = event.task_seq
        WHERE event.task_seq IS NOT NULL AND task.id IS NOT event.task_id""",
    ),
    (
        "event {} is above the counter of events",
        "SELECT seq FROM event WHERE seq > (SELECT seq FROM sqlite_sequence WHERE name = 'event')",
    ),
)
"""Message and query: a row of the answer is a problem, its columns fill the message."""


def problems(run: Run) -> list[str]:
    """All problems; empty when the database is sound."""
    found = [line for (line,) in run("PRAGMA integrity_check", ()) if line != "ok"]
    found += [
        f"{table} row {rowid} points to a {parent} that is not there"
        for table, rowid, parent, _ in run("PRAGMA foreign_key_check", ())
    ]
    for message, query in _INVARIANTS:
        found += [message.format(*row) for row in run(query, ())]
    found += _unreadable(run)
    return found


def _unreadable(run: Run) -> Iterator[str]:
    """Tasks whose JSON cannot be read, or says something else than the columns beside it."""
    names = [column.name for column in schema.task.columns]
    page = f"SELECT {', '.join(names)} FROM task WHERE seq > ? ORDER BY seq LIMIT {_PAGE}"  # noqa: S608 - our own names
    last_seq = -(2**63)
    while found := run(page, (last_seq,)):
        for row in found:
            yield from _differences(row, names)
        last_seq = found[-1][0]


def _differences(row: rows.Row, names: list[str]) -> Iterator[str]:
    task_id, body = row[names.index("id")], row[names.index("body")]
    try:
        said = rows.task_row(rows.decode_task(body))
    except msgspec.DecodeError as error:
        yield f"task {task_id} cannot be read: {error}"
        return
    # Not the body itself: the same value may be spelt in several ways.
    differing = [name for name, stored, told in zip(names, row, said, strict=True) if stored != told and name != "body"]
    if differing:
        yield f"task {task_id} differs between its columns and its body in {', '.join(differing)}"
