"""Several hubs over one store: each leads or stands by, by a lease in the database and the real `Lease` of `app.turns`.

A site is what `ostler up` is on one machine: a process that takes the lease when nobody has it, runs a hub as long as
the lease lasts, and passes on what it is asked while another one leads. What it does is what `turns._Turns` does, with
the simulated database in the place of PostgreSQL; `Lease`, which decides whom to trust and for how long, is its own.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ostler.app.gateway_parts import GatewayParts
from ostler.app.hub_parts import HubParts
from ostler.app.profiles import Chosen
from ostler.app.turns import Lease
from ostler.domain.errors import OstlerError
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from ostler.gateway.face import Face
from ostler.hub.sign_ins import SignIns
from ostler.store.errors import StoreError
from tests.simulator.disk import Disk, Handle
from tests.simulator.owners import Owner
from tests.simulator.provider import HouseDrivers
from tests.simulator.virtual_loop import VirtualTiming

if TYPE_CHECKING:
    from tests.simulator.whole import WholeWorld

LEASE_MS = 3_000
STOP_BOUND_S = 90.0
"""A hub that is to end has ended by then: its answers drain for 10 s, its store is given up after some 10 s."""


class Monotonic:
    """In the place of the module `time`."""

    @staticmethod
    def monotonic() -> float:
        """The world's time."""
        return asyncio.get_running_loop().time()


class Chair:
    """The lease of the pool as one site reaches it; kept by the clock of the database."""

    def __init__(self, disk: Disk, site: "Site") -> None:
        self._disk = disk
        self._site = site

    async def _reached(self) -> None:
        if self._site.cut:
            await asyncio.sleep(2.0)  # nothing comes back
        await asyncio.sleep(0.002)
        self._disk.must_answer(cut=self._site.cut)

    async def take(self, owner: str, lease_ms: int) -> int | None:
        """See `Seat.take`."""
        await self._reached()
        if self._disk.lease_until_s >= asyncio.get_running_loop().time():
            return None
        self._disk.epoch += 1
        self._hold(owner, lease_ms)
        return self._disk.epoch

    async def renew(self, epoch: int, lease_ms: int) -> bool:
        """See `Seat.renew`."""
        await self._reached()
        if epoch != self._disk.epoch:
            return False
        self._hold(self._disk.leader, lease_ms)
        return True

    async def give_back(self, epoch: int) -> None:
        """See `Seat.give_back`."""
        await self._reached()
        if epoch == self._disk.epoch:
            self._disk.lease_until_s = 0.0

    async def holder(self) -> str:
        """Who leads; empty = nobody."""
        await self._reached()
        return self._disk.leader if self._disk.lease_until_s >= asyncio.get_running_loop().time() else ""

    def _hold(self, owner: str, lease_ms: int) -> None:
        self._disk.leader = owner
        self._disk.lease_until_s = asyncio.get_running_loop().time() + lease_ms / 1_000


class Site(Owner):
    """One process of `ostler up`."""

    def __init__(self, world: "WholeWorld", name: str) -> None:
        super().__init__(name)
        self._world = world
        self.timing: VirtualTiming = world.clocks[name]
        self.cut = world.is_cut(name)
        """Its machine does not reach the database."""
        self.chair = Chair(world.disk, self)
        self.dead = False
        self.ended = False
        self.leader = ""
        """Whom it believes to lead."""
        self.handle: Handle | None = None
        self.parts: HubParts | None = None
        """While it leads and listens."""
        self.face: Face | None = None
        self.freezes = 0
        """How often it was frozen."""
        self.closed_because: Callable[[], str] = lambda: ""
        self.main = self.begin(self._run())

    def __repr__(self) -> str:
        return f"the hub at {self.name}"

    @property
    def listens(self) -> bool:
        """Whether it answers what it is asked itself."""
        return self.parts is not None and not self.dead and not self.closed_because()

    async def _run(self) -> None:
        try:
            while True:
                asked_s = asyncio.get_running_loop().time()
                epoch = None
                with contextlib.suppress(StoreError):
                    epoch = await self.chair.take(self.name, LEASE_MS)
                if epoch is not None:
                    await self._lead(Lease(cast("Any", self.chair), epoch, LEASE_MS, asked_s))
                    continue
                with contextlib.suppress(StoreError):
                    self.leader = await self.chair.holder()
                await asyncio.sleep(0.5)
        except OstlerError:
            pass  # it says why, and ends
        finally:
            self.ended = True

    async def _lead(self, lease: Lease) -> None:
        """As `turns._Turns._lead` and `serve.run_hub` do."""
        self.closed_because = lease.closed_because
        self.leader = self.name
        holding = asyncio.create_task(lease.hold())
        self.handle = Handle(self._world.disk, lease.epoch)
        self.handle.cut = self.cut
        try:
            await self._serve(self.handle, holding)
        except StoreError:
            pass  # it stands by, as long as its process lasts
        finally:
            holding.cancel()
            if not self.dead:  # what is gone does nothing at its end
                await asyncio.gather(holding, return_exceptions=True)
                with contextlib.suppress(StoreError):
                    await self.chair.give_back(lease.epoch)

    async def _serve(self, handle: Handle, holding: asyncio.Task[None]) -> None:
        world = self._world
        drivers = cast("DriverSet", HouseDrivers(world.house, self.timing))
        chosen = Chosen(profile=world.profile)
        parts = await HubParts.start(
            chosen, cast("Any", handle), drivers, self.timing, closed_because=self.closed_because
        )
        limits = DriverSettings()
        failures = world.profile.hub.sign_in_failures_per_minute
        sign_ins = SignIns(failures, Monotonic.monotonic, parts.hub.metrics.metering.refused)
        gateway = GatewayParts(parts, world.profile.gateway, self.timing, limits, public=False, sign_ins=sign_ins)
        self.face, self.parts = Face(gateway.gateway), parts
        fatal = parts.pump.fatal
        assert fatal is not None
        try:
            waited: list[asyncio.Future[Any]] = [holding, fatal]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if fatal.done():
                raise fatal.result()
        finally:
            if not self.dead:
                freezes, stopping = self.freezes, asyncio.create_task(self._stop(gateway, parts))
                done, _ = await asyncio.wait([stopping], timeout=STOP_BOUND_S)
                if not done and self.freezes != freezes:  # while it is frozen it can end nothing
                    done, _ = await asyncio.wait([stopping], timeout=STOP_BOUND_S)
                if not done and not self.dead:
                    world.floor.say(f"{self} should end, and had not after {STOP_BOUND_S:g} s")
                elif done:
                    stopping.result()

    async def _stop(self, gateway: GatewayParts, parts: HubParts) -> None:
        await gateway.stop()
        await parts.pump.close_followers()
        for outbox in parts.pump.outboxes.values():
            outbox.start_drain()
        self.parts = self.face = None
        await parts.stop()

    def kill(self) -> None:
        """Gone, in the middle of anything."""
        self.dead = True
        if self.frozen:
            self.held.clear()
            self.frozen = False
        if self.handle is not None:
            self.handle.dead = True
        if self.parts is not None:
            self.parts.pump._stopped = True
        for task in list(self.tasks):
            task.cancel()
