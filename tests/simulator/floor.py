"""What is true of the work, whatever hub and workers believe: who runs what at this instant, what ended how."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from ostler.workers.run import Run
from tests.simulator.story import Job

SLOTS = {"box": 2, "cloud": 3}


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
