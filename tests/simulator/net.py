"""The network between a worker and the hub of the moment: messages are lost, doubled, late, or do not pass at all."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ostler.domain.errors import UnreachableError
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.work import Poll, Report

T = TypeVar("T")
Hub = Callable[[], HubLink | None]
"""Whom the address of the hub leads to now; `None` = nobody."""


class Wire:
    """One worker's line, and its moods."""

    def __init__(self, rng: random.Random, hub: Hub) -> None:
        self._rng = rng
        self._hub = hub
        self.cut = False
        self.loses = 0.0
        self.doubles = False
        self.slow_s = 0.0
        self._late: set[asyncio.Task[None]] = set()

    async def send(self, ask: Callable[[HubLink], Awaitable[T]]) -> T:
        """One request and its answer. Raises `UnreachableError` when one of them does not arrive."""
        if self.doubles and self._rng.random() < 0.5:
            self._again(ask)  # also when the first one is lost: it comes late then, and its sender has given up
        await self._travel()
        hub = self._hub()
        if hub is None:
            raise UnreachableError("nobody listens")
        answer = await ask(hub)
        await self._travel()
        return answer

    async def _travel(self) -> None:
        await asyncio.sleep(0.002 + self._rng.random() * self.slow_s)
        if self.cut or self._rng.random() < self.loses:
            await asyncio.sleep(0.5)
            raise UnreachableError("no answer")

    def _again(self, ask: Callable[[HubLink], Awaitable[object]]) -> None:
        async def later() -> None:
            await asyncio.sleep(self._rng.uniform(0.1, 4.0))
            hub = self._hub()
            if hub is not None:
                await asyncio.gather(asyncio.ensure_future(_asked(ask, hub)), return_exceptions=True)

        task = asyncio.ensure_future(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)


async def _asked(ask: Callable[[HubLink], Awaitable[object]], hub: HubLink) -> object:
    return await ask(hub)


class NetLink:
    """A worker's `HubLink` over its wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def join(self, offer: WorkerOffer) -> Session:
        """See the port."""
        return await self._wire.send(lambda hub: hub.join(offer))

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        """See the port."""
        return await self._wire.send(lambda hub: hub.heartbeat(session_id, report))

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        """See the port. Doubled like the others, though the second answer goes to nobody."""
        return await self._wire.send(lambda hub: hub.poll(session_id, wait_ms))

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        """See the port."""
        await self._wire.send(lambda hub: hub.report(session_id, reports))

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        """See the port."""
        await self._wire.send(lambda hub: hub.leave(session_id, life, died=died))

    async def close(self) -> None:
        """Nothing to close."""
