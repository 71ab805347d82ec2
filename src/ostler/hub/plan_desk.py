"""The desk for plans of runs: makes them, keeps them, hands them to the scheduler, and shows them beside what happened.

A plan is made by a search that runs elsewhere (`PlanSearch`), from a problem that the scheduler's books describe; it is
durable before it is followed. When the scheduler asks for a new one, it is made the same way from what is left; when
that cannot be (no machine is there that could run it), the plan before stays in force, and that is said.

At most one plan of a run is being made at a time; an order that comes meanwhile is the newest one's business.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from ostler.domain.commands import AppendEvents, PutPlan
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError
from ostler.domain.event import Event, Scalar
from ostler.domain.plans import StoredPlan
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.tasks import Task, TaskSpec
from ostler.hub.errands import Errands
from ostler.hub.plan_record import record
from ostler.hub.plan_views import PlanWish, RunPlan
from ostler.hub.pump import Pump
from ostler.planning.bounds import certify
from ostler.planning.guide import Guide, guide_of
from ostler.planning.instance import Instance, checked
from ostler.planning.plan import Plan
from ostler.scheduling.effects import Replan
from ostler.scheduling.remaining import remaining
from ostler.scheduling.signals import PlanAdopted, PlanDropped

RUN_TASKS_MAX = 10_000
FIRST_LOOK_S = 3.0
SECONDS = 2.0
"""Time for a search that nobody gave another one."""


class PlanSearch(Protocol):
    """Makes a plan, away from the event loop. Raises `OstlerError` when there is none."""

    async def __call__(self, instance: Instance, *, strategy: str, seconds: float) -> Plan:
        """The best plan found in about that time."""
        ...


class PlanDesk:
    """Plans by run."""

    def __init__(self, pump: Pump, store: Store, search: PlanSearch) -> None:
        self._pump = pump
        self._store = store
        self._search = search
        self._errands = Errands("a new plan")
        self._making: set[str] = set()
        """Runs of which a plan is being made in the background."""

    async def make(self, run: str, *, strategy: str = "portfolio", seconds: float = SECONDS) -> RunPlan:
        """Plan what is left of a run and follow it. Raises `NotFoundError`, `ConflictError` when nothing is left."""
        rows = await self._rows(run)
        if not any(row.id in self._pump.scheduler.books.tasks for row in rows):
            raise ConflictError(f"all tasks of {run} have ended", where="run", remedy="plan a run that is under way")
        before = await self._store.plans(run)
        await self._adopt(run, rows, version=len(before) + 1, reason="start", strategy=strategy, seconds=seconds)
        return await self.show(run)

    def one_run(self, specs: Sequence[TaskSpec]) -> str:
        """The run that all of these belong to. Raises `InvalidInputError`: a plan is for one run."""
        runs = {spec.batch for spec in specs}
        (run, *others) = sorted(run or "" for run in runs)
        if others or not run:
            raise InvalidInputError("a plan is for the tasks of one run", where="plan", remedy="give all one `batch`")
        return run

    async def make_first(self, run: str, wish: PlanWish) -> str:
        """Plan a run whose tasks wait for it; why there is no plan, if there is none: then they start without."""
        try:
            await self.make(run, strategy=wish.strategy, seconds=wish.seconds)
        except OstlerError as error:
            await self._pump.post(PlanDropped(batch=run, reason=str(error)))
            return str(error)
        return ""

    async def show(self, run: str) -> RunPlan:
        """The plan of a run beside what happened. Raises `NotFoundError` when it has none."""
        rows = await self._rows(run)
        stored = await self._store.plans(run)
        if not stored:
            raise NotFoundError(f"run {run} has no plan", remedy=f"'ostler run FILE --run-id {run} --plan' makes one")
        following = run in self._pump.scheduler.books.following
        return await record(self._store, self._pump, rows, stored, following=following)

    async def drop(self, run: str) -> None:
        """Follow the plan of a run no longer. Raises `NotFoundError` when none is followed."""
        if run not in self._pump.scheduler.books.following:
            raise NotFoundError(
                f"no plan of {run} is followed", remedy=f"GET /hub/runs/{run}/plan shows what there was"
            )
        await self._pump.post(PlanDropped(batch=run, reason="by hand"))

    async def restore(self, tasks: Iterable[Task]) -> None:
        """After a restart: follow the newest plans of runs that have open tasks."""
        for run in sorted({task.batch for task in tasks if task.batch is not None}):
            stored = await self._store.plans(run)
            if stored:
                await self._pump.post(PlanAdopted(guide=guide_in(stored[-1])))

    def ask(self, effect: Replan) -> None:
        """Make a new plan in the background."""
        if effect.batch in self._making:
            return
        self._making.add(effect.batch)
        task = self._errands.begin(self._again(effect))
        task.add_done_callback(lambda _: self._making.discard(effect.batch))

    async def close(self) -> None:
        """Stop making plans."""
        await self._errands.stop()

    async def _again(self, effect: Replan) -> None:
        run = effect.batch
        try:
            rows = await self._rows(run)
            await self._adopt(
                run, rows, version=effect.version, reason=effect.reason, strategy="portfolio", seconds=SECONDS
            )
        except OstlerError as error:
            # Its order is still better than none, and what comes back will be a reason to ask again.
            meta: dict[str, Scalar] = {"batch": run, "version": effect.version - 1, "reason": str(error)}
            event = Event(name="plan.kept", at_ms=self._pump.clock.now_ms(), metadata=meta)
            await self._pump.apply([AppendEvents(events=(event,))])

    async def _adopt(
        self, run: str, rows: Sequence[Task], *, version: int, reason: str, strategy: str, seconds: float
    ) -> None:
        specs: dict[str, TaskSpec] = await self._store.specs([row.id for row in rows])
        await self._first_look()
        after_seq = self._pump.last_seq
        # Nothing is awaited between the look at the books and the problem that describes them.
        instance = checked(remaining(self._pump.scheduler.books, specs, self._pump.clock.now_ms()))
        plan = await self._search(instance, strategy=strategy, seconds=seconds)
        started_ms = self._pump.clock.now_ms()
        guide = guide_of(plan, instance, batch=run, version=version, started_ms=started_ms, reason=reason)
        guide = msgspec.structs.replace(guide, bound_ms=certify(instance).bound_ms)
        stored = StoredPlan(
            batch=run,
            version=version,
            at_ms=started_ms,
            after_seq=after_seq,
            body=msgspec.json.encode(guide).decode(),
        )
        await self._pump.apply([PutPlan(plan=stored)])
        await self._pump.post(PlanAdopted(guide=guide))

    async def _first_look(self) -> None:
        """A hub that has just started knows no machine yet: wait until each was listed once, or had its chance."""
        views = self._pump.scheduler.books.endpoints.views
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S), self._pump.news:
                await self._pump.news.wait_for(lambda: all(view.checked_ms is not None for view in views.values()))

    async def _rows(self, run: str) -> list[Task]:
        rows = await self._store.tasks(TaskQuery(batch=run, limit=RUN_TASKS_MAX))
        if not rows:
            raise NotFoundError(f"there is no run {run}", where="run", remedy="'ostler tasks list' shows what there is")
        return sorted(rows, key=lambda row: row.seq)


def guide_in(stored: StoredPlan) -> Guide:
    """The guide of a stored plan."""
    return msgspec.json.decode(stored.body, type=Guide)
