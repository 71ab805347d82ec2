"""What does the work: the runner of a worker, and the endpoints that answer."""

import asyncio
import contextlib

from msgspec.structs import replace

from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind, Usage
from ostler.domain.work import Finished
from ostler.workers.run import Run
from tests.simulator.floor import Floor
from tests.simulator.processes import Hand, How, Program
from tests.simulator.virtual_loop import VirtualTiming

MODELS = {"box": "small", "cloud": "large"}
INPUT_TOKENS, OUTPUT_TOKENS = 100, 50


class SimulatedRunner:
    """Does the work of one worker: takes its time, succeeds or fails as the story says, dies when it is asked to.

    A command is a process of the machine, and may outlive its daemon; a model call does not.
    """

    def __init__(self, floor: Floor, hand: Hand) -> None:
        self._floor = floor
        self._hand = hand
        self._worker = hand.machine.name

    async def run(self, run: Run) -> Finished:
        """See the port."""
        if run.spec.kind is not TaskKind.CHAT:
            return await self._run_program(run)
        endpoint = run.assignment.route.endpoint.name if run.assignment.route is not None else None
        floor = self._floor
        floor.start(self._worker, run, endpoint)
        try:
            return await self._call(run, endpoint)
        finally:
            floor.end(self._worker, run, endpoint)

    async def program(self, run: Run) -> How:
        """What a process does, from its start to its end by itself."""
        job = self._floor.job(run.key[0])
        await asyncio.sleep(job.takes_s)
        if self._floor.starts[job.name] <= job.fails:
            return How(FailureClass.COMMAND, "as the story says")
        return How()

    async def _run_program(self, run: Run) -> Finished:
        """A process, begun here or by an earlier daemon."""
        machine = self._hand.machine
        program = machine.programs.get(run.key) if run.folder is not None else None
        if program is None:
            program = machine.programs[run.key] = Program(self._floor, self._worker, run, self.program(run))
        else:
            machine.taken_up += 1
        asked = asyncio.ensure_future(run.stop.asked())
        try:
            await asyncio.wait({asked, program.life}, return_when=asyncio.FIRST_COMPLETED)
            if program.lives:
                await asyncio.sleep(self._floor.rng.uniform(0.0, 0.3))  # a process needs a moment to die
                program.kill()
        finally:
            asked.cancel()
            if not self._hand.dead:  # a daemon that is killed kills nothing any more
                program.kill()
        return _as_told(run, program.how)

    async def _call(self, run: Run, endpoint: str | None) -> Finished:
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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(job.takes_s):
                await run.stop.asked()
        if run.stop.is_asked:
            await asyncio.sleep(floor.rng.uniform(0.0, 0.3))
            return run.stopped()
        if floor.starts[job.name] <= job.fails:
            return run.failed(FailureClass.SERVER, "as the story says")
        floor.done.add(run.key)
        usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS) if endpoint is not None else None
        return run.succeeded(output=f"{job.name} is done", usage=usage)


def _as_told(run: Run, how: How | None) -> Finished:
    """The end of an attempt as its daemon tells it."""
    if run.stop.is_asked:
        return run.stopped()
    if how is None:
        return run.failed(FailureClass.WORKER_LOST, "it was ended by its supervisor")
    if how.kind is not None:
        return run.failed(how.kind, how.message)
    ended = run.succeeded(output=f"{run.key[0]} is done", exit_code=0 if how.evidence is None else None)
    return replace(ended, evidence=how.evidence)


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
