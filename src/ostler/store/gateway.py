"""The part of a flush about the gateway: its keys, and the records of its calls.

Keys are a small set that is looked at as a whole; the last word on one wins. Calls are only ever added or pruned, and
nothing is looked up for them: what is there already is left alone by the statement itself. Adding and pruning are kept
in the order in which they came, since a call put after a pruning outlives it.
"""

import msgspec

from ostler.domain.commands import Applied, PruneCalls, PutCalls, PutKey, RefusalReason, Result, RevokeKey
from ostler.domain.live import GatewayKey
from ostler.store import rows
from ostler.store.guards import Problem, key_problem
from ostler.store.picture import Picture

DAY_MS = 86_400_000

_APPLIED = Applied()


class CallsStep:
    """Rows to add, from neighbouring commands."""

    def __init__(self) -> None:
        self.calls: list[rows.Row] = []
        self.decisions: list[rows.Row] = []


class GatewayPlan:
    """What a flush writes of keys and calls."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self.keys: dict[str, GatewayKey] = {}
        """The changed ones, by name."""
        self.steps: list[CallsStep | PruneCalls] = []

    def add_key(self, command: PutKey | RevokeKey) -> tuple[Problem | None, bool]:
        """Judge and note a command about a key: why it is refused, and whether it changes anything."""
        keys = self._picture.keys
        if isinstance(command, PutKey):
            problem = key_problem(command, keys)
            if problem is not None or command.key.name in keys:
                return problem, False
            key = command.key
        else:
            known = keys.get(command.name)
            if known is None:
                return (RefusalReason.NOT_FOUND, f"there is no key named {command.name}"), False
            if known.revoked_ms is not None:
                return None, False
            key = msgspec.structs.replace(known, revoked_ms=command.at_ms)
        keys[key.name] = self.keys[key.name] = key
        return None, True

    def add_calls(self, command: PutCalls | PruneCalls) -> Result:
        """Note calls to add or to prune; neither is ever refused."""
        if isinstance(command, PruneCalls):
            self.steps.append(command)
            return _APPLIED
        last = self.steps[-1] if self.steps else None
        if not isinstance(last, CallsStep):
            last = CallsStep()
            self.steps.append(last)
        last.calls += map(rows.call_row, command.records)
        last.decisions += map(rows.call_decision_row, command.decisions)
        return _APPLIED


def day_of(at_ms: int) -> int:
    """When the day (UTC) of an instant began."""
    return at_ms - at_ms % DAY_MS


def use_row(key: str, at_ms: int, cost_micro_usd: int | None) -> rows.Row:
    """What one call adds to `pruned_use`."""
    return (key, day_of(at_ms), 1, cost_micro_usd or 0, at_ms)
