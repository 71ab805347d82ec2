"""Plans in force over generated lives of two machines: whatever is adopted, and whenever, the guarantees stay.

Plans are made from what is left of a run at that moment, by the very functions that the hub uses; some come late, some
are nonsense (turns in any order, tasks that are gone, hosts that do not exist). The rig adds its own: nothing is
unloaded while a call runs on it, one change at a time on a machine, no call to a model that is not in memory there.
"""

import heapq
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import GIB, HeldPhase, ProbeStatus
from ostler.domain.states import FINAL_STATES, LEASED_STATES, FailureClass, TaskState
from ostler.domain.tasks import TaskSpec
from ostler.planning.guide import Guide, guide_of
from ostler.planning.instance import Instance, checked
from ostler.planning.plan import Episode, Placement
from ostler.planning.plan_checker import check_plan
from ostler.planning.planner import make_plan
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Replan
from ostler.scheduling.remaining import remaining
from tests.planning.instances import Count
from tests.scheduling.hosts_made import MODELS, ask, host, policy, rig_with
from tests.scheduling.rig import Rig
from tests.scheduling.test_residency_properties import SIZES, Play, behind_a_person

HOSTS = ("alpha", "beta")
RUNS = ("r", "s")


def spec_of(
    name: str, model: str, batch: str | None, needs: tuple[str, ...] = (), expected_ms: int = 30_000
) -> TaskSpec:
    return TaskSpec(
        id=name, prompt="say it", tier=model, batch=batch, needs=needs, expected_ms=expected_ms, optional=False
    )


def left_of(rig: Rig, specs: dict[str, TaskSpec], batch: str) -> Instance | None:
    """What is left of a run as a problem; `None` where nothing is, or no machine is there that could run it."""
    books = rig.scheduler.books
    own = {name: spec for name, spec in specs.items() if spec.batch == batch and name in books.tasks}
    if not own:
        return None
    try:
        return checked(remaining(books, own, rig.now_ms))
    except InvalidInputError:
        return None


def plan_for(rig: Rig, instance: Instance, batch: str, version: int, reason: str = "start") -> Guide:
    """A plan for it, which has to hold."""
    plan = make_plan(instance, "live", Count(0), Random(1))
    assert not check_plan(instance, plan), "the plan of what is left can be carried out"
    return guide_of(plan, instance, batch=batch, version=version, started_ms=rig.now_ms, reason=reason)


class PlannedMachines(RuleBasedStateMachine):
    """Anything may happen in any order, and plans may be adopted and dropped in between."""

    @initialize(slots=st.integers(1, 3), limit=st.sampled_from([None, 1, 2]), pinned=st.booleans())
    def begin(self, slots: int, limit: int | None, pinned: bool) -> None:
        rules = policy(
            host("alpha", max_resident_models=limit),
            host("beta", pinned=("small",) if pinned else ()),
            patience_ms=60_000,
        )
        self.rig = rig_with(*HOSTS, slots=slots, rules=rules)
        self.specs: dict[str, TaskSpec] = {}
        self.versions = Counter[str]()
        self.late: list[Guide] = []
        """Plans that were made and have not arrived yet."""
        self.answered = 0

    # -- work

    @rule(
        model=st.sampled_from(MODELS),
        batch=st.sampled_from([None, *RUNS, *RUNS]),
        needs=st.lists(st.integers(0, 20), max_size=2),
        expected_ms=st.sampled_from([500, 30_000, 600_000]),
        count=st.integers(1, 4),
    )
    def submit(self, model: str, batch: str | None, needs: list[int], expected_ms: int, count: int) -> None:
        for _ in range(count):
            open_tasks = sorted(self.rig.scheduler.books.tasks)
            chosen = tuple(sorted({open_tasks[need % len(open_tasks)] for need in needs})) if open_tasks else ()
            spec = spec_of(f"t{len(self.specs) + 1}", model, batch, chosen, expected_ms)
            self.specs[spec.id] = spec
            self.rig.submit(spec)

    @rule(pick=st.integers(0, 20))
    def attempt_starts(self, pick: int) -> None:
        waiting = sorted(name for name, row in self.rig.rows.items() if row.state is TaskState.ASSIGNED)
        if waiting:
            self.rig.start(waiting[pick % len(waiting)])

    @rule(pick=st.integers(0, 20), failure=st.sampled_from([None, None, None, *FailureClass]))
    def attempt_ends(self, pick: int, failure: FailureClass | None) -> None:
        leased = sorted(name for name, row in self.rig.rows.items() if row.state in LEASED_STATES)
        if leased:
            self.rig.finish(leased[pick % len(leased)], failure)

    @rule(pick=st.integers(0, 20))
    def task_cancelled(self, pick: int) -> None:
        open_tasks = sorted(self.rig.scheduler.books.tasks)
        if open_tasks:
            self.rig.tell(sig.Cancel(task_id=open_tasks[pick % len(open_tasks)]))

    # -- machines

    @rule(pick=st.integers(0, 3), failure=st.sampled_from(["", "", "", "out of memory"]))
    def load_ends(self, pick: int, failure: str) -> None:
        if self.rig.loading:
            effect = self.rig.loading[pick % len(self.rig.loading)]
            self.rig.load_ended(effect, failure, size_bytes=SIZES[effect.model] * GIB)

    @rule(duration_ms=st.sampled_from([1, 4_000, 20_000, 61_000, 700_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.rig.pass_ms(duration_ms)

    @rule(name=st.sampled_from(HOSTS))
    def host_goes(self, name: str) -> None:
        self.rig.down(name)

    @rule(name=st.sampled_from(HOSTS))
    def host_is_there(self, name: str) -> None:
        """A listing that shows what is in memory there."""
        book = self.rig.scheduler.books.hosts.books.get(name)
        known = () if book is None else tuple(sorted(at.model for at in book.held))
        self.rig.pass_ms(1)
        self.rig.probe(name, ProbeStatus.AVAILABLE, models=MODELS, residents=known)

    # -- plans

    @rule(batch=st.sampled_from(RUNS), late=st.booleans())
    def plan(self, batch: str, late: bool) -> None:
        """A plan of what is left, in force at once or later."""
        instance = left_of(self.rig, self.specs, batch)
        if instance is None:
            return
        self.versions[batch] += 1
        guide = plan_for(self.rig, instance, batch, self.versions[batch])
        if late:
            self.late.append(guide)
        else:
            self.rig.tell(sig.PlanAdopted(guide=guide))

    @precondition(lambda self: bool(self.late))
    @rule(pick=st.integers(0, 9))
    def late_plan_comes(self, pick: int) -> None:
        self.rig.tell(sig.PlanAdopted(guide=self.late.pop(pick % len(self.late))))

    @rule(batch=st.sampled_from(RUNS), seed=st.integers(0, 10_000))
    def nonsense_is_adopted(self, batch: str, seed: int) -> None:
        """Any order of any tasks on any hosts, with models that are not theirs."""
        dice = Random(seed)
        self.versions[batch] += 1
        self.rig.tell(sig.PlanAdopted(guide=nonsense(dice, self.rig, self.specs, batch, self.versions[batch])))

    @rule(batch=st.sampled_from(RUNS))
    def plan_is_dropped(self, batch: str) -> None:
        self.rig.tell(sig.PlanDropped(batch=batch, reason="by hand"))

    @rule()
    def wishes_for_plans_are_answered(self) -> None:
        """As the hub does: a new plan of what is left, or the one before stays in force."""
        wishes = [effect for effect in self.rig.effects[self.answered :] if isinstance(effect, Replan)]
        self.answered = len(self.rig.effects)
        for wish in wishes:
            instance = left_of(self.rig, self.specs, wish.batch)
            if instance is not None:
                self.versions[wish.batch] = max(self.versions[wish.batch], wish.version)
                guide = plan_for(self.rig, instance, wish.batch, wish.version, wish.reason)
                self.rig.tell(sig.PlanAdopted(guide=guide))

    # -- what always holds

    @invariant()
    def memory_is_never_exceeded(self) -> None:
        for book in self.rig.scheduler.books.hosts.books.values():
            assert book.used_bytes() <= book.capacity_bytes, (book.name, book.held)

    @invariant()
    def no_more_models_than_the_limit(self) -> None:
        for book in self.rig.scheduler.books.hosts.books.values():
            limit = book.spec.max_resident_models
            going = sum(held.phase is HeldPhase.UNLOADING for held in book.held.values())
            assert limit is None or len(book.held) - going <= limit, (book.name, book.held)

    @invariant()
    def every_queued_task_has_a_wait_reason(self) -> None:
        for name, row in self.rig.rows.items():
            if row.state is TaskState.QUEUED:
                assert self.rig.scheduler.wait_of(name) is not None, name

    @invariant()
    def no_task_is_lost_and_none_runs_twice_at_once(self) -> None:
        open_tasks = {name for name, row in self.rig.rows.items() if row.state not in FINAL_STATES}
        assert set(self.rig.scheduler.books.tasks) == open_tasks
        leased = {name for name, row in self.rig.rows.items() if row.state in LEASED_STATES}
        held = [name for state in self.rig.scheduler.books.workers.states.values() for name in state.attempts]
        assert sorted(held) == sorted(leased)

    @invariant()
    def a_plan_is_in_force_only_while_it_has_open_tasks(self) -> None:
        books = self.rig.scheduler.books
        for batch, followed in books.following.items():
            assert any(row.task in books.tasks for row in followed.guide.placements), batch
            assert followed.finished == {
                row.task for row in followed.guide.placements if row.task not in books.tasks
            }, "what has ended is known to have ended, and nothing else"

    @invariant()
    def a_plan_gives_its_tasks_their_own_places_in_its_own_order(self) -> None:
        rows = self.rig.rows
        for followed in self.rig.scheduler.books.following.values():
            assert sorted(followed.places.values()) == sorted(rows[name].seq for name in followed.places)
            order = [row.task for row in followed.guide.placements if row.task in followed.places]
            assert order == sorted(order, key=followed.places.__getitem__)

    def teardown(self) -> None:
        """Once the faults stop, every accepted task ends or waits for a person, and no plan is left in force."""
        if not hasattr(self, "rig"):
            return
        rig = self.rig
        for _ in range(400):
            open_tasks = [row for row in rig.rows.values() if row.state not in FINAL_STATES]
            if all(row.state is TaskState.NEEDS_HUMAN or behind_a_person(rig, row.id) for row in open_tasks):
                break
            for name in HOSTS:
                rig.tell(sig.EndpointReset(name=name))
                self.host_is_there(name)
            while rig.loading:
                rig.load_ended(rig.loading[0])
            for row in open_tasks:
                if rig.rows[row.id].state in LEASED_STATES:
                    rig.finish(row.id)
            rig.pass_ms(5_000)
            self.wishes_for_plans_are_answered()
        else:
            waits = [(row.id, row.state, rig.scheduler.wait_of(row.id)) for row in open_tasks]
            raise AssertionError(f"never ended: {waits}")
        if not open_tasks:
            assert not rig.scheduler.books.following, "a plan without open tasks is over"


def nonsense(dice: Random, rig: Rig, specs: dict[str, TaskSpec], batch: str, version: int) -> Guide:
    """A plan that nobody would make."""
    own = [name for name, spec in specs.items() if spec.batch == batch] + ["never-heard-of"]
    dice.shuffle(own)
    placements, episodes = [], []
    at_ms = 0
    for name in own:
        where, model = dice.choice((*HOSTS, "nowhere")), dice.choice(MODELS)
        episodes.append(
            Episode(host=where, model=model, load_start_ms=at_ms, ready_ms=at_ms, unload_start_ms=at_ms + 10)
        )
        placements.append(Placement(task=name, host=where, start_ms=at_ms, end_ms=at_ms + dice.choice((0, 10))))
        at_ms += dice.choice((0, 10, 10_000))
    return Guide(
        batch=batch,
        version=version,
        started_ms=rig.now_ms,
        strategy="nonsense",
        makespan_ms=at_ms,
        placements=tuple(placements),
        episodes=tuple(episodes),
        models={row.task: (dice.choice(MODELS),) for row in placements},
        reason="nonsense",
    )


TestPlannedMachines = PlannedMachines.TestCase
TestPlannedMachines.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


class PlannedPlay(Play):
    """The same work, half of it in a run for which one senseless plan after the other is adopted."""

    def __init__(self, seed: int, patience_ms: int, call_ms: int, slots: int) -> None:
        super().__init__(seed, patience_ms, call_ms, slots)
        self.specs: dict[str, TaskSpec] = {}
        self.version = 0

    def run(self, tasks: int) -> None:
        """Second by second: a plan may keep a model while nothing runs, so the next end is not the next thing."""
        left = tasks
        end_ms = self.rig.now_ms + 3_600_000
        while (left or self.heap or self.rig.scheduler.books.tasks) and self.rig.now_ms < end_ms:
            if left and self.random.random() < 0.2:
                left -= 1
                ask(self.rig, f"t{left}", self.random.choice(MODELS), ttl_ms=0, batch=self.random.choice(("r", None)))
            self.perhaps_plan()
            self.schedule()
            self.look()
            self.rig.pass_ms(1_000)
            while self.heap and self.heap[0][0] <= self.rig.now_ms:
                _, _, name, effect = heapq.heappop(self.heap)
                if effect is not None:
                    self.rig.load_ended(effect, size_bytes=SIZES[effect.model] * GIB)
                else:
                    self.rig.finish(name)
            self.schedule()
            self.look()

    def perhaps_plan(self) -> None:
        """Now and then there is a new plan."""
        if self.random.random() < 0.1:
            self.version += 1
            books = self.rig.scheduler.books
            specs = {name: spec_of(name, task.facts.tier or "", "r") for name, task in books.tasks.items()}
            guide = nonsense(self.random, self.rig, specs, "r", self.version)
            # The one host of this play, and models that are those of the tasks: turns that could be taken.
            guide = replace(
                guide,
                placements=tuple(replace(row, host="box") for row in guide.placements),
                episodes=tuple(replace(row, host="box") for row in guide.episodes),
            )
            self.rig.tell(sig.PlanAdopted(guide=guide))


@settings(max_examples=24, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    patience_ms=st.sampled_from([20_000, 60_000, 180_000]),
    call_ms=st.sampled_from([5_000, 60_000]),
    slots=st.integers(1, 3),
)
def test_no_plan_takes_a_waiter_past_its_bound(seed: int, patience_ms: int, call_ms: int, slots: int) -> None:
    """The bound of the rule alone (see `test_no_waiter_passes_its_bound`) holds under any plans, sensible or not."""
    play = PlannedPlay(seed, patience_ms, call_ms, slots)
    play.run(45)

    change_ms = 1_000 + call_ms + 40_000
    assert all(row.state is TaskState.SUCCEEDED for row in play.rig.rows.values())
    assert play.longest_ms <= patience_ms + 3 * change_ms
