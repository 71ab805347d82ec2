"""Brings reports to the hub: in batches, again and again until it has them, over as many sessions as that takes.

With a spool, ends outlive the daemon: the next one takes them up.

A report the hub refuses as such (not as too early or too late, which it takes) can never be delivered. To keep it from
holding up all others, a refused batch is sent report by report, and a refused end of an attempt once more without its
output, so that the hub at least learns of the end.
"""

import asyncio

from msgspec.structs import replace

from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError
from ostler.domain.ports import HubLink
from ostler.domain.work import Finished, Report
from ostler.workers.outbox import Outbox
from ostler.workers.run import Key
from ostler.workers.spool import Spool
from ostler.workers.timing import Backoff, Timing, first, within

PROGRESS_PAUSE_S = 0.2
"""Progress alone is collected that long, so that many attempts share a call."""

CALL_LIMIT_S = 15.0


class Delivery:
    """The reports of one daemon on their way."""

    def __init__(self, link: HubLink, timing: Timing, spool: Spool | None = None) -> None:
        self._link = link
        self._timing = timing
        self._outbox = Outbox()
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._spool = spool

    def recover(self) -> frozenset[Key]:
        """Take up the ends that an earlier daemon could not tell; the attempts that they are about."""
        for end in self._spool.load() if self._spool is not None else ():
            self._offer(end)
        return self.ended

    @property
    def ended(self) -> frozenset[Key]:
        """Attempts that have ended here and whose end the hub does not have yet."""
        return self._outbox.ended()

    def add(self, report: Report) -> None:
        """Queue a report. The end of an attempt is on disk when this returns."""
        if self._spool is not None and isinstance(report, Finished):
            self._spool.put(report)
        self._offer(report)

    def _offer(self, report: Report) -> None:
        self._outbox.add(report)
        self._empty.clear()
        self._news.set()
        if self._outbox.has_urgent:
            self._urgent.set()

    async def all_delivered(self) -> None:
        """Wait until the hub has everything."""
        await self._empty.wait()

    async def run(self, session_id: str) -> None:
        """Deliver under a session until cancelled; what fails is tried again.

        Raises `NotFoundError` when the hub does not know the session; then run it again under another.
        """
        backoff = Backoff()
        if len(self._outbox):
            self._news.set()
        while True:
            await self._news.wait()
            self._news.clear()
            batch = self._outbox.batch()
            try:
                await self._hand_over(session_id, batch)
            except NotFoundError:
                raise
            except OstlerError:
                self._news.set()
                await self._timing.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._outbox.done(batch)
            if self._spool is not None:
                self._spool.drop(batch)
            await self._settle()

    async def _settle(self) -> None:
        """After a hand-over: note what is left, and let progress collect if there is nothing more pressing."""
        if len(self._outbox):
            self._news.set()
        else:
            self._empty.set()
        if not self._outbox.has_urgent:
            self._urgent.clear()
            await first(self._urgent.wait(), self._timing.sleep(PROGRESS_PAUSE_S))

    async def _hand_over(self, session_id: str, batch: tuple[Report, ...]) -> None:
        try:
            await self._send(session_id, *batch)
        except (InvalidInputError, ConflictError):
            for report in batch:
                await self._hand_over_one(session_id, report)

    async def _hand_over_one(self, session_id: str, report: Report) -> None:
        try:
            await self._send(session_id, report)
        except (InvalidInputError, ConflictError):
            if not isinstance(report, Finished):
                return
            try:
                await self._send(session_id, replace(report, output=""))
            except (InvalidInputError, ConflictError):
                return

    async def _send(self, session_id: str, *reports: Report) -> None:
        await within(self._timing, CALL_LIMIT_S, self._link.report(session_id, reports), "report")
