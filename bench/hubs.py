"""How throughput grows with hubs: one, two and three of them on one PostgreSQL, each leading a pool of its own.

    python bench/hubs.py [--seconds 8] [--workers 20]

A pool is led by exactly one hub, so work spreads over hubs by pools. Each hub is a process as `ostler up` starts it;
endpoints and workers are **simulated** and speak HTTP. Each pool has more waiting than is done in the time. Then live
calls of the gateway, to the hub that leads and to one that stands by and passes them on.

Read processor time for each task: on a machine with few cores hubs, database and rig share them, and the rate of all
together stands still when the cores are full, whatever the hubs could do. What one hub costs must not grow with their
number; where each has a core of its own, the rate then grows as the hubs do.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.crowd.jobs import hand_in, jobs
from bench.crowd.line import Line
from bench.crowd.site import Gauges, Site, Workers, gauges, site
from bench.crowd.workers import Crew, Nothing
from bench.hop.machine import RunError, StartError, end_all_when_told
from ostler.domain.errors import OstlerError
from tests.postgres_server import PostgresServer

ENDPOINTS = 5
WAITING_A_SECOND = 1_500
"""Handed in to each pool before it is measured: more than one hub does in the time, joining and warming up included."""
CALLERS, CALLS_S = 8, 4.0
JOIN_LIMIT_S = 60.0
ENOUGH = 0.95
"""Share of its work with which a pool was short of it: the last tasks are those that wait for others."""


def extra(url: str, pool: str, name: str) -> str:
    """What makes a hub one of several."""
    return f"  database: {url}\n  pool: {pool}\n  name: {name}\n  lease: 1m\n"


def started(stack: ExitStack, folder: Path, url: str, pool: str, name: str) -> Site:
    """A hub of a pool."""
    folder.mkdir()
    made = stack.enter_context(site(folder, ENDPOINTS, hub=extra(url, pool, name)))
    made.start()
    return made


def pools(folder: Path, server: PostgresServer, count: int, seconds: float, workers: int) -> list[float]:
    """Tasks a second of all hubs, and microseconds of processor time for each task in hubs, database and rig."""
    url = server.new_database()
    waiting = round(WAITING_A_SECOND * (seconds + 2))
    with ExitStack() as stack:
        hubs = [started(stack, folder / f"h{number}", url, f"p{number}", f"h{number}") for number in range(count)]
        for hub in hubs:
            hand_in(hub.client, list(jobs(0, waiting)))
        crews = []
        for number, hub in enumerate(hubs):
            crew = Crew(port=hub.port, token=hub.token(), workers=workers, slots=2, work_ms=5.0, hosts=ENDPOINTS)
            crews.append(Workers(folder / f"h{number}", crew))
            stack.callback(crews[-1].stop)
        end = time.perf_counter() + JOIN_LIMIT_S
        while any(crew.tally().joined < workers for crew in crews):
            if time.perf_counter() > end:
                raise RunError("the workers did not join in time")
            time.sleep(0.2)
        before, done_before, began = spent(hubs, server), sum(crew.tally().finished for crew in crews), time.monotonic()
        time.sleep(seconds)
        after, done, took = spent(hubs, server), sum(crew.tally().finished for crew in crews), time.monotonic() - began
        count_done = max(1, done - done_before)
        if any(crew.tally().finished >= waiting * ENOUGH for crew in crews):
            raise RunError("a pool had no more work before the time was over, so its rate is none: hand in more")
        costs = [(later - sooner) / count_done * 1e6 for sooner, later in zip(before, after, strict=True)]
        return [count_done / took, *costs]


def spent(hubs: list[Site], server: PostgresServer) -> tuple[float, float]:
    """Processor seconds of the hubs, and of the database."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    return sum(hub.gauges().cpu_s for hub in hubs), sum(one.cpu_s for one in family(pid))


def family(pid: int) -> list[Gauges]:
    """A process and its children; those that ended have left their time with their parent."""
    found = [gauges(pid)]
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
        try:
            found.append(gauges(int(child)))
        except (OSError, KeyError):
            continue
    return found


async def calls(port: int) -> float:
    """Live calls a second through one port."""
    end = time.perf_counter() + CALLS_S
    body = {"model": "sim-small", "messages": [{"role": "user", "content": "Name three horses."}]}

    async def caller() -> int:
        line, count = Line(port), 0
        while time.perf_counter() < end:
            await line.post("/v1/chat/completions", body, Nothing)
            count += 1
        line.close()
        return count

    return sum(await asyncio.gather(*(caller() for _ in range(CALLERS)))) / CALLS_S


def live(folder: Path, server: PostgresServer) -> None:
    """Calls to the leader and to a stand-by."""
    url = server.new_database()
    with ExitStack() as stack:
        leader = started(stack, folder / "leads", url, "p", "leads")
        relay = started(stack, folder / "stands-by", url, "p", "stands-by")
        for name, port in (("the hub that leads", leader.port), ("one that stands by", relay.port)):
            before = [hub.gauges().cpu_s for hub in (leader, relay)]
            rate = asyncio.run(calls(port))
            costs = [hub.gauges().cpu_s - was for hub, was in zip((leader, relay), before, strict=True)]
            told = ", ".join(f"{cost / max(1.0, rate * CALLS_S) * 1e6:,.0f}" for cost in costs)
            print(
                f"live calls through {name:<20} {rate:>8,.0f} a second; us of processor time: leader, stand-by {told}"
            )


def main() -> int:
    """Measure and print."""
    end_all_when_told()
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--hubs", default="1,2,3")
    cli.add_argument("--seconds", type=float, default=5.0)
    cli.add_argument("--workers", type=int, default=20)
    args = cli.parse_args()
    print(f"{os.cpu_count()} cores for hubs, database, simulated endpoints and simulated workers")
    print(f"{'hubs':>5} {'tasks/s':>10} {'hub us/task':>12} {'database us/task':>17}")
    try:
        with ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="ostler-hubs-"))
            server = PostgresServer(durable=True)
            stack.callback(server.remove)
            for count in (int(text) for text in args.hubs.split(",")):
                folder = Path(name) / f"of-{count}"
                folder.mkdir()
                rate, hub_us, database_us = pools(folder, server, count, args.seconds, args.workers)
                print(f"{count:>5} {rate:>10,.1f} {hub_us:>12,.0f} {database_us:>17,.0f}", flush=True)
            live(Path(name), server)
    except (StartError, RunError, OstlerError) as error:
        print(f"the run broke off: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
