"""A hub and a worker for chats, put together without faces: what `ModelRouter` runs in a thread of its own."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from ostler.app import profiles, worker_parts
from ostler.app.hub_parts import HubParts, open_store
from ostler.app.loop import clock
from ostler.app.prices import with_list_prices
from ostler.budget.windows import EARLIEST_MS, LATEST_MS
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.ledger import Span
from ostler.domain.limits import ScopeKind
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from ostler.hub.service import Hub
from ostler.hub.views import TaskAnswer
from ostler.workers.daemon import Worker

GRACE_S = 1.0
LOOK_S = 1.0
SLOTS = 16
"""Questions at once, at most; endpoints have limits of their own."""


class RouterParts:
    """A running hub with its worker."""

    def __init__(self, parts: HubParts, worker: Worker, found: tuple[str, ...]) -> None:
        self._parts = parts
        self._worker = worker
        self._found = found
        """What there is to say about how the profile came to be."""

    @classmethod
    async def start(cls, profile: str | None, env: Mapping[str, str], folder: Path) -> Self:
        """Read the profile, open the store in an absolute folder, take up what it holds."""
        chosen = await profiles.choose(profile, env)
        loaded = with_list_prices(chosen.profile)
        slots = msgspec.structs.replace(loaded.worker.slots, chat=SLOTS)
        section = msgspec.structs.replace(loaded.worker, allow=(TaskKind.CHAT,), slots=slots)
        chosen = msgspec.structs.replace(chosen, profile=msgspec.structs.replace(loaded, worker=section))
        timing = clock()
        limits = DriverSettings(probe_timeout_ms=loaded.policy.scheduler.probe_timeout_ms)
        store = await open_store(folder, loaded.hub.database)
        parts = await HubParts.start(chosen, store, DriverSet(env, timing, limits), timing)
        async with contextlib.AsyncExitStack() as undoing:
            undoing.push_async_callback(parts.stop)
            joined = worker_parts.offer(section, builtin=True)
            worker = worker_parts.build(
                parts.hub.link,
                joined,
                section,
                parts.drivers,
                timing=timing,
                identity=worker_parts.identity_of(str(folder), joined.name),
                reporter=worker_parts.reporter_for(joined.host, timing),
                place=worker_parts.AgentPlace(gateway="", folder=folder / "agents"),
            )
            worker.start()
            router = cls(parts, worker, chosen.lines)
            undoing.push_async_callback(router.stop)
            await parts.first_look()
            undoing.pop_all()
        return router

    @property
    def hub(self) -> Hub:
        """Its verbs."""
        return self._parts.hub

    def must_have_models(self) -> None:
        """Refuse to wait where nothing can ever answer. Raises `InvalidInputError` that says what was looked for."""
        tiers = self._parts.pump.scheduler.books.policy.catalog.tiers
        if not any(tier.enabled and tier.models for tier in tiers):
            raise InvalidInputError("no model can be used", where="profile", remedy="; ".join(self._found[1:]))

    async def ended(self, task_id: str) -> TaskAnswer:
        """Wait for the end of a task; one that needs a person has ended for who asks."""
        pump, tasks = self._parts.pump, self._parts.pump.scheduler.books.tasks

        def over() -> bool:
            task = tasks.get(task_id)
            return task is None or task.state is TaskState.NEEDS_HUMAN

        while True:
            if over():
                answer = await self.hub.task(task_id)
                if answer.task.state in FINAL_STATES or answer.task.state is TaskState.NEEDS_HUMAN:
                    return answer
            async with pump.news:
                # The bound makes up for news that came between the look and the wait.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S if not over() else LOOK_S / 100):
                        await pump.news.wait()

    async def given_up(self, task_id: str) -> str:
        """Nobody waits for a task any more: it is cancelled. Why it had not ended."""
        why = (await self.hub.why(task_id)).headline
        with contextlib.suppress(ConflictError, NotFoundError):
            await self.hub.cancel(task_id, "nobody waits for its answer any more")
        return why

    async def cost_micro_usd(self, task_id: str) -> int:
        """What a task was charged, all its attempts together."""
        span = Span(scope=ScopeKind.TASK, value=task_id, start_ms=EARLIEST_MS, end_ms=LATEST_MS)
        (spent,) = await self._parts.store.spent([span])
        return spent.used.micro_usd

    async def stop(self) -> None:
        """Give everything back, in good order."""
        async with contextlib.AsyncExitStack() as stopping:
            stopping.push_async_callback(self._parts.stop)
            stopping.push_async_callback(self._worker.stop, GRACE_S)
            await self._parts.pump.close_followers()
            for outbox in self._parts.pump.outboxes.values():
                outbox.start_drain()
