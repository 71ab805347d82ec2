"""Safety of loading over generated lives of two machines, and the bound of a waiter over generated work.

The rig adds its own: nothing is unloaded while a call runs on it, at most one change at a time on a machine, no call to
a model that is not in memory there; and all that it checks of tasks.
"""

import heapq
import random
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ostler.domain.errors import OstlerError
from ostler.domain.fleet import GIB, HeldPhase, ProbeStatus
from ostler.domain.states import FINAL_STATES, LEASED_STATES, FailureClass, TaskState
from ostler.domain.tasks import Priority
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import LoadModel, UnloadModel
from tests.scheduling.hosts_made import MODELS, ask, furnish, host, policy, rig_with
from tests.scheduling.rig import Rig

HOSTS = ("alpha", "beta")
SIZES = {"big": 20, "other": 20, "small": 5}
ROOM = {"alpha": 30, "beta": 24}
"""GiB for models: 2 are reserved, and on `beta` only they keep the small model from fitting beside a large one."""


class Machines(RuleBasedStateMachine):
    """Anything may happen in any order."""

    kind_of_rig: type[Rig] = Rig
    rig: Rig

    @initialize(slots=st.integers(1, 3), limit=st.sampled_from([None, 1, 2]), preload=st.booleans())
    def begin(self, slots: int, limit: int | None, preload: bool) -> None:
        rules = policy(
            host("alpha", max_resident_models=limit, preload=("small",) if preload else ()),
            host("beta", 26, pinned=("small",)),
            patience_ms=60_000,
        )
        self.rig = self.kind_of_rig(rules)
        furnish(self.rig, *HOSTS, slots=slots)
        self.count = 0

    @rule(
        model=st.sampled_from(MODELS),
        priority=st.sampled_from(list(Priority)),
        needs=st.lists(st.integers(0, 20), max_size=2),
    )
    def submit(self, model: str, priority: Priority, needs: list[int]) -> None:
        self.count += 1
        open_tasks = sorted(self.rig.scheduler.books.tasks)
        chosen = sorted({open_tasks[need % len(open_tasks)] for need in needs}) if open_tasks else []
        ask(self.rig, f"t{self.count}", model, priority=priority, needs=chosen)

    @rule(pick=st.integers(0, 20), failure=st.sampled_from([None, None, None, *FailureClass]), tool=st.booleans())
    def attempt_ends(self, pick: int, failure: FailureClass | None, tool: bool) -> None:
        leased = sorted(name for name, row in self.rig.rows.items() if row.state in LEASED_STATES)
        if leased:
            self.rig.finish(leased[pick % len(leased)], failure, wants_tool=tool)

    @rule(pick=st.integers(0, 3), failure=st.sampled_from(["", "", "", "out of memory"]))
    def load_ends(self, pick: int, failure: str) -> None:
        if self.rig.loading:
            effect = self.rig.loading[pick % len(self.rig.loading)]
            size = SIZES[effect.model] * GIB
            self.rig.load_ended(effect, failure, size_bytes=size)

    @rule(duration_ms=st.sampled_from([1, 4_000, 20_000, 61_000, 700_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.rig.pass_ms(duration_ms)

    @rule(name=st.sampled_from(HOSTS), status=st.sampled_from([ProbeStatus.UNAVAILABLE, ProbeStatus.RATE_LIMITED]))
    def endpoint_fails(self, name: str, status: ProbeStatus) -> None:
        self.rig.probe(name, status, retry_after_ms=3_000)

    @rule(name=st.sampled_from(HOSTS), forgets=st.booleans())
    def endpoint_listed(self, name: str, forgets: bool) -> None:
        """A listing that shows what is there, or a machine that lost what nobody uses."""
        book = self.rig.scheduler.books.hosts.books.get(name)
        known = () if book is None else tuple(sorted(at.model for at in book.held))
        busy = self.rig.scheduler.books.in_flight_by_model
        shown = tuple(model for model in known if not forgets or (name, model) in busy)
        self.rig.pass_ms(1)
        self.rig.probe(name, ProbeStatus.AVAILABLE, models=MODELS, residents=shown)

    @rule(
        name=st.sampled_from(HOSTS),
        model=st.sampled_from(MODELS),
        wish=st.sampled_from(["load", "unload", "pin", "free"]),
    )
    def wish(self, name: str, model: str, wish: str) -> None:
        signals: dict[str, sig.Signal] = {
            "load": sig.WantLoad(endpoint=name, model=model),
            "unload": sig.WantUnload(endpoint=name, model=model),
            "pin": sig.PinModel(host=name, model=model),
            "free": sig.PinModel(host=name, model=model, pinned=False),
        }
        asked = len(self.rig.loads)
        try:
            self.rig.tell(signals[wish])
        except OstlerError:
            assert len(self.rig.loads) == asked, "a refused wish changed something"

    @invariant()
    def memory_is_never_exceeded(self) -> None:
        """Counted from the start of a load to the end of an unload; in one swap the unloads come first."""
        for name, book in self.rig.scheduler.books.hosts.books.items():
            taken = dict.fromkeys(HeldPhase, 0)
            for one in book.held.values():
                taken[one.phase] += SIZES[one.at.model]
            changing = max(taken[HeldPhase.LOADING], taken[HeldPhase.UNLOADING])
            assert taken[HeldPhase.READY] + taken[HeldPhase.LEAVING] + changing <= ROOM[name], (name, book.held)
            assert book.used_bytes() <= book.capacity_bytes

    @invariant()
    def no_more_models_than_the_limit(self) -> None:
        for book in self.rig.scheduler.books.hosts.books.values():
            limit = book.spec.max_resident_models
            going = sum(held.phase is HeldPhase.UNLOADING for held in book.held.values())
            assert limit is None or len(book.held) - going <= limit, (book.name, book.held)

    @invariant()
    def a_model_that_is_pinned_never_leaves(self) -> None:
        for effect in self.rig.loading:
            book = self.rig.scheduler.books.hosts.books.get(effect.host)
            evicted = effect.evict if isinstance(effect, LoadModel) else ()
            if book is not None and effect.host == "beta" and book.pins.get("small") is None:
                assert all(at.model != "small" for at in evicted)

    @invariant()
    def every_queued_task_has_a_wait_reason(self) -> None:
        for name, row in self.rig.rows.items():
            if row.state is TaskState.QUEUED:
                assert self.rig.scheduler.wait_of(name) is not None, name

    def teardown(self) -> None:
        """Once the faults stop, every accepted task ends or waits for a person."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        for name in HOSTS:
            for model in MODELS:
                if name in rig.scheduler.books.hosts.books:
                    rig.tell(sig.PinModel(host=name, model=model, pinned=False))
        for _ in range(400):
            open_tasks = [row for row in rig.rows.values() if row.state not in FINAL_STATES]
            if all(row.state is TaskState.NEEDS_HUMAN or behind_a_person(rig, row.id) for row in open_tasks):
                return
            for name in HOSTS:
                rig.tell(sig.EndpointReset(name=name))
                self.endpoint_listed(name, False)
            while rig.loading:
                rig.load_ended(rig.loading[0])
            for row in open_tasks:
                if rig.rows[row.id].state in LEASED_STATES:
                    rig.finish(row.id)
            rig.pass_ms(5_000)
        raise AssertionError(
            f"never ended: {[(row.id, row.state, rig.scheduler.wait_of(row.id)) for row in open_tasks]}"
        )


def behind_a_person(rig: Rig, task_id: str) -> bool:
    missing = rig.scheduler.books.dependencies.missing(task_id)
    return any(rig.rows[need].state is TaskState.NEEDS_HUMAN or behind_a_person(rig, need) for need in missing)


TestMachines = Machines.TestCase
TestMachines.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class Play:
    """Calls and loads that take the time they take, one machine, nothing fails; looks at who waits unserved."""

    def __init__(self, seed: int, patience_ms: int, call_ms: int, slots: int) -> None:
        self.random = random.Random(seed)
        self.call_ms = call_ms
        self.rig = rig_with(slots=slots, rules=policy(patience_ms=patience_ms, min_residence_ms=1_000))
        self.heap: list[tuple[int, int, str, LoadModel | UnloadModel | None]] = []
        self.order = count()
        self.known: set[int] = set()
        self.since_ms: dict[str, int] = {}
        """Model -> since when work waits for it and it cannot be used."""
        self.longest_ms = 0

    def schedule(self) -> None:
        """Note when what has just begun will end."""
        rig = self.rig
        for effect in rig.loading:
            if id(effect) not in self.known:
                self.known.add(id(effect))
                evicts = len(effect.evict) if isinstance(effect, LoadModel) else 0
                heapq.heappush(self.heap, (rig.now_ms + 20_000 + 10_000 * evicts, next(self.order), "", effect))
        for name, row in rig.rows.items():
            if row.state is TaskState.ASSIGNED:
                rig.start(name)
                took_ms = self.random.randint(1_000, self.call_ms)
                heapq.heappush(self.heap, (rig.now_ms + took_ms, next(self.order), name, None))

    def look(self) -> None:
        """Note how long each model has been wanted and could not be used."""
        rig = self.rig
        held = rig.scheduler.books.hosts.books["box"].held.values()
        usable = {one.at.model for one in held if one.phase is HeldPhase.READY}
        wanted = {row.facts.tier or "" for row in rig.rows.values() if row.state is TaskState.QUEUED} - usable
        for model in [model for model in self.since_ms if model not in wanted]:
            self.longest_ms = max(self.longest_ms, rig.now_ms - self.since_ms.pop(model))
        for model in wanted:
            self.since_ms.setdefault(model, rig.now_ms)

    def run(self, tasks: int) -> None:
        left = tasks
        while left or self.heap or self.rig.loading:
            self.schedule()
            if left and (not self.heap or self.random.random() < 0.6):
                left -= 1
                ask(self.rig, f"t{left}", self.random.choice(MODELS), ttl_ms=0)
                self.look()
                continue
            due_ms, _, name, effect = heapq.heappop(self.heap)
            self.rig.pass_ms(max(0, due_ms - self.rig.now_ms))
            self.look()
            if effect is not None:
                self.rig.load_ended(effect, size_bytes=SIZES[effect.model] * GIB)
            else:
                self.rig.finish(name)
            self.schedule()
            self.look()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    patience_ms=st.sampled_from([20_000, 60_000, 180_000]),
    call_ms=st.sampled_from([5_000, 60_000]),
    slots=st.integers(1, 3),
)
def test_no_waiter_passes_its_bound(seed: int, patience_ms: int, call_ms: int, slots: int) -> None:
    """A model that work waits for can be used after its patience and three changes at the most: the one that took it
    away, one for a waiter who had waited longer, its own. A change is the time that a turn must last, the longest call,
    two unloads and a load. And all work is done in the end.
    """
    play = Play(seed, patience_ms, call_ms, slots)
    play.run(60)

    change_ms = 1_000 + call_ms + 40_000
    assert all(row.state is TaskState.SUCCEEDED for row in play.rig.rows.values())
    assert play.longest_ms <= patience_ms + 3 * change_ms
