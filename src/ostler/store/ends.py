"""Both engines as ends of a copy (see `moving`), each opened for one transaction and closed with it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ostler.store.file_lock import FileLock
from ostler.store.moving import End, insert_text
from ostler.store.rows import Row, Run
from ostler.store.sqlite_engine import (
    LAST_EVENT_SEQ,
    create_private_file,
    open_reader,
    open_writer,
    own_problems,
    revision_of,
    snapshot,
)


class _FileEnd:
    """A SQLite file."""

    def __init__(self, path: Path, run: Run) -> None:
        self.where = str(path)
        self._run = run

    def ask(self, text: str, values: Sequence[object]) -> list[Row]:
        return self._run(text, values)

    def put(self, table: sa.Table, found: list[Row]) -> None:
        text = insert_text(table, "?")
        for row in found:
            self._run(text, row)

    def fit(self, value: Any) -> Any:  # noqa: ANN401 - see `End`
        return value

    def revision(self) -> str | None:
        return revision_of(self._run)

    def own_problems(self) -> list[str]:
        return own_problems(self._run)

    def last_event_seq(self) -> int:
        seq: int = self._run(LAST_EVENT_SEQ, ())[0][0]
        return seq

    def continue_from(self, last_event_seq: int) -> None:
        self._run("DELETE FROM sqlite_sequence WHERE name = 'event'", ())
        self._run("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', ?)", (last_event_seq,))


@contextmanager
def reading_file(path: Path) -> Iterator[End]:
    """A file that may be in use: what is committed meanwhile is not seen."""
    with closing(open_reader(path)) as connection, snapshot(connection) as run:
        yield _FileEnd(path, run)


@contextmanager
def new_file(path: Path) -> Iterator[End]:
    """A file that nobody else has open, brought to the schema of this code; kept only if all goes well."""
    was_there = path.exists()
    lock = FileLock(path)
    try:
        create_private_file(path)
        with closing(open_writer(path)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            try:
                yield _FileEnd(path, lambda text, values: raw.execute(text, values).fetchall())
            except BaseException:
                raw.rollback()
                raise
            raw.commit()
    except BaseException:
        if not was_there:
            path.unlink(missing_ok=True)
        raise
    finally:
        lock.release()
