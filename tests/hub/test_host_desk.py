"""The desk for hosts: names that people use, the place that is meant, and refusals with what is in the way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.fleet import ModelAt, Probe, ProbeStatus, Resident
from ostler.hub.hosts import HostDesk
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.signals import EndpointAdded, Probed
from tests.hub.house import House, house
from tests.scheduling.hosts_made import MODELS, host, policy
from tests.scheduling.rig import local


class Desk:
    """A desk over a running hub, and what it had begun."""

    def __init__(self, built: House) -> None:
        self.built = built
        self.desk = HostDesk(built.pump)
        self.begun: list[LoadModel | UnloadModel] = []
        built.pump.load = self.begun.append

    async def up(self, name: str, *loaded: str, host_name: str | None = None) -> None:
        """An Ollama is listed, with these models in memory."""
        await self.built.pump.post(EndpointAdded(spec=local(name, host=host_name)))
        residents = tuple(Resident(model=model) for model in loaded)
        now_ms = self.built.clock.now_ms()
        probe = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=now_ms, models=MODELS, residents=residents)
        await self.built.pump.post(Probed(probe=probe))


@asynccontextmanager
async def desk(**machines: tuple[str, ...]) -> AsyncIterator[Desk]:
    """Machines of 32 GB by name, with what is loaded on them; `big` may also be called `latest`."""
    rules = policy(*(host(name) for name in machines))
    rules = replace(rules, catalog=replace(rules.catalog, model_aliases={"latest": "big"}))
    async with house(policy=rules) as built:
        found = Desk(built)
        for name, loaded in machines.items():
            await found.up(name, *loaded)
        yield found


async def test_a_model_is_loaded_where_it_is_there_soonest() -> None:
    """An empty machine before one where another model would have to go; any name of the model will do."""
    async with desk(alpha=("other",), beta=()) as found:
        assert await found.desk.load("latest") == ModelAt("beta", "big")
        assert [(effect.endpoint, effect.model) for effect in found.begun] == [("beta", "big")]


async def test_the_place_can_be_named() -> None:
    """Then what is in the way there goes."""
    async with desk(alpha=("other",), beta=()) as found:
        await found.desk.load("big:latest", "alpha")
        (effect,) = found.begun

        assert isinstance(effect, LoadModel)
        assert effect.evict == (ModelAt("alpha", "other"),)


async def test_a_model_is_unloaded_where_it_is() -> None:
    """Nobody has to know the place."""
    async with desk(alpha=("small",), beta=("big",)) as found:
        assert await found.desk.unload("big") == ModelAt("beta", "big")
        assert found.begun == [UnloadModel(host="beta", endpoint="beta", model="big")]


async def test_one_model_instead_of_another() -> None:
    """On the machine that holds the first one."""
    async with desk(alpha=("small",), beta=("big",)) as found:
        assert await found.desk.swap("latest", "other") == ModelAt("beta", "other")
        (effect,) = found.begun

        assert isinstance(effect, LoadModel)
        assert (effect.model, effect.evict) == ("other", (ModelAt("beta", "big"),))


async def test_a_pin_is_seen_in_the_list() -> None:
    """And taken back again."""
    async with desk(alpha=("big",)) as found:
        await found.desk.pin("alpha", "latest", pinned=True)
        (machine,) = found.desk.hosts().hosts
        assert [(one.model, one.pinned) for one in machine.residents] == [("big", True)]
        with pytest.raises(ConflictError, match="big is pinned on alpha"):
            await found.desk.unload("big")
        await found.desk.pin("alpha", "big", pinned=False)

        assert not found.desk.hosts().hosts[0].residents[0].pinned


async def test_wishes_about_what_is_not_there_name_what_is() -> None:
    """A misspelt model, one that is loaded nowhere, one that is loaded everywhere, itself."""
    async with desk(alpha=("big",)) as found:
        with pytest.raises(NotFoundError, match=r"no model bgi.*big"):
            await found.desk.load("bgi")
        with pytest.raises(NotFoundError, match=r"other is loaded on no managed host.*loaded are big"):
            await found.desk.unload("other")
        with pytest.raises(ConflictError, match="big is loaded wherever it can be"):
            await found.desk.load("big")
        with pytest.raises(ConflictError, match="big cannot be loaded instead of itself"):
            await found.desk.swap("big", "latest")

        assert found.begun == []


async def test_without_a_managed_host_nothing_can_be_wished() -> None:
    """The remedy says how a host becomes one."""
    async with house(policy=policy(host("elsewhere"))) as built:
        found = Desk(built)
        await found.up("free", "big")

        assert found.desk.hosts().hosts == ()
        with pytest.raises(NotFoundError, match=r"no managed host has small.*under 'hosts'"):
            await found.desk.load("small")
