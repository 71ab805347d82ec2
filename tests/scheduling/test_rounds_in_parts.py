"""Rounds that are made in parts: who tells something is taken in at once, and in the end everybody has what one whole
round would have given them.
"""

import pytest
from hypothesis import settings
from msgspec.structs import replace

from ostler.domain.fleet import HostReport
from ostler.domain.states import LEASED_STATES
from ostler.domain.tasks import Complexity, Priority
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Assign, Effect
from tests.scheduling.rig import HandClock, Rig, cloud, local
from tests.scheduling.test_lines import decisions, limited  # noqa: F401 - a fixture
from tests.scheduling.test_offering import assigned
from tests.scheduling.test_properties import Fleet


class PartsRig(Rig):
    """Each signal is taken in first, and its round made with two decisions at a time; beside it a scheduler that makes
    each round whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.twin = Scheduler(self.policy, HandClock())

    def tell(self, signal: sig.Signal) -> list[Effect]:
        effects = self.scheduler.handle(signal, self.now_ms, most=0)
        assert not [one for one in effects if isinstance(one, Assign)], "nothing is given out before all is taken in"
        for _ in range(1_000):
            if not self.scheduler.is_due:
                break
            effects += self.scheduler.handle(sig.Wake(), self.now_ms, most=2)
        whole = self.twin.handle(signal, self.now_ms)
        assert not self.scheduler.is_due, "a round has an end"
        assert sorted(map(str, assigned(effects))) == sorted(map(str, assigned(whole)))
        for name in self.scheduler.books.tasks:
            mine, other = self.scheduler.wait_of(name), self.twin.wait_of(name)
            assert (mine and mine.code) == (other and other.code), f"{name} waits for something else"
        for effect in effects:
            self.carry_out(effect)
        return effects


class Parts(Fleet):
    """Every life of a fleet."""

    kind_of_rig = PartsRig


TestParts = Parts.TestCase
TestParts.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def running(rig: Rig) -> set[str]:
    """Tasks that somebody has."""
    return {name for name, task in rig.scheduler.books.tasks.items() if task.state in LEASED_STATES}


def test_to_join_to_call_and_to_report_costs_no_decision(
    decisions: list[str],  # noqa: F811 - the fixture
) -> None:
    """Two hundred workers that come while a round is due are in before it is made."""
    rig = Rig()
    rig.up(local("gpu", slots=64))
    for number in range(20):
        rig.chat(f"t{number:02}", repo=f"repo{number}")
    decisions.clear()
    handle = rig.scheduler.handle
    rig.scheduler.handle = lambda signal, now_ms, **_: handle(signal, now_ms, most=0)  # type: ignore[method-assign]
    sessions = [rig.worker(f"w{number}", chat=1) for number in range(200)]
    for session in sessions:
        rig.tell(sig.WorkerRenewed(session_id=session, report=HostReport(host="h", at_ms=rig.now_ms)))

    assert decisions == []
    assert rig.scheduler.is_due
    rig.scheduler.handle = handle  # type: ignore[method-assign]
    rig.tell(sig.Wake())
    assert len(running(rig)) == len(decisions) == 20
    assert not rig.scheduler.is_due


@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_part_makes_about_as_many_decisions_as_it_may(
    most: int,
    decisions: list[str],  # noqa: F811 - the fixture
) -> None:
    """And the next part goes on where it broke off, best head first."""
    rig = Rig()
    rig.up(local("gpu", slots=64))
    for number in range(20):
        rig.chat(f"t{number:02}", repo=f"repo{number}")
    rig.scheduler.handle(sig.Wake(), rig.now_ms)
    worker = rig.scheduler.handle
    rig.scheduler.handle = lambda signal, now_ms, **_: worker(signal, now_ms, most=0)  # type: ignore[method-assign]
    rig.worker(chat=64)
    rig.scheduler.handle = worker  # type: ignore[method-assign]
    decisions.clear()

    parts = []
    while rig.scheduler.is_due:
        before = len(decisions)
        rig.scheduler.handle(sig.Wake(), rig.now_ms, most=most)
        parts.append(len(decisions) - before)
    assert decisions == [f"t{number:02}" for number in range(20)]
    assert max(parts) == most


def test_a_round_in_parts_comes_to_its_end_where_places_look_free_and_are_not(
    decisions: list[str],  # noqa: F811 - the fixture
) -> None:
    """The endpoint has slots and its model has none: each of thirty batches is decided for, once, and then it is over;
    also when more becomes free all the time, everyone has his turn.
    """
    rig = limited()
    rig.up(replace(cloud(slots=8), slots_per_model={"claude": 1}), models=("claude",))
    rig.worker(chat=64)
    for number in range(30):
        rig.chat(f"t{number:02}", complexity=Complexity.COMPLEX, batch=f"b{number}")
    assert running(rig) == {"t00"}
    decisions.clear()
    free = rig.scheduler.books.queue.free
    for part in range(30):
        if not part or part > 20:
            free("anthropic")
        rig.scheduler.handle(sig.Wake(), rig.now_ms, most=4)
        if part == 7:
            assert decisions == [f"t{number:02}" for number in range(1, 30)]
            assert not rig.scheduler.is_due
            decisions.clear()

    assert {decisions.count(f"t{number:02}") for number in range(1, 30)} == {1, 2}


def test_work_of_another_kind_is_looked_at_in_each_part() -> None:
    """Urgent commands that always find somebody free do not keep the prompts, whose slots are others, waiting."""
    rig = Rig()
    rig.up(local("gpu", slots=64))
    for number in range(30):
        rig.command(f"c{number:02}", priority=Priority.URGENT)
        rig.chat(f"t{number:02}", priority=Priority.LOW)
    handle = rig.scheduler.handle
    rig.scheduler.handle = lambda signal, now_ms, **_: handle(signal, now_ms, most=0)  # type: ignore[method-assign]
    rig.worker(chat=64, command=64)
    rig.scheduler.handle = handle  # type: ignore[method-assign]

    for part in range(1, 4):
        rig.scheduler.handle(sig.Wake(), rig.now_ms, most=4)
        assert len([name for name in running(rig) if name.startswith("t")]) == part
    assert len([name for name in running(rig) if name.startswith("c")]) >= 12
