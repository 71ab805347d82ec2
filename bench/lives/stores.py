"""The stores alone, and beside each a loop by hand that writes the same rows as fast as the machine allows.

A life is five commands, one after the other, each acknowledged after its commit: the submit and four guarded
transitions, each with its event. The raw loops write the same rows into the same tables with the same durability and
the same group commit; they look at nothing, refuse nothing and answer nothing.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import msgspec
import psycopg

from bench.store import Life, Prototype, make_lives, open_prototype, rows_of
from ostler.domain.commands import Applied, Command, Result
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore

_Call = tuple[Sequence[Command], "asyncio.Future[list[Result]]"]


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


class RawPostgres:
    """The rows of a flush in one round trip: a pipeline of set statements between BEGIN and COMMIT, custom plans."""

    MAX_COMMANDS = Prototype.MAX_COMMANDS

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._event_seq = 0

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Wait for the commit."""
        future: asyncio.Future[list[Result]] = self._loop.create_future()
        self._queue.put((commands, future))
        return await future

    async def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SET search_path TO ostler")
            connection.execute("SET plan_cache_mode = force_custom_plan")
            while self._flush(connection):
                pass

    def _flush(self, connection: "psycopg.Connection[Any]") -> bool:
        waiting = [self._queue.get()]
        while len(waiting) < self.MAX_COMMANDS and not self._queue.empty():
            waiting.append(self._queue.get())
        calls = [call for call in waiting if call is not None]
        if calls:
            commands = [command for commands, _future in calls for command in commands]
            with connection.pipeline():
                connection.execute("BEGIN")
                for text, rows in self._statements(commands):
                    connection.execute(text, (msgspec.json.encode(rows).decode(),))
                connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_resolve, calls)
        return len(calls) == len(waiting)

    def _statements(self, commands: Sequence[Command]) -> list[tuple[bytes, list[dict[str, object]]]]:
        made = rows_of(commands, self._event_seq)
        self._event_seq += len(made.events)
        found = zip(_STATEMENTS, made, strict=True)
        return [(text, [dict(zip(names, row, strict=True)) for row in rows]) for (text, names), rows in found if rows]


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


def _resolve(calls: list[_Call]) -> None:
    for commands, future in calls:
        future.set_result([Applied()] * len(commands))


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
    return {"store postgres": Side(await PostgresStore.open(store_url)), "raw postgres": Side(RawPostgres(raw_url))}
