"""Joined workers: who allows what, who has a free slot, who is silent. Matching a decided route to a worker.

Invariants: `busy` counts attempts from assignment until they end; a slot is never given twice. Matching prefers the
worker on the decided endpoint's host, then the one that last worked on the repo, then the one with most free slots,
then by name, so that equal states give equal matches. O(workers on that host, and those with a free slot that come
before the first one that suits).
"""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

from ostler.domain.catalog import EndpointSpec, Reach
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.tasks import TaskFacts, TaskKind
from ostler.scheduling.free_workers import FreeWorkers

FEW = 32
"""So many workers are looked at one by one; of more, those beside each endpoint."""
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
        self.reports: dict[str, HostReport] = {}
        """The newest report of each host, by all names of it."""
        self._free = {kind: FreeWorkers() for kind in TaskKind}
        self._instances: dict[str, str] = {}
        self._builtin: set[str] = set()

    def __len__(self) -> int:
        return len(self.states)

    def join(self, session: Session, now_ms: int) -> None:
        """Add a session, or refresh what a known one offers."""
        known = self.states.get(session.id)
        if known is not None:
            self._forget(session.id)
            known.session, known.seen_ms, known.suspect_since_ms = session, now_ms, None
            if known.report is not None:
                self.reported(session.id, known.report)
        else:
            self.states[session.id] = WorkerState(session=session, busy={}, attempts={}, seen_ms=now_ms)
        if session.offer.instance:
            self._instances[session.offer.instance] = session.id
        if session.offer.builtin:
            self._builtin.add(session.id)
        self._index(session.id)

    def of_instance(self, instance: str) -> WorkerState | None:
        """The session of a daemon that goes by this lasting name; `None`: it has none, or says no name."""
        session_id = self._instances.get(instance)
        return None if session_id is None else self.states[session_id]

    def reported(self, session_id: str, report: HostReport) -> None:
        """A worker told the load of its machine."""
        state = self.states[session_id]
        state.report = report
        self.reports.update((host, report) for host in state.hosts())

    def leave(self, session_id: str) -> WorkerState | None:
        """Remove a session; returns its books (the attempts to take back)."""
        if session_id not in self.states:
            return None
        self._forget(session_id)
        return self.states.pop(session_id)

    def take(self, session_id: str, kind: TaskKind, task_id: str, generation: int) -> None:
        """Give a slot to an attempt."""
        state = self.states[session_id]
        state.busy[kind] = state.busy.get(kind, 0) + 1
        state.attempts[task_id] = generation
        self._put(session_id, state, kind)

    def release(self, session_id: str, kind: TaskKind, task_id: str) -> bool:
        """Free the slot of an attempt; `False` when the session or the attempt is not known (any more)."""
        state = self.states.get(session_id)
        if state is None or state.attempts.pop(task_id, None) is None:
            return False
        state.busy[kind] -= 1
        self._put(session_id, state, kind)
        return True

    def match(self, facts: TaskFacts, endpoint: EndpointSpec | None, repo_host: str | None) -> str | None:
        """The session that should run it now, or `None`."""
        free = self._free[facts.kind]
        for host in (endpoint.host if endpoint is not None else None, repo_host):
            ranked = [
                ((repo_host is None or repo_host not in self.states[one].hosts(), *place), one)
                for one, place in (free.on(host).items() if host is not None else ())
                if _suits(self.states[one], facts, endpoint)
            ]
            if ranked:
                return min(ranked)[1]
        return next((one for one in free.in_order() if _suits(self.states[one], facts, endpoint)), None)

    def any_suits(self, facts: TaskFacts) -> bool:
        """Whether any session with a free slot could run it, wherever its model is. O(those that could not)."""
        return any(_suits(self.states[one], facts, None) for one in self._free[facts.kind].in_order())

    def few_free(self, facts: TaskFacts) -> list[str] | None:
        """The sessions with a free slot that could run it, wherever its model is; `None` when there are too many to
        look at one by one.
        """
        free = self._free[facts.kind]
        if len(free) > FEW:
            return None
        return [one for one in free.in_order() if _suits(self.states[one], facts, None)]

    def is_free(self, session_id: str, kind: TaskKind) -> bool:
        """Whether a session has a free slot for a kind of work."""
        return session_id in self._free[kind]

    def is_any_free(self, kind: TaskKind) -> bool:
        """Whether any has."""
        return len(self._free[kind]) > 0

    def any_at(self, endpoint: EndpointSpec, facts: TaskFacts) -> bool:
        """Whether any session with a free slot could run it at an endpoint that is tied to its machine."""
        free = self._free[facts.kind]
        return any(_suits(self.states[one], facts, endpoint) for one in free.on(endpoint.host)) or any(
            one in free and _suits(self.states[one], facts, endpoint) for one in self._builtin
        )

    def unreached(self, facts: TaskFacts, tied: Iterable[EndpointSpec]) -> frozenset[str]:
        """Those of the endpoints tied to their machine that no worker reaches who has a slot free for it. Empty while
        nobody has: then it is not the place that matters. O(endpoints).
        """
        free = self._free[facts.kind]
        if facts.kind is TaskKind.AGENT or not len(free):
            return frozenset()
        own = any(one in free and _suits(self.states[one], facts, None) for one in self._builtin)
        hosts: dict[str, bool] = {}
        found = []
        for spec in tied:
            reached = hosts.get(spec.host)
            if reached is None:
                there = free.on(spec.host)
                reached = hosts[spec.host] = any(_suits(self.states[one], facts, None) for one in there)
            if not reached and not (own and _is_the_hub_s(spec)):
                found.append(spec.name)
        return frozenset(found)

    def could_match(self, facts: TaskFacts, *places: EndpointSpec | None) -> bool:
        """Whether any joined worker could run it at one of these places once it has a free slot; without any, wherever
        its model is. O(workers + places).
        """
        tied = [spec for spec in places if spec is not None and is_tied(spec)]
        anywhere = facts.kind is TaskKind.AGENT or len(tied) < len(places) or not places
        hosts, own = {spec.host for spec in tied}, any(_is_the_hub_s(spec) for spec in tied)
        return any(
            state.session.offer.slots.get(facts.kind, 0) > 0
            and _suits(state, facts, None)
            and (anywhere or not hosts.isdisjoint(state.hosts()) or (own and state.session.offer.builtin))
            for state in self.states.values()
        )

    def offers(self, kind: TaskKind) -> list[WorkerOffer]:
        """What the joined workers that take this kind of work at all offer."""
        offers = (state.session.offer for state in self.states.values())
        return [offer for offer in offers if offer.slots.get(kind, 0) > 0]

    def _index(self, session_id: str) -> None:
        state = self.states[session_id]
        for kind in self._free:
            self._put(session_id, state, kind)

    def _put(self, session_id: str, state: WorkerState, kind: TaskKind) -> None:
        slots = 0 if state.suspect else state.free(kind)
        self._free[kind].put(session_id, slots, state.session.offer.name, state.hosts())

    def _forget(self, session_id: str) -> None:
        state = self.states[session_id]
        self._builtin.discard(session_id)
        for free in self._free.values():
            free.put(session_id, 0, "", state.hosts())
        for host in state.hosts():
            if state.report is not None and self.reports.get(host) is state.report:
                del self.reports[host]
        if self._instances.get(state.session.offer.instance) == session_id:
            del self._instances[state.session.offer.instance]

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
    if endpoint is None or not is_tied(endpoint):
        return True
    return endpoint.host in state.hosts() or (offer.builtin and _is_the_hub_s(endpoint))


def is_tied(endpoint: EndpointSpec) -> bool:
    """Whether only workers of its host reach an endpoint: the profile says so, or its address means another machine to
    everybody else (but to the hub's own worker).
    """
    return endpoint.reached_by is Reach.WORKER or (endpoint.local and _is_loopback(endpoint.url))


def _is_the_hub_s(endpoint: EndpointSpec) -> bool:
    """Of a tied one: whether its address is what the hub itself calls it by."""
    return endpoint.reached_by is Reach.HUB


@lru_cache(maxsize=1024)
def _is_loopback(url: str) -> bool:
    """Asked for each worker that is looked at."""
    return urlsplit(url).hostname in LOOPBACK
