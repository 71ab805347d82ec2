"""One flush: look, decide, write, commit; and when that fails, find the batch that is to blame.

A flush is one transaction over many batches. If it fails, everything in it is rolled back and each batch is tried in a
transaction of its own: the one that the database refuses gets the error, the others are applied. A batch is applied
whole or not at all. Nothing is acknowledged before its commit returned, so what was acknowledged is never lost; an
error at the commit itself leaves the outcome open, which is why every command can be asked again (ids come from the
caller, generations guard the rest).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

from ostler.budget.buckets import pieces
from ostler.budget.ledger import Account, follow
from ostler.domain.commands import Command, PruneCalls, PruneEvents, PruneTasks, PutObservations, Result
from ostler.domain.event_totals import totals_of
from ostler.domain.ledger import Span, Spent
from ostler.domain.live import GatewayKey
from ostler.domain.tasks import Task
from ostler.store import rows
from ostler.store.errors import CannotBeginError, StoreError
from ostler.store.gateway import GatewayPlan, use_row
from ostler.store.group_commit import Outcome
from ostler.store.ledger import LedgerPlan, spent_of
from ostler.store.ledger_check import NEWEST, SUMMED, torn
from ostler.store.picture import Known, Needs, Picture, TokenRow
from ostler.store.plan import Plan
from ostler.store.registry import RegistryPlan
from ostler.store.statements import Statements, chunks


class Found(Protocol):
    """What a look found: what both drivers' cursors have."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row
        """The next row."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Row by row."""
        ...


class Session(Protocol):
    """The connection that writes, with the engine's own way to begin and to end a transaction."""

    def last_event_seq(self) -> int:
        """Number of the newest event ever written."""
        ...

    def begin(self) -> None:
        """Begin a transaction that may write. This, or the first that is done in it, raises `CannotBeginError`."""
        ...

    def look(self, text: str, parameters: Sequence[str | int] = (), /) -> Found:
        """Ask. What is found is to be taken before the next question."""
        ...

    def many(self, text: str, parameters: list[rows.Row]) -> None:
        """Run a statement for each of some rows. What is wrong with them may be raised by `commit`."""
        ...

    def exactly(self, text: str, parameters: list[rows.Row]) -> None:
        """As `many`, where each of them changes one row: where one does not, this or `commit` raises."""
        ...

    def commit(self, last_event_seq: int) -> None:
        """Make it durable, or raise and leave nothing of it. `last_event_seq`: the newest number it has given."""
        ...

    def rollback(self) -> None:
        """Undo it."""
        ...

    def lost(self) -> bool:
        """Whether the connection broke in the middle of a transaction, so that trying it again may succeed."""
        ...


class Flusher:
    """Applies batches on one connection. Lives in the writer thread."""

    def __init__(self, session: Session, statements: Statements, explain: Callable[[Exception], Exception]) -> None:
        self._session = session
        self._sql = statements
        self._explain = explain
        try:  # in a transaction like every other look: behind a pooler the next one may meet another session
            session.begin()
            self._last_task_seq: int = session.look(statements.last_task_seq).fetchone()[0] or 0
            self._last_event_seq = session.last_event_seq()
            self._last_ledger_seq = self._sound_ledger()
        except CannotBeginError as error:
            raise _cause(error) from error
        finally:
            session.rollback()
        self.retry_count = 0
        """Flushes that had to be taken apart."""

    def _sound_ledger(self) -> int:
        """Number of the newest entry. Raises `StoreError` when entries or sums are missing: none is read as 0."""
        newest_seq, entries = self._session.look(NEWEST).fetchone()
        problem = torn(newest_seq, entries, self._session.look(SUMMED).fetchone()[0])
        if problem is not None:
            raise StoreError(problem, remedy="somebody edited or cut the file: restore a backup")
        return int(newest_seq)

    def flush(self, batches: Sequence[Sequence[Command]]) -> list[Outcome]:
        """See `group_commit.Backend`."""
        try:
            return list(self._tried_again_if_lost(batches))
        except CannotBeginError as error:
            return [self._explain(_cause(error))] * len(batches)
        except Exception as error:  # boundary: one batch must not take the others down, whatever is wrong with it
            if len(batches) == 1:
                return [self._explain(error)]
        self.retry_count += 1
        return self._one_by_one(batches)

    def _one_by_one(self, batches: Sequence[Sequence[Command]]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for batch in batches:
            try:
                outcomes += self._tried_again_if_lost([batch])
            except CannotBeginError as error:
                outcomes += [self._explain(_cause(error))] * (len(batches) - len(outcomes))
                break
            except Exception as error:  # boundary: the error is the answer of this batch
                outcomes.append(self._explain(error))
        return outcomes

    def _tried_again_if_lost(self, batches: Sequence[Sequence[Command]]) -> list[list[Result]]:
        """A transaction whose connection broke has left nothing behind: it is tried once more on a new one."""
        try:
            return self._transaction(batches)
        except CannotBeginError:
            raise
        except Exception:  # boundary: whatever broke with the connection; anything else is raised again
            if not self._session.lost():
                raise
        return self._transaction(batches)

    def _transaction(self, batches: Sequence[Sequence[Command]]) -> list[list[Result]]:
        self._session.begin()
        try:
            plan = Plan(self._picture(batches), self._last_event_seq, self._last_ledger_seq)
            add = plan.add
            results = [[add(command) for command in batch] for batch in batches]
            self._write(plan)
            self._session.commit(plan.last_event_seq)
        except BaseException:
            self._session.rollback()
            raise
        self._last_event_seq = plan.last_event_seq
        self._last_ledger_seq = plan.ledger.last_seq
        self._last_task_seq = max(chain((self._last_task_seq,), (known.seq for known in plan.new_tasks.values())))
        return results

    def _picture(self, batches: Sequence[Sequence[Command]]) -> Picture:
        needs = Needs(self._last_task_seq)
        needs.collect(batches)
        sql, look = self._sql, self._session.look
        tasks = {
            task_id: Known(seq, rows.STATE_OF[state], generation, batch, None)
            for task_id, seq, state, generation, batch in self._look_up(sql.tasks_by_id, needs.task_ids)
        }
        spec_ids = needs.wanted_spec_ids | (needs.submit_ids & tasks.keys())
        return Picture(
            tasks=tasks,
            specs={task_id: rows.decode_spec(text) for task_id, text in self._look_up(sql.specs_by_id, spec_ids)},
            taken_seqs={row[0] for row in self._look_up(sql.seqs_taken, needs.seqs)},
            tokens={row[0]: TokenRow(*row) for row in look(sql.all_tokens)} if needs.tokens else {},
            endpoint_names={row[0] for row in look(sql.all_endpoint_names)} if needs.endpoints else set(),
            keys=self._keys() if needs.keys else {},
            loops=dict(look(sql.loop_versions).fetchall()) if needs.loops else {},
            accounts=self._accounts(needs.attempts),
            spent={span: self._spent(span) for span in needs.spans},
            load_task=self._load_task,
        )

    def _accounts(self, attempts: Collection[str]) -> dict[str, Account]:
        accounts: dict[str, Account] = {}
        for _seq, text in sorted(self._look_up(self._sql.ledger.by_attempt, attempts)):
            entry = rows.decode_entry(text)
            accounts[entry.attempt] = follow(accounts.get(entry.attempt), entry)
        return accounts

    def _spent(self, span: Span) -> Spent:
        text, scope = self._sql.ledger.sums, (span.scope.value, span.value)
        found = (self._session.look(text, (*scope, *piece)).fetchall() for piece in pieces(span))
        return spent_of(chain.from_iterable(found))

    def _keys(self) -> dict[str, GatewayKey]:
        return {name: rows.decode_key(text) for name, text in self._session.look(self._sql.gateway.all_keys)}

    def _load_task(self, seq: int) -> Task:
        row = self._session.look(self._sql.task_by_seq, (seq,)).fetchone()
        return rows.decode_task(row[0])

    def _look_up(self, texts: Sequence[str], values: Collection[str | int]) -> Iterator[rows.Row]:
        """Rows of a lookup by a set of values."""
        for fitting, chunk in chunks(values):
            yield from self._session.look(texts[fitting], chunk).fetchall()

    def _write(self, plan: Plan) -> None:
        sql = self._sql
        inserts, open_changes, changes = plan.task_rows()
        self._many(sql.insert_task, inserts)
        self._many(sql.insert_spec, plan.specs)
        self._change(sql.change_open, open_changes)
        self._change(sql.change, changes)
        self._many(sql.put_attempt, plan.attempts)
        self._many(sql.put_decision, plan.decisions)
        self._many(sql.put_output, plan.outputs)
        self._many(sql.insert_late_report, plan.late_reports)
        self._many(sql.insert_event, plan.events)
        self._write_registry(plan.registry)
        self._many(sql.drop_loop, [(name,) for name, row in plan.loops.rows.items() if row is None])
        self._many(sql.put_loop, [row for row in plan.loops.rows.values() if row is not None])
        self._write_gateway(plan.gateway)
        self._write_ledger(plan.ledger)

    def _write_registry(self, registry: RegistryPlan) -> None:
        sql = self._sql
        for entries, drop, put in (
            (registry.sessions, sql.drop_session, sql.put_session),
            (registry.endpoints, sql.drop_endpoint, sql.put_endpoint),
            # A token is never overwritten, so its name is freed first: it may have been dropped and given again.
            (registry.tokens, sql.drop_token, sql.insert_token),
        ):
            dropped = [(key,) for key, row in entries.items() if row is None or put is sql.insert_token]
            self._many(drop, dropped)
            self._many(put, [row for row in entries.values() if row is not None])
        self._many(sql.put_measurement, list(registry.measurements.values()))
        self._many(sql.put_allowance, list(registry.allowances.values()))
        self._many(sql.put_plan, list(registry.plans.values()))
        self._many(sql.put_alert, list(registry.alerts.values()))
        for pruning in registry.prunings:
            if isinstance(pruning, PruneTasks):
                self._prune_tasks(pruning)
            else:
                self._prune_events(pruning)
        for step in registry.observations:
            if isinstance(step, PutObservations):
                self._many(sql.insert_observation, list(map(rows.observation_row, step.observations)))
            elif step.ids:
                self._many(sql.drop_observation, [(name,) for name in step.ids])
            else:
                self._many(sql.forget_observations, [rows.observation_query(step.which)])

    def _prune_tasks(self, step: PruneTasks) -> None:
        """After the tasks of this flush are written, as below. O(tasks in the span + tasks of their batches)."""
        sql, look = self._sql, self._session.look
        found = look(sql.old_tasks, (step.after_seq, step.to_seq, step.before_ms)).fetchall()
        batches = {batch for _, _, batch in found if batch is not None}
        going_on = {batch for batch in sorted(batches) if look(sql.batch_goes_on, (batch, step.before_ms)).fetchone()}
        stays = frozenset(step.keep)
        gone = [(seq,) for seq, name, batch in found if batch not in going_on and name not in stays]
        for text in sql.drop_tasks:
            self._many(text, gone)
        empty = [batch for batch in sorted(batches - going_on) if not look(sql.batch_is_there, (batch,)).fetchone()]
        self._many(sql.drop_plans, [(batch,) for batch in empty])

    def _prune_events(self, step: PruneEvents) -> None:
        """After the tasks of this flush are written: one that it opened again keeps its events."""
        sql = self._sql
        span = (step.after_seq, step.to_seq, step.before_ms, step.before_ms)
        old = [rows.event_of(*row) for row in self._session.look(sql.old_events, span).fetchall()]
        self._many(sql.add_total, [rows.total_row(total) for total in totals_of(old)])
        self._many(sql.drop_event, [(event.seq,) for event in old])

    def _write_gateway(self, gateway: GatewayPlan) -> None:
        sql = self._sql.gateway
        self._many(sql.put_key, [rows.key_row(key) for key in gateway.keys.values()])
        for step in gateway.steps:
            if isinstance(step, PruneCalls):
                self._prune(step)
            else:
                self._many(sql.insert_call, step.calls)
                self._many(sql.put_call_decision, step.decisions)

    def _prune(self, step: PruneCalls) -> None:
        sql, look = self._sql.gateway, self._session.look
        oldest = look(sql.oldest_calls, (step.before_ms, max(0, step.limit))).fetchall()
        self._many(sql.add_pruned, [use_row(*row[1:]) for row in oldest])
        self._many(sql.drop_call, [row[:1] for row in oldest])
        self._many(sql.drop_call_decisions, [(step.decisions_before_ms,)])

    def _write_ledger(self, ledger: LedgerPlan) -> None:
        sql = self._sql.ledger
        self._many(sql.insert_entry, ledger.entries)
        fresh, added = ledger.sum_rows()
        self._many(sql.insert_sum, fresh)
        self._many(sql.add_sum, added)

    def _many(self, text: str, parameters: list[rows.Row]) -> None:
        if parameters:
            self._session.many(text, parameters)

    def _change(self, text: str, parameters: list[rows.Row]) -> None:
        if parameters:
            self._session.exactly(text, parameters)


def _cause(error: CannotBeginError) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error
