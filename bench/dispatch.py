"""From "submitted" to "started" on an idle hub, through everything that is real: durable submit, decision, durable
assignment, the worker's mail. And how many whole tasks a hub carries in a second when it is not idle.

    python bench/dispatch.py [--tasks 400] [--full-speed 3000]

The store is SQLite with synchronous=FULL in a fresh folder; the worker is a loop in the same process that starts and
finishes what it is given at once, so that what is measured is ours. Target on an idle hub: p50 <= 2 ms, p99 <= 10 ms.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ostler.app.loop import clock, run
from ostler.app.serve import SWITCH_INTERVAL_S
from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, ModelSpec, TierSpec
from ostler.domain.fleet import Probe, ProbeStatus, WorkerOffer
from ostler.domain.policy import Policy
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from ostler.hub.endpoints import EndpointDesk
from ostler.hub.plan_desk import PlanDesk
from ostler.hub.pump import Pump
from ostler.hub.service import Hub
from ostler.hub.service_info import HubInfo
from ostler.scheduling import Scheduler
from ostler.scheduling.signals import Probed
from ostler.solver.searching import search_in_process
from ostler.store.sqlite import SqliteStore

SLOTS = 64


class Watch:
    """Endpoints that are always there."""

    def __init__(self) -> None:
        self.pump: Pump | None = None

    async def put(self, spec: EndpointSpec) -> None:
        """List it once, successfully."""
        await self.probe_now(spec.name)

    async def remove(self, name: str) -> None:
        """Nothing to do."""

    async def probe_now(self, name: str) -> Probe:
        """A good listing."""
        probe = Probe(
            endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=clock().now_ms(), models=("qwen",), residents=()
        )
        assert self.pump is not None
        await self.pump.post(Probed(probe=probe))
        return probe


def policy() -> Policy:
    """One local tier."""
    tiers = (
        TierSpec(name="direct", rank=0, cost=CostClass.FREE),
        TierSpec(name="standard", rank=1, models=("qwen",), cost=CostClass.LOCAL),
    )
    return Policy(catalog=Catalog(tiers=tiers, models={"qwen": ModelSpec(name="qwen")}), version="bench")


class Bench:
    """A hub and a worker that does nothing, at once."""

    def __init__(self, store: SqliteStore) -> None:
        self.pump = Pump(Scheduler(policy(), clock()), store, clock())
        watch = Watch()
        watch.pump = self.pump
        self.desk = EndpointDesk(self.pump, watch)
        plans = PlanDesk(self.pump, store, search_in_process)
        self.hub = Hub(self.pump, store, self.desk, plans, HubInfo(version="bench", profile_path=None, started_ms=0), 1)
        self.started: dict[str, float] = {}
        self.news = asyncio.Event()
        self.done = 0

    async def work(self) -> None:
        """Take, start, finish; reports are sent without waiting for one another."""
        offer = WorkerOffer(name="w", host="h", slots={TaskKind.CHAT: SLOTS}, builtin=True)
        session = await self.hub.link.join(offer)
        sending: set[asyncio.Task[None]] = set()
        while True:
            poll = await self.hub.link.poll(session.id, 1_000)
            now = time.perf_counter()
            for item in poll.assignments:
                if item.task_id in self.started:
                    continue
                self.started[item.task_id] = now
                task = asyncio.ensure_future(self._report(session.id, item.task_id, item.generation))
                sending.add(task)
                task.add_done_callback(sending.discard)
            self.news.set()

    async def _report(self, session_id: str, task_id: str, generation: int) -> None:
        now_ms = clock().now_ms()
        started = Started(task_id=task_id, generation=generation, at_ms=now_ms)
        finished = Finished(task_id=task_id, generation=generation, at_ms=now_ms, ok=True, output="done")
        await self.hub.link.report(session_id, [started, finished])
        self.done += 1
        self.news.set()

    async def until_done(self, count: int) -> None:
        """Wait until that many tasks are durable ends."""
        while self.done < count:
            self.news.clear()
            await self.news.wait()


def spec(name: str) -> TaskSpec:
    """A small chat task."""
    return TaskSpec(id=name, prompt="Name three horses.", complexity=Complexity.STANDARD)


async def measure(tasks: int, full_speed: int, folder: Path) -> None:
    """Both parts, printed."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    store = await SqliteStore.open(folder / "bench.db")
    bench = Bench(store)
    bench.pump.start()
    await bench.desk.start(
        EndpointSpec(
            name="gpu", kind=EndpointKind.OLLAMA, url="http://gpu", provider="ollama", host="h", local=True, slots=SLOTS
        ),
        "profile",
    )
    working = asyncio.create_task(bench.work())
    gc.collect()
    gc.freeze()
    waits: list[float] = []
    acknowledged: list[float] = []
    for i in range(tasks):
        begun = time.perf_counter()
        await bench.hub.submit([spec(f"idle{i}")])
        acknowledged.append((time.perf_counter() - begun) * 1000)
        await bench.until_done(i + 1)
        waits.append((bench.started[f"idle{i}"] - begun) * 1000)
        await asyncio.sleep(0.002)
    for name, values in (("submit acknowledged", acknowledged), ("submit to start", waits)):
        p99 = sorted(values)[len(values) * 99 // 100]
        print(f"idle hub, {name:<20} p50 {statistics.median(values):6.2f} ms   p99 {p99:6.2f} ms   ({tasks} tasks)")
    begun = time.perf_counter()
    submitting = [bench.hub.submit([spec(f"full{i}")]) for i in range(full_speed)]
    await asyncio.gather(*submitting)
    await bench.until_done(tasks + full_speed)
    took = time.perf_counter() - begun
    rate = full_speed / took
    print(f"busy hub, {full_speed} single submits at once, {SLOTS} slots: {rate:,.0f} whole tasks a second")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await bench.pump.stop()
    await store.close()


def main() -> None:
    """Run and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--tasks", type=int, default=400)
    cli.add_argument("--full-speed", type=int, default=2000)
    args = cli.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(measure(args.tasks, args.full_speed, Path(folder)))


if __name__ == "__main__":
    main()
