"""A pool's part of what pools of one database have in common: asked for, kept and given back while it leads. What is
said here is about slots of servers; with the same looks and writes go the limits of money (`purses`).

About once a second: look at what all pools say; decide the own part (`scheduling.shares`); have the scheduler take no
more than that *before* it is written where it shrinks, and let it have more only *after* it is written where it grows.
So what runs is never more than what the table says, whatever becomes of the writing.

The row ends later than the lease of the hub, by as long as workers go on without one: calls that run on after the death
of a leader still count. A leader trusts its parts from the moment it asked, less a margin; beyond that it calls nothing
that other pools call. An endpoint that no other pool names is not limited, and goes on whatever becomes of the table.
A part of a limit does not end with the row: it is the pool's until its window is over, and all that it has when the
table is not read.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import structlog

from ostler.app import purses
from ostler.app.purses import Purses
from ostler.config.providers import same_server
from ostler.domain.catalog import EndpointSpec
from ostler.domain.fleet import SharedSlots
from ostler.domain.limits import PartKey, PoolPart
from ostler.domain.policy import Policy
from ostler.scheduling import Scheduler
from ostler.scheduling.books import Books
from ostler.scheduling.shares import Claim, lasting, part, partners, spread
from ostler.scheduling.signals import PartsTold, SlotsShared
from ostler.store.errors import StoreError
from ostler.store.shares import Look, PoolShares

BEAT_S = 1.0
SOON_S = 0.1
"""How often it is looked whether there are endpoints of which nothing is known yet."""
TRIES = 8
"""Writes within one beat: each that fails was overtaken by another pool's."""
MARGIN = 0.15
TURN_MS = 10_000
"""How long a pool has a slot that cannot be divided."""


class Actor(Protocol):
    """Who is told, and whose books say what is used: the pump."""

    @property
    def scheduler(self) -> Scheduler:
        """The actor itself."""
        ...

    def tell(self, signal: SlotsShared | PartsTold) -> object:
        """Have it take in a signal now."""
        ...


class Table(Protocol):
    """See `ostler.store.shares`."""

    async def prepare(self) -> bool:
        """Make it where nobody has; false when this user may not."""
        ...

    async def look(self) -> Look:
        """All rows."""
        ...

    async def put(self, version: int, row: PoolShares) -> bool:
        """Write a pool's row; false when somebody was faster."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


Shares = dict[str, SharedSlots | None]


class Decided(NamedTuple):
    """What a pool says from now on, and what each of its endpoints may have."""

    claims: dict[str, Claim]
    shares: Shares


class Sharing:
    """Keeps one pool's parts. `row_ms`: how long its row lasts; `machine`: what loopback addresses are of."""

    def __init__(self, table: Table, pool: str, epoch: int, row_ms: int, machine: str) -> None:
        self._table = table
        self._pool = pool
        self._epoch = epoch
        self._row_ms = row_ms
        self._machine = machine
        self._told: Shares = {}
        self._purses = Purses(pool)
        self._policy: Policy | None = None
        """Whose limits were divided last."""
        self._trusted_until_s = 0.0
        self._silent = False
        self._task: asyncio.Task[None] | None = None

    def start(self, actor: Actor) -> None:
        """Begin to ask, before any endpoint is called."""
        self._task = asyncio.create_task(self._run(actor))

    async def stop(self, actor: Actor, *, give_back: bool = True) -> None:
        """Give back all that is not in use: what remote workers run may end after this hub. Without `give_back` the row
        is left to the next leader, or to its end. Safe to repeat.
        """
        task, self._task = self._task, None
        if task is None:
            return
        try:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if give_back:
                await self._give_back(actor)
        except StoreError:
            return  # the row ends by itself
        finally:
            await self._table.close()

    async def _give_back(self, actor: Actor) -> None:
        self._tell_parts(actor, {})
        for _ in range(TRIES):
            look = await self._table.look()
            row = look.of(self._pool)
            if row is None or row.epoch != self._epoch:
                return
            used = {name: _used(specs, actor.scheduler.books) for name, specs in self._resources(actor).items()}
            left = self._purses.divided(look, actor.scheduler.books).given_back() | {
                name: Claim(total=claim.total, held=min(claim.held, used[name]), used=used[name])
                for name, claim in row.claims.items()
                if used.get(name)
            }
            if await self._put(look, left):
                return

    async def _run(self, actor: Actor) -> None:
        if not await self._prepared():
            remedy = "let the users of all pools use the schema ostler__shared, and make it"
            _log().warning("slots and limits that pools have in common are not counted: no right to", remedy=remedy)
            self._tell(actor, None)
            self._tell_parts(actor, None)
            return
        while True:
            try:
                await self._beat(actor)
            except StoreError as error:
                self._missed(actor, error)
            else:
                self._silent = False
            end_s = time.monotonic() + BEAT_S
            while time.monotonic() < end_s:
                await asyncio.sleep(SOON_S)
                if not self._silent and self._is_news(actor.scheduler.books):
                    break

    def _is_news(self, books: Books) -> bool:
        return books.policy is not self._policy or not books.endpoints.views.keys() <= self._told.keys()

    async def _prepared(self) -> bool:
        while True:
            try:
                return await self._table.prepare()
            except StoreError as error:
                _log().warning("the shares of pools cannot be read", error=str(error))
                await asyncio.sleep(BEAT_S)

    async def _beat(self, actor: Actor) -> None:
        """Look, decide, write. Raises `StoreError`."""
        for _ in range(TRIES):
            asked_s = time.monotonic()
            look = await self._table.look()
            own = look.of(self._pool)
            if own is not None and own.epoch > self._epoch:
                raise StoreError("another hub leads this pool")
            books = actor.scheduler.books
            self._policy = books.policy
            decided, divided = self.decided(look, actor), self._purses.divided(look, books)
            known = {name: share for name, share in decided.shares.items() if name in self._told}
            self._tell(actor, {name: _least(self._told[name], share) for name, share in known.items()})
            self._tell_parts(actor, purses.least(books.parts.told or {}, divided.parts))
            if await self._put(look, decided.claims | divided.claims):
                self._tell_parts(actor, divided.parts)
                self._trusted_until_s = asked_s + self._row_ms / 1000 * (1 - MARGIN)
                self._tell(actor, decided.shares)
                return
        raise StoreError("other pools were always faster")

    async def _put(self, look: Look, claims: Mapping[str, Claim]) -> bool:
        until_ms = look.now_ms + self._row_ms
        row = PoolShares(pool=self._pool, epoch=self._epoch, until_ms=until_ms, claims=claims)
        return await self._table.put(look.version, row)

    def decided(self, look: Look, actor: Actor) -> Decided:
        """The own part of everything, from what all said and what is used at this very moment."""
        alive = {row.pool: row.claims for row in look.alive()}
        before = alive.get(self._pool, {})
        claims, shares = dict[str, Claim](), Shares()
        for resource, specs in self._resources(actor).items():
            mine = _claim(specs, actor.scheduler.books, before.get(resource))
            every = {pool: said[resource] for pool, said in sorted(alive.items()) if resource in said}
            others = partners(every, self._pool)
            if not others:
                claims[resource] = Claim(total=mine.total, held=mine.total, used=mine.used, wanted=mine.wanted)
                shares.update((spec.name, None) for spec in specs)
                continue
            own = part(self._pool, {**every, self._pool: mine}, look.now_ms // TURN_MS)
            claims[resource] = Claim(total=mine.total, held=own.held, used=mine.used, wanted=mine.wanted)
            total = min(mine.total, *(every[name].total for name in others))
            slots = spread(own.open, {spec.name: _claim((spec,), actor.scheduler.books, None) for spec in specs})
            shares.update((name, SharedSlots(slots=slots[name], total=total, pools=others)) for name in slots)
        return Decided(claims, shares)

    def _resources(self, actor: Actor) -> dict[str, tuple[EndpointSpec, ...]]:
        """Endpoints by the server that they are at, by name."""
        found: dict[str, tuple[EndpointSpec, ...]] = {}
        for _, view in sorted(actor.scheduler.books.endpoints.views.items()):
            name = resource_of(view.spec, self._machine)
            found[name] = (*found.get(name, ()), view.spec)
        return dict(sorted(found.items()))

    def _missed(self, actor: Actor, error: StoreError) -> None:
        if not self._silent:
            _log().warning("the shares of pools cannot be renewed", error=str(error))
        self._silent = True
        if time.monotonic() >= self._trusted_until_s:
            ended = {
                name: share and SharedSlots(slots=0, total=share.total, pools=share.pools)
                for name, share in self._told.items()
            }
            self._tell(actor, ended)

    def _tell_parts(self, actor: Actor, parts: Mapping[PartKey, PoolPart] | None) -> None:
        books = actor.scheduler.books
        if not books.policy.budget.over_pools:
            parts = None
        if parts != books.parts.told:
            actor.tell(PartsTold(parts=parts))

    def _tell(self, actor: Actor, shares: Shares | None) -> None:
        if shares != self._told:
            self._told = shares or {}
            actor.tell(SlotsShared(shares=shares))


def resource_of(spec: EndpointSpec, machine: str) -> str:
    """What two pools have in common when they name it alike: one server, by one account.

    `machine`: whose loopback is meant, unless the endpoint names its host. Accounts are told apart by the name of the
    variable with their key.
    """
    server = same_server(spec.url).removesuffix("/v1")
    host = urlsplit(f"//{server}").hostname or ""
    where = f"{machine if spec.host == host else spec.host} {server}" if host == "localhost" else server
    return f"{where} {spec.api_key_env}" if spec.api_key_env else where


def _claim(specs: tuple[EndpointSpec, ...], books: Books, before: Claim | None) -> Claim:
    """What is used and wanted of a server now; `before`: what was said of it last. Its row may have ended since, which
    is nothing that is held.
    """
    total, used = sum(spec.slots for spec in specs), _used(specs, books)
    wanted = used + sum(_waiting(specs, books))
    if before is None:
        return Claim(total=total, used=used, wanted=min(total, wanted))
    return Claim(total=total, held=before.held, used=used, wanted=min(total, lasting(wanted, before.wanted)))


def _used(specs: tuple[EndpointSpec, ...], books: Books) -> int:
    return sum(books.in_flight.get(spec.name, 0) for spec in specs)


def _waiting(specs: tuple[EndpointSpec, ...], books: Books) -> Iterator[int]:
    """Tasks and calls of classes that wait for one of these endpoints, each class once."""
    keys = frozenset(key for spec in specs for key in books.queue.blocked_on(spec.name))
    for key in keys:
        yield books.queue.classes[key].size


def _least(told: SharedSlots | None, share: SharedSlots | None) -> SharedSlots | None:
    """What holds while a part is being written: the smaller of what was and what will be."""
    if share is None:
        return told
    if told is None:
        return share
    return SharedSlots(slots=min(told.slots, share.slots), total=share.total, pools=share.pools)


def _log() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("ostler.hub")
    return logger
