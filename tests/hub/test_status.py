"""The hub at a glance: counts, groups of waiting work, the ladder, and why nothing runs."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from ostler.domain.fleet import ProbeStatus, WorkerOffer
from ostler.domain.hubs import Leader
from ostler.domain.live import LiveCall
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Complexity, TaskKind, TaskSpec
from ostler.domain.work import Finished
from ostler.hub.live_desk import LiveDesk
from ostler.hub.views import HubStatus
from ostler.hub.waiting import every_group, wait_groups
from ostler.scheduling.books import Books
from tests.hub.house import House, house
from tests.scheduling.live_rig import call_facts
from tests.scheduling.rig import cloud, local, three_tiers
from tests.store.rows_made import make_call

OFFER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1, TaskKind.CHAT: 1})


def command(task_id: str, **fields: object) -> TaskSpec:
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=("true",), **fields)  # type: ignore[arg-type]


def chat(task_id: str, complexity: Complexity = Complexity.STANDARD) -> TaskSpec:
    return TaskSpec(id=task_id, prompt="say something", complexity=complexity)


def live(call_id: str) -> LiveCall:
    return LiveCall(id=call_id, facts=call_facts(), offered_ms=1_000_000, deadline_ms=9_000_000)


async def test_who_leads_is_told_where_there_may_be_others() -> None:
    """By the name and address that the others know it by; a hub with a file of its own has none."""
    async with house() as built:
        assert (await built.hub.status()).leader is None

        built.hub.known_as = Leader(name="den", url="http://den:7433")
        assert (await built.hub.status()).leader == Leader(name="den", url="http://den:7433")


def groups(status: HubStatus) -> list[tuple[str, str | None, int]]:
    return [(group.wait.code.value, group.tier, group.count) for group in status.waiting]


async def test_an_empty_hub_waits_for_nothing() -> None:
    """And says nothing is in the way."""
    async with house() as built:
        status = await built.hub.status()

        assert (status.counts, status.waiting, status.in_flight, status.idle_because) == ({}, (), 0, "")
        assert (status.endpoints_up, status.endpoints_total, status.workers) == (0, 0, 0)
        assert (status.version, status.profile, status.policy_version) == ("test", "default", "test")


async def test_waiting_work_is_grouped_by_reason_detail_and_tier_largest_first() -> None:
    """Each with one task to look at, and since when the first of them waits."""
    async with house() as built:
        await built.hub.submit([command("a"), command("b"), chat("c"), command("d", needs=("a",))])
        await built.hub.submit([command("e", needs=("a", "b")), chat("f", Complexity.COMPLEX)])
        await built.hub.pause("f")
        await built.hub.endpoints.add(local("gpu"))
        status = await built.hub.status()

        assert groups(status) == [
            ("deps", None, 2),
            ("no_worker", "direct", 2),
            ("no_worker", "standard", 1),
            ("paused", None, 1),
        ]
        examples = [group.example for group in status.waiting]
        assert examples == ["d", "a", "c", "f"]
        assert status.idle_because.startswith("5 tasks wait: no worker can take it")


async def test_live_calls_are_counted_and_are_no_idleness() -> None:
    """Those that hold a slot, and those in line; tasks that wait behind them are told apart."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        desk = LiveDesk(built.pump)
        await built.hub.submit([chat("t")])
        await desk.admit(live("c1"))
        waiting = asyncio.create_task(desk.admit(live("c2")))
        await asyncio.sleep(0)
        status = await built.hub.status()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert (status.calls_running, status.calls_waiting, status.in_flight) == (1, 1, 0)
        assert sum(group.count for group in status.waiting) == 1
        assert status.idle_because == ""


async def test_work_that_runs_is_no_idleness_and_ends_are_counted_by_how() -> None:
    """In flight, then done."""
    async with house() as built:
        await built.hub.submit([command("a"), command("b")])
        session = await built.hub.link.join(OFFER)
        busy = await built.hub.status()
        assert (busy.in_flight, busy.workers, busy.idle_because) == (1, 1, "")
        assert busy.counts == {"assigned": 1, "queued": 1}
        assert groups(busy) == [("capacity", "direct", 1)]
        await built.hub.link.report(session.id, [Finished(task_id="a", generation=1, at_ms=1, ok=True)])
        await built.hub.cancel("b")
        await built.hub.link.report(session.id, [Finished(task_id="b", generation=1, at_ms=1, ok=False)])
        done = await built.hub.status()

        assert done.counts == {"succeeded": 1, "cancelled": 1}
        assert done.in_flight == 0


async def test_a_store_that_fails_is_the_first_reason() -> None:
    """Nothing is durable: that comes before what waits for what."""
    async with house() as built:
        built.pump.committer.failing = "the store refuses to write: No space left on device"

        assert "No space left" in (await built.hub.status()).idle_because


async def test_the_ladder_shows_which_tiers_could_run_now() -> None:
    """Up, down since when, and unknown where no endpoint is registered."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        built.watch.models = ("claude",)
        await built.hub.endpoints.add(cloud())
        built.watch.status = ProbeStatus.UNAVAILABLE
        for _ in range(2):
            await built.hub.endpoints.check("gpu")
        status = await built.hub.status()
        rows = {tier.name: (tier.available, tier.down_since_ms is None) for tier in status.tiers}

        assert rows == {"direct": (None, True), "standard": (False, False), "complex": (True, True)}
        assert (status.endpoints_up, status.endpoints_total) == (1, 2)


async def test_a_new_profile_shows_at_once() -> None:
    """Its version and its ladder."""
    async with house() as built:
        policy = three_tiers()
        tiers = tuple(msgspec.structs.replace(tier, enabled=tier.name != "complex") for tier in policy.catalog.tiers)
        catalog = msgspec.structs.replace(policy.catalog, tiers=tiers)
        await built.hub.reload(msgspec.structs.replace(policy, catalog=catalog, version="two"), ())
        status = await built.hub.status()

        assert status.policy_version == "two"
        assert [tier.name for tier in status.tiers if not tier.enabled] == ["complex"]


async def test_workers_are_listed_by_name_with_what_they_do() -> None:
    """Only kinds that are busy."""
    async with house() as built:
        await _join(built, "zoe")
        await _join(built, "adam")
        await built.hub.submit([command("t", worker="zoe")])
        rows = (await built.hub.workers()).workers

        assert [(row.session.offer.name, dict(row.busy), row.tasks) for row in rows] == [
            ("adam", {}, ()),
            ("zoe", {TaskKind.COMMAND: 1}, ("t",)),
        ]


async def _join(built: House, name: str) -> None:
    await built.hub.link.join(msgspec.structs.replace(OFFER, name=name))


async def test_calls_of_the_gateway_are_counted_in_the_status() -> None:
    """Since the start, as the book has them."""
    async with house() as built:
        built.hub.gateway.book.add(make_call("c-1", cost_micro_usd=7))
        built.hub.gateway.book.add(make_call("c-2", model="", failure=FailureClass.TIMEOUT))

        calls = (await built.hub.status()).calls

        assert (calls.calls, calls.failures, calls.models["m"].cost_micro_usd) == (2, {"timeout": 1}, 7)


async def test_groups_of_waiting_work_count_every_queued_task_once() -> None:
    """In whatever mixture: what waits for others, is paused, waits for a worker or for the fallback of its tier."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        await built.hub.submit([command(f"c{n}") for n in range(5)] + [chat(f"m{n}") for n in range(4)])
        await built.hub.submit([command(f"d{n}", needs=(f"c{n}",)) for n in range(3)])
        await built.hub.pause("c4")
        built.watch.status = ProbeStatus.UNAVAILABLE
        for _ in range(2):
            await built.hub.endpoints.check("gpu")
        await built.hub.link.join(OFFER)
        status = await built.hub.status()
        books = built.pump.scheduler.books

        assert sum(group.count for group in status.waiting) == len(queued(books)) > 0
        assert {group.example for group in status.waiting} <= set(queued(books))
        assert all(
            group.wait.code.value == "deps" or group.wait == books.queue.wait_of(group.example) or group.count > 1
            for group in status.waiting
            if group.example in books.queue
        )


async def test_what_waits_outside_of_the_queue_is_seen_beside_live_calls() -> None:
    """Calls wait in the same queue: they hide no task that waits for another one or is paused, and none is counted
    twice when the last of those is in the queue again.
    """
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        desk = LiveDesk(built.pump)
        await built.hub.submit([chat("a"), chat("b"), command("c", needs=("a",)), command("d")])
        await built.hub.pause("d")
        await desk.admit(live("c1"))
        calls = [asyncio.create_task(desk.admit(live(f"w{number}"))) for number in range(2)]
        await asyncio.sleep(0)
        books = built.pump.scheduler.books
        verbs: list[Callable[[], Awaitable[object]]] = [partial(built.hub.resume, "d"), partial(built.hub.cancel, "c")]
        for verb in verbs:
            by_hand = wait_groups(books, books.tasks.values())
            seen = every_group(books)
            assert sum(group.count for group in seen) == sum(group.count for group in by_hand) == len(queued(books))
            assert {group.wait.code for group in seen} == {group.wait.code for group in by_hand}
            await verb()
        assert sum(group.count for group in every_group(books)) == len(queued(books)) == 3
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def queued(books: Books) -> list[str]:
    return [task.id for task in books.tasks.values() if task.state.value == "queued"]
