"""How the cost of one event of the scheduler grows with the number of waiting tasks: it must not.

    python bench/schedule.py [--waiting 100,1000,10000,100000] [--events 2000] [--managed]

For each number of waiting tasks a fleet of 8 local endpoints and a cloud runs at its limit while that many tasks wait.
Then attempts end and new tasks arrive in turn: every event frees a slot, is answered by a round and fills it again.
Printed: microseconds for each event (median and 99th percentile), events per second, and the ratio of the median to
that of the first row, all measured in this one run. The store is not part of it (see bench/store.py).

`--managed` declares the memory of the local hosts, so that the scheduler decides what is loaded there: the two local
models exclude each other, half of the standard work asks for each, and every event also costs a step of the residency.
"""

import argparse
import gc
import statistics
import sys
import time

from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, HostSpec, ModelSpec, TierSpec
from ostler.domain.fleet import GIB, Probe, ProbeStatus, Resident, Session, WorkerOffer
from ostler.domain.policy import Policy, RoutingPolicy
from ostler.domain.tasks import Complexity, Priority, TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from ostler.hub.accept import new_tasks
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Assign, Effect, LoadModel

NOW_MS = 1_000_000
LOCAL, SLOTS = 8, 4


class Stopwatch:
    """The clock of the actor."""

    def now_ms(self) -> int:
        """Where the clock stands."""
        return NOW_MS

    def stopwatch_us(self) -> int:
        """Microseconds."""
        return time.perf_counter_ns() // 1000


def policy(*, managed: bool) -> Policy:
    """Three tiers; the time to live is off, because the clock stands still here."""
    hosts = {f"gpu{i}": HostSpec(name=f"gpu{i}", memory_bytes=24 * GIB) for i in range(LOCAL)} if managed else {}
    catalog = Catalog(
        tiers=(
            TierSpec(name="direct", rank=0, cost=CostClass.FREE),
            TierSpec(name="standard", rank=1, models=("qwen", "llama"), cost=CostClass.LOCAL),
            TierSpec(name="complex", rank=2, models=("claude",), cost=CostClass.METERED),
        ),
        models={
            name: ModelSpec(name=name, context_tokens=65_536, memory_bytes=20 * GIB)
            for name in ("qwen", "llama", "claude")
        },
        hosts=hosts,
    )
    mapping = {"trivial": "direct", "standard": "standard", "complex": "complex"}
    return Policy(catalog=catalog, routing=RoutingPolicy(complexity_tiers=mapping), version="bench")


def specs(first: int, count: int, complexity: Complexity | None = None, *, split: bool = False) -> list[TaskSpec]:
    """A mix: three of four standard, one complex (or all as told), all priorities, some with a needed capability."""
    return [
        TaskSpec(
            id=f"t{i}",
            prompt=f"Explain in a few words what task {i} is about.",
            complexity=complexity or (Complexity.COMPLEX if i % 4 == 0 else Complexity.STANDARD),
            priority=Priority(i % 4),
            requires=frozenset({"python"} if i % 5 == 0 else ()),
            model=("qwen", "llama")[i // 4 % 2] if split and i % 4 else None,
            ttl_ms=0,
        )
        for i in range(first, first + count)
    ]


class Bench:
    """A scheduler with a fleet, fed by hand."""

    def __init__(self, *, managed: bool) -> None:
        self.managed = managed
        self.policy = policy(managed=managed)
        self.scheduler = Scheduler(self.policy, Stopwatch())
        self.running: list[tuple[str, int, str, str]] = []
        """Task, generation, session, tier."""
        self.count = 0
        self.loads = 0
        offer = WorkerOffer(
            name="w", host="w", slots={TaskKind.CHAT: 1000}, capabilities=frozenset({"python"}), builtin=True
        )
        self.tell(sig.WorkerJoined(session=Session(id="s", offer=offer, joined_ms=NOW_MS, renewed_ms=NOW_MS)))
        for i in range(LOCAL):
            loaded = (Resident(model=("qwen", "llama")[i % 2]),) if managed else ()
            self.endpoint(f"gpu{i}", EndpointKind.OLLAMA, ("qwen", "llama"), local=True, loaded=loaded)
        self.endpoint("cloud", EndpointKind.ANTHROPIC, ("claude",), local=False)

    def endpoint(
        self, name: str, kind: EndpointKind, models: tuple[str, ...], *, local: bool, loaded: tuple[Resident, ...] = ()
    ) -> None:
        """Register and list an endpoint."""
        spec = EndpointSpec(
            name=name, kind=kind, url=f"http://{name}", provider=kind, host=name, local=local, slots=SLOTS
        )
        self.tell(sig.EndpointAdded(spec=spec))
        probe = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=NOW_MS, models=models, residents=loaded)
        self.tell(sig.Probed(probe=probe))

    def tell(self, signal: sig.Signal) -> None:
        """Hand a signal over, untimed."""
        self.note(self.scheduler.handle(signal, NOW_MS))

    def note(self, effects: list[Effect]) -> None:
        """Remember what was assigned."""
        for effect in effects:
            if isinstance(effect, LoadModel):
                self.loads += 1
            if isinstance(effect, Assign):
                task = effect.command.task
                self.running.append((task.id, task.generation, effect.session_id, effect.tier))

    def submit(self, count: int) -> None:
        """Accept tasks."""
        made = specs(self.count, count, split=self.managed)
        rows = new_tasks(made, self.policy, first_seq=self.count, now_ms=NOW_MS, settled={})
        self.count += count
        self.tell(sig.TasksAccepted(tasks=tuple(row.task for row in rows)))

    def event(self, signal: sig.Signal, into: list[int]) -> None:
        """Hand a signal over, timed in nanoseconds."""
        started = time.perf_counter_ns()
        effects = self.scheduler.handle(signal, NOW_MS)
        into.append(time.perf_counter_ns() - started)
        self.note(effects)

    def turn(self, finishes: list[int], starts: list[int], submits: list[int]) -> None:
        """One attempt starts and ends, another takes its slot, a new task arrives."""
        task_id, generation, session, tier = self.running.pop(0)
        self.event(
            sig.Reported(session_id=session, report=Started(task_id=task_id, generation=generation, at_ms=NOW_MS)),
            starts,
        )
        report = Finished(task_id=task_id, generation=generation, at_ms=NOW_MS, ok=True)
        self.event(sig.Reported(session_id=session, report=report), finishes)
        # The new task is of the tier that was freed, so that as many wait for each tier as before.
        complexity = Complexity.COMPLEX if tier == "complex" else Complexity.STANDARD
        (row,) = new_tasks(
            specs(self.count, 1, complexity, split=self.managed),
            self.policy,
            first_seq=self.count,
            now_ms=NOW_MS,
            settled={},
        )
        self.count += 1
        self.event(sig.TasksAccepted(tasks=(row.task,)), submits)


def main() -> None:
    """Print the table."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--waiting", default="100,1000,10000,100000")
    cli.add_argument("--events", type=int, default=3000)
    cli.add_argument("--managed", action="store_true")
    args = cli.parse_args()
    out = sys.stdout.write
    out(f"{LOCAL} local endpoints and a cloud, {SLOTS} slots each, all taken; microseconds for each event\n")
    out(f"{'waiting':>8} {'classes':>8} {'finish+assign p50':>18} {'p99':>7} {'start p50':>10} {'submit p50':>11}")
    out(f" {'events/s':>9} {'growth':>7} {'load s':>7}\n")
    base = 0.0
    for waiting in (int(text) for text in args.waiting.split(",")):
        bench = Bench(managed=args.managed)
        begun = time.perf_counter()
        bench.submit(waiting + LOCAL * SLOTS + SLOTS)
        loaded = time.perf_counter() - begun
        gc.collect()
        gc.freeze()
        finishes, starts, submits = list[int](), list[int](), list[int]()
        for _ in range(args.events):
            bench.turn(finishes, starts, submits)
        gc.unfreeze()
        p50 = statistics.median(finishes) / 1000
        p99 = sorted(finishes)[len(finishes) * 99 // 100] / 1000
        base = base or p50
        total_s = sum(finishes + starts + submits) / 1e9
        out(
            f"{waiting:>8} {len(bench.scheduler.books.queue.classes):>8} {p50:>18.1f} {p99:>7.1f}"
            f" {statistics.median(starts) / 1000:>10.1f} {statistics.median(submits) / 1000:>11.1f}"
            f" {3 * args.events / total_s:>9.0f} {p50 / base:>7.2f} {loaded:>7.2f}\n"
        )


if __name__ == "__main__":
    main()
