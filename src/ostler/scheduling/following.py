"""Plans in force: their order is followed, their instants are not, and when they no longer fit a new one is asked for.

    adopt     the tasks of the batch are served in the order of the plan, inside one priority
    guide     see `guiding`: what is loaded next, and what stays
    watch     what happened in this signal is held against each plan: late, failed, a host gone or back, a failed load
    replan    one effect for all that a plan did not foresee within `REPLAN_PAUSE_MS`; the answer is another `adopt`

Work that is in no plan is served as ever. Cost: `watch` looks at the events of the signal alone; without a plan in
force nothing here costs more than a look at an empty dict.
"""

from collections.abc import Iterator

from ostler.domain.event import Event, Scalar
from ostler.domain.states import LEASED_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.planning.guide import Deviation, Guide
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Apply, Assign, Emit, Replan
from ostler.scheduling.followed import Followed, place_of
from ostler.scheduling.intake import class_key, place
from ostler.scheduling.signals import PlanAdopted, PlanDropped
from ostler.scheduling.timers import TimerKind

REPLAN_PAUSE_MS = 10_000
"""Between two new plans of one batch: what goes wrong often goes wrong in several places at once."""

_ENDED = frozenset({"task.succeeded", "task.failed", "task.dead_letter", "task.expired", "task.cancelled"})
_AGAIN = frozenset({"task.retry_wait", "task.reclaimed"})


def told(turn: Turn, signal: PlanAdopted | PlanDropped) -> None:
    """A plan is in force, or is so no longer."""
    if isinstance(signal, PlanAdopted):
        adopt(turn, signal.guide)
    else:
        drop(turn, signal.batch, signal.reason)


def adopt(turn: Turn, guide: Guide) -> None:
    """Follow a plan from now on, in place of the one before."""
    books = turn.books
    open_tasks = [books.tasks[row.task] for row in guide.placements if row.task in books.tasks]
    before = books.following.get(guide.batch)
    followed = Followed(guide, {task.id: task.seq for task in open_tasks}, _usable(turn))
    if before is not None and before.guide.version > guide.version:
        return
    books.following[guide.batch] = followed
    followed.finished.update(row.task for row in guide.placements if row.task not in books.tasks)
    _put_in_place(turn, followed)
    for task in open_tasks:
        if task.state is TaskState.RUNNING:
            _expect(turn, followed, task)
    _let_go(turn, guide.batch)
    books.hosts.dirty = True
    measurements = {"makespan_ms": guide.makespan_ms, "bound_ms": guide.bound_ms}
    meta: dict[str, Scalar] = {
        "batch": guide.batch,
        "version": guide.version,
        "tasks": len(guide.placements),
        "strategy": guide.strategy,
        "reason": guide.reason,
    }
    turn.emit(Event(name="plan.adopted", at_ms=turn.now_ms, measurements=measurements, metadata=meta))
    _close_if_done(turn, followed)


def _usable(turn: Turn) -> set[str]:
    """Endpoints that can be used now, and their hosts."""
    usable = [view for view in turn.books.endpoints.views.values() if turn.books.endpoints.is_usable(view.spec.name)]
    return {view.spec.name for view in usable} | {view.spec.host for view in usable}


def drop(turn: Turn, batch: str, reason: str) -> None:
    """Follow the plan of a batch no longer: its tasks go on by the rule, in the order in which they came."""
    followed = turn.books.following.pop(batch, None)
    _let_go(turn, batch)
    if followed is None:
        return
    _forget(turn, followed)
    _put_in_place(turn, followed)
    turn.emit(Event(name="plan.dropped", at_ms=turn.now_ms, metadata={"batch": batch, "reason": reason}))


def _let_go(turn: Turn, batch: str) -> None:
    """Tasks need not wait for the plan of their run any longer."""
    books = turn.books
    waiting = [name for name in books.unplanned if books.tasks[name].batch == batch]
    for name in waiting:
        del books.unplanned[name]
        if books.tasks[name].state in (TaskState.QUEUED, TaskState.SCHEDULED):
            place(turn, books.tasks[name])


def _put_in_place(turn: Turn, followed: Followed) -> None:
    """Have the waiting tasks of a plan wait where they now belong, and look anew at what those to come will want."""
    books = turn.books
    for name in followed.places:
        if name in books.hosts.coming:
            books.hosts.coming[name] = None
            books.hosts.dirty = True
        if name in books.queue:
            task = books.tasks[name]
            books.queue.remove(name)
            books.queue.push(
                name,
                class_key(books, task),
                int(task.priority),
                place_of(books.following, task, books.paths.place(task)),
            )


def watch(turn: Turn) -> None:
    """Hold what this signal has brought about against the plans in force."""
    if not turn.books.following:
        return
    for event in list(_events(turn)):
        if event.task_id is not None:
            _watch_task(turn, event)
        elif event.name in ("endpoint.down", "endpoint.up", "model.load_failed"):
            _watch_host(turn, event)
    for followed in list(turn.books.following.values()):
        _ask(turn, followed)


def _events(turn: Turn) -> Iterator[Event]:
    for effect in turn.effects:
        if isinstance(effect, Emit):
            yield effect.event
        elif isinstance(effect, Apply | Assign):
            yield from getattr(effect.command, "events", ())


def _watch_task(turn: Turn, event: Event) -> None:
    books, task_id = turn.books, event.task_id or ""
    followed = next((one for one in books.following.values() if task_id in one.places), None)
    if followed is None:
        return
    if event.name == "task.started":
        _expect(turn, followed, books.tasks[task_id])
    elif event.name in _ENDED:
        books.timers.cancel(TimerKind.LATE, task_id)
        followed.finished.add(task_id)
        books.hosts.dirty = True
        if event.name != "task.succeeded":
            _leave(turn, followed, Deviation.FAILED, task_id)
        _close_if_done(turn, followed)
    elif event.name in _AGAIN:
        books.timers.cancel(TimerKind.LATE, task_id)
        _leave(turn, followed, Deviation.FAILED, task_id)


def _watch_host(turn: Turn, event: Event) -> None:
    endpoint = str(event.metadata.get("endpoint"))
    view = turn.books.endpoints.views.get(endpoint)
    host = view.spec.host if view is not None else str(event.metadata.get("host"))
    for followed in list(turn.books.following.values()):
        names = {host, endpoint}
        if event.name == "endpoint.up":
            if names & followed.gone or not names & followed.known:
                followed.gone -= names
                followed.known |= names
                _leave(turn, followed, Deviation.HOST_BACK, host)
        elif names & followed.hosts and event.name == "endpoint.down":
            followed.gone |= names & followed.hosts
            _leave(turn, followed, Deviation.HOST_GONE, host)
        elif names & followed.hosts:
            _leave(turn, followed, Deviation.SWAP_FAILED, f"{event.metadata.get('model')} on {host}")


def _expect(turn: Turn, followed: Followed, task: Task) -> None:
    """Set the instant from which a running task is late."""
    allowed_ms = followed.allowed_ms.get(task.id)
    if allowed_ms is None:
        return
    begun_ms = max(task.started_ms or turn.now_ms, followed.guide.started_ms)
    turn.books.timers.set(TimerKind.LATE, task.id, begun_ms + allowed_ms)


def due(turn: Turn, kind: TimerKind, name: str) -> None:
    """A timer of a plan fired: a task is late. The other kind only wakes `watch`, which asks for what is due."""
    task = turn.books.tasks.get(name)
    if kind is not TimerKind.LATE or task is None or task.state not in LEASED_STATES:
        return
    followed = turn.books.following.get(task.batch or "")
    if followed is not None:
        _leave(turn, followed, Deviation.LATE, name)


def _leave(turn: Turn, followed: Followed, cause: Deviation, what: str) -> None:
    """Reality left a plan: say so."""
    followed.reasons.append(f"{cause.value}: {what}")
    turn.emit(
        Event(
            name="plan.left",
            at_ms=turn.now_ms,
            metadata={
                "batch": followed.guide.batch,
                "version": followed.guide.version,
                "cause": cause.value,
                "what": what,
            },
        )
    )


def _ask(turn: Turn, followed: Followed) -> None:
    """Ask for a new plan if there is reason to: now, or when the pause since the last time is over."""
    batch, now_ms = followed.guide.batch, turn.now_ms
    if not followed.reasons:
        return
    due_ms = now_ms if followed.asked_ms is None else followed.asked_ms + REPLAN_PAUSE_MS
    if due_ms > now_ms:
        turn.books.timers.set(TimerKind.REPLAN, batch, due_ms)
        return
    more = f" and {len(followed.reasons) - 1} more" if len(followed.reasons) > 1 else ""
    turn.effects.append(Replan(batch=batch, version=followed.guide.version + 1, reason=followed.reasons[0] + more))
    followed.asked_ms = now_ms
    followed.reasons.clear()


def _close_if_done(turn: Turn, followed: Followed) -> None:
    guide = followed.guide
    if any(row.task not in followed.finished for row in guide.placements):
        return
    turn.books.following.pop(guide.batch, None)
    _forget(turn, followed)
    measurements = {"planned_ms": guide.makespan_ms, "actual_ms": turn.now_ms - guide.started_ms}
    meta: dict[str, Scalar] = {"batch": guide.batch, "version": guide.version}
    turn.emit(Event(name="plan.ended", at_ms=turn.now_ms, measurements=measurements, metadata=meta))


def _forget(turn: Turn, followed: Followed) -> None:
    turn.books.timers.cancel(TimerKind.REPLAN, followed.guide.batch)
    for task_id in followed.places:
        turn.books.timers.cancel(TimerKind.LATE, task_id)
