"""Seeds of the simulated world: nothing goes wrong in them, and what should be noticed is."""

import random

import msgspec
import pytest

from tests.simulator.mutants import DISK_MUTANTS, MUTANTS, RESTART_MUTANTS
from tests.simulator.playing import live
from tests.simulator.shrink import shrunk
from tests.simulator.story import FAULTS_UNTIL_S, WORKERS, Fault, Kind, Story, draw
from tests.simulator.virtual_loop import StuckError

SEEDS = 12
"""More of them: `make simulate SEEDS=1000`."""
FOUND = (10, 27, 54, 116, 134, 210, 2174, 20184)
"""Seeds that once went wrong: each was a mistake of the program."""


BITING = (2, 11, 13)


@pytest.mark.parametrize("seed", [*FOUND, *(1_000 + number for number in range(SEEDS))])
def test_nothing_is_lost_or_done_twice_whatever_goes_wrong(seed: int) -> None:
    """Under kills, cuts, full disks, lost answers and clocks that jump every acknowledged task comes to its end, none
    runs twice at once, no slot is oversold, no limit is overspent, no attempt is charged twice.
    """
    seen = live(draw(seed))

    assert seen.wrong == ()
    assert len(seen.states) == 24


def test_a_seed_replays_exactly() -> None:
    """The same story comes to the same end, commit by commit."""
    first, second = live(draw(7)), live(draw(7))

    assert first == second
    assert first != live(draw(8))


def test_a_world_without_faults_does_all_of_its_work() -> None:
    """So what is seen under faults comes from the faults."""
    story = draw(3)
    seen = live(msgspec.structs.replace(story, faults=(), jobs=tuple(_kept(job) for job in story.jobs)))

    assert seen.wrong == ()
    assert set(seen.states.values()) == {"succeeded"}
    assert seen.hubs == 1


def _kept(job: object) -> object:
    return msgspec.structs.replace(job, cancelled_s=None)  # type: ignore[type-var]


def of_kinds(seed: int, kinds: frozenset[Kind]) -> Story:
    """A story whose faults are of these kinds alone."""
    story = draw(seed, faults=60)
    return msgspec.structs.replace(story, faults=tuple(fault for fault in story.faults if fault.kind in kinds)[:10])


def goes_wrong(story: Story) -> bool:
    """Whether something is seen to be wrong, or the world turns in a circle."""
    try:
        return bool(live(story).wrong)
    except StuckError:
        return True


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_guard_that_is_taken_away_is_missed(name: str) -> None:
    """Within 40 seeds of the faults that it guards against, something goes wrong without it."""
    mutant, kinds = MUTANTS[name]
    tried = dict.fromkeys((*BITING, *range(40)))  # those first that are known to show one of them

    with mutant():
        noticed = next((seed for seed in tried if goes_wrong(of_kinds(seed, kinds))), None)

    assert noticed is not None, name


def restarts(seed: int) -> Story:
    """A story whose daemons are killed, or stopped and leave, every few seconds, while what they ask is lost, comes
    twice, or late.
    """
    rng = random.Random(seed)
    doubled = [
        Fault(kind=kind, at_s=0.0, for_s=FAULTS_UNTIL_S, who=name, size=0.3)
        for name in WORKERS
        for kind in (Kind.DOUBLE, Kind.LOSE)
    ]
    killed = [
        Fault(kind=Kind.KILL_WORKER, at_s=rng.uniform(1.0, FAULTS_UNTIL_S), for_s=rng.uniform(0.01, 1.0), who=name)
        for name in WORKERS
        for _ in range(12)
    ]
    return msgspec.structs.replace(draw(seed), faults=(*doubled, *killed))


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_late_of_an_earlier_process_harms_nobody(seed: int) -> None:
    """Joins, heartbeats, polls, reports and farewells of daemons that are gone come when the next ones work."""
    assert live(restarts(seed)).wrong == ()


def test_commands_outlive_their_daemon_in_some_of_the_worlds() -> None:
    """What is said about daemons that are killed is said about such that left something running, too."""
    assert sum(live(restarts(seed)).taken_up for seed in (0, 2)) > 2


@pytest.mark.parametrize("name", list(RESTART_MUTANTS))
def test_a_guard_between_processes_is_missed(name: str) -> None:
    """Within a few such stories something runs twice without it."""
    with RESTART_MUTANTS[name]():
        noticed = next((seed for seed in (3, *range(20)) if goes_wrong(restarts(seed))), None)  # 3 shows both

    assert noticed is not None


def full_disks(seed: int) -> Story:
    """A story whose disk is slow, and full for a moment every few seconds, while workers repeat what is lost: updates
    of one task that rest on each other are under way at once, and the first of them fails.
    """
    rng = random.Random(seed)
    lost = [Fault(kind=Kind.LOSE, at_s=0.0, for_s=FAULTS_UNTIL_S, who=name, size=0.3) for name in WORKERS]
    slow = Fault(kind=Kind.SLOW_DISK, at_s=0.0, for_s=FAULTS_UNTIL_S, size=1.0)
    instants = sorted((rng.uniform(1.0, FAULTS_UNTIL_S - 1.0), rng.uniform(0.2, 1.0)) for _ in range(40))
    full = [Fault(kind=Kind.FULL_DISK, at_s=at_s, for_s=for_s) for at_s, for_s in instants]
    return msgspec.structs.replace(draw(seed, jobs=40), faults=(slow, *lost, *full))


@pytest.mark.parametrize("seed", range(4))
def test_what_rests_on_a_commit_that_failed_is_judged_again(seed: int) -> None:
    """Whatever of it was refused meanwhile, the story comes to its end."""
    assert live(full_disks(seed)).wrong == ()


@pytest.mark.parametrize("name", list(DISK_MUTANTS))
def test_a_guard_on_a_disk_that_fails_is_missed(name: str) -> None:
    """Within a few such stories a task never ends, or ends otherwise than its worker was told."""
    with DISK_MUTANTS[name]():
        noticed = next((seed for seed in range(30) if goes_wrong(full_disks(seed))), None)

    assert noticed is not None


def test_a_story_is_made_as_small_as_its_mistake() -> None:
    """Faults and jobs that have nothing to do with it are left out; it is still wrong."""
    story = draw(5)

    def is_wrong(candidate: Story) -> bool:
        return any(fault.kind is story.faults[3].kind for fault in candidate.faults) and any(
            job.name == "t7" for job in candidate.jobs
        )

    small = shrunk(story, is_wrong)

    assert is_wrong(small)
    assert len(small.faults) == 1
    assert [job.name for job in small.jobs] == ["t7"]


def test_a_fault_tells_what_it_is() -> None:
    """A story can be read."""
    fault = Fault(kind=Kind.CUT, at_s=1.5, for_s=3.0, who="ada")

    assert str(fault) == "   1.50 s  cut of ada, 3.00 s, size 0.00"
