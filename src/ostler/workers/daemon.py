"""The worker daemon: joins its hub, runs what the hub assigns, reports, and never acts beyond its lease.

One session after the other: join -> first heartbeat -> four loops (heartbeat, trust, poll, delivery) until the session
is lost or the daemon is stopped. Lost means: the hub does not know the session, no heartbeat was acknowledged within
the trust window, or the process guard is gone. Then every attempt is killed and *seen dead* before the daemon joins
again, because the hub is free to give them to others from then on; reports that are still on their way go out under
the next session, where the hub keeps what came too late.

A daemon that was killed may have left attempts that run on (`book`). The next one takes them up within the session of
the last, when the hub still keeps it, after a heartbeat of its own was acknowledged; until then they run on the right
of the last heartbeat before (`guard`), which ends before the hub may give them to somebody else. When the hub has
opened another session, they are ended instead.

The host report is made by a loop of its own, and reports, polls and heartbeats share nothing, so that none of them can
hold up the heartbeat.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from ostler.domain.catalog import EndpointSpec
from ostler.domain.errors import ConflictError, NotFoundError, OstlerError, UnreachableError
from ostler.domain.fleet import Held, HostReport, Probe, Session, WorkerOffer
from ostler.domain.ports import HubLink
from ostler.domain.work import Poll
from ostler.workers.attempts import Abilities, AttemptPool, attempt_tag
from ostler.workers.book import Book, Entry
from ostler.workers.delivery import CALL_LIMIT_S, Delivery
from ostler.workers.guard import GuardLostError, ProcessGuard, Spared
from ostler.workers.lease import TrustWindow
from ostler.workers.run import Key
from ostler.workers.spool import Spool
from ostler.workers.timing import Backoff, Timing, cancelled, first, within

HostReporter = Callable[[], Awaitable[HostReport | None]]
"""Measures the machine; may take its time."""

Lister = Callable[[EndpointSpec], Awaitable[Probe]]
"""Asks an endpoint on this machine what it has; never raises for one that does not answer."""

HUB_FAILED = 500
"""From this status on a refusal is the hub's own trouble, as when its disk is full: it may pass."""
_TRUST_LOOK_S = 1.0
_IDLE_PAUSE_S = 0.05
_DRAIN_PAUSE_S = 1.0
_REJOIN_PAUSE_S = 0.5


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a daemon behaves. `identity` is unique on the machine for each (hub, worker): see `guard.ReaperGuard`."""

    identity: str
    poll_wait_ms: int = 10_000
    stop_grace_s: float = 10.0
    """How long running attempts may go on when the daemon is asked to stop."""
    flush_limit_s: float = 10.0
    """How long a stopping daemon tries to hand over its last reports."""
    spool: Spool | None = None
    """Keeps ends of attempts until the hub has them; `None`: they end with the daemon."""
    lister: Lister | None = None
    """Asks the endpoints that only this worker reaches; `None`: it looks at none."""
    book: Book | None = None
    """Keeps what is under way for the next daemon; `None`: it ends with this one."""


class SessionLostError(Exception):
    """The session is over; the message says why."""


class Worker:
    """A worker daemon. `start` once, `stop` as often as you like; `closed` waits for its end.

    `link` is used, not owned: who made it closes it. `on_note` is told in words what happens to the session.
    """

    def __init__(
        self,
        link: HubLink,
        offer: WorkerOffer,
        abilities: Abilities,
        settings: WorkerSettings,
        *,
        timing: Timing,
        guard: ProcessGuard,
        host_reporter: HostReporter | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self._link = link
        self._offer = offer
        self._settings = settings
        self._timing = timing
        self._guard = guard
        self._host_reporter = host_reporter
        self._lister = settings.lister
        self._watch: tuple[EndpointSpec, ...] = ()
        self._note = on_note or (lambda _text: None)
        self._delivery = Delivery(link, timing, settings.spool)
        self._pool = AttemptPool(
            abilities,
            offer.slots,
            identity=settings.identity,
            timing=timing,
            emit=self._delivery.add,
            book=settings.book,
            has_right=lambda: self._trust.left_ms(timing.stopwatch_us()) > 0,
        )
        self._left: tuple[Entry, ...] = ()
        """Attempts of an earlier daemon that may be taken up."""
        self._trust = TrustWindow()
        self._host_report: HostReport | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stop_grace_s = settings.stop_grace_s
        self._main: asyncio.Task[None] | None = None
        self._life = secrets.token_hex(6)
        self._joins = 0
        self.session: Session | None = None
        """The session it holds now."""

    @property
    def running(self) -> int:
        """Attempts in hand."""
        return len(self._pool)

    def tell(self, on_note: Callable[[str], None]) -> None:
        """Have somebody told in words what happens to the session, instead of whoever was told before."""
        self._note = on_note

    def start(self) -> None:
        """Begin to serve. Safe to repeat."""
        if self._main is None:
            self._main = asyncio.create_task(self._run(), name=f"worker {self._offer.name}")

    async def stop(self, grace_s: float | None = None) -> None:
        """Take no more work, give running attempts `grace_s`, kill the rest, report, leave.

        Safe to repeat (a shorter grace counts from the first call) and before `start`. Raises what `closed` raises.
        """
        if grace_s is not None:
            self._stop_grace_s = grace_s
        self._stopping.set()
        self._hurry.set()
        if self._main is None:
            await self._guard.close()
        await self.closed()

    async def abandon(self) -> None:
        """End at once: what runs is killed and nothing more is said, because nobody is there to be told."""
        if self._main is not None:
            await cancelled(self._main)
        await self._guard.close()  # also where it was ended before it began

    async def closed(self) -> None:
        """Wait until the daemon has ended. Raises `OstlerError` when the hub will not have this worker."""
        if self._main is not None:
            await asyncio.shield(self._main)

    async def _run(self) -> None:
        # Whatever becomes of one part of the end, those after it are done.
        async with contextlib.AsyncExitStack() as ending:
            ending.push_async_callback(self._guard.close)
            ending.push_async_callback(self._give_up_left, "the worker was stopped")
            ending.push_async_callback(self._pool.abandon)
            ending.push_async_callback(cancelled, asyncio.create_task(self._measure_host()))
            ended = self._delivery.recover()
            self._pool.known(ended)
            await self._guard.clean(self._look_back(ended))
            if self._settings.book is not None:
                self._settings.book.clear({entry.key for entry in self._left})
            while (session := await self._join()) is not None:
                await self._serve(session)
                await first(self._timing.sleep(_REJOIN_PAUSE_S), self._stopping.wait())

    def _look_back(self, ended: frozenset[Key]) -> Spared:
        """What an earlier daemon left that may be taken up."""
        book = self._settings.book
        if book is not None and self._guard.left_ms() > 0:
            self._left = tuple(entry for entry in book.load() if entry.key not in ended)
        return Spared(
            sessions=frozenset(entry.session_id for entry in self._left),
            attempts=frozenset(attempt_tag(entry.key) for entry in self._left),
        )

    async def _take_up_left(self, session_id: str) -> None:
        """The hub answers: go on with what was left, as far as it is still this worker's."""
        book, left = self._settings.book, self._left
        mine = [entry for entry in left if entry.session_id == session_id]
        going = [entry for entry in mine if book is not None and book.can_be_taken_up(entry.key)]
        self._left = tuple(entry for entry in left if entry not in going)
        for entry in going:
            self._pool.take_up(entry)
        if left:
            self._note(f"taken up: {len(going)} of {len(left)} attempts that an earlier daemon left")
        await self._give_up_left("its daemon was killed, and it was too late to take it up")

    async def _give_up_left(self, message: str) -> None:
        left, self._left = self._left, ()
        for entry in left:
            await self._guard.end(attempt_tag(entry.key))
            self._pool.give_up(entry, message)

    async def _join(self) -> Session | None:
        """A session, however long it takes; `None` when the daemon is asked to stop."""
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                self._joins += 1
                offer = replace(self._offer, holds=self._holds(), life=self._life, joins=self._joins)
                return await within(self._timing, CALL_LIMIT_S, self._link.join(offer), "join")
            except OstlerError as error:
                if error.http_status < HUB_FAILED and not isinstance(error, UnreachableError | ConflictError):
                    raise  # it will not have this worker
                self._note(f"cannot join the hub yet: {error}")
                await first(self._timing.sleep(backoff.next_s()), self._stopping.wait())
        return None

    def _holds(self) -> tuple[Held, ...]:
        """Attempts whose end is still to be told: the hub may keep them for this daemon."""
        book = self._settings.book
        left = {entry.key for entry in self._left if book is not None and book.can_be_taken_up(entry.key)}
        return tuple(Held(*key) for key in sorted(self._delivery.ended | self._pool.keys | left))

    async def _serve(self, session: Session) -> None:
        """One session from join to its end. When this returns, nothing runs."""
        self.session = session
        self._trust = TrustWindow(session.heartbeat_ms)
        self._note(f"joined as session {session.id}")
        try:
            self._guard.open(session.id, self._life)
            await self._loops(session.id)
        except (SessionLostError, NotFoundError, GuardLostError) as error:
            reason = "the process guard is gone" if isinstance(error, GuardLostError) else str(error)
            self._note(f"session {session.id} is lost: {reason}; attempts killed: {self.running}")
            self._pool.stop_all("the worker lost its session", now=True)
            await self._pool.all_ended()
        finally:
            self.session = None
            self._guard.rest()

    async def _loops(self, session_id: str) -> None:
        """Serve until asked to stop, then drain and leave. Raises what ended the session."""
        await self._first_beat(session_id)
        if not self._stopping.is_set():
            await self._take_up_left(session_id)
        polling = asyncio.create_task(self._poll_loop(session_id))
        loops = [
            asyncio.create_task(loop)
            for loop in (self._beat_loop(session_id), self._trust_loop(), self._delivery.run(session_id))
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await _first_raises(polling, stopping, *loops)
            await cancelled(polling)
            draining = asyncio.create_task(self._drain(session_id))
            try:
                await _first_raises(draining, *loops)
            finally:
                await cancelled(draining)
        finally:
            await cancelled(polling, stopping, *loops)

    async def _first_beat(self, session_id: str) -> None:
        """Renew the session once: only that tells how long the lease is. Before it nothing runs."""
        backoff = Backoff()
        while not await self._beat(session_id) and not self._stopping.is_set():
            await first(self._timing.sleep(backoff.next_s()), self._stopping.wait())

    async def _beat_loop(self, session_id: str) -> None:
        backoff = Backoff(last_s=1.0)
        while True:
            await self._timing.sleep(self._trust.beat_interval_s)
            while not await self._beat(session_id):
                await self._timing.sleep(backoff.next_s())
            backoff.reset()

    async def _beat(self, session_id: str) -> bool:
        """One heartbeat; whether it was acknowledged. Raises `NotFoundError` and `GuardLostError`."""
        sent_us = self._timing.stopwatch_us()
        report, self._host_report = self._host_report, None
        call = self._link.heartbeat(session_id, report)
        try:
            lease_ms = await within(self._timing, self._trust.beat_interval_s, call, "heartbeat")
        except NotFoundError:
            raise
        except OstlerError:
            self._return_report(report)
            return False
        self._trust.acknowledge(sent_us, lease_ms)
        self._guard.beat(self._trust.reaper_left_ms(self._timing.stopwatch_us()))
        return True

    def _return_report(self, report: HostReport | None) -> None:
        """Keep a report that did not arrive for the next heartbeat, unless there is a newer one."""
        if self._host_report is None:
            self._host_report = report

    async def _trust_loop(self) -> None:
        # Looks often, because the stopwatch may jump: the sleep of a suspended machine does not count that time.
        while (left_ms := self._trust.left_ms(self._timing.stopwatch_us())) > 0:
            await self._timing.sleep(min(left_ms / 1000, _TRUST_LOOK_S))
        raise SessionLostError("no heartbeat was acknowledged in time")

    async def _poll_loop(self, session_id: str) -> None:
        backoff = Backoff()
        wait_ms = self._settings.poll_wait_ms
        while True:
            call = self._link.poll(session_id, wait_ms)
            try:
                poll = await within(self._timing, wait_ms / 1000 + CALL_LIMIT_S, call, "poll")
            except NotFoundError:
                raise
            except OstlerError:
                await self._timing.sleep(backoff.next_s())
                continue
            backoff.reset()
            if not self._take(session_id, poll):
                await self._timing.sleep(_DRAIN_PAUSE_S if poll.drain else _IDLE_PAUSE_S)

    def _take(self, session_id: str, poll: Poll) -> bool:
        """Act on an answer; whether there was anything new in it. Raises `SessionLostError` when it came too late."""
        if poll.assignments and self._trust.left_ms(self._timing.stopwatch_us()) <= 0:
            raise SessionLostError("work came when no heartbeat had been acknowledged in time")
        self._watch = poll.watch
        news = [self._pool.cancel(key) for key in poll.cancel]
        news += [self._pool.start(assignment, session_id) for assignment in poll.assignments]
        return any(news)

    async def _drain(self, session_id: str) -> None:
        begun_us = self._timing.stopwatch_us()
        while self.running:
            self._hurry.clear()
            left_s = self._stop_grace_s - (self._timing.stopwatch_us() - begun_us) / 1_000_000
            if left_s <= 0:
                self._pool.stop_all("the worker was stopped before the attempt ended")
                await self._pool.all_ended()
                break
            await first(self._pool.all_ended(), self._timing.sleep(left_s), self._hurry.wait())
        await first(self._delivery.all_delivered(), self._timing.sleep(self._settings.flush_limit_s))
        with contextlib.suppress(OstlerError):
            call = self._link.leave(session_id, self._life)
            await within(self._timing, self._settings.flush_limit_s, call, "leave")

    async def _measure_host(self) -> None:
        if self._host_reporter is None:
            return
        while True:
            try:
                report = await self._host_reporter()
                listings = await self._listings()
                self._host_report = replace(report, listings=listings) if report is not None and listings else report
            except Exception as error:  # boundary: a machine that cannot be measured still runs work; it is said
                self._note(f"cannot measure this machine: {type(error).__name__}: {error}")
            await self._timing.sleep(self._trust.beat_interval_s)

    async def _listings(self) -> tuple[Probe, ...]:
        """What the endpoints list that only this worker reaches, all asked at once."""
        if self._lister is None or not self._watch:
            return ()
        return tuple(await asyncio.gather(*(self._lister(spec) for spec in self._watch)))


async def _first_raises(*tasks: asyncio.Task[Any]) -> None:
    """Wait until the first of `tasks` has ended, and raise what it raised. Does not cancel the others."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
