"""Safety and liveness of the scheduler over generated lives of a fleet, each property a sentence.

The rig adds its own: no write with a stale generation or from a wrong state, no transition outside the table, no change
of state without an event, no event outside the catalogue.
"""

from collections import Counter
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ostler.domain.errors import OstlerError
from ostler.domain.fleet import ProbeStatus
from ostler.domain.states import FINAL_STATES, LEASED_STATES, FailureClass, TaskState, WaitCode
from ostler.domain.tasks import Complexity, Priority, TaskKind, TaskSpec
from ostler.hub.idle import walked, weighed
from ostler.hub.views import WaitGroup
from ostler.hub.waiting import every_group, wait_groups
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, cloud, local

BATCHES: dict[str, tuple[int, dict[str, int]]] = {"r": (2, {"qwen": 1}), "s": (1, {})}
"""Batch -> tasks of it at once, in all and on one model."""
SLOTS = {"gpu1": 1, "gpu2": 2, "anthropic": 2}
FAILURES = st.sampled_from([None, None, None, *(kind for kind in FailureClass if kind is not FailureClass.TTL)])


def alike(groups: Sequence[WaitGroup]) -> dict[tuple[str, str, str | None], tuple[int, int]]:
    """Reason, detail and tier -> how many, and since when the first of them."""
    return {
        (group.wait.code.value, "" if group.wait.code is WaitCode.DEPS else group.wait.detail, group.tier): (
            group.count,
            group.wait.since_ms,
        )
        for group in groups
    }


class Fleet(RuleBasedStateMachine):
    """Anything may happen in any order."""

    kind_of_rig: type[Rig] = Rig
    rig: Rig

    @initialize()
    def begin(self) -> None:
        self.rig = self.kind_of_rig()
        self.count = 0

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(
        kind=st.sampled_from(list(TaskKind)),
        complexity=st.sampled_from([None, *Complexity]),
        priority=st.sampled_from(list(Priority)),
        needs=st.lists(st.integers(0, 30), max_size=3),
        optional=st.booleans(),
        rare=st.tuples(st.sampled_from([None, 4_000]), st.sampled_from([None, "rare"])),
        batch=st.sampled_from([None, None, *BATCHES]),
        models=st.sampled_from([(None, ()), (None, ()), ("qwen", ("claude",)), (None, ("claude", "qwen"))]),
    )
    def submit(
        self,
        kind: TaskKind,
        complexity: Complexity | None,
        priority: Priority,
        needs: list[int],
        optional: bool,
        rare: tuple[int | None, str | None],
        batch: str | None,
        models: tuple[str | None, tuple[str, ...]],
    ) -> None:
        self.count += 1
        delay_ms, capability = rare
        open_tasks = sorted(self.rig.scheduler.books.tasks)
        chosen = tuple(sorted({open_tasks[need % len(open_tasks)] for need in needs})) if open_tasks else ()
        self.rig.submit(
            TaskSpec(
                id=f"t{self.count}",
                kind=kind,
                prompt="" if kind is TaskKind.COMMAND else "do it",
                argv=("true",) if kind is TaskKind.COMMAND else (),
                complexity=complexity,
                priority=priority,
                needs=chosen,
                optional=optional,
                not_before_ms=None if delay_ms is None else self.rig.now_ms + delay_ms,
                requires=frozenset({capability} if capability else ()),
                batch=batch,
                batch_limit=BATCHES[batch][0] if batch else None,
                batch_slots=BATCHES[batch][1] if batch else {},
                model=None if kind is TaskKind.COMMAND else models[0],
                fallback_models=() if kind is TaskKind.COMMAND else models[1],
            )
        )

    @rule(slots=st.integers(1, 3), rare=st.booleans())
    def worker_joins(self, slots: int, rare: bool) -> None:
        if len(self.rig.scheduler.books.workers) < 4:
            self.rig.worker("w", chat=slots, command=slots, capabilities=("rare",) if rare else ())

    @precondition(lambda self: len(self.rig.scheduler.books.workers) > 0)
    @rule(pick=st.integers(0, 9))
    def worker_leaves(self, pick: int) -> None:
        sessions = sorted(self.rig.scheduler.books.workers.states)
        self.rig.tell(sig.WorkerLeft(session_id=sessions[pick % len(sessions)]))

    @rule()
    def heartbeats(self) -> None:
        for session in sorted(self.rig.scheduler.books.workers.states):
            self.rig.tell(sig.WorkerRenewed(session_id=session))

    @rule(name=st.sampled_from(sorted(SLOTS)))
    def endpoint_up(self, name: str) -> None:
        if name == "anthropic":
            self.rig.up(cloud(slots=SLOTS[name]), models=("claude",))
        else:
            self.rig.up(local(name, slots=SLOTS[name]))

    @rule(
        name=st.sampled_from(sorted(SLOTS)),
        status=st.sampled_from([ProbeStatus.UNAVAILABLE, ProbeStatus.RATE_LIMITED, ProbeStatus.KEY_INVALID]),
    )
    def endpoint_fails(self, name: str, status: ProbeStatus) -> None:
        self.rig.probe(name, status, retry_after_ms=3_000)

    @rule(name=st.sampled_from(sorted(SLOTS)))
    def endpoint_removed(self, name: str) -> None:
        self.rig.tell(sig.EndpointRemoved(name=name))

    @rule(
        pick=st.integers(0, 30),
        failure=FAILURES,
        message=st.sampled_from(["error 17", "error 18", "odd"]),
        length=st.sampled_from([0, 40, 200_000]),
    )
    def attempt_ends(self, pick: int, failure: FailureClass | None, message: str, length: int) -> None:
        leased = sorted(name for name, row in self.rig.rows.items() if row.state in LEASED_STATES)
        if leased:
            self.rig.finish(leased[pick % len(leased)], failure, message, output="x" * length)

    @rule(pick=st.integers(0, 30), generation=st.integers(0, 3))
    def stale_report(self, pick: int, generation: int) -> None:
        names = sorted(self.rig.rows)
        if names:
            name = names[pick % len(names)]
            before = self.rig.rows[name]
            if generation < before.generation:
                self.rig.report_finished(name, generation, "nobody")
                assert self.rig.rows[name] == before, "a stale generation wrote"

    @rule(pick=st.integers(0, 30), wish=st.sampled_from(["cancel", "pause", "resume", "retry"]))
    def wish(self, pick: int, wish: str) -> None:
        names = sorted(self.rig.rows)
        if not names:
            return
        name = names[pick % len(names)]
        signals: dict[str, sig.Signal] = {
            "cancel": sig.Cancel(task_id=name),
            "pause": sig.Pause(task_id=name),
            "resume": sig.Resume(task_id=name),
            "retry": sig.Retry(task=self.rig.scheduler.books.tasks.get(name, self.rig.rows[name]), settled=self._met()),
        }
        before = dict(self.rig.rows)
        try:
            self.rig.tell(signals[wish])
        except OstlerError:
            assert self.rig.rows == before, "a refused wish changed something"

    def _met(self) -> dict[str, bool]:
        return {
            name: row.state is TaskState.SUCCEEDED or (row.optional and row.state in FINAL_STATES)
            for name, row in self.rig.rows.items()
        }

    @rule(pick=st.integers(0, 30))
    def next_write_is_refused(self, pick: int) -> None:
        names = sorted(self.rig.scheduler.books.queue.pending_fallbacks)
        if names:
            self.rig.refuse_next.add(names[pick % len(names)])

    @rule(duration_ms=st.sampled_from([1, 999, 5_000, 20_000, 700_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.rig.pass_ms(duration_ms)

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def every_queued_task_has_a_wait_reason(self) -> None:
        for name, row in self.rig.rows.items():
            if row.state is TaskState.QUEUED:
                assert self.rig.scheduler.wait_of(name) is not None, name

    @invariant()
    def what_is_counted_of_waiting_work_is_what_a_walk_finds(self) -> None:
        books = self.rig.scheduler.books
        counted, found = every_group(books), wait_groups(books, books.tasks.values())
        assert alike(counted) == alike(found)
        assert all(books.tasks[group.example].state is TaskState.QUEUED for group in counted)

    @invariant()
    def what_keeps_work_from_running_is_weighed_as_a_walk_weighs_it(self) -> None:
        books = self.rig.scheduler.books
        counted, found = weighed(books), walked(books, books.tasks.values())
        assert counted._replace(examples={}) == found._replace(examples={})
        assert set(counted.examples) == set(found.examples)
        assert all(weight > 0 for weight in counted.weights.values())

    @invariant()
    def no_endpoint_holds_more_than_its_slots(self) -> None:
        for name, used in self.rig.scheduler.books.in_flight.items():
            assert used <= SLOTS[name], f"{name} holds {used}"

    @invariant()
    def what_is_in_flight_is_what_is_leased(self) -> None:
        leased = [row for row in self.rig.rows.values() if row.state in LEASED_STATES]
        # The calls of an agent take slots one by one; the agent itself has none.
        callers = [row for row in leased if row.facts.kind is not TaskKind.AGENT]
        counted = Counter(row.endpoint for row in callers if row.endpoint is not None)
        counted.update(self.calls_by_endpoint())
        assert dict(counted) == self.rig.scheduler.books.in_flight
        held = {name for state in self.rig.scheduler.books.workers.states.values() for name in state.attempts}
        assert held == {row.id for row in leased}

    def calls_by_endpoint(self) -> list[str]:
        """Where live calls run: here there are none."""
        return []

    @invariant()
    def no_worker_runs_more_than_it_offers(self) -> None:
        for state in self.rig.scheduler.books.workers.states.values():
            for kind, used in state.busy.items():
                assert 0 <= used <= state.session.offer.slots[kind]

    @invariant()
    def the_books_are_what_is_stored(self) -> None:
        for name, task in self.rig.scheduler.books.tasks.items():
            assert task.state is self.rig.rows[name].state
            assert task.generation == self.rig.rows[name].generation

    @invariant()
    def nothing_waits_beside_a_free_place(self) -> None:
        """Work conservation: a ready command with a free worker slot for it has been started."""
        free = any(
            state.free(TaskKind.COMMAND) > 0 and not state.suspect
            for state in self.rig.scheduler.books.workers.states.values()
        )
        for row in self.rig.rows.values():
            if free and row.state is TaskState.QUEUED and row.facts.kind is TaskKind.COMMAND:
                wait = self.rig.scheduler.wait_of(row.id)
                assert wait is not None
                held = wait.code.value in {"deps", "paused", "scheduled"} or self._is_full(row.batch)
                assert row.facts.requires or held, (row.id, wait)

    def _is_full(self, batch: str | None) -> bool:
        return batch is not None and self.rig.scheduler.books.batches.running.get(batch, 0) >= BATCHES[batch][0]

    @invariant()
    def no_batch_runs_more_than_it_may(self) -> None:
        leased = [row for row in self.rig.rows.values() if row.state in LEASED_STATES and row.batch is not None]
        for batch, (most, slots) in BATCHES.items():
            own = [row for row in leased if row.batch == batch]
            assert len(own) <= most
            assert all(sum(row.model == model for row in own) <= limit for model, limit in slots.items())
            assert self.rig.scheduler.books.batches.running.get(batch, 0) == len(own)

    @invariant()
    def what_came_in_is_kept_for_those_that_wait_and_no_others(self) -> None:
        books = self.rig.scheduler.books
        assert all(self.rig.rows[name].state is TaskState.QUEUED for name in books.handed)

    @invariant()
    def a_task_runs_on_one_of_its_own_models(self) -> None:
        for row in self.rig.rows.values():
            own = (row.facts.model, *row.facts.fallback_models)
            assert 0 <= row.model_step < len(own)
            if row.state in LEASED_STATES and row.model is not None and row.facts.model is not None:
                assert row.model in own[row.model_step :]
            assert row.attempts_used <= row.max_attempts

    @invariant()
    def an_outage_moves_a_task_by_one_tier_at_most(self) -> None:
        rank = {tier.name: tier.rank for tier in self.rig.policy.catalog.tiers}
        for effect in self.rig.sent:
            decision = effect.command.decision
            assert decision is not None
            if decision.fallback_from_model is not None:
                continue  # the task's own word, which may lead anywhere
            if decision.fallback_used and decision.fallback_from_tier is not None:
                assert abs(rank[decision.effective_tier] - rank[decision.fallback_from_tier]) <= 1

    def teardown(self) -> None:
        """Once the faults stop, every accepted task ends or waits for a person, who was told so."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        rig.refuse_next.clear()
        for name in sorted(rig.scheduler.books.tasks):
            rig.tell(sig.Resume(task_id=name))
        for name in sorted(SLOTS):
            self.endpoint_up(name)
            if name in rig.scheduler.books.endpoints:
                rig.tell(sig.EndpointReset(name=name))
        for _ in range(400):
            open_tasks = [row for row in rig.rows.values() if row.state not in FINAL_STATES]
            if all(row.state is TaskState.NEEDS_HUMAN or self._behind_a_person(row.id) for row in open_tasks):
                break
            rig.worker("late", chat=3, command=3, capabilities=("rare",))
            for row in open_tasks:
                if rig.rows[row.id].state in LEASED_STATES:
                    rig.finish(row.id)
            rig.pass_ms(5_000)
            self.heartbeats()
        else:
            raise AssertionError(
                f"never ended: {[(row.id, row.state, rig.scheduler.wait_of(row.id)) for row in open_tasks]}"
            )

    def _behind_a_person(self, task_id: str) -> bool:
        missing = self.rig.scheduler.books.dependencies.missing(task_id)
        return any(
            self.rig.rows[need].state is TaskState.NEEDS_HUMAN or self._behind_a_person(need) for need in missing
        )


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
