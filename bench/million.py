"""A store with a million tasks in it: what each query takes that hub, commands and pages make, and what cleaning up
does to those who write meanwhile.

    python bench/million.py [--sizes 10000,100000,1000000] [--store sqlite]

For each size a SQLite file and a PostgreSQL database are filled with whole lives of tasks (a thousand of them through
the store itself, the others copied from these by the database, with ids, numbers and batches of their own), one in a
hundred of which is still open. The last column is the exponent of growth from the first size to the last: 0 is "does
not grow". Then tasks are forgotten as `hub.keep_tasks` has it, in its steps and with its pauses, while another caller
submits one task after the other: its commits are shown beside those of a time without.
"""

import argparse
import asyncio
import math
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

# A program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.store import make_lives
from ostler.domain.commands import NewTask, PruneTasks, SubmitTasks
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import TaskState
from ostler.hub.janitor import PAUSE_S, TASKS_STEP
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore
from tests.postgres_server import PostgresServer

BASE = 1_000
OPEN_EVERY = 100
LOOKS = 9
CLEANED_S = 6.0
Figures = dict[str, float]

NAMED, RENAMED = "'\"' || id || '\"'", "'\"' || id || '-' || :up || '\"'"
NUMBERED, RENUMBERED = "'\"seq\":' || seq || ','", "'\"seq\":' || (seq + :up) || ','"
COPIES = (
    # Numbers first, as the children refer to them.
    (
        "INSERT INTO task SELECT seq + :up, id || '-' || :up, state, prev_state, generation, priority,"  # noqa: S608 -- our own names
        " CASE WHEN seq % 2 = 0 THEN 'b' || ((seq + :up) / 500) END, session, wait_code, created_ms, updated_ms,"
        f" finished_ms, replace(replace(body, {NAMED}, {RENAMED}), {NUMBERED}, {RENUMBERED})"
        " FROM task WHERE seq <= :base"
    ),
    "INSERT INTO task_spec SELECT task_seq + :up, body FROM task_spec WHERE task_seq <= :base",
    "INSERT INTO attempt SELECT task_seq + :up, generation, body FROM attempt WHERE task_seq <= :base",
    "INSERT INTO decision SELECT task_seq + :up, generation, body FROM decision WHERE task_seq <= :base",
    "INSERT INTO output SELECT task_seq + :up, generation, body FROM output WHERE task_seq <= :base",
    (
        "INSERT INTO event (seq, at_ms, name, task_seq, task_id, body)"
        " SELECT last.seq + row_number() OVER (), at_ms, name, task_seq + :up, task_id || '-' || :up, body"
        " FROM event, (SELECT max(seq) AS seq FROM event) AS last WHERE task_seq <= :base"
    ),
)


class Place(Protocol):
    """Where a store with many tasks is made."""

    async def open(self) -> Store:
        """The store over what is there."""
        ...

    def copy(self, size: int) -> None:
        """Copy the first tasks until there are so many."""
        ...

    def megabytes(self) -> float:
        """What is on the disk."""
        ...

    def remove(self) -> None:
        """Take it away."""
        ...


class SqlitePlace:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def open(self) -> Store:
        """See `Place.open`."""
        return await SqliteStore.open(self._path)

    def copy(self, size: int) -> None:
        """See `Place.copy`."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            for up in range(BASE, size, BASE):
                for text in COPIES:
                    connection.execute(text, {"up": up, "base": BASE})
                connection.commit()

    def megabytes(self) -> float:
        """See `Place.megabytes`."""
        return self._path.stat().st_size / 2**20

    def remove(self) -> None:
        """See `Place.remove`."""
        self._path.unlink()


class PostgresPlace:
    """A database of a server of the run's own that syncs each commit."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._url = server.new_database()

    async def open(self) -> Store:
        """See `Place.open`."""
        return await PostgresStore.open(self._url)

    def copy(self, size: int) -> None:
        """See `Place.copy`. Then it is tidied, as the server does by itself after a while."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SET search_path TO ostler")
            connection.execute("SET synchronous_commit TO off")
            for up in range(BASE, size, BASE):
                with connection.transaction():
                    for text in COPIES:
                        connection.execute(_for_postgres(text), {"up": up, "base": BASE})
            connection.execute("UPDATE writer SET last_event_seq = (SELECT max(seq) FROM event)")
            connection.execute("VACUUM ANALYZE")

    def megabytes(self) -> float:
        """See `Place.megabytes`."""
        with psycopg.connect(self._url) as connection:
            found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert found is not None
        return float(found[0]) / 2**20

    def remove(self) -> None:
        """See `Place.remove`."""
        self._server.drop(self._url)


def _for_postgres(text: str) -> bytes:
    return text.replace("%", "%%").replace(":up", "%(up)s").replace(":base", "%(base)s").encode()


async def fill(place: Place, size: int) -> None:
    """So many tasks."""
    store = await place.open()
    for number, life in enumerate(make_lives(BASE, 1, seed=1)):
        await store.apply(list(life[:1] if number % OPEN_EVERY == 0 else life))
    await store.close()
    await asyncio.to_thread(place.copy, size)


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """The median of some times, in milliseconds."""
    took = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        await work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def queries(store: Store, size: int) -> Figures:
    """Every list that people look at, from its newest end and from its middle."""
    (middle,) = await store.tasks(TaskQuery(limit=1, before_seq=size // 2))
    ended = (TaskState.SUCCEEDED,)
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "tasks, newest 100": lambda: store.tasks(TaskQuery(limit=100)),
        "tasks, 100 from the middle": lambda: store.tasks(TaskQuery(limit=100, before_seq=size // 2)),
        "tasks upward, 100": lambda: store.tasks(TaskQuery(limit=100, after_seq=size // 2)),
        "succeeded, newest 100": lambda: store.tasks(TaskQuery(limit=100, states=ended)),
        "given up, newest 60": lambda: store.tasks(
            TaskQuery(limit=60, states=(TaskState.FAILED, TaskState.DEAD_LETTER))
        ),
        "queued, newest 100": lambda: store.tasks(TaskQuery(limit=100, states=(TaskState.QUEUED,))),
        "a batch of 250": lambda: store.tasks(TaskQuery(limit=500, batch=f"b{size // 1000}")),
        "a task, whole": lambda: store.task(middle.id),
        "states of 100": lambda: store.states([f"{middle.id}", *(f"no-{n}" for n in range(99))]),
        "events, 500 from the middle": lambda: store.events(after_seq=size * 2, limit=500),
        "events of a task": lambda: store.events(task_id=middle.id),
    }
    return {f"{name} ms": await timed(work) for name, work in asked.items()}


async def cleaning(store: Store, size: int) -> Figures:
    """Commits of single submits, without and beside a sweep."""
    first = size + 1
    quiet = await submitting(store, first, asyncio.create_task(asyncio.sleep(CLEANED_S / 2)))
    sweeping = asyncio.create_task(sweep(store))
    busy = await submitting(store, first + len(quiet), sweeping)
    return {
        "commit p50, nothing else ms": at(quiet, 0.5),
        "commit p99, nothing else ms": at(quiet, 0.99),
        "commit p50, while cleaning ms": at(busy, 0.5),
        "commit p99, while cleaning ms": at(busy, 0.99),
        "forgotten tasks/s": sweeping.result() / CLEANED_S,
    }


def at(values: list[float], share: float) -> float:
    """A quantile."""
    return sorted(values)[int(len(values) * share)]


async def submitting(store: Store, first: int, until: asyncio.Task[object]) -> list[float]:
    """One task after the other; milliseconds of each."""
    took: list[float] = []
    while not until.done():
        (life,) = make_lives(1, first + len(took), seed=first + len(took))
        submit = life[0]
        assert isinstance(submit, SubmitTasks)
        assert isinstance(submit.tasks[0], NewTask)
        began = time.perf_counter()
        await store.apply([submit])
        took.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0)
    return took


async def sweep(store: Store) -> int:
    """As the janitor does, for a while; how many tasks went."""
    end, after, gone = time.perf_counter() + CLEANED_S, 0, 0
    while time.perf_counter() < end:
        page = await store.tasks(TaskQuery(after_seq=after, limit=TASKS_STEP))
        if not page:
            break
        step = PruneTasks(before_ms=2**62, after_seq=after, to_seq=page[-1].seq)
        await store.apply([step])
        after = page[-1].seq
        left = await store.rows([task.id for task in page])
        gone += len(page) - len(left)
        await asyncio.sleep(PAUSE_S)
    return gone


async def measure(place: Place, size: int) -> Figures:
    """All figures of one size."""
    await fill(place, size)
    found = {"MB on the disk": await asyncio.to_thread(place.megabytes)}
    began = time.perf_counter()
    store = await place.open()
    found["open ms"] = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    work = await store.open_work()
    found["open tasks"] = float(len(work.tasks))
    found["read what is open, us a task"] = (time.perf_counter() - began) * 1e6 / max(1, len(work.tasks))
    found |= await queries(store, size)
    found |= await cleaning(store, size)
    await store.close()
    await asyncio.to_thread(place.remove)
    return found


def growth(sizes: list[int], first: float, last: float) -> str:
    """The exponent between the first and the last size."""
    if min(first, last) <= 0 or sizes[0] == sizes[-1]:
        return ""
    return f"{math.log(last / first) / math.log(sizes[-1] / sizes[0]):.2f}"


def table(title: str, sizes: list[int], columns: list[Figures]) -> None:
    """Print what was measured on one store."""
    print(f"\n{title:<34}" + "".join(f"{size:>12,}" for size in sizes) + f"{'growth':>9}")
    for name in columns[0]:
        values = [column[name] for column in columns]
        cells = "".join(f"{value:>12,.2f}" for value in values)
        print(f"{name:<34}{cells}{growth(sizes, values[0], values[-1]):>9}")


def main() -> None:
    """Measure and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--sizes", default="2000,10000")
    cli.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    args = cli.parse_args()
    sizes = [int(text) for text in args.sizes.split(",")]
    if args.store != "postgres":
        with tempfile.TemporaryDirectory(prefix="ostler-million-") as folder:
            places = [SqlitePlace(Path(folder) / f"{size}.db") for size in sizes]
            columns = [asyncio.run(measure(place, size)) for place, size in zip(places, sizes, strict=True)]
        table("SQLite, synchronous=FULL", sizes, columns)
    if args.store != "sqlite":
        with closing_server() as server:
            columns = [asyncio.run(measure(PostgresPlace(server), size)) for size in sizes]
        table("PostgreSQL, each commit synced", sizes, columns)


@contextmanager
def closing_server() -> Iterator[PostgresServer]:
    """A server for as long as the block."""
    server = PostgresServer(durable=True)
    try:
        yield server
    finally:
        server.remove()


if __name__ == "__main__":
    main()
