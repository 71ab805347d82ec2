"""What became of a planned run, read from the store: its attempts, and what its hosts loaded meanwhile."""

from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.event import Event
from ostler.domain.plans import StoredPlan
from ostler.domain.ports import Store
from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import Attempt, Task
from ostler.hub.plan_views import PlanVersion, RunPlan
from ostler.hub.pump import Pump
from ostler.planning.actual import Call, Change, actual
from ostler.planning.figures import figures
from ostler.planning.ground import WORKERS
from ostler.planning.guide import Guide, drawn, versus

EVENTS_AT_ONCE = 2_000


async def record(
    store: Store, pump: Pump, rows: Sequence[Task], stored: Sequence[StoredPlan], *, following: bool
) -> RunPlan:
    """The plan of a run beside what happened."""
    guides = [msgspec.json.decode(plan.body, type=Guide) for plan in stored]
    first = guides[0]
    now_ms = pump.clock.now_ms()
    attempts = [attempt for row in rows for attempt in await _attempts(store, row)]
    newest = {attempt.task_id: attempt for attempt in sorted(attempts, key=lambda attempt: attempt.generation)}
    calls = [_call(pump, attempt, _label(attempt, newest)) for attempt in attempts if attempt.started_ms is not None]
    ended = all(row.state in FINAL_STATES for row in rows)
    until_ms = max([call.end_ms or now_ms for call in calls], default=now_ms) if ended else now_ms
    hosts = {call.host for call in calls} | {row.host for row in first.placements}
    changes = await _changes(pump, store, stored[0].after_seq, until_ms, hosts)
    planned = drawn(first)
    happened = actual(calls, changes, started_ms=first.started_ms, until_ms=until_ms)
    return RunPlan(
        run=first.batch,
        started_ms=first.started_ms,
        now_ms=now_ms,
        following=following,
        versions=tuple(_version(plan, guide) for plan, guide in zip(stored, guides, strict=True)),
        rows=versus(first, [call for call in calls if call.label in newest]),
        planned=planned,
        actual=happened,
        planned_figures=figures(planned.instance, planned.plan),
        actual_figures=figures(happened.instance, happened.plan),
    )


def _version(plan: StoredPlan, guide: Guide) -> PlanVersion:
    return PlanVersion(
        version=guide.version,
        made_ms=plan.at_ms,
        strategy=guide.strategy,
        reason=guide.reason,
        makespan_ms=guide.makespan_ms,
        bound_ms=guide.bound_ms,
    )


async def _attempts(store: Store, row: Task) -> tuple[Attempt, ...]:
    detail = await store.task(row.id) if row.generation else None
    return detail.attempts if detail is not None else ()


def _label(attempt: Attempt, newest: Mapping[str, Attempt]) -> str:
    """The task; of an attempt that was followed by another one, its number too."""
    last = newest[attempt.task_id] is attempt
    return attempt.task_id if last else f"{attempt.task_id} ({attempt.generation})"


def _call(pump: Pump, attempt: Attempt, label: str) -> Call:
    view = pump.scheduler.books.endpoints.views.get(attempt.endpoint) if attempt.endpoint is not None else None
    local = view is not None and view.spec.local
    place = WORKERS if attempt.endpoint is None else view.spec.host if view is not None and local else attempt.endpoint
    return Call(
        label=label,
        host=place,
        model=attempt.model,
        start_ms=attempt.started_ms or attempt.assigned_ms,
        end_ms=attempt.finished_ms,
        cloud=not local,
    )


async def _changes(pump: Pump, store: Store, after_seq: int, until_ms: int, hosts: set[str]) -> list[Change]:
    """Loads and unloads on these hosts, from an event on. O(events since then)."""
    changes: list[Change] = []
    while page := await store.events(after_seq=after_seq, limit=EVENTS_AT_ONCE):
        changes += [change for event in page for change in _of_event(pump, event) if change.host in hosts]
        after_seq = page[-1].seq
        if page[-1].at_ms > until_ms:
            break
    return [change for change in changes if change.at_ms <= until_ms]


def _of_event(pump: Pump, event: Event) -> list[Change]:
    if event.name == "endpoint.resident":
        return _seen(pump, event)
    return [_change(event)] if event.name in ("model.loaded", "model.unloaded") else []


def _seen(pump: Pump, event: Event) -> list[Change]:
    """What a listing showed to have come or gone."""
    view = pump.scheduler.books.endpoints.views.get(str(event.metadata["endpoint"]))
    if view is None:
        return []
    names = [(loaded, str(event.metadata["loaded" if loaded else "unloaded"])) for loaded in (True, False)]
    return [
        Change(host=view.spec.host, model=model, at_ms=event.at_ms, loaded=loaded, seen=True)
        for loaded, text in names
        for model in text.split(", ")
        if model
    ]


def _change(event: Event) -> Change:
    loaded = event.name == "model.loaded"
    return Change(
        host=str(event.metadata["host"]),
        model=str(event.metadata["model"]),
        at_ms=event.at_ms,
        loaded=loaded,
        took_ms=int(event.measurements["load_ms" if loaded else "unload_ms"]),
    )
