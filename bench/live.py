"""What a live call costs the scheduler: from its offer to its answer, and from its end to the next one's answer.

    python bench/live.py [--calls 20000] [--profile]

One process, no store, no network: signals in, effects out, on fleets of 1, 2 and 16 endpoints. `alone`: one call at a
time; `busy`: half of all slots stay taken; `waiting`: all slots taken and 1,000 calls wait, so that each end lets the
next one run. CPU microseconds for one offer with its end, the best of five windows; the calls ask ten different
questions. Target: at most 60. `desk`: alone, through the hub's desk and pump, on an event loop.
"""

import argparse
import cProfile
import pstats
import time
from collections import deque
from itertools import count

from ostler.app.loop import clock, run
from ostler.domain.catalog import Catalog, CostClass, EndpointKind, EndpointSpec, ModelSpec, TierSpec
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.live import LiveCall, LiveEnded
from ostler.domain.policy import Policy
from ostler.domain.tasks import Usage
from ostler.hub.live_desk import LiveDesk
from ostler.hub.pump import Pump
from ostler.routing.facts import CallWish, describe_call
from ostler.scheduling import Scheduler
from ostler.scheduling.effects import RunCall
from ostler.scheduling.signals import CallEnded, CallOffered, EndpointAdded, Probed
from ostler.store.memory import MemoryStore

SLOTS = 16
WINDOWS = 5
QUESTIONS = 10
WAITING = 1_000
START_MS = 1_000_000


class StandingClock:
    """A stopwatch of the process."""

    def now_ms(self) -> int:
        """Instants come with the signals."""
        return START_MS

    def stopwatch_us(self) -> int:
        """Microseconds."""
        return time.perf_counter_ns() // 1_000


def policy() -> Policy:
    """A local tier and a cloud."""
    tiers = (
        TierSpec(name="direct", rank=0, cost=CostClass.FREE),
        TierSpec(name="standard", rank=1, models=("qwen",), cost=CostClass.LOCAL),
        TierSpec(name="complex", rank=2, models=("claude",), cost=CostClass.METERED),
    )
    models = {"qwen": ModelSpec(name="qwen", context_tokens=32_768), "claude": ModelSpec(name="claude")}
    return Policy(catalog=Catalog(tiers=tiers, models=models), version="bench")


class Fleet:
    """A scheduler, and calls that run on it."""

    def __init__(self, endpoints: int) -> None:
        self.scheduler = Scheduler(policy(), StandingClock())
        self.now_us = START_MS * 1_000
        self.running: deque[str] = deque()
        self.names = count()
        for index in range(endpoints):
            self._add(f"gpu{index:02}")
        wishes = [CallWish(model="qwen", prompt_tokens=50 * 2**index) for index in range(QUESTIONS)]
        views = self.scheduler.books.endpoints.views
        self.facts = [describe_call(wish, self.scheduler.books.policy, views) for wish in wishes]

    def _add(self, name: str) -> None:
        spec = EndpointSpec(
            name=name,
            kind=EndpointKind.OLLAMA,
            url=f"http://{name}",
            provider="ollama",
            host=name,
            local=True,
            slots=SLOTS,
        )
        self.scheduler.handle(EndpointAdded(spec=spec), START_MS)
        probe = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=START_MS, models=("qwen",), residents=())
        self.scheduler.handle(Probed(probe=probe), START_MS)

    def _tell(self, signal: CallOffered | CallEnded) -> None:
        self.now_us += 100
        for effect in self.scheduler.handle(signal, self.now_us // 1_000):
            if isinstance(effect, RunCall):
                self.running.append(effect.dispatch.call_id)
        self.scheduler.next_wake_ms()

    def offer(self) -> None:
        """One more call."""
        number, now_ms = next(self.names), self.now_us // 1_000
        call = LiveCall(
            id=f"c{number}",
            facts=self.facts[number % QUESTIONS],
            offered_ms=now_ms,
            deadline_ms=now_ms + 3_600_000,
        )
        self._tell(CallOffered(call=call))

    def end(self) -> None:
        """The oldest call ends well."""
        usage = Usage(input_tokens=100, output_tokens=50, estimated=True)
        self._tell(CallEnded(end=LiveEnded(call_id=self.running.popleft(), attempt=1, usage=usage)))

    def turn(self, calls: int) -> None:
        """So many offers, each followed by an end."""
        for _ in range(calls):
            self.offer()
            self.end()


def measured(fleet: Fleet, calls: int) -> float:
    """CPU microseconds for one offer and end, the best of some windows."""
    fleet.turn(max(100, calls // 10))
    best = float("inf")
    for _ in range(WINDOWS):
        begun = time.process_time()
        fleet.turn(calls // WINDOWS)
        best = min(best, (time.process_time() - begun) * 1e6 / (calls // WINDOWS))
    return best


async def through_the_desk(endpoints: int, calls: int) -> float:
    """CPU microseconds for one call that is admitted and ends, as the gateway does it."""
    fleet = Fleet(endpoints)
    pump = Pump(fleet.scheduler, MemoryStore(), clock())
    desk = LiveDesk(pump)
    pump.start()
    best = float("inf")
    for window in range(WINDOWS + 1):
        begun = time.process_time()
        for number in range(calls // WINDOWS):
            now_ms = pump.clock.now_ms()
            facts = fleet.facts[number % QUESTIONS]
            call = LiveCall(id=f"{window}-{number}", facts=facts, offered_ms=now_ms, deadline_ms=now_ms + 60_000)
            dispatch = await desk.admit(call)
            desk.ended(LiveEnded(call_id=dispatch.call_id, attempt=1))
        if window:
            best = min(best, (time.process_time() - begun) * 1e6 / (calls // WINDOWS))
    await pump.stop()
    return best


def main() -> None:
    """Run and print."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--calls", type=int, default=20_000)
    cli.add_argument("--profile", action="store_true", help="where the time goes with two endpoints, half of them busy")
    args = cli.parse_args()
    if args.profile:
        fleet = Fleet(2)
        for _ in range(SLOTS):
            fleet.offer()
        profile = cProfile.Profile()
        profile.runcall(fleet.turn, args.calls)
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        return
    print("endpoints   alone us   busy us   1,000 waiting us   desk us   (CPU for one offer and end)")
    for endpoints in (1, 2, 16):
        row = []
        for ahead in (0, endpoints * SLOTS // 2, endpoints * SLOTS + WAITING):
            fleet = Fleet(endpoints)
            for _ in range(ahead):
                fleet.offer()
            row.append(measured(fleet, args.calls))
        row.append(run(through_the_desk(endpoints, args.calls)))
        print(f"{endpoints:9}   {row[0]:8.1f}   {row[1]:7.1f}   {row[2]:16.1f}   {row[3]:7.1f}")


if __name__ == "__main__":
    main()
