"""Joined workers: who allows what, who has a free slot, who is silent. Matching a decided route to a worker.

Invariants: `busy` counts attempts from assignment until they end; a slot is never given twice. Matching prefers the
worker on the decided endpoint's host, then the one that last worked on the repo, then the one with most free slots,
then by name, so that equal states give equal matches. O(workers with a free slot of the kind).
"""

from urllib.parse import urlsplit

import msgspec

from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.tasks import TaskFacts, TaskKind

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class WorkerState(msgspec.Struct, kw_only=True):
    """Books of one session."""

    session: Session
    busy: dict[TaskKind, int]
    attempts: dict[str, int]
    """Task -> generation of attempts it holds."""
    seen_ms: int
    suspect_since_ms: int | None = None
    """Since when it misses heartbeats."""
    report: HostReport | None = None

    def free(self, kind: TaskKind) -> int:
        """Free slots for a kind of work; 0 when it is not allowed there."""
        return self.session.offer.slots.get(kind, 0) - self.busy.get(kind, 0)

    @property
    def suspect(self) -> bool:
        """Whether it misses heartbeats: it gets nothing new, and keeps what it has until its grace is over."""
        return self.suspect_since_ms is not None

    def hosts(self) -> frozenset[str]:
        """All names of its machine."""
        return frozenset({self.session.offer.host, *self.session.offer.host_aliases})


class Workers:
    """All sessions by id."""

    def __init__(self) -> None:
        self.states: dict[str, WorkerState] = {}
        self._free: dict[TaskKind, dict[str, None]] = {kind: {} for kind in TaskKind}

    def __len__(self) -> int:
        return len(self.states)

    def join(self, session: Session, now_ms: int) -> None:
        """Add a session, or refresh what a known one offers."""
        known = self.states.get(session.id)
        if known is not None:
            known.session, known.seen_ms, known.suspect_since_ms = session, now_ms, None
        else:
            self.states[session.id] = WorkerState(session=session, busy={}, attempts={}, seen_ms=now_ms)
        self._index(session.id)

    def of_instance(self, instance: str) -> WorkerState | None:
        """The session of a daemon that goes by this lasting name; `None`: it has none, or says no name."""
        states = (state for state in self.states.values() if state.session.offer.instance == instance)
        return next(states, None) if instance else None

    def leave(self, session_id: str) -> WorkerState | None:
        """Remove a session; returns its books (the attempts to take back)."""
        for free in self._free.values():
            free.pop(session_id, None)
        return self.states.pop(session_id, None)

    def take(self, session_id: str, kind: TaskKind, task_id: str, generation: int) -> None:
        """Give a slot to an attempt."""
        state = self.states[session_id]
        state.busy[kind] = state.busy.get(kind, 0) + 1
        state.attempts[task_id] = generation
        self._index(session_id)

    def release(self, session_id: str, kind: TaskKind, task_id: str) -> bool:
        """Free the slot of an attempt; `False` when the session or the attempt is not known (any more)."""
        state = self.states.get(session_id)
        if state is None or state.attempts.pop(task_id, None) is None:
            return False
        state.busy[kind] -= 1
        self._index(session_id)
        return True

    def match(self, facts: TaskFacts, endpoint: EndpointSpec | None, repo_host: str | None) -> str | None:
        """The session that should run it now, or `None`."""
        best: tuple[bool, bool, int, str, str] | None = None
        for session_id in self._free[facts.kind]:
            state = self.states[session_id]
            if not _suits(state, facts, endpoint):
                continue
            hosts = state.hosts()
            rank = (
                endpoint is None or endpoint.host not in hosts,
                repo_host is None or repo_host not in hosts,
                -state.free(facts.kind),
                state.session.offer.name,
                session_id,
            )
            if best is None or rank < best:
                best = rank
        return None if best is None else best[-1]

    def could_match(self, facts: TaskFacts, endpoint: EndpointSpec | None) -> bool:
        """Whether any joined worker could run it once it has a free slot."""
        return any(
            state.session.offer.slots.get(facts.kind, 0) > 0 and _suits(state, facts, endpoint)
            for state in self.states.values()
        )

    def offers(self, kind: TaskKind) -> list[WorkerOffer]:
        """What the joined workers that take this kind of work at all offer."""
        offers = (state.session.offer for state in self.states.values())
        return [offer for offer in offers if offer.slots.get(kind, 0) > 0]

    def _index(self, session_id: str) -> None:
        state = self.states[session_id]
        for kind, free in self._free.items():
            if state.free(kind) > 0 and not state.suspect:
                free[session_id] = None
            else:
                free.pop(session_id, None)

    def set_suspect(self, session_id: str, since_ms: int | None) -> None:
        """A silent worker gets no new work; a heartbeat clears it."""
        self.states[session_id].suspect_since_ms = since_ms
        self._index(session_id)


def _suits(state: WorkerState, facts: TaskFacts, endpoint: EndpointSpec | None) -> bool:
    offer = state.session.offer
    if facts.worker is not None:
        if offer.name != facts.worker:
            return False
    elif not facts.requires <= offer.capabilities:
        return False
    # Any worker may have a repository that is only a hint; an agent changes it, so its worker must have named it.
    is_bound = bool(offer.repos) or facts.kind is TaskKind.AGENT
    if facts.repo is not None and is_bound and facts.repo not in offer.repos:
        return False
    if facts.kind is TaskKind.AGENT:
        return True  # its calls go to the hub's gateway, wherever the endpoint is
    if endpoint is None or offer.builtin or not endpoint.local:
        return True
    # A loopback address means another machine to every worker but those of its host (and the hub's own).
    return urlsplit(endpoint.url).hostname not in LOOPBACK or endpoint.host in state.hosts()
