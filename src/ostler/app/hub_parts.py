"""A hub put together: store, scheduler, pump, prober, desk; started over what the store holds, stopped in order."""

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ostler.app.alert_parts import AlertParts
from ostler.app.comparing import saved_in_process
from ostler.app.ending import ended_in_order
from ostler.app.kinds import shipped_kinds
from ostler.app.loop_rules import loop_rules
from ostler.app.profiles import Chosen, setting_rows
from ostler.app.trace_parts import TraceParts
from ostler.budget.buckets import TIMELESS, Grain
from ostler.budget.mirror import since_needed
from ostler.budget.recovery import recovered
from ostler.budget.windows import EARLIEST_MS, LATEST_MS
from ostler.config.agent_files import read_agents
from ostler.config.settings import AgentSettings, HubSettings, LoadedProfile
from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec, Reach
from ostler.domain.commands import AppendEvents, Release, Settle
from ostler.domain.event import Event
from ostler.domain.fleet import Probe
from ostler.domain.ledger import LedgerQuery, Span, Spent, Summed, tick_name
from ostler.domain.limits import ScopeKind
from ostler.domain.ports import OpenWork, Store
from ostler.domain.tasks import Task
from ostler.fleet.drivers import DriverSet
from ostler.fleet.prober import Prober
from ostler.hub.board_views import Savings
from ostler.hub.endpoints import EndpointDesk
from ostler.hub.janitor import Janitor
from ostler.hub.loader import Loader
from ostler.hub.needs import settled_needs
from ostler.hub.plan_desk import PlanDesk
from ostler.hub.pump import Pump
from ostler.hub.service import Hub
from ostler.hub.service_info import HubInfo
from ostler.scheduling import Scheduler
from ostler.scheduling.intake import Settled
from ostler.scheduling.purse import name_of
from ostler.scheduling.signals import PartsTold, Probed, Restored, SlotsShared
from ostler.solver.searching import search_in_process
from ostler.store.errors import StoreError
from ostler.telemetry.durable import events_of
from ostler.telemetry.event_log import EventLog
from ostler.version import __version__
from ostler.workers.timing import Timing

if TYPE_CHECKING:
    from ostler.store.seat import Seat

LEARNED_FROM_ENTRIES = 10_000
"""The newest of the ledger: what a hub that starts learns the lengths of answers from."""
NOTHING_OF_OURS = SlotsShared(shares={}), PartsTold(parts={})
"""What one of several pools may use before it has seen what the others do."""
FIRST_LOOK_S = 3.0
"""How long restored work waits for the first listings."""


class HubParts:
    """A running hub without its faces. Make it with `start`; `stop` gives everything back."""

    def __init__(self, store: Store, drivers: DriverSet, prober: Prober, pump: Pump, desk: EndpointDesk) -> None:
        self.store = store
        self.drivers = drivers
        self.prober = prober
        self.pump = pump
        self.desk = desk
        self.loader = Loader(drivers, self._spec_of, pump.post, pump.clock, pump.why_closed)
        self.plans = PlanDesk(pump, store, search_in_process)
        self.hub: Hub
        self.alerts: AlertParts
        self.traces: TraceParts
        self.janitor = Janitor(pump, store)
        self.recovered = 0
        self._stopped = False

    @classmethod
    async def start(
        cls,
        chosen: Chosen,
        store: Store,
        drivers: DriverSet,
        timing: Timing,
        *,
        shared: bool = False,
        closed_because: Callable[[], str] | None = None,
    ) -> Self:
        """Take up what the store holds and begin to probe; where that fails, or is broken off, nothing of it goes on,
        and the store is closed. `shared`: no endpoint is called before it is said how many of its slots are this pool's
        (see `sharing`). `closed_because`: why nothing may be begun any more, as of a lease that ended; empty while it
        may.
        """
        undo = [drivers.close, store.close]
        try:
            work = await store.open_work()
            parts = cls._made(chosen, store, drivers, timing, work, closed_because)
            for said in NOTHING_OF_OURS if shared else ():
                parts.pump.tell(said)
            undo = [parts.stop]  # which closes the others
            await parts._begin(chosen.profile, work)  # noqa: SLF001 -- its own
        except (Exception, asyncio.CancelledError):
            await ended_in_order(*undo)
            raise
        return parts

    @classmethod
    def _made(
        cls,
        chosen: Chosen,
        store: Store,
        drivers: DriverSet,
        timing: Timing,
        work: OpenWork,
        closed_because: Callable[[], str] | None,
    ) -> Self:
        """All parts, of which none runs yet."""
        policy = chosen.profile.policy
        pump = Pump(Scheduler(policy, timing), store, timing)
        if closed_because is not None:
            pump.closed_because = closed_because
            pump.takeover_ms = chosen.profile.hub.lease_ms

        async def post(probe: Probe) -> None:
            await pump.post(Probed(probe=probe))

        async def probe(spec: EndpointSpec) -> Probe:
            return await drivers.probe(spec) if spec.reached_by is Reach.HUB else parts.hub.listings.of(spec)

        prober = Prober(
            probe,
            post,
            clock=timing,
            policy=policy.scheduler,
            jitter=random.Random().random,  # noqa: S311
        )
        parts = cls(store, drivers, prober, pump, EndpointDesk(pump, prober))
        pump.probe_now = parts.desk.hurry
        pump.load = parts.loader.begin
        pump.replan = parts.plans.ask
        info = HubInfo(
            version=__version__,
            profile_path=str(chosen.profile.path) if chosen.watched else None,
            started_ms=timing.now_ms(),
            settings=tuple(setting_rows(chosen.profile)),
        )
        parts.hub = Hub(pump, store, parts.desk, parts.plans, info, work.next_seq, saved_in_process)
        parts.hub.max_open_tasks = chosen.profile.hub.max_open_tasks
        if chosen.profile.telemetry.log_events:
            _log_events(pump)
        parts.traces = TraceParts(pump, chosen.profile.telemetry, parts.hub.metrics.metering, os.environ)
        parts.hub.board.savings = parts._savings_of(chosen.profile)
        parts.alerts = AlertParts(parts.hub.alerts, chosen.profile, os.environ)
        return parts

    async def _begin(self, profile: LoadedProfile, work: OpenWork) -> None:
        """Put the rules in force and start everything, the restored work last but what looks after it."""
        hub = self.hub
        self.pump.start()
        hub.gateway.keep_calls_ms = profile.gateway.keep_calls_ms
        self.follow_agents(profile.agents)
        hub.attempt_keys.enabled = profile.gateway.enabled
        await hub.gateway.start()
        await hub.attempt_keys.take_up(work.tasks)
        await hub.patterns.start(shipped_kinds())
        await self._take_up(work, tuple(profile.policy.catalog.endpoints.values()), profile.hub.name)
        await hub.alerts.start()
        hub.metrics.enabled = profile.telemetry.metrics
        self.janitor.keep_events_ms = profile.telemetry.keep_events_ms
        self.janitor.keep_tasks_ms = profile.hub.keep_tasks_ms
        self.janitor.start()
        hub.loops.runner.rules = loop_rules(profile)
        await hub.loops.runner.start()

    def follow_agents(self, agents: AgentSettings) -> None:
        """Put the profile's rules for agents in force."""
        self.hub.roles.read = partial(read_agents, agents.folders)
        self.hub.attempt_keys.max_cost_micro_usd = agents.max_cost_micro_usd
        self.hub.attempt_keys.judge = agents.judge

    async def _take_up(self, work: OpenWork, declared: tuple[EndpointSpec, ...], name: str) -> None:
        self.recovered = len(work.tasks)
        self.pump.last_seq = work.last_event_seq
        event = Event(
            name="hub.started",
            at_ms=self.pump.clock.now_ms(),
            measurements={},
            metadata={"version": __version__, "recovered_tasks": self.recovered, **({"hub": name} if name else {})},
        )
        await self.pump.apply([AppendEvents(events=(event,)), *await self._money_taken_back(work)])
        await self._take_up_money(work.allowances, work.tasks)
        settled = await self._settled(work)
        self.prober.start()
        for spec in declared:
            await self.desk.start(spec, "profile")
        for spec in work.endpoints:
            if spec.name not in self.pump.scheduler.books.endpoints:
                await self.desk.start(spec, "added")
        if work.tasks:
            await self.first_look()
        # Last: without a registered endpoint, model work would be matched to any worker; and with none checked, old
        # work would leave its tier at once.
        await self.pump.post(
            Restored(
                tasks=work.tasks,
                sessions=work.sessions,
                measurements=work.measurements,
                settled=settled.met,
                lengths=settled.lengths,
                alone=not self.pump.takeover_ms,
            )
        )
        await self.plans.restore(work.tasks)

    async def _money_taken_back(self, work: OpenWork) -> list[Release | Settle]:
        """What attempts hold that no task has any more: the hub was stopped before it heard of their end."""
        alive = {name_of(task.id, task.generation) for task in work.tasks if task.session is not None}
        return recovered(await self.store.open_reservations(), self.pump.clock.now_ms(), alive=alive)

    async def _spent_by_open(self, tasks: Sequence[Task]) -> list[Summed]:
        """What open tasks that ran before, and their ticks, have come to: of others nobody asks. O(those)."""
        tried = [task for task in tasks if task.generation]
        ticks = {tick_name(task.facts.session or "", task.facts.tick) for task in tried if task.facts.tick}
        whose = [(ScopeKind.TASK, task.id) for task in tried] + [(ScopeKind.TICK, name) for name in sorted(ticks)]
        spans = [Span(scope=kind, value=name, start_ms=EARLIEST_MS, end_ms=LATEST_MS) for kind, name in whose]
        found = await self.store.spent(spans) if spans else []
        return [
            Summed(scope=span.scope.value, value=span.value, grain=int(Grain.ALL), start_ms=0, spent=spent)
            for span, spent in zip(spans, found, strict=True)
            if spent != Spent()
        ]

    async def _take_up_money(self, reports: Sequence[Reported], tasks: Sequence[Task]) -> None:
        """What is used and held by now, for the choice of a route."""
        since_ms = since_needed(self.pump.scheduler.books.policy.budget.limits, self.pump.clock.now_ms())
        kinds = tuple(kind for kind in ScopeKind if kind not in TIMELESS)
        sums = [*await self.store.sums(kinds, since_ms), *await self._spent_by_open(tasks)]
        lately = await self.store.ledger(LedgerQuery(newest_first=True, limit=LEARNED_FROM_ENTRIES))
        reserved, now_ms = await self.store.open_reservations(), self.pump.clock.now_ms()
        self.pump.scheduler.restore_money(sums, reserved, lately, now_ms=now_ms, reports=reports)

    def _savings_of(self, profile: LoadedProfile) -> Callable[[], Savings | None]:
        """How what own machines saved is reckoned, from the ledger beside the hub."""

        def reckon() -> Savings | None:
            from ostler.app.ledgers import ledger_of
            from ostler.app.savings import for_board

            return for_board(profile, self.pump.scheduler.books.policy, ledger_of(profile.hub))

        return reckon

    def _spec_of(self, endpoint: str) -> EndpointSpec | None:
        view = self.pump.scheduler.books.endpoints.views.get(endpoint)
        return view.spec if view is not None else None

    async def first_look(self) -> None:
        """Wait until every endpoint has been listed once, or has had its chance."""
        names = list(self.pump.scheduler.books.endpoints.views)
        looks = asyncio.gather(*(self.prober.probe_now(name) for name in names), return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S):
                await looks

    async def _settled(self, work: OpenWork) -> Settled:
        """Needs of open tasks on tasks that ended before, and whether they are met."""
        open_ids = {task.id for task in work.tasks}
        outside = sorted({need for task in work.tasks for need in task.needs} - open_ids)
        return await settled_needs(self.store, await self.store.states(outside)) if outside else Settled()

    async def stop(self) -> None:
        """Stop probing and committing, close store and connections. Faces and workers have stopped before. Safe to
        repeat.
        """
        if self._stopped:
            return
        self._stopped = True
        hub = self.hub
        await ended_in_order(
            self.janitor.stop,
            hub.alerts.stop,
            self.alerts.stop,
            self.loader.close,
            self.plans.close,
            self.prober.stop,
            self.desk.close,
            hub.loops.runner.stop,
            hub.attempt_keys.stop,
            hub.patterns.stop,
            hub.board.stop,
            hub.residency.stop,
            hub.gateway.stop,
            self._say_stopped,
            self.pump.stop,
            self.traces.stop,
            self.drivers.close,
            self.store.close,
        )

    async def _say_stopped(self) -> None:
        if self.pump.fatal is not None and self.pump.fatal.done():
            return
        event = Event(name="hub.stopped", at_ms=self.pump.clock.now_ms())
        with contextlib.suppress(StoreError):  # full, out of reach, or another hub's by now: it stops all the same
            await self.pump.apply([AppendEvents(events=(event,))])


async def open_store(folder: Path, database: str) -> Store:
    """The store of a hub: a SQLite file in its folder."""
    from ostler.store.sqlite import SqliteStore

    return await SqliteStore.open(folder / database)


async def open_pool(settings: HubSettings) -> "Seat":
    """The seat of a pool of a PostgreSQL database, whose tables are brought up to date. Raises `OstlerError`."""
    from ostler.store.postgres import prepare
    from ostler.store.postgres_engine import place_of
    from ostler.store.seat import Seat

    place = place_of(settings.database, settings.pool)
    await asyncio.to_thread(prepare, place)
    return Seat.at(place, settings.direct_database, max(1.0, settings.lease_ms / 3000))


def _log_events(pump: Pump) -> None:
    log = EventLog()
    pump.observers.append(lambda applied: log.write(events_of(applied)))
