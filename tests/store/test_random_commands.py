"""Any sequence of commands gets the same answers, and leaves the same reads, in every store.

The reference applies one command after the other; the SQLite store looks first, collapses, and writes in sets, and is
opened anew in between. Whatever hypothesis finds to tell the two apart is a bug in one of them.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ostler.domain.allowances import Reported
from ostler.domain.commands import (
    Adjust,
    AppendEvents,
    Command,
    DropEndpoint,
    DropLoop,
    DropSession,
    DropToken,
    ForgetObservations,
    LateReport,
    PruneCalls,
    PutAllowances,
    PutCalls,
    PutEndpoint,
    PutKey,
    PutMeasurements,
    PutObservations,
    PutPlan,
    PutSessions,
    PutToken,
    Release,
    Reserve,
    Result,
    RevokeKey,
    SaveLoop,
    Settle,
    SubmitTasks,
    UpdateTask,
)
from ostler.domain.ledger import Amount, Bound, LedgerQuery, Scopes, Span
from ostler.domain.limits import ScopeKind, Unit
from ostler.domain.observations import ObservationQuery
from ostler.domain.ports import CallQuery, Store, TaskQuery
from ostler.domain.states import TRANSITIONS, FailureClass, TaskState
from ostler.store.gateway import DAY_MS
from ostler.store.memory import MemoryStore
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import (
    NOW_MS,
    make_attempt,
    make_call,
    make_call_decision,
    make_decision,
    make_endpoint,
    make_event,
    make_key,
    make_loop,
    make_measurement,
    make_new,
    make_observation,
    make_plan,
    make_session,
    make_task,
    make_update,
    moved,
)

T = TypeVar("T")

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
NAMES = st.sampled_from(["x", "y"])
SEQS = st.integers(min_value=1, max_value=12)
STATES = st.sampled_from(TaskState)
GENERATIONS = st.integers(min_value=0, max_value=2)
EVENTS = st.builds(make_event, st.none() | IDS, st.sampled_from(["one", "two"]), n=st.integers(0, 3)) | st.just(
    make_event("never submitted")
)

NEW = st.builds(
    make_new, IDS, SEQS, prompt=st.sampled_from(["p", "p", "p", "other"]), batch=st.sampled_from([None, "b1"])
)
BROKEN_NEW = st.builds(make_new, IDS, SEQS, state=STATES)
SUBMITS = st.builds(SubmitTasks, tasks=st.lists(NEW | NEW | BROKEN_NEW, max_size=3).map(tuple))


QUARTERS = st.sampled_from([0, 1, 95, 96, 97, 192])
SCOPES = st.builds(Scopes, provider=st.sampled_from(["", "x", "y"]), task=st.sampled_from(["", "a"]))
AMOUNTS = st.builds(Amount, micro_usd=st.integers(-1, 4), output_tokens=st.integers(0, 4), requests=st.integers(0, 1))
SPANS = st.builds(
    lambda scope, value, start, length: Span(
        scope=scope, value=value if scope is ScopeKind.PROVIDER else "", start_ms=start * 900_000,
        end_ms=(start + length) * 900_000,
    ),
    st.sampled_from([ScopeKind.ALL, ScopeKind.PROVIDER]),
    NAMES,
    QUARTERS,
    st.sampled_from([1, 96, 97, 300]),
)  # fmt: skip
BOUNDS = st.builds(
    Bound, limit=st.sampled_from(["day", "month"]), span=SPANS, unit=st.sampled_from(Unit), ceiling=st.integers(0, 9)
)
CHARGED = QUARTERS.map(lambda quarter: quarter * 900_000 + 7)
MONEY = st.one_of(
    st.builds(
        Reserve,
        attempt=IDS,
        at_ms=CHARGED,
        amount=AMOUNTS,
        scopes=SCOPES,
        bounds=st.lists(BOUNDS, max_size=3).map(tuple),
    ),
    st.builds(
        Settle, attempt=IDS, at_ms=CHARGED, amount=AMOUNTS, scopes=SCOPES, ambiguous=st.booleans(), asked_tier=NAMES
    ),
    st.builds(Release, attempt=IDS, at_ms=CHARGED),
    st.builds(Adjust, attempt=IDS, ref=NAMES, at_ms=CHARGED, amount=AMOUNTS),
)


@st.composite
def updates(draw: st.DrawFn) -> UpdateTask:
    """A transition that may fit what is stored or not."""
    before = make_task(draw(IDS), draw(SEQS), draw(STATES), generation=draw(GENERATIONS))
    command = make_update(before, draw(STATES), batch=draw(st.sampled_from([None, "b1", "b2"])))
    return with_extras(draw, command)


def with_extras(draw: st.DrawFn | Callable[[st.SearchStrategy[Any]], Any], command: UpdateTask) -> UpdateTask:
    """Attempt, decision, output and so on, each or none."""
    generation = draw(GENERATIONS)
    return msgspec.structs.replace(
        command,
        expect_states=draw(st.just(command.expect_states) | st.lists(STATES, max_size=4).map(tuple)),
        events=tuple(draw(st.lists(EVENTS, max_size=2))),
        attempt=draw(st.none() | st.just(make_attempt(command.task.id, generation))),
        decision=draw(st.none() | st.just(make_decision(command.task.id, generation))),
        output=draw(st.none() | st.sampled_from(["", "out"])),
        want_spec=draw(st.booleans()),
        money=draw(st.none() | MONEY),
    )


INSTANTS = st.sampled_from([0, 1, DAY_MS - 1, DAY_MS, DAY_MS + 1, 2 * DAY_MS])
CALLS = st.builds(
    make_call,
    IDS,
    INSTANTS,
    key=st.sampled_from(["", "x", "y"]),
    model=NAMES,
    endpoint=NAMES,
    failure=st.none() | st.just(FailureClass.SERVER),
    cost_micro_usd=st.none() | st.integers(0, 5),
    decision_key=st.sampled_from(["", "x", "y"]),
)
OTHERS = st.one_of(
    st.builds(AppendEvents, events=st.lists(EVENTS, max_size=3).map(tuple)),
    st.builds(
        LateReport, task_id=IDS, generation=GENERATIONS, at_ms=st.just(NOW_MS), body=st.binary(max_size=3), event=EVENTS
    ),
    st.builds(PutSessions, sessions=st.lists(st.builds(make_session, NAMES, st.integers(1, 3)), max_size=2).map(tuple)),
    st.builds(DropSession, session_id=NAMES),
    st.builds(PutEndpoint, endpoint=st.builds(make_endpoint, NAMES, st.sampled_from(["http://1", "http://2"]))),
    st.builds(DropEndpoint, name=NAMES),
    st.builds(
        PutMeasurements,
        measurements=st.lists(st.builds(make_measurement, NAMES, NAMES, st.integers(1, 3)), max_size=3).map(tuple),
    ),
    st.builds(
        PutAllowances,
        reports=st.lists(
            st.builds(
                Reported,
                provider=NAMES,
                window=NAMES,
                used_percent=st.integers(0, 3).map(float),
                at_ms=st.integers(1, 3),
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(
        PutObservations,
        observations=st.lists(st.builds(make_observation, NAMES, NAMES, NAMES), max_size=3).map(tuple),
    ),
    st.builds(ForgetObservations, which=st.builds(ObservationQuery, task_type=NAMES | st.just(""), model=NAMES)),
    st.builds(
        ForgetObservations, which=st.just(ObservationQuery()), ids=st.lists(NAMES, min_size=1, max_size=2).map(tuple)
    ),
    st.builds(PutPlan, plan=st.builds(make_plan, NAMES, st.integers(1, 3), st.sampled_from(["{}", "[]"]))),
    st.builds(
        PutToken, name=NAMES, token_hash=st.sampled_from(["h1", "h2"]), scope=NAMES, created_ms=st.integers(1, 3)
    ),
    st.builds(DropToken, name=NAMES),
    st.builds(PutKey, key=st.builds(make_key, NAMES, st.sampled_from(["h1", "h2"])), event=EVENTS),
    st.builds(
        SaveLoop,
        loop=st.builds(make_loop, NAMES, st.integers(1, 3)),
        events=st.lists(EVENTS, max_size=2).map(tuple),
    ),
    st.builds(DropLoop, name=NAMES, event=EVENTS),
    st.builds(RevokeKey, name=NAMES, at_ms=st.integers(1, 3), event=EVENTS),
    st.builds(
        PutCalls,
        records=st.lists(CALLS, max_size=4).map(tuple),
        decisions=st.lists(st.builds(make_call_decision, NAMES, st.integers(1, 3)), max_size=2).map(tuple),
    ),
    st.builds(
        PruneCalls, before_ms=INSTANTS, limit=st.integers(0, 3), decisions_before_ms=st.sampled_from([0, 0, 2, 3])
    ),
)
COMMANDS = SUBMITS | updates() | OTHERS | MONEY


class TwoStores(RuleBasedStateMachine):
    """The reference and the store under test, given the same commands."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.path = Path(shutil.copy(self.template, self.directory / "ostler.db"))
        self.reference = MemoryStore()
        self.sqlite = self.run(SqliteStore.open(self.path))
        self.changed = True

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        problems = [line for line in self.run(self.sqlite.check()) if "its newest attempt is" not in line]
        self.run(self.sqlite.close())
        self.runner.close()
        shutil.rmtree(self.directory)
        assert problems == []

    @rule(batch=st.lists(COMMANDS, min_size=1, max_size=6))
    def apply_one_batch(self, batch: list[Command]) -> None:
        """Commands of one call are answered alike."""
        self.changed = True
        assert self.run(self.sqlite.apply(batch)) == self.run(self.reference.apply(batch))

    @rule(batches=st.lists(st.lists(COMMANDS, min_size=1, max_size=3), min_size=2, max_size=5))
    def apply_calls_that_share_a_flush(self, batches: list[list[Command]]) -> None:
        """Calls that wait together are answered as if one had come after the other."""

        async def all_at_once(store: Store) -> list[list[Result]]:
            return await asyncio.gather(*(store.apply(batch) for batch in batches))

        self.changed = True
        assert self.run(all_at_once(self.sqlite)) == self.run(all_at_once(self.reference))

    @precondition(lambda self: bool(self.reference._records))
    @rule(data=st.data(), steps=st.integers(min_value=1, max_value=4))
    def walk_a_legal_way(self, data: st.DataObject, steps: int) -> None:
        """Steps that the hub could take, in one batch, so that lives get long enough to matter."""
        task = self.reference._records[data.draw(st.sampled_from(sorted(self.reference._records)))].task
        batch: list[Command] = []
        for _ in range(steps):
            targets = sorted(TRANSITIONS[task.state])
            if not targets:
                break
            state = data.draw(st.sampled_from(targets))
            batch.append(with_extras(data.draw, make_update(task, state)))
            task = moved(task, state)
        self.apply_one_batch(batch)

    @rule()
    def reopen(self) -> None:
        """What is in the file is all there is."""
        self.changed = True
        self.run(self.sqlite.close())
        self.sqlite = self.run(SqliteStore.open(self.path))

    @rule(
        query=st.builds(
            TaskQuery,
            states=st.lists(STATES, max_size=3).map(tuple),
            batch=st.sampled_from([None, "b1", "b2"]),
            limit=st.integers(0, 4),
            before_seq=st.none() | SEQS,
        ),
        after_seq=st.integers(0, 20),
        limit=st.integers(0, 5),
        task_id=st.none() | IDS,
        token_hash=st.sampled_from(["h1", "h2"]),
        scope=NAMES,
        calls=st.builds(
            CallQuery,
            key=st.sampled_from(["", "x", "y"]),
            model=st.none() | NAMES,
            endpoint=st.none() | NAMES,
            failed=st.booleans(),
            limit=st.integers(0, 4),
            before=st.none() | IDS,
        ),
        since_ms=INSTANTS,
    )
    def ask(
        self,
        query: TaskQuery,
        after_seq: int,
        limit: int,
        task_id: str | None,
        token_hash: str,
        scope: str,
        calls: CallQuery,
        since_ms: int,
    ) -> None:
        """Filters and pages give the same answers."""

        async def answers(store: Store) -> list[object]:
            return [
                await store.tasks(query),
                await store.events(after_seq=after_seq, limit=limit, task_id=task_id),
                await store.token_name(token_hash, scope),
                await store.plans(scope),
                await store.loops(),
                await store.observations(ObservationQuery(model=scope)),
                await store.calls(calls),
                await store.key_spend(since_ms),
            ]

        assert self.run(answers(self.sqlite)) == self.run(answers(self.reference))

    @rule(
        spans=st.lists(SPANS, max_size=3),
        query=st.builds(
            LedgerQuery,
            after_seq=st.integers(0, 20),
            since_ms=CHARGED,
            limit=st.integers(0, 5),
            attempt=st.none() | IDS,
        ),
    )
    def ask_about_money(self, spans: list[Span], query: LedgerQuery) -> None:
        """Sums of any span and pages of the ledger are the same."""

        async def answers(store: Store) -> list[object]:
            return [await store.spent(spans), await store.ledger(query)]

        assert self.run(answers(self.sqlite)) == self.run(answers(self.reference))

    @invariant()
    def reads_agree(self) -> None:
        """All that is stored is the same."""
        if not self.changed:
            return
        self.changed = False

        async def everything(store: Store) -> list[object]:
            ids = ["a", "b", "c", "d", "e", "never submitted"]
            details = [await store.task(task_id) for task_id in ids]
            events = [await store.events(task_id=task_id) for task_id in (None, *ids)]
            calls = [await store.keys(), await store.calls(CallQuery()), [await store.call(call_id) for call_id in ids]]
            spent = [await store.key_spend(0), await store.oldest_call_ms()]
            tasks = [await store.open_work(), await store.states(ids), await store.tasks(TaskQuery())]
            money = [await store.ledger(LedgerQuery()), await store.open_reservations()]
            charged = [await store.charged(kind) for kind in ScopeKind]
            return [tasks, details, events, calls, spent, money, charged, await store.observations(ObservationQuery())]

        assert self.run(everything(self.sqlite)) == self.run(everything(self.reference))


def test_any_commands_get_the_same_answers_everywhere(empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, shared flushes, legal lives and reopenings in any order: both stores agree at every step."""
    monkeypatch.setattr(TwoStores, "template", empty_database, raising=False)
    run_state_machine_as_test(
        TwoStores,
        settings=settings(
            max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
