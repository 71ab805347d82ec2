"""What a durable task costs: `SqliteStore` beside a prototype of the same shape written by hand, in the same run.

A life is a submit and four guarded transitions (assigned, running, evaluating, succeeded), each with an event row,
each acknowledged after its commit. The prototype writes the same rows into the same tables with the same durability
and the same group commit, and leaves out what makes a store: it looks at nothing, refuses nothing, answers nothing.
Its figure is what the machine allows; the ratio is what matters, because it does not move with the machine.

Both run in turns, many times in short pieces; medians are shown, and the median of the ratios of neighbours.

    python bench/store.py                 lives per second at 1, 10, 100 and 1000 in flight
    python bench/store.py --part growth   the same store with 1 000, 10 000 and 100 000 tasks in it
    python bench/store.py --part busy     transitions beside an event loop that is never idle
    python bench/calls.py                 records of gateway calls, in batches of 100 (a program of its own)
    python bench/store.py --profile       where the writer's time goes at 100 in flight
"""

import argparse
import asyncio
import cProfile
import pstats
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.lives.raw import RawLoop, Writer
from ostler.domain.commands import Applied, Command, NewTask, Result, SubmitTasks, UpdateTask
from ostler.domain.event import Event
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Classification, Complexity, Task, TaskFacts, TaskKind, TaskSpec
from ostler.store.sqlite import SqliteStore

ROUNDS = 15
LIVES = {1: 100, 10: 500, 100: 2_000, 1000: 4_000}
"""In flight -> lives in one piece: a fraction of a second each."""
TARGET_RATIO = 0.6
GROWTH_SIZES = (1_000, 10_000, 100_000)

START_MS = 1_700_000_000_000
PROMPT = "Find out why the login page answers 500 after the session expired, and fix it. " * 8

Apply = Callable[[Sequence[Command]], Awaitable[list[Result]]]
Life = list[Command]


class Run(NamedTuple):
    """One measured run."""

    lives_per_s: float
    p50_ms: float
    p99_ms: float


class Opened(Protocol):
    """A store or the prototype."""

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Answer after the commit."""
        ...

    async def close(self) -> None:
        """Let go of the file."""
        ...


# --- the workload: made before the clock starts, so that it costs neither side anything ----------------------------


def make_lives(count: int, first_seq: int, seed: int) -> list[Life]:
    """Tasks with random ids, because clients make them."""
    draw = random.Random(seed)
    return [make_life(f"{draw.getrandbits(128):032x}", first_seq + number) for number in range(count)]


def make_life(task_id: str, seq: int) -> Life:
    """The five commands of one task."""
    queued = make_task(task_id, seq)
    assigned = msgspec.structs.replace(
        queued, state=TaskState.ASSIGNED, prev_state=TaskState.QUEUED, generation=1, wait=None,
        session="0b5f8a1c9d3e4f60", worker="box-1", endpoint="ollama-box-1", model="qwen2.5-coder:7b", tier="standard",
        updated_ms=START_MS + 5,
    )  # fmt: skip
    running = msgspec.structs.replace(assigned, state=TaskState.RUNNING, prev_state=TaskState.ASSIGNED)
    evaluating = msgspec.structs.replace(running, state=TaskState.EVALUATING, prev_state=TaskState.RUNNING)
    succeeded = msgspec.structs.replace(
        evaluating, state=TaskState.SUCCEEDED, prev_state=TaskState.EVALUATING, session=None, finished_ms=START_MS + 900
    )
    spec = TaskSpec(id=task_id, prompt=PROMPT, repo="acme/shop", file_hints=("src/login.py", "src/session.py"))
    steps = [queued, assigned, running, evaluating, succeeded]
    submit = SubmitTasks(tasks=(NewTask(task=queued, spec=spec, event=make_event("task.submitted", queued)),))
    return [submit, *(make_update(before, after) for before, after in pairwise(steps))]


def make_task(task_id: str, seq: int) -> Task:
    """A queued chat task of usual size."""
    classification = Classification(
        complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="bugfix",
        source="heuristic", confidence=0.6, word_count=120, file_count=2, signals=("words:120", "files:2", "fix"),
    )  # fmt: skip
    facts = TaskFacts(
        id=task_id, kind=TaskKind.CHAT, classification=classification, prompt_tokens=400, context_tokens=2448,
        repo="acme/shop",
    )  # fmt: skip
    return Task(
        id=task_id, seq=seq, state=TaskState.QUEUED, facts=facts, title="Fix the login page", ttl_ms=600_000,
        wait=Wait(code=WaitCode.READY, since_ms=START_MS), created_ms=START_MS, eligible_ms=START_MS,
        queued_ms=START_MS, updated_ms=START_MS,
    )  # fmt: skip


def make_update(before: Task, after: Task) -> UpdateTask:
    """A guarded transition with its event."""
    return UpdateTask(
        task=after,
        expect_generation=before.generation,
        expect_states=(before.state,),
        events=(make_event(f"task.{after.state}", after),),
    )


def make_event(name: str, task: Task) -> Event:
    """An event of usual size."""
    metadata = {
        "state": task.state.value, "prev_state": task.prev_state.value if task.prev_state else None,
        "generation": task.generation, "worker": task.worker, "endpoint": task.endpoint, "model": task.model,
        "tier": task.tier,
    }  # fmt: skip
    return Event(name=name, at_ms=START_MS, task_id=task.id, measurements={"wait_ms": 5}, metadata=metadata)


class Rows(NamedTuple):
    """What a transaction writes, by hand: for each statement its rows."""

    inserts: list[tuple[object, ...]]
    specs: list[tuple[object, ...]]
    updates: list[tuple[object, ...]]
    ends: list[tuple[object, ...]]
    events: list[tuple[object, ...]]


def rows_of(commands: Sequence[Command], event_seq: int) -> Rows:
    """The rows of commands of `make_life`; `event_seq` is the last number that was given."""
    encode = msgspec.json.encode
    rows = Rows([], [], [], [], [])
    for number, command in enumerate(commands, event_seq + 1):
        if isinstance(command, UpdateTask):
            task = command.task
            assert task.prev_state is not None
            head = (task.state.value, task.prev_state.value, task.generation, int(task.priority))
            guard = (task.seq, command.expect_states[0].value, command.expect_generation)
            tail = (task.session, None, task.created_ms, task.updated_ms)
            body = encode(task).decode()
            if task.finished_ms is None:
                rows.updates.append((*head, *tail, body, *guard))
            else:
                rows.ends.append((*head, task.batch, *tail, task.finished_ms, body, *guard))
            event = command.events[0]
        else:
            assert isinstance(command, SubmitTasks)
            new = command.tasks[0]
            task, event = new.task, new.event
            rows.inserts.append((
                task.seq, task.id, task.state.value, None, 0, int(task.priority), task.batch, None, "ready",
                task.created_ms, task.updated_ms, None, encode(task).decode(),
            ))  # fmt: skip
            rows.specs.append((task.seq, encode(new.spec).decode()))
        body = encode((event.measurements, event.metadata)).decode()
        rows.events.append((number, event.at_ms, event.name, task.seq, event.task_id, body))
    return rows


@contextmanager
def raw_sqlite(path: Path) -> Iterator[Writer]:
    """The same rows by hand, over a file whose schema the store has made."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (
        "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16384",
        "journal_size_limit = 67108864",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")
    cursor = connection.cursor()
    (event_seq,) = cursor.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()

    def write(commands: list[Command]) -> None:
        nonlocal event_seq
        rows = rows_of(commands, event_seq)
        event_seq += len(rows.events)
        cursor.execute("BEGIN IMMEDIATE")
        write_rows(cursor, rows)
        connection.commit()

    try:
        yield write
    finally:
        connection.close()


def write_rows(cursor: sqlite3.Cursor, rows: Rows) -> None:
    """Without a look at what is there."""
    if rows.inserts:
        cursor.executemany("INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.inserts)
        cursor.executemany("INSERT INTO task_spec VALUES (?, ?)", rows.specs)
    if rows.updates:
        cursor.executemany(
            "UPDATE task SET state = ?, prev_state = ?, generation = ?, priority = ?, session = ?, wait_code = ?,"
            " created_ms = ?, updated_ms = ?, body = ? WHERE seq = ? AND state = ? AND generation = ?",
            rows.updates,
        )
        assert cursor.rowcount == len(rows.updates)
    if rows.ends:
        cursor.executemany(
            "UPDATE task SET state = ?, prev_state = ?, generation = ?, priority = ?, batch = ?, session = ?,"
            " wait_code = ?, created_ms = ?, updated_ms = ?, finished_ms = ?, body = ?"
            " WHERE seq = ? AND state = ? AND generation = ?",
            rows.ends,
        )
        assert cursor.rowcount == len(rows.ends)
    cursor.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", rows.events)


async def drive(apply: Apply, lives: list[Life], in_flight: int) -> Run:
    """Live all lives, that many at a time, each step after the one before was acknowledged."""
    waits: list[float] = []
    queue = iter(lives)
    clock = time.perf_counter

    async def worker() -> None:
        for life in queue:
            for step, command in enumerate(life):
                began = clock()
                (answer,) = await apply((command,))
                if step:
                    waits.append(clock() - began)
                assert isinstance(answer, Applied), answer

    began = clock()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    elapsed = clock() - began
    waits.sort()
    return Run(len(lives) / elapsed, waits[len(waits) // 2] * 1000, waits[len(waits) * 99 // 100] * 1000)


async def open_prototype(path: Path) -> Opened:
    """The prototype on tables made by the store."""
    store = await SqliteStore.open(path)
    await store.close()
    return RawLoop(lambda: raw_sqlite(path))


async def open_store(path: Path) -> Opened:
    """The store."""
    return await SqliteStore.open(path)


def median(runs: list[Run]) -> Run:
    """Median of each figure by itself."""
    return Run(*(statistics.median(values) for values in zip(*runs, strict=True)))


async def measure_lives(rounds: int) -> None:
    """Store and prototype in turns, in pieces so short that both see the same machine; the ratio is of each pair."""
    print("in flight   store/s    raw/s  ratio   store p50  p99 ms   raw p50  p99 ms")
    for in_flight, count in LIVES.items():
        with tempfile.TemporaryDirectory() as directory:
            sides = {
                "store": await open_store(Path(directory) / "store.db"),
                "raw": await open_prototype(Path(directory) / "raw.db"),
            }
            runs: dict[str, list[Run]] = {name: [] for name in sides}
            for number in range(rounds + 1):
                for name in sides if number % 2 else reversed(sides):
                    lives = make_lives(count, number * count + 1, seed=number)
                    runs[name].append(await drive(sides[name].apply, lives, in_flight))
            for opened in sides.values():
                await opened.close()
        # The first piece of each filled the caches.
        pairs = list(zip(runs["store"][1:], runs["raw"][1:], strict=True))
        print_pairs(in_flight, pairs)


def print_pairs(in_flight: int, pairs: list[tuple[Run, Run]]) -> None:
    """One line of the table: medians over the pairs."""
    store, raw = (median([pair[side] for pair in pairs]) for side in (0, 1))
    ratio = statistics.median(ours.lives_per_s / theirs.lives_per_s for ours, theirs in pairs)
    print(
        f"{in_flight:>9}  {store.lives_per_s:>8.0f} {raw.lives_per_s:>8.0f} {ratio:>6.2f}   {store.p50_ms:>9.2f}"
        f" {store.p99_ms:>7.2f}   {raw.p50_ms:>7.2f} {raw.p99_ms:>7.2f}"
        + ("" if ratio >= TARGET_RATIO else f"   below {TARGET_RATIO}")
    )


async def measure_growth(rounds: int) -> None:
    """The same work on files that hold few and many ended tasks, in turns; the ratio is to the smallest."""
    print("   stored   lives/s  ratio   p50 ms  p99 ms    open ms   open_work ms")
    with tempfile.TemporaryDirectory() as directory:
        stores: dict[int, SqliteStore] = {}
        times_ms: dict[int, tuple[float, float]] = {}
        for size in GROWTH_SIZES:
            path = Path(directory) / f"{size}.db"
            store = await SqliteStore.open(path)
            await fill(store, size)
            await store.close()
            marks = [time.perf_counter()]
            stores[size] = await SqliteStore.open(path)
            marks.append(time.perf_counter())
            await stores[size].open_work()
            marks.append(time.perf_counter())
            times_ms[size] = ((marks[1] - marks[0]) * 1000, (marks[2] - marks[1]) * 1000)
        runs: dict[int, list[Run]] = {size: [] for size in stores}
        for number in range(rounds):
            for size, store in stores.items():
                lives = make_lives(1_000, size + number * 1_000 + 1, seed=number)
                runs[size].append(await drive(store.apply, lives, 100))
        for store in stores.values():
            await store.close()
    for size, measured in runs.items():
        run = median(measured)
        pairs = zip(measured, runs[GROWTH_SIZES[0]], strict=True)
        ratio = statistics.median(ours.lives_per_s / least.lives_per_s for ours, least in pairs)
        opened_ms, read_ms = times_ms[size]
        print(
            f"{size:>9}  {run.lives_per_s:>8.0f} {ratio:>6.2f}   {run.p50_ms:>6.2f} {run.p99_ms:>7.2f}"
            f"   {opened_ms:>8.1f} {read_ms:>14.1f}"
        )


async def fill(store: SqliteStore, size: int) -> None:
    """Whole lives in few transactions, until the file holds `size` tasks."""
    for stored in range(0, size, 500):
        lives = make_lives(min(500, size - stored), stored + 1, seed=1_000_000 + stored)
        await store.apply([command for life in lives for command in life])


async def measure_busy(rounds: int) -> None:
    """Transitions beside an event loop that is never idle, at several switch intervals of the interpreter.

    The writer thread needs the interpreter's lock to go on after each statement. A loop that gives the lock up only
    for an instant, again and again before the interval is over, can keep it from the writer for seconds.
    """
    usual_s = sys.getswitchinterval()
    print("loop works   interval ms   p50 ms   p99 ms   worst ms   (10 in flight, loop always busy)")
    for work_ms in (0.3, 1.0, 3.0):
        for interval_s in (usual_s, 0.001, 0.0005, 0.0002):
            sys.setswitchinterval(interval_s)
            waits = [wait for number in range(min(rounds, 2)) for wait in await busy_waits(work_ms, number)]
            waits.sort()
            p50, p99, worst = (waits[place] * 1000 for place in (len(waits) // 2, len(waits) * 99 // 100, -1))
            print(f"{work_ms:>7} ms   {interval_s * 1000:>11.1f}   {p50:>6.2f}   {p99:>6.1f}   {worst:>8.1f}")
    sys.setswitchinterval(usual_s)


async def busy_waits(work_ms: float, seed: int) -> list[float]:
    """How long each transition took in a second beside a loop that works in pieces of this length."""
    waits: list[float] = []
    stop_at = time.perf_counter() + 1.0

    async def work() -> None:
        while time.perf_counter() < stop_at:
            until = time.perf_counter() + work_ms / 1000
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)

    async def live(store: SqliteStore, lives: list[Life]) -> None:
        for life in lives:
            for command in life:
                began = time.perf_counter()
                await store.apply((command,))
                waits.append(time.perf_counter() - began)
            if time.perf_counter() > stop_at:
                return

    with tempfile.TemporaryDirectory() as directory:
        store = await SqliteStore.open(Path(directory) / "bench.db")
        lives = make_lives(2_000, 1, seed=seed)
        await asyncio.gather(work(), *(live(store, lives[caller::10]) for caller in range(10)))
        await store.close()
    return waits


async def profile_writer() -> None:
    """Where the writer thread spends its time."""
    with tempfile.TemporaryDirectory() as directory:
        store = await SqliteStore.open(Path(directory) / "bench.db")
        profiler = cProfile.Profile()
        await store._writer.run(profiler.enable)  # noqa: SLF001 - the thread to look into
        await drive(store.apply, make_lives(LIVES[100], 1, seed=1), 100)
        await store._writer.run(profiler.disable)  # noqa: SLF001 - as above
        print(store.stats())
        await store.close()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


# Dispatch latency of an idle hub (submit to the first line of the job) is one more part: add its function here.
PARTS: dict[str, Callable[[int], Coroutine[None, None, None]]] = {
    "lives": measure_lives,
    "growth": measure_growth,
    "busy": measure_busy,
}


def main() -> None:
    """Measure what was asked for and print it."""
    cli = argparse.ArgumentParser(description="Measure the durable store beside a prototype written by hand.")
    cli.add_argument("--part", choices=sorted(PARTS), default="lives")
    cli.add_argument("--rounds", type=int, default=ROUNDS)
    cli.add_argument("--profile", action="store_true", help="profile the writer thread instead")
    args = cli.parse_args()
    asyncio.run(profile_writer() if args.profile else PARTS[args.part](args.rounds))


if __name__ == "__main__":
    main()
