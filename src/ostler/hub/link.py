"""The hub's side of a worker's link, called directly by the built-in worker and by the HTTP routes for remote ones."""

import secrets
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.work import Finished, Poll, Report
from ostler.hub.life_signs import LifeSigns
from ostler.hub.listings import Listings
from ostler.hub.outbox import Outbox
from ostler.hub.pump import Pump
from ostler.scheduling.signals import Reported, ReportsCame, WorkerJoined, WorkerLeft, WorkerRenewed

MAX_POLL_MS = 30_000
ALONE_LEASE_MS = 30 * 24 * 3_600_000
"""Of the worker inside a hub that nobody can replace while its process lives."""


class LocalLink:
    """`HubLink` in the hub's own process."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self.signs = LifeSigns()
        self.listings = Listings(pump)
        self.as_taken: Callable[[Report], Report] = lambda report: report
        """How a report is taken, where the hub knows more of its attempt than the worker."""

    async def join(self, offer: WorkerOffer) -> Session:
        """Open a session, or go on with the one that this very daemon has; it is durable when this returns.

        The worker inside the hub stops and goes on with it. Where the hub is alone, nobody can have been given its work
        while both were away (a machine that slept, a disk that hung), so that there is no need to end any of it. Where
        another hub may lead meanwhile, it has no longer than that one waits.

        Raises `ConflictError` when a later process of the daemon has joined.
        """
        now_ms = self._pump.clock.now_ms()
        known = self._pump.scheduler.books.workers.of_instance(offer.instance)
        if known is not None and _is_overtaken(offer, known.session.offer):
            return known.session
        session_id = known.session.id if known is not None else f"s-{secrets.token_hex(6)}"
        joined_ms = known.session.joined_ms if known is not None else now_ms
        session = Session(
            id=session_id,
            offer=offer,
            joined_ms=joined_ms,
            renewed_ms=now_ms,
            heartbeat_ms=self._pump.scheduler.books.policy.scheduler.heartbeat_ms,
            lease_ms=self._inside_ms() if offer.builtin else 0,
        )
        self._pump.outboxes[session.id] = Outbox()
        await self._pump.post(WorkerJoined(session=session))
        return session

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        """Renew a session; returns how long it may act without another answer, in milliseconds."""
        self._known(session_id)
        listings = report.listings if report is not None else ()
        if report is not None and listings:
            report = replace(report, listings=())
        await self._pump.post(WorkerRenewed(session_id=session_id, report=report))
        await self.listings.take(session_id, listings)
        return self._lease_ms(session_id)

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        """Fetch the mail of a session."""
        outbox = self._known(session_id)
        wait_ms = 0 if self.listings.has_news(session_id) else min(max(0, wait_ms), MAX_POLL_MS)
        poll = await outbox.fetch(wait_ms, self._lease_ms(session_id))
        wanted = self.listings.ask(session_id)
        return replace(poll, watch=wanted) if wanted else poll

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        """Take reports in; they are durable when this returns. Of attempts that were given to others since, they are
        kept as late reports: a worker sends them under its next session.
        """
        outbox = self._known(session_id)
        for report in reports:
            outbox.confirm(report.task_id, report.generation, ended=isinstance(report, Finished))
            self.signs.heard(report, self._pump.clock.now_ms())
        taken = tuple(self.as_taken(report) for report in reports)
        if not taken:
            return
        signal = (
            Reported(session_id=session_id, report=taken[0])
            if len(taken) == 1
            else ReportsCame(session_id=session_id, reports=taken)
        )
        if not await self._pump.post(signal):
            # All of it came before, but what it did may not be stored yet, and the worker forgets it now.
            await self._pump.committer.settled()

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        """Close a session. From a process that another one has followed it is no news."""
        state = self._pump.scheduler.books.workers.states.get(session_id)
        if state is not None:
            if life and life != state.session.offer.life:
                return
            await self._pump.post(WorkerLeft(session_id=session_id, died=died))
        self._pump.outboxes.pop(session_id, None)

    async def close(self) -> None:
        """Nothing to close."""

    def _inside_ms(self) -> int:
        takeover_ms = self._pump.takeover_ms
        return min(takeover_ms, self._pump.scheduler.books.policy.scheduler.session_dead_ms) or ALONE_LEASE_MS

    def _lease_ms(self, session_id: str) -> int:
        books = self._pump.scheduler.books
        state = books.workers.states.get(session_id)
        return books.lease_ms(state.session) if state is not None else books.policy.scheduler.session_dead_ms

    def _known(self, session_id: str) -> Outbox:
        """The mail of a session. Raises `NotFoundError` when there is no such session."""
        if session_id not in self._pump.scheduler.books.workers.states:
            self._pump.outboxes.pop(session_id, None)
        outbox = self._pump.outbox_of(session_id)
        if outbox is None:
            raise NotFoundError(f"no worker session {session_id}", remedy="join again")
        return outbox


def _is_overtaken(offer: WorkerOffer, newest: WorkerOffer) -> bool:
    """Whether a join came twice, or after a later one of the same process: it would take back what that one holds.

    Raises `ConflictError` for one of an earlier process. Should the count of starts itself have gone back, as with a
    folder from a backup, the daemon is let in when the session that it cannot go on with is over.
    """
    if offer.life and offer.life == newest.life:
        return offer.joins <= newest.joins
    if 0 < offer.starts < newest.starts:
        what = f"start {offer.starts} of worker {offer.name} comes after its start {newest.starts}"
        raise ConflictError(what, remedy="it joins anew when that one is lost or has left")
    return False
