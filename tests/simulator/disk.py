"""The disk under the store: what a commit meets there, and who may write.

`Disk` is what lasts. Each hub has a `Handle` on it with the epoch in which it was given: as on the durable stores, a
handle that is not the newest may write nothing. A commit happens at one instant or not at all; its answer may get lost.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ostler.domain.commands import Command, Result
from ostler.store.errors import FencedError, StoreError
from ostler.store.memory import MemoryStore


class Disk:
    """The durable truth of a world, and its moods."""

    def __init__(self) -> None:
        self.truth = MemoryStore()
        self.epoch = 0
        self.slow_s = 0.0
        self.full = False
        self.forgets = False
        self.away = False
        """The database is being started again: it answers nobody."""
        self.restarts = 0
        self.leader, self.lease_until_s = "", -1.0
        """Who leads, and until when, where several hubs share it."""
        self.commits = 0
        self.watch: Callable[[Sequence[Command], Sequence[Result]], None] = lambda _commands, _results: None

    def handle(self) -> "Handle":
        """The right to write, taken from whoever had it."""
        self.epoch += 1
        return Handle(self, self.epoch)

    def must_answer(self, *, cut: bool) -> None:
        """Raises `StoreError` where it does not. `cut`: whoever asks cannot reach it."""
        if self.away or cut:
            raise StoreError("the database does not answer")


class Handle:
    """A hub's store."""

    def __init__(self, disk: Disk, epoch: int) -> None:
        self._disk = disk
        self.epoch = epoch
        self._turn = asyncio.Lock()
        self.dead = False
        """Its process is gone: nothing of it happens any more."""
        self.cut = False
        """Its machine does not reach the database."""

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """See the port."""
        async with self._turn:
            before = self._disk.restarts
            await asyncio.sleep(0.001 + self._disk.slow_s)
            if self.dead:
                await asyncio.get_running_loop().create_future()
            if self._disk.restarts == before or self._disk.commits % 2:  # else it was done just before the restart
                self._disk.must_answer(cut=self.cut)
            if self._disk.full:
                raise StoreError("the disk is full")
            if not self._may_write():
                raise FencedError("the disk")
            results = await self._disk.truth.apply(commands)
            self._disk.commits += 1
            self._disk.watch(commands, results)
            if self._disk.forgets or self._disk.restarts != before:
                raise StoreError("the answer of a commit was lost")
            return results

    def _may_write(self) -> bool:
        return self.epoch == self._disk.epoch

    async def close(self) -> None:
        """The truth stays."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the reads of the port
        if self._disk.away or self.cut:
            return self._refuses
        return getattr(self._disk.truth, name)

    async def _refuses(self, *_: object, **__: object) -> None:
        await asyncio.sleep(0.001)
        self._disk.must_answer(cut=self.cut)
        raise StoreError("the connection was closed")
