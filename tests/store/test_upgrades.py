"""Migrations marked `pre` only add: the code of before them works on the schema of after them, statement by statement.

What counts as adding: a new table; in an old one a new column that may be left out of a row.
What does not: a table or a column that goes or changes its kind, a column that every row must name, a new rule that an
old row or an old statement could break. Whether real older code works is tried in `tests/e2e/test_upgrade.py`.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import sqlalchemy as sa

from ostler.store import migrate
from ostler.store.postgres import prepare
from ostler.store.postgres_engine import place_of

ALL = migrate.DIRECTORY
NAMES = [path.stem for path in sorted((migrate.DIRECTORY / "versions").glob("0*.py"))]
PRE = [(name, number) for number, name in enumerate(NAMES, 1) if "_pre_" in name and number > 1]


class Column(NamedTuple):
    """One column. `needed`: every new row must name it."""

    kind: str
    nullable: bool
    needed: bool


Shape = dict[str, dict[str, Column]]
"""Columns by table."""


def only_up_to(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that knows the first migrations alone."""
    shutil.rmtree(folder, ignore_errors=True)
    later = shutil.ignore_patterns("__pycache__", *(f"{name}.py" for name in NAMES[number:]))
    shutil.copytree(ALL, folder, ignore=later)
    monkeypatch.setattr(migrate, "DIRECTORY", folder)
    monkeypatch.setattr(migrate, "REVISIONS", tuple(name[:4] for name in NAMES[:number]))


def shape_of_file(path: Path) -> tuple[Shape, set[str]]:
    """Tables of a SQLite file, and the unique rules on them."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        shape = {
            name: {
                column: Column(kind, not strict, bool(strict) and default is None and not (key and kind == "INTEGER"))
                for _, column, kind, strict, default, key in connection.execute(f"PRAGMA table_info({name})")
            }
            for name in names
        }
        unique = {
            f"{name}({', '.join(str(row[2]) for row in connection.execute(f'PRAGMA index_info({index[1]})'))})"
            for name in names
            for index in connection.execute(f"PRAGMA index_list({name})")
            if index[2]
        }
    return shape, unique


def shape_of_pool(url: str) -> tuple[Shape, set[str]]:
    """Tables of a pool in PostgreSQL, and the unique rules on them."""
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable = 'YES',"
        " is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'"
        " FROM information_schema.columns WHERE table_schema = 'ostler'"
    )
    rules = (
        "SELECT c.relname, array_to_string(array(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid"
        " AND a.attnum = ANY(i.indkey) ORDER BY a.attnum), ', ') FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indisunique AND n.nspname = 'ostler'"
    )
    shape: Shape = {}
    with psycopg.connect(url) as connection:
        for table, column, kind, nullable, needed in connection.execute(columns.encode()).fetchall():
            shape.setdefault(table, {})[column] = Column(kind, nullable, needed)
        unique = {f"{table}({names})" for table, names in connection.execute(rules.encode()).fetchall()}
    return shape, unique


def broken(before: tuple[Shape, set[str]], after: tuple[Shape, set[str]]) -> list[str]:
    """Everything that code of before would stumble over."""
    (old, old_rules), (new, new_rules) = before, after
    found = [f"table {table} is gone" for table in old.keys() - new.keys()]
    for table in old.keys() & new.keys():
        found += [f"column {table}.{name} is gone" for name in old[table].keys() - new[table].keys()]
        for name, column in new[table].items():
            known = old[table].get(name)
            if known is None and column.needed:
                found.append(f"every row of {table} must name the new column {name}")
            elif known is not None and (known.kind, known.nullable) != (column.kind, column.nullable):
                found.append(f"column {table}.{name} is of another kind")
    found += [f"a new rule: {rule} is unique" for rule in new_rules - old_rules if rule.split("(")[0] in old]
    return sorted(found)


@pytest.mark.parametrize(("name", "number"), PRE)
def test_a_migration_only_adds_to_a_file(
    name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one that is marked so, from the schema just before it."""
    shapes = []
    for known in (number - 1, number):
        only_up_to(known, tmp_path / "migrations", monkeypatch)
        path = tmp_path / "ostler.db"
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            migrate.bring_up_to_date(connection, where=str(path))
        engine.dispose()
        shapes.append(shape_of_file(path))

    assert broken(*shapes) == []


def test_a_migration_only_adds_to_a_pool(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in PostgreSQL, where several versions may meet: one after the other, to the last."""
    place = place_of(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA ostler CASCADE")
    only_up_to(1, tmp_path / "migrations", monkeypatch)
    prepare(place)
    before = shape_of_pool(postgres_url)
    for name, number in PRE:
        monkeypatch.undo()
        only_up_to(number, tmp_path / "migrations", monkeypatch)
        prepare(place)
        after = shape_of_pool(postgres_url)

        assert broken(before, after) == [], name
        before = after
    assert number == len(NAMES)


def test_what_older_code_would_stumble_over_is_found() -> None:
    """Each kind of change that is no addition; and an addition is none."""
    text, number = Column("TEXT", True, False), Column("INTEGER", False, True)
    old: tuple[Shape, set[str]] = ({"task": {"id": number, "note": text}, "old": {"x": text}}, {"task(id)"})
    new: tuple[Shape, set[str]] = (
        {"task": {"id": text, "must": number, "may": text}, "added": {"y": number}},
        {"task(id)", "task(note)", "added(y)"},
    )

    assert broken(old, new) == [
        "a new rule: task(note) is unique",
        "column task.id is of another kind",
        "column task.note is gone",
        "every row of task must name the new column must",
        "table old is gone",
    ]
    assert broken(old, old) == []
    assert broken(({}, set()), old) == []
