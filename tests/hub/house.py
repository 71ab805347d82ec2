"""A hub in the test's own event loop: the real pump and scheduler over a store in memory, a watch played by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.policy import Policy
from ostler.domain.ports import Store
from ostler.hub.endpoints import EndpointDesk
from ostler.hub.plan_desk import PlanDesk
from ostler.hub.pump import Pump
from ostler.hub.service import Hub
from ostler.hub.service_info import HubInfo
from ostler.planning.instance import Instance
from ostler.planning.plan import Plan
from ostler.planning.planner import make_plan
from ostler.scheduling import Scheduler
from ostler.scheduling.signals import Probed
from ostler.store.memory import MemoryStore
from tests.scheduling.rig import three_tiers


class TestClock:
    """Real enough: moves by itself, a millisecond with every look, and further by hand."""

    __test__ = False

    def __init__(self) -> None:
        self._ms = 1_000_000

    def now_ms(self) -> int:
        self._ms += 1
        return self._ms - 1

    def stopwatch_us(self) -> int:
        return self.now_ms() * 1000

    def pass_ms(self, duration_ms: int) -> None:
        self._ms += duration_ms


class Watch:
    """Answers every probe with what it was told."""

    def __init__(self) -> None:
        self.pump: Pump | None = None
        self.status = ProbeStatus.AVAILABLE
        self.models: tuple[str, ...] = ("qwen",)
        self.specs: dict[str, EndpointSpec] = {}
        self.asked: list[str] = []

    async def put(self, spec: EndpointSpec) -> None:
        self.specs[spec.name] = spec
        await self.probe_now(spec.name)

    async def remove(self, name: str) -> None:
        self.specs.pop(name, None)

    async def probe_now(self, name: str) -> Probe:
        self.asked.append(name)
        probe = Probe(endpoint=name, status=self.status, at_ms=1_000_000, models=self.models, residents=())
        assert self.pump is not None
        await self.pump.post(Probed(probe=probe))
        return probe


async def search_here(instance: Instance, *, strategy: str, seconds: float) -> Plan:
    """A plan without a process of its own: the first one, whatever the time."""
    del seconds
    return make_plan(instance, strategy, NoTime(), Random(0))


class NoTime:
    """Effort that is spent from the start."""

    def spent(self) -> bool:
        return True


class House:
    """Everything of one hub."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self.clock = TestClock()
        self.store = store
        self.watch = Watch()
        self.pump = Pump(Scheduler(policy, self.clock), store, self.clock)
        self.watch.pump = self.pump
        self.desk = EndpointDesk(self.pump, self.watch)
        self.pump.probe_now = self.desk.hurry
        info = HubInfo(version="test", profile_path=None, started_ms=1_000_000)
        self.plans = PlanDesk(self.pump, store, search_here)
        self.pump.replan = self.plans.ask
        self.hub = Hub(self.pump, store, self.desk, self.plans, info, 1)


@asynccontextmanager
async def house(store: Store | None = None, policy: Policy | None = None) -> AsyncIterator[House]:
    """A running hub; stopped at the end."""
    built = House(store or MemoryStore(), policy or three_tiers())
    built.pump.start()
    try:
        yield built
    finally:
        await built.plans.close()
        await built.desk.close()
        await built.pump.stop()
        await built.store.close()
