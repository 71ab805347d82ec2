"""The hub's side of the gateway: keys are made, listed and revoked, calls are listed and explained, old ones pruned.

`ring` and `book` are what the gateway itself works with, at every call; the rest is for people.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Collection, Iterable

import msgspec

from ostler.domain.catalog import Catalog, normal_model
from ostler.domain.commands import PruneCalls, PutKey, Refused, RevokeKey
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError, nearest
from ostler.domain.event import Event
from ostler.domain.live import GatewayKey
from ostler.domain.ports import CallQuery, Store
from ostler.hub.call_book import CallBook
from ostler.hub.call_explaining import call_headline, call_lines
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow, KeyWish
from ostler.hub.janitor import sweep_every_s
from ostler.hub.key_ring import PREFIX, KeyRing
from ostler.hub.pump import Pump
from ostler.hub.tokens import NAME_LENGTH_MAX, token_hash
from ostler.hub.windows import DAY_MS, WINDOWS, window_of
from ostler.routing.ladder import Ladder

KEEP_CALLS_MS = 30 * DAY_MS
PRUNE_BATCH = 500
PRUNE_PAUSE_S = 0.02
"""Between two batches, so that the writer of the store serves others in between."""
_SECRET_BYTES = 32
_NOWHERE = {"models": "neither the profile nor any endpoint has a model", "tiers": "the profile has no tier"}


class GatewayDesk:
    """Keys and calls of the gateway."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self.ring = KeyRing(pump.clock.now_ms)
        self.book = CallBook(pump, self.ring)
        self.keep_calls_ms = KEEP_CALLS_MS
        """How long records of calls are kept; may be changed at any time."""
        self._pruning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up the stored keys and what they have spent; prune old calls now and then."""
        keys, now_ms = await self._store.keys(), self._pump.clock.now_ms()
        if keys:
            used = await self._store.key_spend(0)
            spent: dict[str, int] = {}
            for window in sorted({key.limit_window for key in keys}):
                since_ms = window_of(window, now_ms).since_ms
                found = await self._store.key_spend(since_ms) if since_ms else used
                spent |= {key.name: found.micro_usd.get(key.name, 0) for key in keys if key.limit_window == window}
            self.ring.load(keys, spent, used)
        self._pruning = asyncio.create_task(self._prune_for_ever(), name="prune-calls")

    async def stop(self) -> None:
        """Write the last records. Safe to repeat."""
        if self._pruning is not None:
            self._pruning.cancel()
            await asyncio.gather(self._pruning, return_exceptions=True)
        await self.book.stop()

    async def make_key(self, wish: KeyWish) -> KeyMade:
        """A new key; it is shown this once. Raises `InvalidInputError`, `ConflictError`."""
        _check_wish(wish)
        now_ms = self._pump.clock.now_ms()
        raw = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        key = GatewayKey(
            name=wish.name,
            key_hash=token_hash(raw),
            created_ms=now_ms,
            models=self._models(wish.models),
            tiers=_tiers(wish.tiers, self._pump.scheduler.books.policy.catalog),
            task=wish.task,
            priority=wish.priority,
            limit_micro_usd=wish.limit_micro_usd,
            limit_window=wish.limit_window,
            local_only=wish.local_only,
        )
        (result,) = await self._pump.apply([PutKey(key=key, event=_created(key))])
        if isinstance(result, Refused):
            remedy = f"use another name, such as {self._free_name(wish.name)}"
            raise ConflictError(result.message, where="name", remedy=remedy)
        self.ring.put(key)
        return KeyMade(key=raw, row=self._row(key))

    async def keys(self) -> KeyList:
        """All keys with what they have spent."""
        rows = tuple(self._row(key) for key in self.ring.every_key())
        return KeyList(keys=rows, now_ms=self._pump.clock.now_ms())

    def models_of(self, tier: str) -> tuple[str, ...]:
        """Models of a tier, by name or alias; none when there is no such tier."""
        found = Ladder(self._pump.scheduler.books.policy.catalog).find(tier)
        return found.models if found is not None else ()

    async def revoke_key(self, name: str) -> KeyRow:
        """Make a key worthless, from now on and for good. One that is revoked already stays so."""
        now_ms = self._pump.clock.now_ms()
        event = Event(name="key.revoked", at_ms=now_ms, metadata={"key": name})
        (result,) = await self._pump.apply([RevokeKey(name=name, at_ms=now_ms, event=event)])
        if isinstance(result, Refused):
            open_keys = [key.name for key in self.ring.every_key() if key.revoked_ms is None]
            raise NotFoundError(f"there is no key named {name}", remedy=nearest(name, open_keys))
        revoked = next(key for key in await self._store.keys() if key.name == name)
        self.ring.put(revoked)
        return self._row(revoked)

    async def calls(self, query: CallQuery) -> CallList:
        """Calls, newest first, without prompts and answers."""
        await self.book.flush()
        records = await self._store.calls(query)
        bare = tuple(msgspec.structs.replace(record, prompt=None, answer=None) for record in records)
        return CallList(calls=bare, now_ms=self._pump.clock.now_ms())

    async def call(self, call_id: str) -> CallAnswer:
        """Everything about one call. Raises `NotFoundError`."""
        await self.book.flush()
        detail = await self._store.call(call_id)
        if detail is None:
            raise NotFoundError(f"there is no call {call_id}", remedy="`ostler calls list` shows what is kept")
        now_ms = self._pump.clock.now_ms()
        return CallAnswer(
            record=detail.record,
            headline=call_headline(detail.record),
            lines=call_lines(detail.record, detail.decision, now_ms),
            decision=detail.decision,
            now_ms=now_ms,
        )

    async def prune(self) -> None:
        """Forget calls that are older than they are to be kept, a small batch at a time."""
        before_ms = self._pump.clock.now_ms() - self.keep_calls_ms
        while (oldest_ms := await self._store.oldest_call_ms()) is not None and oldest_ms < before_ms:
            # A decision's last use is known to a day (see `CallBook`).
            unused_ms = before_ms - 2 * DAY_MS
            command = PruneCalls(before_ms=before_ms, limit=PRUNE_BATCH, decisions_before_ms=unused_ms)
            await self._pump.apply([command])
            await asyncio.sleep(PRUNE_PAUSE_S)

    async def _prune_for_ever(self) -> None:
        while True:
            with contextlib.suppress(OstlerError):  # a store that fails is told of by whoever must write
                await self.prune()
            await asyncio.sleep(sweep_every_s(self.keep_calls_ms))

    def _models(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Models by their own names."""
        books = self._pump.scheduler.books
        catalog, offered = books.policy.catalog, books.endpoints.by_model
        wanted = [catalog.model_aliases.get(normal_model(name), normal_model(name)) for name in names]
        valid = {*catalog.models, *catalog.model_aliases, *offered}
        _refuse_unknown(names, [name in valid for name in wanted], valid, "models")
        return _once(wanted)

    def _free_name(self, stem: str) -> str:
        taken = {key.name for key in self.ring.every_key()}
        return next(name for number in itertools.count(2) if (name := f"{stem}-{number}") not in taken)

    def _row(self, key: GatewayKey) -> KeyRow:
        use = self.ring.use(key)
        return KeyRow(
            name=key.name,
            created_ms=key.created_ms,
            revoked_ms=key.revoked_ms,
            models=key.models,
            tiers=key.tiers,
            task=key.task,
            priority=key.priority,
            local_only=key.local_only,
            limit_micro_usd=key.limit_micro_usd,
            limit_window=key.limit_window,
            spent_micro_usd=use.micro_usd,
            window_ends_ms=use.window.ends_ms,
            calls=use.calls,
            last_used_ms=use.last_ms,
        )


def _tiers(names: tuple[str, ...], catalog: Catalog) -> tuple[str, ...]:
    """Tiers by their own names; `direct` has no model, so no call can use it."""
    ladder = {tier.name for tier in catalog.tiers if tier.models}
    wanted = [catalog.tier_aliases.get(name, name) for name in names]
    _refuse_unknown(names, [name in ladder for name in wanted], ladder | set(catalog.tier_aliases), "tiers")
    return _once(wanted)


def _refuse_unknown(names: Iterable[str], known: Iterable[bool], valid: Collection[str], where: str) -> None:
    for name, is_known in zip(names, known, strict=True):
        if not is_known:
            raise InvalidInputError(f"{_NOWHERE[where]} '{name}'", where=where, remedy=nearest(name, valid))


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _check_wish(wish: KeyWish) -> None:
    if not wish.name or not wish.name.isprintable() or len(wish.name) > NAME_LENGTH_MAX:
        remedy = f"say who will use it, in at most {NAME_LENGTH_MAX} characters"
        raise InvalidInputError("a key needs a name", where="name", remedy=remedy)
    if wish.limit_window not in WINDOWS:
        raise InvalidInputError(
            f"no window {wish.limit_window!r}", where="limit_window", remedy=nearest(wish.limit_window, WINDOWS)
        )
    if wish.limit_micro_usd is not None and wish.limit_micro_usd <= 0:
        raise InvalidInputError(
            "a limit is more than nothing", where="limit_micro_usd", remedy="leave it out for none, or revoke the key"
        )


def _created(key: GatewayKey) -> Event:
    limit = {} if key.limit_micro_usd is None else {"limit_micro_usd": key.limit_micro_usd}
    metadata = {"key": key.name, "task": key.task, "limit_window": key.limit_window}
    return Event(name="key.created", at_ms=key.created_ms, measurements=limit, metadata=metadata)
