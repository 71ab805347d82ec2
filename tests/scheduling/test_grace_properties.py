"""Generated stories of cables, kills and sleeping hubs, with workers that obey their own clocks.

The workers here are what the real daemon promises to be: each stops its work when eight tenths of its lease have
passed since it sent the last heartbeat that was answered, tells what it could not tell before, and says at a join what
it still holds. The hub is the real scheduler. Time is counted in seconds.
"""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.fleet import Held, Session, WorkerOffer
from ostler.domain.policy import SchedulerPolicy
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Finished, Started
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, three_tiers

LEASE_MS, HEARTBEAT_MS = 60_000, 5_000
TRUST_MS = LEASE_MS * 8 // 10
WORK_MS = 25_000

Key = tuple[str, int]


class Daemon:
    """A worker as it is on its own machine."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.session: str | None = None
        self.is_cut = False
        self.is_dead = False
        self.acked_ms = -LEASE_MS
        self.sent_ms = -LEASE_MS
        self.running: dict[Key, int] = {}
        """Attempts -> when they end."""
        self.untold: dict[Key, Finished] = {}
        """Ends that the hub does not have; on disk, so that they outlive the daemon."""
        self.seen: dict[str, int] = {}

    @property
    def reaches_the_hub(self) -> bool:
        return not self.is_cut and not self.is_dead and not self.world.hub_sleeps

    def live(self) -> None:
        """One second."""
        now_ms = self.world.rig.now_ms
        if self.is_dead:
            return
        for key in [key for key, end_ms in self.running.items() if end_ms <= now_ms]:
            del self.running[key]
            self.untold[key] = Finished(task_id=key[0], generation=key[1], at_ms=now_ms, ok=True)
        if self.session is not None and now_ms - self.acked_ms >= TRUST_MS:
            self.running.clear()
            self.session = None
        if self.reaches_the_hub:
            self.talk(now_ms)

    def talk(self, now_ms: int) -> None:
        """Join, beat, fetch, report."""
        workers = self.world.rig.scheduler.books.workers
        if self.session is None:
            self.session = self.world.join(self, (*self.running, *self.untold))
            self.acked_ms = self.sent_ms = now_ms
        if self.session not in workers.states:
            self.running.clear()
            self.session = None
            return
        if now_ms - self.sent_ms >= HEARTBEAT_MS:
            self.world.rig.tell(sig.WorkerRenewed(session_id=self.session))
            self.acked_ms = self.sent_ms = now_ms
        for key in list(self.untold):
            self.world.rig.tell(sig.Reported(session_id=self.session, report=self.untold.pop(key)))
        for key in self.world.mail(self.session):
            if self.seen.get(key[0], 0) < key[1]:
                self.seen[key[0]] = key[1]
                for old in [one for one in self.running if one[0] == key[0]]:
                    del self.running[old]
                self.running[key] = now_ms + self.world.work_ms
                self.world.rig.tell(
                    sig.Reported(
                        session_id=self.session, report=Started(task_id=key[0], generation=key[1], at_ms=now_ms)
                    )
                )

    def killed(self) -> None:
        """Its commands die with it; what it has on disk stays."""
        self.running.clear()
        self.session = None
        self.is_dead = True


class World:
    """A hub and its workers."""

    def __init__(self, work_ms: int = WORK_MS) -> None:
        self.work_ms = work_ms
        rules = SchedulerPolicy(heartbeat_ms=HEARTBEAT_MS, session_dead_ms=LEASE_MS)
        self.rig = Rig(replace(three_tiers(), scheduler=rules))
        self.hub_sleeps = False
        self.daemons = [Daemon(self, name) for name in ("a", "b", "c")]
        self.tasks = 0
        self._sessions = 0

    def join(self, daemon: Daemon, holds: tuple[Key, ...]) -> str:
        offer = WorkerOffer(
            name=daemon.name,
            host=daemon.name,
            slots={TaskKind.COMMAND: 2},
            instance=daemon.name,
            holds=tuple(Held(*key) for key in sorted(holds)),
        )
        known = self.rig.scheduler.books.workers.of_instance(daemon.name)
        self._sessions += 1
        name = known.session.id if known is not None else f"s{self._sessions}"
        self.rig.tell(
            sig.WorkerJoined(
                session=Session(id=name, offer=offer, joined_ms=self.rig.now_ms, renewed_ms=self.rig.now_ms)
            )
        )
        return name

    def mail(self, session: str) -> list[Key]:
        """Assignments that nobody has reported about."""
        rows = self.rig.rows.values()
        return [(row.id, row.generation) for row in rows if row.session == session and row.state is TaskState.ASSIGNED]

    def give(self) -> None:
        if not self.hub_sleeps:
            self.tasks += 1
            self.rig.command(f"t{self.tasks}")

    def second(self) -> None:
        """Everything that happens in one second, and what must hold at its end."""
        if self.hub_sleeps:
            self.rig.now_ms += 1_000
        else:
            self.rig.pass_ms(1_000)
        for daemon in self.daemons:
            daemon.live()
        running = [task for daemon in self.daemons for task, _ in daemon.running]
        assert len(running) == len(set(running)), f"a task runs twice at once: {running}"

    def wakes(self) -> None:
        """The hub goes on; what it had missed it learns now."""
        if self.hub_sleeps:
            self.hub_sleeps = False
            self.rig.tell(sig.Wake())


STEPS: dict[str, Callable[[World, int], None]] = {
    "give": lambda world, _number: world.give(),
    "cut": lambda world, number: setattr(world.daemons[number], "is_cut", True),
    "mend": lambda world, number: setattr(world.daemons[number], "is_cut", False),
    "kill": lambda world, number: world.daemons[number].killed(),
    "start": lambda world, number: setattr(world.daemons[number], "is_dead", False),
    "sleep": lambda world, _number: setattr(world, "hub_sleeps", True),
    "wake": lambda world, _number: world.wakes(),
}

STORY = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 2), st.sampled_from([1, 4, 9, 14, 30, 70])), max_size=14
)


def play(story: list[tuple[str, int, int]], work_ms: int) -> World:
    """A story from its first task to the end of a long peace after it."""
    world = World(work_ms)
    world.give()
    world.second()
    for step, number, seconds in story:
        STEPS[step](world, number)
        for _ in range(seconds):
            world.second()
    world.wakes()
    for daemon in world.daemons:
        daemon.is_cut = daemon.is_dead = False
    for _ in range(900):
        world.second()
    return world


@settings(max_examples=60, deadline=None)
@given(story=STORY, work_s=st.sampled_from([5, 25, 90, 150]))
def test_whatever_happens_nothing_runs_twice_at_once_and_everything_ends(
    story: list[tuple[str, int, int]], work_s: int
) -> None:
    """Cables, kills, restarts and a hub that sleeps, in any order: no task runs at two workers in one second, and in
    the end every task has succeeded, or was lost so often that it was given up with its reason.
    """
    world = play(story, work_s * 1_000)
    states = {row.id: row.state for row in world.rig.rows.values()}

    assert set(states.values()) <= {TaskState.SUCCEEDED, TaskState.DEAD_LETTER}, states
    assert all(row.attempts_lost >= 10 for row in world.rig.rows.values() if row.state is TaskState.DEAD_LETTER), (
        "given up before it had its tries"
    )


@settings(max_examples=60, deadline=None)
@given(seconds=st.integers(1, 600), awake=st.integers(0, 20))
def test_a_hub_that_sleeps_never_declares_a_healthy_worker_dead(seconds: int, awake: int) -> None:
    """For however long, whenever it began: workers that would have called are not lost for it."""
    world = World()
    for _ in range(3 + awake):
        world.second()
    world.hub_sleeps = True
    for _ in range(seconds):
        world.second()
    world.wakes()
    for _ in range(120):
        world.second()

    assert world.rig.named("worker.lost") == []
    assert len(world.rig.scheduler.books.workers) == 3


@settings(max_examples=40, deadline=None)
@given(seconds=st.integers(1, 47))
def test_a_cut_within_the_trust_of_a_worker_costs_no_attempt(seconds: int) -> None:
    """Whatever it had in hand ends as its first attempt."""
    world = World()
    for _ in range(4):
        world.give()
    world.second()
    for _ in range(3):
        world.second()
    world.daemons[0].is_cut = True
    for _ in range(seconds - 3):
        world.second()
    world.daemons[0].is_cut = False
    for _ in range(200):
        world.second()

    assert {row.state for row in world.rig.rows.values()} == {TaskState.SUCCEEDED}
    assert {row.generation for row in world.rig.rows.values()} == {1}


@settings(max_examples=40, deadline=None)
@given(down=st.integers(1, 55), ran=st.integers(1, 24))
def test_a_daemon_that_is_restarted_within_its_grace_gets_its_work_again_at_once(down: int, ran: int) -> None:
    """Not after the grace: it says that it holds nothing, and the work begins anew in the second of the join."""
    world = World()
    world.give()
    world.second()
    for _ in range(ran):
        world.second()
    (holder,) = [daemon for daemon in world.daemons if daemon.running]
    holder.killed()
    for other in world.daemons:
        other.is_cut = other is not holder
    for _ in range(min(down, 55 - ran)):
        world.second()
    holder.is_dead = False
    for _ in range(3):
        world.second()

    assert world.rig.rows["t1"].generation == 2 or down + ran >= 55
    assert world.rig.named("worker.lost") == [] or down + ran >= 40


def test_work_that_ended_behind_a_cut_is_told_by_the_next_daemon() -> None:
    """Killed before it could tell; its end was on disk, and the hub kept the attempt for it."""
    world = World()
    world.give()
    world.second()
    world.second()
    (holder,) = [daemon for daemon in world.daemons if daemon.running]
    holder.is_cut = True
    for _ in range(WORK_MS // 1_000 + 2):
        world.second()
    assert list(holder.untold) == [("t1", 1)]
    holder.killed()
    holder.is_cut = holder.is_dead = False
    for _ in range(3):
        world.second()

    row = world.rig.rows["t1"]
    assert (row.state, row.generation) == (TaskState.SUCCEEDED, 1)
    assert world.rig.late == []
