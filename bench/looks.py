"""What a look costs while nothing runs and much waits: each route and verb, and the start of the hub.

    python bench/looks.py [--tasks 1000,10000] [--full] [--than SRC] [--times 5]

For each number of tasks a folder with so many waiting ones is made once (no worker ever joins; endpoints are
**simulated**), then the hub is started over copies of it: as it is here, and with `--than` as it is in the `src` of
another checkout, so that both are measured side by side in one run and by turns. The tasks are those of
`bench/load.py`, and beside them one chain of a tenth of them, each of which needs the one before. Columns are numbers
of tasks and the exponent of growth from the first to the last: 0 is "does not grow".
"""

import argparse
import http.client
import math
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.crowd.jobs import hand_in, jobs
from bench.crowd.site import Site, site
from bench.crowd.sizes import measured
from bench.hop.machine import RunError, end_all_when_told
from ostler.client.transport import Transport
from ostler.domain.tasks import TaskKind, TaskSpec

ROUTES = (
    "/hub/status",
    "/hub/pulse",
    "/hub/pulse?batch=b0",
    "/hub/idle",
    "/hub/idle?batch=b0",
    "/hub/tasks?limit=100",
    "/hub/tasks?limit=100&state=queued",
    "/hub/tasks?limit=100&state=running",
    "/hub/tasks?limit=100&batch=b0",
    "/hub/tasks/{last}",
    "/hub/tasks/{last}/why",
    "/hub/tasks/{behind}/why",
    "/hub/batches",
    "/hub/batches/b0",
    "/hub/runs/b0/results",
    "/hub/hosts",
    "/hub/hosts?saved=1",
    "/hub/models",
    "/hub/endpoints",
    "/hub/workers",
    "/hub/questions",
    "/hub/alerts",
    "/hub/patterns",
    "/hub/events?limit=500",
    "/hub/hubs",
    "/hub/late",
    "/hub/calls",
    "/metrics",
    "/",
    "/tasks",
    "/tasks?q=ticket",
    "/tasks/{last}",
    "/fleet",
    "/money",
    "/learning",
    "/pipelines",
    "/pipelines/b0",
    "/calls",
)
SHARED, SHARED_S = ("/", "/fleet"), 1.5
"""What a page shows is read for all who look about once a second: of these, each look is a new one."""
STREAMS = ("/hub/events/stream?after=0", "/live?path=/")
VERBS = (
    ("status",),
    ("tasks", "list"),
    ("tasks", "list", "--state", "queued"),
    ("workers", "list"),
    ("hosts",),
    ("models", "list"),
    ("why-idle",),
    ("pulse",),
    ("why", "{last}"),
    ("batch", "--list"),
    ("top", "--once"),
)
CHAINED = 10
"""One task of so many stands in the one long chain."""
Figures = dict[str, float]


def main() -> int:
    """Measure and print."""
    end_all_when_told()
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--tasks", default="1000,10000", help="numbers of waiting tasks, with commas between")
    cli.add_argument("--full", action="store_true", help="1000,10000,100000 tasks")
    cli.add_argument("--endpoints", type=int, default=20)
    cli.add_argument("--times", type=int, default=5, help="looks at each; the middle one counts")
    cli.add_argument("--starts", type=int, default=3, help="starts of each hub; the middle one counts")
    cli.add_argument("--than", metavar="SRC", help="the src folder of another checkout to compare with")
    cli.add_argument("--no-verbs", action="store_true", help="routes and starts only")
    cli.add_argument("--keep", metavar="FOLDER", type=Path, help="where the folders of tasks are kept for another run")
    args = cli.parse_args()
    sizes = [int(text) for text in ("1000,10000,100000" if args.full else args.tasks).split(",")]
    columns = measured(sizes, lambda folder, size: measure(folder, size, args))
    if columns is None:
        return 1
    report(sizes, columns)
    return 0


def measure(folder: Path, size: int, args: argparse.Namespace) -> dict[str, Figures]:
    """All figures of one size, by whose they are."""
    sources = {"here": ""} if args.than is None else {"before": str(Path(args.than).resolve()), "here": ""}
    with site(folder, args.endpoints) as hub:
        full = kept(hub, size, args.keep)
        found: dict[str, Figures] = {whose: {} for whose in sources}
        starts: dict[str, list[float]] = {whose: [] for whose in sources}
        for turn in range(args.starts):
            for whose, source in sources.items():
                shutil.rmtree(hub.data, ignore_errors=True)
                shutil.copytree(full, hub.data)
                hub.source = source
                starts[whose].append(hub.start() * 1000)
                if turn == args.starts - 1:
                    found[whose]["start of the hub"] = statistics.median(starts[whose])
                    time.sleep(1.0)
                    look(hub, size, args, found[whose])
                hub.stop_hub()
    return found


def kept(hub: Site, size: int, shelf: Path | None) -> Path:
    """A folder with so many waiting tasks, made unless an earlier run has left it."""
    full = hub.data.with_name("full") if shelf is None else shelf / str(size)
    if not full.exists():
        hub.start()
        chain = size // CHAINED
        hand_in(hub.client, [*jobs(0, size - chain), *chained(chain)])
        hub.stop_hub()
        shutil.copytree(hub.data, full)
    return full


def chained(count: int) -> Iterator[TaskSpec]:
    """Each needs the one before."""
    for number in range(count):
        yield TaskSpec(
            id=f"c{number}",
            kind=TaskKind.COMMAND,
            argv=("true", str(number)),
            needs=(f"c{number - 1}",) if number else (),
        )


def look(hub: Site, size: int, args: argparse.Namespace, found: Figures) -> None:
    """Every route and verb, some times in turn."""
    names = {"last": f"t{size - size // CHAINED - 1}", "behind": f"c{size // CHAINED - 1}"}
    ask = Transport(hub.url)
    for path in ROUTES:
        pause_s = SHARED_S if path in SHARED else 0.0
        found[f"GET {path}"] = timed(partial(ask.ask, "GET", path.format(**names)), args.times, pause_s)
    for path in STREAMS:
        found[f"first bytes of {path}"] = timed(partial(first_bytes, hub.port, path), args.times)
    for verb in () if args.no_verbs else VERBS:
        words = [word.format(**names) for word in verb]
        command = [sys.executable, "-m", "ostler.cli.main", *words, "--hub", hub.url]
        found[f"ostler {' '.join(verb)}"] = timed(partial(run, command, hub), 3)


def timed(work: Callable[[], object], times: int, pause_s: float = 0.0) -> float:
    """The median of some times, in milliseconds."""
    took = []
    for _ in range(times):
        time.sleep(pause_s)
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def first_bytes(port: int, path: str) -> None:
    """Until a stream has said something that is no greeting."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        while not answer.readline().startswith((b"id:", b"event:", b"data:")):
            pass
    finally:
        line.close()


def run(command: list[str], hub: Site) -> None:
    """A command as a person gives it, start of the interpreter and all."""
    done = subprocess.run(command, capture_output=True, env=hub.env(), check=False)
    if done.returncode:
        raise RunError(f"{command}: {done.stderr.decode(errors='replace')[-500:]}")


def report(sizes: list[int], columns: list[dict[str, Figures]]) -> None:
    """Side by side, milliseconds."""
    whose = list(columns[0])
    heads = [f"{size:,}{' ' + one if len(whose) > 1 else ''}" for size in sizes for one in whose]
    names = list(columns[0][whose[0]])
    wide = max(len(name) for name in names)
    cell = max(11, *(len(head) + 2 for head in heads))
    print(f"{'milliseconds':<{wide}}" + "".join(f"{head:>{cell}}" for head in heads) + f"{'growth':>{9 * len(whose)}}")
    for name in names:
        cells = "".join(f"{column[one][name]:>{cell},.1f}" for column in columns for one in whose)
        grown = "".join(f"{growth(sizes, [column[one][name] for column in columns]):>9}" for one in whose)
        print(f"{name:<{wide}}{cells}{grown}")


def growth(sizes: list[int], values: list[float]) -> str:
    """The exponent between the first and the last size."""
    if sizes[0] == sizes[-1]:
        return ""
    return f"{math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0]):.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
