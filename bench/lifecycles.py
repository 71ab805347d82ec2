"""What a durable task costs from its submit to its end, beside the fastest peers and what the machine allows.

    python bench/lifecycles.py                        everything that needs no peer, some minutes
    python bench/lifecycles.py --peers ENVIRONMENT    and PgQueuer, Procrastinate and DBOS out of that environment
    python bench/lifecycles.py --part lives           lives a second on both stores, raw loops and peers in turns
    python bench/lifecycles.py --part hub             a whole hub over HTTP: submit, decide, assign, run, ended
    python bench/lifecycles.py --part recovery        SIGKILL of a worker: seconds until its task runs again
    python bench/lifecycles.py --quick                fewer and shorter windows; a look, not a measurement

The peers come from an environment of their own, made with `python -m venv ENVIRONMENT` and
`ENVIRONMENT/bin/pip install pgqueuer asyncpg procrastinate 'psycopg[binary]' dbos`.

All sides take turns in short windows, because a machine that others use gives each second something else: read the
ratios of neighbours (`of raw`) and the processor time of each task before the rates. `--alone` has everything else on
the machine wait for the windows (it takes the right to do so). PostgreSQL is a server of its own that syncs every
commit, SQLite has `synchronous=FULL`. The name of this file is not `queue.py`: beside other programs that would hide
the module of the standard library from all of them.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.hop.machine import StartError, end_all_when_told
from bench.lives import figures, recovery
from bench.lives.crew import Order
from bench.lives.figures import Shown, Window, lives_table, verdict, window
from bench.lives.peering import Peer, PeerError, PeerLives, found
from bench.lives.site import Usage, crew_of, hub, used
from bench.lives.stores import Side, postgres_sides, sqlite_sides
from tests.postgres_server import PostgresServer


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    turns: int
    lives: dict[int, int]
    """In flight -> lives in one window."""
    tasks: int
    """In one window of a whole hub."""
    patience_s: float


FULL = Effort(turns=7, lives={1: 50, 10: 250, 100: 1_500, 1000: 3_000}, tasks=3_000, patience_s=120.0)
QUICK = Effort(turns=2, lives={1: 20, 10: 100, 100: 500, 1000: 1_000}, tasks=600, patience_s=40.0)
PEER_SHARE = 4
"""Peers get so much fewer lives in a window: they are slower by that and more, and windows are to be alike in time."""
RAW = {"store sqlite": "raw sqlite", "store postgres": "raw postgres"}
PATHS = (
    ("one at a time, idle hub", Order(count=0, in_flight=1, pause_ms=2.0)),
    ("100 in flight, one a request", Order(count=0, in_flight=100)),
    ("1000 in flight, one a request", Order(count=0, in_flight=1000)),
    ("1000 in flight, 100 a request", Order(count=0, in_flight=1000, batch=100)),
)


def main() -> int:
    """Measure what was asked for and print it."""
    end_all_when_told()
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--part", choices=("lives", "hub", "recovery"), help="one part only")
    cli.add_argument("--peers", metavar="ENVIRONMENT", type=Path, help="folder of an environment that has the peers")
    cli.add_argument("--quick", action="store_true", help="a look, not a measurement")
    cli.add_argument("--alone", action="store_true", help="before everything else on the machine (needs the right to)")
    cli.add_argument("--no-postgres", action="store_true", help="SQLite alone")
    args = cli.parse_args()
    effort = QUICK if args.quick else FULL
    if args.alone:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    peers, missing = found(args.peers) if args.peers is not None else ([], [])
    for line in missing:
        print(f"left out: {line}", file=sys.stderr)
    for peer in peers:
        print(f"peer: {peer.version}")
    print(f"load of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {os.cpu_count()} cores")
    try:
        with server(wanted=not args.no_postgres) as postgres:
            if args.part in (None, "lives"):
                asyncio.run(lives(effort, postgres, peers))
            if args.part in (None, "hub"):
                whole_hub(effort, postgres)
            if args.part in (None, "recovery"):
                recover(effort, postgres, peers)
    except (StartError, PeerError) as error:
        print(f"nothing more was measured: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def server(*, wanted: bool) -> Iterator[PostgresServer | None]:
    """A server for as long as the block."""
    if not wanted:
        yield None
        return
    made = PostgresServer(durable=True)
    try:
        yield made
    finally:
        made.remove()


# --- lives on the stores alone -------------------------------------------------------------------------------------


async def lives(effort: Effort, postgres: PostgresServer | None, peers: list[Peer]) -> None:
    """Stores, raw loops and peers in turns."""
    with tempfile.TemporaryDirectory(prefix="lives-") as name:
        sides: dict[str, Side] = await sqlite_sides(Path(name))
        opened: dict[str, PeerLives] = {}
        if postgres is not None:
            sides |= await postgres_sides(postgres.new_database(), postgres.new_database())
            opened = {peer.name: PeerLives(peer, postgres.new_database()) for peer in peers}
        print(
            f"\nlives of tasks, {effort.turns} windows each in turns; step = one transition; peers: life = put to run"
        )
        try:
            for number, (in_flight, count) in enumerate(effort.lives.items()):
                rows = await _lives_at(effort.turns, in_flight, count, sides, opened)
                print("\n".join(lives_table(rows)[1 if number else 0 :]), flush=True)
        finally:
            for side in sides.values():
                await side.close()
            for peer in opened.values():
                peer.close()


async def _lives_at(
    turns: int, in_flight: int, count: int, sides: dict[str, Side], peers: dict[str, PeerLives]
) -> list[Shown]:
    seen: dict[str, list[Window]] = {name: [] for name in (*sides, *peers)}
    for turn in range(turns + 1):
        for name, side in sides.items() if turn % 2 else reversed(sides.items()):
            lived = await side.live(count, in_flight)
            seen[name].append(window(lived.seconds, lived.ended_ms, lived.steps_ms))
        for name, peer in peers.items():
            reading = await asyncio.to_thread(peer.live, max(in_flight, count // PEER_SHARE), in_flight)
            seen[name].append(window(reading.seconds, reading.ended_ms))
    # The first turn filled the caches.
    kept = {name: tuple(windows[1:]) for name, windows in seen.items()}
    return [
        Shown(
            name=name,
            in_flight=in_flight,
            windows=windows,
            ratio=figures.ratio(windows, kept[RAW[name]]) if name in RAW else None,
        )
        for name, windows in kept.items()
    ]


# --- a whole hub ---------------------------------------------------------------------------------------------------


def whole_hub(effort: Effort, postgres: PostgresServer | None) -> None:
    """Submit over HTTP, decide, assign, poll, run, report over HTTP: each acknowledged when it is durable."""
    print("\na whole hub over HTTP: a client and a worker daemon in one process; the runner is a no-op in it")
    print(f"{'store':<10}{'path':<31}{'tasks/s: min':>13}{'median':>8}{'max':>8}  CPU us hub, crew"
          "   start p50  p99 ms   end p50  p99 ms")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="lives-") as name:
        for store in ("sqlite", "postgres") if postgres is not None else ("sqlite",):
            database = postgres.new_database() if postgres is not None and store == "postgres" else ""
            with hub(Path(name) / store, database) as site, crew_of(site) as hands:
                for path, order in PATHS:
                    few = order.in_flight == 1
                    order_now = msgspec.structs.replace(order, count=effort.tasks // 20 if few else effort.tasks)
                    _ = used(site, hands, order_now)  # the first window fills the caches
                    print(
                        _hub_line(store, path, [used(site, hands, order_now) for _ in range(effort.turns)]), flush=True
                    )
            if store == "sqlite":
                with hub(Path(name) / "real", database) as site, crew_of(site, real=True, slots=16) as hands:
                    order_now = Order(count=effort.tasks // 20, in_flight=16)
                    usages = [used(site, hands, order_now) for _ in range(max(2, effort.turns // 2))]
                    print(_hub_line(store, "a process for each task (true)", usages), flush=True)


def _hub_line(store: str, path: str, usages: list[Usage]) -> str:
    shown = Shown(
        name=path, in_flight=0, windows=tuple(window(use.reading.seconds, use.reading.ended_ms) for use in usages)
    )
    low, usual, high = shown.rates
    hub_us, crew_us = (figures.middle([getattr(use, name) for use in usages]) for name in ("hub_us", "crew_us"))
    start, end = (
        [
            figures.middle([figures.quantile(getattr(use.reading, name), share) for use in usages])
            for share in (0.5, 0.99)
        ]
        for name in ("started_ms", "ended_ms")
    )
    bar = ""
    if path.startswith("one at a time"):
        met = start[0] <= figures.IDLE_P50_MS and start[1] <= figures.IDLE_P99_MS
        bar = (
            f"  start p50 <= {figures.IDLE_P50_MS:g}, p99 <= {figures.IDLE_P99_MS:g} ms: {'met' if met else 'NOT MET'}"
        )
    elif path.endswith("a request"):
        bar = f"  >= {figures.END_TO_END_S:,.0f}: {verdict(usual, figures.END_TO_END_S, at_least=True)}"
    return (
        f"{store:<10}{path:<31}{low:>13,.0f}{usual:>8,.0f}{high:>8,.0f}  {hub_us:>10,.0f}{crew_us:>6,.0f}"
        f"   {start[0]:>9.2f}{start[1]:>8.2f}{end[0]:>10.2f}{end[1]:>8.2f}{bar}"
    )


# --- recovery ------------------------------------------------------------------------------------------------------


def recover(effort: Effort, postgres: PostgresServer | None, peers: list[Peer]) -> None:
    """A killed worker's task runs again."""
    print("\nSIGKILL of a worker in the middle of a task, another one idle, for good: seconds until it runs again")
    patience_s = effort.patience_s
    _recovered("ostler, sqlite, adopt_within: 0s", recovery.of_ostler(patience_s, keeps=False), patience_s)
    _recovered("ostler, sqlite", recovery.of_ostler(patience_s, keeps=True), patience_s)
    if postgres is not None:
        _recovered(
            "ostler, postgres, adopt_within: 0s",
            recovery.of_ostler(patience_s, postgres.new_database(), keeps=False),
            patience_s,
        )
        for peer in peers:
            _recovered(peer.version, recovery.of_peer(peer, postgres.new_database(), patience_s), patience_s)


def _recovered(name: str, seconds: float | None, patience_s: float) -> None:
    said = f"{seconds:8.2f}" if seconds is not None else f"not within {patience_s:g}"
    print(f"  {name:<36}{said}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
