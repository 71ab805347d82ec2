"""The reads of the port for every store that keeps its tables in a database: each is one query set in one snapshot.

A store says where a read runs (`_read`): in which thread, on which connection, in what kind of snapshot.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from ostler.domain.alerts import Alert
from ostler.domain.event import Event
from ostler.domain.event_totals import EventTotal
from ostler.domain.ledger import LedgerEntry, LedgerQuery, Span, Spent, Summed
from ostler.domain.limits import ScopeKind
from ostler.domain.live import CallRecord, GatewayKey, KeySpend
from ostler.domain.loops import Loop
from ostler.domain.observations import Observation, ObservationQuery
from ostler.domain.plans import StoredPlan
from ostler.domain.ports import CallDetail, CallQuery, OpenWork, TaskDetail, TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.domain.tokens import KnownToken
from ostler.store import call_reads, ledger_reads, reads
from ostler.store.reads import Queries
from ostler.store.rows import Run

T = TypeVar("T")


class StoreReads(ABC):
    """Everything of the port that only reads."""

    @abstractmethod
    async def _read(self, read: Callable[[Run, Queries], T]) -> T:
        """Run a read in one snapshot that sees all that was acknowledged."""

    async def open_work(self) -> OpenWork:
        """See the port."""
        return await self._read(reads.open_work)

    async def states(self, ids: Sequence[str]) -> dict[str, TaskState]:
        """See the port."""
        return await self._read(lambda run, queries: reads.states(run, queries, ids))

    async def rows(self, ids: Sequence[str]) -> dict[str, Task]:
        """See the port."""
        return await self._read(lambda run, queries: reads.task_rows(run, queries, ids))

    async def outputs(self, ids: Sequence[str]) -> dict[str, str]:
        """See the port."""
        return await self._read(lambda run, queries: reads.newest_outputs(run, queries, ids))

    async def specs(self, ids: Sequence[str]) -> dict[str, TaskSpec]:
        """See the port."""
        return await self._read(lambda run, queries: reads.task_specs(run, queries, ids))

    async def task(self, task_id: str) -> TaskDetail | None:
        """See the port."""
        return await self._read(lambda run, queries: reads.task_detail(run, queries, task_id))

    async def tasks(self, query: TaskQuery) -> list[Task]:
        """See the port."""
        return await self._read(lambda run, queries: reads.tasks(run, queries, query))

    async def events(self, *, after_seq: int = 0, limit: int = 500, task_id: str | None = None) -> list[Event]:
        """See the port."""
        return await self._read(
            lambda run, queries: reads.events(run, queries, after_seq=after_seq, limit=limit, task_id=task_id)
        )

    async def event_totals(self, since_ms: int = 0) -> list[EventTotal]:
        """See the port."""
        return await self._read(lambda run, queries: reads.event_totals(run, queries, since_ms))

    async def alerts(self) -> list[Alert]:
        """See the port."""
        return await self._read(reads.alerts)

    async def plans(self, batch: str) -> list[StoredPlan]:
        """See the port."""
        return await self._read(lambda run, queries: reads.plans(run, queries, batch))

    async def late_reports(self, limit: int) -> list[bytes]:
        """See the port."""
        return await self._read(lambda run, queries: reads.late_reports(run, queries, limit))

    async def loops(self) -> list[Loop]:
        """See the port."""
        return await self._read(reads.loops)

    async def token_name(self, token_hash: str, scope: str) -> str | None:
        """See the port."""
        return await self._read(lambda run, queries: reads.token_name(run, queries, token_hash, scope))

    async def tokens(self) -> list[KnownToken]:
        """See the port."""
        return await self._read(reads.tokens)

    async def keys(self) -> list[GatewayKey]:
        """See the port."""
        return await self._read(lambda run, queries: call_reads.keys(run, queries.gateway))

    async def calls(self, query: CallQuery) -> list[CallRecord]:
        """See the port."""
        return await self._read(lambda run, queries: call_reads.calls(run, queries.gateway, query))

    async def call(self, call_id: str) -> CallDetail | None:
        """See the port."""
        return await self._read(lambda run, queries: call_reads.call_detail(run, queries.gateway, call_id))

    async def key_spend(self, since_ms: int) -> KeySpend:
        """See the port."""
        return await self._read(lambda run, queries: call_reads.key_spend(run, queries.gateway, since_ms))

    async def oldest_call_ms(self) -> int | None:
        """See the port."""
        return await self._read(lambda run, queries: call_reads.oldest_call_ms(run, queries.gateway))

    async def spent(self, spans: Sequence[Span]) -> list[Spent]:
        """See the port."""
        return await self._read(lambda run, queries: ledger_reads.spent(run, queries.ledger, spans))

    async def sums(self, kinds: Sequence[ScopeKind], since_ms: int) -> list[Summed]:
        """See the port."""
        return await self._read(lambda run, queries: ledger_reads.summed(run, queries.ledger, kinds, since_ms))

    async def ledger(self, query: LedgerQuery) -> list[LedgerEntry]:
        """See the port."""
        return await self._read(lambda run, queries: ledger_reads.entries(run, queries.ledger, query))

    async def open_reservations(self) -> list[LedgerEntry]:
        """See the port."""
        return await self._read(lambda run, queries: ledger_reads.open_reservations(run, queries.ledger))

    async def charged(self, kind: ScopeKind) -> list[str]:
        """See the port."""
        return await self._read(lambda run, queries: ledger_reads.values(run, queries.ledger, kind))

    async def observations(self, query: ObservationQuery) -> list[Observation]:
        """See the port."""
        return await self._read(lambda run, queries: reads.observations(run, queries, query))
