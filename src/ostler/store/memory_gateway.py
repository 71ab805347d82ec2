"""The part of the reference store about the gateway: keys and calls in dictionaries, one command after the other."""

from collections import Counter
from itertools import islice

import msgspec

from ostler.domain.commands import PruneCalls, PutCalls, PutKey, RefusalReason, RevokeKey
from ostler.domain.live import CallDecision, CallRecord, GatewayKey, KeySpend
from ostler.domain.ports import CallDetail, CallQuery
from ostler.store.gateway import day_of
from ostler.store.guards import Problem, key_problem


class MemoryGateway:
    """Keys, calls, their decisions, and what pruned calls have cost."""

    def __init__(self) -> None:
        self._keys: dict[str, GatewayKey] = {}
        self._calls: dict[str, CallRecord] = {}
        self._decisions: dict[str, CallDecision] = {}
        self._pruned: list[CallRecord] = []

    def key(self, command: PutKey | RevokeKey) -> tuple[Problem | None, bool]:
        """Why a command about a key is refused, and whether it changed anything."""
        if isinstance(command, PutKey):
            key = command.key
            problem = key_problem(command, self._keys)
            if problem is not None or key.name in self._keys:
                return problem, False
        else:
            known = self._keys.get(command.name)
            if known is None:
                return (RefusalReason.NOT_FOUND, f"there is no key named {command.name}"), False
            if known.revoked_ms is not None:
                return None, False
            key = msgspec.structs.replace(known, revoked_ms=command.at_ms)
        self._keys[key.name] = key
        return None, True

    def change_calls(self, command: PutCalls | PruneCalls) -> None:
        """Keep calls, or forget the oldest."""
        if isinstance(command, PutCalls):
            self.put_calls(command)
        else:
            self.prune_calls(command)

    def put_calls(self, command: PutCalls) -> None:
        """Keep what is not there yet."""
        for record in command.records:
            self._calls.setdefault(record.id, record)
        for row in command.decisions:
            known = self._decisions.get(row.key)
            self._decisions[row.key] = row if known is None else msgspec.structs.replace(known, used_ms=row.used_ms)

    def prune_calls(self, command: PruneCalls) -> None:
        """Forget the oldest ones."""
        old = sorted((record.at_ms, record.id) for record in self._calls.values() if record.at_ms < command.before_ms)
        self._pruned += [self._calls.pop(call_id) for _at_ms, call_id in islice(old, max(0, command.limit))]
        bound_ms = command.decisions_before_ms
        self._decisions = {key: row for key, row in self._decisions.items() if row.used_ms >= bound_ms}

    def keys(self) -> list[GatewayKey]:
        """See the port."""
        return [self._keys[name] for name in sorted(self._keys)]

    def calls(self, query: CallQuery) -> list[CallRecord]:
        """See the port."""
        found = sorted(self._calls.values(), key=_place, reverse=True)
        if query.before is not None:
            before = self._calls.get(query.before)
            found = [record for record in found if before is not None and _place(record) < _place(before)]
        return [record for record in found if _matches(record, query)][: max(0, query.limit)]

    def call(self, call_id: str) -> CallDetail | None:
        """See the port."""
        record = self._calls.get(call_id)
        if record is None:
            return None
        kept = self._decisions.get(record.decision_key)
        return CallDetail(record=record, decision=kept.decision if kept is not None else None)

    def key_spend(self, since_ms: int) -> KeySpend:
        """See the port."""
        counted = [record for record in self._calls.values() if record.at_ms >= since_ms]
        counted += [record for record in self._pruned if day_of(record.at_ms) >= since_ms]
        uses: Counter[str] = Counter()
        micro_usd: Counter[str] = Counter()
        last_ms: dict[str, int] = {}
        for record in counted:
            if record.key:
                uses[record.key] += 1
                micro_usd[record.key] += record.cost_micro_usd or 0
                last_ms[record.key] = max(record.at_ms, last_ms.get(record.key, record.at_ms))
        return KeySpend(since_ms=since_ms, micro_usd=dict(micro_usd), calls=dict(uses), last_ms=last_ms)

    def oldest_call_ms(self) -> int | None:
        """See the port."""
        return min((record.at_ms for record in self._calls.values()), default=None)


def _place(record: CallRecord) -> tuple[int, str]:
    return record.at_ms, record.id


def _matches(record: CallRecord, query: CallQuery) -> bool:
    return (
        (not query.key or record.key == query.key)
        and (query.model is None or query.model in {record.model, record.asked_model})
        and (query.endpoint is None or record.endpoint == query.endpoint)
        and (not query.failed or record.failure is not None)
    )
