"""The statements of a flush, as text in the parameter order of the engine (see `texts`).

A flush runs each of them with all of its rows at once (executemany), on the driver's cursor: Core's own execution
costs several times the statement when there is one row, and a store with one caller flushes one row at a time.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeVar

IN_SIZES = (1, 4, 16, 64, 256)
"""Lengths of the value lists that lookups are compiled for (see `chunks`). All are far below the engine's limit on
variables, and so few texts stay in the driver's cache of prepared statements."""

OPEN_CHANGES = ("state", "prev_state", "generation", "priority", "session", "wait_code", "created_ms", "updated_ms")


Value = TypeVar("Value")


class GatewayStatements(NamedTuple):
    """Those about keys and calls of the gateway."""

    all_keys: str
    """name, body."""
    put_key: str
    insert_call: str
    """Does nothing where the id is there."""
    put_call_decision: str
    oldest_calls: str
    """id, key, at_ms, cost: before this instant, at most so many."""
    drop_call: str
    add_pruned: str
    """Adds to what was pruned of the key and day."""
    drop_call_decisions: str
    """Last used before this instant."""


class LedgerStatements(NamedTuple):
    """Those about money."""

    by_attempt: tuple[str, ...]
    """seq, body; one text for each of `IN_SIZES`."""
    sums: str
    """Used, then held counts by scope, value, grain, from an instant, before another: one row of totals, or none."""
    insert_entry: str
    insert_sum: str
    """Does nothing where the row is there."""
    add_sum: str
    """What is added, then the key."""


class Statements(NamedTuple):
    """Text of every statement; parameters by position, in the order of `rows`."""

    insert_task: str
    insert_spec: str
    change: str
    """Any transition: all columns but the identity."""
    change_open: str
    """A transition between open states of a task that stays in its batch: leaves every indexed column alone, so that
    no index is written."""
    put_attempt: str
    put_decision: str
    put_output: str
    insert_late_report: str
    insert_event: str
    put_session: str
    put_endpoint: str
    put_measurement: str
    put_allowance: str
    put_plan: str
    put_loop: str
    insert_observation: str
    """Does nothing where the id is there."""
    forget_observations: str
    drop_observation: str
    put_alert: str
    old_tasks: str
    """seq, id, batch: above a number, up to another, ended before an instant; never the newest of all."""
    batch_goes_on: str
    """A row if a task of this batch is open, or ended at an instant or later."""
    batch_is_there: str
    """A row if a task of this batch is kept."""
    drop_tasks: tuple[str, ...]
    """Everything about a task by its number, in an order in which nothing refers to what is gone."""
    drop_plans: str
    """By batch."""
    old_events: str
    """Columns of an event: above a number, up to another, before an instant, of no task or of one that ended before."""
    drop_event: str
    add_total: str
    """Adds to what is kept of the key."""
    insert_token: str
    drop_session: str
    drop_endpoint: str
    drop_token: str
    drop_loop: str
    tasks_by_id: tuple[str, ...]
    """id, seq, state, generation, batch; one text for each of `IN_SIZES`, as the next two."""
    specs_by_id: tuple[str, ...]
    """id, body."""
    seqs_taken: tuple[str, ...]
    task_by_seq: str
    all_tokens: str
    all_endpoint_names: str
    loop_versions: str
    """name, version."""
    last_task_seq: str
    gateway: GatewayStatements
    ledger: LedgerStatements


def chunks(values: Collection[Value]) -> Iterator[tuple[int, list[Value]]]:
    """Values in lists of the lengths in `IN_SIZES`, each with the index of its length.

    The rest is padded with its last value when that at most doubles it; otherwise the longest list that it fills is
    taken off first.
    """
    rest = list(values)
    while rest:
        fitting = min(bisect_left(IN_SIZES, len(rest)), len(IN_SIZES) - 1)
        if IN_SIZES[fitting] > 2 * len(rest):
            fitting -= 1
        size = IN_SIZES[fitting]
        chunk, rest = rest[:size], rest[size:]
        yield fitting, chunk + [chunk[-1]] * (size - len(chunk))
