"""A whole world: two hubs over one store, machines with clocks of their own, agents, live calls, people and a loop.

`World` with more in it: what is said there holds here. The two hubs take turns by a lease (`sites`); whoever asks one
that stands by is passed on to the one that it believes to lead.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from ostler.app.hub_parts import HubParts
from ostler.domain.errors import UnreachableError
from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import AGENT_CAPABILITY, Priority, TaskKind, TaskSpec
from ostler.fleet.settings import DriverSettings
from tests.simulator.agents import WholeRunner
from tests.simulator.callers import Clients
from tests.simulator.owners import Owner
from tests.simulator.people import People
from tests.simulator.processes import Hand
from tests.simulator.provider import House, HouseDrivers, SimulatedUpstream
from tests.simulator.sites import Site
from tests.simulator.story import Fault, Job, Kind, Story
from tests.simulator.virtual_loop import VirtualLoop, VirtualTiming
from tests.simulator.whole_checks import WholeEye
from tests.simulator.whole_story import SITES
from tests.simulator.world import World, profile

T = TypeVar("T")

WHOLE_PROFILE = """\
routing:
  tiers:
    direct: {aliases: [trivial]}
    standard: {provider: ollama, models: [small]}
    strong: {provider: ollama, models: [other]}
    complex: {provider: anthropic, models: [large], max_output_tokens: 100}
  fallback: {wait: 3s, direction: up}
endpoints:
  - {name: box, provider: ollama, url: "http://box:11434", slots: 2, models: [small, other]}
  - {name: cloud, provider: anthropic, url: "http://cloud", slots: 3, models: [large]}
hosts:
  box: {memory: 10GB}
models:
  small: {provider: ollama, context: 64k, memory: 6GB}
  other: {provider: ollama, context: 64k, memory: 6GB}
  large: {provider: anthropic, context: 64k, input_usd_per_mtok: 3, output_usd_per_mtok: 15}
residency: {patience: 20s}
gateway: {deadline: 120s, queue: 60s, first_token: 40s, whole: 60s, stall: 30s, drain: 10s}
budget: {monthly_hard_cap: 0.025, monthly_soft_cap: 0.025}
scheduler: {heartbeat: 2s, session_dead: 6s, retry_base: 500ms, probe_interval: 10s, task_ttl: 3m}
worker: {allow: [command, chat, agent], commands: ["*"]}
"""
WHOLE_CAP_MICRO_USD = 25_000
LIVENESS_S = 900.0
"""By then everything has ended: what waits for money by its time to live, from when it could have run."""
GHOST_S = 2.0
"""So long after it goes on again a machine may run what was taken from it meanwhile."""


def upstream_of(drivers: HouseDrivers, _limits: DriverSettings) -> SimulatedUpstream:
    """In the place of `UpstreamSet`."""
    return SimulatedUpstream(drivers.house, drivers.timing)


class WholeWorld(World):
    """See the module."""

    slots: Mapping[TaskKind, int] = {TaskKind.COMMAND: 2, TaskKind.CHAT: 3, TaskKind.AGENT: 2}
    capabilities = frozenset({AGENT_CAPABILITY + "opencode"})

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.profile = profile(WHOLE_PROFILE)
        self.clocks = {name: VirtualTiming() for name in (*SITES, *self.wires)}
        self.house = House(self.floor)
        self.house.leads = self._leads
        self.house.term = lambda: self.disk.epoch
        self.floor.used, self.floor.check_slots = self.house.use, self.house.check_slots
        self.eye: WholeEye = WholeEye(self, WHOLE_CAP_MICRO_USD)
        self.sites: dict[str, Site] = {}
        self.homes = {name: SITES[place % len(SITES)] for place, name in enumerate((*self.wires, "client", "person"))}
        self.owners = {name: Owner(name) for name in self.wires}
        self.clients = Clients(self)
        self.people = People(self)
        self.answered: set[str] = set()
        """Jobs whose question a person has answered."""
        self.trees: dict[str, int] = {}
        self._cut: set[str] = set()

    def is_cut(self, site: str) -> bool:
        """Whether a machine does not reach the database."""
        return site in self._cut

    def _leads(self, process: object) -> bool:
        if not isinstance(process, Site) or process.frozen or process.handle is None:
            return False
        return process.handle.epoch == self.disk.epoch

    def leader(self) -> Site | None:
        """The hub that leads and listens."""
        return next((site for site in self.sites.values() if site.listens and self._leads(site)), None)

    def hub_for(self, who: str) -> Site | None:
        """The hub that answers somebody: the one at hand, or whom it passes on to."""
        home = self.sites[self.homes.get(who, SITES[0])]
        if home.dead or home.ended:
            home = next((site for site in self.sites.values() if not site.dead and not site.ended), home)
        if home.listens:
            return home
        other = self.sites.get(home.leader)
        return other if other is not None and other.listens and not home.frozen else None

    def reached(self, who: str) -> "ThroughSite | None":
        """See the base."""
        site = self.hub_for(who)
        return None if site is None else ThroughSite(site)

    def start_hub(self) -> None:
        """All sites."""
        for name in SITES:
            self.hubs += 1
            self.sites[name] = Site(self, name)

    async def _keep_a_hub(self) -> None:
        """A site that is gone, or gave up, is started again a moment later."""
        while True:
            await asyncio.sleep(0.5)
            for name in SITES:
                if self.sites[name].dead or self.sites[name].ended:
                    self.sites[name].kill()
                    await asyncio.sleep(self.rng.uniform(0.0, 2.0))
                    self.hubs += 1
                    self.sites[name] = Site(self, name)

    async def _others(self) -> None:
        calling = [asyncio.ensure_future(self.clients.make(call)) for call in self.story.calls]
        self.clients.calling = list(calling)
        looking = asyncio.ensure_future(self.people.live())
        try:
            while True:
                await asyncio.sleep(10.0)
                self.eye.waiters()
        finally:
            for task in (*calling, looking):
                task.cancel()
            await asyncio.gather(*calling, looking, return_exceptions=True)

    def _all_over(self) -> bool:
        truth = self.disk.truth
        looping = not self.people.looped or any(loop.status.value != "finished" for loop in truth._loops.listed())
        return (
            not looping
            and self.clients.over
            and all(record.task.state in FINAL_STATES for record in truth._records.values())
        )

    def end(self) -> None:
        """The world is over."""
        for site in self.sites.values():
            site.kill()

    def spec(self, job: Job, needs: set[str]) -> TaskSpec:
        """See the base."""
        common: dict[str, Any] = {"id": job.name, "needs": tuple(sorted(needs)), "priority": Priority(job.priority)}
        common |= {"batch": job.batch}
        if job.agent:
            return TaskSpec(kind=TaskKind.AGENT, prompt="mend it", tier=job.tier or "standard", **common)
        if job.chat:
            return TaskSpec(prompt="write a function that adds two numbers", tier=job.tier, **common)
        return TaskSpec(kind=TaskKind.COMMAND, argv=("true",), **common)

    def runner(self, hand: Hand) -> WholeRunner:
        """See the base."""
        return WholeRunner(self, hand)

    def clock_of(self, name: str) -> VirtualTiming:
        """See the base."""
        return self.clocks[name]

    def run_worker(self, name: str, serving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """See the base."""
        return self.owners[name].begin(serving)

    async def _suffer(self, fault: Fault) -> None:
        kind = fault.kind
        if kind in {Kind.KILL_HUB, Kind.PAUSE_HUB, Kind.SPLIT, Kind.CLOCK}:
            await asyncio.sleep(fault.at_s)
            await self._hurt_site(fault)
        elif kind is Kind.WORKER_CLOCK:
            await asyncio.sleep(fault.at_s)
            self.clocks[fault.who].skew_ms += round(fault.size)
        elif kind is Kind.RESTART_DATABASE:
            await asyncio.sleep(fault.at_s)
            self.disk.away, self.disk.restarts = True, self.disk.restarts + 1
            await asyncio.sleep(min(fault.for_s, 20.0))
            self.disk.away = False
        elif kind is Kind.SLOW_PROVIDER:
            await asyncio.sleep(fault.at_s)
            self.house.slow = fault.size
            await asyncio.sleep(fault.for_s)
            self.house.slow = 1.0
        elif kind is Kind.FREEZE_WORKER:
            await asyncio.sleep(fault.at_s)
            await self._freeze(fault)
        elif kind is Kind.HOST_DEATH:
            await asyncio.sleep(fault.at_s)
            await self._die(fault)
        else:
            await super()._suffer(fault)

    async def _hurt_site(self, fault: Fault) -> None:
        leader = self.leader()
        name = fault.who or (leader.name if leader is not None else SITES[0])
        site = self.sites[name]
        if fault.kind is Kind.CLOCK:
            self.clocks[name].skew_ms += round(fault.size)
        elif site.dead or site.frozen:
            return
        elif fault.kind is Kind.KILL_HUB:
            site.kill()
        elif fault.kind is Kind.PAUSE_HUB:
            site.frozen = True
            site.freezes += 1
            await asyncio.sleep(fault.for_s)
            if site.frozen:
                thaw(site)
        else:
            self._cut_off(name, cut=True)
            await asyncio.sleep(fault.for_s)
            self._cut_off(name, cut=False)

    def _cut_off(self, name: str, *, cut: bool) -> None:
        (self._cut.add if cut else self._cut.discard)(name)
        site = self.sites[name]
        site.cut = cut
        if site.handle is not None:
            site.handle.cut = cut

    async def _freeze(self, fault: Fault) -> None:
        machine = self.owners[fault.who]
        if machine.frozen:
            return
        machine.frozen = True
        self.floor.frozen.add(fault.who)
        await asyncio.sleep(fault.for_s)
        if not self._rests(fault.who):
            return
        self.floor.frozen.discard(fault.who)
        thaw(machine)
        await asyncio.sleep(GHOST_S)
        for worker, task, generation in sorted(self.floor.ghosts):
            if worker == fault.who and not self._rests(fault.who):
                self.floor.say(f"{worker} runs {task} ({generation}) on, which was taken from it while it was frozen")

    def _rests(self, worker: str) -> bool:
        return self.owners[worker].frozen

    async def _die(self, fault: Fault) -> None:
        """The machine of a worker, with the engine on it; the last worker has none."""
        machine = self.owners[fault.who]
        self.floor.down.add("box")
        self.house.resident = None
        if machine.frozen:
            machine.held.clear()
            machine.frozen = False
            self.floor.frozen.discard(fault.who)
        await self._kill_worker(fault.who, outlived=False, companion=False)
        self.machines[fault.who].die()
        await asyncio.sleep(fault.for_s)
        self.floor.down.discard("box")
        self.start_worker(fault.who)


def thaw(owner: Owner) -> None:
    """What was frozen goes on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.thaw(owner)


class ThroughSite:
    """A site as it is asked from outside."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.dead = False

    async def within(self, work: Callable[[HubParts], Awaitable[T]]) -> T:
        """See `Process.within`."""
        site = self._site
        parts = site.parts
        if not site.listens or parts is None:
            raise UnreachableError("nobody leads here")
        task = site.begin(_run(work, parts))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() or site.dead:
                raise UnreachableError("the hub went away") from None
            task.cancel()
            raise


async def _run(work: Callable[[HubParts], Awaitable[T]], parts: HubParts) -> T:
    return await work(parts)
