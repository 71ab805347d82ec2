"""Tests of what workers list of endpoints that only they reach."""

import asyncio

from msgspec.structs import replace

from ostler.domain.catalog import EndpointKind, EndpointSpec, Reach
from ostler.domain.fleet import Health, HostReport, Probe, ProbeStatus, Resident, WorkerOffer
from ostler.domain.tasks import TaskKind
from ostler.scheduling.signals import EndpointAdded, EndpointRemoved
from tests.hub.house import House, house

FAR = EndpointSpec(
    name="far",
    kind=EndpointKind.OLLAMA,
    url="http://127.0.0.1:11434",
    provider="ollama",
    host="box2",
    local=True,
    reached_by=Reach.WORKER,
)
OFFER = WorkerOffer(name="w2", host="den", host_aliases=("box2",), slots={TaskKind.CHAT: 2})


def listing(name: str = "far", **changes: object) -> Probe:
    """What a worker saw, by a clock of its own."""
    seen = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=5, models=("small",), residents=())
    return replace(seen, **changes)


def report(*listings: Probe) -> HostReport:
    return HostReport(host="den", at_ms=5, cpu_percent=12.0, listings=listings)


async def with_far(built: House) -> None:
    await built.pump.post(EndpointAdded(spec=FAR))
    await built.pump.post(EndpointAdded(spec=replace(FAR, name="near", url="http://box2:1", reached_by=Reach.HUB)))
    await built.pump.post(EndpointAdded(spec=replace(FAR, name="other", host="box3")))


async def test_a_worker_is_asked_for_what_only_it_reaches() -> None:
    """Endpoints of its machine, by any of its names; neither what the hub reaches nor what is on another one."""
    async with house() as built:
        await with_far(built)
        here = await built.hub.link.join(OFFER)
        there = await built.hub.link.join(replace(OFFER, name="w3", host="nowhere", host_aliases=()))

        assert (await built.hub.link.poll(here.id, 0)).watch == (FAR,)
        assert (await built.hub.link.poll(there.id, 0)).watch == ()
        assert built.hub.listings.wanted("no-such-session") == ()


async def test_what_it_lists_is_the_hubs_picture() -> None:
    """Health, models and residents, at the hub's instant; the load of the machine is as ever, without the listings."""
    async with house() as built:
        await with_far(built)
        session = await built.hub.link.join(OFFER)
        loaded = listing(residents=(Resident(model="small", context_tokens=4_096, size_bytes=7),))
        await built.hub.link.heartbeat(session.id, report(loaded))

        view = built.pump.scheduler.books.endpoints.views["far"]
        newest = built.hub.listings.of(FAR)
        assert (view.health, set(view.models), view.checked_ms) == (Health.UP, {"small"}, newest.at_ms)
        assert view.residents == loaded.residents
        state = built.pump.scheduler.books.workers.states[session.id]
        assert state.report == report()
        assert newest == replace(loaded, at_ms=newest.at_ms)
        assert 0 <= built.clock.now_ms() - newest.at_ms < 1_000


async def test_a_worker_hears_at_once_what_it_is_to_look_at() -> None:
    """Its poll is not held back for it, neither when there is something to look at nor when there is no more; one that
    was told waits for work, and each answer says it again: the one before may have been lost.
    """
    async with house() as built:
        session = await built.hub.link.join(OFFER)
        assert not built.hub.listings.has_news(session.id)
        await with_far(built)
        async with asyncio.timeout(5):
            assert (await built.hub.link.poll(session.id, 30_000)).watch == (FAR,)
        assert not built.hub.listings.has_news(session.id)
        assert (await built.hub.link.poll(session.id, 0)).watch == (FAR,)
        await built.pump.post(EndpointRemoved(name="far"))
        async with asyncio.timeout(5):
            assert (await built.hub.link.poll(session.id, 30_000)).watch == ()

        await built.hub.link.leave(session.id)
        again = await built.hub.link.join(OFFER)
        await with_far(built)
        built.hub.listings.ask(again.id)
        assert set(built.hub.listings._asked) == {again.id}, "those that left are forgotten"


async def test_nobody_speaks_for_another_machine() -> None:
    """What a worker was not asked for is passed over: endpoints of others, of the hub, and unknown ones."""
    async with house() as built:
        await with_far(built)
        session = await built.hub.link.join(OFFER)
        before = dict(built.pump.scheduler.books.endpoints.views)
        await built.hub.link.heartbeat(session.id, report(listing("other"), listing("near"), listing("unheard-of")))

        assert built.pump.scheduler.books.endpoints.views == before


async def test_what_nobody_looked_at_for_long_is_down() -> None:
    """Before the first listing, and when its worker is silent for longer than a worker may be."""
    async with house() as built:
        await with_far(built)
        assert built.hub.listings.of(FAR).message == "only a worker on box2 reaches it, and none has looked at it"
        session = await built.hub.link.join(OFFER)
        await built.hub.link.heartbeat(session.id, report(listing()))
        dead_ms = built.pump.scheduler.books.policy.scheduler.session_dead_ms
        built.clock.pass_ms(dead_ms - 1_000)
        assert built.hub.listings.of(FAR).status is ProbeStatus.AVAILABLE
        built.clock.pass_ms(2_000)

        assert built.hub.listings.of(FAR).status is ProbeStatus.UNAVAILABLE
