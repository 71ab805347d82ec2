"""One world: a disk, a hub on it, workers, a client, and what goes wrong. `live` plays a story to its end.

A hub is a context of its own: every task that it begins, also for a request of a worker, carries its mark, so that
killing it stops exactly what its process would have done, at whatever await that is.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from ostler.app.hub_parts import HubParts
from ostler.app.profiles import Chosen
from ostler.config.load import load_text
from ostler.config.settings import LoadedProfile
from ostler.config.sources import Source
from ostler.domain.errors import ConflictError, OstlerError, UnreachableError
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Priority, TaskKind, TaskSpec
from ostler.domain.work import Poll, Report
from ostler.fleet.drivers import DriverSet
from ostler.workers.attempts import Abilities
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.rules import WorkerRules
from tests.simulator.checks import Eye
from tests.simulator.disk import Disk
from tests.simulator.floor import Floor
from tests.simulator.machines import SimulatedDrivers, SimulatedRunner
from tests.simulator.net import NetLink, Wire
from tests.simulator.owners import Owner
from tests.simulator.processes import Hand, Machine, MachineBook, MachineSpool
from tests.simulator.story import END_S, FAULTS_UNTIL_S, WORKERS, Fault, Job, Kind, Story
from tests.simulator.virtual_loop import VirtualTiming

T = TypeVar("T")

PROFILE = """\
routing:
  tiers:
    direct: {aliases: [trivial]}
    standard: {provider: ollama, models: [small]}
    complex: {provider: anthropic, models: [large], max_output_tokens: 100}
  fallback: {wait: 3s, direction: up}
endpoints:
  - {name: box, provider: ollama, url: "http://box:11434", slots: 2, models: [small]}
  - {name: cloud, provider: anthropic, url: "http://cloud", slots: 3, models: [large]}
models:
  small: {provider: ollama, context: 8k}
  large: {provider: anthropic, context: 8k, input_usd_per_mtok: 3, output_usd_per_mtok: 15}
budget: {monthly_hard_cap: 0.004, monthly_soft_cap: 0.004}
scheduler: {heartbeat: 2s, session_dead: 6s, retry_base: 500ms, probe_interval: 10s, task_ttl: 10m}
worker: {allow: [command, chat], commands: ["*"]}
"""
HARD_CAP_MICRO_USD = 4_000
KEPT_S = dict(zip(WORKERS, (120.0, 3.0, 0.0), strict=True))
"""`worker.adopt_within` of each: longer than the hub waits for it, shorter, and not at all."""


def profile(text: str = PROFILE) -> LoadedProfile:
    """The profile of every hub."""
    source = Source(path=Path("/simulated/ostler.yaml"), label="simulated", name="simulated")
    return load_text(text, source, {"HOME": "/nowhere"}, Path("/"))


class Process(Owner):
    """A hub as a process: started, and gone whenever it has to be."""

    def __init__(self, world: "World", number: int) -> None:
        super().__init__(f"hub {number}")
        self.handle = world.disk.handle()
        self.parts: HubParts | None = None
        self._world = world
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.dead = False
        self._starting = self.begin(self._start())

    async def _start(self) -> None:
        world = self._world
        drivers = cast("DriverSet", SimulatedDrivers(world.floor, world.timing))
        chosen = Chosen(profile=world.profile)
        self.parts = await HubParts.start(chosen, cast("Any", self.handle), drivers, world.timing)

    async def within(self, work: Callable[[HubParts], Awaitable[T]]) -> T:
        """Something asked of the hub from outside. Raises `UnreachableError` when it is or goes away."""
        await self.thawed.wait()
        if self.dead or self.parts is None:
            raise UnreachableError("nobody listens")
        task = self.begin(_run(work, self.parts))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() or self._gone():
                raise UnreachableError("the hub went away") from None
            task.cancel()  # whoever asked has gone; an honest server notices
            raise

    @property
    def broken(self) -> bool:
        """Whether it gave up by its own rule, as when its disk refuses for too long."""
        if self._starting.done() and not self._starting.cancelled() and self._starting.exception() is not None:
            return True
        fatal = self.parts.pump.fatal if self.parts is not None else None
        return fatal is not None and fatal.done()

    def _gone(self) -> bool:
        return self.dead

    def kill(self) -> None:
        """Gone, in the middle of anything. What its disk had not taken by now never happened."""
        self.dead = True
        self.handle.dead = True
        self.thawed.set()
        if self.parts is not None:
            self.parts.pump._stopped = True
        for task in list(self.tasks):
            task.cancel()


class Reached(Protocol):
    """A hub as it is asked from outside."""

    dead: bool

    async def within(self, work: Callable[[HubParts], Awaitable[T]]) -> T:
        """See `Process.within`."""
        ...


async def _run(work: Callable[[HubParts], Awaitable[T]], parts: HubParts) -> T:
    return await work(parts)


class ProcessLink:
    """The link of a hub process, as a request from outside reaches it."""

    def __init__(self, process: Reached) -> None:
        self._process = process

    async def join(self, offer: WorkerOffer) -> Session:
        return await self._process.within(lambda parts: parts.hub.link.join(offer))

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        return await self._process.within(lambda parts: parts.hub.link.heartbeat(session_id, report))

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        return await self._process.within(lambda parts: parts.hub.link.poll(session_id, wait_ms))

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        await self._process.within(lambda parts: parts.hub.link.report(session_id, reports))

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        await self._process.within(lambda parts: parts.hub.link.leave(session_id, life, died=died))

    async def close(self) -> None:
        """Nothing to close."""


class World:
    """See the module."""

    slots: Mapping[TaskKind, int] = {TaskKind.COMMAND: 2, TaskKind.CHAT: 3}
    """Of each worker."""
    capabilities: frozenset[str] = frozenset()

    def __init__(self, story: Story) -> None:
        self.story = story
        self.rng = random.Random(story.seed ^ 0x5EED)
        self.timing = VirtualTiming()
        self.profile = profile()
        self.disk = Disk()
        self.floor = Floor({job.name: job for job in story.jobs}, self.rng)
        self.eye = Eye(self.disk, self.floor, HARD_CAP_MICRO_USD)
        self.hub: Process | None = None
        self.hubs = 0
        self.wires = {name: Wire(self.rng, partial(self._link, name)) for name in WORKERS}
        self.workers: dict[str, asyncio.Task[None]] = {}
        self.daemons: dict[str, Worker] = {}
        self.companions: list[asyncio.Task[None]] = []
        self.machines = {name: Machine(name, self.floor, KEPT_S[name]) for name in WORKERS}
        self.hands: dict[str, Hand] = {}
        self.acknowledged: set[str] = set()
        self.cancelled: set[str] = set()

    def reached(self, who: str) -> Reached | None:
        """The hub that somebody reaches now."""
        del who
        return self.hub

    def _link(self, who: str) -> HubLink | None:
        hub = self.reached(who)
        return None if hub is None or hub.dead else ProcessLink(hub)

    async def live(self) -> None:
        """From the first second to the last."""
        self.start_hub()
        for name in WORKERS:
            self.start_worker(name)
        acting = [asyncio.ensure_future(self._suffer(fault)) for fault in self.story.faults]
        client = asyncio.ensure_future(self._hand_in())
        keeper = asyncio.ensure_future(self._keep_a_hub())
        others = asyncio.ensure_future(self._others())
        loop = asyncio.get_running_loop()
        while loop.time() < END_S and not (loop.time() > FAULTS_UNTIL_S and client.done() and self._all_over()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(5.0)
        ending = (keeper, client, others, *acting, *self.workers.values(), *self.companions)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self.eye.at_the_end(self.acknowledged, self.cancelled)

    async def _others(self) -> None:
        """Whoever else there is: nobody."""

    def end(self) -> None:
        """The world is over."""
        if self.hub is not None:
            self.hub.kill()

    def _all_over(self) -> bool:
        records = self.disk.truth._records.values()
        return all(record.task.state in FINAL_STATES | {TaskState.NEEDS_HUMAN} for record in records)

    def start_hub(self) -> None:
        """A hub on the disk; whoever was there before may write no more."""
        self.hubs += 1
        self.hub = Process(self, self.hubs)

    async def _keep_a_hub(self) -> None:
        """What a supervisor does: a hub that is gone, or gave up, is started again a moment later."""
        while True:
            await asyncio.sleep(0.5)
            if self.hub is not None and self.hub.broken and not self.hub.dead:
                self.hub.kill()
            if self.hub is None or self.hub.dead:
                await asyncio.sleep(self.rng.uniform(0.0, 2.0))
                self.start_hub()

    def start_worker(self, name: str) -> None:
        """A daemon: the same one again after a kill, on its machine, where the last one may have left work."""
        if name in self.workers and not self.workers[name].done():
            return  # the lock of its identity lets nobody in beside it
        machine = self.machines[name]
        machine.starts += 1
        hand = self.hands[name] = Hand(machine)
        offer = WorkerOffer(
            name=name,
            host=name,
            slots=self.slots,
            capabilities=self.capabilities,
            instance=f"instance-of-{name}",
            starts=machine.starts,
        )
        rules = WorkerRules(kinds=frozenset(self.slots), commands=("*",))
        daemon = Worker(
            NetLink(self.wires[name]),
            offer,
            Abilities(rules=rules, runners=dict.fromkeys(self.slots, self.runner(hand))),
            WorkerSettings(
                identity=name,
                poll_wait_ms=2_000,
                spool=MachineSpool(hand),
                book=MachineBook(hand) if machine.keep_s else None,
            ),
            timing=self.clock_of(name),
            guard=hand,
        )

        self.daemons[name] = daemon

        async def serve() -> None:
            daemon.start()
            try:
                await daemon.closed()
            finally:
                if daemon._main is not None:
                    daemon._main.cancel()
                    await asyncio.gather(daemon._main, return_exceptions=True)

        self.workers[name] = self.run_worker(name, serve())

    def runner(self, hand: Hand) -> SimulatedRunner:
        """What does the work of a worker."""
        return SimulatedRunner(self.floor, hand)

    def clock_of(self, _name: str) -> VirtualTiming:
        """The clock of a machine; here all have one."""
        return self.timing

    def run_worker(self, _name: str, serving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A daemon begins."""
        return asyncio.ensure_future(serving)

    async def _hand_in(self) -> None:
        """The client: one job after the other, each until it is acknowledged, cancellations at their time."""
        cancelling = []
        for job in sorted(self.story.jobs, key=lambda job: job.at_s):
            await asyncio.sleep(max(0.0, job.at_s - asyncio.get_running_loop().time()))
            spec = self.spec(job, {need for need in job.needs if need in self.acknowledged})
            await self.until_answered(lambda parts, spec=spec: parts.hub.submit([spec]))  # type: ignore[misc]
            self.acknowledged.add(job.name)
            if job.cancelled_s is not None:
                cancelling.append(asyncio.ensure_future(self._cancel(job)))
        await asyncio.gather(*cancelling)

    def spec(self, job: Job, needs: set[str]) -> TaskSpec:
        """What is handed in for a job."""
        return _spec(job, needs)

    async def _cancel(self, job: Job) -> None:
        await asyncio.sleep(max(0.0, cast("float", job.cancelled_s) - asyncio.get_running_loop().time()))
        try:
            await self.until_answered(lambda parts: parts.hub.cancel(job.name, "a person says so"))
        except ConflictError:
            return  # it has ended
        self.cancelled.add(job.name)

    async def until_answered(self, work: Callable[[HubParts], Awaitable[T]]) -> T:
        """Ask again until there is an answer: one that says no is raised."""
        while True:
            hub = self.reached("client")
            try:
                if hub is not None:
                    async with asyncio.timeout(20):
                        return await hub.within(work)
            except ConflictError:
                raise
            except (OstlerError, TimeoutError):
                pass
            await asyncio.sleep(0.3)

    async def _suffer(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at_s)
        if fault.kind in {Kind.KILL_HUB, Kind.PAUSE_HUB, Kind.SPLIT}:
            await self._hurt_hub(fault)
        elif fault.kind in {Kind.SLOW_DISK, Kind.FULL_DISK, Kind.UNKNOWN_COMMIT, Kind.CLOCK}:
            await self._hurt_disk(fault)
        elif fault.kind in {Kind.DOWN, Kind.STORM}:
            sick = self.floor.down if fault.kind is Kind.DOWN else self.floor.storms
            sick.add(fault.who)
            await asyncio.sleep(fault.for_s)
            sick.discard(fault.who)
        elif fault.kind is Kind.KILL_WORKER:
            turn = round(fault.at_s * 1_000)
            if turn % 2:  # every other one is asked to stop, and leaves
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5.0):
                        await self.daemons[fault.who].stop(grace_s=1.0)
            await self._kill_worker(fault.who, outlived=turn % 3 > 0, companion=turn % 4 == 0)
            await asyncio.sleep(fault.for_s)
            self.start_worker(fault.who)
        else:
            await self._hurt_wire(fault)

    async def _kill_worker(self, name: str, *, outlived: bool, companion: bool) -> None:
        """A daemon is gone in the middle of anything: alone or with all that it runs, its companion with it or not."""
        hand, daemon = self.hands[name], self.daemons[name]
        session, life = daemon.session, daemon._life
        hand.dead = True
        self.workers[name].cancel()
        await asyncio.gather(self.workers[name], return_exceptions=True)
        if not outlived:
            hand.machine.kill_all()
        if companion:
            session_id = session.id if session is not None else ""
            self.companions.append(self.run_worker(name, self._be_companion(hand, session_id, life)))

    async def _be_companion(self, hand: Hand, session_id: str, life: str) -> None:
        """It tells the hub when nothing of a killed daemon is left, over a wire that may lose, double or delay that."""
        if await hand.machine.await_successor(hand) and session_id:
            with contextlib.suppress(OstlerError, TimeoutError):
                async with asyncio.timeout(20):
                    await NetLink(self.wires[hand.machine.name]).leave(session_id, life, died=True)

    async def _hurt_hub(self, fault: Fault) -> None:
        hub = self.hub
        if hub is None or hub.dead:
            return
        if fault.kind is Kind.KILL_HUB:
            hub.kill()
        elif fault.kind is Kind.PAUSE_HUB:
            hub.thawed.clear()
            with contextlib.suppress(asyncio.CancelledError):
                async with hub.handle._turn:
                    await asyncio.sleep(fault.for_s)
            hub.thawed.set()
        else:
            self.start_hub()
            await asyncio.sleep(fault.for_s)
            hub.kill()

    async def _hurt_disk(self, fault: Fault) -> None:
        disk = self.disk
        if fault.kind is Kind.CLOCK:
            self.timing.skew_ms += round(fault.size)
            return
        attribute, hurt, whole = {
            Kind.SLOW_DISK: ("slow_s", fault.size, 0.0),
            Kind.FULL_DISK: ("full", True, False),
            Kind.UNKNOWN_COMMIT: ("forgets", True, False),
        }[fault.kind]
        setattr(disk, attribute, hurt)
        await asyncio.sleep(fault.for_s if fault.kind is not Kind.UNKNOWN_COMMIT else min(fault.for_s, 0.5))
        setattr(disk, attribute, whole)

    async def _hurt_wire(self, fault: Fault) -> None:
        wire = self.wires[fault.who]
        attribute, hurt, whole = {
            Kind.CUT: ("cut", True, False),
            Kind.LOSE: ("loses", fault.size, 0.0),
            Kind.DOUBLE: ("doubles", True, False),
            Kind.SLOW_NET: ("slow_s", fault.size, 0.0),
        }[fault.kind]
        setattr(wire, attribute, hurt)
        await asyncio.sleep(fault.for_s)
        setattr(wire, attribute, whole)


def _spec(job: Job, needs: set[str]) -> TaskSpec:
    common: dict[str, Any] = {"id": job.name, "needs": tuple(sorted(needs)), "priority": Priority(job.priority)}
    if job.chat:
        return TaskSpec(prompt="write a function that adds two numbers", **common)
    return TaskSpec(kind=TaskKind.COMMAND, argv=("true",), **common)
