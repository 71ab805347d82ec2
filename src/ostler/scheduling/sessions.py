"""The life of worker sessions: joined, silent, suspect, lost, left; and taking over after a restart of the hub.

The session is what is leased, not each task. A worker that misses two heartbeats is suspect: it gets nothing new and
keeps what it has. Only when it was not heard of for as long as its lease (`session_dead_ms`, unless the session itself
says otherwise) is it lost, and all it held is taken back. The time between is its grace.

A daemon that joins again under its lasting name goes on with its session: attempts that it says it still holds stay
with it, the others are taken back at once, because nobody runs them any more.

Silence counts only while the hub listens. After a pause of the hub itself (`after_pause`) the grace of each worker
begins anew; that is always safe, because a worker stops its attempts by its own clock, counted from the last answer
that it had. So a daemon that was killed may leave its work running for the next one: whoever ends it in time counts
from the same answer.
"""

from collections.abc import Sequence

import msgspec

from ostler.domain.commands import DropSession, PutSessions
from ostler.domain.event import Event
from ostler.domain.fleet import HostReport, Session
from ostler.domain.states import LEASED_STATES, TaskState
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Apply, Stop
from ostler.scheduling.intake import CANCEL_GRACE_MS, Settled, accept
from ostler.scheduling.outcomes import adopt, take_back
from ostler.scheduling.queue import WORKERS, slot_of
from ostler.scheduling.timers import TimerKind
from ostler.scheduling.workers import WorkerState


def joined(turn: Turn, session: Session) -> None:
    """A worker joined, or joined again under the session it has."""
    books = turn.books
    known = books.workers.states.get(session.id)
    holds = frozenset((held.task_id, held.generation) for held in session.offer.holds)
    session = msgspec.structs.replace(session, offer=msgspec.structs.replace(session.offer, holds=()))
    books.workers.join(session, turn.now_ms)
    turn.effects.append(Apply(command=PutSessions(sessions=(session,))))
    if known is None:
        turn.emit(_event("worker.joined", turn.now_ms, session))
    else:
        _resumed(turn, known, holds)
    _watch(turn, session.id)
    books.queue.free(WORKERS, session.id)
    _welcome(turn, session)


def _welcome(turn: Turn, session: Session) -> None:
    """There is a worker more for those that wait for a free slot."""
    for kind in session.offer.slots:
        turn.books.queue.free(slot_of(kind), session.id)


def _resumed(turn: Turn, state: WorkerState, holds: frozenset[tuple[str, int]]) -> None:
    """A daemon is back: it keeps what it holds."""
    gone = [key for key in state.attempts.items() if key not in holds]
    counts = {"adopted": len(state.attempts) - len(gone), "taken_back": len(gone)}
    turn.emit(_event("worker.resumed", turn.now_ms, state.session, counts))
    reason = f"worker {state.session.offer.name} came back without it"
    for task_id, generation in gone:
        task = turn.books.tasks.get(task_id)
        if task is not None and task.generation == generation:
            take_back(turn, task, reason, stop=False)  # there is nobody to stop it
    # What it holds and should not: a wish to end it may have gone to the process before, and is told again.
    kept = {key for key in state.attempts.items() if key[0] not in turn.books.cancelling}
    for task_id, generation in sorted(holds - kept):
        turn.effects.append(Stop(session_id=state.session.id, task_id=task_id, generation=generation))


def renewed(turn: Turn, session_id: str, report: HostReport | None) -> None:
    """A heartbeat came; unknown sessions are told so by the shell."""
    books = turn.books
    state = books.workers.states.get(session_id)
    if state is None:
        return
    silent_ms, state.seen_ms = turn.now_ms - state.seen_ms, turn.now_ms
    if report is not None:
        books.workers.reported(session_id, report)
    if state.suspect:
        books.workers.set_suspect(session_id, None)
        _welcome(turn, state.session)
        counts = {"silent_ms": silent_ms, "attempts": len(state.attempts)}
        turn.emit(_event("worker.returned", turn.now_ms, state.session, counts))


def session_due(turn: Turn, session_id: str) -> None:
    """The timer of a session fired: it may be silent."""
    books = turn.books
    state = books.workers.states.get(session_id)
    if state is None:
        return
    silent_ms = turn.now_ms - state.seen_ms
    lease_ms = books.lease_ms(state.session)
    if silent_ms >= lease_ms:
        _lost(turn, session_id, silent_ms)
        return
    if silent_ms >= 2 * _heartbeat_ms(turn, state) and not state.suspect:
        books.workers.set_suspect(session_id, turn.now_ms)
        grace_ms = lease_ms - silent_ms
        counts = {"silent_ms": silent_ms, "attempts": len(state.attempts), "grace_ms": grace_ms}
        turn.emit(_event("worker.suspect", turn.now_ms, state.session, counts))
    _watch(turn, session_id)


def after_pause(turn: Turn) -> None:
    """Called before anything else is made of a signal: blame no worker for a time in which the hub itself was away.

    It was when its next timer is overdue by a heartbeat, or when the clock was put back. Whoever seems silent then may
    have called all the time. Terms that wait for a worker's answer begin anew as well.
    """
    books = turn.books
    heartbeat_ms = books.policy.scheduler.heartbeat_ms
    due_ms = books.timers.next_ms()
    stalled_ms = turn.now_ms - due_ms if due_ms is not None else 0
    put_back_ms = books.listened_ms - turn.now_ms if books.listened_ms is not None else 0
    books.listened_ms = turn.now_ms
    if not books.workers.states or max(stalled_ms, put_back_ms) < heartbeat_ms:
        return
    turn.emit(
        Event(
            name="hub.stalled",
            at_ms=turn.now_ms,
            measurements={"stalled_ms": max(0, stalled_ms), "workers": len(books.workers)},
        )
    )
    for session_id, state in books.workers.states.items():
        state.seen_ms = turn.now_ms
        _watch(turn, session_id)
        for task_id in state.attempts:
            _renew_term(turn, task_id)


def _renew_term(turn: Turn, task_id: str) -> None:
    books = turn.books
    task = books.tasks.get(task_id)
    if task is not None and task.state is TaskState.ASSIGNED:
        books.timers.set(TimerKind.ASSIGN, task_id, turn.now_ms + books.policy.scheduler.assign_timeout_ms)
    if books.timers.due_ms(TimerKind.CANCEL, task_id) is not None:
        books.timers.set(TimerKind.CANCEL, task_id, turn.now_ms + CANCEL_GRACE_MS)


def _watch(turn: Turn, session_id: str) -> None:
    """Look at a session again when it would become suspect, or dead; at a suspect one with each heartbeat, so that a
    pause of the hub itself is noticed.
    """
    books = turn.books
    state = books.workers.states[session_id]
    heartbeat_ms = _heartbeat_ms(turn, state)
    suspect_ms = state.seen_ms + 2 * heartbeat_ms
    dead_ms = state.seen_ms + books.lease_ms(state.session)
    next_ms = suspect_ms if suspect_ms > turn.now_ms else turn.now_ms + heartbeat_ms
    due_ms = min(next_ms, dead_ms)
    books.timers.set(TimerKind.SESSION, session_id, due_ms)


def _heartbeat_ms(turn: Turn, state: WorkerState) -> int:
    """How often this worker was told to call: a changed profile holds for it from its next join on."""
    return state.session.heartbeat_ms or turn.books.policy.scheduler.heartbeat_ms


def _lost(turn: Turn, session_id: str, silent_ms: int) -> None:
    state = turn.books.workers.states[session_id]
    attempts = dict(state.attempts)
    turn.emit(_event("worker.lost", turn.now_ms, state.session, {"attempts": len(attempts)}))
    reason = f"worker {state.session.offer.name} was silent for {silent_ms / 1000:g} s"
    _drop(turn, state, reason)


def left(turn: Turn, session_id: str, *, died: bool) -> None:
    """A worker left in good order, or was killed: then its companion tells, when nothing of what it ran lives."""
    state = turn.books.workers.states.get(session_id)
    if state is None:
        return
    if died:
        turn.emit(_event("worker.lost", turn.now_ms, state.session, {"attempts": len(state.attempts)}))
    else:
        turn.emit(_event("worker.left", turn.now_ms, state.session))
    _drop(turn, state, f"worker {state.session.offer.name} {'died' if died else 'left'}")


def _drop(turn: Turn, state: WorkerState, reason: str) -> None:
    books, session_id = turn.books, state.session.id
    for task_id, generation in tuple(state.attempts.items()):
        task = books.tasks.get(task_id)
        if task is not None and task.generation == generation:
            take_back(turn, task, reason, stop=False)
    books.workers.leave(session_id)
    books.timers.cancel(TimerKind.SESSION, session_id)
    turn.effects.append(Apply(command=DropSession(session_id=session_id)))


def restore(turn: Turn, tasks: Sequence[Task], sessions: Sequence[Session], settled: Settled, *, alone: bool) -> None:
    """Take over after a restart. `settled`: whether needs on tasks that ended before are met.

    Remote sessions get a full term to show up, with their attempts. A built-in worker died with the old process: its
    attempts are taken back, after all that waits is known, because one of them may be the last of its task. Unless the
    hub is `alone` that process may be frozen and its worker's processes not: they have their lease, and it nothing new.
    """
    books = turn.books
    kept = {session.id for session in sessions if not (alone and session.offer.builtin)}
    for session in sessions:
        if session.id in kept:
            # Longer is the lease of a hub that was alone, whose store was moved here.
            lease_ms = min(session.lease_ms, books.policy.scheduler.session_dead_ms)
            books.workers.join(msgspec.structs.replace(session, lease_ms=lease_ms), turn.now_ms)
            if session.offer.builtin:
                books.workers.set_suspect(session.id, turn.now_ms)
            _watch(turn, session.id)
        else:
            turn.effects.append(Apply(command=DropSession(session_id=session.id)))
    waiting, orphans = list[Task](), list[Task]()
    for task in tasks:
        if task.state not in LEASED_STATES:
            waiting.append(task)
            continue
        attempt = Attempt(
            task_id=task.id,
            generation=task.generation,
            session=task.session or "",
            worker=task.worker or "",
            tier=task.tier or "",
            endpoint=task.endpoint,
            model=task.model,
            assigned_ms=task.updated_ms,
            started_ms=task.started_ms,
        )
        books.tasks[task.id] = task
        if task.session in kept:
            adopt(books, task, attempt)
            if task.started_ms is None:
                due_ms = turn.now_ms + books.policy.scheduler.assign_timeout_ms
                books.timers.set(TimerKind.ASSIGN, task.id, due_ms)
        else:
            if task.facts.kind is not TaskKind.AGENT:
                books.take_slot(task.endpoint, task.model)
            books.batches.take(task)
            books.attempts[task.id] = attempt
            orphans.append(task)
    accept(turn, waiting, settled)
    for task in orphans:
        take_back(turn, task, "the hub restarted and its worker with it", stop=False)


def _event(name: str, now_ms: int, session: Session, measurements: dict[str, int] | None = None) -> Event:
    meta = {"session": session.id, "worker": session.offer.name, "host": session.offer.host}
    return Event(name=name, at_ms=now_ms, measurements=measurements or {}, metadata=meta)
