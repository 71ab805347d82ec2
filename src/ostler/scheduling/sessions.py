"""The life of worker sessions: joined, silent, suspect, lost, left; and taking over after a restart of the hub.

The session is what is leased, not each task: a worker that is not heard of for `session_dead_ms` is dead, and all it
held is taken back at once. Before that it is suspect and gets nothing new.
"""

from collections.abc import Sequence

from ostler.domain.commands import DropSession, PutSessions
from ostler.domain.event import Event
from ostler.domain.fleet import HostReport, Session
from ostler.domain.states import LEASED_STATES
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.scheduling.books import Turn
from ostler.scheduling.effects import Apply
from ostler.scheduling.intake import Settled, accept
from ostler.scheduling.outcomes import adopt, take_back
from ostler.scheduling.queue import WORKERS
from ostler.scheduling.timers import TimerKind
from ostler.scheduling.workers import WorkerState


def joined(turn: Turn, session: Session) -> None:
    """A worker joined."""
    books = turn.books
    books.workers.join(session, turn.now_ms)
    turn.effects.append(Apply(command=PutSessions(sessions=(session,))))
    turn.emit(_event("worker.joined", turn.now_ms, session))
    _watch(turn, session.id)
    books.queue.open_blocked_on(WORKERS)


def renewed(turn: Turn, session_id: str, report: HostReport | None) -> None:
    """A heartbeat came; unknown sessions are told so by the shell."""
    books = turn.books
    state = books.workers.states.get(session_id)
    if state is None:
        return
    state.seen_ms = turn.now_ms
    if report is not None:
        state.report = report
    if state.suspect:
        books.workers.set_suspect(session_id, suspect=False)
        books.queue.open_blocked_on(WORKERS)


def session_due(turn: Turn, session_id: str) -> None:
    """The timer of a session fired: it may be silent."""
    books = turn.books
    state = books.workers.states.get(session_id)
    if state is None:
        return
    silent_ms = turn.now_ms - state.seen_ms
    policy = books.policy.scheduler
    if silent_ms >= policy.session_dead_ms:
        _lost(turn, session_id, silent_ms)
        return
    if silent_ms >= 2 * policy.heartbeat_ms and not state.suspect:
        books.workers.set_suspect(session_id, suspect=True)
        turn.emit(_event("worker.suspect", turn.now_ms, state.session, {"silent_ms": silent_ms}))
    _watch(turn, session_id)


def _watch(turn: Turn, session_id: str) -> None:
    """Look at a session again when it would become suspect, or dead."""
    books, policy = turn.books, turn.books.policy.scheduler
    state = books.workers.states[session_id]
    suspect_ms = state.seen_ms + 2 * policy.heartbeat_ms
    dead_ms = state.seen_ms + policy.session_dead_ms
    due_ms = min(suspect_ms, dead_ms) if suspect_ms > turn.now_ms else dead_ms
    books.timers.set(TimerKind.SESSION, session_id, due_ms)


def _lost(turn: Turn, session_id: str, silent_ms: int) -> None:
    state = turn.books.workers.states[session_id]
    attempts = dict(state.attempts)
    turn.emit(_event("worker.lost", turn.now_ms, state.session, {"attempts": len(attempts)}))
    reason = f"worker {state.session.offer.name} was silent for {silent_ms / 1000:g} s"
    _drop(turn, state, reason)


def left(turn: Turn, session_id: str) -> None:
    """A worker left in good order."""
    state = turn.books.workers.states.get(session_id)
    if state is None:
        return
    turn.emit(_event("worker.left", turn.now_ms, state.session))
    _drop(turn, state, f"worker {state.session.offer.name} left")


def _drop(turn: Turn, state: WorkerState, reason: str) -> None:
    books, session_id = turn.books, state.session.id
    for task_id, generation in tuple(state.attempts.items()):
        task = books.tasks.get(task_id)
        if task is not None and task.generation == generation:
            take_back(turn, task, reason, stop=False)
    books.workers.leave(session_id)
    books.timers.cancel(TimerKind.SESSION, session_id)
    turn.effects.append(Apply(command=DropSession(session_id=session_id)))


def restore(turn: Turn, tasks: Sequence[Task], sessions: Sequence[Session], settled: Settled) -> None:
    """Take over after a restart. `settled`: whether needs on tasks that ended before are met.

    Remote sessions get a full term to show up, with their attempts. A built-in worker died with the old process: its
    attempts are taken back, after all that waits is known, because one of them may be the last of its task.
    """
    books = turn.books
    remote = {session.id for session in sessions if not session.offer.builtin}
    for session in sessions:
        if session.id in remote:
            books.workers.join(session, turn.now_ms)
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
        if task.session in remote:
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
