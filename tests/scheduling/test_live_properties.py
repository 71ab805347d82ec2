"""Safety and liveness with live calls: tasks and calls together over generated lives of a fleet and of two machines.

All that holds for tasks alone holds beside calls. The rig adds: no call runs that was denied or withdrawn, each is
answered once, none overtakes an equal one, none goes to a model that is not loaded, nothing is unloaded under one.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from ostler.domain.fleet import GIB
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Complexity, Priority
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import Rig
from tests.scheduling.test_properties import FAILURES, SLOTS, Fleet
from tests.scheduling.test_residency_properties import HOSTS, SIZES, Machines

ENDPOINTS = (*SLOTS, *HOSTS)
PLACES = st.lists(st.sampled_from(ENDPOINTS), max_size=3, unique=True).map(tuple)
WAITS_MS = st.sampled_from([1, 1_000, 60_000, 600_000])
"""Some leave soon; most stay as long as the client of an agent would."""


class Clients:
    """What clients of the gateway do, in any order."""

    rig: Rig
    offers = 0

    @property
    def live(self) -> LiveRig:
        """The rig, for what only calls need."""
        assert isinstance(self.rig, LiveRig)
        return self.rig

    def offer(self, burst: int, wait_ms: int, priority: Priority, excluded: tuple[str, ...], **facts: object) -> None:
        """Some more calls that ask the same."""
        for _ in range(burst):
            self.offers += 1
            self.live.call(f"c{self.offers}", wait_ms=wait_ms, priority=priority, excluded=excluded, **facts)

    @rule(pick=st.integers(0, 30), failure=FAILURES, tool=st.booleans())
    def call_ends(self, pick: int, failure: FailureClass | None, tool: bool) -> None:
        names = sorted(self.live.running)
        if names:
            self.live.end_call(names[pick % len(names)], failure, retry_after_ms=3_000, wants_tool=tool)

    @rule(pick=st.integers(0, 30))
    def call_goes_on_elsewhere(self, pick: int) -> None:
        """An attempt fails, and the call comes again without its place."""
        names = sorted(self.live.running)
        if names:
            name = names[pick % len(names)]
            run = self.live.running[name]
            self.live.end_call(name, FailureClass.SERVER)
            self.live.call(name, attempt=run.attempt + 1, excluded=(run.endpoint,))

    @rule(pick=st.integers(0, 30))
    def client_hangs_up(self, pick: int) -> None:
        names = sorted({*self.live.running, *self.live.offered})
        if names:
            self.live.hang_up(names[pick % len(names)])

    @rule()
    def one_end_is_said_twice(self) -> None:
        names = sorted(self.live.running)
        if names:
            run = self.live.running[names[0]]
            before = dict(self.rig.scheduler.books.in_flight)
            self.live.end_call(names[0])
            freed = self.rig.scheduler.books.in_flight.get(run.endpoint, 0)
            self.live.running[names[0]] = run
            self.live.end_call(names[0])
            assert self.rig.scheduler.books.in_flight.get(run.endpoint, 0) == freed
            assert freed <= before[run.endpoint]

    @invariant()
    def a_call_waits_or_runs_or_is_forgotten(self) -> None:
        if hasattr(self, "rig"):
            calls = self.rig.scheduler.books.calls
            assert set(calls.known) == {*self.live.running, *self.live.offered}
            assert {live.call.id for live in calls.waiting.values()} == set(self.live.offered)
            assert all(name in self.rig.scheduler.books.queue for name in calls.waiting)

    @invariant()
    def a_call_that_waits_has_a_reason_and_time_left(self) -> None:
        for name, call in (self.live.offered if hasattr(self, "rig") else {}).items():
            standing = self.rig.scheduler.standing(name)
            assert standing is not None
            assert standing.wait.code.value != "ready", f"{name} waits without having been looked at"
            assert self.rig.now_ms < call.deadline_ms, f"{name} waits beyond its deadline"

    def all_leave(self) -> None:
        """Every call ends; nothing of any is left."""
        for name in sorted({*self.live.running, *self.live.offered}):
            self.live.hang_up(name)
        books = self.rig.scheduler.books
        assert not books.calls.known
        assert not books.calls.waiting
        assert not [name for names in books.hosts.calls.values() for name in names if name.startswith("\0")]


class FleetWithClients(Clients, Fleet):
    """A fleet that serves tasks and calls."""

    kind_of_rig = LiveRig

    @initialize()
    def begin(self) -> None:
        """All places are there at first."""
        super().begin()
        for name in SLOTS:
            self.endpoint_up(name)

    @rule(
        complexity=st.sampled_from([Complexity.STANDARD, Complexity.COMPLEX]),
        model=st.sampled_from([None, None, "qwen", "claude"]),
        need=st.sampled_from([200] * 8 + [5_000, 5_000, 40_000, 10**7]),
        priority=st.sampled_from(list(Priority)),
        wait_ms=WAITS_MS,
        burst=st.integers(1, 4),
        excluded=st.one_of(st.just(()), st.just(()), st.just(()), PLACES),
        only=st.sampled_from([(), (), (), ("standard",)]),
    )
    def call_comes(
        self,
        complexity: Complexity,
        model: str | None,
        need: int,
        priority: Priority,
        wait_ms: int,
        burst: int,
        excluded: tuple[str, ...],
        only: tuple[str, ...],
    ) -> None:
        facts = {"complexity": complexity, "model": model, "context_tokens": need, "only_tiers": frozenset(only)}
        self.offer(burst, wait_ms, priority, excluded, **facts)

    def calls_by_endpoint(self) -> list[str]:
        """Where calls run."""
        return [run.endpoint for run in self.live.running.values()]

    @invariant()
    def a_call_runs_where_it_may(self) -> None:
        for name, run in self.live.running.items():
            call = self.rig.scheduler.books.calls.known[name].call
            assert run.endpoint not in call.excluded
            assert not call.facts.only_tiers or run.tier in call.facts.only_tiers
            assert call.facts.model in (None, run.model)

    def teardown(self) -> None:
        """Without clients, every task ends."""
        if hasattr(self, "rig"):
            self.all_leave()
        super().teardown()


class MachinesWithClients(Clients, Machines):
    """Machines that change models for tasks and calls."""

    kind_of_rig = LiveRig

    @rule()
    def all_loads_end(self) -> None:
        """Else most calls would wait until they leave."""
        for effect in tuple(self.rig.loading):
            self.rig.load_ended(effect, size_bytes=SIZES[effect.model] * GIB)

    @rule(
        model=st.sampled_from(["big", "other", "small"]),
        need=st.sampled_from([200, 200, 5_000, 20_000]),
        priority=st.sampled_from(list(Priority)),
        wait_ms=WAITS_MS,
        burst=st.integers(1, 4),
    )
    def call_comes(self, model: str, need: int, priority: Priority, wait_ms: int, burst: int) -> None:
        self.offer(burst, wait_ms, priority, (), model=model, context_tokens=need)

    @invariant()
    def no_model_has_more_calls_than_slots(self) -> None:
        for (name, model), used in self.rig.scheduler.books.in_flight_by_model.items():
            assert used <= self.rig.scheduler.books.endpoints.views[name].spec.slots, model

    def teardown(self) -> None:
        """Without clients, every task ends."""
        if hasattr(self, "rig"):
            self.all_leave()
        super().teardown()


TestFleetWithClients = FleetWithClients.TestCase
TestFleetWithClients.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestMachinesWithClients = MachinesWithClients.TestCase
TestMachinesWithClients.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
