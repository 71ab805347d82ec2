"""Tokens are remembered for a moment, and worthless from the moment in which they are revoked."""

import asyncio

import msgspec
import pytest

from ostler.domain.commands import DropToken
from ostler.domain.errors import NotFoundError
from ostler.hub import tokens
from ostler.hub.tokens import REMEMBERED_MS, TokenDesk, token_hash
from tests.hub.house import house


class Counting:
    """A store that counts who asks for tokens; `gate` holds an answer up."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.asked = 0
        self.read = asyncio.Event()
        """Something was looked up, and its answer is on its way."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def token_name(self, hashed: str, scope: str) -> str | None:
        """As it is, late."""
        self.asked += 1
        found: str | None = await self._store.token_name(hashed, scope)  # type: ignore[attr-defined]
        self.read.set()
        await self.gate.wait()
        return found


async def test_a_good_token_is_not_looked_up_with_each_word() -> None:
    """Once in a while, for each scope by itself; a bad one each time, so that one made elsewhere is good at once."""
    async with house() as built:
        store = Counting(built.store)
        desk = TokenDesk(built.pump, store)  # type: ignore[arg-type]
        token = (await desk.make("w", "worker")).token
        for _ in range(20):
            assert await desk.allowed(token, "worker")
            assert not await desk.allowed(token, "admin")
        assert store.asked == 2 + 20

        built.clock.pass_ms(REMEMBERED_MS)
        assert await desk.allowed(token, "worker")
        assert store.asked == 2 + 20 + 2


async def test_a_token_that_is_revoked_here_is_worthless_at_once() -> None:
    """However often it was good a moment ago."""
    async with house() as built:
        desk = TokenDesk(built.pump, built.store)
        token = (await desk.make("w", "worker")).token
        assert await desk.allowed(token, "worker")

        await desk.revoke("w")

        assert not await desk.allowed(token, "worker")


async def test_who_may_come_in_is_listed_until_it_is_revoked() -> None:
    """By name, with scope and since when; neither the token nor what is stored of it."""
    async with house() as built:
        desk = TokenDesk(built.pump, built.store)
        made = [await desk.make("mac-mini", "worker")]
        built.clock.pass_ms(5_000)
        made.append(await desk.make("ci", "admin"))
        built.clock.pass_ms(60_000)

        listed = await desk.tokens()

        assert [(one.name, one.scope) for one in listed.tokens] == [("ci", "admin"), ("mac-mini", "worker")]
        ages_s = [(listed.now_ms - one.created_ms) // 1_000 for one in listed.tokens]
        assert ages_s == [60, 65]
        told = msgspec.json.encode(listed).decode()
        assert [one.name for one in made if one.token in told or token_hash(one.token) in told] == []

        await desk.revoke("ci")
        assert [one.name for one in (await desk.tokens()).tokens] == ["mac-mini"]


async def test_who_revokes_a_wrong_name_is_told_the_nearest_one() -> None:
    """Or all there are; and that there is none, where there is none."""
    async with house() as built:
        desk = TokenDesk(built.pump, built.store)
        with pytest.raises(NotFoundError, match="no token named mac") as refused:
            await desk.revoke("mac")
        assert refused.value.remedy == "none is defined"

        await desk.make("mac-mini", "worker")
        await desk.make("ci", "admin")
        for name, remedy in (("macmini", "did you mean 'mac-mini'?"), ("x", "valid: ci, mac-mini")):
            with pytest.raises(NotFoundError) as refused:
                await desk.revoke(name)
            assert refused.value.remedy == remedy


async def test_a_token_that_is_revoked_while_it_is_looked_up_is_not_remembered() -> None:
    """The look-up began before, and says that it was good; the next one must not rest on that."""
    async with house() as built:
        store = Counting(built.store)
        desk = TokenDesk(built.pump, store)  # type: ignore[arg-type]
        token = (await desk.make("w", "worker")).token
        store.gate.clear()
        looking = asyncio.create_task(desk.allowed(token, "worker"))
        await asyncio.sleep(0)
        await desk.revoke("w")
        store.gate.set()
        await looking

        assert not await desk.allowed(token, "worker")


async def test_those_who_come_together_share_a_look_up() -> None:
    """A thousand workers show one token, and the store is asked once; one of them that hangs up takes nothing away."""
    async with house() as built:
        store = Counting(built.store)
        desk = TokenDesk(built.pump, store)  # type: ignore[arg-type]
        token = (await desk.make("w", "worker")).token
        store.gate.clear()
        crowd = [asyncio.create_task(desk.allowed(token, "worker")) for _ in range(50)]
        await asyncio.sleep(0)
        crowd[0].cancel()
        store.gate.set()

        assert all(await asyncio.gather(*crowd[1:]))
        assert store.asked == 2


async def test_who_comes_after_a_revocation_shares_no_look_up_from_before_it() -> None:
    """That one may say yes, which is right for those who came before, and for nobody else."""
    async with house() as built:
        store = Counting(built.store)
        desk = TokenDesk(built.pump, store)  # type: ignore[arg-type]
        token = (await desk.make("w", "admin")).token
        store.gate.clear()
        before = asyncio.create_task(desk.allowed(token, "admin"))
        await store.read.wait()
        await desk.revoke("w")
        store.read.clear()
        after = asyncio.create_task(desk.allowed(token, "admin"))
        await store.read.wait()
        store.gate.set()

        assert await before
        assert not await after


async def test_a_token_that_another_hub_revokes_is_worthless_soon() -> None:
    """After the time for which it is remembered, also when the clock was put back."""
    async with house() as built:
        desk = TokenDesk(built.pump, built.store)
        for step_ms in (tokens.REMEMBERED_MS, -60_000):
            token = (await desk.make("w", "worker")).token
            assert await desk.allowed(token, "worker")
            await built.store.apply([DropToken(name="w")])
            assert await desk.allowed(token, "worker"), "nobody told"
            built.clock.pass_ms(step_ms)

            assert not await desk.allowed(token, "worker")
