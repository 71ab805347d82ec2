"""A hub in memory, with what a test needs to steer it: the other end of a worker's link, and a record of all it heard.

It behaves as a hub should: an assignment is handed out again until its start is reported, a report is kept however
often it comes, a session it gave up is not found. On request it is out of reach, slow to answer, or refuses.
"""

import asyncio
import itertools
from collections.abc import Sequence

from ostler.domain.errors import NotFoundError, OstlerError, UnreachableError
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.tasks import TaskSpec
from ostler.domain.work import Assignment, Finished, Poll, Report, Started
from ostler.workers.outbox import key_of
from ostler.workers.run import Key
from ostler.workers.timing import SystemTiming, Timing, first


class FakeHub:
    """State of the hub; `link` gives a worker's view on it."""

    def __init__(self, timing: Timing | None = None, *, lease_ms: int = 15_000) -> None:
        self.timing = timing or SystemTiming()
        self.lease_ms = lease_ms
        self.sessions: dict[str, Session] = {}
        self.left: list[str] = []
        self.offers: list[WorkerOffer] = []
        """What was said at each join."""
        self.work: dict[str, dict[Key, Assignment]] = {}
        self.cancels: dict[str, dict[Key, None]] = {}
        self.heard: list[tuple[str, Report]] = []
        self.beats: list[tuple[str, int, HostReport | None]] = []
        self.calls: list[str] = []
        self.drain = False
        self.is_down = False
        self.refusals: dict[str, list[OstlerError]] = {}
        """Method -> errors for its next calls."""
        self.silent: set[str] = set()
        """Methods that get no answer at all."""
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()

    def give(self, assignment: Assignment, session_id: str | None = None) -> Assignment:
        """Assign an attempt to a session, by default to the newest."""
        session = session_id or next(reversed(self.sessions))
        self.work[session][assignment.task_id, assignment.generation] = assignment
        self._wake()
        return assignment

    def cancel(self, task_id: str, generation: int) -> None:
        """Ask every session to stop an attempt."""
        for cancels in self.cancels.values():
            cancels[task_id, generation] = None
        self._wake()

    def forget(self, session_id: str) -> None:
        """Give a session up."""
        del self.sessions[session_id], self.work[session_id], self.cancels[session_id]
        self._wake()

    def reports(self, kind: type[Report] | None = None) -> list[Report]:
        """What was reported, in order; repetitions left out."""
        seen: list[Report] = []
        for _, report in self.heard:
            if (kind is None or isinstance(report, kind)) and report not in seen:
                seen.append(report)
        return seen

    def ends(self) -> dict[Key, Finished]:
        """The end of each attempt that was reported as ended."""
        return {key_of(report): report for report in self.reports() if isinstance(report, Finished)}

    def is_started(self, task_id: str, generation: int = 1) -> bool:
        """Whether the start of an attempt was reported."""
        key = (task_id, generation)
        return any(isinstance(report, Started) and key_of(report) == key for report in self.reports())

    async def enter(self, method: str, session_id: str | None = None) -> None:
        """What comes before every answer."""
        self.calls.append(method)
        if method in self.silent:
            await asyncio.Event().wait()
        if self.is_down:
            raise UnreachableError("no answer", where="fake hub")
        if self.refusals.get(method):
            raise self.refusals[method].pop(0)
        if session_id is not None and session_id not in self.sessions:
            raise NotFoundError(f"no session '{session_id}'", remedy="join again")

    def new_session(self, offer: WorkerOffer) -> Session:
        """Open a session."""
        now_ms = self.timing.now_ms()
        self.offers.append(offer)
        session = Session(id=f"s{next(self._ids)}", offer=offer, joined_ms=now_ms, renewed_ms=now_ms)
        self.sessions[session.id] = session
        self.work[session.id] = {}
        self.cancels[session.id] = {}
        return session

    def poll_of(self, session_id: str) -> Poll:
        """What there is for a session now."""
        return Poll(
            assignments=tuple(self.work[session_id].values()),
            cancel=tuple(self.cancels[session_id]),
            lease_ms=self.lease_ms,
            drain=self.drain,
        )

    def hear(self, session_id: str, report: Report) -> None:
        """Take a report for good."""
        self.heard.append((session_id, report))
        key = key_of(report)
        if isinstance(report, Started | Finished):
            for work in self.work.values():
                work.pop(key, None)
        if isinstance(report, Finished):
            for cancels in self.cancels.values():
                cancels.pop(key, None)

    @property
    def next_change(self) -> asyncio.Event:
        """Set when there may be news for somebody; take it before looking, so that none is missed."""
        return self._changed

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class FakeLink:
    """A worker's link to a `FakeHub`."""

    def __init__(self, hub: FakeHub) -> None:
        self._hub = hub

    async def join(self, offer: WorkerOffer) -> Session:
        await self._hub.enter("join")
        return self._hub.new_session(offer)

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        await self._hub.enter("heartbeat", session_id)
        self._hub.beats.append((session_id, self._hub.timing.now_ms(), report))
        return self._hub.lease_ms

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        await self._hub.enter("poll", session_id)
        change = self._hub.next_change
        if self._hub.poll_of(session_id) == Poll(lease_ms=self._hub.lease_ms) and wait_ms:
            await first(change.wait(), self._hub.timing.sleep(wait_ms / 1000))
        if session_id not in self._hub.sessions:
            raise NotFoundError(f"no session '{session_id}'", remedy="join again")
        return self._hub.poll_of(session_id)

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        await self._hub.enter("report", session_id)
        for report in reports:
            self._hub.hear(session_id, report)

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        await self._hub.enter("leave")
        self._hub.left.append(session_id)
        if session_id in self._hub.sessions:
            self._hub.forget(session_id)

    async def close(self) -> None:
        self._hub.calls.append("close")


class FakeHubBench:
    """What the conformance suite of links needs, on a fake hub."""

    def __init__(self) -> None:
        self.hub = FakeHub()
        self.link: HubLink = FakeLink(self.hub)
        self._ids = itertools.count(1)

    async def give_work(self, session_id: str) -> None:
        """Assign one more attempt."""
        task_id = f"task-{next(self._ids)}"
        self.hub.give(
            Assignment(task_id=task_id, generation=1, spec=TaskSpec(id=task_id, prompt="hëllo"), tier="standard"),
            session_id,
        )

    async def ask_cancel(self, assignment: Assignment) -> None:
        """Ask for a stop."""
        self.hub.cancel(assignment.task_id, assignment.generation)

    async def lose(self, session_id: str) -> None:
        """Give the session up."""
        self.hub.forget(session_id)

    async def end_of(self, assignment: Assignment) -> bool | None:
        """The reported verdict."""
        end = self.hub.ends().get((assignment.task_id, assignment.generation))
        return None if end is None else end.ok
