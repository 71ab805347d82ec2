"""A hub under steady mixed load for a long time: neither its memory nor the number of its handles may grow.

    make soak MINUTES=60        (python bench/soak.py [--minutes 0.5] [--rate 3])

A real hub, endpoints and workers (both **simulated**) over HTTP: tasks of all kinds, some of which fail and some of
which are cancelled; live calls of the gateway, some refused upstream, some given up by their caller; workers that
vanish and come back; dashboards that are open, pages that are read. Events and records of calls are kept for a tenth
of the time, so that what is kept is constant after a while; and in the first quarter there is eight times as much to
do, so that whatever remembers a fixed number of things (the newest ends, decisions, sums) is full by then. Every
reading is printed; at the end the slope of each quantity (`bench.crowd.slope` states the rule). Exit 1: memory, handles
or threads grow. Exit 2: the run broke off.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

import msgspec

# The rig is a package of its own; this file is a program, and a program finds only what lies beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.crowd.jobs import jobs
from bench.crowd.line import Line, RefusedError
from bench.crowd.site import Site, Workers, site
from bench.crowd.slope import trend
from bench.crowd.workers import Crew, Nothing
from bench.hop.machine import RunError, StartError, end_all_when_told

ENDPOINTS, WORKERS, DASHBOARDS = 10, 10, 2
MINUTES_MIN = 20
WARM_SHARE, WARM_FACTOR = 0.25, 8.0
PAGES = ("/", "/tasks", "/fleet", "/money", "/calls", "/pipelines", "/metrics", "/hub/status", "/hub/workers")
JUDGED = {"own MB": (0.04, 2.0), "handles": (0.1, 4.0), "threads": (0.1, 2.0)}
"""What is judged: the share of its level, and the least, that is worth mentioning."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The hub at one instant."""

    at_s: float
    values: dict[str, float]


class Soak:
    """The load, and what was counted of it."""

    def __init__(self, hub: Site, minutes: float, rate: float) -> None:
        self.hub = hub
        self.end_s = time.monotonic() + minutes * 60
        self.warm_s = time.monotonic() + minutes * 60 * WARM_SHARE
        self.lasting_rate = rate
        self.random = random.Random(1)
        self.counts = dict.fromkeys(("tasks", "cancelled", "calls", "refused", "given up", "pages", "errors"), 0)
        self.last_error = ""

    @property
    def rate(self) -> float:
        """Tasks, and live calls, a second, now."""
        return self.lasting_rate * (WARM_FACTOR if time.monotonic() < self.warm_s else 1)

    async def run(self) -> None:
        """Until the time is over."""
        people = [self._submit(), self._call(), self._give_up(), self._read_pages()]
        people += [self._dashboard() for _ in range(DASHBOARDS)]
        working = [asyncio.create_task(self._guarded(one)) for one in people]
        await asyncio.sleep(max(0.0, self.end_s - time.monotonic()))
        for one in working:
            one.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception as error:  # boundary: one of the people fell over; the run must say so, not hang
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.counts["errors"] += 1
        self.last_error = f"{type(error).__name__}: {error}"[:300]

    async def _pause(self, rate: float) -> None:
        await asyncio.sleep(self.random.expovariate(rate))

    async def _submit(self) -> None:
        line, number = Line(self.hub.port), 0
        while True:
            await self._pause(self.rate / 5)
            specs = list(jobs(number, 5))
            number += 5
            await line.post("/hub/tasks", {"tasks": specs}, Nothing)
            self.counts["tasks"] += 5
            if self.random.random() < 0.3:
                await self._cancel(line, specs[-1].id)

    async def _cancel(self, line: Line, task_id: str) -> None:
        try:
            await line.post(f"/hub/tasks/{task_id}/cancel", {}, Nothing)
            self.counts["cancelled"] += 1
        except RefusedError as error:
            if error.status != 409:  # it had ended
                raise

    async def _call(self) -> None:
        line = Line(self.hub.port)
        while True:
            await self._pause(self.rate)
            fails = self.random.random() < 0.1
            prompt = "fail:500" if fails else f"Name {self.random.randrange(1000)} horses."
            body = {"model": "sim-small", "messages": [{"role": "user", "content": prompt}]}
            try:
                await line.post("/v1/chat/completions", body, Nothing)
            except RefusedError:
                self.counts["refused"] += 1
            self.counts["calls"] += 1

    async def _give_up(self) -> None:
        """Callers who hang up while the endpoint is silent."""
        while True:
            await self._pause(0.1)
            line = Line(self.hub.port)
            body = {"model": "sim-small", "messages": [{"role": "user", "content": "hang on"}]}
            with contextlib.suppress(TimeoutError):
                await line.post("/v1/chat/completions", body, Nothing, patience_s=1.0)
            self.counts["given up"] += 1

    async def _read_pages(self) -> None:
        while True:
            await self._pause(0.5)
            line = Line(self.hub.port)
            await line.get(self.random.choice(PAGES))
            line.close()
            self.counts["pages"] += 1

    async def _dashboard(self) -> None:
        """A page that stays open, and is opened anew now and then."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.hub.port)
            writer.write(f"GET /live?page=/ HTTP/1.1\r\nhost: 127.0.0.1:{self.hub.port}\r\n\r\n".encode())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30 + self.random.random() * 30):
                    while await reader.read(65_536):
                        pass
            writer.close()

    def reading(self, began_s: float) -> Reading:
        """The hub now. Raises `OSError` when it is gone."""
        found = self.hub.gauges()
        values = {
            "own MB": found.own_mb,
            "RSS MB": found.rss_mb,
            "handles": float(found.handles),
            "threads": float(found.threads),
            "cpu s": found.cpu_s,
            "file MB": self.hub.database_mb(),
        }
        return Reading(at_s=time.monotonic() - began_s, values=values)


async def measure(soak: Soak, every_s: float) -> list[Reading]:
    """The run and its readings."""
    began_s, found = time.monotonic(), list[Reading]()
    running = asyncio.create_task(soak.run())
    print("  min  " + "".join(f"{name:>9}" for name in soak.reading(began_s).values) + "   done so far")
    while not running.done():
        await asyncio.wait({running}, timeout=every_s)
        one = soak.reading(began_s)
        found.append(one)
        counts = " ".join(f"{name} {count}" for name, count in soak.counts.items())
        cells = "".join(f"{value:>9.1f}" for value in one.values.values())
        print(f"{one.at_s / 60:>6.1f} {cells}   {counts}", flush=True)
    await running
    return found


def judged(readings: list[Reading]) -> bool:
    """Print the slopes; whether anything grows that must not."""
    times, is_bad = [one.at_s for one in readings], False
    print("\nslope by Theil and Sen over the last two thirds, with its 99 % interval, for an hour")
    for name in readings[0].values:
        share, least = JUDGED.get(name, (0.0, 0.0))
        found = trend(times, [one.values[name] for one in readings], share=share, least=least)
        verdict = ("GROWS" if found.grows else "flat") if name in JUDGED else "not judged"
        is_bad |= name in JUDGED and found.grows
        print(
            f"  {name:<8} level {found.level:>9.1f}   {found.hourly:>+9.3f} ({found.low:+.3f} .. {found.high:+.3f})"
            f"   {verdict}"
        )
    return is_bad


def played(minutes: float, rate: float, nice: int, extra: str) -> tuple[Soak, list[Reading]]:
    """The whole run. Raises `StartError`, `RunError`, `OSError` when it broke off."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ostler-soak-")))
        hub = stack.enter_context(site(folder, ENDPOINTS, extra=extra, nice=nice))
        hub.start()
        token = hub.token()
        crew = Crew(port=hub.port, token=token, workers=WORKERS, work_ms=300, fail_share=0.05, leave_every_s=20)
        workers = Workers(folder, crew, nice=nice)
        stack.callback(workers.stop)
        soak = Soak(hub, minutes, rate)
        return soak, asyncio.run(measure(soak, max(1.0, minutes * 60 / 240)))


def main() -> int:
    """Run, print, judge."""
    end_all_when_told()
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--minutes", type=float, default=0.5)
    cli.add_argument("--rate", type=float, default=3.0, help="tasks, and live calls, a second")
    cli.add_argument("--nice", type=int, default=0, help="of hub and workers")
    args = cli.parse_args()
    keep_s = max(20, round(args.minutes * 6))
    extra = f"telemetry: {{keep_events: {keep_s}s}}\ngateway: {{keep_calls: {keep_s}s}}"
    print(f"{ENDPOINTS} endpoints and {WORKERS} workers, both simulated; {args.minutes:g} min at {args.rate:g}/s")
    try:
        soak, readings = played(args.minutes, args.rate, args.nice, extra)
    except (StartError, RunError, OSError) as error:
        print(f"the run broke off: {error}", file=sys.stderr)
        return 2
    if soak.counts["errors"]:
        print(f"the run broke off: {soak.counts['errors']} errors, the last one: {soak.last_error}", file=sys.stderr)
        return 2
    if args.minutes < MINUTES_MIN:
        print(f"a run of less than {MINUTES_MIN} minutes is not judged: caches still fill")
    return 1 if judged(readings) and args.minutes >= MINUTES_MIN else 0


if __name__ == "__main__":
    raise SystemExit(main())
