"""The database itself refuses what the code would never write."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from ostler.domain.states import FINAL_STATES, LEASED_STATES, TaskState, may_move
from ostler.store import rows, schema
from ostler.store.guards import FIRST_STATES
from tests.store.rows_made import make_task

INSERT = "INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
NAMES = [column.name for column in schema.task.columns]


@pytest.fixture
def raw(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the driver, past every guard of the code."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        yield connection


def columns_of(state: TaskState, prev_state: TaskState | None, seq: int = 1) -> dict[str, object]:
    task = make_task(f"t{seq}", seq, state, prev_state=prev_state)
    return dict(zip(NAMES, rows.task_row(task), strict=True))


def accepts(raw: sqlite3.Connection, values: dict[str, object]) -> bool:
    try:
        raw.execute(INSERT, tuple(values.values()))
    except sqlite3.IntegrityError:
        return False
    raw.execute("DELETE FROM task")
    return True


def test_the_database_knows_the_table_of_transitions(raw: sqlite3.Connection) -> None:
    """Of all pairs of states it takes exactly the legal transitions, and as a first state exactly the first ones."""
    wrong = [
        (prev_state, state)
        for prev_state in (None, *TaskState)
        for state in TaskState
        if accepts(raw, columns_of(state, prev_state))
        is not (state in FIRST_STATES if prev_state is None else may_move(prev_state, state))
    ]

    assert wrong == []


def test_an_illegal_update_is_refused_and_changes_nothing(raw: sqlite3.Connection) -> None:
    """Raw SQL that lets a succeeded task run again fails on the constraint that says why."""
    raw.execute(INSERT, tuple(columns_of(TaskState.SUCCEEDED, TaskState.EVALUATING).values()))

    with pytest.raises(sqlite3.IntegrityError, match="task_transition"):
        raw.execute(
            "UPDATE task SET prev_state = state, state = 'running', session = 's1', finished_ms = NULL WHERE seq = 1"
        )

    assert raw.execute("SELECT state, prev_state FROM task").fetchall() == [("succeeded", "evaluating")]


def test_an_unknown_state_is_refused(raw: sqlite3.Connection) -> None:
    """A state that the domain does not know can neither be nor have been."""
    legal = columns_of(TaskState.QUEUED, TaskState.SCHEDULED)

    assert accepts(raw, legal)
    assert not accepts(raw, legal | {"state": "sleeping", "wait_code": None})
    assert not accepts(raw, legal | {"prev_state": "sleeping"})
    assert not accepts(raw, legal | {"prev_state": ""})
    assert not accepts(raw, legal | {"state": None})


@pytest.mark.parametrize("state", list(TaskState))
def test_wait_end_and_session_belong_to_their_states(raw: sqlite3.Connection, state: TaskState) -> None:
    """For each state, each of the three columns must be set or must be empty."""
    before = next((origin for origin in TaskState if may_move(origin, state)), None)
    legal = columns_of(state, before)

    assert accepts(raw, legal)
    for column, value, belongs in (
        ("wait_code", "ready", state is TaskState.QUEUED),
        ("finished_ms", 5, state in FINAL_STATES),
        ("session", "s1", state in LEASED_STATES),
    ):
        assert not accepts(raw, legal | {column: None if belongs else value}), column


def test_a_column_holds_its_type_alone(raw: sqlite3.Connection) -> None:
    """Tables are strict: a number column takes no text, whoever writes."""
    assert not accepts(raw, columns_of(TaskState.QUEUED, None) | {"created_ms": "yesterday"})
    assert not accepts(raw, columns_of(TaskState.QUEUED, None) | {"updated_ms": None})


@pytest.mark.parametrize("column", ["id", "seq"])
def test_a_task_has_an_id_and_a_number_of_its_own(raw: sqlite3.Connection, column: str) -> None:
    """Two tasks share neither."""
    first, second = columns_of(TaskState.QUEUED, None, 1), columns_of(TaskState.QUEUED, None, 2)
    raw.execute(INSERT, tuple(first.values()))

    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        raw.execute(INSERT, tuple((second | {column: first[column]}).values()))


def test_event_numbers_are_never_given_twice(raw: sqlite3.Connection) -> None:
    """Also after the newest events were removed, the next number is a new one."""
    insert = "INSERT INTO event (at_ms, name, body) VALUES (1, 'x', '[{},{}]')"
    for _ in range(3):
        raw.execute(insert)
    raw.execute("DELETE FROM event")
    raw.execute(insert)

    assert raw.execute("SELECT seq FROM event").fetchall() == [(4,)]


def test_migrations_make_the_tables_of_the_code(raw: sqlite3.Connection, tmp_path: Path) -> None:
    """What the migrations built is, word for word, what the metadata describes, transitions of the domain included.

    When this fails, the schema or the domain's states changed: write a migration that gets there.
    """
    query = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'described.db'}")
    schema.METADATA.create_all(engine)
    with engine.connect() as connection:
        described = {(kind, name): sql for kind, name, sql in connection.exec_driver_sql(query)}
    engine.dispose()

    migrated = {(kind, name): sql for kind, name, sql in raw.execute(query)}

    assert {key: " ".join(sql.split()) for key, sql in migrated.items()} == {
        key: " ".join(sql.split()) for key, sql in described.items()
    }
