"""The desk that answers the board's questions: the books of the scheduler for what is open, the store for what ended.

Every answer is bounded. What is costly and changes slowly (the ledger's newest entries, learned changes, savings) is
kept for `FRESH_MS`, so that pages that are looked at by many cost the hub the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ostler.domain.ledger import EntryKind, LedgerEntry, LedgerQuery
from ostler.domain.limits import ScopeKind
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.board import ROWS_MAX, home
from ostler.hub.board_views import Change, Changes, Charge, Find, Found, Home, Money, RunRow, Savings
from ostler.hub.listing import listed
from ostler.hub.money_board import ENTRIES_MAX, money
from ostler.hub.pump import Pump
from ostler.hub.status import tier_rows
from ostler.hub.views import HubStatus, TierRow

FRESH_MS = 15_000
SAVED_FRESH_MS = 300_000
SAVED_WAIT_S = 0.3
PAGE = 500
LOOKED_AT_MAX = 5_000
"""Tasks that are looked at for words; further ones are older."""
RUNS_OF_TASKS = 2_000
EVENTS_MAX = 5_000
CHANGES_MAX = 30
_GIVEN_UP = (TaskState.DEAD_LETTER, TaskState.FAILED)
_COUNTED = (ScopeKind.PROVIDER, ScopeKind.TIER, ScopeKind.MODEL)
LEARNED = "learning.changed"


class _Kept(NamedTuple):
    """Something that was read a moment ago."""

    at_ms: int
    entries: list[LedgerEntry]
    charged: Mapping[ScopeKind, Sequence[str]]
    fell_back: frozenset[str]


class BoardDesk:
    """Answers for people who look."""

    def __init__(self, pump: Pump, store: Store, status: Callable[[], Awaitable[HubStatus]]) -> None:
        self._pump = pump
        self._store = store
        self._status = status
        self._kept: _Kept | None = None
        self._changes: tuple[int, Changes] | None = None
        self._saved: tuple[int, Savings | None] | None = None
        self._reckoning: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self.savings: Callable[[], Savings | None] = lambda: None
        """Reckons what work on own machines saved, off the event loop; given by whoever has the profile."""

    async def home(self) -> Home:
        """What needs a person, what runs, what waits."""
        given_up = await self._store.tasks(TaskQuery(states=_GIVEN_UP, limit=ROWS_MAX))
        status = await self._status()
        return home(self._pump.scheduler.books, status, given_up, self._pump.clock.now_ms())

    def tiers(self) -> tuple[TierRow, ...]:
        """The ladder as it stands."""
        return tier_rows(self._pump.scheduler.books, self._pump.clock.now_ms())

    async def find(self, query: Find) -> Found:
        """Tasks by words and states, newest first. An id that is whole is found however old it is."""
        words = query.text.casefold().split()
        found = await self._by_id(query) if words else []
        before, looked_at = query.before_seq, 0
        size = PAGE if words else query.limit + 1
        while len(found) <= query.limit and looked_at < LOOKED_AT_MAX:
            wanted = TaskQuery(states=query.states, batch=query.batch, limit=size, before_seq=before)
            page = await listed(self._store, self._pump.scheduler.books.tasks, wanted)
            looked_at += len(page)
            known = {task.id for task in found}
            found += [task for row in page if row.id not in known and _has(task := self._live(row), words)]
            if len(page) < size:
                break
            before = page[-1].seq
        shown = found[: query.limit]
        return Found(
            tasks=tuple(shown),
            next_before=shown[-1].seq if shown and len(found) > query.limit else None,
            looked_at=looked_at,
            now_ms=self._pump.clock.now_ms(),
        )

    async def _by_id(self, query: Find) -> list[Task]:
        if query.before_seq is not None:
            return []
        rows = await self._store.rows([query.text.strip()])
        return [self._live(row) for row in rows.values() if not query.states or row.state in query.states]

    def _live(self, task: Task) -> Task:
        """The stored row with the wait reason of this moment."""
        wait = self._pump.scheduler.wait_of(task.id) if task.state is TaskState.QUEUED else None
        return task if wait is None else msgspec.structs.replace(task, wait=wait)

    async def runs(self) -> tuple[RunRow, ...]:
        """Batches of the newest tasks, the one that changed last first."""
        tasks = await self._store.tasks(TaskQuery(limit=RUNS_OF_TASKS))
        found: dict[str, list[Task]] = {}
        for task in tasks:
            if task.batch is not None:
                found.setdefault(task.batch, []).append(task)
        following = self._pump.scheduler.books.following
        rows = [_run(name, members, planned=name in following) for name, members in found.items()]
        return tuple(sorted(rows, key=lambda row: (-row.updated_ms, row.name)))

    async def charges(self, task_id: str, generations: Sequence[int]) -> dict[int, Charge]:
        """What attempts of a task came to: the newest word of the ledger about each."""
        found: dict[int, Charge] = {}
        for generation in generations:
            query = LedgerQuery(attempt=f"{task_id}/{generation}", newest_first=True, limit=1)
            for entry in await self._store.ledger(query):
                found[generation] = Charge(
                    micro_usd=entry.amount.micro_usd,
                    basis=entry.basis.value,
                    open=entry.kind is EntryKind.RESERVE,
                    ambiguous=entry.ambiguous,
                )
        return found

    async def money(self) -> Money:
        """Spent, held, limits, subscriptions, unknown prices, fallbacks, savings."""
        kept, books = await self._ledger(), self._pump.scheduler.books
        now_ms = self._pump.clock.now_ms()
        found = money(
            books.money,
            books.policy.budget,
            kept.charged,
            kept.entries,
            kept.fell_back,
            now_ms,
            books.allowances.known.values(),
            books.parts.of,
        )
        return msgspec.structs.replace(found, savings=await self._savings())

    async def _ledger(self) -> _Kept:
        async with self._reading:
            now_ms = self._pump.clock.now_ms()
            if self._kept is None or now_ms - self._kept.at_ms >= FRESH_MS:
                entries = await self._store.ledger(LedgerQuery(newest_first=True, limit=ENTRIES_MAX))
                limited = {limit.scope for limit in self._pump.scheduler.books.policy.budget.limits}
                kinds = dict.fromkeys((*_COUNTED, *sorted(limited - {ScopeKind.ALL})))
                charged = {kind: tuple(await self._store.charged(kind)) for kind in kinds}
                self._kept = _Kept(now_ms, entries, charged, await self._fell_back(entries))
            return self._kept

    async def _fell_back(self, entries: Iterable[LedgerEntry]) -> frozenset[str]:
        """Tasks among those that were charged whose newest attempt ran by fallback."""
        names = sorted({entry.scopes.task for entry in entries if entry.scopes.task})
        rows = await self._store.rows(names) if names else {}
        return frozenset(name for name, row in rows.items() if row.fallback_used)

    async def _savings(self) -> Savings | None:
        """As of the last time; a new reckoning is begun when that is long ago, and waited for only a moment."""
        now_ms = self._pump.clock.now_ms()
        if self._reckoning is None and (self._saved is None or now_ms - self._saved[0] >= SAVED_FRESH_MS):
            self._reckoning = asyncio.create_task(self._reckon(), name="savings")
        if self._reckoning is not None:
            await asyncio.wait({self._reckoning}, timeout=SAVED_WAIT_S)
        return self._saved[1] if self._saved is not None else None

    async def _reckon(self) -> None:
        try:
            self._saved = (self._pump.clock.now_ms(), await asyncio.to_thread(self.savings))
        finally:
            self._reckoning = None

    async def stop(self) -> None:
        """Reckon no longer. Safe to repeat."""
        if self._reckoning is not None:
            await asyncio.gather(self._reckoning, return_exceptions=True)

    async def changes(self) -> Changes:
        """What was learned lately and changed decisions, the newest first."""
        now_ms = self._pump.clock.now_ms()
        if self._changes is None or now_ms - self._changes[0] >= FRESH_MS:
            after = max(0, self._pump.last_seq - EVENTS_MAX)
            events = await self._store.events(after_seq=after, limit=EVENTS_MAX)
            found = [Change(event=event) for event in reversed(events) if event.name == LEARNED]
            self._changes = (now_ms, Changes(changes=tuple(found[:CHANGES_MAX]), events=len(events)))
        return self._changes[1]


def _has(task: Task, words: Sequence[str]) -> bool:
    """Whether every word stands in one of the fields that a row shows."""
    if not words:
        return True
    fields = (task.id, task.title, task.batch, task.model, task.endpoint, task.worker, task.tier, task.facts.repo)
    wait = (task.wait.code.value, task.wait.detail) if task.wait is not None else ()
    failure = (task.failure.kind.value, task.failure.message) if task.failure is not None else ()
    kind = (task.facts.kind.value, task.facts.classification.task_type, task.state.value)
    text = "\n".join(field for field in (*fields, *wait, *failure, *kind) if field).casefold()
    return all(word in text for word in words)


def _run(name: str, members: Sequence[Task], *, planned: bool) -> RunRow:
    states: dict[TaskState, int] = {}
    for task in members:
        states[task.state] = states.get(task.state, 0) + 1
    return RunRow(
        name=name,
        states=states,
        tasks=len(members),
        first_ms=min(task.created_ms for task in members),
        updated_ms=max(task.updated_ms for task in members),
        planned=planned,
    )
