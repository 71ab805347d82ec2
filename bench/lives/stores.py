"""The stores alone, and beside each a loop by hand that writes the same rows as fast as the machine allows.

A life is five commands, one after the other, each acknowledged after its commit: the submit and four guarded
transitions, each with its event. The raw loops write the same rows into the same tables with the same durability and
the same group commit; they look at nothing, refuse nothing and answer nothing.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import psycopg

from bench.lives.raw import RawLoop, Writer
from bench.store import Life, make_lives, open_prototype, rows_of
from ostler.domain.commands import Applied, Command, Result
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore


class Lived(msgspec.Struct, frozen=True, kw_only=True):
    """One window. Latencies in milliseconds, sorted."""

    seconds: float
    ended_ms: list[float]
    """Of whole lives."""
    steps_ms: list[float]
    """Of single transitions."""


class Opened(Protocol):
    """A store, or a raw loop."""

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Answer after the commit."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


@contextmanager
def raw_postgres(url: str) -> Iterator[Writer]:
    """The rows of a flush in one round trip: a pipeline of set statements between BEGIN and COMMIT, custom plans."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path TO ostler")
        connection.execute("SET plan_cache_mode = force_custom_plan")
        event_seq = 0

        def write(commands: list[Command]) -> None:
            nonlocal event_seq
            made = rows_of(commands, event_seq)
            event_seq += len(made.events)
            with connection.pipeline():
                connection.execute("BEGIN")
                for (text, names), rows in zip(_STATEMENTS, made, strict=True):
                    if rows:
                        named = [dict(zip(names, row, strict=True)) for row in rows]
                        connection.execute(text, (msgspec.json.encode(named).decode(),))
                connection.execute("COMMIT")

        yield write


def _insert(table: str, columns: str) -> tuple[bytes, list[str]]:
    typed = ", ".join(f"{name} {_type(name)}" for name in columns.split())
    names = ", ".join(columns.split())
    text = f"INSERT INTO {table} ({names}) SELECT {names} FROM json_to_recordset(%s::json) AS new({typed})"  # noqa: S608 - own names
    return text.encode(), columns.split()


def _update(columns: str) -> tuple[bytes, list[str]]:
    names = [*(f"new_{name}" for name in columns.split()), "at_seq", "from_state", "from_generation"]
    typed = ", ".join(f"{name} {_type(name)}" for name in names)
    changed = ", ".join(f"{name} = new.new_{name}" for name in columns.split())
    text = (
        f"UPDATE task SET {changed} FROM json_to_recordset(%s::json) AS new({typed})"  # noqa: S608 - own names
        " WHERE task.seq = new.at_seq AND task.state = new.from_state AND task.generation = new.from_generation"
    )
    return text.encode(), names


def _type(name: str) -> str:
    return "bigint" if name.endswith(("seq", "_ms", "generation", "priority")) else "text"


_ENDED = "state prev_state generation priority batch session wait_code created_ms updated_ms finished_ms body"
_STATEMENTS = (
    _insert(
        "task",
        "seq id state prev_state generation priority batch session wait_code created_ms updated_ms finished_ms body",
    ),
    _insert("task_spec", "task_seq body"),
    _update("state prev_state generation priority session wait_code created_ms updated_ms body"),
    _update(_ENDED),
    _insert("event", "seq at_ms name task_seq task_id body"),
)
"""In the order of `bench.store.Rows`."""


class Side:
    """A store or a raw loop that lives one order after the other."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._seq = 1

    async def live(self, count: int, in_flight: int) -> Lived:
        """Live so many lives, that many at a time."""
        lives = make_lives(count, self._seq, seed=secrets.randbits(60))
        self._seq += count
        return await _drive(self._opened, lives, in_flight)

    async def close(self) -> None:
        """Let go."""
        await self._opened.close()


async def _drive(opened: Opened, lives: list[Life], in_flight: int) -> Lived:
    queue = iter(lives)
    ended: list[float] = []
    steps: list[float] = []
    clock = time.perf_counter

    async def user() -> None:
        for life in queue:
            first = before = clock()
            for step, command in enumerate(life):
                (answer,) = await opened.apply((command,))
                assert isinstance(answer, Applied), answer
                now = clock()
                if step:
                    steps.append((now - before) * 1000)
                before = now
            ended.append((before - first) * 1000)

    begun = clock()
    await asyncio.gather(*(user() for _ in range(in_flight)))
    return Lived(seconds=clock() - begun, ended_ms=sorted(ended), steps_ms=sorted(steps))


async def sqlite_sides(folder: Path) -> dict[str, Side]:
    """Store and raw loop on files of their own, `synchronous=FULL` both."""
    return {
        "store sqlite": Side(await SqliteStore.open(folder / "store.db")),
        "raw sqlite": Side(await open_prototype(folder / "raw.db")),
    }


async def postgres_sides(store_url: str, raw_url: str) -> dict[str, Side]:
    """Store and raw loop on databases of their own, of one server that syncs each commit."""
    await (await PostgresStore.open(raw_url)).close()
    return {
        "store postgres": Side(await PostgresStore.open(store_url)),
        "raw postgres": Side(RawLoop(lambda: raw_postgres(raw_url))),
    }
