"""The book of finished calls: records go in without waiting, and to the store in batches beside the calls.

    add(record) -> waiting -> one write at a time: at 200 records, or 50 ms after the first -> committer -> store

Nobody waits for a record. What waits is bounded: when the store is slower than the calls, the oldest are dropped,
counted, and told in an event when it can be told. A store that fails is tried again; a record that cannot be stored is
dropped alone. What a call cost is charged to its key at once, written or not.

Decisions are shared by many calls: each is written once, and again once a day while it is used, so that pruning knows
which ones nobody names any more.
"""

import asyncio
from collections import Counter, deque

import structlog

from ostler.domain.commands import AppendEvents, Command, PutCalls
from ostler.domain.decision import Decision
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.event import Event
from ostler.domain.live import CallDecision, CallRecord, Refusal
from ostler.hub.gateway_views import CallTotals, ModelUse
from ostler.hub.key_ring import KeyRing
from ostler.hub.pump import Pump
from ostler.hub.refusals import Refusals
from ostler.hub.windows import DAY_MS

FLUSH_RECORDS = 200
FLUSH_S = 0.05
MAX_BATCH = 1_000
MAX_WAITING = 20_000
MAX_DECISIONS = 10_000
"""Keys of written decisions that are remembered."""
RETRY_S = 1.0
STOP_S = 5.0
"""How long the end of the hub waits for the last records."""

Entry = tuple[CallRecord, Decision | None]


class _Tally:
    """What calls of one model came to, counted up."""

    __slots__ = ("calls", "cost_micro_usd", "input_tokens", "output_tokens", "unpriced")

    def __init__(self) -> None:
        self.calls = self.input_tokens = self.output_tokens = self.cost_micro_usd = self.unpriced = 0

    def add(self, record: CallRecord) -> None:
        self.calls += 1
        for attempt in record.attempts:
            self.input_tokens += attempt.input_tokens
            self.output_tokens += attempt.output_tokens
        if record.cost_micro_usd is None:
            self.unpriced += 1
        else:
            self.cost_micro_usd += record.cost_micro_usd

    def use(self) -> ModelUse:
        """As it is told."""
        return ModelUse(**{name: getattr(self, name) for name in self.__slots__})


class CallBook:
    """Takes finished calls; needs a running event loop."""

    def __init__(self, pump: Pump, ring: KeyRing, *, max_waiting: int = MAX_WAITING) -> None:
        self._pump = pump
        self._ring = ring
        self._max_waiting = max_waiting
        self._waiting: deque[Entry] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._stopped = False
        self._written_decisions: dict[str, int] = {}
        self._untold = 0
        """Dropped records that no event has told of."""
        self._reason = ""
        self._calls = 0
        self._dropped = 0
        self._failures: Counter[str] = Counter()
        self._models: dict[str, _Tally] = {}
        self._refusals = Refusals(pump)
        self._log = structlog.get_logger("ostler.hub")

    def refused(self, refusal: Refusal) -> None:
        """Count a request that never became a call. Never waits and never raises."""
        if not self._stopped:
            self._refusals.add(refusal)

    def add(self, record: CallRecord, decision: Decision | None = None) -> None:
        """Take a finished call in. Never waits and never raises. `decision` is the one `record.decision_key` names."""
        self._ring.charge(record)
        self._count(record)
        if self._stopped:
            self._drop(1, "the hub has stopped")
            return
        self._waiting.append((record, decision))
        if len(self._waiting) > self._max_waiting:
            self._waiting.popleft()
            self._drop(1, "the store is slower than the calls")
        if self._writer is not None:
            return
        if len(self._waiting) >= FLUSH_RECORDS:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._begin)

    def totals(self) -> CallTotals:
        """Calls since the start."""
        return CallTotals(
            calls=self._calls,
            failures=dict(self._failures),
            models={model: tally.use() for model, tally in self._models.items()},
            unwritten=len(self._waiting),
            dropped=self._dropped,
        )

    async def flush(self, patience_s: float = 1.0) -> None:
        """Wait until what is in the book now is written, at most so long."""
        self._begin()
        if self._writer is not None:
            await asyncio.wait((self._writer,), timeout=patience_s)

    async def stop(self) -> None:
        """Write what waits, then take no more time; what cannot be written any more is dropped. Safe to repeat."""
        self._stopped = True
        await self._refusals.stop()
        if self._pump.fatal is None or not self._pump.fatal.done():
            await self.flush(STOP_S)
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._log.warning("records of calls are lost", count=len(self._waiting))

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write(), name="call-book")
            self._writer.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writer = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("the book of calls failed", error=str(error))
        if self._waiting and not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._begin)

    async def _write(self) -> None:
        """Write until nothing waits."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            try:
                await self._put_all(batch)
            except OstlerError as error:
                self._log.warning("records of calls cannot be written", error=str(error), waiting=len(self._waiting))
                if self._stopped:
                    return
                await asyncio.sleep(RETRY_S)

    async def _put_all(self, batch: list[Entry]) -> None:
        """Write a batch; where it cannot be stored, its halves, down to the record that is to blame. What an error of
        the store keeps from being written goes back into the book.
        """
        parts = [batch]
        while parts:
            part = parts.pop()
            try:
                await self._put(part)
            except InvalidInputError as error:
                if len(part) == 1:
                    self._log.error("the record of a call cannot be stored", call=part[0][0].id, error=str(error))
                    self._drop(1, "a record cannot be stored")
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
            except (OstlerError, asyncio.CancelledError):
                self._put_back([*part, *(entry for later in reversed(parts) for entry in later)])
                raise

    async def _put(self, batch: list[Entry]) -> None:
        decisions = self._unwritten_decisions(batch)
        records = tuple(record for record, _ in batch)
        commands: list[Command] = [PutCalls(records=records, decisions=tuple(decisions.values()))]
        untold = self._untold
        if untold:
            commands.append(AppendEvents(events=(self._dropped_event(untold),)))
        await self._pump.apply(commands)
        self._untold -= untold
        self._written_decisions |= {row.key: row.used_ms for row in decisions.values()}

    def _put_back(self, batch: list[Entry]) -> None:
        room = max(0, self._max_waiting - len(self._waiting))
        kept = batch[len(batch) - min(room, len(batch)) :]
        self._waiting.extendleft(reversed(kept))
        if len(kept) < len(batch):
            self._drop(len(batch) - len(kept), "the store is slower than the calls")

    def _unwritten_decisions(self, batch: list[Entry]) -> dict[str, CallDecision]:
        if len(self._written_decisions) > MAX_DECISIONS:
            self._written_decisions.clear()
        found: dict[str, CallDecision] = {}
        for record, decision in batch:
            key, written_ms = record.decision_key, self._written_decisions.get(record.decision_key)
            if decision is not None and key and (written_ms is None or record.at_ms - written_ms >= DAY_MS):
                found[key] = CallDecision(key=key, used_ms=record.at_ms, decision=decision)
        return found

    def _drop(self, count: int, reason: str) -> None:
        self._dropped += count
        self._untold += count
        self._reason = reason

    def _dropped_event(self, count: int) -> Event:
        return Event(
            name="call.records_dropped",
            at_ms=self._pump.clock.now_ms(),
            measurements={"dropped": count},
            metadata={"reason": self._reason},
        )

    def _count(self, record: CallRecord) -> None:
        self._calls += 1
        if record.failure is not None:
            self._failures[record.failure.value] += 1
        if record.model:
            tally = self._models.get(record.model)
            if tally is None:
                tally = self._models[record.model] = _Tally()
            tally.add(record)
