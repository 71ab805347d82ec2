"""The desk for endpoints: what the profile says is followed, what a person added stays, who checks what."""

import msgspec
import pytest

from ostler.domain.catalog import EndpointSpec
from ostler.domain.errors import NotFoundError
from ostler.domain.fleet import Health, HostReport, ProbeStatus, WorkerOffer
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskKind, TaskSpec
from tests.hub.house import House, house
from tests.scheduling.rig import local, three_tiers


def policy_with(*specs: EndpointSpec) -> Policy:
    """A profile that declares these endpoints."""
    base = three_tiers()
    declared = {spec.name: spec for spec in specs}
    return msgspec.structs.replace(base, catalog=msgspec.structs.replace(base.catalog, endpoints=declared))


def sources(built: House) -> dict[str, str]:
    return {row.view.spec.name: row.source for row in built.desk.rows().endpoints}


async def names_of_events(built: House, *names: str) -> list[tuple[str, object]]:
    events = await built.store.events(limit=1000)
    return [(event.name, event.metadata["endpoint"]) for event in events if event.name in names]


async def test_a_changed_profile_adds_removes_and_keeps() -> None:
    """New ones are probed at once, missing and disabled ones go, those added by hand stay."""
    async with house() as built:
        await built.desk.follow_profile(policy_with(local("a"), local("b"), local("c")))
        await built.hub.endpoints.add(local("mine"))
        off = msgspec.structs.replace(local("b"), enabled=False)
        built.watch.asked.clear()
        await built.desk.follow_profile(policy_with(local("a"), off, local("d")))

        assert sources(built) == {"a": "profile", "d": "profile", "mine": "added"}
        assert built.watch.asked == ["d"], "what did not change is left alone"
        assert set(built.watch.specs) == {"a", "d", "mine"}
        assert await names_of_events(built, "endpoint.removed") == [
            ("endpoint.removed", "b"),
            ("endpoint.removed", "c"),
        ]
        assert [spec.name for spec in (await built.store.open_work()).endpoints] == ["mine"]


async def test_a_changed_spec_is_taken_over_without_losing_what_is_known() -> None:
    """More slots do not make an endpoint unchecked."""
    async with house() as built:
        await built.desk.follow_profile(policy_with(local("a", slots=1)))
        await built.desk.follow_profile(policy_with(local("a", slots=5)))
        (row,) = built.desk.rows().endpoints

        assert (row.view.spec.slots, row.view.health) == (5, Health.UP)
        assert await names_of_events(built, "endpoint.added", "endpoint.removed") == [("endpoint.added", "a")]


async def test_following_the_same_profile_again_does_nothing() -> None:
    """A file that was saved without a change disturbs nobody."""
    async with house() as built:
        policy = policy_with(local("a"))
        await built.desk.follow_profile(policy)
        before = (await built.store.events(limit=1000), list(built.watch.asked))
        await built.desk.follow_profile(policy)

        assert (await built.store.events(limit=1000), built.watch.asked) == before


async def test_an_endpoint_of_the_profile_may_take_over_one_that_was_added() -> None:
    """The name is the profile's from then on."""
    async with house() as built:
        await built.hub.endpoints.add(local("a", slots=1))
        await built.desk.follow_profile(policy_with(local("a", slots=3)))

        assert sources(built) == {"a": "profile"}


async def test_a_disabled_endpoint_is_not_started() -> None:
    """Neither registered nor probed."""
    async with house() as built:
        await built.desk.start(msgspec.structs.replace(local("a"), enabled=False), "profile")

        assert (sources(built), built.watch.asked) == ({}, [])


async def test_a_reset_forgets_and_checks_at_once() -> None:
    """By name; an unknown one is named with the nearest."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        built.watch.status = ProbeStatus.RATE_LIMITED
        await built.hub.endpoints.check("gpu")
        assert built.desk.rows().endpoints[0].view.blocked_until_ms is not None
        built.watch.asked.clear()
        await built.hub.endpoints.reset("gpu")
        assert built.desk.rows().endpoints[0].view.blocked_until_ms is None
        await _all_hurried(built)
        assert built.watch.asked == ["gpu"]
        with pytest.raises(NotFoundError, match="did you mean 'gpu'"):
            await built.hub.endpoints.reset("gpuu")


async def _all_hurried(built: House) -> None:
    import asyncio

    await asyncio.gather(*built.desk._hurrying)


async def test_a_hurried_check_of_what_is_gone_is_no_error() -> None:
    """The endpoint may be removed between the wish and the listing."""
    async with house() as built:

        async def gone(name: str) -> None:
            raise NotFoundError(f"no endpoint {name}")

        built.watch.probe_now = gone  # type: ignore[method-assign,assignment]
        built.desk.hurry("ghost")
        await _all_hurried(built)

        assert built.desk._hurrying == set()


async def test_rows_show_what_the_hub_itself_counts() -> None:
    """Calls in flight, failed listings in a row, the report of the machine it is on."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu", host="studio"))
        offer = WorkerOffer(name="w", host="studio", slots={TaskKind.CHAT: 4})
        session = await built.hub.link.join(offer)
        report = HostReport(host="studio", at_ms=1_000_000, cpu_percent=20.0)
        await built.hub.link.heartbeat(session.id, report)
        await built.hub.submit([TaskSpec(id="t", prompt="say something", tier="standard")])
        built.watch.status = ProbeStatus.UNAVAILABLE
        await built.hub.endpoints.check("gpu")
        (row,) = built.desk.rows().endpoints

        assert (row.in_flight, row.consecutive_failures, row.report) == (1, 1, report)
        assert row.view.health is Health.UP, "one failed listing is not an outage"
