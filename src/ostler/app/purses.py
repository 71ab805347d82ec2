"""A pool's parts of the limits that pools of one database have together: what it says of them, and what it may spend.

Pools have a limit together when they state it alike: its name, scope, window and unit; of different hard values the
smallest holds. Each window, and each provider, tier or model where each has the limit for itself, is divided by itself
(`scheduling.escrow`); so is the ceiling of critical work where it is another one. Of a limit with a soft value alone
only what all have spent is told.

How much a pool asks for: what it has spent in ten seconds lately, twice its largest attempt of late, and what waits
for more. That fades slowly, and what nobody asks for is spread evenly. The window that comes next is claimed a minute
before it begins. A claim lasts as long as its window and a quarter of an hour, whatever becomes of its pool; so clocks
may differ by that much. Claims of limits that the profile does not state any more stay as well, without what was not
spent.

One instance for each leader; O(limits x scopes x pools) for each look.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from ostler.budget.limits import span_of
from ostler.budget.windows import HOUR_MS, LATEST_MS, QUARTER_MS, extent
from ostler.domain.limits import Limit, PartKey, PartOf, PoolPart, ScopeKind, WindowKind
from ostler.scheduling.books import Books
from ostler.scheduling.escrow import ceiling
from ostler.scheduling.parts import key_of, over_pools
from ostler.scheduling.queue import BUDGET
from ostler.scheduling.shares import Claim, partners
from ostler.store.shares import Look

PREFIX = "$limit "
"""No server is called so (`sharing.resource_of`)."""
LEAD_MS = 60_000
GRACE_MS = QUARTER_MS
TURN_MS = 10_000
"""How long a pool is the first to have a sum that is indivisible."""
AHEAD_S = 10
"""So much of what was spent lately is asked for."""
SOON_MS = 500
FADES = 16
"""A wish fades by this part with each look."""


class Purse(NamedTuple):
    """One thing that is divided."""

    limit: Limit
    value: str
    start_ms: int
    until_ms: int
    """When nothing can be charged there any more; 0 = never."""
    total: int | None
    """`None` = nothing is divided."""
    critical: bool

    @property
    def key(self) -> PartKey:
        """How the scheduler names it."""
        return key_of(self.limit, self.value, self.start_ms, critical=self.critical)

    @property
    def resource(self) -> str:
        """How pools name it: alike where they mean the same."""
        limit, window = self.limit, self.limit.window
        rolls, zone = window.kind is WindowKind.ROLLING, window.zone
        zoned = zone if window.kind in {WindowKind.HOUR, WindowKind.DAY, WindowKind.MONTH} else ""
        stated = (limit.name, limit.scope, self.value, limit.unit, window.kind, zoned, window.hours)
        when = (0 if rolls else self.start_ms, 0 if rolls else self.until_ms)
        which = "soft" if self.total is None else "critical" if self.key.critical else "hard"
        return PREFIX + msgspec.json.encode((*stated, *when, which)).decode()


class Divided(NamedTuple):
    """What a pool says from now on, and its part of each limit."""

    claims: dict[str, Claim]
    parts: dict[PartKey, PoolPart]

    def given_back(self) -> dict[str, Claim]:
        """What a pool says that stops."""
        return {name: left(claim) for name, claim in self.claims.items()}


class Purses:
    """Decides what one pool's parts are."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._seen: dict[str, tuple[int, int]] = {}
        """What was used of a resource, and when that was seen."""
        self._somebody_waits = False
        self._wishes: dict[str, int] = {}
        """How much more is wanted of a resource than what is used."""

    def divided(self, look: Look, books: Books) -> Divided:
        """The own part of everything, from what all said and what is spent at this very moment."""
        now_ms = books.clock.now_ms()
        self._somebody_waits = bool(books.queue.blocked_on(BUDGET))
        row = look.of(self._pool)
        before = _lasting(row.claims if row is not None else {}, look.now_ms)
        others = {one.pool: _lasting(one.claims, look.now_ms) for one in look.rows if one.pool != self._pool}
        alive = {one.pool for one in look.alive()}
        found = Divided({}, {})
        for purse in purses(books, now_ms):
            name = purse.resource
            said = {pool: claims[name] for pool, claims in sorted(others.items()) if name in claims}
            mine = self._claim(purse, books, before.get(name), look.now_ms, now_ms)
            if purse.total is not None:
                takers = [pool for pool, claim in said.items() if pool in alive and claim.takes]
                every = {**said, self._pool: mine}
                held = ceiling(self._pool, every, [*takers, self._pool], look.now_ms // TURN_MS)
                mine = replace(mine, held=held)
                total = min(claim.total for claim in (mine, *(said[pool] for pool in takers)))
                found.parts[purse.key] = part_of(held, total, said, alive)
            else:
                found.parts.setdefault(purse.key, part_of(None, None, said, alive))
            found.claims[name] = mine
        gone = {name: left(claim) for name, claim in before.items() if name not in found.claims}
        found.claims.update(gone)
        self._seen = {name: seen for name, seen in self._seen.items() if name in found.claims}
        self._wishes = {name: wish for name, wish in self._wishes.items() if name in found.claims}
        return found

    def _claim(self, purse: Purse, books: Books, before: Claim | None, look_ms: int, now_ms: int) -> Claim:
        limit, name = purse.limit, purse.resource
        span = span_of(limit, purse.value, max(now_ms, purse.start_ms))
        used = 0 if span is None else max(0, books.money.spent(span).total(limit.unit))
        wish, step = self._wish(name, used, look_ms), 0
        if purse.start_ms <= now_ms:
            step = books.parts.short_of(limit.name, purse.value, now_ms, somebody_waits=self._somebody_waits)
            wish = max(wish, 2 * books.parts.largest(limit.name, purse.value, now_ms), step)
        return Claim(
            total=purse.total or 0,
            held=0 if before is None else before.held,
            used=used,
            wanted=used + wish,
            step=step,
            until_ms=purse.until_ms,
        )

    def _wish(self, name: str, used: int, look_ms: int) -> int:
        """By what was spent since the last look. A look that comes at once, because another pool was faster, changes
        nothing.
        """
        used_before, seen_ms = self._seen.setdefault(name, (used, look_ms))
        wish = self._wishes.get(name, 0)
        if look_ms - seen_ms < SOON_MS:
            return wish
        self._seen[name] = used, look_ms
        spent_lately = max(0, used - used_before) * AHEAD_S * 1000 // (look_ms - seen_ms)
        wish = self._wishes[name] = max(spent_lately, wish - wish // FADES - 1, 0)
        return wish


def purses(books: Books, now_ms: int) -> Iterator[Purse]:
    """All that is divided now, or soon, by the profile in force."""
    if not books.policy.budget.over_pools:
        return
    for limit in books.policy.budget.limits:
        if not over_pools(limit):
            continue
        for value in values_of(limit, books):
            yield from _purses_of(limit, value, now_ms)


def _purses_of(limit: Limit, value: str, now_ms: int) -> Iterator[Purse]:
    starts = set()
    for at_ms in (now_ms, now_ms + LEAD_MS):
        found = extent(limit.window, at_ms)
        rolls = limit.window.kind is WindowKind.ROLLING
        if found is None or (0 if rolls else found.start_ms) in starts:
            continue
        starts.add(0 if rolls else found.start_ms)
        until_ms = now_ms + (limit.window.hours + 1) * HOUR_MS if rolls else found.end_ms
        until_ms = 0 if until_ms >= LATEST_MS else until_ms
        start_ms = 0 if rolls else found.start_ms
        apart = limit.critical is not None and limit.critical != limit.hard
        yield Purse(limit, value, start_ms, until_ms, limit.hard, critical=False)
        if apart:
            yield Purse(limit, value, start_ms, until_ms, limit.critical, critical=True)


def values_of(limit: Limit, books: Books) -> list[str]:
    """Whose a limit is: of all, of the one that it names, or each that is known and may be paid for."""
    if limit.scope is ScopeKind.ALL or limit.of:
        return [limit.of if limit.scope is not ScopeKind.ALL else ""]
    charged = books.money.values(limit.scope)
    if limit.scope is ScopeKind.TIER:
        return sorted({*charged, *(tier.name for tier in books.policy.catalog.tiers)})
    paid = [view for view in books.endpoints.views.values() if not view.spec.local]
    if limit.scope is ScopeKind.PROVIDER:
        return sorted({*charged, *(view.spec.provider for view in paid)})
    return sorted({*charged, *(model for view in paid for model in view.models)})


def parts_said(look: Look, pool: str) -> PartOf:
    """What the others say of each limit, for who only reads. Nothing is told of the own part: it moves to where it is
    needed.
    """
    alive = {one.pool for one in look.alive()}
    others = {one.pool: _lasting(one.claims, look.now_ms) for one in look.rows if one.pool != pool}

    def part(limit: Limit, value: str, start_ms: int, critical: bool) -> PoolPart | None:  # noqa: FBT001 - a `PartOf`
        key = key_of(limit, value, start_ms, critical=critical)
        for purse in _purses_of(limit, value, start_ms) if over_pools(limit) else ():
            if purse.key == key:
                name = purse.resource
                said = {pool: claims[name] for pool, claims in sorted(others.items()) if name in claims}
                totals = [said[pool].total for pool in said if pool in alive and said[pool].takes]
                return part_of(None, min(totals, default=None) if purse.total is not None else None, said, alive)
        return None

    return part


def left(claim: Claim) -> Claim:
    """A claim of a pool that takes no more: what it has not spent is free again."""
    return replace(claim, held=min(claim.held, claim.used), wanted=claim.used, step=0, takes=False)


def least(told: Mapping[PartKey, PoolPart], parts: Mapping[PartKey, PoolPart]) -> dict[PartKey, PoolPart]:
    """What holds while parts are being written: the smaller of what was and what will be."""
    found = {}
    for key, part in parts.items():
        was = told.get(key)
        if was is not None:
            most = [one for one in (was.most, part.most) if one is not None]
            found[key] = replace(part, most=min(most, default=None))
    return found


def is_limit(resource: str) -> bool:
    """Whether a claim is of a limit."""
    return resource.startswith(PREFIX)


def _lasting(claims: Mapping[str, Claim], now_ms: int) -> dict[str, Claim]:
    return {
        name: claim
        for name, claim in claims.items()
        if is_limit(name) and (not claim.until_ms or claim.until_ms + GRACE_MS > now_ms)
    }


def part_of(most: int | None, total: int | None, others: Mapping[str, Claim], alive: Collection[str]) -> PoolPart:
    """What a pool may come to, with what the others say of the same."""
    kept = {pool: max(0, claim.held - claim.used) for pool, claim in others.items()}
    return PoolPart(
        most=most,
        total=total,
        spent=sum(claim.used for claim in others.values()),
        kept=sum(kept.values()),
        asleep=sum(amount for pool, amount in kept.items() if pool not in alive),
        pools=partners(others, ""),
    )
