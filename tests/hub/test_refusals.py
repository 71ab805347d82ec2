"""Refusals before a call are counted and told: the first at once, a flood in one event a minute."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ostler.domain.commands import Command, Result
from ostler.domain.event import Event
from ostler.domain.live import Refusal
from ostler.hub import refusals
from ostler.hub.refusals import Refusals
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house

BAD_KEY = Refusal(reason="invalid_api_key", path="/v1/messages")


@asynccontextmanager
async def counted(every_s: float = 60.0, store: MemoryStore | None = None) -> AsyncIterator[tuple[Refusals, House]]:
    """Refusals over a store; stopped at the end."""
    async with house(store or MemoryStore()) as built:
        made = Refusals(built.pump, every_s)
        try:
            yield made, built
        finally:
            await made.stop()


async def told(built: House) -> list[Event]:
    return [event for event in await built.store.events() if event.name == "call.refused"]


async def until_told(built: House, count: int) -> list[Event]:
    async with asyncio.timeout(5):
        while len(found := await told(built)) < count:  # noqa: ASYNC110 -- a test looks from outside
            await asyncio.sleep(0.005)
    return found


async def test_the_first_refusal_is_told_at_once() -> None:
    """With its reason, its path and the key's name; there is no field for anything else."""
    async with counted() as (made, built):
        made.add(Refusal(reason="limit_reached", path="/v1/chat/completions", key="ci"))
        (event,) = await until_told(built, 1)

    assert event.metadata == {"reason": "limit_reached", "path": "/v1/chat/completions", "key": "ci"}
    assert event.measurements == {"refused": 1}


async def test_a_flood_is_told_in_one_event() -> None:
    """However many come in the time between two, and none of them is lost from the count."""
    async with counted(0.05) as (made, built):
        for _ in range(1_000):
            made.add(BAD_KEY)
        events = await until_told(built, 2)
        await asyncio.sleep(0.12)
        assert await told(built) == events, "what is told is told once"

    assert [event.measurements["refused"] for event in events] == [1, 999]


async def test_each_reason_is_told_for_itself() -> None:
    """So that one kind does not hide another."""
    async with counted(0.05) as (made, built):
        made.add(BAD_KEY)
        for path, count in (("/v1/messages", 3), ("/api/chat", 2)):
            for _ in range(count):
                made.add(Refusal(reason="not_found", path=path, key="ci"))
        events = await until_told(built, 3)

    by_path = {event.metadata["path"]: event.measurements["refused"] for event in events[1:]}
    assert by_path == {"/v1/messages": 3, "/api/chat": 2}


async def test_kinds_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys beyond the bound are told by their reason alone."""
    monkeypatch.setattr(refusals, "MAX_KINDS", 3)
    async with counted(0.05) as (made, built):
        made.add(BAD_KEY)
        for number in range(50):
            made.add(Refusal(reason="limit_reached", path="/v1/messages", key=f"k{number}"))
        events = await until_told(built, 5)

    keys = [event.metadata["key"] for event in events[1:]]
    assert keys == ["k0", "k1", "k2", ""]
    assert events[-1].measurements["refused"] == 47


async def test_what_is_untold_is_told_at_the_end() -> None:
    """A stop waits for no minute."""
    async with counted() as (made, built):
        for _ in range(5):
            made.add(BAD_KEY)
        await made.stop()

        assert [event.measurements["refused"] for event in await told(built)] == [1, 4]


async def test_a_store_that_fails_loses_the_event_and_nothing_else() -> None:
    """Nobody who is refused hears of it; the next ones are told again."""

    class Broken(MemoryStore):
        broken = False

        async def apply(self, commands: list[Command]) -> list[Result]:  # type: ignore[override]
            if self.broken:
                raise StoreError("the disk is full")
            return await super().apply(commands)

    store = Broken()
    async with counted(0.03, store) as (made, built):
        store.broken = True
        made.add(BAD_KEY)
        await asyncio.sleep(0.02)
        store.broken = False
        made.add(BAD_KEY)
        events = await until_told(built, 1)

    assert [event.measurements["refused"] for event in events] == [1]
