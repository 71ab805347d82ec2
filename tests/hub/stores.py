"""Stores for tests of the shell: one whose commits are held back by hand, one that refuses what it is told to."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ostler.domain.commands import AppendEvents, Command, RefusalReason, Refused, Result, UpdateTask
from ostler.domain.event import Event
from ostler.domain.observations import Observation, ObservationQuery
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore


class HeldStore(MemoryStore):
    """Commits when it is let; `asked` has the batches that wait or have passed."""

    def __init__(self) -> None:
        super().__init__()
        self._permits: int | None = None
        self._changed = asyncio.Condition()
        self.asked: list[list[Command]] = []

    def hold(self) -> None:
        """Keep the next commits waiting."""
        self._permits = 0

    async def let(self, count: int | None = None) -> None:
        """Let so many batches through; without a number, all from now on."""
        async with self._changed:
            self._permits = None if count is None else (self._permits or 0) + count
            self._changed.notify_all()

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        async with self._changed:
            self.asked.append(list(commands))
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._permits is None or self._permits > 0)
            if self._permits is not None:
                self._permits -= 1
        return await super().apply(commands)

    async def came(self, count: int) -> None:
        """Wait until `count` batches have been asked for since the beginning."""
        async with self._changed, asyncio.timeout(5):
            await self._changed.wait_for(lambda: len(self.asked) >= count)

    def events_asked(self) -> list[Event]:
        """All events in the order in which they were handed over."""
        found: list[Event] = []
        for batch in self.asked:
            for command in batch:
                found += command.events if isinstance(command, AppendEvents | UpdateTask) else ()
        return found


class RefusingStore(MemoryStore):
    """Refuses the first update that `condition` is true of, with the row as it is."""

    def __init__(self, condition: Callable[[UpdateTask], bool]) -> None:
        super().__init__()
        self._condition = condition
        self.refused = 0

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        results: list[Result] = []
        for command in commands:
            if not self.refused and isinstance(command, UpdateTask) and self._condition(command):
                self.refused += 1
                detail = await self.task(command.task.id)
                row = detail.task if detail is not None else None
                results.append(Refused(reason=RefusalReason.STALE_GENERATION, message="told to refuse", task=row))
            else:
                results += await super().apply([command])
        return results


class SlowReads(MemoryStore):
    """Reads outcomes, and lets something happen before it hands them over."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def observations(self, query: ObservationQuery) -> list[Observation]:
        found = await super().observations(query)
        if self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            await act()
        return found


class SilencedStore(MemoryStore):
    """Fails to write the events of a name as long as it is told to."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.fails = False
        self.failed = 0

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        events = [event for command in commands if isinstance(command, AppendEvents) for event in command.events]
        if self.fails and any(event.name == self._name for event in events):
            self.failed += 1
            raise StoreError("told to fail", where="memory")
        return await super().apply(commands)
