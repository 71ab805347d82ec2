"""A hub put together over a store: everything that was accepted goes on, in whatever state the last one left it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from ostler.app.hub_parts import HubParts
from ostler.app.profiles import Chosen
from ostler.budget.windows import LATEST_MS
from ostler.config.load import load_profile
from ostler.domain.catalog import EndpointSpec
from ostler.domain.commands import Command, PruneCalls, PutCalls, PutEndpoint, Reserve, Result, SubmitTasks
from ostler.domain.errors import LimitReachedError, NotFoundError
from ostler.domain.event import Event
from ostler.domain.fleet import Probe, ProbeStatus, Session, WorkerOffer
from ostler.domain.ledger import Amount, LedgerQuery, Scopes, Span
from ostler.domain.limits import ScopeKind
from ostler.domain.ports import CallQuery, TaskQuery
from ostler.domain.states import FINAL_STATES, Failure, FailureClass, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished, Report, Started
from ostler.fleet.drivers import DriverSet
from ostler.hub.accept import new_tasks
from ostler.hub.gateway_views import KeyWish
from ostler.hub.link import LocalLink
from ostler.store.errors import StoreError
from ostler.store.memory import MemoryStore
from ostler.version import __version__
from ostler.workers.timing import SystemTiming
from tests.scheduling.rig import local, three_tiers
from tests.store.rows_made import make_call

TIMING = SystemTiming(through_suspend=False)
LATER_MS = TIMING.now_ms() + 3_600_000
S = TaskState


class Drivers:
    """Endpoints that answer, and a note of how often they were given back."""

    def __init__(self) -> None:
        self.probed: list[str] = []
        self.closed = 0

    async def probe(self, spec: EndpointSpec) -> Probe:
        self.probed.append(spec.name)
        return Probe(endpoint=spec.name, status=ProbeStatus.AVAILABLE, at_ms=TIMING.now_ms(), models=("tiny",))

    async def close(self) -> None:
        self.closed += 1


class KeptStore(MemoryStore):
    """Outlives the hub, as a file does."""

    def __init__(self) -> None:
        super().__init__()
        self.closings = 0

    async def close(self) -> None:
        self.closings += 1

    def pass_time_for(self, task_id: str) -> None:
        """The instant a task waits for comes while there is no hub."""
        record = self._records[task_id]
        record.task = msgspec.structs.replace(record.task, not_before_ms=TIMING.now_ms())


async def started(
    store: KeptStore,
    drivers: Drivers | None = None,
    *,
    endpoints: bool = False,
    closed_because: Callable[[], str] | None = None,
    name: str = "",
) -> HubParts:
    profile = load_profile("three-tiers", {"HOME": "/nowhere"}, cwd=Path("/"))
    profile = msgspec.structs.replace(profile, hub=msgspec.structs.replace(profile.hub, name=name))
    if endpoints:
        catalog = msgspec.structs.replace(profile.policy.catalog, endpoints={"gpu": local("gpu")})
        profile = msgspec.structs.replace(profile, policy=msgspec.structs.replace(profile.policy, catalog=catalog))
    given = cast("DriverSet", drivers or Drivers())
    return await HubParts.start(Chosen(profile=profile), store, given, TIMING, closed_because=closed_because)


def command(task_id: str, **fields: object) -> TaskSpec:
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=("true",), **fields)  # type: ignore[arg-type]


def finished(task_id: str, failure: FailureClass | None = None) -> Finished:
    problem = Failure(kind=failure, message="no", at_ms=TIMING.now_ms()) if failure is not None else None
    return Finished(task_id=task_id, generation=1, at_ms=TIMING.now_ms(), ok=failure is None, failure=problem)


async def join(parts: HubParts, name: str, *, builtin: bool = False, slots: int = 9) -> Session:
    offer = WorkerOffer(name=name, host=name, slots={TaskKind.COMMAND: slots}, builtin=builtin)
    return await parts.hub.link.join(offer)


async def test_a_hub_whose_lease_ended_while_it_started_orders_nothing() -> None:
    """What it may do is asked from its first moment on."""
    store = KeptStore()
    parts = await started(store, closed_because=lambda: "another one leads")
    assert parts.pump.why_closed() == "another one leads"
    await parts.stop()


async def left_in_every_state(store: KeptStore) -> Session:
    """A first hub leaves tasks named after their states, some leased to a worker elsewhere, some to its own."""
    parts = await started(store)
    remote, inside = await join(parts, "remote"), await join(parts, "inside", builtin=True)
    names = [state.value for state in TaskState if state not in (S.QUEUED, S.SCHEDULED, S.EVALUATING, S.EXPIRED)]
    await parts.hub.submit([command(name, worker="remote", max_attempts=1) for name in names if name != "retry_wait"])
    await parts.hub.submit(
        [
            command("retry_wait", worker="remote"),
            command("queued", requires=frozenset({"rare"})),
            command("scheduled", not_before_ms=LATER_MS),
            command("inside-assigned", worker="inside"),
            command("inside-running", worker="inside"),
            command("dependent", needs=("running",)),
        ]
    )
    ends = {
        "succeeded": None,
        "failed": FailureClass.REFUSAL,
        "dead_letter": FailureClass.COMMAND,
        "needs_human": FailureClass.POLICY,
        "retry_wait": FailureClass.COMMAND,
    }
    begun = [*ends, "running"]
    reports: list[Report] = [Started(task_id=name, generation=1, at_ms=TIMING.now_ms()) for name in begun]
    await parts.hub.link.report(remote.id, [*reports, *(finished(name, failure) for name, failure in ends.items())])
    await parts.hub.link.report(inside.id, [Started(task_id="inside-running", generation=1, at_ms=TIMING.now_ms())])
    await parts.hub.cancel("cancelled")
    await parts.hub.link.report(remote.id, [finished("cancelled", FailureClass.CANCELLED)])
    await parts.stop()
    return remote


async def state_of(store: KeptStore, *names: str) -> dict[str, TaskState]:
    return await store.states(list(names))


async def events(store: KeptStore, name: str) -> list[Event]:
    return [event for event in await store.events(limit=10_000) if event.name == name]


async def test_an_empty_store_is_a_hub_with_nothing_to_do() -> None:
    """It says that it started, registers what the profile declares, and that it stopped."""
    store, drivers = KeptStore(), Drivers()
    parts = await started(store, drivers)
    declared = sorted(parts.pump.scheduler.books.policy.catalog.endpoints)
    rows = parts.hub.endpoints.rows().endpoints
    assert [(row.view.spec.name, row.source) for row in rows] == [(name, "profile") for name in declared]
    assert parts.recovered == 0
    await parts.stop()

    (begun,), (ended,) = await events(store, "hub.started"), await events(store, "hub.stopped")
    assert begun.metadata["recovered_tasks"] == 0
    assert begun.seq < ended.seq
    assert (drivers.closed, store.closings) == (1, 1)


@pytest.mark.parametrize(("name", "told"), [("", {}), ("den", {"hub": "den"})])
async def test_a_hub_with_a_name_begins_by_it(name: str, told: dict[str, str]) -> None:
    """Of several the events tell which one leads since when."""
    store = KeptStore()
    parts = await started(store, name=name)
    await parts.stop()

    (begun,) = await events(store, "hub.started")
    assert begun.metadata == {"version": __version__, "recovered_tasks": 0} | told


async def test_stopping_twice_is_stopping_once() -> None:
    """A second signal, or a stop after a failed start, neither hangs nor says it twice."""
    store = KeptStore()
    parts = await started(store)
    await parts.stop()
    await asyncio.wait_for(parts.stop(), 5)

    assert len(await events(store, "hub.stopped")) == 1


class NoMore(KeptStore):
    """From some moment on it takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        if self.refuses:
            raise StoreError("the database does not answer")
        return await super().apply(commands)


async def test_a_hub_that_cannot_say_that_it_stopped_stops_all_the_same() -> None:
    """Its store is out of reach: connections are given back, and whoever leads after it says the rest."""
    store, drivers = NoMore(), Drivers()
    parts = await started(store, drivers)
    store.refuses = True
    await asyncio.wait_for(parts.stop(), 10)

    assert await events(store, "hub.stopped") == []
    assert (drivers.closed, store.closings) == (1, 1)


async def test_work_in_every_state_goes_on() -> None:
    """Ends stay ends; what waits waits; a worker elsewhere keeps its attempts, the one inside lost them."""
    store = KeptStore()
    await left_in_every_state(store)
    before = await state_of(store, *(state.value for state in TaskState), "inside-assigned", "inside-running")
    assert {name: state.value for name, state in before.items() if not name.startswith("inside")} == {
        state.value: state.value for state in TaskState if state not in (S.EVALUATING, S.EXPIRED)
    }
    open_tasks = [task.id for task in (await store.open_work()).tasks]
    parts = await started(store)

    assert parts.recovered == len(open_tasks) == 9
    assert (await events(store, "hub.started"))[-1].metadata["recovered_tasks"] == 9
    after = await state_of(store, *before)
    assert after == before | {"inside-assigned": S.QUEUED, "inside-running": S.QUEUED}
    assert sorted(parts.pump.scheduler.books.tasks) == sorted(open_tasks)
    reclaimed = {event.task_id for event in await events(store, "task.reclaimed")}
    assert reclaimed == {"inside-assigned", "inside-running"}
    await parts.stop()


async def test_a_worker_elsewhere_reports_to_the_next_hub_under_its_old_session() -> None:
    """It need not know that there was another one; what waits for its task runs then."""
    store = KeptStore()
    remote = await left_in_every_state(store)
    parts = await started(store)
    link = LocalLink(parts.pump)
    await link.heartbeat(remote.id, None)
    await link.report(remote.id, [finished("running"), Started(task_id="assigned", generation=1, at_ms=1)])

    assert await state_of(store, "running", "assigned", "dependent") == {
        "running": S.SUCCEEDED,
        "assigned": S.RUNNING,
        "dependent": S.ASSIGNED,
    }
    with pytest.raises(NotFoundError):
        await link.heartbeat("s-of-somebody", None)
    await parts.stop()


async def test_what_was_due_meanwhile_comes_at_once() -> None:
    """The delay of a retry and a time to start ran on while there was no hub."""
    store = KeptStore()
    await left_in_every_state(store)
    for name in ("retry_wait", "scheduled"):
        store.pass_time_for(name)
    parts = await started(store)
    await parts.pump.apply([])

    assert await state_of(store, "retry_wait", "scheduled") == {"retry_wait": S.ASSIGNED, "scheduled": S.ASSIGNED}
    await parts.stop()


async def test_new_work_is_numbered_after_what_is_there() -> None:
    """Also after what has ended: a number is never given twice."""
    store = KeptStore()
    await left_in_every_state(store)
    parts = await started(store)
    await parts.hub.submit([command("new", worker="nobody")])
    detail = await store.task("new")
    others = [task.seq for task in await store.tasks(TaskQuery(limit=1000)) if task.id != "new"]
    await parts.stop()

    assert detail is not None
    assert detail.task.seq > max(others)


@pytest.mark.parametrize(
    ("needed", "state"),
    [
        (("succeeded",), S.QUEUED),
        (("failed",), S.CANCELLED),
        (("cancelled",), S.CANCELLED),
        (("succeeded", "dead_letter"), S.CANCELLED),
        (("optional",), S.QUEUED),
        (("succeeded", "running"), S.QUEUED),
    ],
)
async def test_what_was_accepted_a_moment_before_the_power_went_is_settled(
    needed: tuple[str, ...], state: TaskState
) -> None:
    """Stored, but the actor had never heard of it: its needs had ended before."""
    store = KeptStore()
    await left_in_every_state(store)
    parts = await started(store)
    await parts.hub.submit([command("optional", optional=True, worker="nobody")])
    await parts.hub.cancel("optional")
    await parts.stop()
    spec = command("late", needs=needed, worker="nobody")
    rows = new_tasks([spec], three_tiers(), first_seq=500, now_ms=TIMING.now_ms(), settled={})
    await store.apply([SubmitTasks(tasks=tuple(rows))])
    parts = await started(store)
    found = await parts.hub.task("late")
    await parts.stop()

    assert found.task.state is state
    if state is S.CANCELLED:
        assert found.task.failure is not None
        assert found.task.failure.message.startswith(f"needs {needed[-1]}")
    else:
        assert found.task.wait is not None
        assert found.task.wait.code.value == ("deps" if "running" in needed else "no_worker")


async def test_endpoints_that_were_added_by_hand_are_back_and_the_profile_wins_a_name() -> None:
    """Registered and probed; a name of the profile is the profile's."""
    store, drivers = KeptStore(), Drivers()
    await store.apply([PutEndpoint(endpoint=local("mine")), PutEndpoint(endpoint=local("ollama", slots=9))])
    parts = await started(store, drivers)
    rows = {row.view.spec.name: row for row in parts.hub.endpoints.rows().endpoints}
    await parts.stop()

    assert rows["mine"].source == "added"
    assert (rows["ollama"].source, rows["ollama"].view.spec.slots) == ("profile", 1)
    assert "mine" in drivers.probed


async def test_every_open_task_is_in_a_state_that_goes_on_by_itself_or_waits_for_a_person() -> None:
    """Nothing that was taken up is forgotten: it is queued with a reason, leased to a known session, or has a timer."""
    store = KeptStore()
    await left_in_every_state(store)
    parts = await started(store)
    books = parts.pump.scheduler.books
    for task in books.tasks.values():
        assert task.state not in FINAL_STATES
        if task.state is S.QUEUED:
            assert parts.pump.scheduler.wait_of(task.id) is not None
        elif task.session is not None:
            assert task.session in books.workers.states
        elif task.state is not S.NEEDS_HUMAN:
            assert parts.pump.scheduler.next_wake_ms() is not None
    await parts.stop()


async def test_keys_and_the_last_records_of_calls_outlive_the_hub() -> None:
    """What was recorded a moment before the end is written; the next hub knows the key and what it has spent."""
    store = KeptStore()
    parts = await started(store)
    made = await parts.hub.gateway.make_key(KeyWish(name="laptop", limit_micro_usd=5))
    key = parts.hub.gateway.ring.find(made.key)
    assert key is not None
    record = make_call("c-1", at_ms=TIMING.now_ms(), key="laptop", cost_micro_usd=5)
    parts.hub.gateway.book.add(record)

    await parts.stop()

    assert await store.calls(CallQuery()) == [record]
    again = await started(store)
    assert again.hub.gateway.ring.find(made.key) == key
    with pytest.raises(LimitReachedError, match="in all"):
        again.hub.gateway.ring.check(key)
    await again.stop()


class PrunedStore(KeptStore):
    """Says when something was pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.pruned = asyncio.Event()

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        results = await super().apply(commands)
        if any(isinstance(command, PruneCalls) for command in commands):
            self.pruned.set()
        return results


async def test_old_calls_are_pruned_when_the_hub_starts() -> None:
    """For how long they are kept is said by the profile."""
    store = PrunedStore()
    await store.apply([PutCalls(records=(make_call("c-old", at_ms=1), make_call("c-new", at_ms=TIMING.now_ms())))])

    parts = await started(store)
    async with asyncio.timeout(5):
        await store.pruned.wait()

    assert parts.hub.gateway.keep_calls_ms == 30 * 86_400_000
    assert [record.id for record in await store.calls(CallQuery())] == ["c-new"]
    await parts.stop()


async def test_money_that_nobody_will_end_is_taken_back_at_the_start() -> None:
    """What a killed hub had reserved for attempts that no task has any more is taken to have been spent, and says so.

    An attempt that still runs at a worker keeps what it holds. Starting once more changes nothing.
    """
    store = KeptStore()
    await left_in_every_state(store)
    held = Reserve(attempt="running/1", at_ms=TIMING.now_ms(), amount=Amount(micro_usd=5), scopes=Scopes(provider="p"))
    await store.apply([held, msgspec.structs.replace(held, attempt="gone/3")])

    for _ in range(2):
        parts = await started(store)
        (spent,) = await store.spent([Span(scope=ScopeKind.ALL, start_ms=0, end_ms=LATEST_MS)])
        entries = await store.ledger(LedgerQuery())
        await parts.stop()

        assert (spent.used.micro_usd, spent.held.micro_usd) == (5, 5)
        assert [(entry.attempt, entry.ambiguous) for entry in entries[2:]] == [("gone/3", True)]
