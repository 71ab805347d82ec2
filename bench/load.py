"""One real hub under load: 200 endpoints and 1,000 workers over HTTP, both **simulated**, and 100,000 waiting tasks.

    python bench/load.py [--tasks 1000,10000,100000] [--workers 1000] [--endpoints 200] [--seconds 20]

For each number of waiting tasks a hub starts over a fresh folder, takes them in, answers those who look, is stopped and
started again with all of them, is joined by the workers and gives work out. The hub is a process as `ostler up` starts
it, SQLite with synchronous=FULL; tasks are mixed (two tiers, commands, all priorities, batches, chains, a limit of the
budget that covers all that costs money). Columns are sizes, and the last one is the exponent of growth from the first
size to the last: 0 is "does not grow", 1 is "grows as the tasks do". Hub, workers, endpoints and this program share the
machine: rates are of all of it, processor time is the hub's own. Its share, that of the workers' process and what is
busy of the whole machine say whether the hub had a processor for itself.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.crowd.jobs import hand_in, jobs
from bench.crowd.site import Site, Workers, busy_s, site
from bench.crowd.sizes import measured
from bench.crowd.workers import Crew
from bench.hop.machine import RunError, end_all_when_told, rig_env
from ostler.client.transport import Transport
from ostler.domain.tasks import Complexity, Priority, TaskSpec

Figures = dict[str, float]
FACES = (
    "/hub/status",
    "/hub/tasks?limit=100",
    "/hub/tasks?limit=100&state=queued",
    "/hub/tasks/t1/why",
    "/hub/workers",
    "/hub/endpoints",
    "/hub/hosts",
    "/hub/models",
    "/hub/batches",
    "/hub/pulse",
    "/hub/idle",
    "/metrics",
    "/",
    "/tasks",
    "/fleet",
    "/pipelines",
    "/money",
)
VERBS = (("status",), ("tasks", "list"), ("workers", "list"), ("why-idle",), ("batch", "--list"))
LOOKS, LOOKS_BUSY = 7, 5
JOIN_LIMIT_S = 300.0
URGENT = 40


def main() -> int:
    """Measure and print."""
    end_all_when_told()
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--tasks", default="300,1000", help="numbers of waiting tasks, with commas between")
    cli.add_argument("--workers", type=int, default=50)
    cli.add_argument("--endpoints", type=int, default=20)
    cli.add_argument("--seconds", type=float, default=4.0, help="how long work is given out")
    cli.add_argument("--profile", metavar="FILE", help="where the hub's time goes while work is given out, for pstats")
    cli.add_argument("--full", action="store_true", help="1000,10000,100000 tasks, 1000 workers, 200 endpoints, 20 s")
    args = cli.parse_args()
    if args.full:
        args.tasks, args.workers, args.endpoints, args.seconds = "1000,10000,100000", 1_000, 200, 20.0
    sizes = [int(text) for text in args.tasks.split(",")]
    print(f"{args.endpoints} endpoints and {args.workers} workers, both simulated, over HTTP; one hub")
    columns = measured(sizes, lambda folder, size: measure(folder, size, args))
    if columns is None:
        return 1
    report(sizes, columns)
    return 0


def measure(folder: Path, size: int, args: argparse.Namespace) -> Figures:
    """All figures of one size."""
    found: Figures = {}
    with site(folder, args.endpoints) as hub:
        found["start, nothing kept s"] = hub.start()
        take_in(hub, size, found)
        hub.stop_hub()
        hub.profiled_in = str(Path(args.profile).absolute()) if args.profile else ""
        found["start, all waiting s"] = hub.start()
        time.sleep(1.0)
        gauges = hub.gauges()
        found["memory after that start MB"] = gauges.rss_mb
        look(hub, LOOKS, found, "idle")
        verbs(hub, found)
        give_out(hub, folder, args.workers, args.seconds, found)
    return found


def take_in(hub: Site, size: int, found: Figures) -> None:
    """Hand everything in; nobody works yet."""
    time.sleep(1.0)
    before = hub.gauges()
    specs = list(jobs(0, size))
    began = time.perf_counter()
    took = hand_in(hub.client, specs)
    found["submit: tasks/s"] = size / (time.perf_counter() - began)
    after = hub.gauges()
    found["submit: hub cpu us/task"] = (after.cpu_s - before.cpu_s) / size * 1e6
    tenth = max(1, len(took) // 10)
    found["submit: page of 500, last tenth ms"] = statistics.median(took[-tenth:])
    found["memory B/task"] = (after.rss_mb - before.rss_mb) * 2**20 / size
    found["file MB"] = hub.database_mb()


def look(hub: Site, times: int, found: Figures, when: str) -> None:
    """Every face, some times in turn; the middle one counts."""
    ask = Transport(hub.url)
    for path in FACES:
        found[f"{when} GET {path} ms"] = timed(lambda path=path: ask.ask("GET", path), times)  # type: ignore[misc]


def timed(work: Callable[[], object], times: int) -> float:
    """The median of some times, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def verbs(hub: Site, found: Figures) -> None:
    """Commands as a person gives them, start of the interpreter and all."""
    for verb in VERBS:
        command = [sys.executable, "-m", "ostler.cli.main", *verb, "--hub", hub.url]

        def run(command: list[str] = command) -> None:
            done = subprocess.run(command, capture_output=True, env=rig_env(), check=False)
            if done.returncode:
                raise RunError(f"{command}: {done.stderr.decode(errors='replace')[-500:]}")

        found[f"ostler {' '.join(verb)} ms"] = timed(run, 3)


def give_out(hub: Site, folder: Path, workers: int, seconds: float, found: Figures) -> None:
    """The workers join and work."""
    crew = Workers(folder, Crew(port=hub.port, token=hub.token(), workers=workers))
    try:
        end = time.perf_counter() + JOIN_LIMIT_S
        while (tally := crew.tally()).joined < workers:
            if time.perf_counter() > end:
                raise RunError(f"{tally.joined} of {workers} workers joined in time; {tally.last_error}")
            time.sleep(0.25)
        found["all joined after s"] = tally.join_s
        before, first = hub.gauges(), crew.tally()
        rig, machine = crew.cpu_s(), busy_s()
        time.sleep(seconds)
        after, last = hub.gauges(), crew.tally()
        rig, machine = crew.cpu_s() - rig, busy_s() - machine
        done, took = last.finished - first.finished, last.at_s - first.at_s
        if done:
            found["given out and done tasks/s"] = done / took
            found["hub cpu us/task"] = (after.cpu_s - before.cpu_s) / done * 1e6
        found["hub cpu share"] = (after.cpu_s - before.cpu_s) / took
        found["workers' cpu share"] = rig / took
        found["machine busy, processors"] = machine / took
        urgent(hub, found)
        look(hub, LOOKS_BUSY, found, "busy")
        last = crew.tally()
        found["heartbeat p50 ms"], found["heartbeat p99 ms"] = last.heartbeat_p50_ms, last.heartbeat_p99_ms
        found["report p50 ms"], found["report p99 ms"] = last.report_p50_ms, last.report_p99_ms
        found["errors"] = last.errors
        if last.errors:
            print(f"  {last.errors} errors, the last one: {last.last_error}", file=sys.stderr)
        found["memory at the end MB"] = hub.gauges().rss_mb
        at_rest(hub, crew, found)
    finally:
        crew.stop()


def urgent(hub: Site, found: Figures) -> None:
    """What a task that goes before all others waits for, from its submit to the worker's word that it runs."""
    client, waits, acknowledged = hub.client, [], []
    for number in range(URGENT):
        name = f"urgent{number}"
        spec = TaskSpec(id=name, prompt="Name three horses.", complexity=Complexity.STANDARD, priority=Priority.URGENT)
        began = time.perf_counter()
        client.submit([spec])
        acknowledged.append((time.perf_counter() - began) * 1000)
        time.sleep(0.05)
    deadline = time.perf_counter() + 30
    for number in range(URGENT):
        while True:
            task = client.task(f"urgent{number}").task
            if task.started_ms is not None:
                waits.append(float(task.started_ms - task.created_ms))
                break
            if time.perf_counter() > deadline:
                raise RunError(f"urgent{number} never started: {task.state.value} {task.wait}")
            time.sleep(0.05)
    for name, values in (("urgent: submit", acknowledged), ("urgent: submit to start", waits)):
        found[f"{name} p50 ms"] = statistics.median(values)
        found[f"{name} max ms"] = max(values)


def at_rest(hub: Site, crew: Workers, found: Figures) -> None:
    """What the workers cost when there is nothing to do for them: the rest is cancelled, or done."""
    for number in range(500):
        if not hub.client.status().in_flight:
            break
        time.sleep(0.1)
        if number == 100:
            return  # still at work: the backlog is larger than the time
    before, first = hub.gauges(), crew.tally()
    time.sleep(6.0)
    after, last = hub.gauges(), crew.tally()
    found["hub cpu share, workers idle"] = (after.cpu_s - before.cpu_s) / (last.at_s - first.at_s)


def report(sizes: list[int], columns: list[Figures]) -> None:
    """Side by side."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    print(f"{'':<44}" + "".join(f"{size:>12,}" for size in sizes) + f"{'growth':>9}")
    for name in names:
        values = [column.get(name) for column in columns]
        cells = "".join(f"{value:>12,.2f}" if value is not None else f"{'':>12}" for value in values)
        print(f"{name:<44}{cells}{growth(sizes, values):>9}")


def growth(sizes: list[int], values: list[float | None]) -> str:
    """The exponent between the first and the last size."""
    first, last = values[0], values[-1]
    if first is None or last is None or first <= 0 or last <= 0 or sizes[0] == sizes[-1]:
        return ""
    return f"{math.log(last / first) / math.log(sizes[-1] / sizes[0]):.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
