"""The machines that do the work: what a worker runs, the endpoints that answer, and an eye on both.

`Floor` is what really happens, whatever hub and workers believe: who runs what at this instant, what ended how.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind, Usage
from ostler.domain.work import Finished
from ostler.workers.run import Run
from tests.simulator.story import Job
from tests.simulator.virtual_loop import VirtualTiming

SLOTS = {"box": 2, "cloud": 3}
MODELS = {"box": "small", "cloud": "large"}
INPUT_TOKENS, OUTPUT_TOKENS = 100, 50


class Floor:
    """What is true of the work."""

    def __init__(self, jobs: dict[str, Job], rng: random.Random) -> None:
        self.jobs = jobs
        self.rng = rng
        self.running: dict[str, tuple[str, int]] = {}
        """Task -> worker and generation that run it now."""
        self.busy: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.done: set[tuple[str, int]] = set()
        """(task, generation) that ended well."""
        self.wrong: list[str] = []
        self.is_final: Callable[[str], bool] = lambda _task: False
        self.down: set[str] = set()
        self.storms: set[str] = set()
        self.at: dict[str, tuple[str, str]] = {}
        """Task -> endpoint and model that it uses now."""
        self.used: Callable[[str, str], None] = lambda _endpoint, _model: None
        """Told of each model call of a task."""
        self.check_slots: Callable[[str], None] = self._check_slots
        self.frozen: set[str] = set()
        """Workers that are frozen: what they run does not go on."""
        self.ghosts: set[tuple[str, str, int]] = set()
        """(worker, task, generation) of runs that were taken back while they were frozen."""

    def say(self, problem: str) -> None:
        """Something is wrong."""
        at_s = asyncio.get_running_loop().time()
        self.wrong.append(f"{at_s:.3f} s: {problem}")

    def start(self, worker: str, run: Run, endpoint: str | None) -> None:
        """A run begins."""
        task, generation = run.key
        if task in self.running and self.running[task][0] in self.frozen:
            self._as_ghost(task)
        if task in self.running:
            other, before = self.running[task]
            self.say(f"{task} runs twice at once: {worker} began {generation} while {other} runs {before}")
        if self.is_final(task):
            self.say(f"{task} was begun again by {worker} after its end was recorded")
        self.running[task] = (worker, generation)
        self.starts[task] += 1
        if endpoint is not None:
            route = run.assignment.route
            self.at[task] = (endpoint, route.model if route is not None else "")
            self.busy[endpoint] += 1
            self.check_slots(endpoint)
            self.used(*self.at[task])

    def _check_slots(self, endpoint: str) -> None:
        if self.busy[endpoint] > SLOTS[endpoint]:
            self.say(f"{endpoint} has {self.busy[endpoint]} calls and {SLOTS[endpoint]} slots")

    def is_frozen(self, task: str) -> bool:
        """Whether what runs a task is frozen."""
        return task in self.running and self.running[task][0] in self.frozen

    def _as_ghost(self, task: str) -> None:
        worker, generation = self.running.pop(task)
        self.ghosts.add((worker, task, generation))
        if task in self.at:
            self.busy[self.at.pop(task)[0]] -= 1

    def end(self, worker: str, run: Run, endpoint: str | None) -> None:
        """A run is over, however."""
        task, generation = run.key
        if (worker, task, generation) in self.ghosts:
            self.ghosts.discard((worker, task, generation))
            return
        if self.running.get(task) == (worker, generation):
            del self.running[task]
        if endpoint is not None:
            self.at.pop(task, None)
            self.busy[endpoint] -= 1

    def job(self, task: str) -> Job:
        """What is to be done; a task that nobody drew is a short command."""
        return self.jobs.get(task) or Job(name=task, at_s=0.0, takes_s=0.5, chat=False, priority=2)


class SimulatedRunner:
    """Does the work of one worker: takes its time, succeeds or fails as the story says, dies when it is asked to."""

    def __init__(self, floor: Floor, worker: str) -> None:
        self._floor = floor
        self._worker = worker

    async def run(self, run: Run) -> Finished:
        """See the port."""
        route = run.assignment.route
        calls_itself = run.spec.kind is not TaskKind.AGENT  # an agent's calls take their slots one by one
        endpoint = route.endpoint.name if route is not None and calls_itself else None
        floor = self._floor
        floor.start(self._worker, run, endpoint)
        try:
            return await self._work(run, endpoint)
        finally:
            floor.end(self._worker, run, endpoint)

    async def _work(self, run: Run, endpoint: str | None) -> Finished:
        floor = self._floor
        job = floor.job(run.key[0])
        if endpoint in floor.down:
            await asyncio.sleep(0.1)
            return run.failed(FailureClass.NETWORK, "nobody answers")
        if endpoint in floor.storms:
            await asyncio.sleep(0.05)
            if floor.rng.random() < 0.5:
                return run.failed(FailureClass.RATE_LIMIT, "too many", retry_after_ms=2_000)
            return run.failed(FailureClass.SERVER, "internal error")
        asked = asyncio.ensure_future(run.stop.asked())
        try:
            await asyncio.wait({asked}, timeout=job.takes_s)
        finally:
            asked.cancel()
        if run.stop.is_asked:
            await asyncio.sleep(floor.rng.uniform(0.0, 0.3))  # a process needs a moment to die
            return run.stopped()
        if floor.starts[job.name] <= job.fails:
            kind = FailureClass.SERVER if job.chat else FailureClass.COMMAND
            return run.failed(kind, "as the story says")
        floor.done.add(run.key)
        usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS) if endpoint is not None else None
        return run.succeeded(output=f"{job.name} is done", exit_code=None if job.chat else 0, usage=usage)


class SimulatedDrivers:
    """Endpoints that list what they have, unless they are down."""

    def __init__(self, floor: Floor, timing: VirtualTiming) -> None:
        self._floor = floor
        self._timing = timing

    async def probe(self, spec: EndpointSpec) -> Probe:
        """See the port."""
        await asyncio.sleep(0.01)
        at_ms = self._timing.now_ms()
        if spec.name in self._floor.down:
            return Probe(endpoint=spec.name, status=ProbeStatus.UNAVAILABLE, at_ms=at_ms, message="refused")
        return Probe(endpoint=spec.name, status=ProbeStatus.AVAILABLE, at_ms=at_ms, models=(MODELS[spec.name],))

    async def load(self, _spec: EndpointSpec, _model: str, _context_tokens: int | None = None) -> Resident | None:
        """Loads by itself."""
        return None

    async def unload(self, _spec: EndpointSpec, _model: str) -> bool:
        """As above."""
        return False

    async def close(self) -> None:
        """Nothing to close."""
