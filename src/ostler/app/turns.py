"""`ostler up` on a PostgreSQL database: several hubs for one pool of work, of which exactly one leads.

    stand by:  pass connections on to the leader; take the lease when it ends or is given back
    lead:      run the hub over the store, and renew the lease at a third of its length; without it, stand by again
    stop:      give the lease back, so that another one leads at once

A hub older than the schema goes on while it leads, because newer schemas only add; it does not lead anew.

A leader trusts its lease from the moment it *asked* for it, by its own steady clock, less a margin. Beyond that it
answers nobody, and its writes are refused by the database anyway once another hub has taken over: the one keeps it from
acting on old knowledge, the other from harm if it does.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterable
from urllib.parse import urlsplit

import msgspec
import structlog

from ostler.app import profiles
from ostler.app.http import LOOPBACK, Door
from ostler.app.hub_parts import HubParts, open_pool
from ostler.app.options import UpOptions
from ostler.app.relay import Relay
from ostler.app.serve import StoreGoneError, run_hub, say, write_hub_file
from ostler.app.sharing import Sharing
from ostler.app.worker_parts import host_names
from ostler.config.settings import HubSettings
from ostler.domain.errors import InvalidInputError
from ostler.domain.hubs import HubList, HubRow, Leader
from ostler.store.errors import FencedError, StoreError
from ostler.store.postgres_engine import place_of
from ostler.store.seat import Holder, Seat
from ostler.store.shares import ShareTable
from ostler.version import __version__
from ostler.workers.timing import SystemTiming

MARGIN = 0.15
"""Share of the lease in which a leader no longer trusts it: for clocks that run apart, and for what is under way."""
LOOK_S = 1.0
LAST_S = 0.5
"""How long an answer may take that is asked for at the very end of a lease."""
AGAIN_S = 0.1
"""After a renewal that failed: until the next try."""
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


async def serve_in_turns(chosen: profiles.Chosen, options: UpOptions, stop: asyncio.Event) -> None:
    """Stand by and lead by turns until a signal. Raises `OstlerError` for what a person can mend."""
    settings = chosen.profile.hub
    seat = await open_pool(settings)
    door = Door(settings.host, settings.port, kept=True)
    try:
        door.open().close()
        await _Turns(chosen, options, seat, door, stop).run()
    finally:
        door.close()
        await seat.close()


class Lease:
    """The right to lead, as far as this process may trust it."""

    def __init__(self, seat: Seat, epoch: int, lease_ms: int, asked_s: float) -> None:
        self._seat = seat
        self.epoch = epoch
        self._lease_ms = lease_ms
        self._until_s = 0.0
        self._trust_from(asked_s)

    def _trust_from(self, asked_s: float) -> None:
        self._until_s = asked_s + self._lease_ms / 1000 * (1 - MARGIN)

    def closed_because(self) -> str:
        """Why this hub must not act; empty while it may."""
        return "" if time.monotonic() < self._until_s else "this hub was silent for too long; another one may lead"

    async def hold(self) -> None:
        """Renew until it is lost; returns then. Beyond its end it is asked for once more: after a pause of the whole
        machine nobody else may have taken it.
        """
        pause_s, told = self._lease_ms / 3000, ""
        while True:
            await asyncio.sleep(max(0.0, min(pause_s, self._until_s - time.monotonic())))
            asked_s = time.monotonic()
            try:
                async with asyncio.timeout(max(LAST_S, self._until_s - asked_s)):
                    still_mine = await self._seat.renew(self.epoch, self._lease_ms)
            except (StoreError, TimeoutError) as error:
                said = str(error) or "no answer"
                if said != told:  # it is tried ten times a second
                    structlog.get_logger("ostler.hub").warning("the lease cannot be renewed", error=said)
                told = said
                if self.closed_because():
                    return
                pause_s = min(pause_s, AGAIN_S)
                continue
            if not still_mine:
                self._until_s = 0.0  # another hub leads: what is still in hand here is answered no more
                return
            if told:
                structlog.get_logger("ostler.hub").info("the lease is renewed again")
            pause_s, told = self._lease_ms / 3000, ""
            self._trust_from(asked_s)


class _Turns:
    def __init__(
        self, chosen: profiles.Chosen, options: UpOptions, seat: Seat, door: Door, stop: asyncio.Event
    ) -> None:
        self._chosen = chosen
        self._options = options
        self._seat = seat
        self._door = door
        self._stop = stop
        settings = chosen.profile.hub
        url = _checked(settings.advertise) or _reached_at(settings, door)
        name = settings.name or urlsplit(url).netloc
        self._row = HubRow(
            name=name,
            url=url,
            version=__version__,
            started_ms=SystemTiming().now_ms(),
            silent_after_ms=settings.lease_ms * 5 // 3,  # five times the pause of `_announce`
        )
        self._relay = Relay(self._leader, self._no_way)
        """One for all turns: who waits in one of them is held by it until the next leader serves them."""
        self._holder: Holder | None = None
        self._blind = ""
        """Why the database does not tell who leads; empty while it does."""
        self._leads = False
        self._epoch = 0
        self._sharing: Sharing | None = None
        self._parts: HubParts | None = None
        """Of the hub that runs here while it leads."""
        self._outdated = False
        """Whether the pool has a schema that only newer hubs know: one of them is to lead."""

    async def run(self) -> None:
        with contextlib.suppress(StoreError):
            if told := named_twice(await self._seat.hubs(), self._row):
                say(told)
        announcing = asyncio.create_task(self._announce())
        try:
            while not self._stop.is_set():
                asked_s = time.monotonic()
                lease_ms = self._chosen.profile.hub.lease_ms
                epoch = await self._taken(lease_ms)
                if epoch is not None:
                    await self._lead(Lease(self._seat, epoch, lease_ms, asked_s))
                else:
                    await self._stand_by()
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            await self._relay.stop()
            with contextlib.suppress(StoreError):
                await self._seat.leave(self._row.name, self._row.url)

    async def _taken(self, lease_ms: int) -> int | None:
        try:
            if not await self._seat.knows_schema():
                if not self._outdated:
                    say(f"hub {self._row.name} leads no more: a newer version has brought the database up to date")
                self._outdated = True
                return None
            return await self._seat.take(self._row.name, self._row.url, lease_ms)
        except StoreError as error:
            structlog.get_logger("ostler.hub").warning("the database does not answer", error=str(error))
            return None

    async def _lead(self, lease: Lease) -> None:
        from ostler.store.postgres import PostgresStore

        settings = self._chosen.profile.hub
        say(f"hub {self._row.name} leads the pool {settings.pool}")
        said = ""
        self._holder, self._leads, self._epoch = None, True, lease.epoch
        self._door.closed_because = lease.closed_because
        holding = asyncio.create_task(lease.hold())
        try:
            store = await PostgresStore.open(
                settings.database,
                pool=settings.pool,
                owner=self._row.name,
                epoch=lease.epoch,
                migrate=False,
                lost=lease.closed_because,
            )

            async def ended() -> None:
                await self._first_of(self._stop.wait(), asyncio.shield(holding))

            await run_hub(_named(self._chosen, self._row.name), self._options, store, self._door, ended, self)
        except StoreError as error:
            if not isinstance(error, FencedError | StoreGoneError) and not lease.closed_because():
                raise
            said = f": {error.what}"
        finally:
            self._leads = False
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            with contextlib.suppress(StoreError):
                await self._seat.give_back(lease.epoch)
        if not self._stop.is_set():
            say(f"hub {self._row.name} no longer leads the pool {settings.pool}{said}")

    async def _stand_by(self) -> None:
        """Pass on to whoever leads, until nobody does or this hub is told to stop."""
        relay, told, in_vain = self._relay, "", True
        try:
            await relay.start(self._door.open())
            write_hub_file(self._chosen.profile.hub, self._door.url)
            while not self._stop.is_set():
                try:
                    self._holder = await self._seat.holder()
                except StoreError as error:
                    if not self._blind:
                        structlog.get_logger("ostler.hub").warning("the database does not answer", error=str(error))
                    self._blind = error.what
                else:
                    self._blind = ""
                    if self._holder.left_ms <= 0 and not self._outdated:
                        self._holder = None
                        if in_vain:  # it was asked for just before: somebody who was cut off still locks the row
                            await self._first_of(self._stop.wait(), asyncio.sleep(AGAIN_S))
                        return
                    in_vain = False
                    if self._holder.left_ms <= 0:
                        self._holder, told = None, ""
                    elif told != self._holder.owner:
                        told = self._holder.owner
                        await relay.cut()  # what goes to another leader goes nowhere
                        say(f"hub {self._row.name} stands by at {self._door.url}; {told} leads{self._unreached()}")
                left_s = self._holder.left_ms / 1000 if self._holder is not None else LOOK_S
                await self._first_of(self._stop.wait(), self._seat.freed(max(0.05, min(LOOK_S, left_s))))
        finally:
            await relay.stop(for_good=self._stop.is_set())

    def _leader(self) -> tuple[str, int] | None:
        """Where the leader is reached, if it can be; this hub itself for who waited here until it led."""
        if self._leads:
            url = urlsplit(self._door.url)
            return url.hostname or "", url.port or 80
        if self._holder is None or self._unreached():
            return None
        url = urlsplit(self._holder.url)
        return url.hostname or "", url.port or 80

    def _no_way(self) -> str:
        """Why who calls need not wait for a leader; empty: one may come. Whoever led when the database was last heard
        of is gone on with while it answers.
        """
        if self._blind and self._holder is None:
            return "this hub does not reach its database, and so does not know who leads"
        return ""

    def _unreached(self) -> str:
        """Why nothing can be passed on to who leads; empty when it can.

        Never to this hub's own address: it would call itself without end. That address is in the lease of a hub that
        was killed and started again, until the lease ends, and of two hubs that nobody told apart. And never past a
        door that asks for tokens to one that asks for none.
        """
        if self._holder is None:
            return "; nobody is known to lead"
        if self._holder.url == self._row.url:
            return f" at the same address {self._row.url}: this hub before it was started again, or set hub.advertise"
        if self._door.public and urlsplit(self._holder.url).hostname in LOOPBACK:
            return f" at {self._holder.url}, which is not reached from here: set hub.advertise there"
        return ""

    async def hubs(self) -> HubList:
        """See `serve.Company`."""
        own, others = await self._seat.hubs(), await self._seat.others()
        return HubList(hubs=own, pool=self._chosen.profile.hub.pool, others=others)

    def led(self, parts: HubParts) -> None:
        """See `serve.Company`."""
        self._parts = parts
        parts.hub.known_as = Leader(name=self._row.name, url=self._row.url)
        settings = self._chosen.profile.hub
        place, limit_s = place_of(settings.database, settings.pool), max(1.0, settings.lease_ms / 3000)
        row_ms = settings.lease_ms + self._chosen.profile.policy.scheduler.session_dead_ms
        machine = next(iter(host_names()), "localhost")
        self._sharing = Sharing(ShareTable.at(place, limit_s), settings.pool, self._epoch, row_ms, machine)
        self._sharing.start(parts.pump)

    async def left(self) -> None:
        """See `serve.Company`."""
        if self._sharing is not None and self._parts is not None:
            # Who was cut off from the database does not wait for it once more.
            await self._sharing.stop(self._parts.pump, give_back=not self._parts.pump.why_closed())
        self._parts = self._sharing = None

    def _as_it_is(self) -> HubRow:
        """What this hub says of itself now."""
        row = msgspec.structs.replace(self._row, up_ms=SystemTiming().now_ms() - self._row.started_ms)
        if self._parts is None:
            return row
        books = self._parts.pump.scheduler.books
        running = len(books.attempts) + books.calls.running
        return msgspec.structs.replace(row, open_tasks=len(books.tasks), running=running)

    async def _announce(self) -> None:
        while True:
            with contextlib.suppress(StoreError):
                await self._seat.announce(self._as_it_is())
            await asyncio.sleep(self._chosen.profile.hub.lease_ms / 3000)

    async def _first_of(self, *waited: Coroutine[object, object, object] | asyncio.Future[None]) -> None:
        """Return when the first of them has; the others are given up."""
        tasks = [asyncio.ensure_future(one) for one in waited]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _named(chosen: profiles.Chosen, name: str) -> profiles.Chosen:
    """With the name that the other hubs know it by."""
    hub = msgspec.structs.replace(chosen.profile.hub, name=name)
    return msgspec.structs.replace(chosen, profile=msgspec.structs.replace(chosen.profile, hub=hub))


def named_twice(hubs: Iterable[HubRow], own: HubRow) -> str:
    """What to say where another hub has the name of this one: who leads is told by name. Empty: none has."""
    for hub in hubs:
        if hub.name == own.name and hub.url != own.url and hub.role != "silent":
            return f"hub {own.name} is the name of the hub at {hub.url}, too: set hub.name to another one here or there"
    return ""


def _checked(url: str) -> str:
    """An address as other hubs are told it. Raises `InvalidInputError`."""
    try:
        parts = urlsplit(url)
        good = not url or (parts.scheme == "http" and bool(parts.hostname) and (parts.port or 80) > 0)
    except ValueError:
        good = False
    if not good:
        raise InvalidInputError(f"{url!r} is no address of a hub", where="hub.advertise", remedy="http://HOST:PORT")
    return url


def _reached_at(settings: HubSettings, door: Door) -> str:
    """Where other hubs reach this one. Raises `InvalidInputError` when nobody can know."""
    if settings.host not in WILDCARDS:
        return door.url
    names = host_names()
    if not names:
        raise InvalidInputError("this hub listens everywhere", where="hub.advertise", remedy="say where it is reached")
    return f"http://{names[0]}:{door.port}"
